"""``python -m tests.stress [--inputs N] [--seed N ...]``: exit status 1 if a count is wrong."""

from __future__ import annotations

import argparse
import os
import platform
import random
import sys

from .run import stress


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description=__doc__)
    parser.add_argument("--inputs", type=int, help="100,000 on threads, 10,000 in processes")
    parser.add_argument("--placement", choices=("thread", "process"), default="thread")
    parser.add_argument("--seed", type=int, action="append", help="one run for each")
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores", flush=True)
    wrong = False
    for seed in arguments.seed or [random.SystemRandom().randrange(1_000_000)]:
        print(f"seed {seed}", flush=True)
        if arguments.placement == "process":
            # Only now: what it imports is not there on every platform.
            from .placed import stress_placed

            report = stress_placed(arguments.inputs or 10_000, seed)
        else:
            report = stress(arguments.inputs or 100_000, seed)
        print(f"  {report.inputs:,} inputs in {report.seconds:.1f} s{gil()}")
        print(report)
        for line in report.wrong[:30]:
            print(f"  WRONG: {line}")
        if report.wrong:
            again = f"--placement {arguments.placement} --seed {seed}"
            print(f"  {len(report.wrong)} things do not agree; again with {again}")
            wrong = True
        else:
            print("  callers, code and statistics agree", flush=True)
    # A thread that hangs must not keep the process.
    sys.stdout.flush()
    os._exit(1 if wrong else 0)


def gil() -> str:
    return "" if getattr(sys, "_is_gil_enabled", lambda: True)() else ", without a GIL"


if __name__ == "__main__":
    main()
