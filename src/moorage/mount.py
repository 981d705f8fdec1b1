"""Mounts: files that Modal puts into containers when they start.

Owns `Mount`, which only old programs name; images have ``add_local_dir`` now.
"""

from __future__ import annotations

from .client import Client
from .object import Object


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
