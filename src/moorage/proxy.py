"""Proxies: fixed addresses at Modal from which containers connect to the internet.

Owns `Proxy`, a placeholder.  It can be named and passed on; no connection here goes through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .arguments import lenient, unchecked
from .client import Client
from .object import Object


class Proxy(Object):
    """A proxy at Modal.  Accepted as an argument, but not used in this process."""

    _made_by = 'Proxy.from_name("my-proxy")'

    @staticmethod
    def from_name(
        name: str, *, environment_name: str | None = None, client: Client | None = None
    ) -> Proxy:
        """Name a proxy.  The name is not checked: Modal does that later."""
        if not isinstance(unchecked(name), str):
            lenient(f"the name of a Proxy must be a str, got {name!r}; write {Proxy._made_by}")
        return Proxy._named(name, environment_name)


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _Proxy = Proxy
