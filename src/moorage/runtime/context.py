"""The current input: which input the running code belongs to.

Owns the context variable `running_input`, and the functions that read it.  The lanes
set the variable in the new context of each attempt.  Lifecycle hooks run in an empty context
in which the variable is None: in a container, but in no input.  Any code may call this file.

Begin at `running_input`, then `current_input`.
"""

from __future__ import annotations

from contextvars import Context, ContextVar
from typing import Any, Final, cast

from . import forking
from .input import Input, is_of_this_process
from .real import Real
from .thread_state import thread_state

# Unset: not in a container.  None: in a container, in a hook.
running_input: Final[ContextVar[Input | None]] = ContextVar("moorage_running_input")

# The default of `running_input.get` where an unset variable must differ from None.
_OUTSIDE: Final = cast(Input, object())


def hook_context() -> Context:
    """Return an empty context in which `running_input` is None: in a container, in a hook."""
    context = Context()
    context.run(running_input.set, None)
    return context


def current_input() -> Input | None:
    """Return the input that this code runs for; None outside of any input.

    None also in a child that was forked in an input: the input belongs to the parent.
    """
    input = running_input.get(None)
    return input if input is not None and is_of_this_process(input) else None


def current_run() -> Any:
    """Return the run in whose container this code runs, also a hook; None outside of containers."""
    container = current_container()
    return None if container is None else getattr(container.host, "run", None)


def current_container() -> Any:
    """Return the container in which this code runs, also a hook; None outside of containers."""
    input = current_input()
    return thread_state.container if input is None else input.container


# In a child that was forked in a hook: the ident of the thread that forked.  Otherwise 0.
_hook_forked_on: int = 0


def _after_fork() -> None:
    global _hook_forked_on
    if running_input.get(_OUTSIDE) is None:
        _hook_forked_on = Real.get_ident()
    thread_state.container = None  # containers belong to the parent


forking.in_child(_after_fork)


def current_input_id() -> str | None:
    """Return the id of the input that this code runs for; None outside of any input.

    Two inputs that run at the same time in one container see their own ids.
    """
    input = current_input()
    return None if input is None else input.input_id


def current_function_call_id() -> str | None:
    """Return the id of the call that this code runs for; None outside of any input.

    All inputs of one ``map`` have the same call id.
    """
    input = current_input()
    return None if input is None else input.function_call_id


# True in the process of a container, and in what is forked there: all code is in the container.
_in_a_container: bool = False


# True from `be_a_container` until the program's code is here: its modules are imported.
_is_beginning: bool = False


def be_a_container() -> None:
    """Note that this process is a container's, before any user code runs."""
    global _in_a_container, _is_beginning
    _in_a_container = _is_beginning = True


def has_the_code() -> None:
    """Note that the code of the program has come to this container."""
    global _is_beginning
    _is_beginning = False


def is_a_container() -> bool:
    """Return whether this process is a container's: it has no apps that run."""
    return _in_a_container


def is_beginning() -> bool:
    """Return whether this process is a container's that imports the program's code.

    The calling program has imported the same code, and has said what there was to say about it.
    """
    return _is_beginning


def is_local() -> bool:
    """Return True in the program that calls, False in code that a container runs."""
    if _in_a_container:
        return False
    input = running_input.get(_OUTSIDE)
    if input is None:
        return _hook_forked_on == Real.get_ident()
    return input is _OUTSIDE or not is_of_this_process(input)
