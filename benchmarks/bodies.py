"""The bodies that are measured: what every contender of a group runs for an input.

Owns them and nothing else.  A body takes one input.  The inputs that are timed
are integers, and are given back.  Those of the proof are callables, and are
called: so the proof runs in the very functions, pools and containers that were
timed, and not in twins of them.  Every contender pays for that look at the type.
"""

from __future__ import annotations

import time
from typing import Any, Final

NAP: Final = 0.010


async def echo_async(x: Any) -> Any:
    return x if type(x) is int else await x()


def echo(x: Any) -> Any:
    return x if type(x) is int else x()


def nap(x: Any) -> Any:
    if type(x) is not int:
        return x()
    time.sleep(NAP)
    return x
