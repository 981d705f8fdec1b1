"""``python -m tests.load [--seconds S]``: gigabytes through slots, slow peers, a neighbour.

Owns the clients, and what must hold:

    1 GB up and 1 GB down, through one slot: every byte arrives; the server's memory grows by
    less than 64 MB.
    50 clients that read 1 MB/s and 50 that send to an application that reads 1 MB/s, for S
    seconds: the same bound for the server's memory; the neighbour's p99 is at most twice what
    it is beside nothing.

The exit status is 1 if one of them does not hold.  The clients run in this process, the server in
another one, whose memory is read in ``/proc``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

GIGABYTE: Final = 1 << 30
RATE: Final = 1 << 20  # bytes a second of a slow peer
SLOW: Final = 50
MOST_GROWTH: Final = 64 << 20
PART: Final = bytes(256 * 1024)
# The neighbour's p99 is not compared below this: a busy machine's scheduler is slower than that.
LEAST_P99: Final = 0.010


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    port = urlsplit(url).port
    return await asyncio.open_connection("127.0.0.1", port, limit=len(PART))


async def read_head(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"an answer was not 200: {head!r}")


async def upload(url: str, length: int, query: str = "") -> int:
    """Send a body of zeros as fast as the server takes it; return the count it answers."""
    reader, writer = await connect(url)
    writer.write(
        f"POST /up{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n".encode()
    )
    sent = 0
    while sent < length:
        part = PART[: length - sent]
        sent += len(part)
        writer.write(part)
        await writer.drain()
    await read_head(reader)
    counted = int(await reader.read(100))
    writer.close()
    return counted


async def download(url: str, length: int, rate: float = 0.0) -> int:
    """Read a body of `length` bytes, at most `rate` bytes a second; return what came."""
    reader, writer = await connect(url)
    writer.write(f"GET /down?bytes={length} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
    await read_head(reader)
    came = 0
    began = time.monotonic()
    while part := await reader.read(len(PART)):
        came += len(part)
        if rate:
            await asyncio.sleep(max(0.0, began + came / rate - time.monotonic()))
    writer.close()
    return came


async def latencies(url: str, seconds: float) -> list[float]:
    """Ask the neighbour again and again on one connection; return the seconds of each answer."""
    reader, writer = await connect(url)
    taken: list[float] = []
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        began = time.perf_counter()
        writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await read_head(reader)
        await reader.readexactly(len(b"quiet"))
        taken.append(time.perf_counter() - began)
        await asyncio.sleep(0.01)
    writer.close()
    return sorted(taken)


class Memory:
    """The resident memory of the server, and the most that was seen."""

    def __init__(self, pid: int) -> None:
        self._path = Path(f"/proc/{pid}/statm")
        self.most = self.now()

    def now(self) -> int:
        return int(self._path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    async def watch(self) -> None:
        while True:
            self.most = max(self.most, self.now())
            await asyncio.sleep(0.05)


def p99(taken: list[float]) -> float:
    return taken[int(len(taken) * 0.99)]


async def load(urls: dict[str, str], memory: Memory, seconds: float) -> list[str]:
    """Do all of it, print what was measured, and return what does not hold."""
    wrong: list[str] = []
    for warm in ("single", "crowd"):
        await download(urls[warm], 8 << 20)
        await upload(urls[warm], 8 << 20)
    await latencies(urls["quiet"], 1)
    before = memory.most = memory.now()
    watching = asyncio.create_task(memory.watch())

    def check_growth(what: str) -> None:
        growth = memory.most - before
        print(f"{what}: memory grew by {growth / (1 << 20):.1f} MB", flush=True)
        if growth >= MOST_GROWTH:
            wrong.append(f"{what}: memory grew by {growth} bytes")

    began = time.monotonic()
    counted = await upload(urls["single"], GIGABYTE)
    up_at = time.monotonic()
    came = await download(urls["single"], GIGABYTE)
    down_at = time.monotonic()
    if (counted, came) != (GIGABYTE, GIGABYTE):
        wrong.append(f"of 1 GB, {counted} bytes went up and {came} came down")
    check_growth(f"1 GB up in {up_at - began:.1f} s, and down in {down_at - up_at:.1f} s")

    alone = await latencies(urls["quiet"], 10)
    length = int(RATE * seconds)
    slow = [
        *(download(urls["crowd"], length, RATE) for _ in range(SLOW)),
        *(upload(urls["crowd"], length, f"?rate={RATE}") for _ in range(SLOW)),
    ]
    beside, *ends = await asyncio.gather(latencies(urls["quiet"], seconds), *slow)
    if set(ends) != {length}:
        wrong.append(f"slow peers got {sorted(set(ends))} bytes, and not {length}")
    check_growth(f"{SLOW} slow readers and {SLOW} slow uploads for {seconds:g} s")
    print(
        f"the neighbour's p50 and p99: alone {alone[len(alone) // 2] * 1000:.2f} and "
        f"{p99(alone) * 1000:.2f} ms, beside them {beside[len(beside) // 2] * 1000:.2f} and "
        f"{p99(beside) * 1000:.2f} ms"
    )
    if p99(beside) > 2 * max(p99(alone), LEAST_P99):
        wrong.append("the neighbour's p99 is more than twice what it is alone")
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the slow peers")
    seconds: float = parser.parse_args().seconds
    command: list[Any] = [sys.executable, "-m", "tests.load.server"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        urls: dict[str, str] = json.loads(server.stdout.readline())
        try:
            bounded = asyncio.wait_for(load(urls, Memory(server.pid), seconds), 300 + 3 * seconds)
            wrong = asyncio.run(bounded)
        finally:
            server.communicate(timeout=30)
    for each in wrong:
        print(f"does not hold: {each}")
    print("all as it should be" if not wrong else f"{len(wrong)} do not hold")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
