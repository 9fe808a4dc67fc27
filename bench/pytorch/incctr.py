"""IncCTR (Wang et al., 2020): the previous version's probabilities are mixed into the labels."""

import torch


class IncCtr:
    """Binary cross-entropy to (1 - weight) y + weight y~, which equals the mixture of the two losses.

    y~ is computed once a period, by the version that is about to be trained.
    """

    def __init__(self, stream, learner, weight: float):
        self.stream, self.learner, self.weight = stream, learner, weight

    def model(self, *inputs):
        return self.learner.model(*inputs)

    def update(self, period: int):
        rows = self.stream.samples(period, period)
        soft = torch.sigmoid(self.stream.logits(self.learner, torch.arange(rows.start, rows.stop)))
        for epoch in range(self.stream.args.update_epochs):
            order = self.stream.shuffled(period, period, [period, epoch])
            label = (1 - self.weight) * self.stream.label[order] + self.weight * soft[order - rows.start]
            self.stream.fit(self.learner, order, label)
