"""Symlinks at the paths of volumes, with ``--mounts=link``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from moorage.mounting.made import Made
from placing.outside import wait_for

from .test_namespace import DEPLOYS, MOUNTS, until_removed
from .users import User

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched by pidfd")

LINK = """
import json, os, sys
import moorage
from moorage.mounting import links, place
from moorage.mounting.place import Wanted
from moorage.running.mounts import mount_all
entered = links.link()
app = moorage.App("linked")
volume = moorage.Volume.from_name("data", create_if_missing=True)
here = os.getcwd()
"""


@pytest.fixture
def user() -> Iterator[User]:
    """This user itself: links need no privileges."""
    made = User()
    yield made
    # The helper ends after its process.
    wait_for(lambda: made.left == [])
    made.remove()


def test_missing_paths_become_links_and_are_removed(user: User):
    (user.home / "mine").mkdir()
    (user.home / "mine" / "own").touch()
    (user.home / "right").symlink_to(user.volumes / "data")
    program = (
        LINK
        + """
other = moorage.Volume.from_name("other", create_if_missing=True)
image = moorage.Image.debian_slim().add_local_dir(here, here + "/files")
def others():
    return moorage.Volume.from_name("other")

def another():
    return moorage.Volume.from_name("data")

volumes = {
    here + "/data": volume, here + "/a/b/c": another(), here + "/data/below": other,
    here + "/mine": others(), here + "/right": another(),
    here + "/sub": volume.with_mount_options(sub_path="x/y"), here + "/files/below": others(),
}
@app.function(volumes=volumes, image=image)
def f():
    with open(here + "/data/file", "w") as file:
        file.write("text")
    return os.listdir(here + "/mine"), open(here + "/a/b/c/file").read()

@app.function(volumes={here + "/data": other})
def g():
    return os.listdir(here + "/data/below")

outcomes = mount_all(app)
hows = {each.path.removeprefix(here): each.how for each in outcomes}
assert hows == {
    "/files": "linked", "/data": "taken", "/a/b/c": "linked", "/data/below": "linked",
    "/mine": "kept", "/right": "there", "/sub": "linked", "/files/below": "failed",
}, hows
print(place.line(outcomes))
moorage.config.mounts = "ignore"
with app.run():
    assert f.remote() == (["own"], "text")
    assert g.remote() == []
assert os.readlink(here + "/a/b/c") == str(volume.local_path)
"""
    )
    done = user.run(program)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert "symlinks replace nothing" in done.stderr
    assert "all functions of a program see the same" in done.stderr
    assert done.stdout.startswith(f"linked: {user.home}")
    # The records of what is made for a while are in the directory for data, and gone.
    assert sorted(os.listdir(user.home)) == [".local", "mine", "right", "store"]
    assert os.listdir(user.home / ".local/share/moorage") == []
    assert os.listdir(user.home / "mine") == ["own"]
    assert sorted(os.listdir(user.volumes / "data")) == ["file", "x"]


@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM", "error", "replaced"])
def test_links_are_removed_however_the_program_ends(user: User, end: str):
    program = (
        LINK
        + """
outcomes = entered.mount(
    [Wanted(here + "/dir/link", str(volume.local_path))], records=here + "/store/.made"
)
assert outcomes[0].how == "linked", outcomes
if sys.argv[1] == "replaced":
    os.unlink(here + "/dir/link")
    os.mkdir(here + "/dir/link")
if sys.argv[1] == "error":
    raise ValueError("mine")
print(os.getpid(), flush=True)
if sys.argv[1] != "replaced":
    sys.stdin.read()
"""
    )
    if end in ("error", "replaced"):
        done = user.run(program, end)
        assert ("ValueError: mine" in done.stderr) == (end == "error")
    else:
        process = user.start(program, end)
        pid = int(process.stdout.readline())
        assert (user.home / "dir" / "link").is_symlink()
        os.kill(pid, getattr(signal, end))
        process.communicate(timeout=60)
        until_removed(user.home / "dir")
    if end == "replaced":
        assert os.path.isdir(user.home / "dir" / "link")
        assert not os.path.islink(user.home / "dir" / "link")
    else:
        assert not os.path.lexists(user.home / "dir")


def test_the_last_of_two_programs_removes_the_link(user: User):
    program = (
        LINK
        + """
outcomes = entered.mount(
    [Wanted(here + "/link", str(volume.local_path))], records=here + "/store/.made"
)
print(outcomes[0].how, flush=True)
sys.stdin.read()
assert os.path.samefile(here + "/link", volume.local_path)
"""
    )
    one = user.start(program)
    assert one.stdout.readline() == "linked\n"
    two = user.start(program)
    assert two.stdout.readline() == "there\n"
    assert one.communicate("", timeout=60) == ("", "")
    assert (user.home / "link").is_symlink()
    assert two.communicate("", timeout=60) == ("", "")
    assert not os.path.lexists(user.home / "link")


def test_what_a_power_failure_left_is_removed_by_the_next_program(user: User):
    target = user.volumes / "data"
    target.mkdir(parents=True)
    made = Made()
    made.make(str(user.home / "store" / ".made"), str(user.home / "link"), "link", str(target))
    for held in made._held:
        os.close(held.lock)
    assert (user.home / "link").is_symlink()
    user.succeeds(
        LINK
        + """
outcomes = entered.mount(
    [Wanted(here + "/link", str(volume.local_path))], records=here + "/store/.made"
)
assert outcomes[0].how == "there"
"""
    )
    assert not os.path.lexists(user.home / "link")


def test_links_of_a_program_that_deploys_from_code(user: User):
    script = user.home / "prog.py"
    script.write_text(DEPLOYS.replace("/moorage/data", str(user.home / "moorage/data")))
    path = user.home / "of-script"
    python = os.path.realpath(sys.executable)
    done = user.run(MOUNTS, "links", python, str(script), str(path), "one")
    assert (done.returncode, done.stdout, done.stderr) == (7, "one\n", "")
    until_removed(path)
    until_removed(user.home / "moorage")
