"""The table: what was measured, as aligned text.

Owns its columns and the line about the machine.  Every figure in it comes from
the rows, the goals and the interpreter.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata

from .harness import Group, Row

HEADINGS = ("group", "contender", "inputs", "per input", "min - max", "ratio", "goal", "")
LEFT = (True, True, False, False, False, False, False, True)


def machine_line() -> str:
    """What it was measured on, in one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = [f"{name} {_version(name)}" for name in ("moorage", "anyio", "aiometer")]
    return "; ".join(
        [
            f"{platform.python_implementation()} {platform.python_version()}",
            f"{cores} cores",
            platform.platform(),
            f"threads switch every {sys.getswitchinterval() * 1000:g} ms",
            ", ".join(versions),
        ]
    )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def format_table(results: list[tuple[Group, list[Row]]]) -> str:
    """All groups beneath each other, in columns of one width."""
    lines: list[tuple[str, ...] | str] = [HEADINGS]
    for group, rows in results:
        lines.append("")
        for row in rows:
            first = row is rows[0]
            lines.append((group.name if first else "", *_cells(group, row, first)))
        lines.extend(f"  {note}" for note in group.notes)
    cells = [line for line in lines if isinstance(line, tuple)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    out = []
    for line in lines:
        if isinstance(line, tuple):
            columns = zip(line, widths, LEFT, strict=True)
            line = "  ".join(c.ljust(w) if left else c.rjust(w) for c, w, left in columns)
        out.append(line.rstrip())
    return "\n".join(out)


def format_legend(results: list[tuple[Group, list[Row]]]) -> str:
    """What each group's name stands for."""
    width = max(len(group.name) for group, _ in results)
    return "\n".join(f"{group.name.ljust(width)}  {group.what}" for group, _ in results)


def _cells(group: Group, row: Row, first: bool) -> tuple[str, ...]:
    goal = row.contender.goal
    if goal is None:
        wanted = ""
    else:
        wanted = f"≤ {goal.most:g} {group.unit}" if goal.absolute else f"≤ {goal.most:.2f}"
    met = {None: "", True: "met", False: "MISSED"}[row.met]
    return (
        row.contender.name,
        f"{row.inputs:,}",
        f"{_figure(row.median)} {group.unit}",
        f"{_figure(row.least)} - {_figure(row.most)}",
        f"{row.ratio:.2f}",
        wanted,
        "floor" if first else met,
    )


def _figure(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"
