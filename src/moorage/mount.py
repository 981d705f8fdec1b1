"""Mounts: files that Modal puts into containers when they start.

Owns `Mount`, which only old programs name; images have ``add_local_dir`` now.  Functions find the
files of a mount as they find those that an image adds (``running/mounts.py``).
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .arguments import fs_path, unchecked
from .client import Client
from .image import AddedFiles
from .object import Object
from .old.names import OldMethod


class Mount(Object):
    """The files of a mount; a mount that was deployed at Modal is a name without effect."""

    _files: tuple[AddedFiles, ...] = ()

    _made_by = "Image.debian_slim().add_local_dir(...), which took the place of mounts"

    @staticmethod
    def from_name(
        name: str,
        *,
        namespace: int = 1,
        environment_name: str | None = None,
        client: Client | None = None,
    ) -> Mount:
        """Name a mount."""
        return Mount._new("Mount()", name)

    if not TYPE_CHECKING:  # what old programs make of files
        from_local_dir = OldMethod(
            "write image.add_local_dir(local_path, remote_path)",
            lambda owner, local_path, *, remote_path=None, **kwargs: owner._new(
                f"Mount.from_local_dir({local_path!r})"
            )._with(local_path, remote_path),
            on="class",
        )
        from_local_file = OldMethod(
            "write image.add_local_file(local_path, remote_path)",
            lambda owner, local_path, remote_path=None, **kwargs: owner._new(
                f"Mount.from_local_file({local_path!r})"
            )._with(local_path, remote_path),
            on="class",
        )
        from_local_python_packages = OldMethod(
            "write image.add_local_python_source(module)",
            lambda owner, *modules, **kwargs: owner._new(
                f"Mount.from_local_python_packages({', '.join(map(repr, modules))})"
            ),
            on="class",
        )

        def add_local_dir(self, local_path, *, remote_path=None, condition=None, recursive=True):
            """Return the mount with a directory added."""
            added = self._new(f"{self._shown}.add_local_dir({local_path!r})")
            return added._with(local_path, remote_path, self._files)

        def add_local_file(self, local_path, remote_path=None):
            """Return the mount with a file added."""
            added = self._new(f"{self._shown}.add_local_file({local_path!r})")
            return added._with(local_path, remote_path, self._files)

        def _with(self, local_path, remote_path, before=()):
            local = fs_path("local_path", local_path)
            remote = local if remote_path is None else fs_path("remote_path", remote_path)
            if remote_path is None or not posixpath.isabs(remote):
                # The files are below the directory that a container begins in.
                name = os.path.basename(os.path.abspath(local)) if remote_path is None else remote
                remote = posixpath.join("/root", name)
            self._files = (*before, AddedFiles(local, posixpath.normpath(remote)))
            return self


def files_of(mounts: object) -> dict[str, AddedFiles]:
    """Return the files of ``mounts=[...]`` of an old program, by their paths.

    Anything that is no `Mount` is left out.
    """
    given = unchecked(mounts)
    found = [one for one in given if isinstance(one, Mount)] if isinstance(given, Iterable) else []
    return {files.remote_path: files for one in found for files in one._files}


if not TYPE_CHECKING:

    def _create_package_mounts(module_names):
        return [Mount._new(f"Mount.from_local_python_packages({name!r})") for name in module_names]


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _Mount = Mount
