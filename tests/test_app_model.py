"""An app against a simple model: real containers, in virtual time, by the public surface.

Hypothesis makes a program of calls, cancels, pauses, resizes and a way to leave; when it
has run, each input has had exactly one outcome, each container that was entered was left
once, and nothing is left.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import moorage
from moorage import App, FunctionCall, Retries
from moorage.exception import FunctionTimeoutError, InputCancelledError
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.context import current_input

# More examples by hand: MOORAGE_EXAMPLES=2000 pytest tests/test_app_model.py
EXAMPLES = min(int(os.environ.get("MOORAGE_EXAMPLES", "60")), 10_000)

TIMEOUT = 8.0


class WorkError(Exception):
    """What inputs fail with that are told to."""


@dataclass(frozen=True)
class Spawn:
    """Start `count` inputs of `method` that last so long, and fail so often before."""

    method: str
    count: int
    seconds: float
    failures: int


@dataclass(frozen=True)
class Cancel:
    which: int


@dataclass(frozen=True)
class Pass:
    seconds: float


@dataclass(frozen=True)
class Resize:
    method: str
    limit: int


@dataclass(frozen=True)
class StopFetching:
    method: str


@dataclass(frozen=True)
class Scale:
    least: int
    most: int
    buffer: int


METHODS = st.sampled_from(["sync", "asynchronous", "batched", "batched_async"])
MOST_IN_A_BATCH = 3
SECONDS = st.sampled_from([0.0, 0.5, 1.0, 3.0, 7.5, 20.0])  # 20 runs out of time
STEPS = st.one_of(
    st.builds(Spawn, METHODS, st.integers(1, 4), SECONDS, st.integers(0, 3)),
    st.builds(Cancel, st.integers(0, 30)),
    st.builds(Pass, st.sampled_from([0.0, 0.25, 0.5, 1.0, 4.0, 15.0])),
    st.builds(Resize, METHODS, st.integers(1, 4)),
    st.builds(StopFetching, METHODS),
    st.builds(Scale, st.integers(0, 2), st.integers(2, 4), st.integers(0, 2)),
)


class World:
    """The app, and what its code counted."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.app = App()
        self.lock = threading.Lock()
        self.entered: Counter[int] = Counter()
        self.exited: Counter[int] = Counter()
        self.began: Counter[str] = Counter()
        self.running: Counter[int] = Counter()
        self.most: Counter[int] = Counter()
        world = self

        @self.app.cls(
            serialized=True,
            max_containers=3,
            scaledown_window=5,
            timeout=int(TIMEOUT),
            retries=Retries(max_retries=2, initial_delay=2.0),
        )
        @moorage.concurrent(max_inputs=3, target_inputs=2)
        class Work:
            @moorage.enter()
            async def enter(self) -> None:
                await asyncio.sleep(0.5)
                with world.lock:
                    self.number = len(world.entered)
                    world.entered[self.number] += 1

            @moorage.exit()
            async def leave(self) -> None:
                await asyncio.sleep(0.25)
                with world.lock:
                    world.exited[self.number] += 1

            def begin(self, failures: int) -> bool:
                input = current_input()
                assert input is not None
                with world.lock:
                    assert self.number in world.entered
                    assert self.number not in world.exited, "runs after its exit hooks"
                    world.running[self.number] += 1
                    world.most[self.number] = max(
                        world.most[self.number], world.running[self.number]
                    )
                    world.began[input.input_id] += 1
                    return world.began[input.input_id] <= failures

            def end(self) -> None:
                with world.lock:
                    world.running[self.number] -= 1

            @moorage.method()
            def sync(self, seconds: float, failures: int) -> str:
                fails = self.begin(failures)
                try:
                    # In steps, as code that looks whether it is cancelled.
                    until = world.clock.now() + seconds
                    while (left := until - world.clock.now()) > 0:
                        world.clock.sleep(min(left, 0.25))
                        moorage.check_cancelled()
                    if fails:
                        raise WorkError
                    return "sync"
                finally:
                    self.end()

            @moorage.method()
            async def asynchronous(self, seconds: float, failures: int) -> str:
                fails = self.begin(failures)
                try:
                    await asyncio.sleep(seconds)
                    if fails:
                        raise WorkError
                    return "asynchronous"
                finally:
                    self.end()

            @moorage.method()
            def resize(self, limit: int) -> None:
                moorage.experimental.set_local_input_concurrency(limit)

            @moorage.method()
            async def stop_fetching(self) -> None:
                moorage.experimental.stop_fetching_inputs()

        self.work: Any = Work
        self.batched = {
            "batched": self.make_batched("batched", is_async=False),
            "batched_async": self.make_batched("batched_async", is_async=True),
        }
        self.calls: list[tuple[Spawn | None, FunctionCall[Any]]] = []

    def make_batched(self, name: str, *, is_async: bool) -> Any:
        """A class whose only method takes batches, whose members fail one by one."""
        world = self

        class Hooks:
            @moorage.enter()
            async def enter(self) -> None:
                await asyncio.sleep(0.5)
                with world.lock:
                    self.number = len(world.entered)
                    world.entered[self.number] += 1

            @moorage.exit()
            def leave(self) -> None:
                with world.lock:
                    world.exited[self.number] += 1

            def begin(self, failures: list[int]) -> list[bool]:
                ids = moorage.current_input_ids()
                assert ids[0] == moorage.current_input_id()
                assert 1 <= len(ids) == len(failures) <= MOST_IN_A_BATCH
                with world.lock:
                    assert self.number in world.entered
                    assert self.number not in world.exited, "runs after its exit hooks"
                    world.running[self.number] += 1
                    world.most[self.number] = max(
                        world.most[self.number], world.running[self.number]
                    )
                    world.began.update(ids)
                    return [world.began[id] <= most for id, most in zip(ids, failures, strict=True)]

            def end(self) -> None:
                with world.lock:
                    world.running[self.number] -= 1

        batched = moorage.batched(max_batch_size=MOST_IN_A_BATCH, wait_ms=1500)

        class Batched(Hooks):
            @batched
            def work(self, seconds: list[float], failures: list[int]) -> list[str | WorkError]:
                fails = self.begin(failures)
                try:
                    until = world.clock.now() + max(seconds)
                    while (left := until - world.clock.now()) > 0:
                        world.clock.sleep(min(left, 0.25))
                        moorage.check_cancelled()
                    return [WorkError() if fail else name for fail in fails]
                finally:
                    self.end()

        class BatchedAsync(Hooks):
            @batched
            async def work(
                self, seconds: list[float], failures: list[int]
            ) -> list[str | WorkError]:
                fails = self.begin(failures)
                try:
                    await asyncio.sleep(max(seconds))
                    return [WorkError() if fail else name for fail in fails]
                finally:
                    self.end()

        return self.app.cls(
            serialized=True,
            max_containers=2,
            scaledown_window=5,
            timeout=int(TIMEOUT),
            retries=Retries(max_retries=2, initial_delay=2.0),
        )(moorage.concurrent(max_inputs=2, target_inputs=1)(BatchedAsync if is_async else Batched))

    def take(self, step: object) -> None:
        made = self.work()
        match step:
            case Spawn(method, count, seconds, failures):
                function = (
                    self.batched[method]().work if method in self.batched else getattr(made, method)
                )
                for _ in range(count):
                    call = function.spawn(seconds, failures)
                    self.calls.append((step, call))
            case Cancel(which) if self.calls:
                self.calls[which % len(self.calls)][1].cancel()
            case Pass(seconds):
                self.clock.sleep(seconds)
            case Resize(_, limit):
                self.calls.append((None, made.resize.spawn(limit)))
            case StopFetching():
                self.calls.append((None, made.stop_fetching.spawn()))
            case Scale(least, most, buffer):
                made.update_autoscaler(
                    min_containers=least, max_containers=most, buffer_containers=buffer
                )
            case _:
                pass

    def outcome_of(self, spawn: Spawn | None, call: FunctionCall[Any]) -> str:
        try:
            value = call.get(timeout=0)
        except InputCancelledError:
            return "cancelled"
        except WorkError:
            assert spawn is not None
            assert spawn.failures == 3, "tried twice more"
            return "failed"
        except FunctionTimeoutError:
            assert spawn is not None
            if spawn.method in self.batched:  # or another of its batch did
                assert any(s and s.seconds > TIMEOUT for s, _ in self.calls)
            else:
                assert spawn.seconds > TIMEOUT
            return "failed"
        assert spawn is None or (value == spawn.method and spawn.failures < 3)
        assert spawn is None or spawn.seconds < TIMEOUT
        return "succeeded"


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    steps=st.lists(STEPS, max_size=12),
    waits=st.sampled_from([0.0, 1.0, 300.0]),
    drain=st.booleans(),
)
def test_a_random_program_loses_nothing(steps: list[object], waits: float, drain: bool) -> None:
    with VirtualClock() as clock:
        world = World(clock)
        with world.app.run(clock=clock, drain=drain, grace=600):
            for step in steps:
                world.take(step)
            clock.sleep(waits)
            run = world.app._runs.run
            assert run is not None
            pools = list(run.pools.values())
            if waits == 300.0:
                for pool in pools:
                    s = pool.statistics()
                    assert (s.queued, s.running, s.waiting, s.abandoned) == (0, 0, 0, 0)
                    least = pool.options.limits.min_containers
                    assert len(s.containers) == least
        outcomes = Counter(world.outcome_of(*one) for one in world.calls)
        # Gone already if it had nothing to do any more.
        every = [pool.statistics() for pool in pools]
        for s in every:
            assert (s.queued, s.running, s.waiting, s.abandoned, s.outside) == (0,) * 5
            assert s.containers == ()
            assert s.accepted == s.succeeded + s.failed + s.cancelled
            if s.batches is not None:
                assert s.batches.running == 0
                assert all(1 <= size <= MOST_IN_A_BATCH for size, _ in s.batches.sizes)
        if sum(s.accepted for s in every) == len(world.calls):
            assert outcomes["succeeded"] == sum(s.succeeded for s in every)
            assert outcomes["failed"] == sum(s.failed for s in every)
            assert outcomes["cancelled"] == sum(s.cancelled for s in every)
        assert sum(outcomes.values()) == len(world.calls)
        if drain and not any(isinstance(step, Cancel) for step in steps):
            assert not outcomes["cancelled"], "a drain finishes what was accepted"
        assert world.entered == world.exited
        assert set(world.entered.values()) <= {1}
        assert not +world.running
        assert max(world.most.values(), default=0) <= 3
