"""Servers: classes at Modal that listen on a port.

Owns `Server`, the handle of a deployed server.  It can be named; nothing in this process serves it.
"""

from __future__ import annotations

from typing import Self

from .arguments import unimplemented
from .client import Client
from .types import ServerAutoscalerSettings, ServerInfo
from .with_aio import MethodWithAio

_INSTEAD = "run the server on this machine, e.g. with asyncio.start_server"


class Server:
    """A deployed server at Modal.  Here it is a name without effect."""

    @classmethod
    def from_name(
        cls,
        app_name: str,
        name: str,
        *,
        environment_name: str | None = None,
        client: Client | None = None,
    ) -> Self:
        """Name a server of a deployed app."""
        return cls()

    @classmethod
    def from_id(cls, server_id: str, *, client: Client | None = None) -> Self:
        """Name a server by Modal's id."""
        return cls()

    @property
    def object_id(self) -> str:
        """Modal's id of the server.  Placeholders have none.

        Raises:
            AttributeError: always, as in Modal before a server is looked up.
        """
        raise AttributeError("a Server has no object_id, because it is a placeholder")

    @MethodWithAio
    def hydrate(self, client: Client | None = None) -> Server:
        """Return the server itself.  Nothing is looked up."""
        return self

    @MethodWithAio
    def info(self, *, refresh: bool = False) -> ServerInfo:
        raise unimplemented("Server.info", _INSTEAD)

    @MethodWithAio
    def get_url(self) -> str | None:
        raise unimplemented("Server.get_url", _INSTEAD)

    @MethodWithAio
    def update_autoscaler(
        self,
        *,
        target_concurrency: float | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaleup_window: int | None = None,
        scaledown_window: int | None = None,
    ) -> ServerAutoscalerSettings:
        raise unimplemented("Server.update_autoscaler", _INSTEAD)
