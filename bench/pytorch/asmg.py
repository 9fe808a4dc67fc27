"""ASMG (Peng et al., RecSys 2021) and its rivals on MovieLens, by the protocol of `protocol.py`.

Theta_t, t = 11..30, is the base model after training on period t, as `incremental` makes it; what
a generator makes never enters that trajectory, and the pre-trained model is no input of a generator.
Order of one period t + 1, for every generator:

    1. Theta*_t = M(Theta_{t-k+1..t}, h_{t-k}) is scored on D_{t+1}.
    2. M learns from D_{t+1}: one pass, its step j against the period after that step's model.
    3. h_{t-k+1} is the state after the first step of that sequence under the new M.
    4. Theta_{t+1} = train(Theta_t, D_{t+1}).

A generator's first update needs k base models (`gru-full` needs 1). Until it has happened, the
newest base model is served and scored, with either output: up to and including period 14 for
k = 3, so evaluation periods 25..31 are always scored with generated models.
"""

import argparse
import copy
import json
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch.func import functional_call
from torch.nn import functional

import features
import logs
import sml
from generators import Gru, Linear, Snapshot
from incctr import IncCtr
from protocol import PERIODS, PRETRAIN, REFERENCES, REPORTED, Learner, Protocol, mean, summarise
from spmf import Spmf

SELECTION = range(21, 24)


@dataclass(frozen=True)
class Variant:
    loss: str  # `last` step only, or all steps weighted `linear` or `uniform`
    carried: bool = False  # whether a sequence starts from a state kept, or from zeros
    whole: bool = False  # whether a sequence reaches back to the first base model, or k models

    def weights(self, length: int) -> list[float]:
        """Of the steps of a sequence; they sum to 1, and the newest is last."""
        if self.loss == "last":
            return [0.0] * (length - 1) + [1.0]
        shares = [j if self.loss == "linear" else 1 for j in range(1, length + 1)]
        return [share / sum(shares) for share in shares]


VARIANTS = {
    "linear": Variant("last"),
    "gru-single": Variant("last", carried=True),
    "gru-multi": Variant("linear", carried=True),
    "gru-unif": Variant("uniform", carried=True),
    "gru-zero": Variant("linear"),
    "gru-full": Variant("linear", whole=True),
}


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    log = logs.load(args.data, args.dataset)
    runs = []
    for seed in args.seed:
        start = time.time()
        stream = Stream(args, log, seed)
        for method in args.method:
            for label, periods in stream.results(method).items():
                run = {"method": label, "seed": seed, "mean": mean(periods, REPORTED)}
                runs.append(run | {"selection": mean(periods, SELECTION), "periods": periods})
        print(f"seed {seed}: {time.time() - start:.0f} s", flush=True)
        if args.out:
            with open(args.out, "w") as out:
                json.dump({"args": vars(args), "notes": log.notes, "runs": runs}, out, indent=1)
    for span in ["selection", "mean"]:
        print(span, *summarise(runs, span), sep="\n  ", flush=True)
    print("periods", *curves(runs), sep="\n  ")


def arguments(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="folder of the data sets")
    parser.add_argument("--dataset", default="ml-1m", choices=["ml-100k", "ml-1m"])
    methods = [*REFERENCES, "incremental", "incctr", "spmf", "spmf-shuffled", "sml", *VARIANTS]
    parser.add_argument("--method", nargs="+", default=["incremental", "gru-multi"], choices=methods)
    parser.add_argument("--seed", nargs="+", type=int, default=[0])
    outputs = "of the GRU generators: h alone makes a value, or is added to the newest; each gives a result"
    parser.add_argument("--output", nargs="+", default=["plain"], choices=["plain", "residual"], help=outputs)
    born = "a table row's sequence starts at the first period with a sample of its id (GRU generators)"
    parser.add_argument("--born", action="store_true", help=born)
    parser.add_argument("--k", type=int, default=3, help="models in a sequence")
    parser.add_argument("--d", type=int, default=4, help="width of a GRU's state")
    parser.add_argument("--meta-lr", type=float, default=1e-2)
    parser.add_argument("--meta-epochs", type=int, default=1)
    parser.add_argument("--meta-batch", type=int, help="of a generator's newest period (default: --batch)")
    parser.add_argument("--incctr-weight", type=float, default=0.2, help="of the previous version's probabilities")
    parser.add_argument("--spmf-fraction", type=float, default=0.3, help="of the pre-training data kept")
    parser.add_argument("--spmf-ratio", type=float, default=0.5, help="replayed samples per new sample")
    parser.add_argument("--sml-transfer-lr", type=float, default=1e-3)
    parser.add_argument("--sml-base-lr", type=float, default=1e-2)
    parser.add_argument("--epochs", type=int, default=3, help="of pre-training")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", help="where to write the results, as JSON")
    args = parser.parse_args(argv)
    args.meta_batch = args.meta_batch or args.batch
    fixed = {"hidden": [20, 10], "dim": 8, "update_epochs": 1, "table_lr": None, "item_bias": False}
    vars(args).update(fixed)
    return args


class Stream(Protocol):
    """Runs methods over one log with one seed; all start from one pre-trained model and base trajectory."""

    def __init__(self, args, log, seed: int):
        super().__init__(args, log, features.numerics(log, []), seed)
        self.pretrained = Learner(args, log, 0, seed)
        for epoch in range(args.epochs):
            self.train(self.pretrained, 1, PRETRAIN, PRETRAIN, epoch)
        self.trajectory, self.incremental = self.base()
        users, items = (first_periods(ids, log, self.length) for ids in [log.user[log.event], log.item])
        self.born = {"user": users, "item": items} if args.born else {}

    def base(self) -> tuple[list[Snapshot], dict]:
        """Theta_11..Theta_30, and what `incremental` scores."""
        trajectory, learner = [], copy.deepcopy(self.pretrained)

        def update(period: int):
            self.train(learner, period, period, period, 0)
            trajectory.append(Snapshot(period, snapshot(learner.model)))

        return trajectory, self.online(learner, update)

    def results(self, method: str) -> dict:
        """Label -> evaluation period -> metrics."""
        args = self.args
        if method in REFERENCES:
            return {method: self.reference(method)}
        if method == "incremental":
            return {method: self.incremental}
        if method == "linear":
            return {method: self.generated(method, Linear(self.trajectory[0].values, args.k))}
        if method in VARIANTS:
            return {self.named(method, output): self.generated(method, self.gru(output)) for output in args.output}
        learner = copy.deepcopy(self.pretrained)
        if method == "incctr":
            rival = IncCtr(self, learner, args.incctr_weight)
        elif method == "sml":
            transfer = sml.Transfer(snapshot(learner.model), 1000 + self.seed)
            rival = sml.Sml(self, learner, transfer, args.sml_transfer_lr, args.sml_base_lr)
        else:
            rival = Spmf(self, learner, args.spmf_fraction, args.spmf_ratio, method == "spmf-shuffled")
        return {method: self.online(rival, rival.update)}

    def online(self, version, update) -> dict:
        """Test, then train: evaluation period -> metrics."""
        results = {}
        for period in range(PRETRAIN + 1, PERIODS + 1):
            results[period] = self.score(version, period)
            if period < PERIODS:
                update(period)
        return results

    def gru(self, output: str) -> Gru:
        return Gru(self.trajectory[0].values, self.args.d, output == "residual", self.born, 1000 + self.seed)

    def named(self, method: str, output: str) -> str:
        return " ".join([method, output] + ["born"] * self.args.born)

    def generated(self, method: str, generator) -> dict:
        """`incremental`, but with the generator's models served once it has had an update."""
        served = Generated(self, VARIANTS[method], generator)
        results = {}
        for period in range(PRETRAIN + 1, PERIODS + 1):
            past = self.trajectory[: period - 1 - PRETRAIN]
            if not served.updates:
                results[period] = self.incremental[period]
            else:
                results[period] = self.score(Version(self.pretrained.model, served.serve(past)), period)
            if period < PERIODS and served.ready(past):
                start = time.process_time()
                served.update(past, period)
                results[period] = results[period] | {"meta_cpu_seconds": time.process_time() - start}
        return results


class Generated:
    """A generator with its optimizer, which travels through all periods, and the state it carries."""

    def __init__(self, stream: Stream, variant: Variant, generator):
        self.stream, self.variant, self.generator = stream, variant, generator
        self.adam = torch.optim.Adam(generator.parameters(), lr=stream.args.meta_lr, fused=True)
        self.memory = None  # the state before the next sequence; None is zeros
        self.updates = 0

    def ready(self, past: list[Snapshot]) -> bool:
        return len(past) >= (1 if self.variant.whole else self.stream.args.k)

    def sequence(self, past: list[Snapshot]) -> list[Snapshot]:
        return past if self.variant.whole else past[-self.stream.args.k :]

    @torch.no_grad()
    def serve(self, past: list[Snapshot]) -> dict:
        outputs, _ = self.generator(self.sequence(past), self.memory)
        return outputs[-1]

    def update(self, past: list[Snapshot], period: int):
        """Learns from a period that the newest of `past` has been scored on and nothing has learned from."""
        sequence = self.sequence(past)
        assert sequence[-1].period + 1 == period, f"{sequence[-1].period} is not the period before {period}"
        weights = self.variant.weights(len(sequence))
        for epoch in range(self.stream.args.meta_epochs):
            for batches in zip(*self.batches(sequence, weights, epoch)):
                outputs, _ = self.generator(sequence, self.memory)
                losses = [w * self.loss(*pair) for w, *pair in zip(weights, outputs, batches) if w]
                self.adam.zero_grad()
                sum(losses).backward()
                self.adam.step()
        if self.variant.carried:
            with torch.no_grad():
                self.memory = self.generator(sequence, self.memory)[1][0]
        self.updates += 1

    def batches(self, sequence: list[Snapshot], weights: list[float], epoch: int) -> list[tuple]:
        """Per step its batches, as many as the newest period has; a step of weight 0 gets empty ones.

        The newest period is cut by the batch size, its last batch short; an older one into parts
        that differ by at most one sample. Every period is shuffled on its own.
        """
        period = sequence[-1].period + 1
        orders = [self.order(period, snapshot.period + 1, epoch) for snapshot in sequence]
        newest = orders[-1].split(self.stream.args.meta_batch)
        older = [order.tensor_split(len(newest)) for order in orders[:-1]]
        return [part if w else [None] * len(newest) for w, part in zip(weights, [*older, newest])]

    def order(self, update: int, period: int, epoch: int):
        return self.stream.shuffled(period, period, [update, epoch, period])

    def loss(self, values: dict, batch):
        logits = functional_call(self.stream.pretrained.model, values, self.stream.inputs(batch))
        return functional.binary_cross_entropy_with_logits(logits, self.stream.label[batch])


class Version:
    """Parameters by name as a model that can be scored."""

    def __init__(self, module, values: dict):
        self.module, self.values = module, values

    def model(self, *inputs):
        return functional_call(self.module, self.values, inputs)


def snapshot(model) -> dict:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def first_periods(ids: np.ndarray, log, length: int):
    """By id the first period with a sample of it; an id without any (the pad) counts as there from the start."""
    period = torch.from_numpy(1 + log.event // length)
    ids = torch.from_numpy(ids)
    first = torch.zeros(1 + int(ids.max()), dtype=torch.long)
    return first.scatter_reduce(0, ids, period, "amin", include_self=False)


def curves(runs: list[dict]) -> list[str]:
    """AUC by evaluation period, mean over seeds, one line per method."""
    rows = ["period".ljust(24) + " ".join(f"{period:>5}" for period in range(PRETRAIN + 1, PERIODS + 1))]
    for method in dict.fromkeys(run["method"] for run in runs):
        found = [run["periods"] for run in runs if run["method"] == method]
        cells = [np.mean([periods[p]["auc"] for periods in found]) for p in range(PRETRAIN + 1, PERIODS + 1)]
        rows.append(method.ljust(24) + " ".join(f"{cell:.3f}" for cell in cells))
    return rows


if __name__ == "__main__":
    main()
