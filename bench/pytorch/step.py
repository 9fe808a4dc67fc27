"""Times a whole training step (lookup, forward, backward, update) of Embedding&MLP in PyTorch.

The model is x = [user ; mean of 30 history items ; item] (24 inputs) into an MLP 200-80-1, trained
with BCE on logits and Adam 1e-3. Batches are made beforehand. Several forms of the same step are
timed in turn, so that what is compared against is PyTorch's best and not its default. Forms marked
`lazy` update only the rows of the batch; the others update whole tables, as dense Adam does.
"""

import argparse
import json
import math
import statistics
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

BATCH, DIM, HIDDEN, HISTORY = 1024, 8, [200, 80], 30
LR, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-8


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)  # moments of idle rows decay towards zero; denormals would slow dense forms
    report = {"torch": torch.__version__, "threads": args.threads, "rows": args.rows, "ids": args.ids}
    if args.matmul:
        report["sgemm_gflops"] = round(sgemm_gflops(), 1)
    else:
        batches = make_batches(args.rows, args.ids, args.batches)
        names = args.form or list(FORMS)
        report["forms"] = [timed(name, batches, args) for name in names]
    print(json.dumps(report, indent=1))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=int, default=50_000, help="rows of the user and of the item table")
    parser.add_argument("--ids", choices=["uniform", "zipf"], default="uniform", help="zipf: exponent 1.05")
    parser.add_argument("--form", nargs="+", help="forms to time; all by default")
    parser.add_argument("--batches", type=int, default=50, help="distinct batches, one step each per repeat")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--matmul", action="store_true", help="print the speed of a 1024 x 1024 sgemm instead")
    args = parser.parse_args()
    unknown = set(args.form or []) - set(FORMS)
    if unknown:
        parser.error(f"unknown form {', '.join(sorted(unknown))}; known are {', '.join(FORMS)}")
    return args


def make_batches(rows: int, ids: str, count: int) -> list:
    """(user [B], history [B, 30], item [B], label [B]) with every history full."""
    rng = np.random.default_rng(7)
    weights = np.arange(1, rows + 1) ** (-1.05 if ids == "zipf" else 0.0)
    cumulative = np.cumsum(weights / weights.sum())
    shuffle = rng.permutation(rows)  # so that frequent ids are not neighbours in memory

    def draw(shape):
        rank = np.minimum(np.searchsorted(cumulative, rng.random(shape)), rows - 1)
        return torch.from_numpy(shuffle[rank])

    def label():
        return torch.from_numpy(rng.integers(0, 2, BATCH).astype(np.float32))

    return [(draw(BATCH), draw((BATCH, HISTORY)), draw(BATCH), label()) for _ in range(count)]


def timed(name: str, batches: list, args) -> dict:
    """Milliseconds per step over the repeats; compilation and first touches are left out as warm-up.

    The processor time is there to see contention: on one thread of a quiet machine it equals the wall time.
    """
    try:
        torch.manual_seed(0)
        step = FORMS[name](args.rows, batches)
        first = [float(step(i)) for i in range(len(batches))]
        spans, busy = [], []
        for _ in range(args.repeats):
            wall, cpu = time.perf_counter(), time.process_time()
            for i in range(len(batches)):
                step(i)
            spans.append((time.perf_counter() - wall) / len(batches) * 1e3)
            busy.append((time.process_time() - cpu) / len(batches) * 1e3)
        last = float(step(0))
    except Exception as error:  # a form that this machine cannot run is reported, not fatal
        return {"form": name, "error": f"{type(error).__name__}: {str(error)[:300]}"}
    print(f"{name:24} min {min(spans):.3f} ms, cpu {min(busy):.3f} ms", file=sys.stderr)
    return {
        "form": name,
        "lazy": name.startswith("lazy"),
        "ms_per_step_min": round(min(spans), 3),
        "ms_per_step_median": round(statistics.median(spans), 3),
        "cpu_ms_per_step_min": round(min(busy), 3),
        "examples_per_s": round(BATCH / min(spans) * 1e3),
        "repeats": args.repeats,
        "loss_first": round(first[0], 4),
        "loss_last": round(last, 4),
    }


class Model(nn.Module):
    """Two tables and an MLP; `history` names how the mean of the history is computed."""

    def __init__(self, rows: int, history: str = "bag", sparse: bool = False):
        super().__init__()
        self.user = nn.Embedding(rows, DIM, sparse=sparse)
        self.item = nn.Embedding(rows, DIM, sparse=sparse)
        for table in (self.user, self.item):
            nn.init.xavier_uniform_(table.weight)
        self.mlp = mlp()
        self.history, self.sparse = history, sparse

    def forward(self, user, history, item, label):
        if self.history == "bag":
            weight = self.item.weight
            pooled = functional.embedding_bag(history, weight, mode="mean", sparse=self.sparse)
        else:
            pooled = self.item(history).mean(dim=1)
        x = torch.cat([self.user(user), pooled, self.item(item)], dim=1)
        return functional.binary_cross_entropy_with_logits(self.mlp(x).squeeze(1), label)


class OneBag(nn.Module):
    """Both tables in one, so that one `embedding_bag` makes the whole of x and its gradient.

    Bags alternate user, history, item; a mean over one row is that row, and [3 B, 8] is x as it lies.
    """

    def __init__(self, rows: int, sparse: bool = False):
        super().__init__()
        self.table = nn.Parameter(torch.cat([nn.init.xavier_uniform_(torch.empty(rows, DIM)) for _ in range(2)]))
        self.mlp = mlp()
        self.sparse = sparse
        starts = torch.arange(BATCH)[:, None] * (HISTORY + 2) + torch.tensor([0, 1, HISTORY + 1])
        self.register_buffer("starts", starts.reshape(-1))

    def forward(self, ids, label):
        x = functional.embedding_bag(ids, self.table, self.starts, mode="mean", sparse=self.sparse)
        return functional.binary_cross_entropy_with_logits(self.mlp(x.view(BATCH, -1)).squeeze(1), label)


def mlp() -> nn.Sequential:
    widths = [3 * DIM, *HIDDEN, 1]
    layers = []
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def one_bag_batches(rows: int, batches: list) -> list:
    def join(user, history, item):
        return torch.cat([user[:, None], history + rows, item[:, None] + rows], dim=1).reshape(-1)

    return [(join(user, history, item), label) for user, history, item, label in batches]


def trainer(model, optimisers: list, batches: list, compiled: bool = False):
    loss_of = torch.compile(model, dynamic=False) if compiled else model

    def step(i):
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss = loss_of(*batches[i])
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()
        return loss.detach()

    return step


def dense(history: str, compiled: bool = False, **adam):
    def build(rows, batches):
        model = Model(rows, history)
        return trainer(model, [torch.optim.Adam(model.parameters(), lr=LR, **adam)], batches, compiled)

    return build


def dense_one_bag(compiled: bool = False, **adam):
    def build(rows, batches):
        model = OneBag(rows)
        optimisers = [torch.optim.Adam(model.parameters(), lr=LR, **adam)]
        return trainer(model, optimisers, one_bag_batches(rows, batches), compiled)

    return build


def sparse(history: str, **adam):
    def build(rows, batches):
        model = Model(rows, history, sparse=True)
        tables = torch.optim.SparseAdam([model.user.weight, model.item.weight], lr=LR)
        return trainer(model, [tables, torch.optim.Adam(model.mlp.parameters(), lr=LR, **adam)], batches)

    return build


def sparse_one_bag(**adam):
    def build(rows, batches):
        model = OneBag(rows, sparse=True)
        tables = torch.optim.SparseAdam([model.table], lr=LR)
        mlp_adam = torch.optim.Adam(model.mlp.parameters(), lr=LR, **adam)
        return trainer(model, [tables, mlp_adam], one_bag_batches(rows, batches))

    return build


def lazy_rows(rows, batches):
    """Adam by hand over the batch's distinct rows: gather, step on a small dense copy, write back."""
    model = OneBag(rows)
    table = model.table.detach()
    first, second = torch.zeros_like(table), torch.zeros_like(table)
    mlp_adam = torch.optim.Adam(model.mlp.parameters(), lr=LR, fused=True)
    batches = one_bag_batches(rows, batches)
    count = 0

    def step(i):
        nonlocal count
        count += 1
        ids, label = batches[i]
        distinct, place = torch.unique(ids, return_inverse=True)
        values = table.index_select(0, distinct).requires_grad_()
        x = functional.embedding_bag(place, values, model.starts, mode="mean")
        loss = functional.binary_cross_entropy_with_logits(model.mlp(x.view(BATCH, -1)).squeeze(1), label)
        mlp_adam.zero_grad(set_to_none=True)
        loss.backward()
        mlp_adam.step()
        with torch.no_grad():
            m = first.index_select(0, distinct).lerp_(values.grad, 1 - BETA1)
            v = second.index_select(0, distinct).mul_(BETA2).addcmul_(values.grad, values.grad, value=1 - BETA2)
            first.index_copy_(0, distinct, m)
            second.index_copy_(0, distinct, v)
            scale = math.sqrt(1 - BETA2**count)
            values.addcdiv_(m, v.sqrt().div_(scale).add_(EPSILON), value=-LR / (1 - BETA1**count))
            table.index_copy_(0, distinct, values)
        return loss.detach()

    return step


def whole_step_compiled(rows, batches):
    """Forward, gradient and dense Adam as one compiled graph, with no autograd at run time."""
    model = Model(rows, "mean")
    params = {name: value.detach().clone() for name, value in model.named_parameters()}
    moments = [{name: torch.zeros_like(value) for name, value in params.items()} for _ in range(2)]

    def loss_of(params, batch):
        return torch.func.functional_call(model, params, batch)

    @torch.compile(dynamic=False, fullgraph=True)
    def update(params, first, second, scales, batch):
        grads, loss = torch.func.grad_and_value(loss_of)(params, batch)
        for name, grad in grads.items():
            first[name].lerp_(grad, 1 - BETA1)
            second[name].mul_(BETA2).addcmul_(grad, grad, value=1 - BETA2)
            params[name].sub_(scales[0] * first[name] / (second[name].sqrt() * scales[1] + EPSILON))
        return loss

    count = 0

    def step(i):
        nonlocal count
        count += 1
        scales = torch.tensor([LR / (1 - BETA1**count), 1 / math.sqrt(1 - BETA2**count)])
        return update(params, *moments, scales, batches[i])

    return step


def sgemm_gflops(size: int = 1024, repeats: int = 40) -> float:
    """Best rate of a [size x size] float32 product."""
    a, b, c = (torch.rand(size, size) for _ in range(3))
    best = math.inf
    for _ in range(repeats):
        start = time.perf_counter()
        torch.mm(a, b, out=c)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


FORMS = {
    "dense": dense("bag"),
    "dense-gather": dense("mean"),
    "dense-foreach": dense("bag", foreach=True),
    "dense-fused": dense("bag", fused=True),
    "dense-fused-one-bag": dense_one_bag(fused=True),
    "lazy-sparse-adam": sparse("bag", fused=True),
    "lazy-sparse-adam-foreach": sparse("bag", foreach=True),
    "lazy-sparse-one-bag": sparse_one_bag(fused=True),
    "lazy-rows-by-hand": lazy_rows,
    "compiled-bag": dense("bag", compiled=True, fused=True),
    "compiled-gather": dense("mean", compiled=True, fused=True),
    "compiled-one-bag": dense_one_bag(compiled=True, fused=True),
    "compiled-whole-step": whole_step_compiled,
}


if __name__ == "__main__":
    main()
