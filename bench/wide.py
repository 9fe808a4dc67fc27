"""DeepFM's training step on a wide log beside PyTorch's, in turns in one run.

Builds nothing. In every round each contender runs once as a process of its own, so that a ratio within a round compares
neighbours in time. Prints one JSON object: milliseconds of processor time, PyTorch's over Perennial's (above 1: Perennial is
faster) as minimum, median and maximum over the rounds, and the share of the matmul limit that a step reaches.

    cargo build --release -p perennial-bench
    python bench/wide.py --bin target/release --torch bench/pytorch/venv/bin/python --hidden 400 400 400
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

FORMS = ["dense", "lazy-sparse-adam", "lazy-rows-compiled"]
FIELDS, DIM, BATCH = 39, 16, 4096


def main():
    args = arguments()
    report = {"hidden": args.hidden, "load_before": os.getloadavg()[0]}
    report["sgemm_gflops_torch"] = json.loads(output([args.torch, "step.py", "--matmul"]))["sgemm_gflops"]
    report["steps"] = [rounds(args, threads) for threads in args.threads]
    rate = matmul_flop(args.hidden) / min(report["steps"][0]["perennial"]) / 1e6
    report["step_share_of_limit"] = round(rate / report["sgemm_gflops_torch"], 3)
    report["load_after"] = os.getloadavg()[0]
    print(json.dumps(report, indent=1))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path, required=True, help="folder of the release binary `wide_step`")
    parser.add_argument("--torch", required=True, help="a python with pytorch/requirements.txt")
    parser.add_argument("--hidden", type=int, nargs="+", default=[400, 400, 400])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--forms", nargs="+", default=FORMS)
    args = parser.parse_args()
    args.torch = str(Path(args.torch).absolute())
    return args


def rounds(args, threads: int) -> dict:
    """Least wall time of a step in each round, of Perennial and of each form."""
    mine, theirs = [], {form: [] for form in args.forms}
    for number in range(args.rounds):
        print(f"{threads} thread(s), round {number + 1} of {args.rounds}", file=sys.stderr)
        hidden = ",".join(map(str, args.hidden))
        words = [str((args.bin / "wide_step").absolute()), "--hidden", hidden, "--workers", str(threads), "--repeats", "3"]
        mine.append(json.loads(output(words))["ms_min"])
        words = ["wide_step.py", "--threads", str(threads), "--repeats", "2", "--hidden", *map(str, args.hidden)]
        forms = json.loads(output([args.torch, *words, "--form", *args.forms]))["forms"]
        for form in forms:
            theirs[form["form"]].append(form["ms_per_step_min"])
    ratios = {form: spread([b / a for a, b in zip(mine, times)]) for form, times in theirs.items()}
    return {"threads": threads, "perennial": mine, "torch": theirs, "ratios": ratios}


def spread(values: list) -> list:
    return [round(value, 2) for value in (min(values), statistics.median(values), max(values))]


def matmul_flop(hidden: list) -> float:
    """Of one step: forward, and backward twice as much."""
    widths = [FIELDS * DIM, *hidden, 1]
    return 3 * 2 * BATCH * sum(a * b for a, b in zip(widths, widths[1:]))


def output(words: list) -> str:
    folder = Path(__file__).parent / "pytorch"
    return subprocess.run(words, check=True, capture_output=True, text=True, cwd=folder).stdout


if __name__ == "__main__":
    main()
