"""The addresses of web functions: which port each has, and the sockets that listen there.

Owns `Addresses`, which gives the ports 8000, 8001, ... to web functions in the order of their
definition, and keeps the port of a function, by its label, while the program changes.  A port that
is taken is an error that names it; no function silently gets another one.  The port of a server
that the program itself starts (``web_server(8000)``) is left to that server.

Begin at `Addresses.bind`.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..exception import ConflictError, InvalidError
from ..running.urls import WebFunction
from ..web.gate import is_loopback_address, proxy_tokens
from ..web.sites import listen
from .errors import CommandError

FIRST: Final = 8000


@dataclass(frozen=True)
class Served:
    """A web function as another process knows it."""

    name: str
    label: str
    own_port: int | None  # of a server that the program starts
    needs_token: bool
    required: tuple[str, ...]

    @classmethod
    def of(cls, function: WebFunction) -> Served:
        """Describe a web function."""
        return cls(
            function.name,
            function.label,
            function.own_port,
            function.needs_token,
            function.required,
        )

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Served:
        """Read the fields that `vars` gives, after they went through JSON."""
        known: Any = {**fields, "required": tuple(fields["required"])}
        return cls(**known)


def check_served(functions: Sequence[Served], host: str) -> None:
    """Refuse what could not be served, before anything is stopped or started for it.

    Raises:
        CommandError: if two functions have one label, or one is open to others without tokens.
    """
    labels: dict[str, Served] = {}
    for one in functions:
        other = labels.setdefault(one.label, one)
        if other is not one:
            raise CommandError(
                f'{other.name} and {one.name} have the same label, "{one.label}"; '
                "write another label="
            )
        if one.needs_token and not is_loopback_address(host) and not proxy_tokens():
            raise CommandError(
                f"{one.name} needs a token, and {host} is open to other machines, but there are "
                "no tokens; set the environment variable MOORAGE_PROXY_TOKENS=key:secret, or "
                "leave --host out"
            )


class Addresses:
    """The ports of web functions, and the sockets that listen there.

    Args:
        host: the address to bind to.
        first: the port of the first function; 0 to have the system choose all ports.
    """

    def __init__(self, host: str, first: int) -> None:
        self.host: Final = host
        self._first = first
        # By label; a function that is gone keeps its port, for the case that it comes back.
        self._ports: dict[str, int] = {}
        self.sockets: dict[str, socket.socket] = {}

    def bind(self, functions: Sequence[Served]) -> dict[str, socket.socket]:
        """Return a socket that listens for each function, by label.

        Sockets that there are stay.  Nothing changes if a port is taken.

        Raises:
            CommandError: if a port is taken, or the address cannot be bound to.
        """
        own = {one.own_port for one in functions if one.own_port is not None}
        ports = {label: port for label, port in self._ports.items() if port not in own}
        made: dict[str, socket.socket] = {}
        bound: dict[str, socket.socket] = {}
        try:
            for one in functions:
                there = self.sockets.get(one.label)
                if there is None or one.label not in ports:
                    port = ports.get(one.label) or self._next(set(ports.values()) | own)
                    there = made[one.label] = self._listen(one.name, port)
                    ports[one.label] = there.getsockname()[1]
                bound[one.label] = there
        except BaseException:
            for each in made.values():
                each.close()
            raise
        for label, each in made.items():
            before = self.sockets.pop(label, None)
            if before is not None:
                before.close()
            self.sockets[label] = each
        self._ports = ports
        return bound

    def keep_only(self, labels: Sequence[str]) -> None:
        """Close the sockets of all other functions: their clients are refused from now on."""
        for label in [label for label in self.sockets if label not in labels]:
            self.sockets.pop(label).close()

    def take(self, functions: Sequence[Served]) -> list[socket.socket]:
        """Like `bind`, for this process: the caller owns the sockets.  In order.

        Raises:
            CommandError: see `bind`.
        """
        bound = self.bind(functions)
        for label in bound:
            del self.sockets[label]
        return [bound[one.label] for one in functions]

    def close(self) -> None:
        """Close all sockets."""
        self.keep_only(())

    def _next(self, taken: set[int]) -> int:
        if not self._first:
            return 0
        port = self._first
        while port in taken:
            port += 1
        return port

    def _listen(self, name: str, port: int) -> socket.socket:
        try:
            return listen(name, self.host, port)
        except ConflictError:
            raise CommandError(
                f"Port {port} of {self.host} is taken, and {name} cannot be served there; stop "
                "what uses the port, or choose another first port with --port."
            ) from None
        except InvalidError as error:
            reason = str(error).partition(": ")[2].partition(";")[0]
            raise CommandError(
                f"{name} cannot be served on port {port} of {self.host}: {reason}; choose others "
                "with --host and --port."
            ) from None
