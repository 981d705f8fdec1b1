"""Why a process cannot have a mount namespace of its own, in words.

Owns `explain`, which looks for what refused it: a container, a setting of the kernel, AppArmor.
Called by ``namespace.py``.
"""

from __future__ import annotations

import errno
import os

from .place import WhyNot

# What is left to those who cannot change the machine.
_ELSE = "--mounts=link, which makes symlinks, or --no-mounts"

_SETTINGS = "/proc/sys/"
_APPARMOR = "kernel/apparmor_restrict_unprivileged_userns"


def because(reason: str, what_to_do: str) -> WhyNot:
    """Return a reason in the form that all reasons have."""
    return WhyNot(f"mounts are off: {reason}; {what_to_do}")


def by_option() -> WhyNot:
    """Say that they were not wanted."""
    return because("--no-mounts was written", "without it, `moorage run` mounts the path")


def not_linux(system: str) -> WhyNot:
    """Say that mounts need Linux."""
    name = {"darwin": "macOS", "win32": "Windows"}.get(system, system)
    return because(f"they need Linux, and this is {name}", f"write {_ELSE}")


def threads(number: int) -> WhyNot:
    """Say that the process has threads already."""
    return because(
        f"this process has {number} threads before the program is imported, as debuggers and "
        "profilers start them, and the kernel gives a namespace only to a process with one",
        "start the debugger by `moorage mounts -- python -m DEBUGGER ...`",
    )


def explain(step: str, error: OSError) -> WhyNot:
    """Find out what refused a step of `namespace.enter`."""
    number = error.errno
    if setting("user/max_user_namespaces") == "0" or setting("user/max_mnt_namespaces") == "0":
        return because(
            "this system allows no user namespaces",
            f"write `sudo sysctl user.max_user_namespaces=10000`, or {_ELSE}",
        )
    if number in (errno.ENOSPC, errno.EUSERS):
        return because(
            "as many namespaces are in use as this system allows",
            "write `sudo sysctl user.max_user_namespaces=100000 user.max_mnt_namespaces=100000`, "
            f"or {_ELSE}",
        )
    if number in (errno.ENOSYS, errno.EINVAL) and step == "unshare":
        return because("this kernel has no user namespaces", f"write {_ELSE}")
    refused = number in (errno.EPERM, errno.EACCES)
    if refused and setting("kernel/unprivileged_userns_clone") == "0":
        return because(
            "this system lets only root make user namespaces",
            f"write `sudo sysctl kernel.unprivileged_userns_clone=1`, or {_ELSE}",
        )
    if refused and setting(_APPARMOR) not in (None, "0"):
        return because(
            "AppArmor keeps programs from making user namespaces, as in Ubuntu since 23.10",
            "write `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or give Python an "
            "AppArmor profile with `userns,`, or mount by hand with `bwrap --dev-bind / / --bind "
            "VOLUME_DIRECTORY /data moorage run --no-mounts ...` where bwrap is allowed to, or "
            f"write {_ELSE}",
        )
    if refused and is_container():
        return because(
            "this container must not make namespaces",
            "start it with `docker run --security-opt seccomp=unconfined --security-opt "
            f"apparmor=unconfined`, or write {_ELSE}",
        )
    if refused:
        return because(
            f"this system lets this user make no namespace ({step}: {error.strerror}), by seccomp, "
            "SELinux or a changed root directory",
            f"write {_ELSE}",
        )
    return because(f"{step} failed with {error}", f"write {_ELSE}")


def setting(name: str) -> str | None:
    """Return a setting of the kernel; None if the kernel does not have it."""
    try:
        with open(_SETTINGS + name, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def is_container() -> bool:
    """Whether this process seems to be in a container of Docker, Podman or Kubernetes."""
    there = ("/.dockerenv", "/run/.containerenv")
    return any(os.path.exists(each) for each in there) or "KUBERNETES_SERVICE_HOST" in os.environ
