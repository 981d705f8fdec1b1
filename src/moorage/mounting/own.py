"""Mounts of one process: a container that is a process has its paths to itself.

Owns `OwnMounts`, what such a process is to mount, as the calling program has prepared it, and
`put_in_place`, which mounts it.  The process has called `namespace.enter` before, while it had one
thread, so that two functions of one program can have different volumes at one path.

The calling program knows the volumes and functions, so it has written all messages; what is not
known there, the reason why nothing is mounted, takes the place of `REASON`.

Begin at `put_in_place`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..exception import InvalidError
from .place import VARIABLE, Outcome, Wanted, state

REASON: Final = "\0"


@dataclass(frozen=True, slots=True)
class OwnMount:
    """One path, and what to say if it does not lead to its files."""

    wanted: Wanted
    missing: str  # nothing is at the path
    must_be_there: bool  # then the process does not start
    other: str  # something else is at the path, and stays there; "" to say nothing
    needed: str  # the same, because the program needs it; the reason is the file that is needed


@dataclass(frozen=True, slots=True)
class OwnMounts:
    """All paths of one process."""

    mounts: tuple[OwnMount, ...]
    records: str  # see `Place.mount`
    keep: tuple[str, ...]


def put_in_place(own: OwnMounts, warn: Callable[[str], object]) -> None:
    """Mount in the namespace of this process, which has a helper; without one, say why not.

    Args:
        own: the paths.
        warn: called with a message for each path that does not lead to its files.

    Raises:
        InvalidError: if a path is not there that the code surely needs.
    """
    helper = state.place
    why_not = "" if state.why_not is None else state.why_not.text
    wanted = [each.wanted for each in own.mounts]
    if helper is None:
        outcomes = [Outcome(each.path, "failed") for each in wanted]
    else:
        try:
            outcomes = helper.mount(wanted, records=own.records, keep=own.keep)
        except OSError as error:
            outcomes = [Outcome(each.path, "failed", str(error)) for each in wanted]
        if VARIABLE in os.environ:
            # The helper of the calling program is in another namespace than what starts here.
            os.environ[VARIABLE] = helper.variable
    for mount, outcome in zip(own.mounts, outcomes, strict=True):
        if outcome.is_in_place or _leads_to(mount.wanted):
            continue
        reason = why_not or f"it could not be mounted ({outcome.detail})"
        if outcome.how == "needed":
            warn(mount.needed.replace(REASON, outcome.detail))
        elif os.path.lexists(mount.wanted.path):
            if mount.other:
                warn(mount.other.replace(REASON, reason))
        elif mount.must_be_there:
            raise InvalidError(mount.missing.replace(REASON, reason))
        else:
            warn(mount.missing.replace(REASON, reason))


def _leads_to(wanted: Wanted) -> bool:
    try:
        return os.path.samefile(wanted.path, wanted.source)
    except OSError:
        return False
