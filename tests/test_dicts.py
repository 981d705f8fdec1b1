"""Dicts: what they hold, by value, in both stores."""

from __future__ import annotations

import asyncio
import enum
import importlib
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import moorage as modal
from moorage.exception import (
    AlreadyExistsError,
    DeserializationError,
    InvalidError,
    NotFoundError,
    RequestSizeError,
    SerializationError,
)
from moorage.stores.values import key_bytes, key_of

trio = pytest.importorskip("trio")


EXAMPLES = int(os.environ.get("MOORAGE_EXAMPLES", "40"))  # of the models


@pytest.fixture(params=["memory", "file"])
def store(request, monkeypatch, tmp_path):
    """Named objects are in this process, or in a file."""
    monkeypatch.setenv("MOORAGE_HOME", str(tmp_path))
    monkeypatch.setattr(modal.config, "persist", request.param == "file")
    yield request.param
    for each in modal.Dict.objects.list():
        modal.Dict.objects.delete(each.name)


@pytest.fixture
def d(store):
    return modal.Dict.from_name("kv", create_if_missing=True).hydrate()


def lookup_error(action):
    with pytest.raises(KeyError) as caught:
        action()
    assert type(caught.value) is KeyError
    return caught.value


def test_entries_come_and_go(d):
    assert d.put("a", 1) is True
    d["b"] = [2]
    assert (d["a"], d["b"], d.get("a"), d.get("c"), d.get("c", 5)) == (1, [2], 1, None, 5)
    assert ("a" in d, "c" in d, d.contains("b"), d.len()) == (True, False, True, 2)
    assert (d.pop("a"), d.pop("a", None), d.pop("a", 7)) == (1, None, 7)
    del d["b"]
    assert d.len() == 0
    d.update({"x": 1, 2: "y"}, z=3)
    assert list(d.items()) == [("x", 1), (2, "y"), ("z", 3)]
    assert (list(d.keys()), list(d.values())) == (["x", 2, "z"], [1, "y", 3])
    d["x"] = None
    assert next(d.items()) == ("x", None)
    assert d.get("x", 5) is None
    assert d.clear() is None
    assert list(d.items()) == []


def test_missing_keys_name_the_key_and_the_dict(d):
    d["here"] = 1
    for action in (lambda: d["a"], lambda: d.pop("a"), lambda: d.__delitem__("a")):
        assert lookup_error(action).args == (f"a not in dict {d.object_id}",)
    assert d.object_id.startswith("di-")
    assert len(d.object_id) == 25


def test_errors_show_only_lines_of_the_user(d):
    error = lookup_error(lambda: d["a"])
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        frames.append(traceback.tb_frame.f_code.co_filename)
        traceback = traceback.tb_next
    ours = [
        each for each in frames if "moorage/" in each.replace("\\", "/") and "tests" not in each
    ]
    assert len(ours) <= 1


def test_what_a_dict_of_python_has_and_this_has_not(d):
    d["a"] = 1
    with pytest.raises(TypeError):
        len(d)
    with pytest.raises(TypeError):
        iter(d)
    with pytest.raises(TypeError):
        for _ in d:
            pass
    for name in ("setdefault", "copy", "popitem"):
        assert not hasattr(d, name)
    with pytest.raises(AttributeError):
        d.update([("a", 1)])
    assert iter(keys := d.keys()) is keys
    with pytest.raises(TypeError):
        len(d.keys())


def test_unhashable_keys_are_refused_where_python_refuses_them(d):
    with pytest.raises(TypeError):
        d.put([1], 1)
    with pytest.raises(TypeError):
        d[[1]] = 1
    with pytest.raises(TypeError):
        d.update({"a": 1}.__class__([([1], 2)]))
    assert (d.get([1]), d.contains([1]), d.pop([1], "no")) == (None, False, "no")
    lookup_error(lambda: d[[1]])


def test_values_and_keys_are_copies(d):
    value = {"list": [1]}
    d["a"] = value
    value["list"].append(2)
    d["a"]["list"].append(3)
    assert d["a"] == {"list": [1]}
    assert d["a"] is not d["a"]


class Color(enum.IntEnum):
    RED = 1


class Text(str):
    pass


KEYS = [
    *("a", "", "é\ud800", b"a", b"", 0, 1, -1, 10**5000, True, False, None, 1.0, 0.0, -0.0),
    *(float("inf"), (), (1,), (1, "a"), ((1,), (b"", None)), (1.0,), (True,), (("a",), "b")),
    *(("a", ("b",)), frozenset([1]), Color.RED, Text("a"), (Color.RED,), 2 + 1j),
]


def test_each_key_is_its_own(d):
    for index, key in enumerate(KEYS):
        assert d.put(key, index, skip_if_exists=True), key
    assert [d[key] for key in KEYS] == list(range(len(KEYS)))
    found = list(d.keys())
    assert found == KEYS
    assert [type(key) for key in found] == [type(key) for key in KEYS]


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_keys_come_back_from_bytes(key):
    assert key_of(key_bytes(key)) == key


def test_plain_keys_do_not_depend_on_how_pickle_writes_them(d):
    same, other = "".join(["x", "y"]), "".join(["x", "y"])
    d[(same, same)] = 1
    assert d[(same, other)] == 1
    assert pickle.dumps((same, same), 5) != pickle.dumps((same, other), 5)


def test_nan_is_found_by_its_bits(d):
    d[float("nan")] = 1
    assert d[float("nan")] == 1


def test_functions_need_cloudpickle(d, monkeypatch):
    pytest.importorskip("cloudpickle")
    factor = 3
    d["f"] = lambda x: x * factor
    assert d["f"](2) == 6
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(
        SerializationError, match=r"install cloudpickle.*moorage\[resources\]"
    ) as caught:
        d["g"] = lambda x: x
    assert isinstance(caught.value, TypeError)
    assert "'g'" in str(caught.value)
    assert "Dict 'kv'" in str(caught.value)
    assert "g" not in d


def test_what_cannot_be_pickled_is_refused_and_nothing_is_put(d):
    with pytest.raises(SerializationError):
        d.update({"a": 1, "b": threading.Lock()})
    assert d.len() == 0
    with pytest.raises(SerializationError):
        d.put(threading.Lock(), 1)


class Fails:
    def __reduce__(self):
        return (_fail, ("no",))


def _fail(text):
    raise ZeroDivisionError(text)


class FailsToPickle:
    def __getstate__(self):
        raise ZeroDivisionError("at put")


def test_values_that_cannot_be_read_say_which(d):
    d["bad"] = Fails()
    actions = (
        lambda: d["bad"],
        lambda: d.get("bad"),
        lambda: list(d.values()),
        lambda: list(d.items()),
        lambda: d.pop("bad"),
    )
    for action in actions:
        with pytest.raises(DeserializationError, match="'bad' of Dict 'kv'") as caught:
            action()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with modal.Dict.ephemeral() as e:
        e["bad"] = Fails()
        with pytest.raises(DeserializationError, match=f"ephemeral Dict {e.object_id}"):
            e["bad"]
    with pytest.raises(ZeroDivisionError):
        d["x"] = FailsToPickle()


def test_iterators_are_snapshots_of_their_first_step(d):
    d.update(a=1, b=2)
    keys, items = d.keys(), d.items()
    d["c"] = 3
    assert next(keys) == "a"
    d["d"] = 4
    del d["b"]
    assert list(keys) == ["b", "c"]
    assert dict(items) == {"a": 1, "c": 3, "d": 4}


def test_async_forms(d):
    async def main():
        assert await d.put.aio("a", 1)
        assert not await d.put.aio("a", 2, skip_if_exists=True)
        await d.update.aio({"b": 2})
        await d.__setitem__.aio("c", 3)
        assert await d.__getitem__.aio("c") == 3
        assert await d.__contains__.aio("c")
        await d.__delitem__.aio("c")
        assert (await d.get.aio("a"), await d.contains.aio("z"), await d.len.aio()) == (1, False, 2)
        assert [key async for key in d.keys.aio()] == ["a", "b"]
        assert [value async for value in d.values.aio()] == [1, 2]
        assert [item async for item in d.items.aio()] == [("a", 1), ("b", 2)]
        assert await d.pop.aio("a") == 1
        with pytest.raises(KeyError):
            await d.pop.aio("a")
        await d.clear.aio()
        assert (await d.info.aio()).name == "kv"

    asyncio.run(main())
    trio.run(main)


@pytest.mark.parametrize("run", [asyncio.run, trio.run], ids=["asyncio", "trio"])
def test_a_task_that_asks_again_and_again_does_not_hold_up_its_loop(d, run):
    import anyio

    async def main():
        async def asks():
            while await d.get.aio("state") != "done":
                pass

        async with anyio.create_task_group() as group:
            group.start_soon(asks)
            await anyio.sleep(0)
            await d.put.aio("state", "done")

    run(main) if run is trio.run else run(main())


def test_a_task_that_is_cancelled_before_its_turn_has_changed_nothing(d):
    d["a"] = 1

    async def main():
        task = asyncio.create_task(d.pop.aio("a"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert d["a"] == 1


def test_of_many_that_skip_one_puts(d):
    for race in range(20):
        start = threading.Barrier(12)

        def thread(index, race=race, start=start):
            start.wait()
            return d.put(race, index, skip_if_exists=True)

        def loop(index, race=race, start=start):
            async def main():
                start.wait()
                puts = (d.put.aio(race, index, skip_if_exists=True) for _ in range(3))
                return sum(await asyncio.gather(*puts))

            return asyncio.run(main())

        with ThreadPoolExecutor(12) as threads:
            calls = [threads.submit(thread if i < 8 else loop, i) for i in range(12)]
            wins = [call.result() for call in calls]
        assert sum(wins) == 1
        assert d[race] == wins.index(1)


def test_update_is_one_step(d):
    stop = threading.Event()
    seen = set()

    def look():
        while not stop.is_set():
            values = list(d.values())
            seen.add(len(values))
            assert len(set(values)) <= 1

    d.update(dict.fromkeys(range(50), 0))
    with ThreadPoolExecutor(4) as threads:
        lookers = [threads.submit(look) for _ in range(2)]
        for round_ in range(50):
            d.update(dict.fromkeys(range(50), round_))
        stop.set()
        for each in lookers:
            each.result()
    assert seen <= {50}


# -- names, ids, handles --------------------------------------------------------------------------


def test_handles_of_one_name_are_one_dict(d):
    d["a"] = 1
    other = modal.Dict.from_name("kv")
    assert other["a"] == 1
    by_id = modal.Dict.from_id(d.object_id)
    assert by_id.name is None
    assert by_id["a"] == 1
    assert by_id.name == "kv"
    assert pickle.loads(pickle.dumps(other))["a"] == 1
    assert pickle.loads(pickle.dumps(by_id))["a"] == 1
    d["self"] = d
    assert d["self"]["a"] == 1
    elsewhere = modal.Dict.from_name("kv", environment_name="dev", create_if_missing=True)
    assert "a" not in elsewhere
    modal.Dict.objects.delete("kv", environment_name="dev")


def test_a_handle_is_looked_up_at_its_first_use(store):
    missing = modal.Dict.from_name("later")
    with pytest.raises(AttributeError):
        missing.object_id
    for use in (missing.len, missing.hydrate, lambda: "a" in missing, lambda: list(missing.keys())):
        with pytest.raises(NotFoundError, match="create_if_missing=True"):
            use()
    modal.Dict.objects.create("later")
    assert missing.hydrate() is missing
    assert missing.len() == 0


def test_ephemeral_dicts_end_with_their_block(store):
    with modal.Dict.ephemeral() as d:
        d["a"] = 1
        assert d.name is None
        handle = modal.Dict.from_id(d.object_id)
        assert handle["a"] == 1
    for each in (d, handle, modal.Dict.from_id(d.object_id)):
        with pytest.raises(NotFoundError):
            each.get("a")
        with pytest.raises(NotFoundError):
            each["b"] = 2

    async def main():
        async with modal.Dict.ephemeral() as e:
            await e.put.aio("a", 1)
        with pytest.raises(NotFoundError):
            await e.get.aio("a")

    asyncio.run(main())
    assert modal.Dict.objects.list() == []


def test_objects_are_created_listed_and_deleted(store):
    objects = modal.Dict.objects
    assert objects.create("a") is None
    with pytest.raises(AlreadyExistsError):
        objects.create("a")
    objects.create("a", allow_existing=True)
    objects.create("b")
    objects.create("c", environment_name="dev")
    assert [each.name for each in objects.list()] == ["b", "a"]
    assert [each.name for each in objects.list(max_objects=1)] == ["b"]
    assert [each.name for each in objects.list(environment_name="dev")] == ["c"]
    assert objects.list(max_objects=0) == []
    with pytest.raises(InvalidError):
        objects.list(max_objects=-1)
    now = datetime.now(UTC)
    assert objects.list(created_before=now - timedelta(days=1)) == []
    assert len(objects.list(created_before=now + timedelta(days=1))) == 2
    assert objects.list(created_before="2020-01-01") == []
    with pytest.raises(InvalidError):
        objects.list(created_before="soon")
    handle = modal.Dict.from_name("a")
    handle["x"] = 1
    info = handle.info()
    assert (info.name, info.created_by) == ("a", None)
    assert info.created_at.tzinfo is not None
    objects.delete("a")
    with pytest.raises(NotFoundError):
        handle["x"]
    with pytest.raises(NotFoundError):
        objects.delete("a")
    objects.delete("a", allow_missing=True)
    fresh = modal.Dict.from_name("a", create_if_missing=True)
    assert fresh.len() == 0
    assert fresh.object_id != info
    objects.delete("c", environment_name="dev")

    async def main():
        await objects.create.aio("z")
        assert "z" in [each.name for each in await objects.list.aio()]
        await objects.delete.aio("z")

    asyncio.run(main())


app = modal.App("dicts")


@app.function()
def count_up(d, key):
    d[key] = d.get(key, 0) + 1
    return d.object_id


@app.function()
def by_id(object_id):
    modal.Dict.from_id(object_id)["seen"] = True


def test_handles_go_into_functions(d):
    with app.run():
        assert count_up.remote(d, "n") == d.object_id
        assert d["n"] == 1
        with modal.Dict.ephemeral() as e:
            by_id.remote(e.object_id)
            assert e["seen"] is True
    with app.run(serialize=True):
        assert count_up.remote(d, "n") == d.object_id
    assert d["n"] == 2


def test_limits_of_strict_mode(d, monkeypatch):
    large = bytes(101 * 2**20)
    if not modal.config.persist:
        assert d.put("large", large)
    monkeypatch.setattr(modal.config, "strict", True)
    with pytest.raises(RequestSizeError, match=r"Dict\.put"):
        d.put("other", large)
    with pytest.raises(RequestSizeError, match=r"Dict\.update"):
        d.update(dict.fromkeys(range(2), large[: 60 * 2**20]))
    assert "other" not in d


def test_old_spellings(store, monkeypatch):
    with pytest.warns(modal.exception.DeprecationError):
        d = modal.Dict.persisted("old")
    d["a"] = 1
    with pytest.warns(modal.exception.DeprecationError):
        assert modal.Dict.lookup("old")["a"] == 1
    with pytest.warns(modal.exception.DeprecationError):
        new = modal.Dict.new()
    new["a"] = 1
    assert new["a"] == 1
    monkeypatch.setattr(modal.config, "strict", True)
    with pytest.raises(AttributeError):
        modal.Dict.persisted("old")


# -- a model ----------------------------------------------------------------------------------


SIMPLE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.0, 1.0, -1.0]),
    st.text(max_size=2),
    st.binary(max_size=2),
)
SOME_KEYS = st.one_of(SIMPLE, st.tuples(SIMPLE, SIMPLE))
VALUES = st.recursive(SIMPLE, lambda inner: st.lists(inner, max_size=3), max_leaves=4)


def told_apart(key):
    """A key of a dict of Python for which two keys are equal if they are one key here."""
    if type(key) is tuple:
        return tuple, tuple(told_apart(each) for each in key)
    return type(key), key


class Model(RuleBasedStateMachine):
    """A dict against a plain one."""

    @initialize()
    def begin(self):
        self.block = modal.Dict.ephemeral()
        self.d = self.block.__enter__()
        self.model = {}

    @rule(key=SOME_KEYS, value=VALUES, skip=st.booleans())
    def put(self, key, value, skip):
        at = told_apart(key)
        done = not (skip and at in self.model)
        assert self.d.put(key, value, skip_if_exists=skip) is done
        if done:
            self.model[at] = (key, value)

    @rule(entries=st.dictionaries(SOME_KEYS, VALUES, max_size=3))
    def update(self, entries):
        self.d.update(entries)
        self.model.update({told_apart(key): (key, value) for key, value in entries.items()})

    @rule(key=SOME_KEYS)
    def look(self, key):
        there = self.model.get(told_apart(key))
        assert self.d.contains(key) is (there is not None)
        assert self.d.get(key, "none") == ("none" if there is None else there[1])

    @rule(key=SOME_KEYS)
    def pop(self, key):
        there = self.model.pop(told_apart(key), None)
        if there is None:
            with pytest.raises(KeyError):
                self.d.pop(key)
        else:
            assert self.d.pop(key) == there[1]

    @rule()
    def clear(self):
        self.d.clear()
        self.model.clear()

    @invariant()
    def is_the_same(self):
        assert list(self.d.items()) == list(self.model.values())
        assert self.d.len() == len(self.model)

    def teardown(self):
        self.block.__exit__(None, None, None)


class FileModel(Model):
    """The same for a dict in a file."""

    @initialize()
    def begin(self):
        modal.config.persist = True
        modal.Dict.objects.delete("model", allow_missing=True)
        self.d = modal.Dict.from_name("model", create_if_missing=True)
        self.model = {}

    def teardown(self):
        modal.config.persist = False


def test_model_in_memory():
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(Model, settings=settings(max_examples=EXAMPLES, deadline=None))


def test_model_in_a_file(tmp_path, monkeypatch):
    from hypothesis.stateful import run_state_machine_as_test

    monkeypatch.setenv("MOORAGE_HOME", str(tmp_path))
    monkeypatch.setattr(modal.config, "persist", False)
    run_state_machine_as_test(
        FileModel, settings=settings(max_examples=EXAMPLES // 2, deadline=None)
    )


def test_classes_of_a_main_program_are_read_by_another_one(tmp_path, monkeypatch):
    pytest.importorskip("cloudpickle")
    program = (
        "import moorage, sys\nmoorage.config.persist = True\n"
        "class Job:\n    def run(self): return 42\n"
        "moorage.Dict.from_name('jobs', create_if_missing=True)['a'] = Job()\n"
    )
    monkeypatch.setenv("MOORAGE_HOME", str(tmp_path))
    subprocess.run([sys.executable, "-c", program], check=True)
    monkeypatch.setattr(modal.config, "persist", True)
    assert modal.Dict.from_name("jobs")["a"].run() == 42
    assert importlib.import_module("__main__") is not None
