"""Ports for servers that tests start: below those that the system gives out.

A port that the system has given out, and that was closed again, may be given to another process
before the server has it.  Begin at `free_port`.
"""

import contextlib
import itertools
import os
import socket

FIRST, COUNT = 10_000, 6_000

# Processes begin at different places, and each gives a port once.
_numbers = itertools.count(os.getpid() * 37)


def free_port() -> int:
    for number in itertools.islice(_numbers, COUNT):
        port = FIRST + number % COUNT
        with contextlib.suppress(OSError), socket.socket() as found:
            found.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")
