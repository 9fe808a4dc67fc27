"""SPMF (Wang et al., KDD 2018) in the form of the ASMG comparison: all new samples and a ranked replay."""

import numpy as np
import torch

from protocol import PRETRAIN


class Spmf:
    """Trains on D_t and, from reservoirs of positives and of negatives, `ratio` times as many of each.

    Positives are drawn with weight exp(rank / size), rank 0 being the highest score; negatives
    uniformly; both without replacement and before D_t enters the reservoirs. Samples are learned
    from in order of time, replay first; `shuffle` mixes them instead.
    """

    def __init__(self, stream, learner, fraction: float, ratio: float, shuffle: bool = False):
        self.stream, self.learner, self.ratio, self.shuffle = stream, learner, ratio, shuffle
        self.rng = np.random.default_rng([stream.seed, 1])
        past = self.by_class(1, PRETRAIN)
        self.reservoirs = [Reservoir(rows, int(fraction * len(rows)), self.rng) for rows in past]

    def model(self, *inputs):
        return self.learner.model(*inputs)

    def update(self, period: int):
        fresh = self.by_class(period, period)
        rows = self.stream.samples(period, period)
        replay = [self.replay(label, int(self.ratio * len(fresh[label]))) for label in [0, 1]]
        order = np.sort(np.concatenate([*replay, np.arange(rows.start, rows.stop)]))
        if self.shuffle:
            order = self.rng.permutation(order)
        self.stream.fit(self.learner, torch.from_numpy(order))
        for reservoir, new in zip(self.reservoirs, fresh):
            reservoir.offer(new, self.rng)

    def replay(self, label: int, count: int) -> np.ndarray:
        held = self.reservoirs[label].held
        if label == 0:
            return self.rng.choice(held, count, replace=False)
        score = self.stream.logits(self.learner, torch.from_numpy(held)).numpy()
        rank = np.argsort(np.argsort(-score, kind="stable"))
        weight = np.exp(rank / len(held))
        return self.rng.choice(held, count, replace=False, p=weight / weight.sum())

    def by_class(self, first: int, last: int) -> list[np.ndarray]:
        """The negatives and the positives of periods first..=last, as sample indices."""
        rows = self.stream.samples(first, last)
        label = self.stream.log.label[rows]
        return [rows.start + np.flatnonzero(label == 0), rows.start + np.flatnonzero(label > 0)]


class Reservoir:
    """A uniform sample of fixed size of everything offered so far."""

    def __init__(self, rows: np.ndarray, size: int, rng):
        self.held = rng.choice(rows, size, replace=False)
        self.seen = len(rows)

    def offer(self, rows: np.ndarray, rng):
        for row in rows:
            self.seen += 1
            if rng.random() < len(self.held) / self.seen:
                self.held[rng.integers(len(self.held))] = row
