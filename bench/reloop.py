"""What learning from one's own mistakes is worth: distillation, ReLoop's self-correction and the regret hinge against plain
training, on any log, for several backbones, all else equal.

For each backbone the weight of each loss is chosen on periods 21 to 23 of a run that ends there (two seeds, which are not
those of the comparison); then the losses meet on the last 7 of 31 periods over five seeds. Prints a table for each backbone,
with p of a t-test paired over seeds, and JSON with `--json FILE`.

    python bench/reloop.py --perennial target/release/perennial --log logs/ml-1m
"""

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

from drift import deviation, p_value

EXPERIMENT = """
name = "reloop"
log = "{log}"
seeds = {seeds}

[data]
history = 30
{data}

[protocol]
pretrain = 10
baseline = "plain"
{span}

[training]
batch_size = 1024
pretrain_epochs = {pretrain_epochs}
optimiser = {{ rule = "adam", learning_rate = {lr} }}

[model]
{model}
"""

MODELS = {
    "embedding_mlp": 'kind = "embedding_mlp"\ndim = 8\nhidden = [20, 10]',
    "deepfm": 'kind = "deepfm"\nfields = { dim = 8, init = { normal = { std = 0.01 } } }\nmlp = { hidden = [64, 32] }',
    "dcn": 'kind = "dcn"\nfields = { dim = 8, init = { normal = { std = 0.01 } } }\nmlp = { hidden = [64, 32] }',
}

SELECTION = "periods = 13\naverage_last = 3"
TEST = "average_last = 7"
WEIGHTS = [0.1, 0.2, 0.3, 0.5]
LOSSES = ["distillation", "self_correction", "regret"]
METRICS = ["auc", "log_loss", "calibration"]


def main():
    args = arguments()
    report = {model: compare(args, MODELS[model]) for model in args.models}
    for model, losses in report.items():
        print(f"\n{model}\n")
        print("| loss | weight | AUC | LogLoss | promised / seen | AUC to plain | p |\n|---|---|---|---|---|---|---|")
        for loss, row in losses.items():
            print("| " + " | ".join([loss, *cells(row)]) + " |")
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--perennial", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--slicing", default="{ count = 31 }")
    parser.add_argument("--data", default="", help="more lines of [data], such as negatives")
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--pretrain-epochs", type=int, default=3)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def compare(args, model: str) -> dict:
    """Each loss at the weight that did best on the selection periods."""
    grid = {(loss, weight): f"{loss}-{weight}" for loss in LOSSES for weight in WEIGHTS}
    methods = {name: (loss, weight) for (loss, weight), name in grid.items()}
    selection = run(args, model, [101, 102], SELECTION, methods)
    auc = {name: statistics.mean(seed["auc"] for seed in seeds) for name, seeds in selection.items()}
    best = {loss: max(WEIGHTS, key=lambda weight: auc[grid[loss, weight]]) for loss in LOSSES}
    test = run(args, model, list(range(1, args.seeds + 1)), TEST, {loss: (loss, best[loss]) for loss in LOSSES})
    rows = {"plain": {"selection": {name: round(value, 5) for name, value in auc.items()}}}
    rows |= {loss: {"weight": best[loss]} for loss in LOSSES}
    return {loss: row | summary(test[loss], test["plain"]) for loss, row in rows.items()}


def run(args, model: str, seeds: list, span: str, methods: dict) -> dict:
    """Means of metrics over the span, by method and seed; beside `methods` the plain one."""
    data = f"slicing = {args.slicing}\n{args.data}"
    text = EXPERIMENT.format(
        log=args.log.resolve(), seeds=seeds, data=data, span=span, lr=args.lr, pretrain_epochs=args.pretrain_epochs, model=model
    )
    text += '\n[[method]]\nname = "plain"\nstrategy = "incremental"\n'
    for name, (loss, weight) in methods.items():
        objective = f"{{ bce = {1 - weight:.1f}, {loss} = {weight} }}"
        text += f'\n[[method]]\nname = "{name}"\nstrategy = "incremental"\nobjective = {objective}\n'
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "reloop.toml", Path(folder) / "run"
        file.write_text(text)
        words = [args.perennial.resolve(), "run", file, "--out", out, "--quiet"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        results = json.loads((out / "results.json").read_text())
    last = 3 if span == SELECTION else 7
    return {method["name"]: [means(seed, last) for seed in method["seeds"]] for method in results["methods"]}


def means(seed: dict, last: int) -> dict:
    periods = seed["periods"][-last:]
    return {metric: statistics.mean(period["metrics"]["values"][metric] for period in periods) for metric in METRICS}


def summary(seeds: list, plain: list) -> dict:
    auc = [seed["auc"] for seed in seeds]
    row = {metric: statistics.mean(seed[metric] for seed in seeds) for metric in METRICS}
    row["std"] = deviation(auc)
    differences = [ours["auc"] - theirs["auc"] for ours, theirs in zip(seeds, plain)]
    error = deviation(differences) / len(seeds) ** 0.5
    if error > 0:
        row["difference"] = statistics.mean(differences)
        row["p"] = p_value(row["difference"] / error, len(seeds) - 1)
    return row


def cells(row: dict) -> list:
    difference = [f"{row['difference']:+.4f}", f"{row['p']:.3f}"] if "p" in row else ["", ""]
    auc = f"{row['auc']:.4f} ± {row['std']:.4f}"
    return [str(row.get("weight", "")), auc, f"{row['log_loss']:.4f}", f"{row['calibration']:.3f}", *difference]


if __name__ == "__main__":
    main()
