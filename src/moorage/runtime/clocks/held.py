"""Held locks: the lock in which a thread is blocked for real, and who holds it, for an error.

Owns the search in the frames of blocked threads.  Only ``stuck.py`` calls it, when virtual time
stands: nobody has noted who took which lock, so the search reads the code that the threads run.
Begin at `why_it_blocks`.

It finds the lock of ``with lock:`` and ``lock.acquire()`` where the lock is a variable or an
attribute, and the ``with`` blocks in which other threads are.  It reads variables and attributes
without running any user code.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import FrameType, MemberDescriptorType, ModuleType
from typing import Any, Final

from ..places import shown_step
from ..real import Real
from ..stacks import outwards, thread_name
from .blocking import ALL_LOCKS, acquire_of, call_in, owner_of, standard_caller

# The methods that block.
_METHODS: Final = frozenset({"acquire", "acquire_lock", "__enter__"})

_VARIABLES: Final = ("LOAD_FAST", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_NAME")


def why_it_blocks(frame: FrameType | None, frames: dict[int, FrameType]) -> str | None:
    """Return the call in which a thread is blocked, and who holds the lock, if it is known.

    None if the thread is in no blocking call of ``threading``, ``queue`` or
    ``concurrent.futures``.  `frame` is the thread's innermost frame, `frames` those of all threads.
    """
    if frame is None:
        return None
    lock = _lock_of(frame, list(dis.get_instructions(frame.f_code)))
    call = call_in(frame) if standard_caller(frame) else None
    if lock is None or call not in (None, "Condition.__enter__"):
        return call
    kind = "Lock" if owner_of(lock) is None else "RLock"
    return acquire_of(f"{kind}.acquire", kind, _holder_of(lock, frames))


def _holder_of(lock: object, frames: dict[int, FrameType]) -> str | None:
    owner = owner_of(lock)
    for ident, innermost in frames.items():
        if owner is not None and ident != owner:
            continue
        for frame in outwards(innermost):
            for taken, line in _locks_of_blocks(frame):
                if taken is lock or _attribute(taken, "_lock") is lock:  # of a Condition
                    return f"{thread_name(ident)} took in {shown_step((frame.f_code, line))}"
        if owner is not None:
            return f"{thread_name(ident)} holds"
    return None


def _locks_of_blocks(frame: FrameType) -> Iterator[tuple[object, int]]:
    """Yield the lock of each ``with`` block in which `frame` is, and the line of the block."""
    parse: Any = getattr(dis, "_parse_exception_table", None)
    if parse is None or not frame.f_code.co_exceptiontable:
        return
    instructions = list(dis.get_instructions(frame.f_code))
    table = parse(frame.f_code)
    line = frame.f_code.co_firstlineno
    for number, instruction in enumerate(instructions):
        if instruction.positions is not None and instruction.positions.lineno is not None:
            line = instruction.positions.lineno
        if instruction.opname != "BEFORE_WITH" or number + 1 == len(instructions):
            continue
        begin = instructions[number + 1].offset
        # A block with a `try` inside has several entries, with the same target.
        target = next((e.target for e in table if e.start <= begin < e.end), None)
        end = max((e.end for e in table if e.target == target), default=0)
        if target is not None and begin <= frame.f_lasti < end:
            yield _value_of(frame, instructions[:number]), line


def _lock_of(frame: FrameType, instructions: list[dis.Instruction]) -> object | None:
    """Return the lock that `frame` is taking now; None if it does something else."""
    before = [each for each in instructions if each.offset <= frame.f_lasti]
    if not before:
        return None
    last = before.pop()
    if last.opname in ("CALL", "PRECALL"):
        while before and before[-1].argval not in _METHODS:
            last = before.pop()
        if not before or before.pop().opname not in ("LOAD_METHOD", "LOAD_ATTR"):
            return None
    elif last.opname != "BEFORE_WITH":
        return None
    value = _value_of(frame, before)
    return value if isinstance(value, ALL_LOCKS) else None


def _value_of(frame: FrameType, before: list[dis.Instruction]) -> object | None:
    """Return the value that the last of the instructions have loaded: ``a`` or ``a.b.c``."""
    names: list[str] = []
    for instruction in reversed(before):
        name = instruction.opname
        if name in ("LOAD_ATTR", "LOAD_METHOD"):
            names.append(str(instruction.argval))
            continue
        if name == "LOAD_GLOBAL":
            value: object = frame.f_globals.get(instruction.argval)
        elif name.startswith(_VARIABLES):
            variables = frame.f_locals
            value = variables.get(instruction.argval, frame.f_globals.get(instruction.argval))
        else:
            return None
        while names and value is not None:
            value = _attribute(value, names.pop())
        return value
    return None


def _attribute(value: object, name: str) -> object | None:
    if isinstance(value, ModuleType):
        variables: dict[str, Any] = object.__getattribute__(value, "__dict__")
        return variables.get(name)
    found: object = Real.getattr_static(value, name, None)
    if isinstance(found, MemberDescriptorType):
        try:
            slot: object = found.__get__(value)  # an attribute in `__slots__`
        except AttributeError:
            return None
        return slot
    return found
