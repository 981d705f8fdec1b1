"""A server of the command line as a process, with its lines as they come."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
from typing import Any
from urllib.parse import urlsplit

from cli.shells import SRC

# Seconds after which a test that waits for a line or an end has failed.
PATIENCE = 60.0

# An application of text, without the time that a web framework takes to be imported.
PLAIN = """
import sys


def note(text):
    sys.stdout.write(f"{text}\\n")  # in one part: threads write at the same time
    sys.stdout.flush()


async def say(send, text):
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(text)).encode())]})
    await send({"type": "http.response.body", "body": text.encode()})


def answers(give):
    async def application(scope, receive, send):
        if scope["type"] == "http":
            await say(send, give(scope["path"]))
    return application
"""


class Server:
    """``moorage serve`` or ``moorage deploy``, started by `Shell`."""

    def __init__(self, shell: Any, *arguments: str) -> None:
        self.process: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "moorage", *arguments],
            cwd=shell.folder,
            env={**os.environ, "PYTHONPATH": SRC},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.lines: list[str] = []
        self._seen = 0
        self._is_over = False
        self._came = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._came:
                self.lines.append(line.rstrip("\n"))
                self._came.notify_all()
        with self._came:
            self._is_over = True  # all processes that could write have ended
            self._came.notify_all()

    def until(self, pattern: str) -> str:
        """Return the next line in which `pattern` is found, after those that were returned."""

        def find() -> str | None:
            while self._seen < len(self.lines):
                self._seen += 1
                if re.search(pattern, self.lines[self._seen - 1]):
                    return self.lines[self._seen - 1]
            assert not self._is_over, f"it ended without {pattern!r}:\n{self.text}"
            return None

        with self._came:
            found = self._came.wait_for(find, PATIENCE)
        assert found, f"no {pattern!r} in:\n{self.text}"
        return found

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def url(self, name: str) -> str:
        """Return the URL of a function, after the server has said it."""
        for line in reversed(self.lines):
            words = line.split()
            if words[:1] == [name] and "http" in line:
                return words[1]
        raise AssertionError(f"no URL of {name} in:\n{self.text}")

    def end(self, number: int = signal.SIGINT) -> int:
        """Send a signal to the server alone; return the exit code when all has ended."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Return the exit code, when no process has the server's output any more."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self._is_over, f"a process is left:\n{self.text}"
        return code


def ask(url: str, path: str = "/") -> str:
    """Return the body of an answer with 200, over a connection of its own."""
    status, _, body = fetch(url, path)
    assert status == 200, body
    return body


def fetch(url: str, path: str = "/") -> tuple[int, dict[str, str], str]:
    client = Client(url)
    try:
        return client.ask(path)
    finally:
        client.close()


class Client:
    """A client that keeps its connection, as long as the server does."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port, timeout=PATIENCE
        )

    def ask(self, path: str = "/") -> tuple[int, dict[str, str], str]:
        """Ask once: a connection that was closed without a word is an error."""
        self._connection.request("GET", path)
        response = self._connection.getresponse()
        body = response.read().decode()
        return response.status, {k.lower(): v for k, v in response.headers.items()}, body

    def close(self) -> None:
        self._connection.close()


def refuses(url: str) -> bool:
    """Whether nothing listens at a URL."""
    try:
        fetch(url)
    except ConnectionRefusedError:
        return True
    return False
