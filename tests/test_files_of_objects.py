"""The file of an environment: what it promises about crashes, damage, processes and forks."""

from __future__ import annotations

import os
import queue
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest

import moorage as modal
from moorage.exception import DataLossError, NotFoundError
from moorage.stores import sqlite_file
from moorage.stores.sqlite_file import Database

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="fork, flock and kill -9")


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("MOORAGE_HOME", str(tmp_path))
    monkeypatch.setattr(modal.config, "persist", True)
    yield tmp_path
    begin_anew()


@pytest.fixture
def d():
    return modal.Dict.from_name("d", create_if_missing=True).hydrate()


@pytest.fixture
def q():
    return modal.Queue.from_name("q", create_if_missing=True).hydrate()


def file_of(home):
    return home / "main" / "objects.sqlite3"


def begin_anew():
    """Forget the connections, as another process would begin."""
    for each in list(sqlite_file._databases.values()):
        if each._connection is not None:
            each._connection.close()
    sqlite_file._databases.clear()
    for kept in (modal.dict._KEPT, modal.queue._KEPT):
        kept._contents.clear()


def run(program, *arguments, **options):
    """Run a program in a process of its own."""
    begin = "import os, sys, moorage as modal\nmodal.config.persist = True\n"
    return subprocess.Popen(
        [sys.executable, "-c", begin + textwrap.dedent(program), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def test_contents_outlive_the_process(home):
    program = """
        modal.Dict.from_name("d", create_if_missing=True)["a"] = [1]
        modal.Queue.from_name("q", create_if_missing=True).put_many([1, 2], partition="p")
    """
    assert run(program).communicate() == ("", None)
    d, q = modal.Dict.from_name("d"), modal.Queue.from_name("q")
    assert d["a"] == [1]
    assert q.get_many(3, partition="p") == [1, 2]
    assert modal.Dict.from_id(d.object_id)["a"] == [1]
    assert stat.S_IMODE(file_of(home).stat().st_mode) == 0o600
    assert [each.name for each in (home / "main").iterdir() if each.name.startswith(".")] == []


def test_what_was_acknowledged_survives_kill_9(home):
    program = """
        d = modal.Dict.from_name("d", create_if_missing=True)
        q = modal.Queue.from_name("q", create_if_missing=True)
        n = 0
        while True:
            d[n] = n
            q.put(n)
            print(n, flush=True)
            n += 1
    """
    for round_ in range(3):
        child = run(program)
        for line in child.stdout:
            if int(line) >= 20 + 30 * round_:
                break
        child.send_signal(signal.SIGKILL)
        last = int([line, *child.stdout.read().split()][-1])
        child.stdout.close()
        child.wait()
        d, q = modal.Dict.from_name("d"), modal.Queue.from_name("q")
        assert [d[n] for n in range(last + 1)] == list(range(last + 1))
        assert q.get_many(5000)[: last + 1] == list(range(last + 1))
        assert d.len() in (last + 1, last + 2)
        d.clear()


def test_a_flipped_bit_is_found_when_it_is_read(home, d, q):
    chance = random.Random(1)
    for n in range(30):
        d[f"key {n}"] = f"value {n} of the dict"
    q.put_many([f"item {n} of the queue" for n in range(30)])
    begin_anew()
    file = file_of(home)
    whole = file.read_bytes()
    for marked in (b"value 7 of the dict", b"key 9", b"item 3 of the queue"):
        at = whole.index(marked) + chance.randrange(len(marked))
        flipped = bytearray(whole)
        flipped[at] ^= 1 << chance.randrange(8)
        file.write_bytes(flipped)

        def read_all():
            d = modal.Dict.from_name("d")
            for n in range(30):
                assert d[f"key {n}"] == f"value {n} of the dict"
            modal.Queue.from_name("q").get_many(30)

        with pytest.raises(DataLossError) as caught:
            read_all()
        assert str(file) in str(caught.value)
        assert "bring back a copy" in str(caught.value)
        begin_anew()
    file.write_bytes(whole)
    assert modal.Dict.from_name("d")["key 7"] == "value 7 of the dict"


def test_no_flipped_bit_gives_a_wrong_value(home, d):
    chance = random.Random(2)
    entries = {f"key {n}": f"value {n}" * 20 for n in range(40)}
    d.update(entries)
    begin_anew()
    file = file_of(home)
    whole = file.read_bytes()
    found = 0
    for _ in range(150):
        flipped = bytearray(whole)
        flipped[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        file.write_bytes(flipped)
        try:
            d = modal.Dict.from_name("d")
            assert dict(d.items()) == entries
            assert all(d[key] == value for key, value in entries.items())
        except (DataLossError, NotFoundError):
            found += 1
        begin_anew()
        for suffix in ("-wal", "-shm"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)
    assert found > 20


def test_the_error_of_a_damaged_entry_names_the_key(d, q):
    d["here"] = 1
    d["there"] = 2
    q.put("x", partition="p")
    database = d._entries._database
    database.run(
        lambda c: c.execute("UPDATE entries SET value = x'80054b082e' WHERE key = 'shere'")
    )
    database.run(
        lambda c: c.execute("UPDATE entries SET value = x'00' WHERE value = x'80054b012e'")
    )
    database.run(lambda c: c.execute("UPDATE items SET value = x'00'"))
    for read in (lambda: d["here"], lambda: d.pop("here"), lambda: list(d.items())):
        with pytest.raises(DataLossError, match=f"'here' in the Dict {d.object_id}"):
            read()
    assert d["there"] == 2
    for read in (lambda: q.get(partition="p"), lambda: list(q.iterate(partition="p"))):
        with pytest.raises(DataLossError, match=f"Queue {q.object_id} .partition 'p'"):
            read()
    q.clear(partition="p")
    q.put("y", partition="p")
    assert q.get(partition="p") == "y"


@pytest.mark.parametrize(
    "write",
    [
        lambda file, whole: file.write_bytes(b""),
        lambda file, whole: file.write_bytes(whole[:50]),
        lambda file, whole: file.write_bytes(whole[: len(whole) // 2]),
        lambda file, whole: file.write_text("my notes"),
        lambda file, whole: file.write_bytes(whole[:4096] + bytes(len(whole) - 4096)),
    ],
    ids=["empty", "header", "half", "text", "zeros"],
)
def test_torn_and_foreign_files_are_refused(home, d, write):
    d.update(dict.fromkeys(range(50), "x" * 1000))
    begin_anew()
    file = file_of(home)
    write(file, file.read_bytes())
    before = file.read_bytes()
    for _ in range(2):
        with pytest.raises(DataLossError, match=r"move (the file|it) away") as caught:
            modal.Dict.from_name("d").len()
        assert str(file) in str(caught.value)
    assert file.read_bytes() == before
    file.rename(home / "away")
    begin_anew()
    assert modal.Dict.from_name("d", create_if_missing=True).len() == 0


def test_a_database_of_another_program_is_left_alone(home):
    file = file_of(home)
    file.parent.mkdir()
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE notes (text)")
    other.close()
    with pytest.raises(DataLossError, match="another program"):
        modal.Dict.from_name("d", create_if_missing=True).len()


def test_several_processes_share_the_objects(d, q):
    program = """
        d = modal.Dict.from_name("d")
        q = modal.Queue.from_name("q")
        me = int(sys.argv[1])
        won = 0
        for n in range(40):
            won += d.put(("lock", n), me, skip_if_exists=True)
            q.put((me, n))
        print(won)
    """
    children = [run(program, str(n)) for n in range(4)]
    won = [int(child.communicate()[0]) for child in children]
    assert sum(won) == 40
    assert d.len() == 40
    items = q.get_many(5000)
    assert sorted(items) == [(me, n) for me in range(4) for n in range(40)]
    for me in range(4):
        assert [n for who, n in items if who == me] == list(range(40))


def test_a_new_file_may_be_made_by_several_processes_at_once(home):
    program = "modal.Dict.from_name('d', create_if_missing=True)[os.getpid()] = 1"
    children = [run(program) for _ in range(5)]
    assert [child.communicate()[0] for child in children] == [""] * 5
    assert modal.Dict.from_name("d").len() == 5


def test_one_process_waits_and_others_get_what_is_there(q):
    program = """
        import queue
        q = modal.Queue.from_name("q")
        try:
            q.get()
        except queue.Empty as error:
            print(error)
        q.put("a")
        print(q.get())
    """
    assert q.len() == 0  # now the handle has its lines, which this thread looks at below
    with ThreadPoolExecutor(1) as other:
        call = other.submit(q.get)
        while q._lines._items._waits is None:
            os.sched_yield()
        said, got = run(program).communicate()[0].splitlines()
        assert "another process waits" in said
        assert got == "a"
        q.put("b")
        assert call.result() == "b"
    assert q._lines._items._waits is None
    assert run("print(modal.Queue.from_name('q').len())").communicate()[0] == "0\n"


def test_an_object_that_another_process_deleted_is_gone(d, q):
    d["a"] = 1
    q.put(1)
    run("modal.Dict.objects.delete('d'); modal.Queue.objects.delete('q')").communicate()
    uses = (
        lambda: d["a"],
        lambda: d.put("b", 1),
        d.len,
        lambda: list(d.items()),
        lambda: d.update({"b": 1}),
        lambda: q.put(1),
        lambda: q.get(block=False),
    )
    for use in uses:
        with pytest.raises(NotFoundError):
            use()


def test_a_forked_child_shares_the_file(d, q):
    d["parent"] = 1
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            d["child"] = d["parent"] + 1
            q.put("from the child")
            os.write(write, b"done")
        finally:
            os._exit(0)
    assert os.read(read, 4) == b"done"
    os.waitpid(child, 0)
    os.close(read)
    os.close(write)
    assert (d["child"], q.get(timeout=0)) == (2, "from the child")
    d["parent"] = 3
    begin_anew()
    assert modal.Dict.from_name("d")["parent"] == 3


def test_a_forked_child_of_memory_has_a_copy(monkeypatch):
    monkeypatch.setattr(modal.config, "persist", False)
    with modal.Dict.ephemeral() as d, modal.Queue.ephemeral() as q:
        d["a"] = 1
        q.put(1)
        child = os.fork()
        if not child:
            ok = d["a"] == 1 and q.get() == 1 and q.get(block=False) is None
            d["a"] = 2
            os._exit(0 if ok else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert (d["a"], q.get()) == (1, 1)


def age(database, seconds):
    database.run(lambda c: c.execute("UPDATE entries SET used = used - ?", (seconds,)))


def test_entries_expire_7_days_after_their_last_use(d):
    d.update(a=1, b=2)
    database = d._entries._database
    age(database, 6.9 * 86400)
    assert d["a"] == 1  # a use
    age(database, 0.2 * 86400)
    assert ("b" in d, d.get("b"), d.len(), dict(d.items())) == (False, None, 1, {"a": 1})
    assert d.put("b", 3, skip_if_exists=True)
    assert d["b"] == 3
    age(database, 8 * 86400)
    assert d.put("a", 4, skip_if_exists=True)
    assert d.pop("b", "gone") == "gone"
    assert dict(d.items()) == {"a": 4}


def test_partitions_expire_by_the_clock_of_the_machine(q):
    q.put(1, partition_ttl=100)
    q.put(2, partition="p")
    database = q._lines._items._database
    database.run(lambda c: c.execute("UPDATE partitions SET expires = expires - 101"))
    assert (q.len(), q.len(total=True), q.get(block=False), list(q.iterate())) == (0, 1, None, [])
    q.put(3)
    assert q.get_many(2) == [3]


def test_ephemeral_objects_are_never_in_a_file(home):
    with modal.Dict.ephemeral() as d, modal.Queue.ephemeral() as q:
        d["a"] = 1
        q.put(1)
    assert list(home.iterdir()) == []


def test_looking_for_what_is_missing_makes_no_file(home):
    with pytest.raises(NotFoundError):
        modal.Dict.from_name("d").len()
    assert modal.Dict.objects.list() == []
    assert list(home.iterdir()) == []


def test_threads_share_a_file(d):
    def work(index):
        for n in range(50):
            d[index, n] = n
            assert d[index, n] == n

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert d.len() == 400


def test_an_interrupted_change_is_rolled_back(d):
    d["a"] = 1

    def breaks(connection):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM entries")
        raise KeyboardInterrupt

    database: Database = d._entries._database
    with pytest.raises(KeyboardInterrupt):
        database.run(breaks)
    assert d["a"] == 1
    with pytest.raises(queue.Empty):
        modal.Queue.from_name("q", create_if_missing=True).get(timeout=0)
