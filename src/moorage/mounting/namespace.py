"""A mount namespace of its own for this process.

Owns `enter`, which the command line calls before it imports a program, and `run`, the command
``moorage mounts``.  What the process sees is what it saw before, and paths that only it sees can be
added by its helper (``helper.py``, ``paths.py``).

1. The helper is forked, and makes a mount namespace.  A user needs a user namespace for that, in
   which this user has the same number; all others appear as 65534.  Who has CAP_SYS_ADMIN needs
   none.
2. In it, a tmpfs becomes the root, into which every entry of the old root is bound, with the mounts
   below it.  Root, who can make directories in ``/``, keeps the old root.
3. When all this is done, the process joins the namespaces.  So nothing has changed for the process
   if a step is refused: e.g. AppArmor allows the namespace, and refuses the mounts in it.
4. The process gives up the capabilities that come with the user namespace: it can do what it could
   do before, and no more.  The helper keeps its own.

The kernel gives a user namespace only to a process with one thread.

Begin at `enter`, then `_build`, then `_join`.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from ..runtime.real import Real
from . import helper, why_not
from . import syscalls as sys_
from .helper import StepError
from .paths import Paths, bind_entry, tmpfs
from .place import VARIABLE, Place, WhyNot, state

_NAMESPACES: Final = ("user", "mnt")


@dataclass(frozen=True, slots=True)
class _Plan:
    new_user: bool  # a user namespace
    new_root: bool  # a tmpfs as root


def enter(*, outlives_exec: bool = False) -> Place | WhyNot:
    """Give this process a mount namespace of its own, and a helper that mounts in it.

    Call it before a program is imported, with one thread.  Nothing has changed if it returns the
    reason why it is not possible.  All other files, the current directory and the number of the
    user stay as they are.  Files of others appear as those of 65534, and setuid programs have no
    effect, unless this is root.

    Args:
        outlives_exec: the program will be another one, by ``exec`` in this process.
    """
    state.place = None
    found = _enter(outlives_exec)
    if isinstance(found, WhyNot):
        state.why_not = found
    else:
        state.place, state.why_not = found, None
        # At the end of the interpreter, after what the program registers.
        atexit.register(found.close)
    return found


def stay_out() -> WhyNot:
    """Have no mounts, because ``--no-mounts`` was written.  Errors about paths say so."""
    state.place, state.why_not = None, why_not.by_option()
    return state.why_not


def _enter(outlives_exec: bool) -> Place | WhyNot:
    if sys.platform != "linux":
        return why_not.not_linux(sys.platform)
    number = len(os.listdir("/proc/self/task"))
    if number > 1:
        return why_not.threads(number)
    is_admin = sys_.has_capability(sys_.CAP_SYS_ADMIN)
    plan = _Plan(new_user=not is_admin, new_root=not (is_admin and os.access("/", os.W_OK)))
    try:
        place, opened = helper.start("namespace", lambda: _make(plan), outlives_exec=outlives_exec)
    except StepError as failed:
        return why_not.explain(failed.step, failed.error)
    except OSError as error:
        return why_not.explain("a helper", error)
    try:
        _join(plan, *opened)
    except OSError as error:
        place.close()
        return why_not.explain("setns", error)
    finally:
        for descriptor in opened:
            Real.close(descriptor)
    return place


def _make(plan: _Plan) -> tuple[Paths, list[int]]:
    """Make the namespaces.  Runs in the helper.  Returns what the process needs to join them."""
    _build(plan)
    paths = Paths(root_is_ours=plan.new_root, has_power=not plan.new_user or os.geteuid() == 0)
    opened = [os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in _NAMESPACES]
    opened.append(os.open("/", os.O_PATH | os.O_CLOEXEC))
    return paths, opened


def _join(plan: _Plan, user: int, mounts: int, root: int) -> None:
    """Join the namespaces of the helper."""
    try:
        here = Real.getcwd()
    except OSError:
        here = None  # the directory was removed, or is outside of the root
    old = os.open(".", os.O_PATH | os.O_CLOEXEC)
    try:
        if plan.new_user:
            sys_.setns(user, sys_.CLONE_NEWUSER)
        sys_.setns(mounts, sys_.CLONE_NEWNS)
        if not os.path.samestat(os.stat("/"), os.fstat(root)):
            os.fchdir(root)  # this process had a root directory of its own
            os.chroot(".")
        try:
            os.fchdir(old) if here is None else os.chdir(here)
        except OSError:
            os.fchdir(old)  # this user may be there, and may not look the directory up
    finally:
        Real.close(old)
    if plan.new_user:
        sys_.drop_capabilities()


def _build(plan: _Plan) -> None:
    """Have this process, the helper, make the namespaces."""
    uid, gid = os.geteuid(), os.getegid()
    flags = sys_.CLONE_NEWNS | (sys_.CLONE_NEWUSER if plan.new_user else 0)
    step = "unshare"
    try:
        sys_.unshare(flags)
        if plan.new_user:
            step = "uid_map"
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"{uid} {uid} 1")
            _write("/proc/self/gid_map", f"{gid} {gid} 1")
        step = "mount"
        # What is mounted outside later is seen here too, and nothing of ours outside.
        sys_.mount(None, "/", None, sys_.MS_REC | sys_.MS_SLAVE)
        if plan.new_root:
            step = "root"
            _new_root()
    except OSError as error:
        raise StepError(step, error)


def _new_root() -> None:
    """Make a tmpfs the root, with the entries of the old root."""
    old = "/.moorage-old-root"
    base = next(
        each for each in ("/tmp", *map("/".__add__, os.listdir("/"))) if os.path.isdir(each)
    )
    tmpfs(base)
    os.mkdir(base + old)
    sys_.pivot_root(base, base + old)
    for name in os.listdir(old):
        bind_entry(f"{old}/{name}", f"/{name}")
    sys_.umount(old)
    os.rmdir(old)
    # Nobody could write there before, and what is written to a tmpfs is lost.
    os.chmod("/", 0o555)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        Real.write(descriptor, text.encode())
    finally:
        Real.close(descriptor)


def run(command: Sequence[str], *, links: bool = False) -> NoReturn:
    """Run another program in this process, whose volumes are mounted: ``moorage mounts -- ...``.

    Its functions find their paths when their containers start.  Does not return.

    Args:
        command: the program and its arguments, e.g. ``["python", "prog.py"]``.
        links: make symlinks (``--mounts=link``).

    Raises:
        SystemExit: if there are no mounts (1, with the reason), the program cannot be run (126), or
            is not there (127), as shells have it.
    """
    if links:
        from .links import link

        place: Place | WhyNot = link(outlives_exec=True)
    else:
        place = enter(outlives_exec=True)
    if isinstance(place, WhyNot):
        raise SystemExit(f"moorage mounts: {place.text}")
    try:
        os.execvpe(command[0], list(command), {**os.environ, VARIABLE: place.variable})
    except OSError as error:
        place.close()
        print(f"moorage mounts: {command[0]}: {error.strerror}", file=sys.stderr)
        raise SystemExit(127 if isinstance(error, FileNotFoundError) else 126)
