"""When a generator pays: ASMG against the incremental update over worlds that drift at different rates.

Writes worlds of several seeds for every rate, runs one experiment on each (the model's seed is the world's) and prints
JSON: mean AUC of each method over the last 7 of 31 periods, and the paired difference to `incremental` with its standard
error and p-value (t-test over worlds). The worlds are the demo's, longer, with fewer rows unless `--rows` says otherwise; a rate multiplies their
drift. Nothing here was chosen by looking at a method.

    python bench/drift.py --perennial target/release/perennial --rates 0 1 4 --seeds 10
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

WORLD = """
periods = 31
rows = {rows}
drift = {{ items = {items}, users = {users} }}
"""

EXPERIMENT = """
name = "drift"
log = "world/log"
seeds = [{seed}]

[data]
slicing = {{ time = "1d" }}
history = 30

[protocol]
pretrain = 10
average_last = 7
baseline = "incremental"

[training]
batch_size = 1024
pretrain_epochs = 2
optimiser = {{ rule = "adam", learning_rate = {lr} }}
"""

METHODS = {
    "incremental": '"incremental"',
    "batch-3": "{ batch = { window = 3 } }",
    "asmg-linear": '"asmg_linear"',
    "gru-multi": '{ asmg_gru = { variant = "multi" } }',
    "gru-multi-residual": '{ asmg_gru = { generator = { output = "residual" } } }',
}


def main():
    args = arguments()
    report = []
    for rate in args.rates:
        runs = [run(args, rate, seed) for seed in range(1, args.seeds + 1)]
        report.append({"rate": rate, "rows": args.rows, "learning_rate": args.lr, "methods": {m: summary(runs, m) for m in runs[0]}})
        print(json.dumps(report[-1]), file=sys.stderr, flush=True)
    print(json.dumps(report, indent=1))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--perennial", type=Path, required=True)
    parser.add_argument("--rates", type=float, nargs="+", default=[0, 0.5, 1, 2, 4], help="factors of the demo's drift")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rows", type=int, default=8000, help="of a period")
    parser.add_argument("--lr", type=float, default=0.01, help="of the base model")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--span", choices=["last", "selection"], default="last", help="selection: periods 21 to 23")
    return parser.parse_args()


def run(args, rate: float, seed: int) -> dict:
    """Mean AUC of each method, references included."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        drift = {"items": min(1.0, 0.1 * rate), "users": min(1.0, 0.05 * rate)}
        (folder / "world.toml").write_text(WORLD.format(rows=args.rows, **drift))
        methods = "".join(f'\n[[method]]\nname = "{name}"\nstrategy = {METHODS[name]}\n' for name in args.methods)
        (folder / "drift.toml").write_text(EXPERIMENT.format(seed=seed, lr=args.lr) + methods)
        call(args, ["world", folder / "world.toml", "--out", folder / "world", "--seed", seed])
        call(args, ["run", folder / "drift.toml", "--out", folder / "run"])
        ledger = folder / "run" / "ledger"
        return {place.parent.name: mean_auc(place, args.span) for place in sorted(ledger.glob("*/*")) if scored(place)}


def call(args, words: list):
    subprocess.run([args.perennial, *map(str, words), "--quiet"], check=True, stdout=subprocess.DEVNULL)


def scored(place: Path) -> list:
    return sorted(place.glob("scored-*.json"))


def mean_auc(place: Path, span: str) -> float:
    files = scored(place)
    # Scored periods are 11 to 31.
    files = files[-7:] if span == "last" else files[10:13]
    # The last line of a record is its checksum.
    records = [json.loads(file.read_text().rpartition("\nblake3 ")[0]) for file in files]
    return statistics.mean(record["metrics"]["values"]["auc"] for record in records)


def summary(runs: list, method: str) -> dict:
    values = [run[method] for run in runs]
    differences = [run[method] - run["incremental"] for run in runs]
    row = {"auc": round(statistics.mean(values), 4), "std": round(deviation(values), 4)}
    error = deviation(differences) / math.sqrt(len(runs))
    if error > 0:
        row |= {"difference": round(statistics.mean(differences), 4), "standard_error": round(error, 4)}
        row["p"] = round(p_value(statistics.mean(differences) / error, len(runs) - 1), 5)
    return row


def deviation(values: list) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def p_value(t: float, freedom: int) -> float:
    """Two-sided, of Student's t: the density integrated by Simpson's rule."""
    scale = math.gamma((freedom + 1) / 2) / (math.sqrt(freedom * math.pi) * math.gamma(freedom / 2))
    density = lambda x: scale * (1 + x * x / freedom) ** (-(freedom + 1) / 2)
    steps, end = 20_000, abs(t)
    h = end / steps
    inner = sum((4 if i % 2 else 2) * density(i * h) for i in range(1, steps))
    return max(0.0, 1 - 2 * h / 3 * (density(0) + inner + density(end)))


if __name__ == "__main__":
    main()
