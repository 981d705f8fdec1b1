"""The groups of web serving: one application behind bare uvicorn, and behind moorage.

Owns the contenders and the client that loads them.  Each server runs in a process of its own
(``web_server.py``), the client in this one: on a machine with two cores each has one.  All
talk to loopback only.  Begin at `served`, then `_Load`.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Self

from .bodies import echo
from .harness import Contender, Goal, Group
from .proof import CheckFailed

CONNECTIONS: Final = 200
PATIENCE: Final = 60.0
"""Seconds that a server or a client may take, before the benchmark fails."""

Act = Callable[["Server", Sequence[int]], tuple[float, list[Any]]]
"""Sends one request an input; returns the microseconds of all, and the answers in order."""


class Server:
    """A server in a process of its own."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.web_server", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
            text=True,
        )
        self.port: int = self._read()["port"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=PATIENCE)
        finally:
            self._process.kill()

    def ask(self, question: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return self._read()

    def cpu(self) -> float:
        """Seconds of user and system time so far."""
        return float(self.ask("cpu")["seconds"])

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise CheckFailed(f"the server {self.kind} ended: {self._process.wait()}")
        said: dict[str, Any] = json.loads(line)
        return said


class _Connection(asyncio.Protocol):
    """A keep-alive connection that sends the next request when the former one is answered."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._received = b""
        self._number = 0
        self._sent_at = 0.0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def send_next(self) -> None:
        number = self._load.next_number()
        if number is None:
            return
        self._number, self._received = number, b""
        self._sent_at = time.perf_counter()
        self._transport.write(b"GET /?n=%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % number)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or not body.endswith(b"}"):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self._load.fail(CheckFailed(f"an answer was not 200: {head[:200]!r}"))
            return
        self._load.done(self._number, json.loads(body)["n"], time.perf_counter() - self._sent_at)
        self.send_next()

    def connection_lost(self, error: Exception | None) -> None:
        self._load.fail(CheckFailed(f"a connection was closed: {error!r}"))

    def close(self) -> None:
        self._transport.abort()


class _Load:
    """One round: all numbers, over so many connections."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._left = iter(numbers)
        self._answers: dict[int, int] = {}
        self._expected = len(numbers)
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.latencies: list[float] = []

    async def run(self, connections: list[_Connection]) -> list[int]:
        for connection in connections:
            connection.send_next()
        async with asyncio.timeout(PATIENCE):
            await self._end
        return [self._answers[number] for number in sorted(self._answers)]

    def next_number(self) -> int | None:
        return next(self._left, None)

    def done(self, number: int, answer: int, seconds: float) -> None:
        self._answers[number] = answer
        self.latencies.append(seconds)
        if len(self._answers) == self._expected and not self._end.done():
            self._end.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self._end.done():
            self._end.set_exception(error)


class _Latencies:
    """The latencies of all rounds of a contender, for a note beneath the rows."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.rounds: list[list[float]] = []

    def __str__(self) -> str:
        every = sorted(seconds for each in self.rounds[1:] or self.rounds for seconds in each)
        if not every:
            return f"{self._name}: nothing measured"
        middle, late = every[len(every) // 2], every[int(len(every) * 0.99)]
        return f"{self._name}: p50 {middle * 1000:.1f} ms, p99 {late * 1000:.1f} ms"


def _load(server: Server, numbers: Sequence[int], latencies: _Latencies) -> tuple[float, list[Any]]:
    """Send one request a number over all connections; return microseconds, and the answers."""

    async def main() -> tuple[float, list[int]]:
        loop = asyncio.get_running_loop()
        load = _Load(numbers)
        connections: list[_Connection] = []
        for _ in range(CONNECTIONS):
            _, protocol = await loop.create_connection(
                lambda: _Connection(load), "127.0.0.1", server.port
            )
            connections.append(protocol)
        began = time.perf_counter()
        answers = await load.run(connections)
        took = (time.perf_counter() - began) * 1e6
        _check_connections(server)
        latencies.rounds.append(load.latencies)
        for connection in connections:
            connection.close()
        return took, answers

    return asyncio.run(main())


def _check_connections(server: Server) -> None:
    """The row is void if a connection waits for acknowledgements before it sends."""
    checked = server.ask("check")
    if checked["delay"] or checked["no_delay"] < CONNECTIONS:
        raise CheckFailed(f"{server.kind}: not every connection has TCP_NODELAY: {checked}")
    if checked.get("peak", 0) > CONNECTIONS:
        raise CheckFailed(f"{server.kind}: over its limit: {checked}")
    if checked.get("accepted") != checked.get("succeeded"):
        raise CheckFailed(f"{server.kind}: not every request succeeded: {checked}")


def _contender(name: str, server: Server, act: Act, goal: float | None) -> Contender:
    return Contender(
        name,
        lambda numbers: act(server, numbers)[1],
        lambda numbers: act(server, numbers),
        None if goal is None else Goal(goal),
    )


@contextmanager
def served(quick: bool) -> Iterator[Group]:
    """Time of a request: goals of 0.68 and 0.58 of bare uvicorn's requests per second."""
    with _group("web", quick, cpu=False) as group:
        yield group


@contextmanager
def served_cpu(quick: bool) -> Iterator[Group]:
    """Processor's time of a request, of the server's whole process."""
    with _group("web-cpu", quick, cpu=True) as group:
        yield group


@contextmanager
def _group(name: str, quick: bool, *, cpu: bool) -> Iterator[Group]:
    goals = (1.38, 1.6) if cpu else (1 / 0.68, 1 / 0.58)
    kinds = [
        ("bare uvicorn", "bare", None),
        ("moorage, one container", "moorage-1", goals[0]),
        ("moorage, two containers", "moorage-2", goals[1]),
    ]
    with ExitStack() as stack:
        notes: list[Any] = []
        contenders: list[Contender] = []
        for title, kind, goal in kinds:
            server = stack.enter_context(Server(kind))
            latencies = _Latencies(title)
            notes.append(latencies)
            contenders.append(_contender(title, server, _way(latencies, cpu), goal))
        what = "processor's time of the server" if cpu else "a JSON route that awaits 5 ms"
        yield Group(
            name,
            "µs",
            f"{what}, {CONNECTIONS} keep-alive connections",
            echo,
            1000 if quick else 2000,
            CONNECTIONS,
            contenders,
            notes=[] if cpu else notes,
            remote=True,
        )


def _way(latencies: _Latencies, cpu: bool) -> Act:
    def act(server: Server, numbers: Sequence[int]) -> tuple[float, list[Any]]:
        before = server.cpu()
        took, answers = _load(server, numbers, latencies)
        return (server.cpu() - before) * 1e6 if cpu else took, answers

    return act


@contextmanager
def wsgi(quick: bool) -> Iterator[Group]:
    """A WSGI application: goal of 0.8 of the requests per second of a2wsgi alone."""
    with ExitStack() as stack:
        notes: list[Any] = []
        contenders: list[Contender] = []
        for title, kind, goal in (
            ("a2wsgi under bare uvicorn", "bare-wsgi", None),
            ("moorage wsgi_app", "moorage-wsgi", 1 / 0.8),
        ):
            server = stack.enter_context(Server(kind))
            latencies = _Latencies(title)
            notes.append(latencies)
            contenders.append(_contender(title, server, _way(latencies, cpu=False), goal))
        yield Group(
            "web-wsgi",
            "µs",
            f"a WSGI application, {CONNECTIONS} keep-alive connections",
            echo,
            500 if quick else 1000,
            CONNECTIONS,
            contenders,
            notes=notes,
            remote=True,
        )


@contextmanager
def sockets(quick: bool) -> Iterator[Group]:
    """Round trips of one WebSocket."""
    with ExitStack() as stack:
        contenders = [
            _contender(title, stack.enter_context(Server(kind)), _round_trips, None)
            for title, kind in (("bare uvicorn", "bare"), ("moorage", "moorage-1"))
        ]
        yield Group(
            "web-socket",
            "µs",
            "round trips of a WebSocket that echoes, one after the other",
            echo,
            100 if quick else 1000,
            1,
            contenders,
            remote=True,
        )


def _round_trips(server: Server, numbers: Sequence[int]) -> tuple[float, list[Any]]:
    from websockets.sync.client import connect

    with connect(f"ws://127.0.0.1:{server.port}/ws", compression=None) as socket:
        answers: list[int] = []
        began = time.perf_counter()
        for number in numbers:
            socket.send(str(number))
            answers.append(int(socket.recv(timeout=PATIENCE)))
        return (time.perf_counter() - began) * 1e6, answers


def measure_cold(rounds: int) -> str:
    """Return a line: how long the first response takes, of a pool without containers."""
    from urllib.request import urlopen

    seconds: list[float] = []
    for _ in range(rounds):
        with Server("moorage-cold") as server:
            began = time.perf_counter()
            with urlopen(f"http://127.0.0.1:{server.port}/?n=7", timeout=PATIENCE) as response:
                answer = json.load(response)
            seconds.append(time.perf_counter() - began)
            if answer != {"n": 7}:
                raise CheckFailed(f"the first response from a cold pool was {answer}")
    seconds.sort()
    middle, least, most = (seconds[at] * 1000 for at in (len(seconds) // 2, 0, -1))
    return (
        f"web: the first response of a pool without containers took {middle:.1f} ms "
        f"({least:.1f} to {most:.1f} in {rounds} processes), with the import of Starlette in its "
        "factory, and the route's own 5 ms"
    )
