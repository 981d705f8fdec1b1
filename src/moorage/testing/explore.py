"""Exploring: a test is run again and again, each time in another order of its steps.

Owns `explore` and `replay`.  Each run has a fresh `VirtualClock` with a seed of its own, which
chooses what is first within an instant (``runtime/clocks/choices.py``).  Tests call these two
functions from a thread that takes part in no clock.  Begin at `explore`, then `_run`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

from ..exception import InvalidError
from ..runtime.clocks.preemption import Preemption
from ..runtime.clocks.virtual_clock import VirtualClock
from ..runtime.real import Real
from .probe import Probe

# What ends the program or the test session, and is no failure of the test.
NO_FAILURES: Final = (KeyboardInterrupt, SystemExit, GeneratorExit)


@dataclass(frozen=True, slots=True)
class Explored:
    """What `explore` has run, all of which passed."""

    runs: int
    distinct: int  # how many different orders there were
    preempt: int = 0

    def __str__(self) -> str:
        preempted = "sync code was not preempted, it was switched only where it waits"
        if self.preempt:
            preempted = f"code was preempted at up to {self.preempt} lines"
        return f"{self.runs} runs passed, in {self.distinct} different orders; {preempted}"


def explore(
    test: Callable[[], Any], *, runs: int = 200, seed: int = 0, preempt: int = 0
) -> Explored:
    """Run `test` once for each seed from `seed` on, each time in another order.

    The seed chooses, wherever moorage and asyncio promise no order: which container, thread or
    task of the test goes on next; which of the timers, results and grants of one instant is
    first; which of the inputs that were granted together starts first.  It never changes the
    order of ``call_soon``.

    Args:
        test: a function, or a coroutine function, which runs on an event loop of the clock.
            It makes all its state itself: a later call must not see what an earlier one did.
        runs: how many seeds.
        seed: the first seed.
        preempt: switch code also between two lines of the user's files, at up to this many
            lines of each run.  Replaces the trace function (of a debugger, or of coverage) of
            the threads that take part.

    Raises:
        BaseException: the error of the first run that fails, with a note that has its seed and
            its timeline.
        InvalidError: if `runs` is below 1, or `preempt` below 0.
    """
    if isinstance(runs, bool) or not isinstance(runs, int) or runs < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidError(f"runs must be a whole number from 1 up, got {runs!r}; write runs=200")
    orders = {_run(test, each, preempt) for each in range(seed, seed + runs)}
    return Explored(runs, len(orders), preempt)


def replay(test: Callable[[], Any], *, seed: int, preempt: int = 0) -> None:
    """Run `test` once, in the order that `seed` chooses: as `explore` ran it.

    Raises:
        BaseException: the error of the test, with the same note.
    """
    _run(test, seed, preempt)


def _run(test: Callable[[], Any], seed: int, preempt: int) -> int:
    """Run the test once; return the sum of its choices."""
    if isinstance(preempt, bool) or not isinstance(preempt, int) or preempt < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidError(
            f"preempt must be a whole number from 0 up, got {preempt!r}; write preempt=2"
        )
    clock = VirtualClock(seed=seed)
    choices = clock.participants.choices
    assert choices is not None
    probes: list[Probe] = []

    def observe(probe: Probe | None) -> Probe:
        probes.append(Probe() if probe is None else probe)
        return probes[-1]

    clock.observe = observe
    preemption: AbstractContextManager[object] = nullcontext()
    if preempt:
        participants = clock.participants
        preemption = participants.preemption = Preemption(choices, preempt, participants)
    try:
        if Real.iscoroutinefunction(test):
            with clock.patch_time(), preemption:
                clock.run(test())
        else:
            with clock.patch_time(), preemption, clock:
                test()
    except NO_FAILURES:
        raise
    except BaseException as error:
        timelines = [str(probe.timeline()) for probe in dict.fromkeys(probes) if probe.events]
        name = getattr(test, "__name__", repr(test))
        options = f"seed={seed}" + (f", preempt={preempt}" if preempt else "")
        note = f"failed with {options}: moorage.testing.replay({name}, {options}) runs it again"
        error.add_note("\n".join([note, *timelines]))
        raise
    return choices.order
