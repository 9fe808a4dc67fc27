"""SML (Zhang et al., SIGIR 2020) in the form of the ASMG comparison: one round a period, no penalty."""

import math

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from generators import TABLES

EMBEDDING = (10, 5, 20)  # first filters, second filters, hidden width
DENSE = {  # by tensor, for an MLP 20-10
    "weights.0": (5, 3, 80),
    "biases.0": (5, 3, 40),
    "weights.1": (5, 3, 40),
    "biases.1": (5, 3, 20),
    "weights.2": (5, 3, 20),
    "biases.2": (5, 3, 2),
}


class Sml:
    """Serves F(previous, updated), F a transfer network per tensor, which the next period starts from.

    A period D_t first trains F, both its inputs fixed; the result becomes the previous version. Then
    the updated version is trained on D_t through the fixed F. Unlike in ASMG, what F makes is what
    the base learner goes on from.
    """

    def __init__(self, stream, learner, transfer, transfer_lr: float, base_lr: float):
        self.stream, self.learner, self.transfer = stream, learner, transfer
        for group in learner.adam.param_groups:
            group["lr"] = base_lr
        self.adam = torch.optim.Adam(transfer.parameters(), lr=transfer_lr) if [*transfer.parameters()] else None
        self.previous = self.served = None

    def model(self, *inputs):
        if self.served is None:
            return self.learner.model(*inputs)
        return functional_call(self.learner.model, self.served, inputs)

    def update(self, period: int):
        updated = dict(self.learner.model.named_parameters())
        if self.served is not None:
            if self.adam is not None:
                self.fit(self.adam, {name: value.detach() for name, value in updated.items()}, [period, 0, 1])
            start = self.generate(updated)
            with torch.no_grad():
                for name, value in updated.items():
                    value.copy_(start[name])
        self.previous = {name: value.detach().clone() for name, value in updated.items()}
        self.fit(self.learner.adam, updated, [period, 0])
        self.served = self.generate(updated)

    def fit(self, adam, updated: dict, key: list[int]):
        period = key[0]
        for batch in self.stream.shuffled(period, period, key).split(self.stream.args.batch):
            values = self.transfer(self.previous, updated)
            logits = functional_call(self.learner.model, values, self.stream.inputs(batch))
            adam.zero_grad()
            functional.binary_cross_entropy_with_logits(logits, self.stream.label[batch]).backward()
            adam.step()

    @torch.no_grad()
    def generate(self, updated: dict) -> dict:
        return {name: value.clone() for name, value in self.transfer(self.previous, updated).items()}


class Transfer(nn.Module):
    """One network per tensor; rows of a table share theirs, any other tensor is one long row."""

    def __init__(self, values: dict, seed: int):
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        self.names = list(values)
        self.nets = nn.ModuleList()
        for name, value in values.items():
            width = value.shape[1] if name in TABLES else value.numel()
            self.nets.append(RowTransfer(width, *(EMBEDDING if name in TABLES else DENSE[name]), rng))

    def forward(self, previous: dict, updated: dict) -> dict:
        values = {}
        for name, net in zip(self.names, self.nets):
            shape = previous[name].shape
            rows = shape if name in TABLES else (1, -1)
            values[name] = net(previous[name].reshape(rows), updated[name].reshape(rows)).reshape(shape)
        return values


class RowTransfer(nn.Module):
    """Rows p and q [rows, width] and s = p q / |p| pass two filters along the three, then two layers.

    Starts Glorot-uniform, a filter's height counting as its receptive field; biases too, at sqrt(3 / length).
    """

    def __init__(self, width: int, first: int, second: int, hidden: int, rng: torch.Generator):
        super().__init__()

        def glorot(fan_in: int, fan_out: int, *shape: int) -> nn.Parameter:
            limit = math.sqrt(6 / (fan_in + fan_out))
            return nn.Parameter(torch.empty(shape).uniform_(-limit, limit, generator=rng))

        self.filters = glorot(3, 3 * first, first, 3)
        self.mix = glorot(first, first * second, second, first)
        self.hidden = glorot(second * width, hidden, hidden, second * width)
        self.hidden_bias = glorot(hidden, hidden, hidden)
        self.out = glorot(hidden, width, width, hidden)
        self.out_bias = glorot(width, width, width)

    def forward(self, p, q):
        # The norm of a row of zeros has no gradient, but p is always a constant here.
        s = p * q / (p.norm(dim=1, keepdim=True) + 1e-15)
        x = functional.gelu(torch.einsum("cs,srw->rcw", self.filters, torch.stack([p, q, s])))
        x = functional.gelu(torch.einsum("dc,rcw->rdw", self.mix, x)).flatten(1)
        x = functional.gelu(functional.linear(x, self.hidden, self.hidden_bias))
        return functional.linear(x, self.out, self.out_bias)
