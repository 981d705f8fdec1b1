"""Real clients on loopback: raw bytes, and the application under test behind its URL."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import moorage

# Seconds after which a client gives up: the test has failed then.
PATIENCE = 30.0


class Client:
    """One connection that speaks raw HTTP."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname or "", parts.port or 0), PATIENCE)
        self.buffer = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, path: str, *headers: str, method: str = "GET", body: bytes = b"") -> None:
        """Send a request; the Host is there unless `headers` has one."""
        lines = [f"{method} {path} HTTP/1.1"]
        if not any(header.lower().startswith("host:") for header in headers):
            lines.append("Host: 127.0.0.1")
        self.send("\r\n".join([*lines, *headers, "", ""]).encode() + body)

    def more(self) -> bool:
        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)

    def until(self, mark: bytes) -> bytes:
        """Return what comes up to and with `mark`."""
        while mark not in self.buffer:
            assert self.more(), f"closed after {self.buffer!r}"
        before, _, self.buffer = self.buffer.partition(mark)
        return before + mark

    def rest(self) -> bytes:
        """Return what comes until the server closes."""
        with contextlib.suppress(ConnectionError):
            while self.more():
                pass
        rest, self.buffer = self.buffer, b""
        return rest

    def answer(self, *, head: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Return the status, the headers and the body of the next response."""
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = {
            name.lower(): value
            for name, value in (line.split(": ", 1) for line in lines[1:] if line)
        }
        if head or status in (204, 304) or status < 200:
            return status, headers, b""
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.until(b"\r\n"), 16):
                body += self._exactly(size)
                self._exactly(2)
            self._exactly(2)
            return status, headers, body
        return status, headers, self._exactly(int(headers["content-length"]))

    def _exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            assert self.more(), f"closed after {self.buffer!r}"
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data


def get(url: str, path: str = "/", *headers: str) -> tuple[int, dict[str, str], bytes]:
    with Client(url) as client:
        client.ask(path, *headers)
        return client.answer()


def refuses(url: str) -> bool:
    """Whether nothing listens at the URL."""
    try:
        Client(url).socket.close()
    except ConnectionRefusedError:
        return True
    return False


@contextlib.contextmanager
def served(
    make: Callable[[], Any], *, drain: bool = False, grace: float | None = None, **options: Any
) -> Iterator[tuple[Any, str]]:
    """A web function that returns ``make()``, in a run; and its URL."""
    app = moorage.App("served")
    concurrency = options.pop("max_inputs", 10)

    def api() -> Any:
        return make()

    function: Any = app.function(serialized=True, **options)(
        moorage.concurrent(max_inputs=concurrency)(moorage.asgi_app()(api))
    )
    with app.run(drain=drain, grace=grace):
        yield function, function.get_web_url()


def without_date(head: bytes) -> bytes:
    return re.sub(rb"date: [^\r]*\r\n", b"", head)


@contextlib.contextmanager
def bare_uvicorn(application: Any) -> Iterator[str]:
    """The same application behind uvicorn alone."""
    import uvicorn

    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(100)
    settings = uvicorn.Config(
        application,
        http="httptools",
        ws="websockets-sansio",
        loop="asyncio",
        log_config=None,
        proxy_headers=False,
        access_log=True,
        ws_per_message_deflate=False,
        lifespan="off",
    )
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(PATIENCE)
        listening.close()
