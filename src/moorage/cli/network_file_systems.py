"""``moorage nfs``: the network file systems of this user, with the commands of ``moorage volume``.

Owns the group, and `NetworkFileSystem`, by which the commands of ``volumes.py`` find the files.

Begin at `nfs`.
"""

from __future__ import annotations

from typing import Final

import click

from ..exception import AlreadyExistsError
from ..named_objects import NamedObjects
from ..network_file_system import NetworkFileSystem as _Kept
from ..stores.directories import Directories
from ..stores.records import Record
from ..volume import Volume
from . import volumes
from .objects import ObjectCommands, add_management, environment_option, taken


class NetworkFileSystem(Volume):
    """A network file system with the methods of a volume: the directories are of one kind."""

    @classmethod
    def _catalogue(cls) -> Directories:
        return _Kept._catalogue()

    def _create(self, environment: str, name: str) -> Record:
        return self._catalogue().create(environment, name)


class _Objects(NamedObjects[NetworkFileSystem]):
    @property
    def _kind(self) -> type[NetworkFileSystem]:
        return NetworkFileSystem


_OBJECTS: Final = _Objects()


@click.group(
    cls=ObjectCommands,
    hidden=True,
    no_args_is_help=True,
    context_settings={"obj": NetworkFileSystem},
)
def nfs() -> None:
    """Read and change network file systems, which Modal gives up: use volumes."""


add_management(nfs, "NetworkFileSystem", _OBJECTS, creates=False)


@nfs.command(no_args_is_help=True)
@click.argument("name")
@environment_option
def create(name: str, environment: str | None) -> None:
    """Create a named network file system."""
    try:
        _OBJECTS.create(name, environment_name=environment)
    except AlreadyExistsError:
        advice = "use that one, or delete it first"
        raise taken("NetworkFileSystem", name, environment, advice) from None
    made = NetworkFileSystem._from_name(name, environment)
    click.echo(f"Created NetworkFileSystem '{name}' at {made.local_path}")


for _command in (volumes.ls, volumes.get, volumes.put, volumes.rm):
    nfs.add_command(_command)
