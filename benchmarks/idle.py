"""What an idle app costs: CPU time of the whole process while its containers wait.

Owns the making of the containers, half of them with threads and half with
loops, and the reading of the process's user and system time.
"""

from __future__ import annotations

import resource
import time
from typing import Any, Final

import moorage

from .bodies import echo
from .proof import CheckFailed

CONTAINERS: Final = 8


async def echo_later(x: Any) -> Any:
    return echo(x)


def measure_idle(seconds: float) -> str:
    """Let containers idle for so long; say what that used, in one line.

    Raises:
        CheckFailed: if not all of them are there, idle, before and after.
    """
    app = moorage.App("idle")
    functions = [
        app.function(name=f"idle-{index}")(
            moorage.concurrent(max_inputs=10)(echo_later if index % 2 else echo)
        )
        for index in range(CONTAINERS)
    ]
    with app.run():
        for function in functions:
            function.remote(1)
        _check_idle(functions)
        before = _used()
        time.sleep(seconds)
        used = _used() - before
        _check_idle(functions)
    return (
        f"idle: {CONTAINERS} idle containers used {used * 1000:.2f} ms of CPU, "
        f"user and system, in {seconds:g} s"
    )


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _check_idle(functions: list[Any]) -> None:
    for function in functions:
        now = function.statistics()
        if now is None or now.running or [c.state.value for c in now.containers] != ["ready"]:
            raise CheckFailed(f"idle: not one idle container: {now}")
