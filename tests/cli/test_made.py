"""What programs make on the disk for as long as they run, and who of them removes it."""

from __future__ import annotations

import os
import random
import sys
import threading
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("locks of POSIX", allow_module_level=True)

from moorage.mounting import made as made_module
from moorage.mounting.made import Made


@pytest.fixture
def records(tmp_path: Path) -> str:
    return str(tmp_path / "records")


def test_the_last_user_removes(tmp_path: Path, records: str):
    path = str(tmp_path / "made")
    one, two, three = Made(), Made(), Made()
    one.make(records, path, "directory")
    two.make(records, path, "directory")
    three.join(records, path + "/below")
    assert all((one, two, three))
    one.remove()
    three.remove()
    assert os.path.isdir(path)
    two.remove()
    assert not os.path.exists(path)
    assert not os.path.exists(records)


@pytest.mark.parametrize("asks", [1, 2])
def test_of_two_that_end_at_the_same_time_one_removes(
    tmp_path: Path, records: str, monkeypatch: pytest.MonkeyPatch, asks: int
):
    path = str(tmp_path / "made")
    below = path + "/below"
    one, two = Made(), Made()
    for each in (one, two):
        for made in (path, below):
            each.make(records, made, "directory")
        assert each.hold(below)
    asked = []

    def ask(held):
        answer = is_last(held)
        asked.append(held)
        if len(asked) == asks:
            two.remove()  # while `one` is at its end, too
        return answer

    is_last = made_module._is_last
    monkeypatch.setattr(made_module, "_is_last", ask)
    one.remove()
    assert os.listdir(tmp_path) == []


def test_what_is_the_users_own_stays(tmp_path: Path, records: str):
    own = tmp_path / "own"
    own.mkdir()
    made = Made()
    made.make(records, str(own), "directory")
    made.join(records, str(own))
    assert not made
    for name in ("filled", "replaced", "written"):
        made.make(records, str(tmp_path / name), "file" if name == "written" else "directory")
    (tmp_path / "filled" / "file").touch()
    (tmp_path / "replaced").rmdir()
    (tmp_path / "replaced").symlink_to(own)
    (tmp_path / "written").write_text("mine")
    made.make(records, str(tmp_path / "link"), "link", str(own))
    made.remove()
    assert sorted(os.listdir(tmp_path)) == ["filled", "own", "replaced", "written"]
    # The next one takes none of it for its own.
    made.join(records, str(tmp_path / "filled"))
    assert not made


def test_what_cannot_be_made_is_an_error(tmp_path: Path, records: str):
    made = Made()
    with pytest.raises(FileNotFoundError):
        made.make(records, str(tmp_path / "missing" / "below"), "directory")
    made.remove()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"kind": "link"}'])
def test_a_damaged_record_removes_nothing(tmp_path: Path, records: str, text: bytes):
    path = tmp_path / "made"
    made = Made()
    made.make(records, str(path), "directory")
    (record,) = Path(records).iterdir()
    record.write_bytes(text)
    made.remove()
    assert path.is_dir()
    assert not os.path.exists(records)


def test_the_records_go_while_they_are_made(tmp_path: Path, records: str, monkeypatch):
    """Another program removes the directory after `mkdir` has seen it."""
    os.mkdir(records)
    is_dir = Path.is_dir

    def is_gone(path: Path) -> bool:
        if str(path) == records and is_dir(path):
            monkeypatch.setattr(Path, "is_dir", is_dir)
            os.rmdir(records)
            return False
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", is_gone)
    made = Made()
    made.make(records, str(tmp_path / "made"), "directory")
    assert Path.is_dir is is_dir
    made.remove()
    assert os.listdir(tmp_path) == []
    Path(records).write_text("no directory")
    with pytest.raises(FileExistsError):
        made.make(records, str(tmp_path / "made"), "directory")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.usefixtures("often_switching")
def test_many_come_and_go(tmp_path: Path, records: str, seed: int, in_threads):
    paths = [str(tmp_path / "a"), str(tmp_path / "a" / "b"), str(tmp_path / "link")]
    kinds = ("directory", "directory", "link")
    inside = threading.Lock()

    def comes_and_goes(number: int) -> None:
        choose = random.Random(seed * 100 + number)
        for _ in range(20):
            made = Made()
            for path, kind in zip(paths, kinds, strict=True):
                if not made.stays(records, path):
                    made.make(records, path, kind, str(tmp_path) if kind == "link" else "")
            with inside if choose.random() < 0.2 else threading.Lock():
                # While somebody uses them, they are there.
                assert all(map(os.path.lexists, paths))
            made.remove()

    for each in [in_threads(comes_and_goes, number) for number in range(4)]:
        each.result()
    assert os.listdir(tmp_path) == []
