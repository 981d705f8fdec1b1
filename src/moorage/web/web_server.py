"""Web servers: a server of the user's own behind a port of its container.

Owns `ServerResident`: how a container starts the server of a function under ``web_server``, or
waits for the server that the enter hooks of a server class started; how the port is waited for;
and how the server's processes end, after the exit hooks.  Requests go to the server by the proxy
(``proxy.py``).

Begin at `ServerResident.prepare`, then `make`, `begin` and `close`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from .. import config
from ..exception import ExecutionError, InvalidError, TimeoutError
from ..runtime.background import log
from ..runtime.clocks.clock import Waiter, system_clock
from ..runtime.context import hook_context
from ..runtime.kinds import discard, unfinished
from ..runtime.real import Real
from ..runtime.thread_state import thread_state
from .children import Brood
from .exchange import Receive, Scope, Send
from .proxy import Proxy
from .server_ports import give_port_back, is_loopback_only, pid_at, take_port

logger: Final = logging.getLogger("moorage")

# Seconds between two attempts to reach a server that starts.
TRIES_EVERY: Final = 0.01

# Seconds that a server gets which has put itself into the background: its first process has
# ended without an error.
BACKGROUND_GRACE: Final = 1.0

_HOSTS: Final = ("127.0.0.1", "::1")


class Serving:
    """The server of one container."""

    def __init__(self, name: str, container: Any) -> None:
        self.name: str = name
        self.container: Any = container
        self.brood: Brood = Brood()
        self.host: str = _HOSTS[0]
        self.proxy: Proxy | None = None
        # Of a container that did not wait for its server: the wait, or why there is no server.
        self.starting: asyncio.Task[None] | None = None
        self.error: InvalidError | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.error is not None:
            raise self.error
        if self.starting is not None:
            await Real.shield(self.starting)
        assert self.proxy is not None
        await self.proxy(scope, receive, send)


class ServerResident:
    """How the server of one web function or server class is started: see `Resident`."""

    def __init__(
        self,
        name: str,
        port: int,
        startup_timeout: float,
        bind: Callable[[Any], Callable[[], object]] | None,
    ) -> None:
        self.name: str = name
        self._port = port
        self._startup_timeout = startup_timeout
        # Returns the function that starts the server, bound to the container's instance.  None if
        # the enter hooks start the server.
        self._bind = bind
        # The servers of the containers that have one, by container.  Each container's thread T
        # touches its own entry only.
        self._serving: dict[Any, Serving] = {}
        # False if the container starts without the server, and each request waits for it.
        self.is_awaited: bool = True

    def prepare(self) -> None:
        """Take the port.  See `Resident.prepare`.

        Raises:
            InvalidError: if the port is taken.
        """
        container = thread_state.container
        self._serving[container] = serving = Serving(self.name, container)
        try:
            take_port(self._port, self.name, container)
        except InvalidError as error:
            if self.is_awaited:
                raise
            serving.error = error
        if self._bind is None:
            serving.brood.begin()

    def make(self, instance: Any, max_inputs: int) -> Serving:
        """Start the server.  See `Resident.make`."""
        serving = self._serving[thread_state.container]
        if self._bind is None:
            serving.brood.finish()
            return serving
        function = self._bind(instance)
        now = system_clock.now()
        alarm = system_clock.call_at(now + self._startup_timeout, partial(self._blocks, serving))
        try:
            with serving.brood.watch():
                result = function()
        finally:
            alarm.cancel()
        if unfinished(result):
            discard(result)
            raise InvalidError(
                f"{self.name} gave an object of type {type(result).__name__}, whose code nobody "
                "runs; write a plain def that starts the server and returns"
            )
        return serving

    def _blocks(self, serving: Serving) -> None:
        """Give the container up: the function has not returned.  On the timekeeper's thread."""
        error = TimeoutError(
            f"{self.name} has not returned after {self._startup_timeout:g} s, so it seems to run "
            "the server itself; return after starting it (subprocess.Popen, or a thread), or give "
            "web_server a larger startup_timeout"
        )

        def give_up() -> None:
            serving.container.host.start_hangs(serving.container, error)
            serving.brood.end()  # a function that waits for its process returns then

        Real.Thread(target=give_up, name="moorage-web-server-end", daemon=True).start()

    async def begin(self, made: Serving) -> None:
        """Wait until the server answers on its port.  See `Resident.begin`.

        Raises:
            TimeoutError: if nothing listens on the port in time.
            ExecutionError: if the server's process has ended.
        """
        if self.is_awaited:
            await self._get_ready(made)
        elif made.error is None:
            made.starting = Real.create_task(self._get_ready(made), context=hook_context())

    async def _get_ready(self, made: Serving) -> None:
        # On a thread, by real time: a server lives in real time, whatever the container's clock.
        loop = Real.get_running_loop()
        stop = _Stop()
        waiting = loop.run_in_executor(None, self._wait_for_port, made, stop)
        try:
            await waiting
        except asyncio.CancelledError:
            stop.now()
            raise
        pid = pid_at(self._port)
        if pid is not None and not made.brood.is_empty:
            made.brood.add(pid)
        if config.strict and is_loopback_only(self._port):
            log(
                logger,
                logging.WARNING,
                "%s listens on port %d of localhost only, which Modal cannot reach; "
                "bind the server to 0.0.0.0",
                self.name,
                self._port,
            )
        made.proxy = Proxy(self.name, made.host, self._port, made.container)
        await made.proxy.open()

    def _wait_for_port(self, serving: Serving, stop: _Stop) -> None:
        now = system_clock.now()
        until = now + self._startup_timeout
        gone_at: float | None = None
        while not stop.is_set:
            for host in _HOSTS:
                if _answers(host, self._port):
                    serving.host = host
                    return
            now = system_clock.now()
            code, lives = serving.brood.look()
            if not serving.brood.is_empty and not lives:
                gone_at = now if gone_at is None else gone_at
                if code or now - gone_at >= BACKGROUND_GRACE:
                    raise ExecutionError(
                        f"the server of {self.name} ended with exit code {code or 0} before it "
                        f"listened on port {self._port}; its output says why"
                    )
            if now >= until:
                raise TimeoutError(
                    f"waited {self._startup_timeout:g} s for port {self._port} of {self.name}, "
                    "and nothing listens there; bind the server to 0.0.0.0 and this port, or give "
                    "a larger startup_timeout"
                )
            stop.wait(TRIES_EVERY)

    async def end(self, made: Serving) -> None:
        """Close the connections to the server.  See `Resident.end`."""
        if made.starting is not None:
            made.starting.cancel()
            await Real.wait([made.starting])
        if made.proxy is not None:
            await made.proxy.close()

    def close(self) -> None:
        """End the server's processes, and give the port back.  See `Resident.close`."""
        container = thread_state.container
        serving = self._serving.pop(container, None)
        try:
            if serving is not None:
                serving.brood.end()
        finally:
            give_port_back(self._port, container)


class _Stop:
    """Ends the wait of another thread."""

    def __init__(self) -> None:
        self._lock: threading.Lock = Real.Lock()
        self._waiter: Waiter | None = None
        self.is_set: bool = False

    def now(self) -> None:
        with self._lock:
            self.is_set = True
            waiter = self._waiter
        if waiter is not None:
            waiter.wake()

    def wait(self, seconds: float) -> None:
        waiter = system_clock.make_waiter()
        with self._lock:
            if self.is_set:
                return
            self._waiter = waiter
        system_clock.wait(waiter, seconds)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1.0).close()
    except OSError:
        return False
    return True
