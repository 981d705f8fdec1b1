"""The sessions of ``moorage serve`` and ``moorage deploy`` in the guide are what happens."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .servers import PATIENCE, Server

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/guides/command-line.md").read_text()


def session(command: str) -> list[str]:
    """Return the lines that a command writes, as the guide has them; and its command line."""
    mark = f"<!-- a session of {command}: tests/cli/test_sessions.py -->\n```console\n"
    block = GUIDE.partition(mark)[2].partition("```")[0]
    return [line for line in block.splitlines() if line != "^C"]


def shown(lines: list[str]) -> list[str]:
    """Give lines without what differs each time; ports count from the first one."""
    first: list[int] = []
    found: list[str] = []

    def port(match: re.Match[str]) -> str:
        number = int(match[1])
        if number not in first:
            first.append(number)
        return f"127.0.0.1:<{first.index(number)}>"

    for line in lines:
        line = re.sub(r"127\.0\.0\.1:(\d+)", port, line)
        line = re.sub(r"pid \d+", "pid N", line)
        found.append(re.sub(r"after [\d.]+ s$", "after T", line))
    return found


@contextmanager
def started(shell, monkeypatch, command: str) -> Iterator[tuple[Server, list[str]]]:
    monkeypatch.setenv("MOORAGE_HOME", str(shell.folder / "home"))
    for name in ("cli_serve.py", "cli_deploy.py"):
        shell.write(name, (ROOT / "examples/docs" / name).read_text())
    first, *lines = session(command)
    assert first.startswith(f"$ moorage {command} ")
    with Server(shell, *first.split()[2:], "--port", "0") as server:
        yield server, lines


def post(url: str, value: object) -> object:
    request = urllib.request.Request(
        url, json.dumps(value).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return json.load(response)


def test_the_session_of_serve(shell, monkeypatch: pytest.MonkeyPatch):
    with started(shell, monkeypatch, "serve") as (server, lines):
        server.until("Serving")
        assert post(server.url("Model.price"), ["tea", "cake", "salt"]) == 8
        server.until("loaded")
        path = shell.folder / "cli_serve.py"
        path.write_text(path.read_text().replace("hello", "good morning"))
        server.until("Reloaded")
        with urllib.request.urlopen(server.url("greet"), timeout=PATIENCE) as response:
            assert json.load(response) == "good morning you"
        assert server.end() == 130
        # An editor, or the system, may report one change as two.
        changed = "Changed: cli_serve.py"
        came = [
            line
            for line, before in zip(server.lines, ["", *server.lines], strict=False)
            if not line == before == changed
        ]
        assert shown(came) == shown(lines)


def test_the_session_of_deploy(shell, monkeypatch: pytest.MonkeyPatch):
    with started(shell, monkeypatch, "deploy") as (server, lines):
        server.until("Ctrl-C stops")
        assert shown(server.lines) == shown(lines)
        with urllib.request.urlopen(server.url("words"), timeout=PATIENCE) as response:
            assert json.load(response) == 2
        assert server.end(signal.SIGTERM) == 0
