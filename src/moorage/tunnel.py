"""Tunnels: ports of a container that are open to the internet.

Owns `Tunnel`, the value that describes a tunnel, and `forward`, which opens none in this process.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from .arguments import unimplemented
from .client import Client
from .exception import DeprecationError, InvalidError
from .with_aio import plain_context


@dataclass(frozen=True)
class Tunnel:
    """The addresses of a forwarded port."""

    host: str
    port: int
    unencrypted_host: str
    unencrypted_port: int

    @property
    def url(self) -> str:
        """The https address.  Modal plans to remove it from tunnels without encryption."""
        if self.unencrypted_host:
            warnings.warn(
                "url of an unencrypted tunnel goes away in Modal; "
                "write forward(port) without unencrypted=True",
                DeprecationError,
                stacklevel=2,
            )
        return f"https://{self.host}" + ("" if self.port == 443 else f":{self.port}")

    @property
    def tls_socket(self) -> tuple[str, int]:
        """The host and port for TLS."""
        return self.host, self.port

    @property
    def tcp_socket(self) -> tuple[str, int]:
        """The host and port without encryption.

        Raises:
            InvalidError: if the tunnel has no unencrypted port.
        """
        if not self.unencrypted_host:
            raise InvalidError(
                "this tunnel has no unencrypted port; write forward(port, unencrypted=True)"
            )
        return self.unencrypted_host, self.unencrypted_port


@plain_context
def forward(
    port: int, *, unencrypted: bool = False, h2_enabled: bool = False, client: Client | None = None
) -> Tunnel:
    """Open a port to the internet for the time of a ``with`` or ``async with``.

    Raises:
        UnimplementedError: always, on entering.
    """
    raise unimplemented("forward", f"reach the server on this machine, at http://localhost:{port}")
