"""Peak memory of `perennial run` on a log and on one several times longer, of the same users, items and period size.

Writes two CSV logs, imports both and runs one incremental method on each; prints JSON with the peak resident
set of every command and the ratio of the two runs. Memory is meant to be bounded by the largest period, the vocabulary
and the histories, so the ratio should be near 1.

    python bench/memory.py --perennial target/release/perennial
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

SCHEMA = """
name = "memory"
field = [
  { name = "user", kind = "id", role = "user", id = "int" },
  { name = "item", kind = "id", role = "item", id = "int" },
  { name = "time", kind = "timestamp", unit = "s" },
  { name = "label", kind = "label" },
]
"""

EXPERIMENT = """
name = "memory"
log = "{log}"
seeds = [1]

[data]
slicing = {{ count = {periods} }}
history = 30

[protocol]
pretrain = 5
average_last = 7

[model]
kind = "embedding_mlp"
dim = 8
hidden = [200, 80]

[[method]]
name = "incremental"
strategy = "incremental"
"""


def main():
    args = arguments()
    with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
        rows = [measure(args, Path(folder), periods) for periods in (args.periods, args.periods * args.times)]
    short, long = rows
    ratio = long["run_peak_mib"] / short["run_peak_mib"]
    print(json.dumps({"logs": rows, "run_peak_ratio": round(ratio, 4), "load": os.getloadavg()[0]}, indent=1))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--perennial", required=True, help="the release binary")
    parser.add_argument("--scratch", help="folder for logs and runs, deleted afterwards")
    parser.add_argument("--periods", type=int, default=15, help="periods of the shorter log")
    parser.add_argument("--times", type=int, default=10, help="how many times longer the other one is")
    parser.add_argument("--period-rows", type=int, default=50_000)
    parser.add_argument("--users", type=int, default=5_000, help="few, so that histories are full early in either log")
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--workers", type=int, default=1)
    return parser.parse_args()


def measure(args, folder: Path, periods: int) -> dict:
    """Sizes and peaks for a log of so many periods."""
    name = f"{periods}-periods"
    source, log = folder / f"{name}.csv", folder / f"{name}.log"
    (folder / "schema.toml").write_text(SCHEMA)
    write_log(source, periods * args.period_rows, args.users, args.items)
    command = ["import", source, "--schema", folder / "schema.toml", "--out", log, "--quiet"]
    import_peak, import_seconds = peak([args.perennial, *command], folder)
    source.unlink()
    experiment = folder / f"{name}.toml"
    experiment.write_text(EXPERIMENT.format(log=log, periods=periods))
    command = ["run", experiment, "--out", folder / f"{name}.run", "--workers", str(args.workers), "--quiet"]
    run_peak, run_seconds = peak([args.perennial, *command], folder)
    return {
        "periods": periods,
        "rows": periods * args.period_rows,
        "import_peak_mib": import_peak,
        "import_seconds": import_seconds,
        "run_peak_mib": run_peak,
        "run_seconds": run_seconds,
    }


def write_log(path: Path, rows: int, users: int, items: int):
    """One event a second; a user likes an item or not for ever, up to noise."""
    draw = random.Random(1).random
    with open(path, "w") as file:
        file.write("user,item,time,label\n")
        for time in range(rows):
            user, item = int(draw() * users), int(draw() * items)
            label = int((user ^ item) % 3 == 0) if draw() < 0.8 else int(draw() * 2)
            file.write(f"{user},{item},{1_600_000_000 + time},{label}\n")


def peak(command: list, folder: Path) -> tuple[float, float]:
    """Peak resident MiB and processor seconds of a command that must succeed."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}")
    return round(usage.ru_maxrss / 1024, 1), round(usage.ru_utime + usage.ru_stime, 1)


if __name__ == "__main__":
    main()
