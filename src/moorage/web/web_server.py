"""Web servers: a server of the user's own behind a port, which a container starts.

Owns `start_web_server`: it starts the server and waits for its port.

Begin at `start_web_server`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..declaring.marks import Web
from ..exception import UnimplementedError
from .exchange import Application


def start_web_server(
    name: str, function: Callable[..., Any], web: Web
) -> tuple[Application, Callable[[], object]]:
    """Start the server; return the application that asks it, and what ends the server."""
    raise UnimplementedError(f"{name} is a web_server, and nothing serves it yet")
