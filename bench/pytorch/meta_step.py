"""Times one whole step of training ASMG's generator in PyTorch: generate, differentiate, update.

The peer of `bench/src/bin/meta_step.rs`, doing the same work: a sequence of k Embedding&MLP models (MLP 208-84, two
tables of 50,000 rows of 8), a private GRU (d = 4, 65 weights) for each scalar of the MLP and one per dimension of each
table, one batch of 128 examples with 30 history items for each model generated. Only rows that a batch reads are
generated. Adam moves the weights of all generators. Several forms are timed, so that what is compared against is
PyTorch's best. Compiled forms need a C++ compiler.
"""

import argparse
import json
import math
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional

ROWS, DIM, HIDDEN, HISTORY = 50_000, 8, [208, 84], 30
BATCH, MODELS, STATE = 128, 3, 4
LR, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-8


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    batches = [batch(seed) for seed in range(args.steps)]
    report = {"torch": torch.__version__, "threads": args.threads}
    report["forms"] = [timed(name, batches, args) for name in args.form or FORMS]
    print(json.dumps(report, indent=1))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--form", nargs="+", choices=list(FORMS), help="forms to time; all by default")
    parser.add_argument("--steps", type=int, default=10, help="distinct steps of a repeat")
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def batch(seed: int):
    """Distinct rows of the users and of the items, and for each model (user, history, item, label) in places of them."""
    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(ROWS, (MODELS, BATCH, HISTORY + 2), generator=rng)
    labels = torch.randint(2, (MODELS, BATCH), generator=rng).float()
    users, user_places = torch.unique(ids[..., 0], return_inverse=True)
    items, item_places = torch.unique(ids[..., 1:], return_inverse=True)
    return padded(users, 384), padded(items, 10_752), user_places, item_places, labels


def padded(rows, to: int):
    """Some two hundred rows more, that nothing reads, so that shapes are the same in every step: compilers like that."""
    assert len(rows) <= to
    return functional.pad(rows, (0, to - len(rows)))


def timed(name: str, batches: list, args) -> dict:
    """Milliseconds per step over the repeats; compilation and first touches are left out as warm-up."""
    torch.manual_seed(0)
    step = FORMS[name]()
    first = [float(step(*batch)) for batch in batches]
    spans, busy = [], []
    for _ in range(args.repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        for batch in batches:
            step(*batch)
        spans.append((time.perf_counter() - wall) / len(batches) * 1e3)
        busy.append((time.process_time() - cpu) / len(batches) * 1e3)
    print(f"{name:20} min {min(spans):.2f} ms, cpu {min(busy):.2f} ms", file=sys.stderr)
    return {
        "form": name,
        "ms_min": round(min(spans), 3),
        "ms_median": round(statistics.median(spans), 3),
        "cpu_ms_min": round(min(busy), 3),
        "loss_first": round(first[0], 5),
        "loss_last": round(float(step(*batches[0])), 5),
    }


class Cells(nn.Module):
    """`count` GRUs that each serve `rows` coordinates. `layout` says how their products are computed.

    "bmm": weights [P, out, in], values [P, d, rows], one small matrix product for each generator.
    "lanes": weights [out, in, P, 1], values [d, P, rows], products and sums of whole planes.
    """

    def __init__(self, count: int, layout: str):
        super().__init__()
        self.layout, d = layout, STATE

        def weight(a: int, b: int) -> nn.Parameter:
            shape = (count, a, b) if layout == "bmm" else (a, b, count, 1)
            limit = math.sqrt(6 / (count * (a + b)))
            return nn.Parameter(torch.empty(shape).uniform_(-limit, limit))

        self.u, self.gates, self.new = weight(3 * d, 1), weight(2 * d, d), weight(d, d)
        self.w_y, self.b_y = weight(1, d), weight(1, 1)

    def forward(self, x):
        """The values generated after each step of x [steps, P, rows], each [P, rows]."""
        join = 1 if self.layout == "bmm" else 0
        h = torch.zeros([*x.shape[1:2], STATE, *x.shape[2:]] if join else [STATE, *x.shape[1:]])
        made = []
        for x in x:
            inputs = self.u * x.unsqueeze(join) if join else self.u[:, 0] * x
            gates, new = inputs.split([2 * STATE, STATE], dim=join)
            r, z = torch.sigmoid(gates + self.product(self.gates, h)).chunk(2, dim=join)
            h = torch.lerp(h, torch.tanh(new + self.product(self.new, r * h)), z)
            y = self.product(self.w_y, h) + (self.b_y if join else self.b_y[:, 0])
            made.append(y.squeeze(join))
        return made

    def product(self, weight, values):
        if self.layout == "bmm":
            return torch.bmm(weight, values)
        return (weight * values).sum(dim=1)


class MetaTraining(nn.Module):
    """The loss of the models generated from a sequence, each on its own batch."""

    def __init__(self, layout: str):
        super().__init__()
        widths = [3 * DIM, *HIDDEN, 1]
        self.shapes = [shape for a, b in zip(widths, widths[1:]) for shape in ((b, a), (b,))]
        dense = sum(math.prod(shape) for shape in self.shapes)
        self.dense, self.user, self.item = Cells(dense, layout), Cells(DIM, "bmm"), Cells(DIM, "bmm")
        self.register_buffer("weights", torch.randn(MODELS, dense, 1) * 0.1)
        for name in ("users", "items"):
            self.register_buffer(name, torch.randn(ROWS, DIM) * 0.1)

    def forward(self, users, items, user_places, item_places, labels):
        dense = self.dense(self.weights)
        user, item = self.rows(self.user, self.users, users), self.rows(self.item, self.items, items)
        loss = 0.0
        for step in range(MODELS):
            tensors = [
                values.view(shape)
                for values, shape in zip(dense[step].squeeze(1).split([math.prod(s) for s in self.shapes]), self.shapes)
            ]
            history, item_row = item[step][item_places[step][:, 1:]], item[step][item_places[step][:, 0]]
            x = torch.cat([user[step][user_places[step]], history.mean(dim=1), item_row], dim=1)
            for at in range(0, len(tensors), 2):
                x = functional.linear(x, tensors[at], tensors[at + 1])
                x = x.relu() if at + 2 < len(tensors) else x
            loss = loss + functional.binary_cross_entropy_with_logits(x.squeeze(1), labels[step]) / MODELS
        return loss

    def rows(self, cells, table, rows):
        """Generated rows [rows, dim] of each model; the sequence is the same model over and over, as in the peer."""
        x = table.index_select(0, rows).t().expand(MODELS, -1, -1)
        return [made.t() for made in cells(x)]


def trained(layout: str, compiled: bool = False):
    def build():
        model = MetaTraining(layout)
        adam = torch.optim.Adam(model.parameters(), lr=LR, fused=True)
        loss_of = torch.compile(model, dynamic=False) if compiled else model

        def step(*batch):
            adam.zero_grad(set_to_none=True)
            loss = loss_of(*batch)
            loss.backward()
            adam.step()
            return loss.detach()

        return step

    return build


FORMS = {
    "bmm": trained("bmm"),
    "lanes": trained("lanes"),
    "compiled-bmm": trained("bmm", compiled=True),
    "compiled-lanes": trained("lanes", compiled=True),
}


if __name__ == "__main__":
    main()
