"""Ports: the connections of one listening socket, and how many there may be.

Owns `Port`, which counts the connections of one port and closes the oldest idle one when there
are too many.  A port ends in one of two ways.  `Port.retire` closes what is idle at once.
`Port.wind_down` loses no request: what still comes on a connection is answered, with
``Connection: close``.  ``uvicorn_protocol.py`` has the connections; ``sites.py`` has the ports.
Used on the HTTP loop only.

Begin at `Port.admit`, then `Port.end`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from ..runtime.real import Real
from .driven import Driven

# The most connections of one port.
MOST_CONNECTIONS: Final = 1000


class Connected(Protocol):
    """One connection of a port."""

    def retire(self) -> None:
        """Take no more requests: close now if idle, else after the response."""
        ...

    def wind_down(self) -> None:
        """Say ``Connection: close`` in the next response; if idle, be handed over or close soon."""
        ...

    def abort(self) -> None:
        """Close now, whatever is unsent."""
        ...


class Port:
    """The connections of one listening socket."""

    def __init__(self) -> None:
        # In order of arrival.
        self._connections: dict[Connected, None] = {}
        # The connections without an unfinished request, the one that is idle longest first.
        # Invariant: a subset of `_connections`.
        self._idle: dict[Connected, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._requests: set[Driven] = set()  # those that run in no task
        self._last: asyncio.Future[None] | None = None
        self.is_closed: bool = False
        # Whether each response is the last one of its connection.
        self.is_winding_down: bool = False
        # While it winds down: takes the descriptor of an idle connection, for another process that
        # goes on with it.  None if there is none.
        self.hand_over: Callable[[int], object] | None = None
        # Done when the last connection is closed; None while nobody waits for that.
        self._empty: asyncio.Future[None] | None = None

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """The tasks of the WebSockets: the server adds and removes them."""
        return self._tasks

    def run(self, request: Driven, coroutine: Coroutine[Any, Any, object]) -> None:
        """Have `request` run `coroutine`, which starts when the caller resumes the request."""
        self._requests.add(request)
        request.begin(coroutine, self)

    def ended(self, request: Driven) -> None:
        """Note that the coroutine of `request` has ended."""
        self._requests.discard(request)
        if self._last is not None and not self._requests and not self._last.done():
            self._last.set_result(None)

    @property
    def connections(self) -> int:
        """The number of connections."""
        return len(self._connections)

    def admit(self, connection: Connected) -> bool:
        """Count a new connection, which is idle; return false if there is no room for it."""
        if self.is_closed:
            return False
        if len(self._connections) >= MOST_CONNECTIONS:
            if not self._idle:
                return False
            oldest = next(iter(self._idle))
            self.remove(oldest)
            oldest.abort()
        self._connections[connection] = self._idle[connection] = None
        return True

    def replace(self, before: Connected, connection: Connected) -> None:
        """Count `connection`, which became a WebSocket, in the place of `before`."""
        if before in self._connections:
            self._connections[connection] = None  # first: the port is not empty in between
            self.remove(before)

    def busy(self, connection: Connected) -> None:
        """Note that `connection` has an unfinished request."""
        self._idle.pop(connection, None)

    def idle(self, connection: Connected) -> None:
        """Note that `connection` has no unfinished request any more."""
        if connection in self._connections:
            self._idle[connection] = None

    def remove(self, connection: Connected) -> None:
        """Count `connection` no more.  A second call does nothing."""
        self._connections.pop(connection, None)
        self._idle.pop(connection, None)
        if self._empty is not None and not self._connections:
            self._empty.set_result(None)
            self._empty = None

    def retire(self) -> None:
        """Admit no more connections, and let those that there are close."""
        self.is_closed = True
        for connection in list(self._connections):
            connection.retire()

    def wind_down(self, hand_over: Callable[[int], object] | None) -> None:
        """Let each connection have one more response at most, which tells the client so.

        Connections on which nothing is asked are handed over; without `hand_over` they are closed
        after a moment.
        """
        self.is_winding_down = True
        self.hand_over = hand_over
        for connection in list(self._connections):
            connection.wind_down()

    async def emptied(self, seconds: float) -> bool:
        """Wait until all connections are closed; false if `seconds` pass first."""
        if not self._connections:
            return True
        if self._empty is None:
            self._empty = Real.get_running_loop().create_future()
        done, _ = await Real.wait([self._empty], timeout=seconds)
        return bool(done)

    async def end(self, seconds: float) -> None:
        """Wait until all connections are closed; abort those that are left after `seconds`."""
        if not await self.emptied(seconds):
            self._abort()
        if self._requests:
            self._last = Real.get_running_loop().create_future()
            timer = Real.get_running_loop().call_later(seconds, self._cancel)
            await self._last
            timer.cancel()
        tasks = [task for task in self._tasks if task is not Real.current_task()]
        if tasks:
            _, left = await Real.wait(tasks, timeout=seconds)
            for task in left:
                task.cancel()

    def _cancel(self) -> None:
        for request in list(self._requests):
            request.cancel()
        if self._last is not None and not self._last.done():
            self._last.set_result(None)

    def _abort(self) -> None:
        for connection in list(self._connections):
            self.remove(connection)
            connection.abort()

    @property
    def descriptors(self) -> list[int]:
        """The sockets of the connections, for a forked child that closes its copies."""
        found: list[int] = []
        for connection in list(self._connections):
            transport = getattr(connection, "transport", None)
            socket = None if transport is None else transport.get_extra_info("socket")
            if socket is not None and socket.fileno() >= 0:
                found.append(socket.fileno())
        return found
