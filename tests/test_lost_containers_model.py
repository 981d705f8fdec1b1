"""Pools whose containers die at any step, against the model of ``test_pool_model.py``.

`LosingMachine` has every step of the pool's model, and one more: a container dies, in any state
and between any two events.  ``PoolWorld.lose`` says what must become of its inputs; that nothing
runs twice that has ended, that lost inputs come first in the order of their grants, and that only
what ran alone is blamed, is checked with all other promises after each step.

Begin reading at `Losing`, then ``PoolWorld.lose``.  `test_the_model_finds_a_mutant` breaks the
pool at one place at a time, and the model must find each.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from moorage.runtime.containers.container import ContainerState, Loss
from moorage.runtime.input import Input, InputState, Kind
from moorage.runtime.pools.autoscaler import Limits
from moorage.runtime.pools.backlog import Backlog
from moorage.runtime.pools.capacity import Capacity
from moorage.runtime.pools.fleet import Fleet
from moorage.runtime.pools.pool import Pool
from moorage.runtime.pools.probation import Probation
from pool_world import WINDOW, Setting
from test_pool_model import (
    EXAMPLES_OF_EACH,
    RETRIES,
    RUNS,
    BatchedMachine,
    ManySidedMachine,
    checked,
    indices,
    nth,
    takes_its_time,
)

__all__ = ["takes_its_time"]

LIVE = tuple(state for state in ContainerState if state is not ContainerState.STOPPED)

GENERATORS = (Kind.SYNC_GENERATOR, Kind.ASYNC_GENERATOR)


class Losing(ManySidedMachine):
    """The steps in which containers are lost."""

    @precondition(lambda self: self.containers(*LIVE))
    @rule(index=indices, counts=st.sampled_from([True, True, True, False]))
    def lose(self, index: int, counts: bool) -> None:
        world, container = nth(index, self.containers(*LIVE))
        world.lose(container, "it was killed", counts=counts)

    @precondition(lambda self: self.open_worlds())
    @rule(
        index=indices,
        kinds=st.lists(st.booleans(), max_size=4),
        sent=st.integers(0, 4),
        unwritten=st.booleans(),
        counts=st.sampled_from([True, True, True, False]),
        times=st.integers(1, 4),
    )
    def lose_again_and_again(
        self,
        index: int,
        kinds: list[bool],
        sent: int,
        unwritten: bool,
        counts: bool,
        times: int,
    ) -> None:
        """Inputs come; what is lost begins again, in containers that die again."""
        world = nth(index, self.open_worlds())
        for is_async in kinds:
            self.arrive(world, 1, is_async, True)
        for _ in range(times):
            self.end_all_starts()
            self.check()
            found = [c for c in world.in_state(*RUNS) if c.slots.held]
            if found:
                container = nth(index, found)
                granted = [h for h in container.inputs if h.state is InputState.GRANTED]
                for holder in granted[:sent]:
                    if world.goes_on(holder):
                        world.begin_code(holder)
                        if unwritten and holder is granted[0]:
                            container.unwritten.add(holder)
                world.lose(container, "it was killed", counts=counts)
                self.check()

    @precondition(lambda self: self.open_worlds())
    @rule(index=indices, kinds=st.lists(st.booleans(), min_size=2, max_size=3))
    def lose_neighbours_until_they_must_run_alone(self, index: int, kinds: list[bool]) -> None:
        self.lose_again_and_again(
            index, kinds, sent=4, unwritten=False, counts=True, times=2 + index % 3
        )

    @precondition(lambda self: self.starting())
    @rule(index=indices, times=st.integers(1, 4), seconds=st.sampled_from([0.0, 0.1, 1.0]))
    def lose_while_they_start(self, index: int, times: int, seconds: float) -> None:
        for _ in range(times):
            starting = self.containers(ContainerState.STARTING)
            if starting:
                world, container = nth(index, starting)
                world.lose(container, "its import crashed", counts=True)
                self.check()
            self.clock.sleep(seconds)
            self.check()

    @precondition(lambda self: self.holders(InputState.GRANTED))
    @rule(index=indices)
    def begin_unwritten(self, index: int) -> None:
        """The container makes an input RUNNING, and nothing of it leaves the process yet."""
        world, input = nth(index, self.holders(InputState.GRANTED))
        world.begin_code(input)
        input.container.unwritten.add(input)


class LosingMachine(Losing):
    """Async, sync and generator inputs, one slot and several, bounds, retries."""

    @initialize(waits=st.booleans(), retries=st.sampled_from([(0, 1), (1, 0)]))
    def begin(self, waits: bool, retries: tuple[int, int]) -> None:
        self.add_pools(
            Setting(
                Limits(2, 3, 0, 2, 0, WINDOW),
                waits_when_full=waits,
                retries=RETRIES if retries[0] else None,
            ),
            Setting(
                Limits(1, 1, 0, 2, 0, WINDOW),
                max_backlog=None,
                queue_timeout=None,
                retries=RETRIES if retries[1] else None,
            ),
            Setting(
                Limits(2, 2, 0, 1, 0, WINDOW),
                waits_when_full=not waits,
                retries=RETRIES if retries[1] else None,
                nonpreemptible=not waits,
                retires=True,
            ),
        )

    @precondition(lambda self: self.open_worlds())
    @rule(index=indices, kind=st.sampled_from(GENERATORS), may_stand=st.booleans())
    def generators_arrive(self, index: int, kind: Kind, may_stand: bool) -> None:
        self.arrive(nth(index, self.open_worlds()), 1, kind.is_async, may_stand, kind)

    @precondition(lambda self: self.generators())
    @rule(index=indices)
    def yield_an_item(self, index: int) -> None:
        input = nth(index, self.generators())
        input.call.stream.has_begun = True

    @precondition(lambda self: self.holders(InputState.RUNNING))
    @rule(index=indices)
    def respond(self, index: int) -> None:
        """Something of a web request has passed that passes only once."""
        _, input = nth(index, self.holders(InputState.RUNNING))
        input.call.is_under_way = True

    def generators(self) -> list[Input]:
        return [
            input
            for world, input in self.holders(InputState.RUNNING)
            if input.call.target.is_generator and input not in input.container.unwritten
        ]


class LosingBatchedMachine(Losing, BatchedMachine):
    """Batches: each member goes back by itself."""


class LateLosingMachine(LosingMachine):
    late = True


class LateLosingBatchedMachine(LosingBatchedMachine):
    late = True
    sizes = (2, 5)


def with_fewer_steps(machine: type[Losing]) -> type:
    """One step of these machines does more than one of the others."""
    case = checked(machine)
    case.settings = settings(EXAMPLES_OF_EACH, stateful_step_count=30)
    return case


TestLosing = with_fewer_steps(LosingMachine)
TestLateLosing = with_fewer_steps(LateLosingMachine)
TestLosingBatched = with_fewer_steps(LosingBatchedMachine)
TestLateLosingBatched = with_fewer_steps(LateLosingBatchedMachine)


# -- mutants ----------------------------------------------------------------------------------

AfterLoss = Callable[..., bool]

after_loss: AfterLoss = Pool._after_loss
SOME_LOSS = Loss("it was killed")


def forget_granted_ones(pool: Pool, input: Input, loss: Loss | None, *, alone: bool) -> bool:
    """Inputs that are granted and not begun do not go back."""
    return loss is not None and after_loss(pool, input, loss, alone=alone)


def count_unwritten_ones(pool: Pool, input: Input, loss: Loss | None, *, alone: bool) -> bool:
    """Inputs of which nothing has left the process count a loss."""
    return after_loss(pool, input, loss or SOME_LOSS, alone=alone)


def count_blameless_losses(pool: Pool, input: Input, loss: Loss | None, *, alone: bool) -> bool:
    """Losses that no input can have caused count."""
    return after_loss(pool, input, loss and SOME_LOSS, alone=alone)


def blame_neighbours(pool: Pool, input: Input, loss: Loss | None, *, alone: bool) -> bool:
    """Whatever is lost twice is blamed."""
    return after_loss(pool, input, loss, alone=True)


def blame_nobody(pool: Pool, input: Input, loss: Loss | None, *, alone: bool) -> bool:
    """What is lost alone runs again, for ever."""
    return after_loss(pool, input, loss, alone=False)


def put_back_in_reverse(backlog: Backlog, inputs: list[Input]) -> None:
    real_put_back(backlog, inputs[::-1])


def put_at_the_end(backlog: Backlog, inputs: list[Input]) -> None:
    for input in inputs:
        backlog.put([input])


def take_what_comes(probation: Probation, fleet: object, container: object) -> None:
    """The container on probation keeps its limit."""
    limit = container.slots.limit
    real_begin(probation, fleet, container)
    fleet.resize(container, limit)


real_put_back = Backlog.put_back
real_begin = Probation.begin

MUTANTS = {
    "granted inputs do not go back": (Pool, "_after_loss", forget_granted_ones),
    "unwritten inputs count a loss": (Pool, "_after_loss", count_unwritten_ones),
    "losses of nobody's fault count": (Pool, "_after_loss", count_blameless_losses),
    "neighbours are blamed": (Pool, "_after_loss", blame_neighbours),
    "nobody is blamed": (Pool, "_after_loss", blame_nobody),
    "inputs go back in reverse": (Backlog, "put_back", put_back_in_reverse),
    "inputs go to the end": (Backlog, "put_back", put_at_the_end),
    "the container on probation takes more": (Probation, "begin", take_what_comes),
    "inputs on probation are forgotten": (Pool, "_serve_probation", lambda pool: None),
    "loops of lost containers stay blocked": (Fleet, "forget_loop", lambda *_: None),
    "a lost container keeps its room": (Capacity, "free_room", lambda *_: []),
}


class BrokenMachine(LosingMachine):
    def teardown(self) -> None:
        with contextlib.suppress(Exception):  # the first error counts
            super().teardown()


@pytest.mark.parametrize("name", MUTANTS)
def test_the_model_finds_a_mutant(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*MUTANTS[name])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            BrokenMachine,
            settings=settings(
                EXAMPLES_OF_EACH,
                max_examples=400,
                stateful_step_count=15,
                derandomize=True,
                database=None,
                phases=(Phase.generate,),
            ),
        )
