"""Mounts: where a function finds the files of its volumes.

Owns `Mount`, one path that a function asks for; which mounts a function or app has; and what
happens when a container starts, for each path:
    1. If the program has a helper that mounts (``mounting/place.py``), it is asked to mount.
    2. The path is the volume's directory, or leads there: that is how it should be.
    3. The path is something else that is there: it is left alone, with one warning for each run of
       the program.
    4. The path is not there: the container does not start, and the error says what to write.
Without a helper, this file changes nothing on the disk but the directories of the home.

``app.py`` makes the mounts of a function (`mounts_from`), ``services.py`` has them looked at.  The
command line calls `mount_all` when it has imported a program.

Begin at `look_at_mounts`.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol

from .. import config
from ..arguments import fs_path, is_dict
from ..cloud_bucket_mount import CloudBucketMount
from ..declaring.needs import Volumes
from ..exception import Error, InvalidError
from ..image import AddedFiles, Image
from ..mounting import place, why_not
from ..mounting.own import REASON, OwnMount, OwnMounts
from ..mounting.place import Outcome, Wanted
from ..network_file_system import NetworkFileSystem
from ..placing.placements import placements_of_configuration
from ..runtime.background import log
from ..runtime.real import Real
from ..stores.home import home, records_of_made
from ..volume import Volume

_log: Final = logging.getLogger("moorage")

Mounted = Volume | NetworkFileSystem | CloudBucketMount | AddedFiles
"""What a function asks for at a path."""

RELATIVE: Final = (
    ": a relative path begins at the current directory; write Path(__file__).parent / ... for "
    "files beside the program"
)

# What the program asked for already had its warning, by path and object.  Single operations.
Warned = dict[tuple[str, str], object]


@dataclass(frozen=True, slots=True)
class Mount:
    """One path at which a function wants files."""

    path: str  # absolute, as in the container
    what: Mounted

    @property
    def read_only(self) -> bool:
        """Whether the function cannot write there, if something mounts it."""
        if isinstance(self.what, Volume):
            return self.what._mounts_read_only
        if isinstance(self.what, CloudBucketMount):
            return self.what.read_only
        return isinstance(self.what, AddedFiles)

    def source(self) -> Path:
        """Return the directory or file of this machine to put at the path.

        A directory of the home is made if it is not there.

        Raises:
            NotFoundError: if the volume is not there, and its handle does not make it.
        """
        if isinstance(self.what, CloudBucketMount):
            return self.what.local_path
        if isinstance(self.what, AddedFiles):
            return Path(self.what.local_path).absolute()
        return self.what._mounted()

    @property
    def shown(self) -> str:
        """The object, for messages."""
        if isinstance(self.what, CloudBucketMount):
            return f"the bucket {self.what.bucket_name!r}"
        if isinstance(self.what, AddedFiles):
            return f"what the image adds from {self.what.local_path!r}"
        kind = "volume" if isinstance(self.what, Volume) else "file system"
        name = self.what._record.name if self.what._record is not None else self.what._name
        return f"the {kind} {name!r}" if name else f"a {kind} without a name"

    def is_in_place(self) -> bool:
        """Whether the path leads to the files already."""
        if not os.path.exists(self.path):
            return False  # so that no volume is made for a look
        try:
            return os.path.samefile(self.path, self.source())
        except (OSError, Error):
            return False


def lacks_volumes(mounts: Iterable[Mount]) -> bool:
    """Whether a path of a volume or bucket does not lead to its files."""
    return any(
        not isinstance(mount.what, AddedFiles) and not mount.is_in_place() for mount in mounts
    )


class HasMounts(Protocol):
    """The service of a variant with volumes of its own."""

    @property
    def mounts(self) -> tuple[Mount, ...]: ...
    @property
    def shown_with_volumes(self) -> str: ...


def mounts_from(image: Image | None, *mounts: Mapping[Any, Mounted]) -> tuple[Mount, ...]:
    """Return the mounts of a function: of its image, and of its arguments, the later counting."""
    found: dict[str, Mount] = {}
    if isinstance(image, Image):
        for files in image._files:
            found[files.remote_path] = Mount(files.remote_path, files)
    for each in mounts:
        if is_dict(each):  # in strict mode, anything else is refused later
            for given, what in each.items():
                path = PurePosixPath(fs_path("a path in volumes", given)).as_posix()
                if isinstance(what, Volume | NetworkFileSystem | CloudBucketMount | AddedFiles):
                    found[path] = Mount(path, what)
    return tuple(found.values())


def mounts_with(mounts: tuple[Mount, ...], volumes: Volumes | None) -> tuple[Mount, ...]:
    """Return the mounts of a variant: its own volumes in the place of those of the function.

    The files of the image stay, and network file systems.
    """
    if volumes is None:
        return mounts
    found = {
        mount.path: mount
        for mount in mounts
        if not isinstance(mount.what, Volume | CloudBucketMount)
    }
    return tuple(
        (found | {path: Mount(path, what) for path, what in volumes.mounts.items()}).values()
    )


def mounts_of(app: Any) -> dict[str, tuple[Mount, ...]]:
    """Return the mounts of all functions and classes of an app, and of the apps it includes.

    The keys are the names of the functions and classes; those without mounts are left out.  A
    variant with volumes of its own that the program holds has a key such as
    ``f.with_options(volumes={'/data': 'other'})``.
    """
    found: dict[str, tuple[Mount, ...]] = {}
    for runs in app._runs.with_included():
        found.update({name: mounts for name, mounts in runs.mounts.copy().items() if mounts})
        variants = [(each.shown_with_volumes, each.mounts) for each in [*runs.with_volumes]]
        found.update(sorted(variants, key=lambda each: each[0]))
    return found


def look_at_mounts(name: str, mounts: Iterable[Mount], warned: Warned) -> None:
    """Look where the mounts of a function are.  Called when a container of it starts.

    Args:
        name: the function.
        mounts: its mounts.
        warned: the warnings that were given; those of this call are added.

    Raises:
        InvalidError: if a path of a volume is not there, or a volume is mounted twice.
        NotFoundError: if a volume is not there, and its handle does not make it.
    """
    if _are_ignored():
        return
    mounts = tuple(mounts)
    outcomes = _put_in_place([(name, mount) for mount in mounts], warned)
    _check_that_none_is_mounted_twice(name, mounts)
    for mount, outcome in zip(mounts, outcomes, strict=True):
        if outcome is None or outcome.how in ("mounted", "linked", "there", "failed"):
            _look(name, mount, warned, _way_out(outcome))
        else:
            mount.source()  # is the volume there?  Of the path, the warning has been given


def mounts_of_process(name: str, mounts: Iterable[Mount], warned: Warned) -> OwnMounts | None:
    """Look at the mounts of a function whose container is a process, before it starts.

    Returns what the process is to mount for itself, in a namespace of its own; None if nothing is
    left to mount, or the user has chosen symlinks or no mounts.

    Args:
        name, mounts, warned: see `look_at_mounts`.

    Raises:
        InvalidError, NotFoundError: see `look_at_mounts`.
    """
    mounts = tuple(mounts)
    if _are_ignored():
        return None
    if not _may_mount_for_itself():
        look_at_mounts(name, mounts, warned)
        return None
    _check_that_none_is_mounted_twice(name, mounts)
    own: list[OwnMount] = []
    for mount in mounts:
        source = mount.source()
        added = isinstance(mount.what, AddedFiles)
        if added and not source.exists():
            _look(name, mount, warned, "")
            continue
        _warn_of_bucket(mount, warned)
        # Nothing enforces that a path is read-only which leads to the files already.
        if mount.is_in_place() and (added or not mount.read_only):
            continue
        wanted = Wanted(mount.path, str(source), mount.read_only, "", not added, is_copy=added)
        own.append(
            OwnMount(
                wanted,
                missing=_text_of_missing(name, mount, REASON),
                must_be_there=_must_be_there(mount),
                # The program's own files may be at their own path.
                other="" if added else _text_of_other(name, mount, REASON),
                needed=_text_of_needed(name, mount, REASON),
            )
        )
    return OwnMounts(tuple(own), str(records_of_made()), tuple(_needed())) if own else None


def _may_mount_for_itself() -> bool:
    if sys.platform != "linux" or place.state.why_not == why_not.by_option():
        return False
    helper = place.current()
    return helper is None or helper.way == "namespace"


def _are_ignored() -> bool:
    if config.mounts not in ("look", "ignore"):
        raise InvalidError(
            f'moorage.config.mounts must be "look" or "ignore", got {config.mounts!r}; '
            'write moorage.config.mounts = "look"'
        )
    return config.mounts == "ignore"


def _check_that_none_is_mounted_twice(name: str, mounts: Iterable[Mount]) -> None:
    seen: dict[str, str] = {}
    for mount in mounts:
        if isinstance(mount.what, Volume):
            before = seen.setdefault(mount.what._found().object_id, mount.path)
            if before != mount.path:
                raise InvalidError(
                    f"{name} mounts {mount.shown} twice, at {before!r} and {mount.path!r}; "
                    "write one of the two paths"
                )


def mount_all(app: Any) -> list[Outcome]:
    """Have all paths of an app lead to their files, if this program has a helper that mounts.

    Called when the program has been imported.  Paths that are known later only, e.g. by
    `with_options`, are mounted when a container starts.  Returns what became of each path;
    warnings have been given, and errors are those of the containers that do not start.
    """
    if config.mounts == "ignore":
        return []
    asked = [(name, mount) for name, mounts in mounts_of(app).items() for mount in mounts]
    # Containers that are processes mount for themselves: their paths may differ.
    placements = placements_of_configuration()
    apart = {
        name
        for name, _ in asked
        if placements is not None and placements.of(name.partition(".with_options(")[0])
    }
    found = _put_in_place(asked, app._runs.warned, apart)
    return [outcome for outcome in found if outcome is not None]


def _put_in_place(
    asked: Sequence[tuple[str, Mount]], warned: Warned, apart: Container[str] = ()
) -> Sequence[Outcome | None]:
    """Ask the helper to mount.  Returns None for what it was not asked for.

    Args:
        asked: the mounts, with the names of their functions.
        warned: see `look_at_mounts`.
        apart: the functions that mount for themselves, if another one has their path here.
    """
    outcomes: list[Outcome | None] = [None] * len(asked)
    helper = place.current()
    if helper is None:
        return outcomes
    numbers: list[int] = []
    wanted: list[Wanted] = []
    for number, (name, mount) in enumerate(asked):
        try:
            source = mount.source()
        except (OSError, Error):
            continue  # said when a container starts
        added = isinstance(mount.what, AddedFiles)
        if added and not source.exists():
            continue
        numbers.append(number)
        shown = f"{mount.shown} of {name}"
        wanted.append(
            Wanted(mount.path, str(source), mount.read_only, shown, not added, is_copy=added)
        )
    try:
        answers = helper.mount(wanted, records=str(records_of_made()), keep=_needed())
    except OSError as error:
        answers = [Outcome(each.path, "failed", str(error)) for each in wanted]
    for number, outcome in zip(numbers, answers, strict=True):
        outcomes[number] = outcome
        name, mount = asked[number]
        if outcome.how == "taken" and name not in apart:
            _warn(
                warned,
                mount,
                "%s mounts %s at %s, where %s is mounted: all functions of a program see the "
                "same; write another path in one of them",
                name,
                mount.shown,
                mount.path,
                outcome.detail,
            )
        elif outcome.how == "needed":
            _warn(warned, mount, "%s", _text_of_needed(name, mount, outcome.detail))
        elif outcome.how == "kept" and not isinstance(mount.what, AddedFiles):
            _warn(
                warned,
                mount,
                "%s is to be at %s, where this machine has something else, which %s uses: "
                "symlinks replace nothing; the files of the volume are in %s",
                mount.shown,
                mount.path,
                name,
                mount.source(),
            )
    return outcomes


def _needed() -> list[str]:
    """Return the directories that this program would not run without."""
    here = sys.modules.get("__main__")
    try:
        needed = [Real.getcwd()]
    except OSError:
        needed = []
    main: str | None = getattr(here, "__file__", None)
    needed += [] if main is None else [os.path.dirname(os.path.abspath(main))]
    needed += [os.path.dirname(os.path.dirname(os.path.abspath(__file__))), os.path.expanduser("~")]
    needed += [sys.prefix, sys.base_prefix, sys.exec_prefix]
    needed += [str(home()), str(records_of_made().parent)]
    needed += [path for path in sys.path if os.path.isabs(path)]
    return [path for path in needed if os.path.isabs(path)]


def _way_out(outcome: Outcome | None) -> str:
    """Return who mounts a path, or why nobody does, for messages."""
    if outcome is not None and outcome.how == "failed":
        return f"it could not be mounted ({outcome.detail})"
    if place.state.why_not is not None:
        return place.state.why_not.text
    return "`moorage run` mounts it"


def _look(name: str, mount: Mount, warned: Warned, way_out: str) -> None:
    mount.source()  # also where the path is something else: is the volume there?
    is_there = os.path.lexists(mount.path)
    if isinstance(mount.what, AddedFiles) and is_there:
        return  # such as the program's own files at their own path
    if mount.is_in_place():
        _warn_of_bucket(mount, warned)
    elif is_there:
        _warn(warned, mount, "%s", _text_of_other(name, mount, way_out))
    elif _must_be_there(mount):
        raise InvalidError(_text_of_missing(name, mount, way_out))
    else:
        _warn(warned, mount, "%s", _text_of_missing(name, mount, way_out))


def _must_be_there(mount: Mount) -> bool:
    return isinstance(mount.what, Volume | NetworkFileSystem)


def _warn_of_bucket(mount: Mount, warned: Warned) -> None:
    if isinstance(mount.what, CloudBucketMount):
        _warn(
            warned,
            mount,
            "%s at %s is an empty directory of this machine, %s: the objects of the bucket "
            "are not there",
            mount.shown,
            mount.path,
            mount.source(),
        )


def _text_of_other(name: str, mount: Mount, way_out: str) -> str:
    """Say that something else is at a path."""
    return (
        f"{mount.shown} is to be mounted at {mount.path}, where this machine has something else, "
        f"which {name} uses: the files of the volume are in {mount.source()}; {way_out}"
    )


def _text_of_missing(name: str, mount: Mount, way_out: str) -> str:
    """Say that nothing is at a path."""
    source = mount.source()
    if _must_be_there(mount):
        return (
            f"{name} mounts {mount.shown} at {mount.path!r}, and nothing is at that path of this "
            f"machine; the files are in {str(source)!r}, which is volume.local_path: "
            f"{way_out}. Without mounts, `ln -s` makes the path lead there; write "
            f'moorage.config.mounts = "ignore" if the function does not use the path'
        )
    if isinstance(mount.what, AddedFiles) and not source.exists():
        is_relative = not os.path.isabs(mount.what.local_path)
        return (
            f"{mount.shown} is to be at {mount.path}, and there is no {source}"
            f"{RELATIVE if is_relative else ''}"
        )
    place = f"{mount.shown} is to be at {mount.path}"
    return f"{place}, which is not there; it is in {source}: {way_out}"


def _text_of_needed(name: str, mount: Mount, needed: str) -> str:
    """Say that the program needs what is at a path."""
    return (
        f"{mount.shown} is to be mounted at {mount.path}, which has files of this program "
        f"({needed}): the path is left alone, and {name} uses what is there; write another path"
    )


def is_new(warned: Warned, text: str) -> bool:
    """Note that a text is logged; return whether that is the first time."""
    mark = object()
    return warned.setdefault(("", text), mark) is mark


def _warn(warned: Warned, mount: Mount, message: str, *args: object) -> None:
    """Log a warning, once for a path and what belongs there."""
    mark = object()
    if warned.setdefault((mount.path, mount.shown), mark) is mark:
        log(_log, logging.WARNING, message, *args)
