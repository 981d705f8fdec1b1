"""Sites: the web functions of a run that have a URL.

Owns `Site`, one web function behind one port, and `Sites`, those of one run: how a site begins,
stops listening, and ends.  The sockets are bound in the thread that asks for a URL, so that errors
come at once; the HTTP thread (``http_loop.py``) serves them.  ``running/urls.py`` asks.

A site may be given a socket that listens already.  Another process may have the same socket, and
then the site's end is not the socket's end: connections that nobody has accepted wait in the
system for the next process that accepts.

Begin at `Sites.open`, then `Site.begin`, then `Sites.close`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable, Hashable, Iterable
from typing import Final, Protocol

from ..exception import ConflictError, ExecutionError, InvalidError
from ..runtime import forking
from ..runtime.background import log
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from .bridge import Bridge, Endpoint
from .exchange import Application
from .gate import Gate, is_loopback_address, proxy_tokens
from .http_loop import process_http
from .ports import Port
from .uvicorn_protocol import protocol_factory

logger: Final = logging.getLogger("moorage")

# The most connections that the system accepts before the HTTP thread takes them.
BACKLOG: Final = 2048

# Seconds that the connections of a run get to close, after the last input has ended.
LAST_RESPONSES: Final = 1.0

# Seconds that the HTTP thread, which never blocks, gets to close a listening socket.
CLOSING: Final = 5.0


# Why the requests of a function need a token: the program says so, or does not say otherwise.
AUTHENTICATED: Final = "requires_proxy_auth=True"
NO_UNAUTHENTICATED: Final = "no unauthenticated=True"


HandOver = Callable[[str, int], object]
"""Takes the label of a site and the descriptor of an idle connection of it."""


class Unopened(Protocol):
    """What a site knows of the web functions of its run whose URLs nobody has asked for yet."""

    def open(self, label: str, /) -> None:
        """Open the site of the function with this label, if there is one.  Raises nothing."""
        ...

    def labels(self) -> list[str]:
        """Return the labels of the functions."""
        ...


class Site:
    """One web function behind one port.

    Args:
        endpoint: submits the requests.
        label: names the function in ``<label>.localhost``.
        needs_token: whether requests need a token.
        host: the address to bind to.
        port: the port to bind to; 0 for one that the system chooses.
        listening: a socket that listens at `host` already, in the place of `port`.  The site closes
            the socket at its end.
        why_token: the argument by which requests need a token, as messages show it.
        others: the other web functions of the run.

    Raises:
        ConflictError: if the port is taken.
        InvalidError: if the address cannot be bound to, an extra is missing, or the address is
            open to others and there are no tokens for a function that needs them.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        label: str,
        needs_token: bool,
        host: str,
        port: int = 0,
        *,
        listening: socket.socket | None = None,
        why_token: str = AUTHENTICATED,
        others: Unopened | None = None,
    ) -> None:
        self.name: str = endpoint.name
        self.label: str = label
        self.host: str = host
        self.needs_token: bool = needs_token
        if needs_token and not proxy_tokens():
            if not is_loopback_address(host):
                raise InvalidError(
                    f"{endpoint.name} has {why_token}, and {host} is open to other "
                    "machines, but there are no tokens; set the environment variable "
                    'MOORAGE_PROXY_TOKENS="key:secret"'
                )
            log(
                logger,
                logging.WARNING if why_token == AUTHENTICATED else logging.INFO,
                "%s has %s, and nothing is checked, because there are no "
                "tokens; set MOORAGE_PROXY_TOKENS=key:secret",
                endpoint.name,
                why_token,
            )
        self.application: Application = Bridge(endpoint)
        self.connections: Port = Port()
        self._others = others
        gate: Application = Gate(self, self._find, self._known_labels)
        self._make_protocol = protocol_factory(gate, self.connections)
        self._is_inherited = listening is not None
        self._socket = listen(endpoint.name, host, port) if listening is None else listening
        self.port: int = self._socket.getsockname()[1]
        self._server: asyncio.Task[asyncio.AbstractServer] | None = None  # on the HTTP loop
        forking.know(self)

    def _after_fork(self) -> None:
        """In a forked child: close the child's copies of the sockets.

        The parent's clients would otherwise wait for the child, too.
        """
        for descriptor in (self._socket.detach(), *self.connections.descriptors):
            if descriptor >= 0:
                try:
                    Real.close(descriptor)
                except OSError:
                    pass
        forking.keep(self)

    def _find(self, label: str) -> Site | None:
        """Return the site with a label.  On the HTTP loop."""
        found = _labels.get(label)
        if found is None and self._others is not None:
            self._others.open(label)
            found = _labels.get(label)
        return found

    def _known_labels(self) -> Iterable[str]:
        others = () if self._others is None else self._others.labels()
        return {*_labels.copy(), *others}

    @property
    def url(self) -> str:
        """The URL of the function."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "") else self.host
        if host == "::":
            host = "::1"
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def begin(self) -> None:
        """Serve.  Requests that came before are in the system's backlog."""
        process_http.post(self._begin)

    def adopt(self, connection: socket.socket) -> None:
        """Go on with a connection that another process has handed over."""
        connection.setblocking(False)
        process_http.post(lambda: self._adopt(connection))

    def _adopt(self, connection: socket.socket) -> None:
        loop = Real.get_running_loop()
        adopting = loop.create_task(loop.connect_accepted_socket(self._make_protocol, connection))
        self.connections.tasks.add(adopting)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        adopting.add_done_callback(self.connections.tasks.discard)

    def _begin(self) -> None:
        loop = Real.get_running_loop()
        serving = loop.create_server(self._make_protocol, sock=self._socket, backlog=BACKLOG)
        self._server = loop.create_task(serving)

    async def refuse(self) -> None:
        """Refuse connections from now on; close those without a request.  On the HTTP loop."""
        self.connections.retire()
        await self._stop_accepting()

    async def wind_down(self, hand_over: HandOver | None) -> None:
        """Accept no more connections; answer what is asked on those that there are.

        Connections that the system has accepted are among these, unless the socket was given: then
        another process may accept them.  On the HTTP loop.
        """
        self.connections.wind_down(
            None if hand_over is None else lambda descriptor: hand_over(self.label, descriptor)
        )
        await self._stop_accepting(takes_the_rest=not self._is_inherited)

    async def _stop_accepting(self, *, takes_the_rest: bool = False) -> None:
        """Close the listening socket.  A second call does nothing."""
        task, self._server = self._server, None
        if task is None:
            self._socket.close()
            return
        server = await task
        # asyncio drops a connection that it has accepted, and leaves its socket open, if the
        # server is closed in the one turn of the loop before the connection has its protocol.
        loop = Real.get_running_loop()
        try:
            loop.remove_reader(self._socket)  # accept no more
        except NotImplementedError:
            pass  # a loop that is no selector loop
        turn = loop.create_future()
        loop.call_soon(turn.set_result, None)
        await turn
        if takes_the_rest:
            while (accepted := self._accept()) is not None:
                await loop.connect_accepted_socket(self._make_protocol, accepted)
        server.close()

    def _accept(self) -> socket.socket | None:
        """Return the next connection that waits in the system; None if there is none."""
        try:
            accepted, _ = self._socket.accept()
        except OSError:  # mostly that there is none
            return None
        accepted.setblocking(False)
        return accepted

    async def end(self) -> None:
        """Close all connections.  On the HTTP loop."""
        await self.connections.end(LAST_RESPONSES)


def listen(name: str, host: str, port: int) -> socket.socket:
    """Return a socket that listens, for the web function `name`.

    Raises:
        ConflictError: if the port is taken.
        InvalidError: if the address cannot be bound to.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol given, asyncio sets TCP_NODELAY on each accepted connection.
    listening = Real.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except (OSError, OverflowError) as error:
        listening.close()
        number = getattr(error, "errno", None)
        if number == errno.EADDRINUSE:
            raise ConflictError(
                f"{name} cannot be served on port {port} of {host}, because the port is taken; "
                "stop what uses the port, or write another port"
            ) from None
        reason = "the port needs more rights" if number == errno.EACCES else str(error)
        raise InvalidError(
            f"{name} cannot be served on port {port} of {host}: {reason}; "
            'write moorage.config.web_host = "127.0.0.1" and a port from 1024 to 65,535'
        ) from None
    return listening


class Sites:
    """The sites of one run.  Any thread may call the methods."""

    def __init__(self) -> None:
        self._lock = Real.Lock()
        # Guarded by the lock.
        self._by_key: dict[Hashable, Site] = {}
        self._is_closed = False
        # Called, without the lock, with the name and the URL of each site that begins.
        self.announce: Callable[[str, str], object] | None = None

    @uninterruptible
    def open(self, key: Hashable, make: Callable[[], Site], *, takes_label: bool) -> Site:
        """Return the site of `key`; make it if there is none.

        Args:
            takes_label: whether the site answers for its label from now on, maybe in the place
                of a site of another run.

        Raises:
            ExecutionError: if the run is ending or has ended.
        """
        with self._lock:
            if self._is_closed:
                raise ExecutionError(
                    "the run is ending or has ended, so it serves no web function; ask for the "
                    "URL inside `with app.run():`"
                )
            site = self._by_key.get(key)
            if site is not None:
                return site
            site = make()
            site.begin()
            self._by_key[key] = site
            if takes_label:
                _labels[site.label] = site
        if self.announce is not None:
            self.announce(site.name, site.url)
        return site

    def url_of(self, key: Hashable) -> str | None:
        """Return the URL of the site of `key`; None if nobody has asked for it in this run."""
        with self._lock:
            site = self._by_key.get(key)
        return None if site is None else site.url

    def holder(self, label: str) -> Hashable | None:
        """Return the key of the site that has the label in this run; None if none has."""
        with self._lock:
            for key, site in self._by_key.items():
                if site.label == label:
                    return key
        return None

    def refuse(self) -> None:
        """Open no more sites, and refuse connections at once."""
        with self._lock:
            self._is_closed = True
            sites = list(self._by_key.values())
        if not sites:
            return
        for site in sites:
            if _labels.get(site.label) is site:
                del _labels[site.label]

        async def refuse() -> None:
            for site in sites:
                await site.refuse()

        process_http.run(refuse, CLOSING)

    def adopt(self, key: Hashable, connection: socket.socket) -> None:
        """Go on with a connection that another process has handed over, at the site of `key`."""
        with self._lock:
            site = self._by_key.get(key)
        if site is None:
            connection.close()
        else:
            site.adopt(connection)

    def wind_down(self, hand_over: HandOver | None = None) -> None:
        """Accept no more connections, and answer what is still asked on those that there are.

        Each response says ``Connection: close``, so that no client loses a request.

        Args:
            hand_over: takes idle connections, for another process that goes on with them: the label
                of the site, and a descriptor, which it closes.  Called on the HTTP thread.
        """
        with self._lock:
            sites = list(self._by_key.values())
        if not sites:
            return

        async def wind_down() -> None:
            for site in sites:
                await site.wind_down(hand_over)

        process_http.run(wind_down, CLOSING)

    def wait_emptied(self, seconds: float) -> bool:
        """Wait until all connections are closed; false if `seconds` pass first."""
        with self._lock:
            sites = list(self._by_key.values())
        if not sites:
            return True
        emptied: list[bool] = []

        async def wait() -> None:
            waits = [asyncio.ensure_future(site.connections.emptied(seconds)) for site in sites]
            for waiting in waits:
                emptied.append(await waiting)  # noqa: PERF401 - the tasks run at the same time

        process_http.run(wait, seconds + CLOSING)
        return len(emptied) == len(sites) and all(emptied)

    def close(self) -> None:
        """Close the connections that are left.  After `refuse`, and after the last input."""
        with self._lock:
            sites, self._by_key = list(self._by_key.values()), {}
        if not sites:
            return

        async def end() -> None:
            for ending in [asyncio.ensure_future(site.end()) for site in sites]:
                await ending

        process_http.run(end, CLOSING)


# The sites by their labels, over all runs: a request finds its site by the Host.  Each operation
# is atomic: no lock guards the table.
_labels: Final[dict[str, Site]] = {}
forking.in_child(_labels.clear)
