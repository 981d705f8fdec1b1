"""Plots: simulations as pictures (PNG, SVG or PDF), drawn by matplotlib.

Owns ``--plot`` of ``simulate.py``, which calls `check_plots` before the simulations and
`plot_runs` after them.  Needs matplotlib, which the extra ``plots`` installs.  Begin at
`plot_runs`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from ..exception import ExecutionError
from .simulation import Moment, Simulated


def plot_runs(path: str, title: str, found: Mapping[str, Simulated], target: int) -> None:
    """Draw the inputs, and the ready containers times `target`, over time; one panel per policy.

    Raises:
        ExecutionError: if matplotlib is not installed.
    """
    pyplot = _pyplot()
    figure, panels = pyplot.subplots(
        len(found), 1, sharex=True, squeeze=False, figsize=(8, 0.6 + 1.7 * len(found))
    )
    for (name, run), panel in zip(found.items(), panels[:, 0], strict=True):
        moments = _thinned(run.timeline)
        times = [moment.time for moment in moments]
        panel.fill_between(
            times,
            [moment.ready * target for moment in moments],
            step="post",
            color="#cfe3f5",
            label="ready containers x target",
        )
        panel.step(
            times,
            [(moment.ready + moment.starting) * target for moment in moments],
            where="post",
            color="#7aa7d0",
            linewidth=0.8,
            label="with those starting",
        )
        panel.step(
            times,
            [moment.running + moment.queued for moment in moments],
            where="post",
            color="#333333",
            linewidth=0.8,
            label="inputs running or queued",
        )
        panel.set_title(
            f"{name}: {run.container_seconds:,.0f} container-s, {run.starts} starts, "
            f"waiting p99 {run.percentile_wait(99):.2f} s",
            fontsize=9,
            loc="left",
        )
        panel.set_ylim(bottom=0)
    panels[0, 0].legend(fontsize=7, loc="upper right")
    panels[-1, 0].set_xlabel("seconds")
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def check_plots(path: str) -> None:
    """Check that :func:`plot_runs` can write `path`, before anything is simulated.

    Raises:
        ExecutionError: if matplotlib is not installed.
        ValueError: if `path` does not end in .png, .svg or .pdf, or its folder does not exist.
    """
    if not path.lower().endswith((".png", ".svg", ".pdf")):
        raise ValueError(
            f"--plot must name a file that ends in .png, .svg or .pdf, got {path!r}; "
            "write --plot run.png"
        )
    folder = os.path.dirname(path)
    if folder and not os.path.isdir(folder):
        raise ValueError(
            f"--plot must name a file in a folder that exists, got {path!r}; "
            f"write --plot {os.path.basename(path)}, or make {folder!r}"
        )
    _pyplot()


def _thinned(moments: Sequence[Moment], most: int = 4000) -> Sequence[Moment]:
    return moments[:: max(1, len(moments) // most)]


def _pyplot() -> Any:
    try:
        matplotlib = import_module("matplotlib")
    except ImportError:
        raise ExecutionError(
            "plots need matplotlib, which is not installed; "
            "write `pip install 'moorage[plots]'`, or leave out --plot"
        ) from None
    matplotlib.use("Agg")
    return import_module("matplotlib.pyplot")
