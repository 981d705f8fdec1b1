"""``python -m benchmarks.autoscale``: the score of the autoscaler's policy.

Owns the command line.  The policy was chosen with the seeds 1 to 4; other seeds are new to it.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial

from moorage.simulator.tables import POLICIES, in_processes

from .scores import HEAD, line, scores, table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.autoscale", description=__doc__)
    parser.add_argument("--seeds", default="101-104", help="as 101-104 (the default)")
    parser.add_argument("--policy", choices=[*POLICIES, "all"], default="moorage")
    parser.add_argument("--jobs", type=int, default=2, help="number of processes (default: 2)")
    parser.add_argument(
        "--own-simulator", action="store_true", help="run the library's simulator instead"
    )
    chosen = parser.parse_args()
    first, _, last = chosen.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    names = list(POLICIES) if chosen.policy == "all" else [chosen.policy]
    begun = time.monotonic()
    run = partial(
        scores,
        policies=[POLICIES[name] for name in names],
        own_simulator=chosen.own_simulator,
    )
    by_seed = in_processes(run, seeds, chosen.jobs)
    found = [[one for own in by_seed for one in own[place]] for place in range(len(names))]
    print("\n".join(table(names[0], found[0])))
    if len(names) > 1:
        print("\n".join(["", HEAD, *(line(n, own) for n, own in zip(names, found, strict=True))]))
    print(f"{len(seeds)} seeds, {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
