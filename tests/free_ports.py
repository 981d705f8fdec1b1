"""Ports for servers that tests start: below those that the system gives out.

A port that the system has given out, and that was closed again, may be given to another process
before the server has it.  Begin at `free_port`.
"""

import itertools
import os
import socket
from contextlib import ExitStack

FIRST, COUNT = 10_000, 6_000

# Processes begin at different places, and each gives a port once.
_numbers = itertools.count(os.getpid() * 37)


def free_port(count: int = 1) -> int:
    """Return the first of `count` ports in a row that are free now."""
    for _ in range(COUNT // count):
        number, *_rest = itertools.islice(_numbers, count)
        first = FIRST + number % COUNT
        with ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise AssertionError("no ports are free")
