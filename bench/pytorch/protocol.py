"""The continual evaluation protocol, written independently of the Rust code to check its figures.

31 equal-count periods: 1..10 pre-train, then each period is first scored by the version made
before it and afterwards used for an update. A result is the mean over evaluation periods 25..31.
"""

import argparse
import copy
import json
import time

import numpy as np
import torch
from torch.nn import functional

import features
import logs
import metrics
from embedding_mlp import EmbeddingMlp

PERIODS, PRETRAIN = 31, 10
REPORTED = range(25, 32)
SELECTION = range(21, 25)  # the periods to choose settings on, never the reported ones
PRIOR = 10  # weight, in samples, of the base rate in `popularity`


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    log = logs.load(args.data, args.dataset, args.negatives, args.data_seed)
    numerics = features.numerics(log, args.numeric)
    runs = []
    for seed in args.seed:
        start = time.time()
        for method, periods in Protocol(args, log, numerics, seed).run(args.method).items():
            run = {"method": method, "seed": seed, "mean": mean(periods, REPORTED)}
            runs.append(run | {"selection": mean(periods, SELECTION), "periods": periods})
        print(f"seed {seed}: {time.time() - start:.0f} s", flush=True)
    for span in ["selection", "mean"]:
        print(span, *summarise(runs, span), sep="\n  ", flush=True)
    if args.out:
        with open(args.out, "w") as out:
            json.dump({"args": vars(args), "notes": log.notes, "runs": runs}, out, indent=1)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder of the data sets")
    parser.add_argument("--dataset", required=True, choices=list(logs.READERS))
    methods = "constant popularity frozen incremental batch (its --window may follow a colon, as batch:7)"
    parser.add_argument("--method", nargs="+", default=["incremental"], help=methods)
    parser.add_argument("--window", type=int, default=3, help="periods of a `batch` update")
    parser.add_argument("--seed", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, help="pre-training epochs (3 on MovieLens, 1 on Globo)")
    parser.add_argument("--update-epochs", type=int, default=1)
    parser.add_argument("--hidden", nargs="+", type=int, default=[20, 10])
    parser.add_argument("--dim", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--table-lr", type=float, help="of the embedding tables, where it differs from --lr")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--negatives", choices=["uniform", "popularity"], default="uniform", help="Globo only")
    parser.add_argument("--data-seed", type=int, default=0, help="key of the negatives")
    parser.add_argument("--numeric", nargs="*", default=[], choices=list(features.FEATURES))
    parser.add_argument("--item-bias", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", help="where to write the results, as JSON")
    args = parser.parse_args()
    if args.epochs is None:
        args.epochs = 1 if args.dataset == "globo" else 3
    args.method = [f"batch:{args.window}" if method == "batch" else method for method in args.method]
    return args


class Protocol:
    """Runs methods over one log with one model seed; the pre-trained model is made once and shared."""

    def __init__(self, args, log, numerics, seed: int):
        self.args, self.log, self.seed = args, log, seed
        self.length = len(log.user) // PERIODS
        self.user = torch.from_numpy(log.user)
        self.history = torch.from_numpy(log.history)
        self.context = torch.from_numpy(log.context)
        self.event = torch.from_numpy(log.event)
        self.item = torch.from_numpy(log.item)
        self.label = torch.from_numpy(log.label)
        self.numerics = torch.from_numpy(numerics)

    def run(self, methods: list[str]) -> dict:
        results = {method: self.reference(method) for method in methods if method in REFERENCES}
        learned = [method for method in methods if method not in REFERENCES]
        if learned:
            pretrained = Learner(self.args, self.log, self.numerics.shape[1], self.seed)
            for epoch in range(self.args.epochs):
                self.train(pretrained, 1, PRETRAIN, PRETRAIN, epoch)
            for method in learned:
                results[method] = self.continual(copy.deepcopy(pretrained), window(method))
        return results

    def continual(self, learner, width: int) -> dict:
        """Test, then train: evaluation period -> metrics. A width of 0 never trains."""
        results = {}
        for period in range(PRETRAIN + 1, PERIODS + 1):
            results[period] = self.score(learner, period)
            if width and period < PERIODS:
                for epoch in range(self.args.update_epochs):
                    self.train(learner, period - width + 1, period, period, epoch)
        return results

    def train(self, learner, first: int, last: int, period: int, epoch: int):
        """One shuffled pass over the samples of periods first..=last."""
        self.fit(learner, self.shuffled(first, last, [period, epoch]))

    def fit(self, learner, order, label=None):
        """One pass over the samples in the order given; the last batch may be short.

        `label`, one per sample of `order`, stands in for the log's own.
        """
        label = self.label[order] if label is None else label
        for batch, target in zip(order.split(self.args.batch), label.split(self.args.batch)):
            learner.step(self.inputs(batch), target)

    def shuffled(self, first: int, last: int, key: list[int]):
        """The samples of periods first..=last in an order fixed by the seed and the key."""
        rows = self.samples(first, last)
        rng = np.random.default_rng([self.seed, *key])
        return torch.from_numpy(rows.start + rng.permutation(rows.stop - rows.start))

    def score(self, learner, period: int) -> dict:
        rows = self.samples(period, period)
        logits = self.logits(learner, torch.arange(rows.start, rows.stop))
        return metrics.evaluate(self.log.user[self.log.event[rows]], self.log.label[rows], logits.numpy())

    @torch.no_grad()
    def logits(self, learner, order):
        return torch.cat([learner.model(*self.inputs(chunk)) for chunk in order.split(8192)])

    def reference(self, method: str) -> dict:
        """Scores of a method that learns nothing but rates of the period before."""
        results = {}
        for period in range(PRETRAIN + 1, PERIODS + 1):
            past, rows = self.samples(period - 1, period - 1), self.samples(period, period)
            rate = REFERENCES[method](self.log, past)[self.log.item[rows]]
            user = self.log.user[self.log.event[rows]]
            results[period] = metrics.evaluate(user, self.log.label[rows], np.log(rate / (1 - rate)))
        return results

    def samples(self, first: int, last: int) -> slice:
        return self.log.samples_of_events((first - 1) * self.length, last * self.length)

    def inputs(self, batch):
        event = self.event[batch]
        history = self.history[event].long()
        return self.user[event], self.item[batch], history, self.context[event], self.numerics[batch]


class Learner:
    """A model and the one Adam that travels with it through all periods."""

    def __init__(self, args, log, numerics: int, seed: int):
        self.model = EmbeddingMlp(log, args.hidden, args.dim, numerics, args.item_bias, seed)
        # `fused` is the same dense update as the default, in one pass over memory.
        dense = [*self.model.weights, *self.model.biases]
        tables = [p for p in self.model.parameters() if not any(p is q for q in dense)]
        groups = [{"params": tables, "lr": args.table_lr or args.lr}, {"params": dense}]
        self.adam = torch.optim.Adam(groups, lr=args.lr, fused=True)

    def step(self, inputs, label):
        self.adam.zero_grad()
        functional.binary_cross_entropy_with_logits(self.model(*inputs), label).backward()
        self.adam.step()

    def __deepcopy__(self, memo):
        twin = copy.copy(self)
        twin.model = copy.deepcopy(self.model, memo)
        twin.adam = copy.deepcopy(self.adam, memo)
        return twin


def constant(log, past: slice) -> np.ndarray:
    return np.full(1 + log.items, log.label[past].mean(dtype=np.float64))


def popularity(log, past: slice) -> np.ndarray:
    """[1 + items]: (positives + PRIOR * base) / (samples + PRIOR) over the last period."""
    item, label = log.item[past], log.label[past]
    positives = np.bincount(item, weights=label, minlength=1 + log.items)
    samples = np.bincount(item, minlength=1 + log.items)
    return (positives + PRIOR * label.mean(dtype=np.float64)) / (samples + PRIOR)


REFERENCES = {"constant": constant, "popularity": popularity}


def window(method: str) -> int:
    if method.startswith("batch:"):
        return int(method.removeprefix("batch:"))
    return {"frozen": 0, "incremental": 1}[method]


def mean(periods: dict, span: range) -> dict:
    rows = [periods[period] for period in span]
    return {name: float(np.mean([row[name] for row in rows])) for name in ["auc", "gauc", "logloss"]}


def summarise(runs: list[dict], span: str) -> list[str]:
    """One line per method: mean and sample standard deviation over seeds."""
    rows = []
    for method in dict.fromkeys(run["method"] for run in runs):
        cells = [method.ljust(12)]
        for name in ["auc", "logloss", "gauc"]:
            values = [run[span][name] for run in runs if run["method"] == method]
            spread = np.std(values, ddof=1) if len(values) > 1 else float("nan")
            cells.append(f"{name} {np.mean(values):.4f} +- {spread:.4f}")
        rows.append("  ".join(cells))
    return rows


if __name__ == "__main__":
    main()
