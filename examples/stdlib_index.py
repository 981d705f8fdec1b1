"""Index the standard library of the Python that runs this: a Modal program, run on this machine.

The input is real, and only the distance is made up:

- A file server on loopback stands for a remote: it answers each request 20 ms
  late.  It serves the source of the standard library, some 1,800 files.
- `fetch` is an ordinary blocking function.  Under ``concurrent`` its container
  runs many inputs at once, each on a thread.
- `Indexer` is a class with hooks and an ``async`` method.  Inputs of a container
  share its event loop: each awaits ``fetch.remote.aio`` and counts what came.
  A second container starts because there is more to do than one should have.
- Results come through ``.map`` (here) and through ``.remote.aio`` (in `Indexer`).

Afterwards a plain loop calls the same two functions for one file after the
other.  The program exits with 1 if the loop found anything else than the
containers did, or if more was in flight than the decorators allow.

    moorage run examples/stdlib_index.py [--limit N]
"""

from __future__ import annotations

import ast
import http.client
import http.server
import secrets
import socketserver
import sys
import sysconfig
import threading
import time
import urllib.parse
import warnings
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import modal

LATENCY = 0.020  # seconds that the server adds to each request

MOST_REQUESTS = 24  # of `fetch`, at once
MOST_FILES = 16  # of an `Indexer`, at once

app = modal.App("stdlib-index")


class Module(NamedTuple):
    name: str
    lines: int
    functions: int
    classes: int


class Indexed(NamedTuple):
    """What one input of an `Indexer` found, and where it ran."""

    module: Module | None
    container: str
    at_once: int  # inputs in the container when this one began, itself included


def summarise(name: str, source: bytes) -> Module | None:
    """Count what is in one file; None if this Python cannot read it.

    Some of the standard library's own tests are broken on purpose.
    """
    try:
        tree = ast.parse(source, filename=name)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    functions = classes = 0
    for node in ast.walk(tree):
        functions += isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        classes += isinstance(node, ast.ClassDef)
    dotted = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return Module(dotted, len(source.splitlines()), functions, classes)


# The Indexers can ask for 2 x 16 files at once: some of that waits in the queue.
@app.function(max_containers=1)
@modal.concurrent(max_inputs=MOST_REQUESTS)
def fetch(port: int, name: str) -> bytes:
    """Get one file from the server."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/" + urllib.parse.quote(name))
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise OSError(f"the server answered {response.status} for {name}")
    return body


# A container should have 12 inputs, and takes 16 when no more containers can start.
@app.cls(max_containers=2)
@modal.concurrent(max_inputs=MOST_FILES, target_inputs=12)
class Indexer:
    @modal.enter()
    def begin(self) -> None:
        self.name = secrets.token_hex(4)
        self.running = self.indexed = 0

    @modal.method()
    async def index(self, name: str, *, port: int) -> Indexed:
        self.running += 1
        at_once = self.running
        try:
            source = await fetch.remote.aio(port, name)
        finally:
            self.running -= 1
        # Parsing holds up the loop, but a thread would gain nothing: it keeps the
        # GIL too.  Each Indexer is a process, which `moorage run` sees to, so two of
        # them parse at once.  The files of other inputs come in meanwhile.
        module = summarise(name, source)
        self.indexed += 1
        return Indexed(module, self.name, at_once)

    @modal.exit()
    def end(self) -> None:
        # The line's end in the same write: two containers may end at once.
        print(f"an Indexer ends after {self.indexed} files\n", end="", flush=True)


def index_in_a_loop(port: int, names: list[str]) -> list[Module | None]:
    results: list[Module | None] = []
    for name in names:
        results.append(summarise(name, fetch.local(port, name)))
        show_progress(len(results), len(names))
    return results


def totals(results: list[Module | None]) -> dict[str, int]:
    modules = [module for module in results if module is not None]
    return {
        "modules": len(modules),
        "lines": sum(module.lines for module in modules),
        "functions": sum(module.functions for module in modules),
        "classes": sum(module.classes for module in modules),
        "skipped": len(results) - len(modules),
    }


def differences(ours: list[Module | None], plain: list[Module | None]) -> list[str]:
    """What the two ways disagree about; empty if they found the same."""
    ours_totals, plain_totals = totals(ours), totals(plain)
    found = [
        f"{name}: {count:,} in the containers, {plain_totals[name]:,} in the plain loop"
        for name, count in ours_totals.items()
        if count != plain_totals[name]
    ]
    if not found and ours != plain:
        found.append("the totals are the same, but not what they are made of")
    return found


class Server(socketserver.ThreadingTCPServer):
    request_queue_size = 128
    lock = threading.Lock()
    waiting = 0  # requests, guarded by the lock, as is their peak
    peak = 0


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        with server.lock:
            server.waiting += 1
            server.peak = max(server.peak, server.waiting)
        time.sleep(LATENCY)
        # Before the answer: once the caller has that, it may send its next request.
        with server.lock:
            server.waiting -= 1
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass  # one line for each request would be too many


@contextmanager
def serving(directory: Path) -> Generator[Server, None, None]:
    """A server of the files in `directory`; it and its threads end with the block."""
    handler = partial(Handler, directory=str(directory))
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="file-server")
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def show_progress(done: int, total: int) -> None:
    """How far the plain loop is: one line that is written over on a terminal, else four lines."""
    text = f"plain loop: {done:,}/{total:,} done"
    if sys.stdout.isatty():
        print(f"\r{text}", end="\n" if done == total else "", flush=True)
    elif done * 4 // total > (done - 1) * 4 // total:
        print(text, flush=True)


def find_sources(stdlib: Path) -> list[str]:
    """Its source files, relative and in order, without what was installed into it."""
    installed = {"site-packages", "dist-packages"}
    paths = (path.relative_to(stdlib) for path in stdlib.rglob("*.py") if path.is_file())
    return sorted(path.as_posix() for path in paths if installed.isdisjoint(path.parts))


def print_table(results: list[Module | None]) -> None:
    print()
    for name, count in totals(results).items():
        note = "  cannot be parsed" if name == "skipped" else ""
        print(f"{name:<12} {count:>9,}{note}")
    print()  # each line is written at once, though containers write, too
    print(f"{'the ten largest modules':<40} {'lines':>9} {'functions':>9} {'classes':>9}")
    modules = [module for module in results if module is not None]
    for m in sorted(modules, key=lambda module: (-module.lines, module.name))[:10]:
        print(f"{m.name:<40} {m.lines:>9,} {m.functions:>9,} {m.classes:>9,}")


def excess(indexed: list[Indexed], server_peak: int) -> list[str]:
    """What was more than the decorators allow; empty as it should be."""
    found = []
    if (peak := max(each.at_once for each in indexed)) > MOST_FILES:
        found.append(f"{peak} inputs ran at once in an Indexer, over its limit")
    if server_peak > MOST_REQUESTS:
        found.append(f"the server had {server_peak} requests at once, over the limit of fetch")
    return found


@app.local_entrypoint()
def main(limit: int = 0) -> None:
    """Index the standard library, or only the first --limit files."""
    if limit < 0:
        sys.exit(f"--limit must be 1 or more, or 0 for all files, got {limit}")
    # The parser warns of each odd escape in old code: not what this is about.
    warnings.filterwarnings("ignore", category=SyntaxWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)

    stdlib = Path(sysconfig.get_path("stdlib"))
    names = find_sources(stdlib)[: limit or None]
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"Python {version}'s standard library: {len(names):,} files, {LATENCY * 1000:g} ms away")
    with serving(stdlib) as server:
        begin = time.perf_counter()
        indexed = list(Indexer().index.map(names, kwargs={"port": server.server_address[1]}))
        middle = time.perf_counter()
        server_peak = server.peak  # before the plain loop
        plain = index_in_a_loop(server.server_address[1], names)
        end = time.perf_counter()
    ours = [each.module for each in indexed]
    print_table(ours)

    shares = Counter(each.container for each in indexed)
    peak = max(each.at_once for each in indexed)
    print()
    print(f"at once in one Indexer       {peak:>3} of {MOST_FILES}")
    print(f"at once at the file server   {server_peak:>3} of {MOST_REQUESTS}")
    print(f"files by each Indexer        {', '.join(map(str, sorted(shares.values())))}")

    factor = (end - middle) / (middle - begin)
    print()
    print(f"with moorage {middle - begin:>9.1f} s")
    print(f"plain loop   {end - middle:>9.1f} s   {factor:.1f} times as long")
    problems = differences(ours, plain) + excess(indexed, server_peak)
    print("the totals are the same" if not problems else "NOT as it should be:")
    for problem in problems:
        print(f"  {problem}")
    if problems:
        sys.exit(1)
