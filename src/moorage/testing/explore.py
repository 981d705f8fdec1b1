"""Exploring: a test is run again and again, each time in another order of its steps.

Owns `explore` and `replay`, and `SeededRun`, which is one run: a fresh `VirtualClock` with a seed,
which chooses what is first within an instant (``runtime/clocks/choices.py``).  Tests call `explore`
and `replay` from a thread that takes part in no clock; the marker ``moorage_explore``
(``explore_marker.py``) uses `SeededRun` itself.  Begin at `explore`, then `SeededRun`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from ..exception import InvalidError
from ..runtime.clocks.preemption import Preemption
from ..runtime.clocks.virtual_clock import VirtualClock
from ..runtime.clocks.wall import SAME_EVERY_RUN
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
    first; which of the inputs that were granted together starts first; in which order a set of
    tasks is.  It never changes the order of ``call_soon``.

    Each run has a `VirtualClock` of its own, with ``clock.patch_time()`` in force: ``time.sleep``
    takes no real time.  The wall time begins at 2020-01-01 00:00 UTC, so that a seed is the same
    run on another day.

    Args:
        test: a function, or a coroutine function, which runs on an event loop of the clock.
            It makes all its state itself: a later call must not see what an earlier one did.
        runs: how many seeds.
        seed: the first seed.
        preempt: switch code also between two lines of the user's files, at up to this many
            lines of each run.  Python 3.11, which has no ``sys.monitoring``, needs the trace
            function (of a debugger, or of coverage) of the threads that take part for this.

    Raises:
        BaseException: the error of the first run that fails, with a note that has its seed and
            its timeline.
        InvalidError: if `runs` is below 1, `preempt` below 0, or `seed` no whole number.
    """
    check_numbers(runs, seed, preempt)
    # Around all runs, so that each does not look through all modules again.
    with VirtualClock().patch_time():
        orders = {_run(test, each, preempt) for each in range(seed, seed + runs)}
    return Explored(runs, len(orders), preempt)


def replay(test: Callable[[], Any], *, seed: int, preempt: int = 0) -> None:
    """Run `test` once, in the order that `seed` chooses: as `explore` ran it.

    Raises:
        BaseException: the error of the test, with the same note.
    """
    check_numbers(1, seed, preempt)
    _run(test, seed, preempt)


def check_numbers(runs: object, seed: object, preempt: object) -> None:
    """Refuse wrong arguments of `explore`.

    Raises:
        InvalidError: says what to write instead.
    """
    if not _is_whole(runs) or runs < 1:
        raise InvalidError(f"runs must be a whole number from 1 up, got {runs!r}; write runs=200")
    if not _is_whole(seed):
        raise InvalidError(f"seed must be a whole number, got {seed!r}; write seed=0")
    if not _is_whole(preempt) or preempt < 0:
        raise InvalidError(
            f"preempt must be a whole number from 0 up, got {preempt!r}; write preempt=2"
        )


def _is_whole(number: object) -> TypeGuard[int]:
    return isinstance(number, int) and not isinstance(number, bool)


def _run(test: Callable[[], Any], seed: int, preempt: int) -> int:
    """Run the test once; return the sum of its choices."""
    run = SeededRun(seed, preempt)
    try:
        with run.in_order():
            if Real.iscoroutinefunction(test):
                run.clock.run(test())
            else:
                with run.clock:
                    test()
    except NO_FAILURES:
        raise
    except BaseException as error:
        name = getattr(test, "__name__", repr(test))
        error.add_note(
            f"failed with {run.options}: moorage.testing.replay({name}, {run.options}) runs it "
            f"again{run.timelines()}"
        )
        raise
    return run.order


class SeededRun:
    """One run of a test, whose code in its clock is in the order of its seed."""

    def __init__(self, seed: int, preempt: int) -> None:
        self.clock: VirtualClock = VirtualClock(at=SAME_EVERY_RUN, seed=seed)
        # The arguments that make this run again, as they are written.
        self.options: str = f"seed={seed}" + (f", preempt={preempt}" if preempt else "")
        self._probes: list[Probe] = []
        self.clock.observe = self._observe
        participants = self.clock.participants
        assert participants.choices is not None
        self._choices = participants.choices
        participants.brings_threads = True  # those that the test starts take part
        if preempt:
            participants.preemption = Preemption(self._choices, preempt, participants)

    @contextmanager
    def in_order(self) -> Generator[None]:
        """In this context, the clock's time is patched, and lines are switched if asked for."""
        preemption = self.clock.participants.preemption
        with self.clock.patch_time(), nullcontext() if preemption is None else preemption.watch():
            yield

    @property
    def order(self) -> int:
        """The sum of the choices until now."""
        return self._choices.order

    def timelines(self) -> str:
        """Return the timelines of all runs of apps until now, each after a line break."""
        probes = [probe for probe in dict.fromkeys(self._probes) if probe.events]
        return "".join(f"\n{probe.timeline()}" for probe in probes)

    def _observe(self, probe: Probe | None) -> Probe:
        self._probes.append(Probe() if probe is None else probe)
        return self._probes[-1]
