"""The paths of volumes in a program with a mount namespace of its own, as a user's and as root's.

All programs run in processes of their own (``users.py``).  They are skipped only where the kernel
lets no user make a namespace: another skip fails (``conftest.py``).
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from placing.outside import wait_for

from .users import STRANGER, User, skip_if_refused

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="mount namespaces are Linux's"),
    pytest.mark.usefixtures("root_directory"),
]

IS_ROOT = os.geteuid() == 0

# What the command line does before it imports a program.
ENTER = """
import errno, json, os, subprocess, sys, threading
from moorage.mounting import namespace, place
entered = namespace.enter()
assert isinstance(entered, place.Place), entered
import moorage
from moorage.running.mounts import mount_all
from moorage.mounting.place import Wanted
app = moorage.App("paths")
volume = moorage.Volume.from_name("data", create_if_missing=True)

def refused(call, *args):
    try:
        call(*args)
    except OSError as error:
        return errno.errorcode[error.errno]
"""


@pytest.fixture(scope="module")
def everybody() -> Iterator[User]:
    """A user without privileges."""
    made = User(STRANGER if IS_ROOT else None)
    yield made
    made.remove()


@pytest.fixture(scope="module")
def allowed(everybody: User) -> User:
    skip_if_refused(everybody)
    return everybody


@pytest.fixture
def user(allowed: User) -> Iterator[User]:
    """The user, with nothing left of other tests, and of this one."""
    yield allowed
    # The helpers end after their processes.
    wait_for(lambda: at_the_root() == [] and allowed.left == [])


@pytest.fixture(params=["user", "root"] if IS_ROOT else ["user"])
def anybody(request: pytest.FixtureRequest) -> Iterator[User]:
    """The user; and root, if this is root."""
    if request.param == "user":
        yield request.getfixturevalue("user")
        return
    root = User()
    yield root
    wait_for(lambda: at_the_root() == [] and root.left == [])
    root.remove()


def at_the_root() -> list[str]:
    """What these tests have in the root directory; other programs may be busy there."""
    return [name for name in os.listdir("/") if "moorage" in name]


def ended(pid: int) -> bool:
    """Wait until a process has ended."""
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watch], [], [], 60)[0])
    finally:
        os.close(watch)


# -- what a program sees --------------------------------------------------------------------------


WRITES = (
    ENTER
    + """
@app.function(volumes={"/moorage-data": volume})
def write(name):
    with open("/moorage-data/" + name, "a") as file:
        file.write("1")
    os.rename("/moorage-data/" + name, "/moorage-data/" + name + ".done")
    by_shell = subprocess.run(["cat", f"/moorage-data/{name}.done"], capture_output=True)
    assert by_shell.stdout == b"1", by_shell
    assert os.path.samefile("/moorage-data", volume.local_path)
    return sorted(os.listdir("/moorage-data"))

here, me = os.getcwd(), os.geteuid()
outcomes = mount_all(app)
assert [each.how for each in outcomes] == ["mounted"], outcomes
print(place.line(outcomes))
with app.run():
    print(*write.remote(sys.argv[1]))
assert (os.getcwd(), os.geteuid(), os.getuid()) == (here, me, int(sys.argv[2]))
assert os.path.samefile(".", os.environ["HOME"])
assert threading.active_count() > 1  # and new ones see the same
"""
)


def test_what_one_program_writes_another_one_reads(anybody: User):
    one = anybody.succeeds(WRITES, "one", str(anybody.uid))
    assert one == "mounted: /moorage-data\none.done\n"
    assert anybody.succeeds(WRITES, "two", str(anybody.uid)).split("\n")[1] == "one.done two.done"
    assert sorted(os.listdir(anybody.volumes / "data")) == ["one.done", "two.done"]
    assert not os.path.lexists("/moorage-data")


def test_paths_of_all_kinds(user: User):
    locked = user.room / "locked"
    (locked / "directory").mkdir(parents=True)
    (locked / "file").write_text("text")
    (locked / "link").symlink_to("file")
    (locked / "nothing").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(locked / "socket"))
    locked.chmod(0o555)
    secret = user.room / "secret"
    secret.mkdir(mode=0o700 if IS_ROOT else 0o000)
    there = user.own_directory("there")
    (there / "own").touch()
    known = user.room / "known"
    (known / "secretly").mkdir(parents=True)
    known.chmod(0o711 if IS_ROOT else 0o111)
    program = (
        ENTER
        + """
locked, secret, there, known = sys.argv[1:]
volume = moorage.Volume.from_name("kinds", create_if_missing=True)
names = sorted(os.listdir(locked))
paths = [
    "/mnt/moorage/models", "/moorage-vol/nested", "/root/.cache/huggingface/moorage",
    locked + "/a/b", locked + "/c", secret + "/.cache/x", there, os.getcwd() + "/made/by/program",
]
for path in [*paths, known + "/x", "/proc/moorage", locked + "/file/x", "/dev/moorage"]:
    app.function(volumes={path: volume}, name=path.replace("/", "-"))(lambda: None)
outcomes = mount_all(app)
(volume.local_path / "marker").touch()
for path, outcome in zip(paths, outcomes):
    assert outcome.how == "mounted", outcome
    assert os.listdir(path) == ["marker"], path
assert [each.how for each in outcomes[len(paths):]] == ["failed"] * 4, outcomes
assert "neither" in outcomes[len(paths)].detail, outcomes
# What was there is there, and nobody can write where nobody could.
assert sorted(os.listdir(locked)) == sorted(["a", "c", *names])
assert open(locked + "/link").read() == open(locked + "/file").read() == "text"
assert os.path.islink(locked + "/nothing") and os.path.isdir(locked + "/directory")
for path in ("/moorage-new", "/moorage-vol/new", locked + "/new", locked + "/a/new"):
    assert refused(os.mkdir, path) == "EACCES", path
os.mkdir(os.getcwd() + "/made/new")
os.rmdir(os.getcwd() + "/made/new")
assert os.path.isdir(known + "/secretly")
"""
    )
    try:
        user.succeeds(program, *map(str, (locked, secret, there, known)))
        assert os.listdir(there) == ["own"]
        assert not (user.home / "made").exists()
        assert sorted(os.listdir(locked)) == ["directory", "file", "link", "nothing", "socket"]
        assert os.listdir(user.volumes / "kinds") == ["marker"]
    finally:
        for each in (locked, secret, known):
            each.chmod(0o755)


def test_the_look_of_the_containers(user: User):
    program = (
        ENTER
        + """
import logging
said = []
class Handler(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage())
logging.getLogger("moorage").addHandler(Handler())
logging.getLogger("moorage").propagate = False
other = moorage.Volume.from_name("other", create_if_missing=True)
sub = other.with_mount_options(sub_path="some/where")
image = moorage.Image.debian_slim().add_local_dir(os.getcwd(), os.getcwd())

@app.function(volumes={"/moorage/a": volume, "/moorage/a/sub": sub})
def first():
    return os.path.samefile("/moorage/a/sub", other.local_path / "some/where")

@app.function(volumes={"/moorage/a": other})
def second():
    return os.path.samefile("/moorage/a", other.local_path)

@app.function(volumes={os.environ["HOME"]: other}, image=image)
def third():
    return os.path.samefile(os.environ["HOME"], other.local_path)

@app.function(volumes={"/moorage/missing": moorage.Volume.from_name("never-made")})
def fourth():
    return None

@app.function(volumes={"/proc/moorage": other})
def never():
    return None

assert not os.path.exists("/moorage/later")
outcomes = {each.path: each.how for each in mount_all(app)}
with app.run():
    assert first.remote()
    assert not second.remote()
    assert not third.remote()

    @app.function(volumes={"/moorage/later": other})
    def later():
        return os.path.samefile("/moorage/later", other.local_path)

    assert later.remote()
    try:
        never.remote()
    except moorage.exception.InvalidError as error:
        assert "could not be mounted (nothing is mounted below" in str(error), error
    else:
        raise AssertionError
    try:
        fourth.remote()
    except moorage.exception.NotFoundError as error:
        assert "never-made" in str(error)
    else:
        raise AssertionError
taken, needed = sorted(said, key=lambda text: "this program" in text)
for part in ("second", "/moorage/a", "'other'", "'data' of first", "another path"):
    assert part in taken, taken
for part in ("third", os.environ["HOME"], "left alone", "files of this program"):
    assert part in needed, needed
assert os.listdir(other.local_path) == ["some"]
"""
    )
    user.succeeds(program)
    assert "sub" not in os.listdir(user.volumes / "data")


def test_what_is_written_into_a_directory_of_an_image_goes_with_the_program(anybody: User):
    files = anybody.room / "added"
    for folder in (files, files / "sub", files / "gone"):
        folder.mkdir()
    for file in (files / "file", files / "sub" / "other"):
        file.write_text("text")
    # Files of a group that is not the user's own cannot be written: see docs/guides/resources.md.
    for each in (files, *files.rglob("*")):
        anybody.own(each)
        if anybody.uid != os.geteuid():
            os.chown(each, -1, anybody.uid)
    program = (
        ENTER
        + """
files = sys.argv[1]
image = moorage.Image.debian_slim().add_local_dir(files, "/moorage/files")
image = image.add_local_file(files + "/file", "/moorage/files/more/copy")

@app.function(image=image, volumes={"/moorage/files/data": volume})
def f():
    for path in ("file", "new", "sub/other", "sub/new", "data/kept"):
        with open(f"/moorage/files/{path}", "w") as file:
            file.write("changed")
    os.mkdir("/moorage/files/made")
    os.rmdir("/moorage/files/gone")
    os.rename("/moorage/files/sub/new", "/moorage/files/sub/renamed")
    assert sorted(os.listdir("/moorage/files")) == ["data", "file", "made", "more", "new", "sub"]
    assert open("/moorage/files/more/copy").read() == "text"
    assert os.stat("/moorage/files").st_uid == os.stat(files).st_uid
    return open("/moorage/files/file").read()

@app.function(image=image)
def g():
    return open("/moorage/files/file").read()

with app.run():
    assert f.remote() == g.remote() == "changed"
assert open(files + "/file").read() == "text"
assert sorted(os.listdir(files)) == ["file", "gone", "sub"]
assert os.listdir(files + "/sub") == ["other"]
"""
    )
    user = anybody
    user.succeeds(program, str(files))
    assert (user.volumes / "data" / "kept").read_text() == "changed"
    assert sorted(os.listdir(files)) == ["file", "gone", "sub"]


def test_read_only_mounts_refuse(anybody: User):
    files = anybody.room / "files"
    files.mkdir(exist_ok=True)
    anybody.own(files)
    (files / "file").write_text("text")
    anybody.own(files / "file")
    program = (
        ENTER
        + """
files = sys.argv[1]
image = moorage.Image.debian_slim().add_local_dir(files, "/moorage/files")
image = image.add_local_file(files + "/file", "/moorage/one/file")
bucket = moorage.CloudBucketMount("bucket", read_only=True)
names = ("both", "more", "mixed", "deeper", "option")
both, more, mixed, deeper, option = (
    moorage.Volume.from_name(name, create_if_missing=True) for name in names
)

@app.function(image=image, volumes={
    "/moorage/ro": volume.read_only(), "/moorage/ro/rw/deep": both, "/moorage/files/rw": more,
    "/moorage/option": option.with_mount_options(read_only=True, sub_path="sub"),
    "/moorage/bucket": bucket, "/moorage/mixed": mixed.read_only(),
    "/moorage/ro/rw/deep/er": deeper.read_only(),
})
def f():
    for path in ("ro", "option", "bucket", "ro/rw/deep/er"):
        assert refused(open, f"/moorage/{path}/new", "w") == "EROFS", path
        assert refused(os.mkdir, f"/moorage/{path}/new") == "EROFS", path
    assert refused(open, "/moorage/one/file", "w") == "EROFS"
    assert open("/moorage/one/file").read() == open("/moorage/files/file").read() == "text"
    for path in ("ro/rw/deep", "files/rw", "mixed"):
        with open(f"/moorage/{path}/new", "w") as file:
            file.write(path)
    assert os.path.samefile("/moorage/option", option.local_path / "sub")
    # What another program writes there is seen.
    (volume.local_path / "later").touch()
    assert "later" in os.listdir("/moorage/ro")
    (deeper.local_path / "later").touch()
    assert os.path.exists("/moorage/ro/rw/deep/er/later")

@app.function(volumes={"/moorage/mixed": mixed})
def g():
    pass

outcomes = mount_all(app)
assert all(each.how == "mounted" for each in outcomes), outcomes
import logging
logging.getLogger("moorage").setLevel("ERROR")  # that the bucket has no objects
with app.run():
    f.remote()
"""
    )
    anybody.succeeds(program, str(files))
    assert os.listdir(files) == ["file"]
    assert "rw" not in os.listdir(anybody.volumes / "data")
    assert os.listdir(anybody.volumes / "both") == ["new"]


def test_config_that_ignores_mounts_mounts_nothing(user: User):
    user.succeeds(
        ENTER
        + """
@app.function(volumes={"/moorage/data": volume})
def f():
    return os.path.exists("/moorage")

moorage.config.mounts = "ignore"
assert mount_all(app) == []
with app.run():
    assert not f.remote()
"""
    )


def test_files_of_others_appear_as_those_of_65534(user: User):
    user.succeeds(
        ENTER
        + """
assert os.stat("/etc/passwd").st_uid == 65534
assert os.stat(os.environ["HOME"]).st_uid == os.getuid() == int(sys.argv[1])
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status"))
for kind in ("Prm", "Eff", "Inh", "Amb"):
    assert int(status["Cap" + kind], 16) == 0, kind
assert refused(os.chmod, "/etc/passwd", 0o644) == "EPERM"
# Programs may have namespaces of their own.
assert subprocess.run(["unshare", "-Ur", "id", "-u"], capture_output=True).stdout == b"0\\n"
""",
        str(user.uid),
    )


if IS_ROOT:

    def test_root_stays_root():
        root = User()
        root.succeeds(
            ENTER
            + """
assert os.stat("/etc/passwd").st_uid == 0
path = sys.argv[1] + "/other"
open(path, "w").close()
os.chown(path, 1234, 1234)
assert os.stat(path).st_uid == 1234
""",
            str(root.home),
        )
        root.remove()


def test_root_without_a_place_for_directories(user: User):
    # Root of a user namespace, who may mount, and whose root directory belongs to somebody else.
    program = """
import os
from moorage.mounting import syscalls as sys_
uid, gid = os.geteuid(), os.getegid()
sys_.unshare(sys_.CLONE_NEWUSER | sys_.CLONE_NEWNS)
for name, text in (
    ("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")
):
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
""" + (
        ENTER
        + """
outcomes = entered.mount([Wanted("/moorage/data", str(volume.local_path))])
assert outcomes[0].how == "mounted"
open("/moorage/data/by-root", "w").close()
assert refused(os.mkdir, "/moorage-new") == "EROFS"
assert refused(os.mkdir, "/moorage/new") == "EROFS"
"""
    )
    user.succeeds(program)


# -- the helper -----------------------------------------------------------------------------------


HOLDS = (
    """
import socket
listener = socket.create_server(("127.0.0.1", 0))
held = open(__import__("os").environ["HOME"] + "/held", "w")
"""
    + ENTER
    + """
made = os.getcwd() + "/made"
for each in entered.mount(
    [Wanted("/moorage/x", str(volume.local_path)), Wanted(made, str(volume.local_path))],
    records=os.environ["MOORAGE_HOME"] + "/.made",
):
    assert each.how == "mounted", each
pid = entered.pid
"""
)


def test_the_helper_has_nothing_of_the_program(user: User):
    program = (
        HOLDS
        + """
# No child of this program, which would wait for it.
try:
    os.wait()
except ChildProcessError:
    pass
else:
    raise AssertionError
# Who does not know the token is not answered.
stranger = place.Place("namespace", entered._address, "x" * 32)
try:
    stranger.mount([Wanted("/moorage/stranger", str(volume.local_path))])
except ConnectionError:
    pass
else:
    raise AssertionError
assert not os.path.exists("/moorage/stranger")
# A forked child can ask too, and its end is not the program's.
child = os.fork()
if child == 0:
    assert entered.mount([Wanted("/moorage/child", str(volume.local_path))])[0].how == "mounted"
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
# It lives on at Ctrl-C, and at a stop of the terminal's group.
import signal
for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    os.kill(pid, name)
assert os.path.isdir("/moorage/child")
assert entered.mount([Wanted("/moorage/y", str(volume.local_path))])[0].how == "mounted"
# Many threads ask at once.
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    asked = [
        pool.submit(entered.mount, [Wanted(f"/moorage/t/{n % 10}", str(volume.local_path))])
        for n in range(40)
    ]
    assert all(each.result()[0].how == "mounted" for each in asked)
print(os.getpid(), pid, flush=True)
sys.stdin.read()
"""
    )
    process = user.start(program)
    try:
        parent, helper = map(int, process.stdout.readline().split())
        links = [os.readlink(each) for each in Path(f"/proc/{helper}/fd").iterdir()]
        # Its socket, the program's pidfd, and the locks of a record and of what was made.
        assert sum(link.endswith("/null") for link in links) == 3, links
        assert sum(link.startswith("socket:") for link in links) == 1, links
        assert sum("pidfd" in link for link in links) == 1, links
        assert sum("/.made/" in link for link in links) == 1, links
        assert len(links) == 7, links
        assert os.readlink(f"/proc/{helper}/cwd") == "/"
        assert os.getsid(helper) != os.getsid(parent)
    finally:
        out, err = process.communicate("", timeout=60)
    assert (out, err, process.returncode) == ("", "", 0)
    assert ended(helper)
    assert not (user.home / "made").exists()


@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM", "error", "end"])
def test_the_helper_ends_with_the_program(user: User, end: str):
    program = (
        HOLDS
        + """
# A child that lives on, and has inherited all.
child = os.fork()
if child == 0:
    print(json.dumps([os.getpid(), os.getppid(), pid]))
    sys.stdin.read()
    os._exit(0)
if sys.argv[1] == "error":
    raise ValueError("mine")
if sys.argv[1] != "end":
    os.waitpid(child, 0)
"""
    )
    process = user.start(program, end)
    try:
        child, parent, helper = json.loads(process.stdout.readline())
        assert (user.home / "made").is_dir() or not end.startswith("SIG")
        if end.startswith("SIG"):
            os.kill(parent, getattr(signal, end))
        assert ended(parent)
        assert ended(helper)
        assert not (user.home / "made").exists()
    finally:
        _, err = process.communicate("", timeout=60)
        assert ("ValueError: mine" in err) == (end == "error")
    assert ended(child)


def test_a_helper_that_was_killed_is_said(user: User):
    user.succeeds(
        ENTER
        + """
import signal, select
pid = entered.pid
watch = os.pidfd_open(pid)
os.kill(pid, signal.SIGKILL)
select.select([watch], [], [])

@app.function(volumes={"/moorage/data": volume})
def f():
    pass

assert mount_all(app)[0].how == "failed"
with app.run():
    try:
        f.remote()
    except moorage.exception.InvalidError as error:
        assert "could not be mounted" in str(error), error
    else:
        raise AssertionError
"""
    )


@contextmanager
def started(
    user: User, program: str, environments: Iterable[dict[str, str]]
) -> Iterator[list[subprocess.Popen[str]]]:
    """Start a program once in each environment; none of them is left."""
    programs = [user.start(program, **environment) for environment in environments]
    try:
        yield programs
    finally:
        for each in programs:
            if each.poll() is None:
                each.kill()
                each.communicate()


# Appends what it reads to a file of its volume.
APPENDS = """
print("ready")
for line in sys.stdin:
    with open(path + "/file", "a") as file:
        file.write(line)
    print("written")
"""


def test_two_programs_share_what_was_made(user: User):
    program = (
        ENTER
        + """
path = os.getcwd() + "/both/data"
volume = moorage.Volume.from_name("both", create_if_missing=True)
outcomes = entered.mount(
    [Wanted(path, str(volume.local_path))], records=os.environ["MOORAGE_HOME"] + "/.made"
)
assert outcomes[0].how == "mounted", outcomes
"""
        + APPENDS
    )
    with started(user, program, ({}, {})) as (one, two):
        assert one.stdout.readline() == two.stdout.readline() == "ready\n"
        out, err = one.communicate("one\n", timeout=60)
        assert (out, err, one.returncode) == ("written\n", "", 0)
        assert (user.home / "both" / "data").is_dir()  # the other one needs it
        out, err = two.communicate("two\n", timeout=60)
        assert (out, err, two.returncode) == ("written\n", "", 0)
    assert not (user.home / "both").exists()
    assert (user.volumes / "both" / "file").read_text() == "one\ntwo\n"


def test_programs_with_different_homes_share_what_was_made(user: User):
    program = (
        ENTER
        + """
path = os.getcwd() + "/both/data"

@app.function(volumes={path: volume})
def f():
    pass

assert [each.how for each in mount_all(app)] == ["mounted"]
"""
        + APPENDS
    )
    homes = [str(user.home / name) for name in ("one", "two")]
    with started(user, program, [{"MOORAGE_HOME": home} for home in homes]) as (one, two):
        assert one.stdout.readline() == two.stdout.readline() == "ready\n"
        for each in (one, two):  # the other one needs it, or it is the last one
            out, err = each.communicate("text\n", timeout=60)
            assert (out, err, each.returncode) == ("written\n", "", 0)
    assert not (user.home / "both").exists()
    for home in homes:
        assert Path(home, "main/volumes/data/file").read_text() == "text\n"


@pytest.mark.skipif(not IS_ROOT, reason="needs two users")
def test_programs_of_two_users_need_one_path(user: User):
    program = (
        ENTER
        + """
path = sys.argv[1]
outcomes = entered.mount([Wanted(path, str(volume.local_path))], records=os.getcwd() + "/.made")
assert [each.how for each in outcomes] == ["mounted"], outcomes
print("ready")
for line in sys.stdin:
    with open(path + "/file", "a") as file:
        file.write(line)
"""
    )
    root = User()
    path = str(user.home / "both" / "data")
    try:
        of_root, of_user = root.start(program, path), None
        try:
            assert of_root.stdout.readline() == "ready\n"
            of_user = user.start(program, path)
            assert of_user.stdout.readline() == "ready\n"
            for process in (of_root, of_user):
                out, err = process.communicate("text\n", timeout=60)
                assert (out, err, process.returncode) == ("", "", 0)
        finally:
            for process in (of_root, of_user):
                if process is not None and process.poll() is None:
                    process.kill()
                    process.communicate()
        for each in (root, user):
            assert (each.volumes / "data" / "file").read_text() == "text\n"
        # The user could not remove it, and root's next program does.
        assert root.left != []
        assert os.path.isdir(path)
        assert root.succeeds(program, path) == "ready\n"
        assert root.left == []
        assert not (user.home / "both").exists()
    finally:
        root.remove()


def test_a_directory_of_the_user_is_not_removed(user: User):
    empty = user.own_directory("empty")
    program = (
        ENTER
        + """
path = os.getcwd() + "/empty/new"
outcomes = entered.mount(
    [Wanted(os.getcwd() + "/empty", str(volume.local_path)),
     Wanted(os.getcwd() + "/filled/data", str(volume.local_path))],
    records=os.environ["MOORAGE_HOME"] + "/.made",
)
assert all(each.how == "mounted" for each in outcomes), outcomes
open(os.getcwd() + "/filled/mine", "w").close()
"""
    )
    user.succeeds(program)
    assert os.listdir(empty) == []
    assert os.listdir(user.home / "filled") == ["mine"]


def test_a_namespace_in_a_namespace(user: User):
    inner = (
        ENTER
        + """
assert os.path.samefile("/moorage/outer", volume.local_path)
assert entered.mount([Wanted("/moorage/inner", str(volume.local_path))])[0].how == "mounted"
open("/moorage/inner/by-inner", "w").close()
"""
    )
    program = (
        ENTER
        + """
assert entered.mount([Wanted("/moorage/outer", str(volume.local_path))])[0].how == "mounted"
done = subprocess.run([sys.executable, "-c", sys.argv[1]], capture_output=True, text=True)
assert done.returncode == 0, done.stderr
assert not os.path.exists("/moorage/inner")
assert os.path.exists("/moorage/outer/by-inner")
"""
    )
    user.succeeds(program, inner)


# -- where it is impossible -----------------------------------------------------------------------


SAYS = """
import os, sys
from moorage.mounting import namespace, place, syscalls, why_not
def check(*parts):
    before = os.getcwd(), os.listdir("/"), os.readlink("/proc/self/ns/mnt"), os.geteuid()
    found = namespace.enter()
    assert isinstance(found, place.WhyNot), found
    for part in ("mounts are off: ", *parts):
        assert part in found.text, found.text
    assert "\\n" not in found.text
    assert place.state.why_not is found and place.current() is None
    assert before == (
        os.getcwd(), os.listdir("/"), os.readlink("/proc/self/ns/mnt"), os.geteuid()
    )
"""


def test_a_refusal_changes_nothing_and_is_said(everybody: User):
    everybody.succeeds(
        SAYS
        + """
def refuses(number):
    def call(*args):
        raise OSError(number, os.strerror(number))
    return call

settings = {}
why_not.setting = settings.get
why_not.is_container = lambda: False
real = syscalls.unshare, syscalls.mount, syscalls.setns
for name in ("unshare", "mount"):
    syscalls.unshare, syscalls.mount, syscalls.setns = real
    setattr(syscalls, name, refuses(1))
    syscalls.unshare = syscalls.unshare if name == "unshare" else lambda flags: None
    namespace._write = lambda path, text: None
    check(name, "Operation not permitted", "--mounts=link")
syscalls.unshare = refuses(28)
check("as many namespaces", "sysctl user.max_user_namespaces")
settings["user/max_user_namespaces"] = "0"
check("allows no user namespaces", "sysctl user.max_user_namespaces=")
settings.clear()
syscalls.unshare = refuses(22)
check("kernel has no user namespaces", "--mounts=link")
syscalls.unshare = refuses(1)
why_not.is_container = lambda: True
check("container", "seccomp=unconfined", "--mounts=link")
settings["kernel/apparmor_restrict_unprivileged_userns"] = "1"
check("AppArmor", "sysctl kernel.apparmor_restrict_unprivileged_userns=0", "bwrap", "link")
settings["kernel/unprivileged_userns_clone"] = "0"
check("only root", "sysctl kernel.unprivileged_userns_clone=1")
syscalls.unshare = real[0]
sys.platform = "darwin"
check("they need Linux, and this is macOS", "--mounts=link")
sys.platform = "linux"
syscalls.unshare = refuses(1)
check("only root")
import moorage
app = moorage.App()
volume = moorage.Volume.from_name("data", create_if_missing=True)
@app.function(volumes={"/moorage/data": volume})
def f():
    pass
with app.run():
    try:
        f.remote()
    except moorage.exception.InvalidError as error:
        assert "mounts are off: this system lets only root" in str(error), error
        assert "volume.local_path" in str(error)
    else:
        raise AssertionError
    assert len(os.listdir("/proc/self/task")) > 1
    check("threads", "moorage mounts -- python -m DEBUGGER")
"""
    )


def test_a_limit_of_the_kernel_is_said(user: User):
    user.succeeds(
        """
import os
from moorage.mounting import syscalls as sys_
uid = os.geteuid()
sys_.unshare(sys_.CLONE_NEWUSER)
for path, text in (
    ("self/setgroups", "deny"), ("self/uid_map", f"{uid} {uid} 1"),
    ("sys/user/max_user_namespaces", "0"),
):
    with open(f"/proc/{path}", "w") as file:
        file.write(text)
sys_.drop_capabilities()
"""
        + SAYS
        + """
check("allows no user namespaces", "sysctl user.max_user_namespaces=", "--mounts=link")
"""
    )


# -- `moorage mounts -- python prog.py` -----------------------------------------------------------


DEPLOYS = """
import os, sys
import moorage
app = moorage.App("deployed")
volume = moorage.Volume.from_name("deployed", create_if_missing=True)

@app.function(volumes={"/moorage/data": volume})
def f():
    open("/moorage/data/" + sys.argv[2], "w").close()
    return sorted(os.listdir("/moorage/data"))

@app.function(volumes={sys.argv[1]: volume})
def g():
    return sorted(os.listdir(sys.argv[1]))

app.deploy()
assert f.remote() == g.remote()
print(*g.remote())
app.stop()
sys.exit(7)
"""

MOUNTS = """
import sys
from moorage.mounting import namespace
namespace.run(sys.argv[2:], links=sys.argv[1] == "links")
"""


def test_a_program_that_deploys_from_code(user: User):
    script = user.own_directory("script") / "prog.py"
    script.write_text(DEPLOYS)
    path = user.home / "of-script"
    python = os.path.realpath(sys.executable)
    done = user.run(MOUNTS, "namespace", python, str(script), str(path), "one")
    assert (done.returncode, done.stdout, done.stderr) == (7, "one\n", "")
    for command, code, word in (
        (["moorage-no-such-command"], 127, "No such file"),
        ([str(script)], 126, "Permission denied"),
    ):
        done = user.run(MOUNTS, "namespace", *command)
        assert (done.returncode, done.stdout) == (code, "")
        assert word in done.stderr
    until_removed(path)


def until_removed(path: Path) -> None:
    """Wait until the helper of a program that did not end by itself has cleaned up."""
    deadline = time.monotonic() + 60
    while os.path.lexists(path) and time.monotonic() < deadline:
        helpers = [watch for pid in helpers_here() if (watch := watch_of(pid)) is not None]
        # Other programs of this machine may have helpers, too, which go on.
        select.select(helpers, [], [], 0.05)
        for helper in helpers:
            os.close(helper)
    assert not os.path.lexists(path)


def helpers_here() -> list[int]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path(f"/proc/{pid}/comm").read_text() == "moorage-mounts\n":
                found.append(int(pid))
        except OSError:
            pass
    return found


def watch_of(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def test_mounts_without_a_namespace_says_why(everybody: User):
    done = everybody.run(
        """
import sys
from moorage.mounting import namespace
sys.platform = "darwin"
namespace.run(["true"])
"""
    )
    assert done.returncode == 1
    assert done.stderr.startswith("moorage mounts: mounts are off: they need Linux")
