"""Captured contexts: the caller's context for an input, with its own decimal context.

Owns :func:`capture` and :func:`shared_capture`, and the copying of decimal contexts.  Any file may
call this file.  The lanes test ``decimal_context in context`` themselves, which saves a call for
each input.

Begin at :func:`capture`, then :func:`own_decimal_context`, then :func:`shared_capture`.

``copy_context()`` is shallow: the copy shares every mutable value with the original.
The decimal module keeps a mutable value in a context variable, and changes it in place:
after ``decimal.getcontext().prec = 3`` in a copy, the original computes with 3 digits.
So the engine copies the decimal context whenever it copies a context.  First when a call
captures its caller's context: later changes of the caller do not reach the input.  Then for
each attempt: changes of one attempt reach neither the caller nor other attempts.

No other variable of the standard library needs this.  (Python 3.14 can keep the filters of
`warnings` in a context variable, but filters are global settings in all other versions, and
``catch_warnings`` is meant to see the warnings of the code that it calls.)
"""

from __future__ import annotations

import decimal
import gc
import weakref
from contextvars import Context, ContextVar, copy_context
from typing import Final


def _find_decimal_context() -> ContextVar[decimal.Context]:
    """Return the context variable of the decimal module, which has no public name.

    Works for both implementations of the module, in C and in Python.
    """
    context = Context()
    context.run(decimal.getcontext)  # sets the variable
    for variable in context:
        return variable
    # A Python built with --without-decimal-contextvar keeps decimal contexts per thread.
    # There, return a variable that no context ever contains.
    return ContextVar("no_decimal_context")


decimal_context: Final = _find_decimal_context()

# Called instead of the method `copy`: a user's subclass of decimal.Context may override it,
# and user code must not run in the engine.
_copy: Final = decimal.Context.copy


def capture() -> Context:
    """Return a copy of the current context, with a copy of its decimal context."""
    context = copy_context()
    if decimal_context in context:
        own_decimal_context(context)
    return context


def own_decimal_context(context: Context) -> None:
    """Replace the decimal context in `context` by a copy.

    `decimal_context` must be in `context`.  If it is not, there is nothing to copy: the
    decimal module makes a new decimal context at its first use there.
    """
    context.run(decimal_context.set, _copy(context[decimal_context]))


_referents: Final = gc.get_referents
# The context that the last `shared_capture` returned, and the id of what is in it.  A weak
# reference, because a context keeps the user's values.
# Invariant: while the context lives, its contents have that id: nobody changes such a context.
_last: tuple[weakref.ref[Context], int] | None = None


def shared_capture() -> Context:
    """As `capture`; but calls that capture equal contexts one after another share one object.

    A program that spawns a million calls has one context then, and not a million.  The result is
    there to be copied, as each attempt does: nobody may change it, or run code in it.

    A context object has its variables in an immutable tree, to which a copy refers.  So two
    contexts with one tree are equal.  To compare them with ``==`` would run the user's ``__eq__``
    if the trees differ.
    """
    global _last
    context = copy_context()
    if decimal_context in context:  # has its own copy, which is a change
        own_decimal_context(context)
        return context
    inside = _referents(context)
    if len(inside) != 1:  # an interpreter whose contexts are made otherwise
        return context
    known, contents = _last, id(inside[0])
    if known is not None and known[1] == contents:
        before = known[0]()
        if before is not None:
            return before
    _last = weakref.ref(context), contents
    return context
