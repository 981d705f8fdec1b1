"""Modal's connection to its servers: a name for annotations and arguments.

Owns `Client`, which is accepted wherever Modal accepts one.  It connects nowhere.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

from .arguments import unimplemented
from .with_aio import EitherContext, MethodWithAio, plain_function

_INSTEAD = "leave out client=..., for nothing in this process connects anywhere"


class Client:
    """A connection to Modal.  Here it has a server's address, and is never opened."""

    def __init__(
        self,
        server_url: str,
        client_type: int,
        credentials: tuple[str, str] | None,
        version: str = "1.6.4",
    ) -> None:
        self._server_url = server_url
        self._closed = False

    def is_closed(self) -> bool:
        return self._closed

    @MethodWithAio
    def close(self) -> None:
        """Do nothing: there is no open connection."""
        self._closed = True

    @MethodWithAio
    def hello(self) -> NoReturn:
        raise unimplemented("Client.hello", _INSTEAD)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed = True

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed = True

    @staticmethod
    def anonymous(server_url: str) -> EitherContext[Client]:
        """Return a client without credentials, for ``with`` and ``async with``."""
        return EitherContext(lambda: Client(server_url, 0, None))

    @staticmethod
    @plain_function
    def from_env() -> NoReturn:
        raise unimplemented("Client.from_env", _INSTEAD)

    @staticmethod
    @plain_function
    def from_credentials(token_id: str, token_secret: str) -> Client:
        """Return a client that would connect with this token.  The token is not kept."""
        return Client("", 0, None)

    @staticmethod
    @plain_function
    def verify(server_url: str, credentials: tuple[str, str]) -> NoReturn:
        raise unimplemented("Client.verify", _INSTEAD)


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _Client = Client
