"""Volumes and network file systems: directories of the home, which no path leaves."""

from __future__ import annotations

import asyncio
import io
import os
import pickle
import queue
import shutil
import socket
import stat
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path, PurePosixPath
from threading import Barrier

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import moorage as modal
from moorage.exception import (
    AlreadyExistsError,
    DeprecationError,
    InvalidError,
    NotFoundError,
    UnimplementedError,
)
from moorage.stores import uploads
from moorage.stores.directories import Directories
from moorage.stores.home import home as current_home
from moorage.stores.trees import CHUNK, Tree, parts_of
from moorage.volume import FileEntryType, VolumeUploadContextManager, VolumeUploadContextManager2

EXAMPLES = int(os.environ.get("MOORAGE_EXAMPLES", "40"))  # of the models
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="symlinks and modes")


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("MOORAGE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def volume():
    return modal.Volume.from_name("data", create_if_missing=True)


@pytest.fixture
def outside(tmp_path):
    """A directory that no path of a volume may reach."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    return outside


def put(volume, files, **options):
    with volume.batch_upload(**options) as batch:
        for path, text in files.items():
            batch.put_file(io.BytesIO(text.encode()), path)


def read(volume, path):
    return b"".join(volume.read_file(path)).decode()


def paths(volume, path="/", **options):
    return [each.path for each in volume.listdir(path, **options)]


def contents(volume):
    return {
        each.path: read(volume, each.path)
        for each in volume.iterdir("/")
        if each.type == FileEntryType.FILE
    }


# -- where the files are ---------------------------------------------------------------------


def test_a_volume_is_a_plain_directory_of_the_home(volume, home):
    assert not home.exists()  # a handle touches nothing
    assert volume.local_path == home / "main" / "volumes" / "data"
    assert os.listdir(volume.local_path) == []
    put(volume, {"a/b": "text"})
    assert (volume.local_path / "a" / "b").read_text() == "text"
    (volume.local_path / "by hand").write_text("mine")
    assert contents(volume) == {"a/b": "text", "by hand": "mine"}


def test_the_home_of_a_suite_is_temporary(monkeypatch, tmp_path, pytester):
    pytester.makepyfile(
        """
        import os
        from pathlib import Path
        import moorage as modal
        from moorage.stores.home import home

        def test_home(monkeypatch, tmp_path):
            volume = modal.Volume.from_name("v", create_if_missing=True)
            assert str(volume.local_path).startswith(os.environ["MOORAGE_HOME"])
            Path(os.environ["SAID"]).write_text(str(home()))
            monkeypatch.setattr(modal.config, "home", tmp_path)
            assert home() == tmp_path
        """
    )
    said = tmp_path / "said"
    monkeypatch.setenv("SAID", str(said))
    monkeypatch.delenv("MOORAGE_HOME")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
    assert "moorage-pytest-" in said.read_text()
    assert not Path(said.read_text()).exists()
    # A user's own choice stays.
    monkeypatch.setenv("MOORAGE_HOME", str(tmp_path / "mine"))
    pytester.runpytest_subprocess()
    assert said.read_text() == str(tmp_path / "mine")


def test_a_directory_that_the_user_made_is_a_volume(home, outside):
    (home / "main" / "volumes" / "mine").mkdir(parents=True)
    (home / "main" / "volumes" / "linked").symlink_to(outside)
    mine, linked = modal.Volume.from_name("mine"), modal.Volume.from_name("linked")
    assert mine.listdir("/") == []
    assert mine.hydrate().object_id == modal.Volume.from_name("mine").hydrate().object_id
    assert contents(linked) == {"secret": "secret"}
    put(linked, {"new": "x"})
    assert (outside / "new").read_text() == "x"
    assert {v.name for v in modal.Volume.objects.list()} == {"mine", "linked"}
    modal.Volume.objects.delete("linked")
    assert (outside / "secret").exists()
    with pytest.raises(NotFoundError):
        linked.listdir("/")
    shutil.rmtree(mine.local_path)
    with pytest.raises(NotFoundError):
        mine.listdir("/")


def test_a_volume_is_looked_up_at_its_first_use(home):
    missing = modal.Volume.from_name("missing")
    uses = [
        lambda: missing.listdir("/"),
        lambda: list(missing.iterdir("/")),
        lambda: list(missing.read_file("a")),
        lambda: missing.read_file_into_fileobj("a", io.BytesIO()),
        lambda: missing.remove_file("a"),
        lambda: missing.copy_files(["a"], "b"),
        lambda: missing.batch_upload().__enter__(),
        missing.commit,
        missing.reload,
        missing.info,
        missing.hydrate,
    ]
    for use in uses:
        with pytest.raises(NotFoundError, match="create_if_missing=True"):
            use()
    assert not (home / "main" / "volumes").exists()
    assert missing.local_path.is_dir()  # the one attribute that makes it
    assert missing.listdir("/") == []


@pytest.mark.parametrize("name", [".", ".."])
def test_names_that_are_no_directories_are_refused(name):
    for use in (
        lambda: modal.Volume.from_name(name, create_if_missing=True).listdir("/"),
        lambda: modal.Volume.from_name(name).local_path,
        lambda: modal.Volume.objects.create(name),
        lambda: modal.Volume.objects.delete(name),
    ):
        with pytest.raises(InvalidError, match="no directory"):
            use()


def test_names_that_differ_in_case_only_are_refused_where_the_disk_does_not_tell(
    monkeypatch, volume
):
    volume.hydrate()
    is_dir, mkdir = Path.is_dir, Path.mkdir

    def lower(path):
        return path.with_name("data") if path.name == "Data" else path

    monkeypatch.setattr(Path, "is_dir", lambda self: is_dir(lower(self)))
    monkeypatch.setattr(Path, "mkdir", lambda self, *a, **k: mkdir(lower(self), *a, **k))
    with pytest.raises(NotFoundError):
        modal.Volume.from_name("Data").hydrate()
    with pytest.raises(InvalidError, match="differs in case only"):
        modal.Volume.from_name("Data", create_if_missing=True).hydrate()
    monkeypatch.undo()


# -- looking ---------------------------------------------------------------------------------


def test_listings(volume):
    put(volume, {"b/c/d": "dd", "b/e": "e", "a": "aaa"})
    assert paths(volume) == paths(volume, "") == paths(volume, ".") == ["a", "b"]
    assert paths(volume, recursive=True) == ["a", "b", "b/c", "b/e", "b/c/d"]
    assert [each.path for each in volume.iterdir("/")] == paths(volume, recursive=True)
    assert [each.path for each in volume.iterdir("b", recursive=False)] == ["b/c", "b/e"]
    assert paths(volume, "/b/") == paths(volume, "b/../b") == ["b/c", "b/e"]
    a, b = volume.listdir("/")
    assert (a.type, a.size, b.type) == (FileEntryType.FILE, 3, FileEntryType.DIRECTORY)
    assert (a.type, int(b.type)) == (1, 2)
    assert type(a.mtime) is int
    assert abs(a.mtime - datetime.now().timestamp()) < 1000
    assert volume.listdir("a") == [a]  # a file lists itself
    with pytest.raises(AttributeError):
        a.path = "b"


def test_kinds_of_files(volume, outside):
    root = volume.local_path
    (root / "directory").mkdir()
    (root / "file").touch()
    (root / "link").symlink_to(outside)
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as s:
        here = os.getcwd()
        os.chdir(root)  # the name of a socket is short
        try:
            s.bind("socket")
        finally:
            os.chdir(here)
    kinds = {each.path: each.type.name for each in volume.iterdir("/")}
    assert kinds == {
        "directory": "DIRECTORY",
        "file": "FILE",
        "link": "SYMLINK",
        "pipe": "FIFO",
        "socket": "SOCKET",
    }
    for path in ("pipe", "socket"):  # to open a pipe would block
        with pytest.raises(InvalidError):
            read(volume, path)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("missing", NotFoundError),
        ("a/b", NotFoundError),
        ("*", InvalidError),
        ("a/*", InvalidError),
        ("**", InvalidError),
        ("..", InvalidError),
        ("/a/../../b", InvalidError),
        ("a\0b", ValueError),
        (3, TypeError),
    ],
)
def test_what_cannot_be_listed(volume, path, error):
    put(volume, {"a": ""})
    with pytest.raises(error):
        volume.listdir(path)
    with pytest.raises(error):
        list(volume.iterdir(path))


def test_files_are_read_in_chunks(volume):
    data = os.urandom(2 * CHUNK + 10)
    (volume.local_path / "big").write_bytes(data)
    (volume.local_path / "empty").touch()
    chunks = list(volume.read_file("big"))
    assert [len(chunk) for chunk in chunks] == [CHUNK, CHUNK, 10]
    assert b"".join(chunks) == data
    assert list(volume.read_file("/empty")) == []
    into, told = io.BytesIO(), []
    into.write(b"before")
    size = volume.read_file_into_fileobj("big", into, lambda *, advance: told.append(advance))
    assert (size, into.getvalue(), sum(told)) == (len(data), b"before" + data, len(data))


def test_what_cannot_be_read(volume):
    put(volume, {"a/b": ""})
    steps = volume.read_file("missing")  # the error comes with the first step
    with pytest.raises(FileNotFoundError, match="missing"):
        next(steps)
    with pytest.raises(FileNotFoundError):
        read(volume, "a/b/c")
    with pytest.raises(IsADirectoryError):
        read(volume, "a")
    with pytest.raises(FileNotFoundError):
        volume.read_file_into_fileobj("missing", io.BytesIO())


# -- changing --------------------------------------------------------------------------------


def test_files_are_removed(volume):
    put(volume, {"a/b/c": "", "a/d": "", "e": ""})
    volume.remove_file("e")
    with pytest.raises(IsADirectoryError, match="recursive=True"):
        volume.remove_file("a")
    with pytest.raises(FileNotFoundError):
        volume.remove_file("e")
    with pytest.raises(FileNotFoundError):
        volume.remove_file("a/d/x")
    volume.remove_file("/a/b", recursive=True)
    assert paths(volume, recursive=True) == ["a", "a/d"]
    with pytest.raises(IsADirectoryError):
        volume.remove_file("/")
    volume.remove_file("/", recursive=True)
    assert volume.listdir("/") == []
    assert volume.local_path.is_dir()


def test_files_are_copied_as_cp_does(volume):
    put(volume, {"a": "1", "d/b": "2", "e/x": ""})
    volume.copy_files(["a"], "c")
    volume.copy_files(["a", "d/b"], "/e/")
    volume.copy_files(["d/b"], "a")
    assert contents(volume) == {"a": "2", "c": "1", "d/b": "2", "e/a": "1", "e/b": "2", "e/x": ""}
    for sources, to, error in [
        (["a", "c"], "new", NotADirectoryError),
        (["a"], "new/", NotADirectoryError),
        (["a"], "missing/b", FileNotFoundError),
        (["missing"], "b", FileNotFoundError),
        (["a", "missing"], "e", FileNotFoundError),
        (["d"], "e", IsADirectoryError),
        (["a"], "a", shutil.SameFileError),
        ("a", "b", TypeError),
    ]:
        before = contents(volume)
        with pytest.raises(error):
            volume.copy_files(sources, to)
        assert contents(volume) == before
    with pytest.raises(ValueError, match="version=2"):
        volume.copy_files(["d"], "e", recursive=True)


def test_directories_are_copied_in_version_2(outside):
    volume = modal.Volume.from_name("two", create_if_missing=True, version=2)
    put(volume, {"a/b/c": "1", "d/x": "2"})
    (volume.local_path / "a" / "link").symlink_to(outside / "secret")
    volume.copy_files(["a"], "d", recursive=True)
    volume.copy_files(["a"], "new", recursive=True)
    assert contents(volume) == {"a/b/c": "1", "d/x": "2", "d/a/b/c": "1", "new/b/c": "1"}
    assert (volume.local_path / "new" / "link").is_symlink()  # and no copy of what is outside
    with pytest.raises(shutil.SameFileError):
        volume.copy_files(["a"], "a/b", recursive=True)


def test_a_batch_uploads_when_its_block_ends(volume, tmp_path):
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "two").write_text("2")
    (source / "one").write_text("1")
    (source / "one").chmod(0o750)
    (source / "link").symlink_to(source / "one")
    (source / "empty").mkdir()
    os.mkfifo(source / "pipe")
    with volume.batch_upload() as batch:
        batch.put_file(source / "one", "/x/one")
        batch.put_file(str(source / "one"), PurePosixPath("moded"), mode=0o600)
        batch.put_file(io.BytesIO(b"0"), "stream")
        batch.put_directory(source, "/all")
        batch.put_directory(str(source), "flat", recursive=False)
        assert volume.listdir("/") == []
        (source / "late").write_text("l")  # the files are read at the end
    found = contents(volume)
    assert found == {
        "x/one": "1",
        "moded": "1",
        "stream": "0",
        "all/one": "1",
        "all/link": "1",
        "all/sub/two": "2",
        "all/late": "l",
        "flat/one": "1",
        "flat/link": "1",
        "flat/late": "l",
    }
    assert not (volume.local_path / "all" / "link").is_symlink()
    modes = {
        path: stat.S_IMODE((volume.local_path / path).stat().st_mode)
        for path in ("x/one", "moded", "stream")
    }
    assert modes == {"x/one": 0o750, "moded": 0o600, "stream": 0o644}


def nothing_is_left(home):
    return os.listdir(home / "main" / "staging") == []


def test_a_batch_is_all_or_nothing(volume, home, tmp_path):
    put(volume, {"there": "old", "directory/x": "x"})
    before = contents(volume)

    def fails(*files):
        def attempt():
            put(volume, dict.fromkeys(["a/new", *files, "z/new"], "new"))

        return attempt

    def user_fails():
        with volume.batch_upload() as batch:
            batch.put_file(io.BytesIO(b""), "new")
            raise ZeroDivisionError

    def missing():
        with volume.batch_upload() as batch:
            batch.put_file(io.BytesIO(b""), "new")
            batch.put_file(tmp_path / "missing", "other")

    def text():
        with volume.batch_upload() as batch:
            batch.put_file(io.BytesIO(b""), "new")
            batch.put_file(io.StringIO("text"), "other")

    for attempt, error in [
        (fails("there"), FileExistsError),
        (fails("directory"), FileExistsError),
        (fails("there/x"), FileExistsError),
        (fails("a/new/x"), FileExistsError),
        (user_fails, ZeroDivisionError),
        (missing, FileNotFoundError),
        (text, TypeError),
    ]:
        with pytest.raises(error):
            attempt()
        assert contents(volume) == before
        assert paths(volume) == ["directory", "there"]  # no empty directory either
        assert nothing_is_left(home)
    with pytest.raises(FileExistsError):  # also with force
        put(volume, {"directory": "new"}, force=True)
    put(volume, {"there": "new"}, force=True)
    assert read(volume, "there") == "new"


def test_a_rename_that_fails_takes_the_earlier_ones_back(volume, home, monkeypatch):
    put(volume, {"a": "old", "c": "old"})
    move, moves = uploads._move, []

    def failing(source, to):
        moves.append(to)
        if to.name == "c" and source.name.startswith("new"):
            raise OSError("the disk is full")
        move(source, to)

    monkeypatch.setattr(uploads, "_move", failing)
    with pytest.raises(OSError, match="full"):
        put(volume, {"a": "new", "b/b": "new", "c": "new"}, force=True)
    assert len(moves) > 3
    assert contents(volume) == {"a": "old", "c": "old"}
    assert paths(volume) == ["a", "c"]


KILLED = """
import io, os, shutil, signal, sys
import moorage as modal
from moorage.stores import directories, uploads

steps, killed_at, other_disk = 0, None, sys.argv[1] == "other disk"

def counted(function):
    def step(*args, **kwargs):
        global steps
        if steps == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        steps += 1
        return function(*args, **kwargs)
    return step

class Os:
    def __getattr__(self, name):
        return getattr(os, name)

    @staticmethod
    def replace(source, to):
        if other_disk and ("staging" in str(source)) != ("staging" in str(to)):
            raise OSError(18, "another disk")
        return counted(os.replace)(source, to)

    link, rename = staticmethod(counted(os.link)), staticmethod(counted(os.rename))

def work():
    uploads.os = directories.os = Os()
    for name in ("copy2", "copyfile", "rmtree"):
        setattr(shutil, name, counted(getattr(shutil, name)))
    with modal.Volume.from_name("data").batch_upload(force=True) as batch:
        for name in ("a", "b", "new/c"):
            batch.put_file(io.BytesIO(b"new"), name)
    modal.Volume.rename("data", "renamed")
    if not other_disk:
        modal.Volume.objects.delete("renamed")
    os._exit(7)

def put(volume):
    with volume.batch_upload(force=True) as batch:
        for name in ("a", "b"):
            batch.put_file(io.BytesIO(b"old"), name)

def files(volume):
    return {e.path: b"".join(volume.read_file(e.path)) for e in volume.iterdir("/") if e.type == 1}

for killed_at in range(100):
    volume = modal.Volume.from_name("data", create_if_missing=True)
    object_id = volume.hydrate().object_id
    put(volume)
    child = os.fork()
    if not child:
        work()
    _, status = os.waitpid(child, 0)
    names = sorted(each.name for each in modal.Volume.objects.list())
    assert len(names) <= 1, names
    if names:
        found = modal.Volume.from_name(names[0])
        there = files(found)
        assert {"a", "b"} <= {*there} <= {"a", "b", "new/c"}, there
        assert {*there.values()} <= {b"old", b"new"}, there
        assert found.hydrate().object_id == object_id, names
        if names == ["renamed"]:
            modal.Volume.rename("renamed", "data")
        put(modal.Volume.from_name("data"))
        hidden = [n for n in os.listdir(found.local_path) if n.startswith(".")]
        assert not hidden, hidden
        modal.Volume.objects.delete("data")
    # The next upload removes what was left.
    put(modal.Volume.from_name("other", create_if_missing=True))
    base = modal.Volume.from_name("other").local_path.parent.parent
    assert os.listdir(base / "staging") == []
    modal.Volume.objects.delete("other")
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 7, status
        print("killed at", killed_at, "steps")
        break
"""


@pytest.mark.parametrize("disk", ["this disk", "other disk"])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_process_that_is_killed_at_any_step_leaves_whole_files(home, disk):
    command = [sys.executable, "-c", KILLED, disk]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[2]) > 8


def test_uploads_of_others_stay_while_they_run(volume, home):
    with volume.batch_upload() as outer:
        outer.put_file(io.BytesIO(b"1"), "outer")

        class Reads(io.BytesIO):
            def read(self, *args):
                put(volume, {"inner": "2"}, force=True)
                return super().read(*args)

        outer.put_file(Reads(b"3"), "late")
    assert contents(volume) == {"outer": "1", "inner": "2", "late": "3"}
    assert nothing_is_left(home)


def test_mistakes_of_a_batch(volume, tmp_path):
    with volume.batch_upload() as batch:
        for path in ("/", "", "a/.."):
            with pytest.raises(ValueError, match="path of a file"):
                batch.put_file(io.BytesIO(), path)
        with pytest.raises(InvalidError, match="leaves the volume"):
            batch.put_file(io.BytesIO(), "../a")
        with pytest.raises(InvalidError, match="leaves the volume"):
            batch.put_directory(tmp_path, "/../a")
        with pytest.raises(AssertionError, match="put_file"):
            batch.put_directory(tmp_path / "missing", "/a")
        with pytest.raises(TypeError):
            batch.put_file(3, "/a")
    with pytest.raises(UnimplementedError, match="batch_upload"):
        batch.put_file(io.BytesIO(), "late")
    with pytest.raises(TypeError):
        volume.batch_upload(True, False)
    assert volume.listdir("/") == []


def test_batches_of_threads_race(volume):
    together = Barrier(8)

    def upload(number):
        together.wait()
        try:
            put(volume, {"one": str(number), f"{number}/own": "", "two": str(number)})
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(upload, range(8)))
    assert sum(won) == 1
    winner = str(won.index(True))
    assert contents(volume) == {"one": winner, "two": winner, f"{winner}/own": ""}


# -- no path leaves the volume ---------------------------------------------------------------


def test_no_symlink_leads_out(volume, outside):
    root = volume.local_path
    (root / "out").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    (root / "up").symlink_to("../..")
    (root / "loop").symlink_to("loop")
    put(volume, {"in/a": "a"})
    (root / "inner").symlink_to("in")
    uses = [
        lambda: volume.listdir("out/secret"),
        lambda: volume.listdir("up/main"),
        lambda: read(volume, "file"),
        lambda: read(volume, "out/secret"),
        lambda: volume.read_file_into_fileobj("file", io.BytesIO()),
        lambda: volume.remove_file("out/secret"),
        lambda: volume.remove_file("out/secret", recursive=True),
        lambda: volume.copy_files(["file"], "copy"),
        lambda: volume.copy_files(["in/a"], "out"),
        lambda: volume.copy_files(["in/a"], "file"),
        lambda: put(volume, {"out/new": "x"}),
        lambda: put(volume, {"out/secret": "x"}, force=True),
        lambda: put(volume, {"up/new/new": "x"}),
        lambda: volume.with_mount_options(sub_path="out")._mounted(),
    ]
    for use in uses:
        with pytest.raises(InvalidError, match="leads out of the volume"):
            use()
    assert os.listdir(outside) == ["secret"]
    assert (outside / "secret").read_text() == "secret"
    # The symlinks themselves are files of the volume.
    assert [each.type.name for each in volume.listdir("out")] == ["SYMLINK"]
    assert "out/secret" not in paths(volume, recursive=True)
    put(volume, {"file": "mine"}, force=True)  # in the place of the symlink, not through it
    assert (outside / "secret").read_text() == "secret"
    assert read(volume, "file") == "mine"
    for path in ("out", "up", "loop"):
        volume.remove_file(path, recursive=True)
    assert os.listdir(outside) == ["secret"]
    # A symlink within the volume is followed.
    assert read(volume, "inner/a") == "a"
    assert paths(volume, "inner") == ["inner/a"]


def test_a_directory_with_symlinks_is_removed_and_copied_without_what_they_lead_to(outside):
    with modal.Volume.ephemeral(version=2) as volume:
        put(volume, {"in/a": "a", "to/in/a": "old"})
        root = volume.local_path
        (root / "in" / "out").symlink_to(outside)
        (root / "in" / "sub").mkdir()
        (root / "in" / "sub" / "secret").write_text("stolen")
        (root / "to" / "in" / "sub").symlink_to(outside)
        volume.copy_files(["in"], "to", recursive=True)
        assert (outside / "secret").read_text() == "secret"
        assert read(volume, "to/in/sub/secret") == "stolen"
        volume.remove_file("in", recursive=True)
        volume.remove_file("to", recursive=True)
    assert os.listdir(outside) == ["secret"]


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/", ()),
        ("", ()),
        (".", ()),
        ("//a//b/", ("a", "b")),
        ("a/./b/../c", ("a", "c")),
        (PurePosixPath("/a"), ("a",)),
        ("a b/ü", ("a b", "ü")),
    ],
)
def test_parts_of_paths(path, parts):
    assert parts_of(path) == parts


def test_ids_that_are_no_ids_find_nothing(volume, outside):
    volume.hydrate()
    for object_id in ("../volumes/data", "vo-1", "", f"vo-{'a' * 22}", "data", "st-" + "a" * 22):
        with pytest.raises(NotFoundError):
            modal.Volume.from_id(object_id).listdir("/")


# -- handles ---------------------------------------------------------------------------------


def test_handles_of_one_name_are_one_volume(volume):
    put(volume, {"a": "1"})
    for handle in (
        modal.Volume.from_name("data"),
        modal.Volume.from_id(volume.object_id),
        pickle.loads(pickle.dumps(volume)),
        pickle.loads(pickle.dumps(modal.Volume.from_id(volume.object_id))),
    ):
        assert contents(handle) == {"a": "1"}
        assert handle.object_id == volume.object_id
    assert modal.Volume.from_id(volume.object_id).hydrate().name == "data"
    other = modal.Volume.from_name("data", environment_name="dev", create_if_missing=True)
    assert other.listdir("/") == []
    assert {v.object_id[:3] for v in (volume, other)} == {"vo-"}


def test_ephemeral_volumes_end_with_their_block(home):
    with modal.Volume.ephemeral() as volume:
        put(volume, {"a": "1"})
        assert volume.name is None
        assert contents(modal.Volume.from_id(volume.object_id)) == {"a": "1"}
        assert contents(pickle.loads(pickle.dumps(volume))) == {"a": "1"}
        assert volume.info().name is None
        assert modal.Volume.objects.list() == []
        program = f"print(modal.Volume.from_id({volume.object_id!r}).listdir('/')[0].path)"
        assert run(program).communicate()[0] == "a\n"
    for use in (lambda: volume.listdir("/"), volume.commit, lambda: volume.local_path):
        with pytest.raises(NotFoundError, match="gone"):
            use()
    assert os.listdir(home / "main" / "ephemeral") == []

    async def main():
        async with modal.Volume.ephemeral() as volume:
            assert await volume.listdir.aio("/") == []

    asyncio.run(main())


def test_objects_are_created_listed_renamed_and_deleted():
    objects = modal.Volume.objects
    for name in ("a", "b", "c"):
        assert objects.create(name) is None
    objects.create("two", version=2)
    with pytest.raises(AlreadyExistsError, match="allow_existing=True"):
        objects.create("a")
    objects.create("a", allow_existing=True)
    assert [v.name for v in objects.list()] == ["two", "c", "b", "a"]
    assert [v.name for v in objects.list(max_objects=1)] == ["two"]
    assert objects.list(environment_name="dev") == []
    a = modal.Volume.from_name("a")
    put(a, {"x": "1"})
    info = a.info()
    assert (info.name, info.created_by, info.created_at.tzinfo is None) == ("a", None, False)
    before = a.object_id
    handle = modal.Volume.from_name("a").hydrate()
    assert modal.Volume.rename("a", "new") is None
    assert handle.info().name == "new"
    new = modal.Volume.from_name("new")
    assert contents(new) == contents(a) == {"x": "1"}  # the handle keeps to its volume
    assert new.object_id == before
    assert new.info().created_at == info.created_at
    with pytest.raises(NotFoundError):
        modal.Volume.from_name("a").listdir("/")
    with pytest.raises(AlreadyExistsError):
        modal.Volume.rename("new", "b")
    with pytest.raises(NotFoundError):
        modal.Volume.rename("a", "d")
    with pytest.raises(InvalidError):
        modal.Volume.rename("new", "no name")
    objects.delete("new")
    with pytest.raises(NotFoundError):
        new.listdir("/")
    with pytest.raises(NotFoundError):
        objects.delete("new")
    objects.delete("new", allow_missing=True)
    assert [v.name for v in objects.list()] == ["two", "c", "b"]


def test_versions(monkeypatch):
    one = modal.Volume.from_name("one", create_if_missing=True, version=1)
    one.hydrate()
    modal.Volume.objects.create("two", version=2)
    for handle in (
        modal.Volume.from_name("one", version=2),
        modal.Volume.from_name("two", version=1),
        modal.Volume.from_name("one", version=2, create_if_missing=True),
    ):
        with pytest.raises(InvalidError, match="has version"):
            handle.listdir("/")
        with pytest.raises(InvalidError, match="has version"):  # again
            handle.listdir("/")
    assert modal.Volume.from_name("two", version=2).listdir("/") == []
    assert modal.Volume.from_name("two").listdir("/") == []
    for name, kind in (("one", VolumeUploadContextManager), ("two", VolumeUploadContextManager2)):
        with modal.Volume.from_name(name).batch_upload() as batch:
            assert type(batch) is kind
    with pytest.raises(InvalidError, match="must be 1 or 2, got 3"):
        modal.Volume.from_name("three", version=3)
    monkeypatch.setattr(modal.config, "strict", True)
    three = modal.Volume.from_name("three", version=3, create_if_missing=True)
    with pytest.raises(InvalidError, match="must be 1 or 2, got 3"):
        three.listdir("/")


def test_read_only_handles_do_not_write(volume):
    put(volume, {"a": "1"})
    handle = volume.read_only()
    assert (handle.name, repr(handle), contents(handle)) == ("data", "Volume()", {"a": "1"})
    for same in (handle, pickle.loads(pickle.dumps(handle))):
        for use in (
            lambda same=same: same.remove_file("a"),
            lambda same=same: same.copy_files(["a"], "b"),
            lambda same=same: same.batch_upload().__enter__(),
        ):
            with pytest.raises(InvalidError, match="does not write"):
                use()
        with pytest.raises(InvalidError, match="read_only"):
            same.with_mount_options(read_only=True)
    with pytest.raises(InvalidError, match="with_mount_options"):
        volume.with_mount_options().read_only()
    put(volume.with_mount_options(read_only=True), {"b": ""})  # options are for mounts


def test_mount_options_add_up(volume, monkeypatch):
    one = volume.with_mount_options(read_only=True)
    two = one.with_mount_options(sub_path="/a/b")
    assert (two._mounts_read_only, two._sub_path) == (True, "a/b")
    three = two.with_mount_options(sub_path="/", read_only=False)
    assert (three._mounts_read_only, three._sub_path) == (False, None)
    assert two._mounted() == volume.local_path / "a" / "b"  # made when it is mounted
    assert three._mounted() == volume.local_path
    again = pickle.loads(pickle.dumps(two))
    assert (again._mounts_read_only, again._sub_path) == (True, "a/b")
    for path in ("..", "/a/../../b"):
        with pytest.raises(InvalidError, match="leaves the volume"):
            volume.with_mount_options(sub_path=path)
    monkeypatch.setattr(modal.config, "strict", True)  # then when it is mounted, as in Modal
    with pytest.raises(InvalidError, match="leaves the volume"):
        volume.with_mount_options(sub_path="..")._mounted()


def test_handles_go_into_functions(volume):
    app = modal.App()

    @app.function()
    def work(handle, object_id):
        put(handle, {"a": "1"})
        return contents(modal.Volume.from_id(object_id))

    with app.run(serialize=True):
        assert work.remote(volume, volume.hydrate().object_id) == {"a": "1"}


def test_commit_and_reload_do_nothing(volume, monkeypatch):
    assert volume.commit() is volume.reload() is None
    with (volume.local_path / "a").open("w"):
        volume.reload()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_reload_refuses_open_files_in_strict_mode(volume, monkeypatch, tmp_path):
    root = volume.local_path
    (root / "d").mkdir()
    monkeypatch.setattr(modal.config, "strict", True)
    with (
        (root / "d" / "a").open("w"),
        pytest.raises(RuntimeError, match="open files preventing the operation: path d/a is open"),
    ):
        volume.reload()
    volume.reload()
    monkeypatch.chdir(root / "d")
    with pytest.raises(RuntimeError, match="cwd is inside volume"):
        volume.reload()


def test_async_forms(volume):
    async def use():
        async with volume.batch_upload() as batch:
            batch.put_file(io.BytesIO(b"1"), "a/b")
        try:
            async with volume.batch_upload.aio(force=True) as batch:
                batch.put_file(io.BytesIO(b"2"), "a/b")
                raise ZeroDivisionError
        except ZeroDivisionError:
            assert b"".join(volume.read_file("a/b")) == b"1"
        assert [each.path async for each in volume.iterdir.aio("/")] == ["a", "a/b"]
        assert [each.path for each in await volume.listdir.aio("a")] == ["a/b"]
        assert [chunk async for chunk in volume.read_file.aio("a/b")] == [b"1"]
        with pytest.raises(FileNotFoundError):
            async for _ in volume.read_file.aio("missing"):
                pass
        into = io.BytesIO()
        assert await volume.read_file_into_fileobj.aio("a/b", into) == 1
        await volume.copy_files.aio(["a/b"], "c")
        await volume.remove_file.aio("a", recursive=True)
        assert (await volume.commit.aio(), await volume.reload.aio()) == (None, None)
        assert (await volume.info.aio()).name == "data"
        await modal.Volume.rename.aio("data", "other")
        assert [v.name for v in await modal.Volume.objects.list.aio()] == ["other"]
        assert [each.path for each in await volume.listdir.aio("/")] == ["c"]
        await modal.Volume.rename.aio("other", "data")
        volume.remove_file("c")

    asyncio.run(use())
    trio.run(use)


@pytest.mark.parametrize("run", [asyncio.run, trio.run], ids=["asyncio", "trio"])
def test_async_forms_do_not_block_their_loop(volume, monkeypatch, run):
    """The work waits for a task of the loop: it would wait for ever if it blocked the loop."""
    for name in ("listed", "read", "remove", "copy"):
        monkeypatch.setattr(Tree, name, gated(getattr(Tree, name)))
    for name in ("create", "rename", "delete", "create_ephemeral"):
        monkeypatch.setattr(Directories, name, gated(getattr(Directories, name)))
    monkeypatch.setattr(uploads.Upload, "finish", gated(uploads.Upload.finish))

    async def work():
        made = modal.Volume.from_name("made", create_if_missing=True)
        assert await made.hydrate.aio() is made
        async with made.batch_upload() as batch:
            batch.put_file(io.BytesIO(b"1"), "a")
            batch.put_file(io.BytesIO(b"2"), "b")
        await made.copy_files.aio(["a"], "c")
        await made.remove_file.aio("b")
        assert [each.path async for each in made.iterdir.aio("/")] == ["a", "c"]
        assert [each.path for each in await made.listdir.aio("/")] == ["a", "c"]
        assert [chunk async for chunk in made.read_file.aio("c")] == [b"1"]
        target = io.BytesIO()
        assert await made.read_file_into_fileobj.aio("a", target) == 1
        await modal.Volume.rename.aio("made", "other")
        await modal.Volume.objects.create.aio("more")
        await modal.Volume.objects.delete.aio("more")
        async with modal.Volume.ephemeral() as short:
            await short.commit.aio()

    async def on_asyncio():
        opening = asyncio.ensure_future(opens(asyncio.sleep))
        await work()
        opening.cancel()

    async def on_trio():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(opens, trio.sleep)
            await work()
            nursery.cancel_scope.cancel()

    if run is trio.run:
        run(on_trio)
    else:
        run(on_asyncio())
    assert gates.empty()


gates: queue.Queue[threading.Event] = queue.Queue()


def gated(function):
    """`function`, which first waits until a task of the loop opens its gate."""

    def wait(*args, **kwargs):
        gate = threading.Event()
        gates.put(gate)
        assert gate.wait(20), "the loop is blocked"
        return function(*args, **kwargs)

    return wait


async def opens(sleep):
    while True:
        await sleep(0)
        try:
            gates.get_nowait().set()
        except queue.Empty:
            pass


def test_a_cancelled_task_ends_with_its_upload(volume):
    """No work goes on unseen: the files are there when the task has ended."""
    begun, goes_on = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, *args):
            begun.set()
            assert goes_on.wait(20)
            return super().read(*args)

    async def upload():
        async with volume.batch_upload() as batch:
            batch.put_file(Slow(b"1"), "slow")

    async def main():
        task = asyncio.ensure_future(upload())
        while not begun.is_set():
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        goes_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert contents(volume) == {"slow": "1"}


def test_errors_show_only_lines_of_the_user(volume):
    with pytest.raises(FileNotFoundError) as caught:
        volume.remove_file("missing")
    here = [entry.path for entry in caught.traceback]
    assert len([path for path in here if "moorage/src" in str(path)]) <= 1


# -- processes -------------------------------------------------------------------------------


def run(program, *arguments):
    begin = "import sys, moorage as modal\n"
    return subprocess.Popen(
        [sys.executable, "-c", begin + textwrap.dedent(program), *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_processes_make_one_volume(home):
    program = """
        import io
        volume = modal.Volume.from_name("v", create_if_missing=True)
        with volume.batch_upload() as batch:
            batch.put_file(io.BytesIO(sys.argv[1].encode()), sys.argv[1])
        try:
            with volume.batch_upload() as batch:
                batch.put_file(io.BytesIO(sys.argv[1].encode()), "one")
        except FileExistsError:
            pass
        print(volume.object_id)
    """
    children = [run(program, str(n)) for n in range(4)]
    ids = {child.communicate()[0] for child in children}
    assert len(ids) == 1
    volume = modal.Volume.from_name("v")
    assert f"{volume.hydrate().object_id}\n" in ids
    found = contents(volume)
    assert found.pop("one") in "0123"
    assert found == {str(n): str(n) for n in range(4)}


def test_another_process_may_rename_and_delete(volume):
    put(volume, {"a": "1"})
    run("modal.Volume.rename('data', 'other')").communicate()
    assert contents(volume) == {"a": "1"}
    run("modal.Volume.objects.delete('other')").communicate()
    with pytest.raises(NotFoundError):
        volume.listdir("/")


# -- network file systems --------------------------------------------------------------------


@pytest.fixture
def nfs():
    with pytest.warns(DeprecationError):
        return modal.NetworkFileSystem.from_name("shared", create_if_missing=True)


def test_network_file_systems(nfs, home, tmp_path):
    assert nfs.write_file("/a/b", io.BytesIO(b"123")) == 3
    assert nfs.local_path == home / "main" / "nfs" / "shared"
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "x").write_text("x")
    nfs.add_local_file(source / "sub" / "x")
    nfs.add_local_file(source / "sub" / "x", "/deep/y")
    nfs.add_local_dir(source)
    nfs.add_local_dir(source, "again")
    with pytest.raises(AssertionError):
        nfs.add_local_dir(source / "missing")
    with (source / "sub" / "x").open("rb") as file:
        nfs.write_file("into/", file)
    with pytest.raises(ValueError, match="path of a file"):
        nfs.write_file("/", io.BytesIO())
    assert [each.path for each in nfs.listdir("/")] == [
        *("a", "again", "deep", "into", "source", "x"),
    ]
    assert [each.path for each in nfs.iterdir("/a")] == ["b"]  # relative to the directory
    assert [each.path for each in nfs.listdir("a/b")] == ["a/b"]
    assert [each.path for each in nfs.listdir("**/x")] == [
        *("again/sub/x", "into/x", "source/sub/x", "x"),
    ]
    assert b"".join(nfs.read_file("into/x")) == b"x"
    with pytest.raises(FileNotFoundError):
        next(nfs.read_file("missing"))
    nfs.remove_file("a", recursive=True)
    with pytest.raises(FileNotFoundError):
        nfs.remove_file("a")
    with pytest.raises(InvalidError):
        nfs.write_file("../out", io.BytesIO())
    told = []
    nfs.write_file("t", io.BytesIO(b"12"), lambda *a, **k: told.append((a, k)))
    assert told[-1][1] == {"advance": 2}
    assert nfs.hydrate().object_id.startswith("st-")
    with pytest.warns(DeprecationError), pytest.raises(NotFoundError):
        modal.NetworkFileSystem.from_name("missing").listdir("/")


def test_patterns_do_not_lead_out_of_a_network_file_system(nfs, outside):
    (nfs.local_path / "out").symlink_to(outside)
    assert [each.path for each in nfs.listdir("*")] == ["out"]
    assert nfs.listdir("*/*") == nfs.listdir("out/*") == []
    with pytest.raises(InvalidError):
        nfs.listdir("../*")


def test_network_file_systems_come_and_go(nfs):
    nfs.hydrate()
    with pytest.warns(DeprecationError):
        made = modal.NetworkFileSystem.create_deployed("other")
    assert made.startswith("st-")
    with pytest.warns(DeprecationError), pytest.raises(AlreadyExistsError):
        modal.NetworkFileSystem.create_deployed("other")
    modal.NetworkFileSystem.delete("shared")
    with pytest.raises(NotFoundError):
        modal.NetworkFileSystem.delete("shared")
    with pytest.raises(NotFoundError):
        nfs.listdir("/")
    with modal.NetworkFileSystem.ephemeral() as anonymous:
        anonymous.write_file("a", io.BytesIO(b"1"))
        assert [each.path for each in anonymous.listdir("/")] == ["a"]
    with pytest.raises(NotFoundError):
        anonymous.listdir("/")

    async def main():
        async with modal.NetworkFileSystem.ephemeral() as anonymous:
            await anonymous.write_file.aio("a", io.BytesIO(b"1"))
            assert [each.path async for each in anonymous.iterdir.aio("/")] == ["a"]
            assert [chunk async for chunk in anonymous.read_file.aio("a")] == [b"1"]

    asyncio.run(main())


# -- buckets ---------------------------------------------------------------------------------


def test_a_bucket_is_an_empty_directory(home):
    bucket = modal.CloudBucketMount("my.bucket", key_prefix="a/b/")
    assert bucket.local_path == home / "main" / "buckets" / "my.bucket" / "a" / "b"
    assert bucket.local_path.is_dir()
    for name in ("..", "a/../../b", "."):
        found = modal.CloudBucketMount(name).local_path
        assert found.parent == home / "main" / "buckets"
    with pytest.raises(InvalidError, match="leaves the volume"):
        modal.CloudBucketMount("b", key_prefix="../../").local_path


# -- the model -------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "a/a", "a/b", "b/a", "b/a/c"])


class Model(RuleBasedStateMachine):
    """A volume against a dict of paths to bytes, and a set of directories."""

    def __init__(self):
        super().__init__()
        self.block = modal.Volume.ephemeral(version=2)
        self.volume = self.block.__enter__()
        self.files = {}
        self.directories = set()

    def teardown(self):
        self.block.__exit__(None, None, None)

    def parents(self, path):
        parts = path.split("/")
        return ["/".join(parts[:n]) for n in range(1, len(parts))]

    @rule(files=st.dictionaries(NAMES, st.binary(max_size=3), max_size=3), force=st.booleans())
    def upload(self, files, force):
        fits = all(
            path not in self.directories
            and (force or path not in self.files)
            and not any(each in self.files or each in files for each in self.parents(path))
            for path in files
        )
        try:
            with self.volume.batch_upload(force=force) as batch:
                for path, data in files.items():
                    batch.put_file(io.BytesIO(data), f"/{path}")
        except FileExistsError:
            assert not fits
            return
        assert fits
        self.files |= files
        for path in files:
            self.directories.update(self.parents(path))

    @rule(path=NAMES, recursive=st.booleans())
    def remove(self, path, recursive):
        try:
            self.volume.remove_file(path, recursive=recursive)
        except FileNotFoundError:
            assert path not in self.files
            assert path not in self.directories
        except IsADirectoryError:
            assert path in self.directories
            assert not recursive
        else:
            assert path in self.files or (path in self.directories and recursive)
            self.files = {p: d for p, d in self.files.items() if not f"{p}/".startswith(f"{path}/")}
            self.directories = {p for p in self.directories if not f"{p}/".startswith(f"{path}/")}

    @rule(source=NAMES, to=NAMES)
    def copy(self, source, to):
        target = f"{to}/{source.rpartition('/')[2]}" if to in self.directories else to
        there = to in self.directories or not self.parents(to)
        there = there or self.parents(to)[-1] in self.directories
        fits = there and source in self.files and target != source
        fits = fits and target not in self.directories
        try:
            self.volume.copy_files([source], to)
        except OSError:
            assert not fits
            return
        assert fits
        self.files[target] = self.files[source]

    @invariant()
    def same(self):
        listed = {each.path: each.type for each in self.volume.iterdir("/")}
        assert listed == {
            **dict.fromkeys(self.files, FileEntryType.FILE),
            **dict.fromkeys(self.directories, FileEntryType.DIRECTORY),
        }
        for path, data in self.files.items():
            assert b"".join(self.volume.read_file(path)) == data


def test_model(home):
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        Model, settings=settings(max_examples=EXAMPLES, stateful_step_count=25, deadline=None)
    )


def test_the_home_of_these_tests(home):
    assert current_home() == home
