"""Patched time: ``time.sleep``, ``time.monotonic``, ``time.time`` and others in virtual time.

Owns the functions that replace those of ``time`` while any ``clock.patch_time()`` block is open,
and the beginning and end of such a block.  Outside of such blocks ``time`` is unchanged.

Begin at `_sleep` and `_reader`, then `patched`.  Each replacement looks at its caller, and uses
virtual time or calls the real function: see ``reach.py``.  The same block makes calls that block
a thread virtual: see ``blocking.py``.
"""

from __future__ import annotations

import math
import operator
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any, Final, SupportsIndex

from ...exception import ClockStuckError, InvalidArgumentsError
from .. import forking
from ..outcome import user_frames
from ..real import Real
from ..uninterruptible import uninterruptible
from . import blocking
from .parking import park_call
from .patched_dates import Dates
from .reach import VirtualTime as VirtualTime
from .reach import clock_of_call, is_within, keeps_real_time, module_of
from .reach import current_virtual_clock as current_virtual_clock

_CLOCKS: Final = (
    "monotonic",
    "monotonic_ns",
    "perf_counter",
    "perf_counter_ns",
    "time",
    "time_ns",
)
# Those that read the time if they are called without one.
_DATES: Final = ("gmtime", "localtime", "ctime", "asctime", "strftime")
NAMES: Final = ("sleep", *_CLOCKS, *_DATES)


# -- the functions ---------------------------------------------------------------


def _clock_of(caller: FrameType) -> VirtualTime | None:
    """Return the virtual clock for a call in the frame `caller`; None for real time."""
    if module_of(caller) in blocking.READERS:
        return blocking.clock_of_reader(caller)
    return clock_of_call(caller)


def _sleep(seconds: float | SupportsIndex, /) -> None:
    clock = _clock_of(sys._getframe(1))
    if clock is None:
        _real["sleep"](seconds)
        return
    length = float(seconds) if isinstance(seconds, (int, float)) else operator.index(seconds)
    if math.isnan(length):
        raise ValueError("Invalid value NaN (not a number)")
    if length < 0:
        raise ValueError("sleep length must be non-negative")
    if math.isinf(length):
        raise OverflowError("timestamp too large to convert to C PyTime_t")
    try:
        park_call(clock, clock.make_waiter(), length)
    except ClockStuckError as error:
        raise error.with_traceback(user_frames(error.__traceback__))


def _reader(name: str, unit: int) -> Callable[[], float]:
    """Make the replacement of one clock; `unit` is how many of its units are one second."""
    by_the_wall = name.startswith("time")
    if unit == 1:

        def read() -> float:
            caller = sys._getframe(1)
            clock = _clock_of(caller)
            if clock is None:
                seconds: float = _real[name]()
                return seconds
            now = blocking.read(clock) if module_of(caller) in blocking.READERS else clock.now()
            return clock.begins_ns / 10**9 + now if by_the_wall else now

    else:

        def read() -> float:
            clock = _clock_of(sys._getframe(1))
            if clock is None:
                units: int = _real[name]()
                return units
            units = round(clock.now() * unit)
            return clock.begins_ns + units if by_the_wall else units

    return read


def _wall_of(caller: FrameType) -> float | None:
    """Return the virtual wall time for a call in the frame `caller`; None for real time."""
    clock = clock_of_call(caller)
    return None if clock is None else clock.begins_ns / 10**9 + clock.now()


def _dated(name: str) -> Callable[..., Any]:
    """Make the replacement of a function that reads the time if its caller gives none."""
    of_struct = name in ("asctime", "strftime")
    given = 1 if name == "strftime" else 0  # arguments before the time

    def convert(*args: Any) -> Any:
        missing = len(args) == given or (not of_struct and args == (None,))
        wall = _wall_of(sys._getframe(1)) if missing else None
        if wall is None:
            return _real[name](*args)
        return _real[name](*args[:given], _real["localtime"](wall) if of_struct else wall)

    return convert


def _stand_ins() -> dict[str, Callable[..., Any]]:
    made: dict[str, Callable[..., Any]] = {"sleep": _sleep}
    made |= {name: _reader(name, 10**9 if name.endswith("_ns") else 1) for name in _CLOCKS}
    made |= {name: _dated(name) for name in _DATES}
    for name, function in made.items():
        function.__name__ = function.__qualname__ = name
        function.__doc__ = getattr(time, name).__doc__
    # Formatters of ``logging`` take such a function as an attribute of their class.  It must not
    # become a method there.
    return made | {name: staticmethod(made[name]) for name in _DATES}


# The functions of the interpreter, or of another tool that patched `time` before us.
_real: Final[dict[str, Callable[..., Any]]] = {name: getattr(time, name) for name in NAMES}
_virtual: Final = _stand_ins()
_dates: Final = Dates(_wall_of, lambda: _real["time"]())

# Guards `_installed`, `_real` and the `_patches` of all clocks.  No user code runs under it.
_lock: threading.Lock = Real.Lock()
# How many `patch_time` blocks are open, over all clocks.
_installed = 0
# How many of them patch all modules.
_everywhere = 0


def _after_fork() -> None:
    global _lock
    _lock = Real.Lock()


forking.in_child(_after_fork)


@contextmanager
def patched(clock: VirtualTime, modules: tuple[ModuleType, ...]) -> Generator[None, None, None]:
    """See `VirtualClock.patch_time`."""
    for module in modules:
        if not isinstance(module, ModuleType):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentsError(
                f"patch_time takes modules, got {module!r}; write clock.patch_time(my_module)"
            )
    reach = frozenset(module.__name__ for module in modules)
    begun: list[bool] = []
    try:
        _install(clock, reach, begun)
        yield
    finally:
        if begun:  # true also if `_install` failed half-way, or Ctrl-C came at its end
            _uninstall(clock, reach)


@uninterruptible
def _install(clock: VirtualTime, reach: frozenset[str], begun: list[bool]) -> None:
    global _installed, _everywhere
    with _lock:
        were_everywhere = _everywhere
        _installed += 1
        _everywhere += not reach
        clock._patches = (*clock._patches, reach)
        begun.append(True)
        if _installed == 1:
            for name in NAMES:
                _real[name] = getattr(time, name)
                setattr(time, name, _virtual[name])
            _dates.install()
            blocking.install(_virtual["monotonic"])
        if not were_everywhere:  # otherwise all modules are patched already
            _replace({id(_real[name]): _virtual[name] for name in NAMES}, reach)


@uninterruptible
def _uninstall(clock: VirtualTime, reach: frozenset[str]) -> None:
    global _installed, _everywhere
    with _lock:
        patches = list(clock._patches)
        patches.remove(reach)
        clock._patches = tuple(patches)
        if not patches:
            clock.participants.let_started_go()
        _installed -= 1
        _everywhere -= not reach
        if _installed:
            return
        blocking.uninstall()
        _dates.uninstall()
        for name in NAMES:
            # Otherwise another tool has patched this name since, and will restore it itself.
            if getattr(time, name) is _virtual[name]:
                setattr(time, name, _real[name])
        # In all modules: also in those that were imported meanwhile.
        _replace({id(_virtual[name]): _real[name] for name in NAMES}, frozenset())


def _replace(by_id: dict[int, Callable[..., Any]], reach: frozenset[str]) -> None:
    """Replace what ``from time import sleep`` has bound, in all modules that `reach` names.

    An empty `reach` means all modules.  Reads the modules' variables only: a module's
    ``__getattr__`` could import other modules.
    """
    for name, module in list(sys.modules.items()):
        if name == "time" or keeps_real_time(name) or (reach and not is_within(name, reach)):
            continue
        if name == __name__ or not isinstance(module, ModuleType):  # pyright: ignore[reportUnnecessaryIsInstance]
            continue  # `sys.modules` may contain any object
        # Not `vars(module)`, which makes a lazy module load itself.
        variables: dict[str, Any] = object.__getattribute__(module, "__dict__")
        for key, value in list(variables.items()):
            instead = by_id.get(id(value))
            if instead is not None:
                variables[key] = instead
