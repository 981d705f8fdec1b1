"""``python -m tests.explorations [NAME ...]``: all programs, at length.

Each racy program must be found within 200 seeds, and be replayed by 20 fresh processes, with other
hash seeds, other heaps, and half of them beside busy threads, to the last character.  Each correct
program must pass 2,000 seeds.  Exit status 1 if one does not.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from explorations.correct import CORRECT
from explorations.racy import RACY
from explorations.report import first_failure
from moorage.testing import explore


def replayed(name: str, seed: int, preempt: int, number: int) -> str:
    """The report of one replay in a process of its own."""
    arguments = [name, str(seed), str(preempt), str(number * 5000), str(number % 2 == 1)]
    tests = str(Path(__file__).parent.parent)
    path = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "explorations.report", *arguments],
        env={**os.environ, "PYTHONHASHSEED": str(number), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.stdout if done.returncode == 0 else done.stderr


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.explorations", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these programs")
    parser.add_argument("--runs", type=int, default=2000, help="seeds for each correct program")
    parser.add_argument("--processes", type=int, default=20, help="replays of each race")
    arguments = parser.parse_args()
    logging.disable()
    wrong = []
    for test, preempt in RACY.items():
        name = test.__name__
        if arguments.names and name not in arguments.names:
            continue
        try:
            seed, report = first_failure(test, preempt)
        except LookupError as error:
            wrong.append(str(error))
            print(f"NOT FOUND  {name}", flush=True)
            continue
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            others = [
                threads.submit(replayed, name, seed, preempt, number)
                for number in range(arguments.processes)
            ]
        different = [other.result() for other in others if other.result() != report]
        print(f"seed {seed:4}  {name}, {len(different)} of {len(others)} differ", flush=True)
        if different:
            wrong.append(f"{name}, seed {seed}:\n{report}\nand in another process:\n{different[0]}")
    for test, preempt in CORRECT.items():
        name = test.__name__
        if arguments.names and name not in arguments.names:
            continue
        began = time.monotonic()
        try:
            explored = explore(test, runs=arguments.runs, preempt=preempt)
        except Exception:
            wrong.append(f"{name} is accused:\n{traceback.format_exc()}")
            print(f"ACCUSED    {name}", flush=True)
            continue
        each = 1000 * (time.monotonic() - began) / arguments.runs
        print(f"passes     {name}: {explored} ({each:.1f} ms a run)", flush=True)
    print("\n\n".join(wrong) if wrong else "all as they should be")
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
