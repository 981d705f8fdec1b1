"""Serving in this process: what a program serves, and how that ends.

Owns the steps that ``serve --no-reload``, the children of ``serve`` and ``deploy`` have in common:
the settings of the process (`Settings`), the lines about URLs, and the wait for a signal
(`Signals`).

Begin at `Settings`, then `Signals.wait`.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

from .. import config
from ..app import App
from ..running.runs import Run, drain_runs
from ..running.urls import Listening, WebFunction
from ..runtime.real import Real
from ..web.gate import proxy_tokens
from .addresses import Served
from .errors import ENDED_BY_SIGNAL, shown_error
from .events import Events
from .loading import prepare
from .mounts import OFF
from .placing import place_containers

TERMINATED: Final = ENDED_BY_SIGNAL + signal.SIGTERM


@dataclass(frozen=True)
class Settings:
    """The settings of a process that serves, as they go from one process to another."""

    host: str = "127.0.0.1"
    environment: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    open_cors: bool = False
    mounts: str = OFF  # see ``mounts.py``
    placement: str | None = None  # where containers run

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Settings:
        """Read the fields that `vars` gives, after they went through JSON."""
        known: Any = {**fields, "allowed_hosts": tuple(fields["allowed_hosts"])}
        return cls(**known)

    def apply(self) -> None:
        """Make this process one in which a program may be imported and served.

        The process has one thread: with more it gets no mount namespace.

        Raises:
            CommandError: if it cannot be one: see `prepare`.
        """
        prepare(environment=self.environment, mounts=self.mounts)
        place_containers(self.placement)
        config.web_host = self.host
        if self.allowed_hosts:
            config.allowed_hosts = self.allowed_hosts
        if self.open_cors:
            config.open_cors = True


def web_functions(app: App) -> list[WebFunction]:
    """Return the web functions of an app.

    Raises:
        CommandError: if one of them cannot be served.
    """
    try:
        return app._web_functions()
    except Exception as error:
        raise shown_error(error) from None


def reserve(
    app: App, functions: Sequence[WebFunction], host: str, sockets: Sequence[socket.socket]
) -> None:
    """Keep a socket for each web function, before the run of `app` begins.

    A hook of a container of `min_containers` may ask for a URL before `open_sites` is called.
    """
    pairs = zip(functions, sockets, strict=True)
    app._runs.listening.update({one.place.key: (host, given) for one, given in pairs})


def open_sites(
    functions: Sequence[WebFunction], host: str, sockets: Sequence[socket.socket]
) -> dict[str, str]:
    """Serve web functions, each at its socket; return the URLs by the names of the functions.

    Raises:
        CommandError: if something needed is missing.
    """
    pairs = zip(functions, sockets, strict=True)
    try:
        return {one.name: open_site(one, Listening(host, given)) for one, given in pairs}
    except BaseException:
        for _, given in pairs:  # those that no site has
            given.close()
        raise


def open_site(function: WebFunction, listening: Listening) -> str:
    """Serve one web function.

    Raises:
        CommandError: if something needed is missing.
    """
    try:
        return function.open(listening)
    except Exception as error:
        listening.socket.close()
        raise shown_error(error) from None


def lines_of(functions: Sequence[Served], urls: dict[str, str]) -> list[str]:
    """Return a line for each web function with its URL."""
    width = max((len(one.name) for one in functions), default=0)
    lines: list[str] = []
    for one in functions:
        url = urls[one.name].partition("?")[0].rstrip("/")
        if one.required:
            url += "/?" + "&".join(f"{name}=..." for name in one.required)
        # Without tokens nothing is checked, as a warning says.
        key = "  (needs a token)" if one.needs_token and proxy_tokens() else ""
        lines.append(f"  {one.name:<{width}}  {url}{key}")
    return lines


class Signals:
    """What ends a server: SIGTERM, an event, or the end of its time.  Ctrl-C is an exception.

    For the main thread.
    """

    def __init__(self) -> None:
        self._events = Events()
        self._is_importing = False
        self._before = Real.set_signal(signal.SIGTERM, self._handle)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._is_importing:
            raise SystemExit(TERMINATED)
        self._events.put("terminated")

    @contextmanager
    def importing(self) -> Generator[None, None, None]:
        """Let SIGTERM end the block, which imports a program, by SystemExit."""
        self._is_importing = True
        try:
            yield
        finally:
            self._is_importing = False
            Real.set_signal(signal.SIGTERM, self._handle)  # the program may have set another

    def restore(self) -> None:
        """Restore the handler of SIGTERM that was there before.  Nobody waits any more."""
        Real.set_signal(signal.SIGTERM, self._before)
        self._events.close()

    def post(self, event: str) -> None:
        """End a wait with `event`.  Any thread may call."""
        self._events.put(event)

    def wait(self, seconds: float | None = None) -> str | None:
        """Wait for an event; None if `seconds` pass first.

        Raises:
            KeyboardInterrupt: at Ctrl-C.
        """
        event: str | None = self._events.next(seconds)
        return event

    def drain(self, runs: Sequence[Run], seconds: float) -> bool:
        """Let `runs` finish what they have accepted; return whether they did.

        A second SIGTERM ends the wait, and so does Ctrl-C.

        Raises:
            KeyboardInterrupt: at Ctrl-C.
        """
        drained: list[bool] = []

        def drain() -> None:
            drained.append(drain_runs(runs, seconds, finishes_streams=True))
            self.post("drained")

        Real.Thread(target=drain, name="moorage-drain", daemon=True).start()
        return self.wait() == "drained" and drained == [True]
