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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .. import config
from ..runtime import context, input
from ..runtime.clocks.clock import system_clock
from ..runtime.containers.container import ContainerOptions
from ..runtime.real import Real
from . import calls, sources, terminal
from .blueprints import opened_code
from .channel import Channel
from .frames import Kind, encode
from .host import ChildHost
from .package import use_objects_elsewhere

# The settings of ``config.py`` that count in a container.
SETTINGS: Final = (
    *("strict", "default_timeout", "exit_grace", "cancel_grace", "abandoned_seconds"),
    *("slow_loop_seconds", "home", "persist"),
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
    directory: str
    path: list[str]
    argv: list[str]
    settings: dict[str, Any]
    as_modal: bool
    grace: float  # seconds that code gets to end when the run is left
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
    directory: str | None,
    grace: float,
) -> World:
    """Return the world of a container of this program.

    Args:
        environ: all variables of the container.
        directory: its working directory; None for the one of this process.
        grace: seconds that its code gets to end when the run is left.
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
        directory=directory or _directory(),
        path=[each or _directory() for each in sys.path],
        argv=list(sys.argv),
        settings={name: getattr(config, name) for name in SETTINGS},
        as_modal=_is_as_modal(),
        grace=grace,
        sharing=terminal.shared.sharing,
        sources=sources.kept.sources,
    )


def _directory() -> str:
    try:
        return Real.getcwd()
    except OSError:  # it was removed
        return "/"


def _is_as_modal() -> bool:
    return sys.modules.get("modal") is sys.modules[_PACKAGE]


_PACKAGE: Final = __name__.partition(".")[0]


# -- in the child ------------------------------------------------------------------------


def enter(setup: bytes, channel: Channel) -> ChildHost:
    """Become the process of a container; return its host.  Imports the user's modules.

    Raises:
        BaseException: what the user's modules raise.
    """
    world: World = pickle.loads(setup)
    _set_environment(world.environ)
    with contextlib.suppress(OSError):
        os.chdir(world.directory)
    sys.path[:] = world.path
    sys.argv[:] = world.argv
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
    if getattr(sys.modules[_PACKAGE], "__spec__", None) is not None:
        use_objects_elsewhere()  # else when the package is whole
    targets, lifecycle = opened_code(world.code)
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
    host.link = calls.connect(host)
    if terminal.here.terminal is not None:
        terminal.here.terminal.host = host
    return host


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
        self._channel.send(encode(Kind.LOG, [((record.levelno,), (blob,))]))


def _log_to(channel: Channel) -> None:
    logging.getLogger("moorage").addHandler(_LogHandler(channel))
