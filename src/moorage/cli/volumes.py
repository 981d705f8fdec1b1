"""``moorage volume``: the volumes of this user, and the files in them.

Owns the commands.  They call the methods of `Volume`, so a path never leaves its volume.

Begin at `volume`, then `get` and `put`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Final

import click

from ..exception import AlreadyExistsError
from ..types import FileEntry, FileEntryType
from ..volume import Volume
from .objects import (
    ObjectCommands,
    add_management,
    confirm,
    environment_option,
    json_option,
    moment,
    named,
    show_table,
    taken,
    yes_option,
)

_KINDS: Final = {
    FileEntryType.DIRECTORY: "dir",
    FileEntryType.SYMLINK: "link",
    FileEntryType.FIFO: "fifo",
    FileEntryType.SOCKET: "socket",
}


@click.group(cls=ObjectCommands, no_args_is_help=True)
def volume() -> None:
    """Read and change volumes, which are directories of this machine."""


add_management(volume, "Volume", Volume.objects, creates=False)


@volume.command(no_args_is_help=True)
@click.argument("name")
@click.option("--version", type=click.Choice(["1", "2"]), help="1 or 2, as in Modal.")
@environment_option
def create(name: str, version: str | None, environment: str | None) -> None:
    """Create a named volume."""
    number = None if version is None else int(version)
    try:
        Volume.objects.create(name, version=number, environment_name=environment)
    except AlreadyExistsError:
        raise taken("Volume", name, environment, "use that one, or delete it first") from None
    made = Volume.from_name(name, environment_name=environment)
    click.echo(f"Created Volume '{name}' at {made.local_path}")


@volume.command(no_args_is_help=True)
@click.argument("old_name")
@click.argument("new_name")
@yes_option
@environment_option
def rename(old_name: str, new_name: str, yes: bool, environment: str | None) -> None:
    """Rename a volume."""
    named(Volume, old_name, environment)
    confirm(f"Rename the Volume '{old_name}'? Programs that use it may fail.", yes)
    Volume.rename(old_name, new_name, environment_name=environment)


@volume.command(no_args_is_help=True)
@click.argument("name", metavar="VOLUME")
@click.argument("path", default="/")
@json_option
@environment_option
def ls(name: str, path: str, as_json: bool, environment: str | None) -> None:
    """List the files and directories at a path; one path a line, unless it is a terminal."""
    entries = named(Volume, name, environment).listdir(path)
    if not as_json and not sys.stdout.isatty():
        for entry in entries:
            click.echo(entry.path)
        return
    rows = [
        (
            entry.path,
            _KINDS.get(entry.type, "file"),
            moment(datetime.fromtimestamp(entry.mtime), as_json=as_json),
            entry.size if as_json else size_of(entry.size),
        )
        for entry in entries
    ]
    columns = ["Filename", "Type", "Created/Modified", "Size"]
    show_table(columns, rows, as_json=as_json, title=f"{path} in {name}")


@volume.command(no_args_is_help=True)
@click.argument("name", metavar="VOLUME")
@click.argument("remote", metavar="REMOTE")
@click.argument("local", metavar="[LOCAL]", default=".", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
@environment_option
def get(name: str, remote: str, local: Path, force: bool, environment: str | None) -> None:
    """Copy a file or directory out of a volume.

    A directory is copied with all that it has.  If LOCAL is a directory, the copy goes into it.
    With "-" as LOCAL the contents of the file go to stdout.
    """
    found = named(Volume, name, environment)
    entries = list(found.iterdir(remote, recursive=True))
    path = PurePosixPath("/", remote).relative_to("/")
    is_file = [entry.path for entry in entries] == [str(path)] and (
        entries[0].type is not FileEntryType.DIRECTORY
    )
    if str(local) == "-":
        for entry in entries:
            if entry.type is FileEntryType.FILE:
                found.read_file_into_fileobj(entry.path, sys.stdout.buffer)
        sys.stdout.flush()
        return
    to = local / path.name if local.is_dir() else local
    ends = [(entry, to if is_file else to / _below(entry, path)) for entry in entries]
    _check_ends(to, path, [end for _, end in ends], force=force)
    if not is_file:
        to.mkdir(parents=True, exist_ok=True)
    for entry, end in ends:
        if entry.type is FileEntryType.DIRECTORY:
            end.mkdir(parents=True, exist_ok=True)
        elif entry.type is FileEntryType.FILE:
            end.parent.mkdir(parents=True, exist_ok=True)
            with end.open("wb") as file:
                found.read_file_into_fileobj(entry.path, file)
        else:
            click.echo(f"left out: {entry.path} ({_KINDS[entry.type]})", err=True)


def _below(entry: FileEntry, path: PurePosixPath) -> PurePosixPath:
    return PurePosixPath(entry.path).relative_to(path)


def _check_ends(to: Path, path: PurePosixPath, ends: Sequence[Path], *, force: bool) -> None:
    """Refuse, before anything is written, what would overwrite something."""
    # The whole volume, copied into a directory that is there, is a collision only file by file.
    looked_at = [to] if path.name or not to.is_dir() else ends
    taken = next((end for end in looked_at if end.exists()), None)
    if taken is not None and not force:
        raise click.UsageError(
            f"Output path '{taken}' already exists. Use --force to overwrite what is there."
        )


@volume.command(no_args_is_help=True)
@click.argument("name", metavar="VOLUME")
@click.argument("local", metavar="LOCAL")
@click.argument("remote", metavar="[REMOTE]", default="/")
@click.option("-f", "--force", is_flag=True, help="Overwrite files that are there.")
@environment_option
def put(name: str, local: str, remote: str, force: bool, environment: str | None) -> None:
    """Copy a file or directory into a volume: all of it, or nothing.

    If REMOTE ends with "/", the copy goes into that directory.  Directories are made as needed.
    """
    found = named(Volume, name, environment)
    if remote.endswith("/"):
        remote += os.path.basename(local)
    is_directory = os.path.isdir(local)
    if not is_directory and "*" in local:
        raise click.UsageError("Glob uploads are currently not supported; write a loop.")
    try:
        with found.batch_upload(force=force) as batch:
            if is_directory:
                batch.put_directory(local, remote)
            else:
                batch.put_file(local, remote)
    except FileExistsError as error:
        raise click.UsageError(str(error)) from None


@volume.command(no_args_is_help=True)
@click.argument("name", metavar="VOLUME")
@click.argument("paths", metavar="SOURCE... DESTINATION", nargs=-1, required=True)
@click.option("-r", "--recursive", is_flag=True, help="Copy directories too.")
@environment_option
def cp(name: str, paths: tuple[str, ...], recursive: bool, environment: str | None) -> None:
    """Copy files within a volume."""
    *sources, to = paths
    if not sources:
        raise click.UsageError("Missing argument 'DESTINATION'.")
    named(Volume, name, environment).copy_files(sources, to, recursive)


@volume.command(no_args_is_help=True)
@click.argument("name", metavar="VOLUME")
@click.argument("path")
@click.option("-r", "--recursive", is_flag=True, help="Delete a directory with all that it has.")
@environment_option
def rm(name: str, path: str, recursive: bool, environment: str | None) -> None:
    """Delete a file or directory of a volume."""
    named(Volume, name, environment).remove_file(path, recursive=recursive)


def size_of(count: int) -> str:
    """Return a number of bytes for people: ``12 B``, ``1.5 KiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} PiB"
