"""How quickly does `ndl` answer? CPU seconds of a few commands, each in a process of its own.

    python benchmarks/startup.py [--json FILE] [--check]

Goal: `ndl --help` under 0.5 CPU s; `import sandbox` under a tenth of `import torch`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

COMMANDS = {
    "python itself": [sys.executable, "-c", ""],
    "import sandbox, evaluators, dashboards": [
        sys.executable,
        "-c",
        "import sandbox, evaluators, dashboards",
    ],
    "ndl --help": [sys.executable, "-m", "sandbox.cli", "--help"],
    "import torch": [sys.executable, "-c", "import torch"],
    "import mlflow": [sys.executable, "-c", "import mlflow"],
}
REPEATS = 3


def cpu_seconds(command: list[str]) -> float:
    """User and system CPU seconds of one run of the command, waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    seconds = {name: min(cpu_seconds(c) for _ in range(REPEATS)) for name, c in COMMANDS.items()}
    base = seconds["python itself"]
    print(f"{'command':42}{'CPU s':>8}{'x python':>10}")
    for name, value in seconds.items():
        print(f"{name:42}{value:8.2f}{value / base:10.1f}")
    if options.json:
        options.json.write_text(json.dumps(seconds, indent=2))
    missed = []
    if seconds["ndl --help"] >= 0.5:
        missed.append("ndl --help under 0.5 CPU s")
    if seconds["import sandbox, evaluators, dashboards"] - base >= (seconds["import torch"] - base) / 10:
        missed.append("import of our packages under a tenth of torch")
    for goal in missed:
        print(f"MISSED: {goal}")
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
