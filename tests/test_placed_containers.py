"""Containers on the other side of a socket: what crosses, and what only such containers do.

``tests/contract`` holds them to what is promised of all containers.  Here both sides are in this
process (``placed.py``), in real time unless a test says otherwise.
"""

from __future__ import annotations

import pickle
import threading
import traceback

import pytest

import moorage
from contract.ways import Placed
from moorage.calling.graph import _status
from moorage.exception import (
    DeserializationError,
    ExecutionError,
    InputCancellation,
    InputCancelledError,
    RemoteError,
    SerializationError,
    UnpicklableError,
)
from moorage.experimental import set_local_input_concurrency, stop_fetching_inputs
from moorage.placing.errors import reduced_error
from moorage.placing.shipping import Packed, pack
from moorage.runtime.clocks.clock import system_clock
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.outcome import Failure

# Seconds after which a test that hangs fails.
PATIENCE = 30.0

placed = Placed("placed")


def open_placed(code, **options):
    return placed.open(code, system_clock, **options)


def error_of(run, x=None):
    """The error that a caller of `run` gets."""
    with open_placed(run) as container:
        with pytest.raises(BaseException) as caught:
            container.call(x)
        return caught.value


# -- errors ----------------------------------------------------------------------------------


class Picky(Exception):
    """Takes what `BaseException` does not keep."""

    def __init__(self, *, code, thing):
        super().__init__(f"code {code}")
        self.code = code
        self.thing = thing


class Slotted(Exception):
    def __reduce__(self):
        return Slotted._again, (self.args, self.word)

    @classmethod
    def _again(cls, args, word):
        made = cls(*args)
        made.word = word + "!"
        return made


def raised(error, cause=None):
    try:
        raise error from cause
    except BaseException as caught:
        return caught


def test_an_error_crosses_with_all_that_hangs_on_it():
    def deep(x):
        raise LookupError("first")

    def run(x):
        try:
            deep(x)
        except LookupError:
            error = Picky(code=x, thing=[1])
            error.add_note("a note")
            raise error from KeyError("cause")

    error = error_of(run, 3)
    assert type(error) is Picky
    assert (error.code, error.thing, error.args) == (3, [1], ("code 3",))
    assert error.__notes__ == ["a note"]
    assert type(error.__cause__) is KeyError
    assert error.__suppress_context__
    assert type(error.__context__) is LookupError
    frames = traceback.extract_tb(error.__traceback__)
    assert (frames[-1].name, frames[-1].line) == ("run", 'raise error from KeyError("cause")')
    inner = traceback.extract_tb(error.__context__.__traceback__)
    assert [(frame.name, frame.line) for frame in inner] == [
        ("run", "deep(x)"),
        ("deep", 'raise LookupError("first")'),
    ]


def test_the_members_of_a_group_cross_each_with_its_traceback():
    def run(x):
        members = [raised(Picky(code=1, thing=None)), raised(ValueError("two"))]
        raise ExceptionGroup("some", members)

    error = error_of(run)
    assert type(error) is ExceptionGroup
    assert error.message == "some"
    assert [type(each) for each in error.exceptions] == [Picky, ValueError]
    assert [traceback.extract_tb(e.__traceback__)[-1].name for e in error.exceptions] == [
        "raised",
        "raised",
    ]


@pytest.mark.parametrize(
    "error",
    [
        OSError(2, "No such file", "x.txt"),
        KeyError("k"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        ImportError("no", name="thing", path="/p"),
        SystemExit(3),
        StopIteration(7),
        Picky(code=5, thing=(1,)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_built_in_fields_cross(error):
    copied = pack(error).load()
    assert type(copied) is type(error)
    assert copied.args == error.args
    assert str(copied) == str(error)
    for name in ("errno", "filename", "name", "path", "code", "value", "start", "reason"):
        assert getattr(copied, name, None) == getattr(error, name, None)


def test_an_error_with_a_reduce_of_its_own_is_made_by_it():
    error = Slotted("a")
    error.word = "word"
    assert pack(error).load().word == "word!"


def test_errors_that_refer_to_each_other_cross():
    first, second = ValueError(1), ValueError(2)
    first.__context__, second.__context__ = second, first
    copied = pack(first).load()
    assert copied.__context__.__context__ is copied
    assert reduced_error(first)


def test_what_controls_the_interpreter_arrives_as_a_cause():
    def run(x):
        raise SystemExit(3)

    error = error_of(run)
    assert type(error) is RemoteError
    assert type(error.__cause__) is SystemExit
    assert error.__cause__.code == 3


def test_an_error_that_does_not_pickle_arrives_as_one_that_says_so():
    def run(x):
        raise Picky(code=1, thing=threading.Lock())

    error = error_of(run)
    assert type(error) is SerializationError
    assert "Picky" in str(error)
    assert "error.thing" in str(error)


class Unreadable:
    def __reduce__(self):
        return _fail, ()


def _fail():
    raise RuntimeError("cannot be made")


def test_an_error_that_cannot_be_read_back_says_what_it_was():
    def run(x):
        raise Picky(code=1, thing=Unreadable())

    error = error_of(run)
    assert type(error) is ExecutionError
    assert "Picky" in str(error)
    assert "cannot be made" in str(error)
    assert "code 1" in str(error)


class NeverOpened:
    def open(self):
        raise AssertionError("nobody may read it here")


def test_what_the_engine_does_with_a_sealed_error_does_not_open_it():
    """The pool, the counts and the graph of calls look at it, most of them under a lock."""
    failure = Failure.sealed(NeverOpened(), "Picky: code 1")
    assert repr(failure) == "Failure(Picky: code 1)"
    assert str(failure.unread) == repr(failure.unread) == "Picky: code 1"
    again = failure.after((ValueError("an earlier attempt"),))
    assert repr(again) == repr(failure)
    assert _status(again) is _status(Failure(ValueError()))
    with pytest.raises(AssertionError, match="nobody may read it here"):
        again.exception()


def test_a_retry_opens_no_error_and_the_last_one_has_notes_of_those_before():
    def run(x):
        raise Picky(code=x, thing=None)

    policy = moorage.Retries(max_retries=2, backoff_coefficient=1.0, initial_delay=1.0)
    with (
        placed.open(run, VirtualClock(), retries=policy) as container,
        pytest.raises(Picky) as caught,
    ):
        container.call(4)
    first, second = caught.value.__notes__
    assert first.startswith("attempt 1 of 3 failed: ")
    assert first.endswith("Picky: code 4")
    assert second.startswith("attempt 2 of 3 failed: ")


# -- values ----------------------------------------------------------------------------------


def test_a_result_that_cannot_be_read_back_is_the_affair_of_its_caller_alone():
    def run(x):
        return Unreadable() if x == 1 else x

    with open_placed(run, max_inputs=2) as container:
        handles = [container.submit(x) for x in range(3)]
        assert [handles[x].result() for x in (0, 2)] == [0, 2]
        with pytest.raises(DeserializationError, match="the result of run"):
            handles[1].result()
        assert container.counts().finished == 3


def test_a_result_that_does_not_pickle_is_named():
    def run(x):
        return {"lock": threading.Lock()}

    error = error_of(run)
    assert type(error) is UnpicklableError
    assert "result['lock']" in str(error)


def test_an_argument_that_does_not_pickle_is_refused_at_the_call():
    def run(x):
        return x

    with open_placed(run) as container:
        with pytest.raises(UnpicklableError, match="the argument 'x' of run"):
            container.submit(threading.Lock())
        assert container.call(1) == 1


class Slow:
    """Takes its time to be pickled, or to be read."""

    gates: dict[str, threading.Event] = {}

    def __init__(self, name, when):
        self.name = name
        self.when = when

    def __reduce__(self):
        if self.when == "pickling":
            assert self.gates[self.name].wait(PATIENCE)
        return _slow, (self.name, self.when)


def _slow(name, when):
    if when == "reading":
        assert Slow.gates[name].wait(PATIENCE)
    return Slow(name, "")


@pytest.mark.parametrize("when", ["pickling", "reading"])
def test_a_value_that_takes_its_time_holds_up_nobody_else(when):
    gate = Slow.gates[when] = threading.Event()

    def run(x):
        return Slow(when, when) if x == "slow" else x

    with open_placed(run, max_inputs=2) as container:
        slow = container.submit("slow")
        for x in range(30):
            assert container.submit(x).result() == x
        gate.set()
        assert slow.result().name == when


def test_inputs_share_nothing():
    shared = [1]

    def run(x):
        x.append(2)
        return x

    with open_placed(run) as container:
        results = [container.call(shared) for _ in range(3)]
    assert results == [[1, 2]] * 3
    assert shared == [1]
    assert len({id(result) for result in results}) == 3


class Buffer:
    """As an array of numpy: large data beside the pickle."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        return Buffer, (pickle.PickleBuffer(self.data),)


@pytest.mark.parametrize("size", [10, 70_000, 5_000_000])
def test_large_buffers_cross_beside_the_pickle_and_may_be_written_to(size):
    def run(x):
        view = memoryview(x.data)
        if not view.readonly:
            view[0] = 7
        return Buffer(bytearray(view))

    data = bytearray(b"x" * size)
    with open_placed(run) as container:
        for _ in range(2):
            result = memoryview(container.call(Buffer(data)).data)
            assert result.nbytes == size
            if size >= 70_000:
                assert result[0] == 7
                assert not result.readonly
    assert data == b"x" * size
    assert isinstance(pack(Buffer(data)), Packed)
    assert bool(pack(Buffer(data)).buffers) is (size >= 70_000)


def test_what_a_caller_changes_after_the_call_does_not_cross():
    door = threading.Event()

    def run(x):
        if x is None:
            assert door.wait(PATIENCE)
            return None
        return memoryview(x.data)[0], len(x.data)

    data = bytearray(b"x" * 100_000)
    with open_placed(run) as container:
        first = container.submit(None)
        second = container.submit(Buffer(data))
        data[0] = 0
        door.set()
        first.result()
        assert second.result() == (ord("x"), 100_000)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_no_result_waits_for_the_code_of_a_neighbour(kind):
    """Results go out together, but not later than they must."""
    door = threading.Event()

    def body(x):
        if x == "blocks":
            assert door.wait(PATIENCE)
        return x

    async def run_async(x):
        return body(x)

    with open_placed(body if kind == "sync" else run_async, max_inputs=9) as container:
        # All are placed together when the container is ready: in one turn of its loop.
        quick = [container.submit(x) for x in range(8)]
        blocks = container.submit("blocks")
        assert [handle.result() for handle in quick] == list(range(8))
        assert not blocks.done()
        door.set()
        assert blocks.result() == "blocks"


# -- generators --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_generator_is_sixteen_items_ahead_of_its_reader_and_no_more(kind):
    yielded = []
    if kind == "sync":

        def run(x):
            for item in range(100):
                yielded.append(item)
                yield item

    else:

        async def run(x):
            for item in range(100):
                yielded.append(item)
                yield item

    clock = VirtualClock()
    with placed.open(run, clock) as container:
        items = container.stream(None)
        for item in range(60):
            assert next(items) == item
            clock.sleep(0)
            # Those that were taken, those that wait for the reader, and the next one in the making.
            assert len(yielded) == item + 1 + 16
        assert list(items) == list(range(60, 100))


def test_an_item_that_does_not_pickle_ends_the_stream():
    def run(x):
        yield 1
        yield threading.Lock()

    with open_placed(run) as container:
        items = container.stream(None)
        assert next(items) == 1
        with pytest.raises(UnpicklableError, match="the item of run"):
            next(items)


# -- cancels, limits, questions ------------------------------------------------------------------


def test_code_that_does_not_look_is_struck():
    began, seen = threading.Event(), []
    done = threading.Event()

    def run(x):
        began.set()
        try:
            while True:
                pass
        except InputCancellation:
            seen.append("struck")
            raise
        finally:
            done.set()

    with open_placed(run) as container:
        handle = container.submit(1)
        assert began.wait(PATIENCE)
        handle.cancel()
        with pytest.raises(InputCancelledError):
            handle.result()
        assert done.wait(PATIENCE)
    assert seen == ["struck"]


def test_user_code_sets_the_limit_of_its_container():
    clock = VirtualClock()

    def run(x):
        if x == 0:
            set_local_input_concurrency(1)
        clock.sleep(1)

    with placed.open(run, clock, max_inputs=3) as container:
        container.call(0)
        clock.sleep(0)
        handles = [container.submit(x) for x in (1, 2)]
        clock.sleep(0.5)
        assert (container.counts().running, container.counts().queued) == (1, 1)
        for handle in handles:
            handle.result()


def test_user_code_ends_its_container():
    log = []

    class Work:
        @moorage.enter()
        def enter(self):
            log.append("enter")

        @moorage.method()
        def run(self, x):
            if x == 1:
                stop_fetching_inputs()
            log.append(x)
            return x

    with open_placed(Work) as container:
        assert [container.call(x) for x in range(4)] == [0, 1, 2, 3]
    assert log == ["enter", 0, 1, "enter", 2, 3]


def test_a_container_says_where_its_threads_are():
    door, began = threading.Event(), threading.Event()

    def run(x):
        began.set()
        assert door.wait(PATIENCE)  # here

    with open_placed(run) as container:
        handle = container.submit(1)
        assert began.wait(PATIENCE)
        (one,) = container._pool.fleet.containers
        (place,) = one.places()
        assert "test_placed_containers.py" in place
        door.set()
        handle.result()


def test_hooks_and_classes():
    log = []

    class Work:
        @moorage.enter()
        def enter(self):
            log.append("enter")

        @moorage.method()
        def run(self, x):
            return x

        @moorage.exit()
        def leave(self):
            log.append("exit")

    with open_placed(Work) as container:
        assert container.call(3) == 3
    assert log == ["enter", "exit"]


def test_a_failed_hook_reports_its_error_on_no_thread_that_others_need():
    gate = Slow.gates["hook"] = threading.Event()

    class Work:
        @moorage.enter()
        def enter(self):
            raise Picky(code=9, thing=Slow("hook", "reading"))

        @moorage.method()
        def run(self, x):
            return x

    def other(x):
        return x

    with open_placed(Work) as container, open_placed(other) as neighbour:
        handle = container.submit(1)
        assert neighbour.call(5) == 5
        gate.set()
        with pytest.raises(Picky) as caught:
            handle.result()
        assert caught.value.code == 9


# -- the end of a child --------------------------------------------------------------------------


def test_a_lost_container_is_replaced_and_its_input_runs_again():
    began, runs = threading.Event(), []
    door = threading.Event()

    def run(x):
        runs.append(x)
        began.set()
        assert door.wait(PATIENCE)
        return x

    with open_placed(run) as container:
        handle = container.submit(1)
        assert began.wait(PATIENCE)
        (one,) = container._pool.fleet.containers
        door.set()  # for the second run, and the thread that is left of the first
        one.kill()
        assert handle.result() == 1
        assert container.call(2) == 2
