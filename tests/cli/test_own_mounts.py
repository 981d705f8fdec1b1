"""The paths of containers that are processes: each function has its own, without the command line.

All programs run in processes of their own (``users.py``), as a user's and as root's.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from placing.outside import wait_for

from .users import STRANGER, User, skip_if_refused

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="mount namespaces are Linux's"),
    pytest.mark.usefixtures("root_directory"),
]

IS_ROOT = os.geteuid() == 0

BEGIN = """
import errno, os, sys, moorage
from moorage import Image, Processes, Volume
app = moorage.App("paths")
a = Volume.from_name("a", create_if_missing=True)
b = Volume.from_name("b", create_if_missing=True)

def refused(call, *args):
    try:
        call(*args)
    except OSError as error:
        return errno.errorcode[error.errno]

def write(path, text):
    with open(path, "w") as file:
        file.write(text)
"""


@pytest.fixture(scope="module")
def everybody() -> Iterator[User]:
    """A user without privileges."""
    made = User(STRANGER if IS_ROOT else None)
    yield made
    made.remove()


def nothing_is_left() -> bool:
    return not [name for name in os.listdir("/") if "moorage" in name]


@pytest.fixture(params=["user", "root"] if IS_ROOT else ["user"])
def anybody(request: pytest.FixtureRequest, everybody: User) -> Iterator[User]:
    """The user; and root, if this is root."""
    user = User() if request.param == "root" else everybody
    skip_if_refused(user)
    yield user
    # The helpers end after their processes.
    wait_for(lambda: nothing_is_left() and user.left == [])
    if user is not everybody:
        user.remove()


@pytest.mark.parametrize("start", ["zygote", "spawn"])
def test_two_functions_have_different_volumes_at_one_path(anybody: User, start: str):
    anybody.succeeds(
        BEGIN
        + """
@app.function(volumes={"/moorage/data": a})
def of_a(x):
    write("/moorage/data/file", f"a{x}")
    return os.path.samefile("/moorage/data", a.local_path)

@app.function(volumes={"/moorage/data": b}, image=Image.debian_slim().workdir("/moorage/data"))
def of_b(x):
    write("file", f"b{x}")
    return os.path.samefile(".", b.local_path)

@app.cls(volumes={"/moorage/data": a, "/moorage/data/below": b.read_only()})
class Both:
    @moorage.enter()
    def enter(self):
        self.seen = open("/moorage/data/file").read(), open("/moorage/data/below/file").read()

    @moorage.method()
    def look(self):
        return self.seen, refused(write, "/moorage/data/below/file", "")

with app.run(placement=Processes(start=sys.argv[1])):
    assert of_a.remote(1)
    assert of_b.remote(2)
    assert Both().look.remote() == (("a1", "b2"), "EROFS")
    # A variant has its own.
    assert not of_a.with_options(volumes={"/moorage/data": b}).remote(3)
    assert not os.path.exists("/moorage/data/file")
assert (a.local_path / "file").read_text() == "a1"
assert (b.local_path / "file").read_text() == "a3"
""",
        start,
    )


def test_each_container_has_its_own_copy_of_the_files_of_an_image(anybody: User):
    files = anybody.own_directory("files")
    anybody.succeeds(
        BEGIN
        + """
files = sys.argv[1]
write(files + "/file", "text")
bucket = moorage.CloudBucketMount("pail", read_only=True)

@app.function(
    image=Image.debian_slim().add_local_dir(files, "/moorage/files"),
    volumes={"/moorage/bucket": bucket},
    max_containers=2,
)
def change(x):
    there = os.listdir("/moorage/files")
    write(f"/moorage/files/{x}", "")
    assert refused(write, "/moorage/bucket/x", "") == "EROFS"
    return there

import logging
logging.getLogger("moorage").setLevel("ERROR")  # that the bucket has no objects
with app.run(placement="process"):
    assert change.remote(1) == ["file"]
    assert change.with_options(timeout=9).remote(2) == ["file"]
assert os.listdir(files) == ["file"]
""",
        str(files),
    )


def test_one_function_reads_where_another_one_writes(anybody: User):
    anybody.succeeds(
        "from moorage.mounting import namespace; namespace.enter()\n"
        + BEGIN
        + """
from moorage.running.mounts import mount_all

@app.function(volumes={"/moorage/data": a})
def writes():
    write("/moorage/data/file", "written")

@app.function(volumes={"/moorage/data": a.read_only()})
def reads():
    return open("/moorage/data/file").read(), refused(write, "/moorage/data/file", "")

@app.function(volumes={"/moorage/data": b})
def another():
    return os.path.samefile("/moorage/data", b.local_path)

# As `moorage run` does: the program itself sees the first one, and no warning is given.
moorage.config.placement = "process"
assert [each.how for each in mount_all(app)] == ["mounted", "mounted", "taken"]
with app.run():
    writes.remote()
    assert reads.remote() == ("written", "EROFS")
    assert another.remote()
"""
    )


def test_a_path_below_which_the_program_is_stays_as_it_is(everybody: User):
    skip_if_refused(everybody)
    done = everybody.run(
        BEGIN
        + """
@app.function(volumes={os.environ["HOME"]: a}, max_containers=3, single_use_containers=True)
def look(x):
    return os.path.samefile(os.environ["HOME"], a.local_path)

with app.run(placement="process"):
    assert not any(look.map(range(3)))
"""
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("has files of this program") == 1, done.stderr


REFUSED = """
import os
from moorage.mounting import syscalls as sys_
uid = os.geteuid()
sys_.unshare(sys_.CLONE_NEWUSER | sys_.CLONE_NEWNS)
for name, text in (("self/setgroups", "deny"), ("self/uid_map", f"0 {uid} 1"),
                   ("sys/user/max_user_namespaces", "0"), ("sys/user/max_mnt_namespaces", "0")):
    with open(f"/proc/{name}", "w") as file:
        file.write(text)
"""


def test_where_the_kernel_refuses_a_container_starts_as_threads_do(everybody: User):
    skip_if_refused(everybody)
    done = everybody.run(
        REFUSED
        + BEGIN
        + """
from moorage.exception import InvalidError

@app.function(volumes={"/moorage/data": a})
def lacks():
    pass

@app.function(volumes={"/usr": a}, max_containers=2, single_use_containers=True)
def has_another(x):
    return os.path.exists("/usr/bin")

@app.function(volumes={str(a.local_path): a})
def has():
    return True

with app.run(placement="process"):
    try:
        lacks.remote()
    except InvalidError as error:
        assert "nothing is at that path" in str(error), error
        assert "mounts are off: this system allows no user namespaces" in str(error), error
    else:
        raise AssertionError
    assert all(has_another.map(range(4)))
    assert has.remote()
"""
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("has something else, which has_another uses") == 1, done.stderr


def test_mounts_that_are_not_wanted_are_not_made(everybody: User):
    skip_if_refused(everybody)
    everybody.succeeds(
        BEGIN
        + """
@app.function(volumes={"/moorage/data": a})
def look():
    return os.path.exists("/moorage/data"), os.stat("/proc/self/ns/mnt").st_ino

moorage.config.mounts = "ignore"
with app.run(placement="process"):
    assert look.remote() == (False, os.stat("/proc/self/ns/mnt").st_ino)
"""
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_made_goes_with_the_program(anybody: User, number: int):
    room = anybody.own_directory(f"room-{number}")
    process = anybody.start(
        BEGIN
        + """
room = sys.argv[1]

@app.function(volumes={room + "/made": a, "/moorage/data": b}, min_containers=1)
def look():
    write(room + "/made/file", "")
    print("here", flush=True)
    import threading
    threading.Event().wait()

with app.run(placement="process"):
    look.remote()
""",
        str(room),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    assert os.listdir(room) == ["made"]
    os.kill(process.pid, number)
    process.communicate(timeout=100)
    wait_for(lambda: os.listdir(room) == [])
    assert (anybody.volumes / "a" / "file").exists()
