"""Perennial's training step beside PyTorch's, in turns in one run, and both beside the machine's matmul limit.

Builds nothing. In every round each contender runs once as a process of its own, in the same order, so that a ratio within
a round compares neighbours in time. Prints one JSON object: times, ratios (above 1: Perennial is faster) as minimum,
median and maximum over the rounds, the gain of a second worker, and the share of the matmul limit that a step reaches.

    cargo build --release -p perennial-bench
    python bench/run.py --bin target/release --torch bench/pytorch/venv/bin/python
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

# PyTorch's best: of the forms that update only the batch's rows as Perennial does, of those that compile the loss, and
# of all. step.py knows the others, which were slower wherever we looked.
FORMS = ["dense-fused-one-bag", "lazy-rows-by-hand", "compiled-gather", "compiled-whole-step"]
BATCH, INPUTS, HIDDEN = 1024, 24, (200, 80)


def main():
    args = arguments()
    report = {"machine": machine(), "load_before": os.getloadavg()[0]}
    report["sgemm_gflops_torch"] = torch_step(args, 1, ["--matmul"])["sgemm_gflops"]
    report["products_perennial"] = [json.loads(line) for line in output([args.bin / "matmul"]).splitlines()]
    report["steps"] = [rounds(args, threads) for threads in args.threads]
    one = report["steps"][0]["perennial"]
    rate = matmul_flop() / min(one["cpu_ms"]) / 1e6
    report["step_matmul_gflops"] = round(rate, 1)
    report["step_share_of_limit"] = round(rate / report["sgemm_gflops_torch"], 3)
    report["gain_of_threads"] = [
        {"threads": step["threads"], "gain": spread([a / b for a, b in zip(one["wall_ms"], step["perennial"]["wall_ms"])])}
        for step in report["steps"][1:]
    ]
    report["load_after"] = os.getloadavg()[0]
    print(json.dumps(report, indent=1))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path, required=True, help="folder of the release binaries `step` and `matmul`")
    parser.add_argument("--torch", required=True, help="a python with pytorch/requirements.txt")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--ids", choices=["uniform", "zipf"], default="uniform")
    parser.add_argument("--rows", type=int, default=50_000, help="users, and items")
    parser.add_argument("--forms", nargs="+", default=FORMS)
    return parser.parse_args()


def rounds(args, threads: int) -> dict:
    """Times of every contender over the rounds, and PyTorch's over Perennial's."""
    mine, theirs = [], {form: [] for form in args.forms}
    for number in range(args.rounds):
        print(f"{threads} thread(s), round {number + 1} of {args.rounds}", file=sys.stderr)
        mine.append(perennial_step(args, threads))
        shape = ["--rows", str(args.rows), "--ids", args.ids]
        for form in torch_step(args, threads, [*shape, "--form", *args.forms])["forms"]:
            if "error" in form:
                sys.exit(f"{form['form']}: {form['error']}")
            theirs[form["form"]].append(form)
    wall, cpu = [row["ms_min"] for row in mine], [row["cpu_ms_min"] for row in mine]
    pytorch = [
        {
            "form": form,
            "wall_ms": [row["ms_per_step_min"] for row in rows],
            "cpu_ms": [row["cpu_ms_per_step_min"] for row in rows],
            "wall_ratio": spread([row["ms_per_step_min"] / mine for row, mine in zip(rows, wall)]),
            "cpu_ratio": spread([row["cpu_ms_per_step_min"] / mine for row, mine in zip(rows, cpu)]),
        }
        for form, rows in theirs.items()
    ]
    return {"threads": threads, "perennial": {"wall_ms": wall, "cpu_ms": cpu}, "pytorch": pytorch}


def perennial_step(args, threads: int) -> dict:
    sizes = ["--ids", str(args.rows), "--distribution", args.ids]
    return json.loads(output([args.bin / "step", "--workers", str(threads), "--steps", "50", *sizes]))


def torch_step(args, threads: int, options: list) -> dict:
    script = Path(__file__).parent / "pytorch" / "step.py"
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    return json.loads(output([args.torch, script, "--threads", str(threads), *options], environment))


def output(command: list, environment=None) -> str:
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout


def spread(values: list) -> dict:
    return {
        "min": round(min(values), 2),
        "median": round(statistics.median(values), 2),
        "max": round(max(values), 2),
    }


def matmul_flop() -> int:
    """Products of one step: forward, gradient of weights, gradient of inputs, at two operations per multiply-add."""
    widths = [INPUTS, *HIDDEN, 1]
    return 3 * sum(2 * BATCH * a * b for a, b in zip(widths, widths[1:]))


def machine() -> str:
    names = [line.split(":")[1].strip() for line in cpuinfo() if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} processors"


def cpuinfo() -> list:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    main()
