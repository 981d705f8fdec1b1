"""The system calls that mounts need, on Linux.

Owns the numbers of the flags, and the calls into the C library.  Each call raises an OSError with
the path.  Python has `os.unshare` and `os.setns` from 3.12 on, and none of the others.

Called by ``namespace.py`` and ``paths.py``.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from typing import Final

CLONE_NEWNS: Final = 0x00020000  # mounts
CLONE_NEWUSER: Final = 0x10000000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_NOATIME: Final = 1024
MS_NODIRATIME: Final = 2048
MS_BIND: Final = 4096
MS_MOVE: Final = 8192
MS_REC: Final = 16384
MS_SLAVE: Final = 1 << 19
MS_RELATIME: Final = 1 << 21
MNT_DETACH: Final = 2

CAP_SYS_ADMIN: Final = 21
_CAPABILITY_VERSION_3: Final = 0x20080522
_PR_SET_NAME: Final = 15

# The flags of a mount that statvfs() shows, by their numbers there, which differ for the last one.
_SHOWN: Final = {
    1: MS_RDONLY,
    2: MS_NOSUID,
    4: MS_NODEV,
    8: MS_NOEXEC,
    1024: MS_NOATIME,
    2048: MS_NODIRATIME,
    4096: MS_RELATIME,
}


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, path: str | None = None) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


def unshare(flags: int) -> None:
    """Give this process, which has one thread, new namespaces."""
    if sys.version_info >= (3, 12):
        os.unshare(flags)
    else:
        _check(_libc().unshare(flags))


def setns(descriptor: int, kind: int) -> None:
    """Have this process, which has one thread, join a namespace."""
    if sys.version_info >= (3, 12):
        os.setns(descriptor, kind)
    else:
        _check(_libc().setns(descriptor, kind))


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """Call mount(2)."""
    result = _libc().mount(
        None if source is None else os.fsencode(source),
        os.fsencode(target),
        None if kind is None else kind.encode(),
        ctypes.c_ulong(flags),
        data.encode() or None,
    )
    _check(result, target)


def umount(target: str) -> None:
    """Take the topmost mount away from a path, though files there may be open."""
    _check(_libc().umount2(os.fsencode(target), MNT_DETACH), target)


def pivot_root(new: str, old: str) -> None:
    """Make the mount at `new` the root, and put the root that was before at `old`."""
    _check(_libc().pivot_root(os.fsencode(new), os.fsencode(old)), new)


def remount(target: str, *, read_only: bool) -> None:
    """Make a bind mount read-only, or writable again.

    The other flags stay: the kernel refuses to take away what the mount has from outside.
    """
    shown = os.statvfs(target).f_flag
    flags = sum(flag for number, flag in _SHOWN.items() if shown & number) & ~MS_RDONLY
    mount(None, target, None, MS_REMOUNT | MS_BIND | flags | (MS_RDONLY if read_only else 0))


def has_capability(number: int) -> bool:
    """Whether this process has a capability in its user namespace."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("CapEff:"):
                    return bool(int(line.split()[1], 16) >> number & 1)
    except OSError:
        pass
    return False


def drop_capabilities() -> None:
    """Give up all capabilities of this process."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _check(_libc().capset(header, (ctypes.c_uint32 * 6)()))


def name_process(name: str) -> None:
    """Set what ``ps`` shows as the name of this process."""
    _libc().prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
