"""Meta generators of ASMG (Peng et al., RecSys 2021): a sequence of base models in, a model to serve out.

Every scalar of an MLP tensor has a private generator; a table has one per dimension, shared by its
rows. Both fit one layout, *coordinates* [P, rows]: P generators, each serving its rows (1 in a
dense tensor). A generator maps a sequence of snapshots and an initial state to one model per step
(None where it makes none) and one state per step.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

TABLES = {"user", "item", "cate"}


@dataclass(frozen=True)
class Snapshot:
    """Parameters by name, after training on `period`."""

    period: int
    values: dict


class Gru(nn.Module):
    """One GRU of width d per generator: no gate biases, z weighs the new content, linear output.

    `residual` adds the input to the output and starts it at zero, so that the newest base model
    comes out unchanged until the first update. `born` gives, for some tables, each row's first
    period: the row's state is 0 before that period and its generated value is its input.
    Memory: a state holds d values per parameter of the model.
    """

    def __init__(self, values: dict, d: int, residual: bool, born: dict, seed: int):
        super().__init__()
        self.d, self.residual, self.born = d, residual, born
        rng = torch.Generator().manual_seed(seed)
        self.names = list(values)
        self.cells = nn.ModuleList(
            [Cells(len(coordinates(name, values[name])), d, residual, rng) for name in self.names]
        )

    def forward(self, sequence: list[Snapshot], memory: dict | None = None) -> tuple[list, list]:
        state = memory or {name: self.zeros(name, value) for name, value in sequence[0].values.items()}
        outputs, states = [], []
        for snapshot in sequence:
            state = {name: self.step(name, snapshot, state[name]) for name in self.names}
            outputs.append({name: self.output(name, snapshot, state[name]) for name in self.names})
            states.append(state)
        return outputs, states

    def zeros(self, name: str, value):
        count, rows = coordinates(name, value).shape
        return torch.zeros(count, self.d, rows)

    def step(self, name: str, snapshot: Snapshot, state):
        x = coordinates(name, snapshot.values[name]).unsqueeze(1)
        state = self.cells[self.names.index(name)].step(x, state)
        return state * self.alive(name, snapshot) if name in self.born else state

    def output(self, name: str, snapshot: Snapshot, state):
        value = snapshot.values[name]
        x = coordinates(name, value)
        y = self.cells[self.names.index(name)].output(state)
        y = x + y if self.residual else y
        if name in self.born:
            y = torch.where(self.alive(name, snapshot), y, x)
        return y.t() if name in TABLES else y.reshape(value.shape)

    def alive(self, name: str, snapshot: Snapshot):
        return self.born[name] <= snapshot.period


class Cells(nn.Module):
    """The GRUs of one tensor of the model: x [P, 1, rows], state [P, d, rows]; rows last, to be fast.

    Starts Glorot-uniform on the shape [P, a, b], P counting as a receptive field, the output bias
    too: the limit of each weight is sqrt(6 / (P (a + b))).
    """

    def __init__(self, count: int, d: int, residual: bool, rng: torch.Generator):
        super().__init__()

        def glorot(a: int, b: int, matrices: int = 1, limit: float | None = None) -> nn.Parameter:
            limit = math.sqrt(6 / (count * (a + b))) if limit is None else limit
            return nn.Parameter(torch.empty(count, matrices * a, b).uniform_(-limit, limit, generator=rng))

        zero = 0.0 if residual else None
        self.u = glorot(d, 1, matrices=3)  # of r, z and g
        self.w_gates = glorot(d, d, matrices=2)  # of r and z
        self.w_new = glorot(d, d)
        self.w_y = glorot(1, d, limit=zero)
        self.b_y = glorot(1, 1, limit=zero)

    def step(self, x, h):
        d = h.shape[1]
        gates, new = (self.u * x).split([2 * d, d], dim=1)
        r, z = torch.sigmoid(torch.baddbmm(gates, self.w_gates, h)).chunk(2, dim=1)
        new = torch.tanh(torch.baddbmm(new, self.w_new, r * h))
        return torch.lerp(h, new, z)  # (1 - z) h + z new

    def output(self, h):
        """[P, rows]"""
        return torch.baddbmm(self.b_y, self.w_y, h).squeeze(1)


class Linear(nn.Module):
    """A convex combination of the last k models; its weights are a softmax per generator, uniform at first."""

    def __init__(self, values: dict, k: int):
        super().__init__()
        self.k, self.names = k, list(values)
        counts = [len(coordinates(name, value)) for name, value in values.items()]
        self.logits = nn.ParameterList([nn.Parameter(torch.zeros(k, count)) for count in counts])

    def forward(self, sequence: list[Snapshot], _memory=None) -> tuple[list, list]:
        assert len(sequence) == self.k, f"a sequence of {self.k} models, not {len(sequence)}"
        values = {}
        for name, logits in zip(self.names, self.logits):
            inputs = torch.stack([snapshot.values[name] for snapshot in sequence])
            weights = torch.softmax(logits, dim=0)
            # Of a table [k, 1, dim], the same for all rows; else one per scalar.
            weights = weights.unsqueeze(1) if name in TABLES else weights.reshape(inputs.shape)
            values[name] = (weights * inputs).sum(dim=0)
        return [None] * (self.k - 1) + [values], [None] * self.k


def coordinates(name: str, value):
    """[P, rows]: of a table the dimensions by rows, of any other tensor its scalars by 1."""
    return value.t() if name in TABLES else value.reshape(-1, 1)
