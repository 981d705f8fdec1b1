"""Captured contexts: what an input sees of its caller, with a decimal context of its own.

``copy_context()`` is shallow: the copy shares every mutable value with the original.
The decimal module keeps such a value in a context variable, and changes it in place:
after ``decimal.getcontext().prec = 3`` in a copy, the original computes with 3 digits.
So this file copies the decimal context wherever the engine copies a context: once when
a call captures its caller's (what the caller sets afterwards does not reach the input),
and once for each attempt (what an attempt sets reaches neither the caller nor others).

No other variable of the standard library needs this.  (Python 3.14 can keep the
filters of `warnings` in one, but filters are global settings everywhere else, and
``catch_warnings`` is meant to see the warnings of what it calls.)

Begin at :func:`capture`.  The lanes look for `decimal_context` themselves, in one
expression, because they are on the way of each input.  Anyone may call this file.
"""

from __future__ import annotations

import decimal
from contextvars import Context, ContextVar, copy_context
from typing import Final


def _find_decimal_context() -> ContextVar[decimal.Context]:
    """The variable of the decimal module, in C or in Python, which has no public name."""
    context = Context()
    context.run(decimal.getcontext)  # sets it
    for variable in context:
        return variable
    # A Python built with --without-decimal-contextvar keeps decimal contexts per thread:
    # then no context ever contains the variable that is looked for.
    return ContextVar("no_decimal_context")


decimal_context: Final = _find_decimal_context()

# A user's subclass of decimal.Context may have a `copy` of its own, which must not run
# in the engine.
_copy: Final = decimal.Context.copy


def capture() -> Context:
    """A copy of the current context, with a copy of its decimal context."""
    context = copy_context()
    if decimal_context in context:
        own_decimal_context(context)
    return context


def own_decimal_context(context: Context) -> None:
    """Put a copy in the place of the decimal context that `context` shares.

    Only if `decimal_context` is in `context`: else decimal makes a fresh one when it is
    first used there.
    """
    context.run(decimal_context.set, _copy(context[decimal_context]))
