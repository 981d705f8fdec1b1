"""Settling: how what user code raises reaches its caller, and what it leaves alone."""

import asyncio
import contextlib
import logging
import threading
import traceback
import weakref

import pytest

import moorage
from moorage import App
from moorage.exception import InputCancelledError, RemoteError
from moorage.runtime.clocks.virtual_clock import VirtualClock

CONTROL_FLOW = [
    (SystemExit, 3),
    (KeyboardInterrupt,),
    (GeneratorExit,),
    (asyncio.CancelledError, "by hand"),
    (StopAsyncIteration,),
]


class CustomError(Exception):
    """Takes what copying by the book would not give it."""

    def __init__(self, code, *, detail):
        super().__init__(f"code {code}")
        self.code = code
        self.detail = detail


def make_class(app, **options):
    """One container that says how often it was entered."""

    @app.cls(max_containers=1, **options)
    @moorage.concurrent(max_inputs=4)
    class Work:
        entered = 0

        @moorage.enter()
        def enter(self):
            type(self).entered += 1

        @moorage.method()
        def fail(self, error):
            raise error

        @moorage.method()
        async def fail_async(self, error):
            await asyncio.sleep(0)
            raise error

        @moorage.method()
        def ok(self):
            return self.entered

        @moorage.method()
        async def ok_async(self):
            return self.entered

        @moorage.method()
        async def stop_loop(self):
            asyncio.get_running_loop().stop()
            await asyncio.sleep(0)
            return "went on"

        @moorage.method()
        async def exit_in_background(self, error):
            async def background():
                raise error

            task = asyncio.create_task(background())
            await asyncio.wait([task])
            task.exception()
            return "went on"

        @moorage.method()
        async def nap(self):
            await asyncio.sleep(1)
            return "rested"

    return Work()


@pytest.mark.parametrize("name", ["fail", "fail_async"])
def test_the_users_exception_keeps_type_and_attributes(name):
    app = App()
    work = make_class(app)
    cause = LookupError("cause")
    error = CustomError(7, detail=["x"])
    error.__cause__ = cause
    error.add_note("a note")
    with app.run(), pytest.raises(CustomError) as caught:
        getattr(work, name).remote(error)
    assert caught.value.code == 7
    assert caught.value.detail == ["x"]
    assert caught.value.__cause__ is cause
    assert caught.value.__notes__ == ["a note"]


def user_function(depth):
    if depth:
        user_function(depth - 1)
    raise LookupError("deep inside")


def frames_of(error):
    return traceback.extract_tb(error.__traceback__)


def assert_traceback_is_the_users(error, caller, function):
    ours = [frame for frame in frames_of(error) if "/src/moorage/" in frame.filename]
    names = [frame.name for frame in frames_of(error)]
    assert names[0] == caller
    assert len(ours) <= 1, "one frame of ours leads in"
    user = [frame.name for frame in frames_of(error) if frame.filename == __file__]
    assert user[-4:] == [function, "user_function", "user_function", "user_function"]


def test_the_traceback_shows_the_users_frames_and_one_of_ours():
    app = App()

    @app.function()
    def fail():
        user_function(2)

    @app.function()
    async def fail_async():
        user_function(2)

    @app.function()
    def fail_map(_):
        user_function(2)

    @app.function()
    def fail_gen():
        yield 1
        user_function(2)

    me = "test_the_traceback_shows_the_users_frames_and_one_of_ours"
    with app.run():
        with pytest.raises(LookupError) as caught:
            fail.remote()
        assert_traceback_is_the_users(caught.value, me, "fail")
        with pytest.raises(LookupError) as caught:
            fail_async.remote()
        assert_traceback_is_the_users(caught.value, me, "fail_async")
        with pytest.raises(LookupError) as caught:
            fail.spawn().get()
        assert_traceback_is_the_users(caught.value, me, "fail")
        with pytest.raises(LookupError) as caught:
            for _ in fail_map.map([1]):
                pass
        assert_traceback_is_the_users(caught.value, me, "fail_map")
        with pytest.raises(LookupError) as caught:
            for _ in fail_gen.remote_gen():
                pass
        assert_traceback_is_the_users(caught.value, me, "fail_gen")


def raise_by_remote(function):
    function.remote()


def raise_by_map(function):
    for _ in function.map([()]):
        pass


def raise_by_a_step_of_a_map(function):
    next(function.map([()]))


def raise_by_for_each(function):
    function.for_each([()])


def raise_by_a_map_that_fails_again_and_again(function):
    list(function.map([()] * 3))


def raise_by_get(function):
    function.spawn().get()


def raise_by_get_of_many(function):
    call = function.experimental_spawn_map([()] * 3)
    try:
        for index in (0, 2):  # else their errors are logged, and pytest keeps the records
            with contextlib.suppress(CustomError):
                call.get(index=index)
        call.get(index=1)
    finally:
        del call  # else a cycle: the call -> its errors -> their tracebacks -> this frame


@pytest.mark.parametrize(
    "call",
    [
        raise_by_remote,
        raise_by_map,
        raise_by_a_step_of_a_map,
        raise_by_a_map_that_fails_again_and_again,
        raise_by_for_each,
        raise_by_get,
        raise_by_get_of_many,
    ],
)
@pytest.mark.parametrize("max_backlog", [None, 3])
@pytest.mark.parametrize("kind", ["sync", "async", "method"])
def test_an_error_and_its_arguments_die_with_its_caller_not_with_a_collection(
    kind, call, max_backlog, no_collections
):
    app = App("test")
    alive = []

    class Noted(CustomError):
        def __init__(self):
            super().__init__(1, detail="")
            alive.append(weakref.ref(self))

    @app.function(max_containers=1, max_backlog=max_backlog)
    def sync(*_):
        raise Noted

    @app.function(name="async", max_containers=1, max_backlog=max_backlog)
    async def asynchronous(*_):
        raise Noted

    @app.cls(max_containers=1, max_backlog=max_backlog)
    class Work:
        @moorage.method()
        def method(self, *_):
            raise Noted

    function = {"sync": sync, "async": asynchronous, "method": Work().method}[kind]
    with app.run(), contextlib.suppress(CustomError):
        call(function)
    # Workers are joined by now: one may have been on its way out of the input above.  So may
    # be the thread that feeds a map whose function has a full backlog.
    for thread in threading.enumerate():
        if thread.name.startswith("moorage-feeder"):
            thread.join(30)
    assert alive
    assert [error() for error in alive if error() is not None] == []


def test_an_error_of_a_stream_dies_with_its_caller(no_collections):
    app = App("test")

    @app.function()
    def generate():
        yield 1
        raise CustomError(1, detail="")

    with app.run():
        try:
            list(generate.remote_gen())
        except CustomError as error:
            alive = weakref.ref(error)
    assert alive() is None


def test_getting_an_error_twice_does_not_pile_up_frames():
    app = App()

    @app.function()
    def fail():
        user_function(2)

    with app.run():
        call = fail.spawn()
        lengths = []
        for _ in range(3):
            with pytest.raises(LookupError) as caught:
                call.get()
            lengths.append(len(frames_of(caught.value)))
    assert len(set(lengths)) == 1


@pytest.mark.parametrize(
    ("name", "kind", "args"),
    [("fail", StopIteration, [1])]
    + [(name, kind, list(args)) for name in ("fail", "fail_async") for kind, *args in CONTROL_FLOW],
)
def test_control_flow_arrives_as_a_remote_error_and_the_container_lives_on(name, kind, args):
    app = App()
    work = make_class(app)
    with app.run():
        with pytest.raises(RemoteError, match=kind.__name__) as caught:
            getattr(work, name).remote(kind(*args))
        assert not isinstance(caught.value, InputCancelledError)
        assert type(caught.value.__cause__) is kind
        assert list(caught.value.__cause__.args) == args
        assert (work.ok.remote(), work.ok_async.remote()) == (1, 1)
        statistics = work.ok.statistics()
        assert (statistics.failed, statistics.cancelled, statistics.running) == (1, 0, 0)


def test_a_coroutine_that_raises_stop_iteration_gets_what_python_gives_it():
    app = App()
    work = make_class(app)
    with app.run():
        with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
            work.fail_async.remote(StopIteration())
        assert work.ok_async.remote() == 1


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_background_task_that_ends_the_loop_ends_no_neighbour(kind, caplog):
    app = App()
    work = make_class(app)
    with VirtualClock() as clock, app.run(clock=clock):
        neighbour = work.nap.spawn()
        assert work.exit_in_background.remote(kind()) == "went on"
        assert neighbour.get() == "rested"
        assert (work.ok.remote(), work.ok_async.remote()) == (1, 1)
    [record] = [each for each in caplog.records if each.name == "moorage"]
    assert record.levelno == logging.ERROR
    assert "stopped the container's event loop; the loop runs on" in record.getMessage()


def test_user_code_that_stops_the_loop_stops_nobody():
    app = App()
    work = make_class(app)
    with VirtualClock() as clock, app.run(clock=clock):
        neighbour = work.nap.spawn()
        assert work.stop_loop.remote() == "went on"
        assert neighbour.get() == "rested"
        assert (work.ok.remote(), work.ok_async.remote()) == (1, 1)


def test_a_task_that_user_code_left_behind_is_ended_with_the_container():
    app = App()
    ended = []

    @app.function()
    async def work():
        async def background():
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

        work.task = asyncio.create_task(background())
        await asyncio.sleep(0)

    with app.run():
        work.remote()
        assert ended == []
    assert ended == [True]


def test_errors_count_as_failures_and_values_as_successes():
    app = App()
    work = make_class(app)
    with app.run():
        work.ok.remote()
        for error in (LookupError(), SystemExit()):
            with pytest.raises((LookupError, RemoteError)):
                work.fail.remote(error)
        statistics = work.ok.statistics()
        assert (statistics.accepted, statistics.succeeded, statistics.failed) == (3, 1, 2)
        assert (statistics.cancelled, statistics.running, statistics.queued) == (0, 0, 0)


def test_a_generator_that_raises_stop_iteration_inside_gets_what_python_gives_it():
    app = App()

    @app.function()
    def count():
        yield 1
        raise StopIteration

    with app.run():
        reader = count.remote_gen()
        assert next(reader) == 1
        with pytest.raises(RuntimeError, match="generator raised StopIteration"):
            next(reader)


def test_a_caller_may_call_again_at_once_and_finds_the_slot_free():
    app = App()

    @app.function()
    def work():
        return None

    with app.run():
        for _ in range(300):
            work.remote()
        assert work.statistics().containers_started == 1


def test_an_awaiting_caller_may_call_again_at_once_and_finds_the_slot_free(run_async):
    app = App()

    @app.function()
    async def work():
        return None

    async def main():
        for _ in range(300):
            await work.remote.aio()

    with app.run():
        run_async(main)
        assert work.statistics().containers_started == 1


def test_a_user_who_cancels_every_task_on_the_loop_loses_no_input():
    app = App()
    gate = threading.Event()

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=4)
    async def work(x):
        if x == 0:
            assert gate.wait(10)  # until all slots are granted: their tasks have not begun
            for task in asyncio.all_tasks():
                task.cancel()
            await asyncio.sleep(0)
        return x

    with app.run():
        calls = [work.spawn(x) for x in range(8)]
        gate.set()
        ends = []
        for call in calls:
            try:
                ends.append(call.get(timeout=10))
            except RemoteError as error:
                ends.append(type(error.__cause__))
        assert ends[0] is asyncio.CancelledError
        assert ends[4:] == [4, 5, 6, 7]
        s = work.statistics()
        assert (s.running, s.queued, s.accepted) == (0, 0, 8)
        assert s.failed == ends.count(asyncio.CancelledError)


class WantsKeywords(Exception):
    """`copy.copy` cannot make another."""

    def __init__(self, code, *, detail):
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class WantsKeywordsAndHasSlots(WantsKeywords):
    __slots__ = ("more",)


@pytest.mark.parametrize("kind", [WantsKeywords, WantsKeywordsAndHasSlots])
def test_an_error_that_wants_keywords_is_copied_for_each_of_its_callers(kind):
    app = App()

    @app.function(max_containers=1)
    @moorage.batched(max_batch_size=3, wait_ms=1000)
    def fail(xs):
        raise kind(7, detail=xs)

    with app.run():
        errors = list(fail.map([1, 2, 3], return_exceptions=True))
    assert [(type(error), str(error)) for error in errors] == [(kind, "7: [1, 2, 3]")] * 3
    assert [(error.code, error.detail) for error in errors] == [(7, [1, 2, 3])] * 3
    assert len({id(error) for error in errors}) == 3
