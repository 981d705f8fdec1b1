"""The bodies that are measured: what every contender of a group runs for an input.

Owns them and nothing else.  A body takes one input.  The inputs that are timed
are integers, and are given back.  Those of the proof are callables, and are
called: so the proof runs in the very functions, pools and containers that were
timed, and not in twins of them.  Every contender pays for that look at the type.
"""

from __future__ import annotations

import os
import pickle
import time
from typing import Any, Final

NAP: Final = 0.010


async def echo_async(x: Any) -> Any:
    return x if type(x) is int else await x()


def echo(x: Any) -> Any:
    return x if type(x) is int else x()


def echo_each(xs: Any) -> Any:
    for x in xs:
        yield echo(x)


def nap(x: Any) -> Any:
    if type(x) is not int:
        return x()
    time.sleep(NAP)
    return x


# -- of the groups of worker processes ------------------------------------------------------

ROUNDS_OF_WORK: Final = 250_000
SIZE: Final = 8_000_000  # bytes of an array


def work(x: Any) -> Any:
    """Calculate for some 20 ms, in Python."""
    total = 0
    for number in range(ROUNDS_OF_WORK):
        total += number & x
    return x if total >= 0 else None


def sleep_long(path: str) -> None:
    """Say in a file in which process this runs, and run on."""
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(600.0)


class Numbers:
    """An array of bytes, pickled as numpy's arrays are: out of band, where the protocol can."""

    def __init__(self, first: int) -> None:
        self.data: Any = bytearray(SIZE)
        self.data[0] = first

    def __reduce_ex__(self, protocol: Any) -> Any:
        data = pickle.PickleBuffer(self.data) if protocol >= 5 else bytes(self.data)
        return _numbers, (data,)


def _numbers(data: Any) -> Numbers:
    made = Numbers.__new__(Numbers)
    made.data = data
    return made


def first_of(numbers: Any) -> int:
    """The first number of an array that has come whole."""
    first: int = numbers.data[0]
    return first if len(numbers.data) == SIZE else -1
