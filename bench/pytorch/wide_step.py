"""Times a whole training step (lookup, forward, backward, update) of DeepFM on a wide log in PyTorch.

The peer of `bench/src/bin/wide_step.rs`, doing the same work: 26 fields of ids and 13 of numbers, one million ids in all,
vectors of 16, a linear part, pairs, an MLP, BCE on logits, batch 4096, Adam 1e-3. Batches are made beforehand. Several forms
of the same step are timed, so that what is compared against is PyTorch's best and not its default. Forms marked `lazy` update
only the rows of the batch, as Perennial does; the others update whole tables.
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

LR, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-8


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    batches = make_batches(args)
    report = {"torch": torch.__version__, "threads": args.threads, "hidden": args.hidden, "ids": args.ids}
    report["forms"] = [timed(name, batches, args) for name in args.form or FORMS]
    print(json.dumps(report, indent=1))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--categorical", type=int, default=26)
    parser.add_argument("--numeric", type=int, default=13)
    parser.add_argument("--ids", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--hidden", type=int, nargs="+", default=[400, 400, 400])
    parser.add_argument("--uniform", action="store_true", help="ids all alike; else in proportion to 1 / rank^1.05")
    parser.add_argument("--form", nargs="+", choices=list(FORMS), help="forms to time; all by default")
    parser.add_argument("--steps", type=int, default=10, help="distinct batches, one step each per repeat")
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def make_batches(args) -> list:
    """(ids [B, fields] in one table, numbers [B, numbers], label [B])."""
    rng = np.random.default_rng(7)
    rows = args.ids // args.categorical
    weights = np.arange(1, rows + 1) ** (0.0 if args.uniform else -1.05)
    cumulative = np.cumsum(weights / weights.sum())
    shuffle = rng.permutation(rows)  # so that frequent ids are not neighbours in memory

    def one():
        rank = np.minimum(np.searchsorted(cumulative, rng.random((args.batch, args.categorical))), rows - 1)
        ids = torch.from_numpy(shuffle[rank] + np.arange(args.categorical) * rows)
        numbers = torch.from_numpy(rng.random((args.batch, args.numeric), dtype=np.float32))
        return ids, numbers, torch.from_numpy(rng.integers(0, 2, args.batch).astype(np.float32))

    return [one() for _ in range(args.steps)]


def timed(name: str, batches: list, args) -> dict:
    """Milliseconds per step over the repeats; compilation and first touches are left out as warm-up."""
    try:
        torch.manual_seed(0)
        step = FORMS[name](args, batches)
        for i in range(len(batches)):
            step(i)
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
    print(f"{name:24} min {min(spans):.2f} ms, cpu {min(busy):.2f} ms", file=sys.stderr)
    return {
        "form": name,
        "ms_per_step_min": round(min(spans), 3),
        "ms_per_step_median": round(statistics.median(spans), 3),
        "cpu_ms_per_step_min": round(min(busy), 3),
        "loss_last": round(last, 4),
    }


class Head(nn.Module):
    """All but the tables: vectors and weights of ids, and numbers, become logits."""

    def __init__(self, args):
        super().__init__()
        fields = args.categorical + args.numeric
        widths = [fields * args.dim, *args.hidden, 1]
        layers = []
        for a, b in zip(widths, widths[1:]):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.mlp = nn.Sequential(*layers[:-1])
        self.vectors = nn.Parameter(0.01 * torch.randn(args.numeric, args.dim))
        self.weights = nn.Parameter(torch.zeros(args.numeric))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, vectors, weights, numbers, label):
        x = torch.cat([vectors, numbers[:, :, None] * self.vectors], dim=1)
        sums = x.sum(1)
        pairs = 0.5 * (sums * sums - (x * x).sum(1)).sum(1)
        linear = weights.sum(1) + numbers @ self.weights + self.bias
        logits = linear + pairs + self.mlp(x.flatten(1)).squeeze(1)
        return functional.binary_cross_entropy_with_logits(logits, label)


class DeepFm(nn.Module):
    def __init__(self, args, sparse: bool = False):
        super().__init__()
        self.vectors = nn.Embedding(args.ids, args.dim, sparse=sparse)
        self.weights = nn.Embedding(args.ids, 1, sparse=sparse)
        nn.init.normal_(self.vectors.weight, std=0.01)
        nn.init.zeros_(self.weights.weight)
        self.head = Head(args)

    def forward(self, ids, numbers, label):
        return self.head(self.vectors(ids), self.weights(ids).squeeze(2), numbers, label)


def trainer(model, optimisers: list, batches: list, compiled: bool):
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


def dense(compiled: bool = False, **adam):
    def build(args, batches):
        model = DeepFm(args)
        return trainer(model, [torch.optim.Adam(model.parameters(), lr=LR, **adam)], batches, compiled)

    return build


def sparse(**adam):
    def build(args, batches):
        model = DeepFm(args, sparse=True)
        tables = torch.optim.SparseAdam([model.vectors.weight, model.weights.weight], lr=LR)
        head = torch.optim.Adam(model.head.parameters(), lr=LR, **adam)
        return trainer(model, [tables, head], batches, False)

    return build


def rows_by_hand(compiled: bool = False):
    """Adam by hand over the batch's distinct rows: gather, step on a small dense copy, write back."""

    def build(args, batches):
        model = DeepFm(args)
        head = torch.compile(model.head, dynamic=False) if compiled else model.head
        adam = torch.optim.Adam(model.head.parameters(), lr=LR, fused=True)
        tables = [model.vectors.weight.detach(), model.weights.weight.detach()]
        moments = [(torch.zeros_like(table), torch.zeros_like(table)) for table in tables]
        count = 0

        def step(i):
            nonlocal count
            count += 1
            ids, numbers, label = batches[i]
            distinct, place = torch.unique(ids, return_inverse=True)
            values = [table.index_select(0, distinct).requires_grad_() for table in tables]
            flat = place.reshape(-1)
            vectors = values[0].index_select(0, flat).view(*ids.shape, -1)
            weights = values[1].index_select(0, flat).view(ids.shape)
            loss = head(vectors, weights, numbers, label)
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
            scale, rate = math.sqrt(1 - BETA2**count), -LR / (1 - BETA1**count)
            with torch.no_grad():
                for table, (first, second), value in zip(tables, moments, values):
                    m = first.index_select(0, distinct).lerp_(value.grad, 1 - BETA1)
                    v = second.index_select(0, distinct).mul_(BETA2).addcmul_(value.grad, value.grad, value=1 - BETA2)
                    first.index_copy_(0, distinct, m)
                    second.index_copy_(0, distinct, v)
                    value.addcdiv_(m, v.sqrt().div_(scale).add_(EPSILON), value=rate)
                    table.index_copy_(0, distinct, value)
            return loss.detach()

        return step

    return build


FORMS = {
    "dense": dense(),
    "dense-fused": dense(fused=True),
    "lazy-sparse-adam": sparse(),
    "lazy-sparse-adam-fused": sparse(fused=True),
    "lazy-rows-by-hand": rows_by_hand(),
    "lazy-rows-compiled": rows_by_hand(compiled=True),
    "compiled-fused": dense(compiled=True, fused=True),
}


if __name__ == "__main__":
    main()
