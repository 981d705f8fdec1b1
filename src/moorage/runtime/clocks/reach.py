"""Reach: which calls of users' code are virtual while a ``clock.patch_time()`` block is open.

Owns the rules, and `current_virtual_clock`.  ``patched_time.py`` asks `clock_of_call` about calls
of ``time``, and ``blocking.py`` asks `clock_of_wait` about calls that block a thread.

A call is virtual if the calling thread takes part in a patched clock, and the calling code is
neither of the test tools nor outside of the modules given to ``patch_time``.  A call of ``time``
from the standard library is real: ``asyncio`` would spin if its ``time.monotonic()`` stood still.
A call that blocks counts as a call of the code that called the standard library.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, Protocol

from ..thread_state import thread_state

# Packages whose calls keep real time, because they wait for real things, or measure tests.
# moorage is not among them: its own code reads real time from `Real`, and has locks of its own.
# If a file of moorage calls `time.sleep`, that is a function that the user passed in
# (``asyncio.to_thread(time.sleep, 5)``).
REAL_PACKAGES: Final = frozenset(
    {"_pytest", "anyio", "hypothesis", "pluggy", "pytest", "pytest_asyncio", "sniffio", "trio"}
)


class VirtualTime(Protocol):
    """What the patches and ``participants.py`` need of a virtual clock."""

    virtual: bool
    begins_ns: int
    participants: Any
    # One set of module names for each `patch_time` in force; an empty set means all modules.
    # Guarded by the `_lock` of ``patched_time.py``; read without it.
    _patches: tuple[frozenset[str], ...]

    def now(self) -> float: ...
    def call_at(self, when: float, callback: Callable[[], object]) -> Any: ...
    def call_when_past(self, when: float, callback: Callable[[], object]) -> Any: ...
    def make_waiter(self) -> Any: ...
    def wait(self, waiter: Any, timeout: float | None = None) -> bool: ...
    def new_event_loop(self) -> Any: ...
    @property
    def _has_this_thread(self) -> bool: ...


def current_virtual_clock() -> VirtualTime | None:
    """Return the virtual clock in which the calling thread takes part; None in real time."""
    clock = thread_state.clock
    return clock if clock is not None and clock._has_this_thread else None


def _patched_clock() -> VirtualTime | None:
    """Return the virtual clock in which the calling thread takes part, if it is patched."""
    clock: VirtualTime | None = thread_state.clock
    # The patches first, because the other question costs more.
    return clock if clock is not None and clock._patches and clock._has_this_thread else None


def clock_of_call(caller: FrameType) -> VirtualTime | None:
    """Return the virtual clock for a call of ``time`` in the frame `caller`; None for real time."""
    clock = _patched_clock()
    if clock is None:
        return None
    module = module_of(caller)
    return None if keeps_real_time(module) or not _reaches(clock, module) else clock


def clock_of_wait(caller: FrameType | None) -> VirtualTime | None:
    """Return the clock in which a call that blocks waits; None if the call blocks for real."""
    clock = _patched_clock()
    if clock is None:
        return None
    user = users_frame(caller)
    if user is None:
        return clock  # a thread that runs nothing but the standard library, as ``threading.Timer``
    module = module_of(user)
    if _package(module) in REAL_PACKAGES or not _reaches(clock, module):
        return None
    return clock


def users_frame(frame: FrameType | None) -> FrameType | None:
    """Return the innermost frame that is not of the standard library, from `frame` outwards."""
    while frame is not None and is_standard(module_of(frame)):
        frame = frame.f_back
    return frame


def module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _reaches(clock: VirtualTime, module: str) -> bool:
    return any(not reach or is_within(module, reach) for reach in clock._patches)


def is_within(module: str, reach: frozenset[str]) -> bool:
    return module in reach or any(module.startswith(f"{name}.") for name in reach)


@functools.cache
def is_standard(module: str) -> bool:
    return _package(module) in sys.stdlib_module_names


@functools.cache
def keeps_real_time(module: str) -> bool:
    return is_standard(module) or _package(module) in REAL_PACKAGES


def _package(module: str) -> str:
    return module.partition(".")[0]
