"""The proof: that moorage's rows were measured with nothing left out.

Owns the inputs that look around where they run.  They go through a row's own
way of calling, into the function, pool and container that was timed (see
``bodies.py``), and show that each input has a context and ids of its own, that
a slot is a lease, that one input can be cancelled among others, and that a
deadline is set.  The limit and the loop are checked for all contenders.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import Any, Final

import moorage
from moorage.exception import FunctionTimeoutError, InputCancelledError

Run = Callable[[Sequence[Any]], list[Any]]
Body = Callable[[Any], Any]
Function = moorage.Function[..., Any, Any]

SAMPLE: Final = 200
DEFAULT_TIMEOUT: Final = 300.0  # seconds, as the library documents it
PATIENCE: Final = 30.0  # seconds until what should happen at once has failed

marker: Final[ContextVar[object]] = ContextVar("marker")


class CheckFailed(Exception):
    """A contender did not do what it was measured for."""


# -- every contender ----------------------------------------------------------------


class Flight:
    """Counts the inputs in flight."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self.peak = 0

    def __enter__(self) -> None:
        with self._lock:
            self._now += 1
            self.peak = max(self.peak, self._now)

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._now -= 1


@dataclass(frozen=True)
class Sighting:
    """What one input of the sample saw."""

    index: int
    input_id: str | None
    call_id: str | None
    local: bool
    found: object  # in the context variable, before it wrote there
    kept: object  # in it at the end, when others had written
    loop: type | None


def _look(index: int, found: object, loop: type | None) -> Sighting:
    return Sighting(
        index,
        moorage.current_input_id(),
        moorage.current_function_call_id(),
        moorage.is_local(),
        found,
        marker.get(),
        loop,
    )


def _observers(body: Body, flight: Flight) -> list[Callable[[], Any]]:
    """A sample of inputs for `body`, which let each other run while they look around."""

    def observer(index: int) -> Callable[[], Any]:
        async def look_async() -> Sighting:
            with flight:
                found = marker.get(None)
                marker.set(index)
                for _ in range(3):
                    await asyncio.sleep(0)
                return _look(index, found, _kind_of(asyncio.get_running_loop()))

        def look() -> Sighting:
            with flight:
                found = marker.get(None)
                marker.set(index)
                time.sleep(0.0005)
                return _look(index, found, None)

        return look_async if inspect.iscoroutinefunction(body) else look

    return [observer(index) for index in range(SAMPLE)]


def _kind_of(loop: object) -> type:
    """The class that users know: the engine's loops are of a subclass with the same name."""
    name = type(loop).__qualname__
    return [kind for kind in type(loop).__mro__ if kind.__qualname__ == name][-1]


def check_sample(body: Body, limit: int, runs: dict[str, Run]) -> None:
    """Every contender runs the sample within the limit, and all on one kind of loop."""
    loops: dict[type | None, str] = {}
    for name, run in runs.items():
        flight = Flight()
        seen: list[Sighting] = run(_observers(body, flight))
        _expect(name, [s.index for s in seen] == list(range(SAMPLE)), "results of the sample")
        _expect(name, 1 <= flight.peak <= limit, f"{flight.peak} in flight, of {limit} allowed")
        for sighting in seen:
            loops.setdefault(sighting.loop, name)
    _expect(", ".join(loops.values()), len(loops) == 1, f"they ran on different loops: {loops}")


# -- moorage's rows -------------------------------------------------------------------


def prove(name: str, function: Function, run: Run, body: Body, limit: int) -> None:
    """Show on a sample that a row leaves nothing out.

    Raises:
        CheckFailed: if it does.
    """
    _prove_contexts_and_ids(name, run, body)
    _prove_leases_and_cancelling(name, function, body, limit)
    _prove_deadline(name, function, body, limit)


def _prove_contexts_and_ids(name: str, run: Run, body: Body) -> None:
    def in_caller() -> list[Sighting]:
        marker.set("the caller's")
        seen = run(_observers(body, Flight()))
        _expect(name, marker.get() == "the caller's", "an input wrote in its caller's context")
        return seen

    seen = copy_context().run(in_caller)
    ids = {s.input_id for s in seen}
    _expect(name, None not in ids and len(ids) == SAMPLE, f"{len(ids)} ids of {SAMPLE} inputs")
    _expect(name, all(s.call_id for s in seen), "an input without the id of its call")
    _expect(name, not any(s.local for s in seen), "an input that ran outside of a container")
    _expect(
        name,
        all(s.found == "the caller's" for s in seen),
        "an input that did not start in a fresh copy of its caller's context",
    )
    _expect(name, all(s.kept == s.index for s in seen), "an input that saw another's writing")


class Blocker:
    """An input that holds its slot until it is released, and then returns its index."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.entered = threading.Event()
        self._released = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gate: asyncio.Event | None = None

    def input_for(self, body: Body) -> Callable[[], Any]:
        return self._block_async if inspect.iscoroutinefunction(body) else self._block

    def _block(self) -> int:
        self.entered.set()
        self._released.wait(PATIENCE)
        return self.index

    async def _block_async(self) -> int:
        self._loop, self._gate = asyncio.get_running_loop(), asyncio.Event()
        self.entered.set()
        await self._gate.wait()
        return self.index

    def release(self) -> None:
        self._released.set()
        if self._loop is not None and self._gate is not None:
            self._loop.call_soon_threadsafe(self._gate.set)


def _prove_leases_and_cancelling(name: str, function: Function, body: Body, limit: int) -> None:
    """Fill all slots and two places more; cancel one that runs, and one that waits."""
    blockers = [Blocker(index) for index in range(limit + 2)]
    calls = [function.spawn(blocker.input_for(body)) for blocker in blockers]
    try:
        for blocker in blockers[:limit]:
            _expect(name, blocker.entered.wait(PATIENCE), "not all slots were granted")
        _expect_counts(name, function, running=limit, queued=2)

        calls[0].cancel()
        calls[-1].cancel()
        for call, what in ((calls[0], "ran"), (calls[-1], "waited")):
            outcome = _result(name, call)
            cancelled = isinstance(outcome, InputCancelledError)
            _expect(name, cancelled, f"the cancelled input that {what} gave {outcome!r}")
        blockers[0].release()  # a thread holds its slot until it is out of its code
        _expect(name, blockers[limit].entered.wait(PATIENCE), "the slot did not come back")
        _expect_counts(name, function, running=limit, queued=0)
    finally:
        for blocker in blockers:
            blocker.release()
    for blocker, call in list(zip(blockers, calls, strict=True))[1:-1]:
        result = _result(name, call)
        _expect(name, result == blocker.index, "cancelling one input harmed another")
    _expect(name, not blockers[-1].entered.is_set(), "an input ran that was cancelled before")
    _expect_counts(name, function, running=0, queued=0)


def _result(name: str, call: moorage.FunctionCall[Any]) -> Any:
    """What the call gives within our patience, be it an error of the library."""
    try:
        return call.get(timeout=PATIENCE)
    except moorage.Error as error:
        return error
    except TimeoutError:
        raise CheckFailed(f"{name}: {call!r} does not end") from None


def _prove_deadline(name: str, function: Function, body: Body, limit: int) -> None:
    """The pool's timeout is the default; and with a short one, the same function ends."""
    pool = function._service.current_run().pools[function._service.key]
    timeout = pool.options.timeout
    _expect(name, timeout == DEFAULT_TIMEOUT, f"the timeout in force is {timeout}")
    app = moorage.App("deadline")
    options = {"max_containers": 1, "timeout": 0.05}
    short = app.function(**options)(moorage.concurrent(max_inputs=limit)(body))
    blocker = Blocker(0)
    with app.run():
        try:
            outcome = _result(name, short.spawn(blocker.input_for(body)))
        finally:
            blocker.release()
    timed_out = isinstance(outcome, FunctionTimeoutError)
    _expect(name, timed_out, f"an input that outlives its deadline gave {outcome!r}")


def _expect_counts(name: str, function: Function, *, running: int, queued: int) -> None:
    now = function.statistics()
    _expect(
        name,
        now is not None and now.running == running and now.queued == queued,
        f"wanted {running} running and {queued} queued, got {now}",
    )


def _expect(name: str, holds: bool, otherwise: str) -> None:
    if not holds:
        raise CheckFailed(f"{name}: {otherwise}")
