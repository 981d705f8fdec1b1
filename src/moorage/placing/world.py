"""The world of a container: what its process is before the user's code runs.

Owns the content of the frame SETUP, and how a child becomes what it says: the environment, the
working directory, the paths of imports, the settings, and then the code.  The driver makes a
`World` for each container that it starts; all that is the same for the containers of a pool is made
once.

Begin at `World`, then `enter`.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import pickle
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

from .. import config
from ..mounting.own import OwnMounts, put_in_place
from ..runtime import context, input
from ..runtime.clocks.clock import system_clock
from ..runtime.containers.container import ContainerOptions
from ..runtime.input import Input
from ..runtime.real import Real
from . import calls, sources, terminal
from .blueprints import opened_code
from .channel import Channel
from .frames import Buffer, Kind, Message, encode
from .host import ChildHost
from .package import import_path, is_as_modal, use_objects_elsewhere, working_directory

# The settings of ``config.py`` that count in a container.
SETTINGS: Final = (
    *("strict", "default_timeout", "exit_grace", "cancel_grace", "abandoned_seconds"),
    *("slow_loop_seconds", "home", "persist", "uvloop"),
)


@dataclass(frozen=True, slots=True, repr=False)
class World:
    """What SETUP says.  No `repr`, because the environment may have passwords."""

    code: bytes  # see ``blueprints.py``
    name: str
    number: int
    limit: int
    max_inputs: int
    has_async: bool
    is_batched: bool
    ids: str  # the part of ids that names the driver
    environ: dict[str, str]
    directory: str  # the driver's
    workdir: str | None  # in which the code runs, if it is there
    no_workdir: str  # what to log if it is not there
    path: list[str]
    argv: list[str]
    main: dict[str, Any]  # what names the program in its `__main__`
    settings: dict[str, Any]
    as_modal: bool
    grace: float  # seconds that code gets to end when the run is left
    mounts: OwnMounts | None  # then this process is in a mount namespace of its own, if it may be
    sharing: terminal.Sharing  # what it has of the terminal
    sources: sources.Sources  # of the program's modules, if they are not to be read from the disk


def world_here(
    code: bytes,
    options: ContainerOptions,
    *,
    number: int,
    limit: int,
    is_batched: bool,
    environ: Mapping[str, str],
    workdir: str | None,
    no_workdir: str,
    grace: float,
    mounts: OwnMounts | None = None,
) -> World:
    """Return the world of a container of this program.

    Args:
        environ: all variables of the container.
        workdir: its working directory; None for the one of this process.
        no_workdir: what to log if that is not there.
        grace: seconds that its code gets to end when the run is left.
        mounts: what it mounts for itself.
    """
    return World(
        code=code,
        name=options.name,
        number=number,
        limit=limit,
        max_inputs=options.max_inputs,
        has_async=options.has_async,
        is_batched=is_batched,
        ids=input._process,
        environ=dict(environ),
        directory=working_directory(),
        workdir=workdir,
        no_workdir=no_workdir,
        path=import_path(),
        argv=list(sys.argv),
        main=_names_of_main(),
        settings={name: getattr(config, name) for name in SETTINGS},
        as_modal=is_as_modal(),
        grace=grace,
        mounts=mounts,
        sharing=terminal.shared.sharing,
        sources=sources.kept.sources,
    )


def _names_of_main() -> dict[str, Any]:
    main = vars(sys.modules["__main__"])
    names: dict[str, Any] = {"__spec__": getattr(main.get("__spec__"), "name", None)}
    names.update((name, main[name]) for name in ("__file__", "__package__") if name in main)
    return names


_PACKAGE: Final = __name__.partition(".")[0]


# -- in the child ------------------------------------------------------------------------


def enter(setup: bytes, channel: Channel) -> ChildHost:
    """Become the process of a container; return its host.  Imports the user's modules.

    Raises:
        BaseException: what the user's modules raise.
    """
    world: World = pickle.loads(setup)
    _set_environment(world.environ)
    if world.mounts is not None:
        put_in_place(world.mounts, partial(_warn_once, channel))
    with contextlib.suppress(OSError):
        os.chdir(world.directory)
    if world.workdir is not None:
        # Only here, because a mount of this process may have the directory.
        try:
            os.chdir(world.workdir)
        except OSError:
            _warn_once(channel, world.no_workdir)
    sys.path[:] = world.path
    sys.argv[:] = world.argv
    _be_the_program(world.main)
    for name, value in world.settings.items():
        setattr(config, name, value)
    input._process = world.ids
    context.be_a_container()
    _log_to(channel)
    terminal.enter(world.sharing)
    sources.use(world.sources)
    if world.as_modal:
        # By its name, because its layer is above this one.
        importlib.import_module(f"{_PACKAGE}.as_modal").install_as_modal()
    calls.connect(_EarlyHost(channel))
    if getattr(sys.modules[_PACKAGE], "__spec__", None) is not None:
        use_objects_elsewhere()  # else when the package is whole
    targets, lifecycle = opened_code(world.code)
    context.has_the_code()
    options = ContainerOptions(
        name=world.name,
        max_inputs=world.max_inputs,
        has_async=world.has_async,
        lifecycle=lifecycle,
    )
    host = ChildHost(
        options,
        targets,
        targets[0] if world.is_batched else None,
        system_clock,
        number=world.number,
        limit=world.limit,
        grace=world.grace,
    )
    host.link = calls.driver_link()
    calls.begin_calls(host)
    if terminal.here.terminal is not None:
        terminal.here.terminal.host = host
    return host


def _be_the_program(names: Mapping[str, Any]) -> None:
    """Have a `__main__` for the code that comes by value, which was defined in that of the driver.

    So the code finds its own names there, as pickle does: those of its classes and functions.
    """
    made = ModuleType("__main__")
    vars(made).update(names)
    vars(made)["__moorage_began__"] = sys.modules["__main__"]  # its code is running
    spec: str | None = names["__spec__"]
    # The processes of `multiprocessing` import the program by this name, or by its file.
    made.__spec__ = None if spec is None else ModuleSpec(spec, None, origin=names.get("__file__"))
    sys.modules["__main__"] = made


class _EarlyHost:
    """Writes the calls of this process while the user's modules are imported."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def call(
        self, calls: Sequence[tuple[int, int, Sequence[Buffer]]], parent: Input | None
    ) -> None:
        messages: list[Message] = [((number, 0, what), blobs) for number, what, blobs in calls]
        self._channel.send(encode(Kind.CALL, messages))


def _set_environment(environ: Mapping[str, str]) -> None:
    for name in [name for name in os.environ if name not in environ]:
        del os.environ[name]
    for name, value in environ.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
    Real.tzset()


class _LogHandler(logging.Handler):
    """Writes the records of this library to the driver, if the program has no handler here."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        if logging.getLogger().handlers:
            return  # they get the record
        text = self.format(record)
        blob = text.encode("utf-8", "replace")
        self._channel.send(encode(Kind.LOG, [((record.levelno, 0), (blob,))]))


def _warn_once(channel: Channel, text: str) -> None:
    """Log a warning that other containers of the run may give too."""
    blob = text.encode("utf-8", "replace")
    channel.send(encode(Kind.LOG, [((logging.WARNING, 1), (blob,))]))


def _log_to(channel: Channel) -> None:
    logging.getLogger("moorage").addHandler(_LogHandler(channel))
