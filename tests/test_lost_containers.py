"""A container is lost: what becomes of its inputs, one situation at a time.

``test_lost_containers_model.py`` checks the same promises in any order of events.  Here each test
is one sentence of them, with the containers of the model, which the test drives by hand.
"""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

import moorage
import pool_inside
from moorage import Retries
from moorage.exception import ContainerLostError, InternalFailure, RemoteError
from moorage.runtime.background import flush
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.containers.container import ContainerState, Loss
from moorage.runtime.containers.streaming import Stream
from moorage.runtime.input import Input, InputState, Kind, Target
from moorage.runtime.outcome import Cancelled, Failure, Value
from moorage.runtime.pools.autoscaler import Limits
from moorage.runtime.pools.batching import BatchOptions
from moorage.runtime.pools.capacity import Capacity
from moorage.runtime.waiting.surveys import surely_served, survey_of
from pool_world import BATCH_WAIT, ModelCall, ModelContainer, ModelInput, PoolWorld, Setting

HOW = "it was killed by SIGKILL"


class World(PoolWorld):
    """One pool, whose containers do what the test says."""

    def come(self, count: int, kind: Kind = Kind.SYNC) -> list[ModelInput]:
        call = ModelCall(kind)
        if self.batching is not None:
            call.target = self.batching.target
        inputs = [ModelInput(self, call, index) for index in range(count)]
        self.calls.append(call)
        self.inputs += inputs
        assert self.pool.submit(list(inputs), may_stand_outside=True)
        return inputs

    def start_all(self) -> None:
        for container in self.in_state(ContainerState.STARTING):
            self.end_start(container, True)

    def begin_all(self) -> None:
        for holder in self.holders(InputState.GRANTED):
            self.begin_code(holder)

    def die(self, container: ModelContainer, *, counts: bool = True) -> None:
        self.lose(container, HOW, counts=counts)
        self.rest()

    def rest(self) -> None:
        self.check(effects_pending=self.batching is not None)

    def end(self) -> None:
        self.pool.close()
        for container in self.containers:
            self.pool.container_lost(container, Loss(HOW))
        self.pool.join(0.0)
        assert all(input.outcome is not None for input in self.inputs)
        assert self.pool.statistics().running == 0

    def run_to_the_end(self, kills: Callable[[list[Input]], bool]) -> None:
        """All code begins.  A container dies if `kills` its inputs, else all its code ends."""
        for _ in range(1000):
            self.start_all()
            busy = [c for c in self.in_state(ContainerState.READY) if c.slots.held]
            if not busy:
                return
            self.begin_all()
            inputs = list(busy[0].inputs)
            if kills(inputs):
                self.die(busy[0])
            else:
                for input in inputs:
                    self.end_code(input, good=True)
                self.rest()
        raise AssertionError("it does not come to an end")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def make() -> Iterator[Callable[..., World]]:
    clock = VirtualClock()

    def make_world(
        slots: int = 2,
        most: int | None = None,
        capacity: int = 32,
        target: int | None = None,
        **options: object,
    ) -> World:
        limits = Limits(target or slots, slots, 0, most, 0, 20.0)
        setting = Setting(limits, **{"max_backlog": None, "queue_timeout": None, **options})
        return World(clock, Capacity(capacity, 512), setting, pool_inside.carry_out)

    worlds: list[World] = []
    with clock:
        yield lambda *given, **options: worlds.append(make_world(*given, **options)) or worlds[-1]
        for world in worlds:
            world.end()


def error_of(input: Input) -> ContainerLostError:
    assert isinstance(input.outcome, Failure)
    assert isinstance(input.outcome.error, ContainerLostError)
    return input.outcome.error


def states(inputs: list[ModelInput]) -> list[str]:
    return [input.state.value for input in inputs]


def test_lost_inputs_run_again_before_all_others_with_their_ids(make):
    world = make(slots=2, most=1)
    inputs = world.come(4)
    ids = [input.input_id for input in inputs]
    world.start_all()
    world.begin_all()
    world.die(world.containers[0])
    assert states(inputs) == ["queued"] * 4
    assert pool_inside.queued(world.pool) == inputs
    world.start_all()
    assert states(inputs) == ["granted", "granted", "queued", "queued"]
    assert [input.input_id for input in inputs] == ids
    seen = world.pool.statistics()
    assert (seen.lost_containers, seen.returned_inputs, seen.retries) == (1, 2, 0)


def test_inputs_that_were_not_written_go_back_and_count_no_loss(make):
    world = make(slots=3, most=1)
    inputs = world.come(3)
    for _ in range(5):  # the last two are never written
        world.start_all()
        if inputs[0].state is InputState.GRANTED:
            world.begin_code(inputs[0])
        if inputs[1].state is InputState.GRANTED:
            world.begin_code(inputs[1])
            world.containers[-1].unwritten.add(inputs[1])
        world.die(world.containers[-1])
    assert error_of(inputs[0]).losses == 2, "it ran alone: nothing of the others had begun"
    assert states(inputs) == ["settled", "queued", "queued"]
    assert world.pool.attempts.losses == {}
    world.run_to_the_end(lambda inputs: False)
    assert [type(input.outcome) for input in inputs] == [Failure, Value, Value]


@pytest.mark.parametrize("kind", [Kind.SYNC, Kind.ASYNC])
def test_an_input_that_dies_alone_for_the_second_time_fails(make, kind):
    world = make(slots=1)
    (input,) = world.come(1, kind)
    runs: list[int] = []
    world.run_to_the_end(lambda inputs: runs.append(1) or True)
    assert len(runs) == 2
    error = error_of(input)
    assert isinstance(error, InternalFailure)
    assert isinstance(error, RemoteError)
    assert (error.how, error.losses) == (HOW, 2)
    assert str(error) == (
        "an input of f was lost with its container twice, the last time as the only input "
        "there: it was killed by SIGKILL; look for what ends the process in f: os._exit, a "
        "crash in C code, or more memory than there is"
    )


def test_ninety_nine_neighbours_of_a_poison_input_finish_at_the_cost_of_one_start(make):
    world = make(slots=100)
    inputs = world.come(100)
    poison = inputs[37]
    runs = dict.fromkeys(inputs, 0)

    def kills(held: list[Input]) -> bool:
        for input in held:
            runs[input] += 1
        return poison in held

    world.run_to_the_end(kills)
    assert [i for i in inputs if not isinstance(i.outcome, Value)] == [poison]
    assert error_of(poison).losses == 3
    assert max(runs.values()) == 3
    # Two for all; one on probation until the poison input comes; one more for the rest.
    assert len(world.containers) == 4
    assert world.pool.statistics().lost_containers == 3


def test_one_container_is_on_probation_and_the_others_go_on(make):
    world = make(slots=2)
    suspects = world.come(2)
    for _ in range(2):
        world.start_all()
        world.begin_all()
        world.die(world.containers[-1])
    world.start_all()
    (alone,) = world.in_state(ContainerState.READY)
    assert states(suspects) == ["granted", "queued"]
    assert (alone.slots.limit, len(alone.slots.held)) == (1, 1)
    others = world.come(4)
    world.start_all()
    world.rest()
    assert states(suspects) == ["granted", "queued"], "one after the other"
    assert states(others) == ["granted"] * 4
    assert world.pool.snapshot(0.0).must_run_alone == 1
    assert [c.is_on_probation for c in world.pool.snapshot(0.0).containers] == [True, False, False]
    world.end_code(suspects[0], good=True)
    assert states(suspects) == ["settled", "granted"], "in the same container"
    assert suspects[1].container is alone
    world.end_code(suspects[1], good=True)
    world.rest()
    assert (alone.slots.limit, alone.target) == (2, 2), "probation is over"


def test_if_there_may_be_no_more_containers_the_emptiest_takes_nothing_until_it_is_empty(make):
    world = make(slots=3, most=2)
    others = world.come(3)
    world.start_all()
    suspects = world.come(2)
    world.start_all()
    world.begin_all()
    world.die(world.containers[1])
    world.start_all()
    world.begin_all()
    world.limits = replace(world.limits, max_containers=1)
    world.pool.set_limits(world.limits)
    assert world.containers[2].state is ContainerState.DRAINING
    world.die(world.containers[2])
    stays = world.containers[0]
    assert len(world.containers) == 3
    assert states(suspects) == ["queued", "queued"]
    late = world.come(1)
    for other in others:
        assert (stays.slots.limit, states(late)) == (1, ["queued"])
        world.end_code(other, good=True)
        world.rest()
    for suspect in suspects:
        assert suspect.container is stays
        assert states(late) == ["queued"]
        world.end_code(suspect, good=True)
        world.rest()
    assert (stays.slots.limit, states(late)) == (3, ["granted"])


def test_who_waits_for_a_container_to_become_empty_takes_one_that_is_empty_before(make):
    world = make(slots=3, most=3)
    long = world.come(3)
    world.start_all()
    short = world.come(3)
    world.start_all()
    suspects = world.come(2)
    world.start_all()
    world.begin_all()
    world.die(world.containers[2])
    world.start_all()
    world.begin_all()
    world.limits = replace(world.limits, max_containers=2)
    world.pool.set_limits(world.limits)
    world.die(world.containers[3])
    assert [world.containers[n].slots.limit for n in (0, 1)] == [1, 3]
    for input in short:
        world.end_code(input, good=True)
        world.rest()
    assert suspects[0].container is world.containers[1]
    assert [world.containers[n].slots.limit for n in (0, 1)] == [3, 1]
    assert states(long) == ["running"] * 3


def test_a_given_up_container_on_probation_is_followed_by_another_one(make):
    """Found by `TestLosingBatched`: nobody was to come for the input that waited."""
    world = make(slots=2)
    suspects = world.come(2)
    for _ in range(2):
        world.start_all()
        world.begin_all()
        world.die(world.containers[-1])
    world.start_all()
    world.begin_all()
    world.pool.cancel(suspects[0])
    assert states(suspects) == ["abandoned", "queued"]
    world.clock.sleep(1.0)
    assert suspects[0].container.given_up
    world.rest()
    world.start_all()
    assert states(suspects) == ["abandoned", "granted"]


def test_a_limit_that_is_set_on_probation_holds_afterwards(make):
    world = make(slots=4)
    suspects = world.come(2)
    for _ in range(2):
        world.start_all()
        world.begin_all()
        world.die(world.containers[-1])
    world.start_all()
    (alone,) = world.in_state(ContainerState.READY)
    world.pool.resize(alone, 3)
    assert alone.slots.limit == 1
    for input in suspects:
        world.end_code(input, good=True)
    assert (alone.slots.limit, alone.target) == (3, 3)


def test_each_attempt_after_such_a_failure_runs_alone(make):
    world = make(slots=2, retries=Retries(max_retries=2, initial_delay=1.0, backoff_coefficient=1))
    poison, other = world.come(2)
    alone: list[bool] = []

    def kills(held: list[Input]) -> bool:
        if poison in held:
            alone.append(len(held) == 1)
        return poison in held

    for _ in range(4):
        world.run_to_the_end(kills)
        if poison.outcome is None:
            world.come(1)
            world.clock.sleep(1.0)
    assert alone == [False, False, True, True, True]
    assert isinstance(other.outcome, Value)
    assert error_of(poison).losses == 5
    assert world.pool.statistics().retries == 2


@pytest.mark.parametrize("counts", [True, False])
def test_a_nonpreemptible_input_never_runs_twice(make, counts):
    world = make(slots=3, most=1, nonpreemptible=True, retries=Retries(max_retries=3))
    ran, waits, waits_too = world.come(3)
    world.start_all()
    world.begin_code(ran)
    world.die(world.containers[0], counts=counts)
    assert states([ran, waits, waits_too]) == ["settled", "queued", "queued"]
    assert str(error_of(ran)) == (
        "an input of f was lost with its container and is not run again, because the function "
        "is nonpreemptible: it was killed by SIGKILL; call f again if a second run does no harm"
    )
    assert world.pool.statistics().retries == 0


def test_a_generator_runs_again_only_before_its_first_item(make):
    world = make(slots=2, most=1)
    (silent,), (begun,) = (world.come(1, Kind.SYNC_GENERATOR) for _ in range(2))
    world.start_all()
    world.begin_all()
    begun.call.stream.has_begun = True
    world.die(world.containers[0])
    assert states([silent, begun]) == ["queued", "settled"]
    assert "because it has yielded items already" in str(error_of(begun))


def test_a_web_request_runs_again_only_while_nothing_of_it_has_passed(make):
    world = make(slots=2, most=1)
    untouched, under_way = world.come(1)[0], world.come(1)[0]
    world.start_all()
    world.begin_all()
    untouched.call.is_under_way = False
    under_way.call.is_under_way = True
    world.die(world.containers[0])
    assert states([untouched, under_way]) == ["queued", "settled"]
    assert "because its response or its body is under way" in str(error_of(under_way))


@pytest.mark.parametrize("declare", ["function", "cls"])
@pytest.mark.parametrize("nonpreemptible", [True, False])
def test_the_decorators_say_whether_inputs_may_run_twice(declare, nonpreemptible):
    app = moorage.App()
    if declare == "function":

        @app.function(nonpreemptible=nonpreemptible, serialized=True)
        def f():
            return None

        call = f.remote
    else:

        @app.cls(nonpreemptible=nonpreemptible, serialized=True)
        class C:
            @moorage.method()
            def f(self):
                return None

        call = C().f.remote
    with app.run():
        call()
        (pool,) = app._runs.run.pools.values()
        assert pool.options.nonpreemptible is nonpreemptible


def test_a_stream_says_whether_an_item_has_come():
    stream = Stream(VirtualClock())
    assert not stream.has_begun

    def items():
        assert not stream.has_begun
        yield 1
        assert stream.has_begun

    stream.drive(items())
    assert stream.take_nowait(lambda: None) == (True, 1)
    assert stream.has_begun


def test_members_of_a_batch_go_back_one_by_one_and_a_batch_on_probation_has_one(make):
    batching = BatchOptions(Target("f", lambda: None, Kind.SYNC), 3, BATCH_WAIT)
    world = make(slots=1, batching=batching)
    inputs = world.come(3)
    sizes: list[int] = []
    for _ in range(3):
        world.start_all()
        world.begin_all()
        (batch,) = world.holders(InputState.RUNNING)
        sizes.append(len(batch.call.members))
        world.die(batch.container)
    assert sizes == [3, 3, 1]
    assert error_of(inputs[0]).losses == 3
    assert states(inputs) == ["settled", "queued", "queued"]
    world.run_to_the_end(lambda inputs: False)
    assert [type(input.outcome) for input in inputs] == [Failure, Value, Value]


def test_a_returned_member_of_a_batch_does_not_wait_for_others_again(make):
    batching = BatchOptions(Target("f", lambda: None, Kind.SYNC), 5, BATCH_WAIT)
    world = make(slots=1, most=2, batching=batching)
    first = world.come(2)
    world.start_all()
    world.clock.sleep(BATCH_WAIT)
    world.begin_all()
    second = world.come(1)
    world.start_all()  # its batch waits for members
    world.rest()
    (running,) = {input.container for input in first}
    world.die(running)
    assert {input.runner for input in first} == {second[0].runner}, "all three in one batch"
    assert states([*first, *second]) == ["running"] * 3


def test_what_was_cancelled_or_answered_before_the_loss_ends_with_it(make):
    world = make(slots=3, most=1)
    asks, abandoned, goes_back = [world.come(1, k)[0] for k in (Kind.ASYNC, Kind.SYNC, Kind.SYNC)]
    world.start_all()
    world.begin_all()
    world.pool.cancel(asks)
    world.pool.cancel(abandoned)
    assert states([asks, abandoned, goes_back]) == ["running", "abandoned", "running"]
    world.die(world.containers[0])
    assert states([asks, abandoned, goes_back]) == ["settled", "settled", "queued"]
    assert isinstance(asks.outcome, Cancelled)


def test_in_a_run_that_is_left_lost_inputs_are_cancelled(make):
    world = make(slots=2, most=1)
    inputs = world.come(2)
    world.start_all()
    world.begin_code(inputs[0])
    world.closing = True
    world.pool.close(cancel_running=False)
    world.die(world.containers[0])
    assert states(inputs) == ["settled", "settled"]
    assert all(isinstance(input.outcome, Cancelled) for input in inputs)
    assert world.pool.wait_stopped(world.clock.now())


def test_returned_inputs_have_no_deadline_in_the_queue_and_hide_none_behind_them(make):
    world = make(slots=1, most=1, max_backlog=1, queue_timeout=35.0)
    first = world.come(1)
    world.start_all()
    world.begin_all()
    second = world.come(1)
    third = world.come(1)
    world.clock.sleep(30.0)
    world.die(world.containers[0])
    assert states([*first, *second, *third]) == ["queued", "queued", "outside"], "above the bound"
    world.clock.sleep(5.0)
    assert states([*first, *second, *third]) == ["queued", "settled", "outside"]
    world.clock.sleep(5.0)
    world.start_all()
    assert states([*first, *third]) == ["granted", "queued"]
    world.rest()


def test_the_deadline_of_a_lost_input_begins_anew_with_its_next_slot(make):
    world = make(slots=1, most=1)
    (input,) = world.come(1)
    world.start_all()
    world.begin_all()
    world.clock.sleep(49.0)
    world.die(world.containers[0])
    world.start_all()
    world.begin_all()
    world.clock.sleep(49.0)
    assert states([input]) == ["running"]
    world.clock.sleep(1.0)
    assert states([input]) == ["abandoned"]


def test_containers_that_die_while_they_start_are_failed_starts(make):
    world = make(slots=1, most=1)
    inputs = world.come(2)
    for wait in (0.0, 0.1):
        (container,) = world.in_state(ContainerState.STARTING)
        world.die(container)
        assert states(inputs) == ["queued", "queued"]
        world.clock.sleep(wait)
    (container,) = world.in_state(ContainerState.STARTING)
    world.die(container)
    assert [error_of(input).how for input in inputs] == [HOW, HOW]
    assert str(error_of(inputs[0])) == (
        "the containers of f are lost while they start, the last one so: it was killed by "
        "SIGKILL; look for what ends the process in the imports and enter hooks of f"
    )
    assert world.pool.statistics().lost_containers == 3


def test_starts_that_are_lost_by_nobodys_fault_count_as_none(make):
    world = make(slots=1, most=4)
    inputs = world.come(4)
    for _ in range(3):
        starting = world.in_state(ContainerState.STARTING)
        assert len(starting) == 4
        for container in starting:
            world.die(container, counts=False)
        assert states(inputs) == ["queued"] * 4
        assert world.pool.backs_off_for == 0.0
    world.run_to_the_end(lambda _: False)
    assert all(isinstance(input.outcome, Value) for input in inputs)


def test_a_second_report_of_the_same_loss_does_nothing(make):
    world = make(slots=1)
    world.come(1)
    world.start_all()
    world.die(world.containers[0])
    world.pool.container_lost(world.containers[0], Loss(HOW))
    assert world.pool.statistics().lost_containers == 1
    world.rest()


def test_the_search_for_deadlocks_knows_who_must_run_alone(make):
    world = make(slots=2, most=1)
    suspects = world.come(2)
    for _ in range(2):
        world.start_all()
        world.begin_all()
        world.die(world.containers[-1])
    world.start_all()
    survey = survey_of(world.pool)
    assert survey.alone == [suspects[1]]
    assert survey.alone_in is suspects[0].container
    assert surely_served(world.pool) == []


def test_the_error_keeps_what_it_says_in_copies():
    error = ContainerLostError("lost", how=HOW, losses=2)
    for made in (
        Failure(error).exception(),
        copy.copy(error),
        pickle.loads(pickle.dumps(error)),
    ):
        assert isinstance(made, ContainerLostError)
        assert (made.args, made.how, made.losses) == (("lost",), HOW, 2)


def test_a_loss_is_logged(make, caplog):
    logging.disable(logging.NOTSET)
    world = make(slots=2)
    world.come(2)
    world.start_all()
    world.die(world.containers[0])
    assert flush(10.0)
    assert caplog.messages == [
        "container 1 of f is lost: it was killed by SIGKILL; 2 of its inputs are back in the queue"
    ]
