"""The user's error object is the user's: each caller gets a copy, made without user code."""

import asyncio
import inspect
import io
import json
import sqlite3
import ssl
import subprocess
import sys
import threading
import traceback
import urllib.error

import pytest

import moorage
from moorage import App, FunctionCall, Retries
from moorage.exception import FunctionTimeoutError, QueueTimeoutError
from moorage.runtime.error_copies import context_at_caller, copy_error
from moorage.testing import FakeContainer, VirtualClock

# -- each way to call --------------------------------------------------------------------


async def all_of(results):
    return [result async for result in results]


WAYS = {
    "remote": lambda f, x: f.remote(x),
    "remote.aio": lambda f, x: f.remote.aio(x),
    "spawn.get": lambda f, x: f.spawn(x).get(),
    "spawn.get.aio": lambda f, x: f.spawn(x).get.aio(),
    "gather": lambda f, x: FunctionCall.gather(f.spawn(x)),
    "gather.aio": lambda f, x: FunctionCall.gather.aio(f.spawn(x)),
    "iter": lambda f, x: list(f.experimental_spawn_map([x]).iter()),
    "iter.aio": lambda f, x: all_of(f.experimental_spawn_map([x]).iter.aio()),
    "map": lambda f, x: list(f.map([x])),
    "map.aio": lambda f, x: all_of(f.map.aio([x])),
    "starmap": lambda f, x: list(f.starmap([(x,)])),
    "starmap.aio": lambda f, x: all_of(f.starmap.aio([(x,)])),
    "for_each": lambda f, x: f.for_each([x]),
    "for_each.aio": lambda f, x: f.for_each.aio([x]),
}
GENERATOR_WAYS = {
    "remote_gen": lambda f, x: list(f.remote_gen(x)),
    "remote_gen.aio": lambda f, x: all_of(f.remote_gen.aio(x)),
}
KINDS = ["def", "async def", "batched", "method"]
STORED = ValueError("the model could not be loaded")


def fail(x):
    try:
        {}[x]
    except KeyError:
        raise ValueError("no price")  # noqa: B904


def fail_with_stored(x):
    raise STORED


def make(app, kind, body):
    if kind == "def":
        return app.function(serialized=True, name="work")(body)
    if kind == "async def":

        async def work(x):
            return body(x)

        return app.function(serialized=True)(work)
    if kind == "batched":

        def work(xs):
            return [body(x) for x in xs]

        return app.function(serialized=True)(moorage.batched(max_batch_size=4, wait_ms=0)(work))
    if kind == "generator":

        def work(x):
            yield body(x)

        return app.function(serialized=True)(work)
    if kind == "async generator":

        async def work(x):
            yield body(x)

        return app.function(serialized=True)(work)
    assert kind == "method"

    @app.cls(serialized=True)
    class Work:
        @moorage.method()
        def work(self, x):
            return body(x)

    return Work().work


EVERY_WAY = [
    *((kind, name, way) for kind in KINDS for name, way in WAYS.items()),
    *(
        (kind, name, way)
        for kind in ("generator", "async generator")
        for name, way in GENERATOR_WAYS.items()
    ),
]
every_way = pytest.mark.parametrize(
    ("kind", "way"),
    [(kind, way) for kind, _, way in EVERY_WAY],
    ids=[f"{kind}-{name}" for kind, name, _ in EVERY_WAY],
)


def caught(call, *, handling=None):
    """Return the error that `call` raises, while this code handles `handling`.

    What is awaited raises inside of the coroutine: `asyncio.run` itself replaces contexts.
    """

    async def caught_in_loop(awaitable):
        try:
            if handling is None:
                await awaitable
            else:
                try:
                    raise handling
                except ConnectionError:
                    await awaitable
        except Exception as error:
            return error

    try:
        if handling is None:
            found = call()
        else:
            try:
                raise handling
            except ConnectionError:
                found = call()
    except Exception as error:
        return error
    assert inspect.isawaitable(found), "raised nothing"
    return asyncio.run(caught_in_loop(found))


def chain_of(error):
    found = []
    while error is not None:
        assert len(found) < 20, "the contexts are a cycle"
        found.append(type(error).__name__)
        error = error.__context__
    return found


def chain_while_handling(call):
    return chain_of(caught(call, handling=ConnectionError("the cache is down")))


@every_way
def test_an_errors_own_context_stays_and_the_callers_comes_last(kind, way):
    app = App()
    work = make(app, kind, fail)
    plain = chain_while_handling(lambda: fail("tea"))
    assert plain == ["ValueError", "KeyError", "ConnectionError"]
    with app.run():
        assert chain_while_handling(lambda: way(work, "tea")) == plain
        assert chain_of(caught(lambda: way(work, "tea"))) == ["ValueError", "KeyError"]


@every_way
def test_a_stored_error_does_not_change(kind, way):
    app = App()
    work = make(app, kind, fail_with_stored)
    STORED.__traceback__ = None
    frames, texts, contexts = set(), set(), []
    with app.run():
        for number in range(4):
            error = caught(lambda: way(work, 1), handling=ConnectionError(number))
            error.add_note("a caller's")
            contexts.append(chain_of(error))
            frames.add(len(traceback.extract_tb(error.__traceback__)))
            texts.add("".join(traceback.format_tb(error.__traceback__)))
            assert error is not STORED
            if number == 0:
                left = traceback.extract_tb(STORED.__traceback__)
    assert contexts == [["ValueError", "ConnectionError"]] * 4
    assert len(frames) == 1
    assert len(texts) == 1
    assert not hasattr(STORED, "__notes__")
    assert STORED.__context__ is None
    assert STORED.__cause__ is None
    assert traceback.extract_tb(STORED.__traceback__) == left
    assert all("/src/moorage/" not in frame.filename for frame in left)


def test_a_stored_error_keeps_the_frames_of_the_load_that_failed():
    app = App()

    def load():
        raise LookupError("no weights")

    kept = caught(load)

    @app.function(serialized=True)
    def work(x):
        raise kept

    @app.function(serialized=True)
    def other(x):
        raise kept

    def names(call):
        error = caught(lambda: call.remote(1))
        return [frame.name for frame in traceback.extract_tb(error.__traceback__)][-4:]

    with app.run():
        seen = [names(work) for _ in range(3)]
        assert seen == [["__call__", "work", "caught", "load"]] * 3
        assert names(other)[0] == "other"
        assert names(work) == seen[0]
    assert len(traceback.extract_tb(kept.__traceback__)) == 3
    assert "raise kept" in "".join(traceback.format_exception(kept))


def test_contexts_of_a_stored_error_do_not_pile_up():
    app = App()

    @app.function(serialized=True)
    def work(x):
        try:
            {}[x]
        except KeyError:
            raise STORED  # noqa: B904

    with app.run():
        chains = [chain_while_handling(lambda: work.remote(1)) for _ in range(4)]
    assert chains == [["ValueError", "KeyError", "ConnectionError"]] * 4
    assert chain_of(STORED) == ["ValueError", "KeyError"]
    STORED.__context__ = None


def test_a_cause_in_the_chain_is_the_context_as_in_a_plain_call():
    app = App()

    @app.function(serialized=True)
    def work(x):
        try:
            {}[x]
        except KeyError as error:
            raise ValueError("no price") from error

    with app.run():
        plain = caught(lambda: work.remote(1))
        assert plain.__cause__ is plain.__context__
        error = caught(lambda: work.remote(1), handling=ConnectionError())
    assert error.__cause__ is error.__context__
    assert error.__suppress_context__
    assert chain_of(error) == ["ValueError", "KeyError", "ConnectionError"]


def test_from_none_stays_suppressed():
    app = App()

    @app.function(serialized=True)
    def work(x):
        try:
            {}[x]
        except KeyError:
            raise ValueError("no price") from None

    with app.run():
        error = caught(lambda: work.remote(1), handling=ConnectionError())
    assert error.__suppress_context__
    assert error.__cause__ is None


def test_an_error_that_its_caller_handles_already_makes_no_cycle():
    app = App()

    @app.function(serialized=True)
    def work(error):
        try:
            raise error
        except Exception:
            raise ValueError("again")  # noqa: B904

    mine = KeyError("mine")
    with app.run():
        try:
            raise mine
        except KeyError:
            assert chain_of(caught(lambda: work.remote(mine))) == ["ValueError", "KeyError"]
        call = work.spawn(mine)
        try:
            call.get()
        except ValueError:
            again = caught(call.get)
    assert chain_of(again) == ["ValueError", "KeyError"]


def test_in_a_retry_of_the_caller_the_errors_chain_as_in_a_plain_call():
    app = App()

    @app.function(serialized=True)
    def work(x):
        raise ValueError(x)

    with app.run():
        try:
            work.remote(1)
        except ValueError:
            error = caught(lambda: work.remote(2))
    assert chain_of(error) == ["ValueError", "ValueError"]
    assert error.__context__.args == (1,)


# -- several callers ----------------------------------------------------------------------


class ApiError(Exception):
    made = 0

    def __init__(self, code, *, detail=None):
        type(self).made += 1
        super().__init__(f"API error {code}")
        self.code = code
        self.detail = detail


def fail_for_all(kind):
    """Return the errors of three callers that share one failure, and what raised it."""
    app = App()
    ran = []

    def fail():
        ran.append(1)
        error = ApiError(404, detail=ran)
        error.add_note("of the user")
        try:
            raise KeyError("reason")
        except KeyError as reason:
            raise error from reason

    if kind == "batch":

        @app.function(serialized=True, max_containers=1)
        @moorage.batched(max_batch_size=3, wait_ms=1000)
        def work(xs):
            fail()

        with VirtualClock() as clock, app.run(clock=clock):
            return list(work.map([1, 2, 3], return_exceptions=True)), ran
    if kind == "same error in the list":

        @app.function(serialized=True, max_containers=1)
        @moorage.batched(max_batch_size=3, wait_ms=1000)
        def work(xs):
            try:
                fail()
            except ApiError as error:
                return [error] * len(xs)

        with VirtualClock() as clock, app.run(clock=clock):
            return list(work.map([1, 2, 3], return_exceptions=True)), ran
    if kind == "enter":
        waiting = threading.Event()

        @app.cls(serialized=True, max_containers=1)
        class Model:
            @moorage.enter()
            def load(self):
                assert waiting.wait(30)
                fail()

            @moorage.method()
            def work(self, x):
                return x

        with app.run():
            calls = [Model().work.spawn(x) for x in range(3)]
            waiting.set()
            return [caught(call.get) for call in calls], ran
    assert kind == "one call"

    @app.function(serialized=True)
    def work(x):
        fail()

    with app.run():
        call = work.spawn(1)
        ways = [call.get, lambda: FunctionCall.gather(call), lambda: list(call.iter())]
        return [caught(way) for way in ways], ran


@pytest.mark.parametrize("kind", ["batch", "same error in the list", "enter", "one call"])
def test_callers_that_share_a_failure_have_errors_of_their_own(kind):
    ApiError.made = 0
    errors, ran = fail_for_all(kind)
    assert ApiError.made == len(ran)
    assert len({id(error) for error in errors}) == 3
    for number, error in enumerate(errors):
        assert (str(error), error.code, error.detail) == ("API error 404", 404, ran)
        assert error.__notes__ == ["of the user"]
        error.add_note(f"for caller {number}")
        error.code = number
        assert isinstance(error.__cause__, KeyError)
        assert error.__context__ is error.__cause__
        assert [frame.name for frame in traceback.extract_tb(error.__traceback__)][-1] == "fail"
    for number, error in enumerate(errors):
        assert error.__notes__ == ["of the user", f"for caller {number}"]
        assert error.code == number


@pytest.mark.parametrize("what", ["timeout", "queue_timeout", "startup_timeout"])
def test_callers_that_share_a_timeout_have_errors_of_their_own(what):
    app = App()
    options = {"timeout": 5} if what == "timeout" else {what: 2}

    @app.cls(serialized=True, max_containers=1, **options)
    @moorage.concurrent(max_inputs=3 if what == "timeout" else 1)
    class Model:
        @moorage.enter()
        async def load(self):
            await asyncio.sleep(100 if what != "timeout" else 0)

        @moorage.method()
        async def work(self, x):
            await asyncio.sleep(100)

    kind = QueueTimeoutError if what == "queue_timeout" else FunctionTimeoutError
    with VirtualClock() as clock, app.run(clock=clock, grace=0.0):
        errors = list(Model().work.map([1, 2, 3], return_exceptions=True))
    assert [type(error) for error in errors] == [kind] * 3
    assert len({id(error) for error in errors}) == 3
    errors[0].add_note("mine")
    assert not hasattr(errors[1], "__notes__")


def test_a_start_that_fails_notes_the_earlier_attempts_of_each_input():
    app = App()
    starts = []

    @app.cls(serialized=True, max_containers=1, retries=Retries(max_retries=1, initial_delay=1.0))
    class Model:
        @moorage.enter()
        def load(self):
            starts.append(1)
            if len(starts) > 1:
                raise LookupError("no weights")

        @moorage.method()
        def work(self, x):
            moorage.experimental.stop_fetching_inputs()
            raise ValueError(x)

    with VirtualClock() as clock, app.run(clock=clock):
        errors = list(Model().work.map([1, 2], return_exceptions=True))
    kinds = {type(error) for error in errors}
    assert kinds == {LookupError}
    notes = [getattr(error, "__notes__", []) for error in errors]
    assert sorted(map(len, notes)) == [0, 1]
    assert ["attempt 1 of 2 failed: ValueError(1)"] in notes


@pytest.mark.parametrize("way", ["def", "async def", "batched", "method"])
def test_notes_are_those_of_this_calls_attempts(way):
    app = App()
    retries = Retries(max_retries=2, initial_delay=1.0)
    if way == "batched":

        @app.function(serialized=True, retries=retries)
        @moorage.batched(max_batch_size=3, wait_ms=0)
        def work(xs):
            raise STORED

    elif way == "async def":

        @app.function(serialized=True, retries=retries)
        async def work(x):
            raise STORED

    elif way == "def":
        work = app.function(serialized=True, retries=retries)(fail_with_stored)
    else:

        @app.cls(serialized=True, retries=retries)
        class Work:
            @moorage.method()
            def work(self, x):
                raise STORED

        work = Work().work
    text = "attempt {} of 3 failed: ValueError('the model could not be loaded')"
    notes = [text.format(1), text.format(2)]
    with VirtualClock() as clock, app.run(clock=clock):
        for _ in range(3):
            assert caught(lambda: work.remote(1)).__notes__ == notes
        for error in work.map([1, 2, 3], return_exceptions=True):
            assert error.__notes__ == notes
        call = work.spawn(1)
        assert caught(call.get).__notes__ == caught(call.get).__notes__ == notes
    assert not hasattr(STORED, "__notes__")


# -- the other doors ----------------------------------------------------------------------


def test_the_error_of_a_maps_iterable_keeps_its_context():
    app = App()

    @app.function(serialized=True)
    def work(x):
        return x

    def rows():
        yield 1
        fail("tea")

    async def async_rows():
        yield 1
        fail("tea")

    def stored():
        yield 1
        raise STORED

    STORED.__traceback__ = None
    own = ["ValueError", "KeyError", "ConnectionError"]
    with app.run():
        assert chain_while_handling(lambda: list(work.map(rows()))) == own
        assert chain_while_handling(lambda: all_of(work.map.aio(rows()))) == own
        assert chain_while_handling(lambda: all_of(work.map.aio(async_rows()))) == own
        for _ in range(3):
            assert chain_while_handling(lambda: list(work.map(stored()))) == own[::2]
    assert STORED.__context__ is None
    assert len(traceback.extract_tb(STORED.__traceback__)) == 1


def test_a_fake_container_gives_copies():
    with FakeContainer(fail) as container:
        own = ["ValueError", "KeyError", "ConnectionError"]
        assert chain_while_handling(lambda: container.call("tea")) == own
        submission = container.submit("tea")
        assert chain_while_handling(submission.result) == own
        assert submission.exception() is not submission.exception()
        assert chain_of(submission.exception()) == own[:2]


def test_the_start_of_a_fake_container_keeps_the_context_of_its_error():
    @App().cls(serialized=True)
    class Model:
        @moorage.enter()
        def load(self):
            fail("tea")

        @moorage.method()
        def work(self, x):
            return None

    def start():
        with FakeContainer(Model()):
            pass

    assert chain_while_handling(start) == ["ValueError", "KeyError", "ConnectionError"]


@pytest.mark.parametrize("kind", ["def", "async def", "batched"])
def test_in_serialize_mode_too(kind):
    pytest.importorskip("cloudpickle")
    app = App()
    work = make(app, kind, fail_with_stored)
    STORED.__traceback__ = None
    with app.run(serialize=True):
        seen = set()
        for _ in range(3):
            error = caught(lambda: work.remote(1), handling=ConnectionError())
            error.add_note("a caller's")
            assert error.__notes__ == ["a caller's"]
            assert chain_of(error) == ["ValueError", "ConnectionError"]
            seen.add("".join(traceback.format_tb(error.__traceback__)))
        assert len(seen) == 1
        call = work.spawn(1)
        assert caught(call.get) is not caught(call.get)
    assert not hasattr(STORED, "__notes__")
    assert STORED.__context__ is None


def test_an_entrypoint_and_an_input_that_calls_keep_contexts():
    app = App()
    work = app.function(serialized=True, name="inner")(fail)

    @app.function(serialized=True)
    def outer(x):
        return chain_while_handling(lambda: work.remote(x))

    found = []

    @app.local_entrypoint()
    def main():
        found.append(chain_while_handling(lambda: work.remote("tea")))

    own = ["ValueError", "KeyError", "ConnectionError"]
    with app.run():
        assert outer.remote("tea") == own
        main()
    assert found == [own]


def test_concurrent_callers_of_a_stored_error_disturb_nobody():
    app = App()
    work = app.function(serialized=True, name="stored")(fail_with_stored)
    problems = []

    def call(number):
        for _ in range(50):
            error = caught(lambda: work.remote(1), handling=ConnectionError(number))
            error.add_note(str(number))
            if error.__context__.args != (number,) or error.__notes__ != [str(number)]:
                problems.append((error.__context__, error.__notes__))

    with app.run():
        threads = [threading.Thread(target=call, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert problems == []


def test_gather_takes_the_first_input_of_a_call_with_many_as_modal_does():
    app = App()

    @app.function(serialized=True)
    def work(x):
        if x:
            raise ValueError(x)
        return x

    with app.run():
        many = work.experimental_spawn_map([0, 1, 2])
        assert FunctionCall.gather(many, work.spawn(0)) == [0, 0]
        assert asyncio.run(FunctionCall.gather.aio(many)) == [0]


# -- copies -------------------------------------------------------------------------------


class Slotted(Exception):
    __slots__ = ("exceptions", "more", "unset")

    def __init__(self, *, more):
        super().__init__("slotted")
        self.more = more
        self.exceptions = "not a group"


class Strict(Exception):
    def __new__(cls, key, *, value):
        return super().__new__(cls, key)

    def __init__(self, key, *, value):
        self.__dict__["value"] = value

    def __setattr__(self, name, value):
        raise AttributeError(name)

    def __reduce__(self):
        raise AssertionError("user code ran")

    __copy__ = __reduce__


class HttpError(OSError):
    def __init__(self, status):
        super().__init__(f"status {status}")
        self.status = status


class Group(ExceptionGroup):
    def __new__(cls, members, code):
        made = super().__new__(cls, "several", members)
        made.code = code
        return made


def http_error():
    return urllib.error.HTTPError("http://x", 404, "gone", {}, io.BytesIO(b"body"))


def decode_error():
    return caught(lambda: b"\xff".decode())


ERRORS = [
    ValueError("x", 1),
    KeyError("x"),
    FileNotFoundError(2, "No such file", "name"),
    OSError(2, "No such file", "a", None, "b"),
    OSError("only a text"),
    HttpError(404),
    decode_error(),
    caught(lambda: compile("a b", "name", "exec")),
    caught(lambda: [].x),
    ImportError("x", name="n", path="p"),
    Slotted(more=[1]),
    Strict("k", value=[2]),
    ApiError(404, detail=[3]),
    FunctionTimeoutError("ours"),
    SystemExit(3),
    http_error(),
    ssl.SSLError(1, "x"),
    json.JSONDecodeError("x", "doc", 1),
    subprocess.CalledProcessError(1, "ls", b"out"),
    sqlite3.OperationalError("no such table"),
    io.UnsupportedOperation("read"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_copy_has_all_that_the_error_has(error):
    ApiError.made = 0
    made = copy_error(error)
    assert made is not error
    assert type(made) is type(error)
    assert (str(made), repr(made), made.args) == (str(error), repr(error), error.args)
    assert vars(made) == vars(error)
    names = {name for cls in type(error).__mro__ for name in vars(cls)} - {"__weakref__"}
    for name in sorted(names):
        if not name.startswith("__") and not callable(getattr(error, name, None)):
            assert getattr(made, name, "no") == getattr(error, name, "no")
    assert ApiError.made == 0
    assert traceback.format_exception(made) == traceback.format_exception(error)


def test_an_error_with_hidden_data_is_shared():
    pydantic = pytest.importorskip("pydantic")
    error = caught(lambda: pydantic.TypeAdapter(int).validate_python("x"))
    made = copy_error(error)
    assert made is error or str(made) == str(error)
    app = App()

    @app.function(serialized=True)
    def work(x):
        return pydantic.TypeAdapter(int).validate_python(x)

    with app.run():
        found = chain_while_handling(lambda: work.remote("x"))
        assert found == ["ValidationError", "ConnectionError"]
        error = caught(lambda: work.remote("x"))
    assert error.errors()[0]["input"] == "x"


def test_the_members_of_a_group_are_copied_with_it():
    leaf = ValueError("leaf")
    leaf.add_note("of the user")
    error = Group([leaf, ExceptionGroup("inner", [KeyError("k"), leaf])], 7)
    made = copy_error(error)
    assert type(made) is Group
    assert (made.code, made.message, str(made)) == (7, "several", str(error))
    assert traceback.format_exception(made) == traceback.format_exception(error)
    made.exceptions[0].add_note("mine")
    assert leaf.__notes__ == ["of the user"]
    assert made.split(KeyError)[0].exceptions[0].exceptions[0].args == ("k",)
    plain = copy_error(ExceptionGroup("plain", [leaf]))
    assert type(plain) is ExceptionGroup
    assert type(copy_error(BaseExceptionGroup("base", [SystemExit(1)]))) is BaseExceptionGroup


def test_a_context_that_is_a_cycle_is_left_alone():
    first, second, handled = ValueError(), KeyError(), ConnectionError()
    first.__context__, second.__context__ = second, second
    object.__setattr__(first, "__context__", second)
    copied = copy_error(first)
    assert context_at_caller(copied, handled) in (second, copied.__context__)


def test_a_caller_that_keeps_its_error_does_not_keep_the_results(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import gc, sys, weakref, moorage\n"
        "gc.disable()\n"
        "app = moorage.App()\n"
        "class Big: pass\n"
        "kept = []\n"
        "@app.function(max_containers=1)\n"
        "def work(x):\n"
        "    if x == 3: raise ValueError(x)\n"
        "    big = Big(); kept.append(weakref.ref(big)); return big\n"
        "with app.run():\n"
        "    try:\n"
        "        for _ in work.map(range(4)): pass\n"
        "    except ValueError as error:\n"
        "        mine = error\n"
        "    del _\n"
        "    for _ in range(500):\n"
        "        if not any(ref() for ref in kept): break\n"
        "        getattr(sys, '_is_gil_enabled', lambda: True)() or gc.collect()\n"
        "    assert len(kept) == 3 and not any(ref() for ref in kept), kept\n"
    )
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# -- classes that refuse ordinary access ---------------------------------------------------


class Guarded(Exception):
    """Refuses what most code reads of an error, as some proxies do."""

    def __getattribute__(self, name):
        if name in ("__traceback__", "__context__", "__cause__", "__notes__", "__dict__"):
            raise RuntimeError(f"no {name}")
        return super().__getattribute__(name)


class KeepsItsTraceback(Exception):
    def with_traceback(self, traceback):
        raise RuntimeError("no with_traceback")


class OtherArgs(Exception):
    args = property(lambda self: ("something else",))


class Falsy(Exception):
    def __bool__(self):
        raise RuntimeError("no bool")


HOSTILE = [Guarded, KeepsItsTraceback, OtherArgs, Falsy]


def error_of(call):
    """Return the error that `call` raises; pytest cannot read some of them."""
    try:
        got = call()
        if inspect.isawaitable(got):
            asyncio.run(got)
    except Exception as error:
        return type(error), str(error)
    return None


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_async", [False, True])
def test_an_error_that_refuses_access_arrives(kind, way, is_async):
    def fail(x):
        raise kind("the reason")

    async def fail_async(x):
        raise kind("the reason")

    app = App()
    function = app.function(name="fail", retries=Retries(max_retries=1, initial_delay=0.0))(
        fail_async if is_async else fail
    )

    with app.run():
        assert error_of(lambda: WAYS[way](function, 1)) == (kind, "the reason")


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_error_that_refuses_access_leaves_hooks_and_serialize_mode(kind):
    app = App()

    @app.cls(serialized=True)
    class Model:
        @moorage.enter()
        def load(self):
            raise kind("the reason")

        @moorage.method()
        def run(self):
            pass

    for serialize in (False, True):
        with app.run(serialize=serialize):
            assert error_of(lambda: Model().run.remote())[0] is kind
    assert error_of(lambda: Model().run.local()) == (kind, "the reason")
