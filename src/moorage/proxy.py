"""Proxies: fixed addresses at Modal that containers speak to the world from.

Owns `Proxy`, which may be named and passed on; nothing here goes through it.
"""

from __future__ import annotations

from .arguments import lenient, unchecked
from .client import Client
from .object import Object


class Proxy(Object):
    """A proxy at Modal: accepted as an argument, not used in this process."""

    _made_by = 'Proxy.from_name("my-proxy")'

    @staticmethod
    def from_name(
        name: str, *, environment_name: str | None = None, client: Client | None = None
    ) -> Proxy:
        """Name a proxy.  Modal checks its name only later."""
        if not isinstance(unchecked(name), str):
            lenient(f"the name of a Proxy must be a str, got {name!r}; write {Proxy._made_by}")
        return Proxy._named(name, environment_name)
