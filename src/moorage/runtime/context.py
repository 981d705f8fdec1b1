"""Which input the running code belongs to.

Owns one context variable, and of each thread whether it is a container's.  The
executors set the variable in the fresh context of each attempt; lifecycle hooks
run in an empty context where it says "a container, but no input".  Anyone may ask.
"""

from __future__ import annotations

from contextvars import Context, ContextVar
from typing import Final, cast

from . import forking
from .input import Input, is_of_this_process
from .real import Real
from .thread_state import thread_state

# Unset: not in a container.  None: in a container, in a hook.
running_input: Final[ContextVar[Input | None]] = ContextVar("moorage_running_input")


_OUTSIDE: Final = cast(Input, object())


def hook_context() -> Context:
    """An empty context, marked as being inside a container."""
    context = Context()
    context.run(running_input.set, None)
    return context


def current_input() -> Input | None:
    """The input that this code runs for; None outside of any, and in a child forked in one."""
    input = running_input.get(None)
    return input if input is not None and is_of_this_process(input) else None


# The thread of a child that was forked in a hook; 0 if it was not.
_hook_forked_on: int = 0


def _after_fork() -> None:
    global _hook_forked_on
    if running_input.get(_OUTSIDE) is None:
        _hook_forked_on = Real.get_ident()
    thread_state.container = None  # it stayed behind: nothing here is its thread


forking.in_child(_after_fork)


def current_input_id() -> str | None:
    """The id of the input that this code runs for; None outside of any input.

    Two inputs that run at the same time in one container see their own ids.
    """
    input = current_input()
    return None if input is None else input.input_id


def current_function_call_id() -> str | None:
    """The id of the call that this code runs for; None outside of any input.

    All inputs of one ``map`` share it.
    """
    input = current_input()
    return None if input is None else input.function_call_id


def is_local() -> bool:
    """True in the program that calls, False in code that a container runs."""
    input = running_input.get(_OUTSIDE)
    if input is None:
        return _hook_forked_on == Real.get_ident()
    return input is _OUTSIDE or not is_of_this_process(input)
