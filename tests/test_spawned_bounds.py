"""Spawned calls are let go: by time, by number, and at once if nobody has their id."""

import asyncio
import gc
import threading
import weakref

import pytest

import moorage
from moorage import App, FunctionCall, config
from moorage.calling.registry import registry
from moorage.exception import OutputExpiredError
from moorage.runtime import background
from moorage.runtime.clocks.virtual_clock import VirtualClock
from placing.outside import wait_for


class Result:
    pass


class Made:
    """The results that a function made, and how many of them live."""

    def __init__(self):
        self._refs = []

    def make(self):
        result = Result()
        self._refs.append(weakref.ref(result))
        return result

    def __len__(self):
        return len(self._refs)

    @property
    def alive(self):
        gc.collect()
        return sum(ref() is not None for ref in self._refs)


@pytest.fixture
def made():
    return Made()


@pytest.fixture(autouse=True)
def empty_registry(monkeypatch):
    yield
    monkeypatch.setattr(config, "findable_calls", 0)
    registry.sweep()


def cleaned_up():
    """Wait until the thread for cleaning up has done all that it was handed."""
    done = threading.Event()
    background.in_background(done.set)
    assert done.wait(30)


def make_app(made):
    app = App()

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=4)
    def make(value=0):
        return made.make()

    @app.function(max_containers=1)
    def fail():
        local = made.make()
        error = ValueError(f"made {type(local).__name__}")
        raise error

    return app, make, fail


# -- by themselves ------------------------------------------------------------------------


def test_results_go_by_the_time_of_their_clock_though_nothing_else_is_called(made, monkeypatch):
    monkeypatch.setattr(config, "findable_seconds", 100.0)
    app, make, _ = make_app(made)
    with VirtualClock() as clock, app.run(clock=clock):
        for _ in range(20):
            call = make.spawn()
            assert call.object_id
            call.get()
        del call
        clock.sleep(99.0)
        assert made.alive == 20
        clock.sleep(2.0)
        cleaned_up()
        assert made.alive == 0


def test_expiry_makes_no_virtual_time_pass(made):
    app, make, _ = make_app(made)
    with VirtualClock() as clock, app.run(clock=clock):
        make.spawn().get()
        before = clock.now()
        call = make.spawn()
        assert call.object_id
        call.get()
        clock.sleep(0)
        assert clock.now() == before


def test_one_timer_serves_all_calls_of_a_clock(made, monkeypatch):
    timers = []
    app, make, _ = make_app(made)
    with VirtualClock() as clock, app.run(clock=clock):
        call_when_past = clock.call_when_past

        def count(when, callback):
            timers.append(when)
            return call_when_past(when, callback)

        monkeypatch.setattr(clock, "call_when_past", count)
        calls = [make.spawn() for _ in range(50)]
        assert all(call.object_id for call in calls)
        for call in calls:
            call.get()
    assert len(timers) == 1


def test_results_go_by_number_when_calls_settle(made, monkeypatch):
    monkeypatch.setattr(config, "findable_calls", 16)
    app = App()
    gate = threading.Event()

    @app.function(max_containers=1)
    def late():
        assert gate.wait(30)
        return made.make()

    with app.run():
        calls = [late.spawn() for _ in range(100)]
        assert all(call.object_id for call in calls)
        last = calls[-1]
        del calls
        gate.set()
        last.get()
        cleaned_up()
        # Settled calls beyond the bound go in small bundles.
        assert made.alive <= 16 + 2


def test_findable_seconds_that_was_lowered_holds_for_what_settles_then(made, monkeypatch):
    app, make, _ = make_app(made)
    with VirtualClock() as clock, app.run(clock=clock):
        early = make.spawn()
        assert early.object_id
        early.get()
        monkeypatch.setattr(config, "findable_seconds", 10.0)
        call = make.spawn()
        assert call.object_id
        call.get()
        del early, call
        clock.sleep(11.0)
        cleaned_up()
        assert made.alive == 0


def test_a_call_of_a_clock_that_was_left_goes_by_real_time(made, monkeypatch):
    monkeypatch.setattr(config, "findable_seconds", 0.05)
    app, make, _ = make_app(made)
    gone = threading.Event()
    with app.run(clock=VirtualClock()):
        call = make.spawn()
        assert call.object_id
        weakref.finalize(call.get(), gone.set)
    del call
    gc.collect()
    assert gone.wait(30)


def test_a_result_does_not_die_on_a_thread_that_keeps_time(monkeypatch):
    monkeypatch.setattr(config, "findable_seconds", 100.0)
    app, threads = App(), []

    class Tells:
        def __del__(self):
            threads.append(threading.current_thread().name)

    @app.function()
    def tell():
        return Tells()

    with VirtualClock() as clock, app.run(clock=clock):
        call = tell.spawn()
        assert call.object_id
        call.get()
        del call
        gc.collect()
        assert threads == []
        clock.sleep(101.0)
        cleaned_up()
        assert threads == ["moorage-cleanup"]


# -- whose id nobody has ------------------------------------------------------------------


def test_a_call_whose_id_nobody_has_goes_with_its_handle(made):
    app, make, _ = make_app(made)
    with app.run():
        for _ in range(50):
            make.spawn().get()
        calls = [make.spawn() for _ in range(50)]
        FunctionCall.gather(*calls)
        del calls
        wait_for(lambda: made.alive <= 4)  # the thread that woke us has the gather for a moment
        assert len(registry) == 0


def test_a_call_that_nobody_holds_runs_all_the_same(made):
    app, make, _ = make_app(made)
    with app.run(drain=True):
        for _ in range(50):
            make.spawn()
        make.experimental_spawn_map(range(10))
        gc.collect()
    assert len(made) == 60


@pytest.mark.parametrize(
    "give_out",
    [
        lambda call: call.object_id,
        lambda call: repr(call).split()[1],
        lambda call: call.get_call_graph()[0].function_call_id,
    ],
    ids=["object_id", "repr", "graph"],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_call_whose_id_was_given_out_is_found(made, give_out, when):
    app, make, _ = make_app(made)
    with app.run():
        call = make.spawn()
        if when == "after":
            call.get()
        call_id = give_out(call)
        result = weakref.ref(call.get())
        del call
        gc.collect()
        assert FunctionCall.from_id(call_id).get() is result()


def test_a_call_whose_own_code_asked_for_its_id_is_found():
    app, ids = App(), []

    @app.function()
    def tell():
        ids.append(moorage.current_function_call_id())
        return 3

    with app.run(drain=True):
        tell.spawn()
    assert FunctionCall.from_id(ids[0]).get() == 3


def test_what_a_spawned_call_spawned_is_found_by_its_graph_while_it_is_held(made):
    app, make, _ = make_app(made)

    @app.function()
    def outer(count=20):
        for _ in range(count):
            make.spawn().get()

    with app.run():
        call = outer.spawn()
        call.get()
        (info,) = call.get_call_graph()
        assert len(info.children) == 20
        inner = FunctionCall.from_id(info.children[0].function_call_id)
        assert isinstance(inner.get(), Result)
        del inner, info
        registry.sweep()
        assert made.alive == 20, "they were found by it"

        unseen = outer.spawn()
        unseen.get()
        del unseen
        outer.remote(0)  # its worker has done with the call before
        assert made.alive <= 20 + 4, "nobody can find them any more"


def test_what_a_remote_call_spawned_goes_with_its_handle(made):
    app, make, _ = make_app(made)

    @app.function()
    def outer():
        for _ in range(20):
            make.spawn().get()

    with app.run():
        outer.remote()
        assert made.alive <= 4


def test_children_in_a_graph_expire_too(made, monkeypatch):
    monkeypatch.setattr(config, "findable_calls", 10)
    app, make, _ = make_app(made)

    @app.function()
    def outer():
        for _ in range(200):
            make.spawn().get()

    with app.run():
        call = outer.spawn()
        call.get()
        cleaned_up()
        assert made.alive <= 10 + 4
        (info,) = call.get_call_graph()
        assert 0 < len(info.children) <= 10


def test_a_chain_of_spawned_calls_makes_a_deep_graph():
    app, last = App(), threading.Event()

    @app.function(max_containers=1)
    def job(left):
        if left:
            job.spawn(left - 1)
        else:
            last.set()

    with app.run(drain=True):
        call = job.spawn(3000)
        assert last.wait(60)
    depth, infos = 0, call.get_call_graph()
    while infos:
        depth, infos = depth + 1, infos[0].children
    assert depth == 3001


def test_a_job_that_spawns_its_successor_keeps_no_predecessor(made):
    app, done = App(), threading.Event()

    @app.function(max_containers=1)
    def job(left):
        if left:
            job.spawn(left - 1)
        else:
            done.set()
            assert made.alive <= 5
        return made.make()

    with app.run(drain=True):
        job.spawn(300)
        assert done.wait(60)
    assert made.alive <= 5


def test_a_call_in_a_run_that_drains_is_let_in_though_its_caller_has_settled():
    """The chain of who spawned whom outlives the calls in the middle."""
    outer_app, app = App("outer"), App("drains")
    gate = threading.Event()

    @app.function()
    def inner():
        return 1

    @outer_app.function()
    def last():
        assert gate.wait(30)
        return inner.remote()

    @outer_app.function()
    def middle():
        return last.spawn()

    @app.function()
    def first():
        call = middle.spawn().get()
        gate.set()
        return call.get()

    with outer_app.run():
        with app.run(drain=True):
            call = first.spawn()
        assert call.get() == 1


# -- what failed --------------------------------------------------------------------------


@pytest.mark.parametrize("reads", [True, False])
def test_a_kept_failure_lets_go_of_the_locals_of_its_frames(made, reads):
    app, _, fail = make_app(made)
    ids = []
    with app.run(drain=True):
        for _ in range(10):
            call = fail.spawn()
            ids.append(call.object_id)
            if reads:
                with pytest.raises(ValueError, match="made Result"):
                    call.get()
        del call
    registry._clear_frames()
    assert made.alive <= 1
    with pytest.raises(ValueError, match="made Result") as caught:
        FunctionCall.from_id(ids[0]).get()
    assert caught.traceback[-1].name == "fail", "its lines are there"


def test_a_kept_failure_that_somebody_may_still_read_keeps_its_locals(made):
    app, _, fail = make_app(made)
    with app.run(drain=True):
        call = fail.spawn()
        assert call.object_id
    registry._clear_frames()
    assert made.alive == 1
    with pytest.raises(ValueError, match="made Result"):
        call.get()


def test_frames_that_go_on_are_not_closed():
    """An error that was raised in a coroutine which caught it and goes on."""
    app, closed, stored = App(), [], []

    async def background():
        try:
            try:
                raise ValueError("lost the connection")
            except ValueError as error:
                stored.append(error)
            await asyncio.sleep(3600)
        except GeneratorExit:
            closed.append("closed")
            raise

    @app.function()
    @moorage.concurrent(max_inputs=2)
    async def fail():
        if not stored:
            task = asyncio.create_task(background())
            while not stored:
                await asyncio.sleep(0)
            stored.append(task)
        raise stored[0]

    with VirtualClock() as clock, app.run(clock=clock):
        call = fail.spawn()
        assert call.object_id
        with pytest.raises(ValueError, match="lost"):
            call.get()
        registry._clear_frames()
        assert closed == []
        assert not stored[1].done()


# -- by its id, lazily --------------------------------------------------------------------


def test_from_id_raises_for_no_id_and_get_does(made, monkeypatch):
    monkeypatch.setattr(config, "findable_calls", 0)
    app, make, _ = make_app(made)
    with app.run():
        call = make.spawn()
        call_id = call.object_id
        call.get()
        found = FunctionCall.from_id(call_id)
        assert found.object_id == call_id
        for use in (found.get, found.cancel, found.num_inputs, found.get_call_graph):
            with pytest.raises(OutputExpiredError, match=call_id):
                use()
        with pytest.raises(OutputExpiredError):
            FunctionCall.gather(found)
