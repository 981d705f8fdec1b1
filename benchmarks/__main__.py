"""``python -m benchmarks``: measures the groups, and prints one table.

Owns the command line and the exit status: 0 if everything was measured and
every check held, whatever the goals; 1 if a contender did not do its work.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from . import (
    asynchronous,
    batched,
    elsewhere,
    loads,
    memory,
    resources,
    shapes,
    starts,
    synchronous,
    web,
)
from .harness import ROUNDS, Group, OpenGroup, Row, run_group
from .idle import measure_idle
from .plugin import measure_plugin
from .proof import CheckFailed
from .table import format_legend, format_table, machine_line

GROUPS: dict[str, OpenGroup] = {
    "bulk-async": asynchronous.bulk,
    "uvloop": asynchronous.bulk_on_uvloop,
    "one-async-blocking": asynchronous.single_blocking,
    "one-async-awaited": asynchronous.single_awaited,
    "batched": batched.callers,
    "bulk-sync": synchronous.bulk,
    "one-sync": synchronous.single,
    "sleeping": synchronous.sleeping,
    "memory": memory.queued,
    "start": starts.containers,
    "dict-put": resources.puts,
    "dict-get": resources.gets,
    "sqlite": resources.file_puts,
    "queue-threads": resources.threads,
    "queue-loops": resources.loops,
    "items": shapes.items,
    "method": shapes.methods,
    "sizes": shapes.sizes,
    "requests": loads.requests,
    "tail": loads.tail,
    "hogged": loads.hogged,
    "import": loads.imports,
    "web": web.served,
    "web-cpu": web.served_cpu,
    "web-socket": web.sockets,
    "web-wsgi": web.wsgi,
    **elsewhere.GROUPS,
}
RESULTS = """\
# Results

Written by `make bench`: what was measured last, on the machine and with the versions of the first
line.  [README.md](README.md) says what the groups are, and
[What a call costs](../docs/performance.md) what to do about it.
"""
# One name for several groups.
FAMILIES: dict[str, list[str]] = {"elsewhere": list(elsewhere.GROUPS)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer inputs, 1 round")
    parser.add_argument(
        "--only",
        action="append",
        choices=[*GROUPS, *FAMILIES],
        metavar="GROUP",
        help=", ".join([*GROUPS, *FAMILIES]),
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table to a file, too")
    arguments = parser.parse_args()
    rounds = 1 if arguments.quick else ROUNDS
    results: list[tuple[Group, list[Row]]] = []
    names = [name for given in arguments.only or GROUPS for name in FAMILIES.get(given, [given])]
    began = time.monotonic()
    for name in names:
        if name == "uvloop" and find_spec("uvloop") is None:
            print("uvloop is not installed: its group is left out", file=sys.stderr)
            continue
        print(f"measuring {name}", file=sys.stderr, flush=True)
        try:
            with GROUPS[name](arguments.quick) as group:
                results.append((group, run_group(group, rounds)))
        except CheckFailed as failed:
            print(f"a check failed in {name}: {failed}", file=sys.stderr)
            return 1
    text = "\n".join(
        [
            machine_line(),
            f"medians of {rounds} rounds, contenders in turns; ratio to the first of the group",
            "",
            format_table(results),
            "",
            format_legend(results),
        ]
    )
    print(text)
    if not arguments.only:
        more = [
            web.measure_cold(1 if arguments.quick else ROUNDS),
            measure_idle(1.0 if arguments.quick else 5.0),
            measure_plugin(1 if arguments.quick else ROUNDS),
        ]
        minutes, seconds = divmod(round(time.monotonic() - began), 60)
        more.append(f"all of this took {minutes} min {seconds} s")
        print("", *more, sep="\n")
        text = "\n".join([text, "", *more])
    if arguments.write is not None:
        arguments.write.write_text(f"{RESULTS}\n```\n{text}\n```\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
