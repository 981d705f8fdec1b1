"""Tunnels: ports of a container that others can reach.

Owns `Tunnel`, the value that describes a tunnel, and `forward`.  The containers of this process
have the ports of this computer, so `forward` opens nothing: it says where the port is.

Begin at `forward`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Final

from .arguments import unchecked
from .client import Client
from .exception import DeprecationError, InvalidError
from .runtime import forking
from .runtime.context import current_container, is_local
from .with_aio import context_left_by

# The host of tunnels to containers of this process.
HERE: Final = "127.0.0.1"


@dataclass(frozen=True)
class Tunnel:
    """The addresses of a forwarded port."""

    host: str
    port: int
    unencrypted_host: str
    unencrypted_port: int

    @property
    def url(self) -> str:
        """The https address; of a port of this computer the http address.

        Modal plans to remove it from tunnels without encryption.
        """
        if self.unencrypted_host:
            warnings.warn(
                "url of an unencrypted tunnel goes away in Modal; "
                "write forward(port) without unencrypted=True",
                DeprecationError,
                stacklevel=2,
            )
        if self.host == HERE:
            return f"http://{HERE}:{self.port}"
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


def _close(tunnel: Tunnel) -> None:
    for key, each in list(_tunnels.items()):
        if each is tunnel:
            _tunnels.pop(key, None)


@context_left_by(_close)
def forward(
    port: int, *, unencrypted: bool = False, h2_enabled: bool = False, client: Client | None = None
) -> Tunnel:
    """Return the addresses of a port of a container, for the time of a ``with`` or ``async with``.

    The container is in this process, so its ports are those of this computer.  Nothing is opened
    to the internet.

    Args:
        port: the port on which the container serves, or will serve.
        unencrypted: whether the tunnel has `Tunnel.tcp_socket` too.
        h2_enabled, client: for the cloud; accepted without effect.

    Raises:
        InvalidError: on entering: if `port` is no number of a port, if both `unencrypted` and
            `h2_enabled` are true, if the container forwards the port already, or outside of
            containers.
    """
    if not isinstance(unchecked(port), int) or not 1 <= port <= 65535:
        raise InvalidError(
            f"port must be a whole number from 1 to 65535, got {port!r}; write forward(8000)"
        )
    if unencrypted and h2_enabled:
        raise InvalidError(
            "h2_enabled takes an encrypted port; write forward(port, h2_enabled=True), "
            "without unencrypted=True"
        )
    if is_local():
        raise InvalidError(
            "forward works only inside a container, in a function or a hook that runs there; "
            f"write http://{HERE}:{port} here, for the ports of containers are those of this "
            "computer"
        )
    key = current_container(), int(port)
    made = Tunnel(HERE, int(port), *((HERE, int(port)) if unencrypted else ("", 0)))
    if _tunnels.setdefault(key, made) is not made:
        raise InvalidError(
            f"the port {port} of this container is already forwarded; leave that `with` first, "
            "or forward the port once, in an enter hook"
        )
    return made


# The ports that are forwarded, by container and port.  Single operations, no lock.
_tunnels: Final[dict[tuple[object, int], Tunnel]] = {}
forking.in_child(_tunnels.clear)
