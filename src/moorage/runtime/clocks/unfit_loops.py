"""Unfit loops: event loops that were made before a thread entered a clock, or outlive its part.

Owns two corrections to ``loops_here.py``, for ``participants.py``: `forget_loop`, when a thread
leaves its clock, and `advice_for_test_case`, when a thread enters a clock too late.
"""

from __future__ import annotations

import sys
from typing import Any

from ..real import Real
from ..stacks import outwards
from ..thread_state import thread_state


def forget_loop() -> None:
    """Close the loop that ``asyncio.get_event_loop()`` has made here, as the thread leaves a clock.

    Otherwise later code of this thread, in real time, would get that loop.
    """
    loop, thread_state.implicit_loop = thread_state.implicit_loop, None
    if loop is None or loop.is_running():
        return
    if not loop.is_closed():
        loop.close()
    local: Any = getattr(Real.policy(), "_local", None)
    if getattr(local, "_loop", None) is loop:
        local._loop = None
        local._set_called = False  # so that the policy makes a loop again


def advice_for_test_case(*, in_set_up: bool) -> str | None:
    """Return what to write in an ``IsolatedAsyncioTestCase`` that enters a clock too late.

    Such a test case makes its loop before ``setUp``.  None if no such test case calls, or if its
    loop is of a clock.

    Args:
        in_set_up: the caller runs on no loop, so only ``setUp`` is too late.
    """
    if "unittest.async_case" not in sys.modules:
        return None
    frames = outwards(sys._getframe(1))
    frame = next((f for f in frames if f.f_globals.get("__name__") == "unittest.async_case"), None)
    if frame is None:
        return None
    case: Any = frame.f_locals.get("self")
    loop: object = getattr(getattr(case, "_asyncioRunner", None), "_loop", None)
    if loop is None or getattr(loop, "clock", None) is not None:
        return None
    if in_set_up and frame.f_code.co_name != "_callSetUp":
        return None
    return (
        f"{type(case).__qualname__} makes its event loop before setUp; enter the clock "
        "before that: def run(self, result=None): with VirtualClock() as self.clock: "
        "return super().run(result); or with pytest "
        '@pytest.mark.usefixtures("virtual_clock") above the class'
    )
