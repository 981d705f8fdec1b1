"""Notebooks: whether a loop runs the cells of a notebook or of an interactive shell.

In Jupyter each cell runs on the kernel's event loop, so every blocking call in a cell blocks a
running loop.  There the user is the loop's only user, and wants the cell to block.  So the
warnings about blocked loops ask `runs_cells` first.  Imports neither IPython nor ipykernel.

Begin at `runs_cells`.
"""

from __future__ import annotations

import asyncio
import sys
from types import FrameType
from typing import Any

from .real import Real


def runs_cells(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether `loop`, which runs in this thread, is that of an interactive user.

    True for the loops of a Jupyter kernel (cells, widgets' callbacks, subshells), for IPython's
    autoawait, and for ``python -m asyncio``.  False for a loop that a cell has started, such as
    the one of ``asyncio.run(main())``, for the loops of containers, and for every loop of a
    program that has merely imported IPython.
    """
    try:
        return _is_of_asyncio_shell(loop) or _is_of_ipython(loop)
    except Exception:  # another version of IPython than those that this file knows
        return False


def _is_of_ipython(loop: asyncio.AbstractEventLoop) -> bool:
    get_shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell: Any = None if get_shell is None else get_shell()
    if shell is None:
        return False
    kernel: Any = getattr(shell, "kernel", None)
    if kernel is not None:
        if _loop_of(kernel) is loop:
            return True
        # A subshell of ipykernel runs its cells in a thread of its own, on that thread's loop.
        thread: Any = Real.current_thread()
        if type(thread).__module__.startswith("ipykernel.") and _loop_of(thread) is loop:
            return True
    return _runs_in_cell(Real.currentframe())


def _loop_of(owner: Any) -> object:
    """Return the asyncio loop of a kernel, or of a thread of a kernel; None if unknown."""
    return getattr(getattr(owner, "io_loop", None), "asyncio_loop", None)


def _runs_in_cell(frame: FrameType | None) -> bool:
    """Return whether a cell called this code, with no loop between the cell and this code.

    On the stack of a cell that has called ``asyncio.run(main())``, the frames of that loop come
    between the cell's and ours.
    """
    while frame is not None:
        module = frame.f_globals.get("__name__")
        name = frame.f_code.co_name
        if module == "IPython.core.interactiveshell" and name == "run_code":
            return True
        if module == "asyncio.base_events" and name in ("run_forever", "_run_once"):
            return False
        if module == "asyncio.runners" and name == "run":
            return False  # around a loop that has no Python frames, such as uvloop's
        frame = frame.f_back
    return False


def _is_of_asyncio_shell(loop: asyncio.AbstractEventLoop) -> bool:
    main: Any = sys.modules.get("__main__")
    spec: Any = getattr(main, "__spec__", None)
    is_shell = getattr(spec, "name", None) == "asyncio.__main__"
    return is_shell and getattr(main, "loop", None) is loop
