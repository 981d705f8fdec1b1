"""Mounts: files that Modal puts into containers when they start.

Owns `Mount`, which only old programs name; images have ``add_local_dir`` now.  A mount is a name
without effect: code in this process sees this machine's own files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .client import Client
from .object import Object
from .old.names import OldMethod


class Mount(Object):
    """The files of a mount that was deployed at Modal.  Here it is a name without effect."""

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
            lambda owner, local_path, **kwargs: owner._new(f"Mount.from_local_dir({local_path!r})"),
            on="class",
        )
        from_local_file = OldMethod(
            "write image.add_local_file(local_path, remote_path)",
            lambda owner, local_path, *args, **kwargs: owner._new(
                f"Mount.from_local_file({local_path!r})"
            ),
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
            return self._new(f"{self._shown}.add_local_dir({local_path!r})")

        def add_local_file(self, local_path, remote_path=None):
            """Return the mount with a file added."""
            return self._new(f"{self._shown}.add_local_file({local_path!r})")


if not TYPE_CHECKING:

    def _create_package_mounts(module_names):
        return [Mount._new(f"Mount.from_local_python_packages({name!r})") for name in module_names]


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _Mount = Mount
