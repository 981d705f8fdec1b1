"""Driven coroutines: what runs on an event loop without a task.

Owns `Driven`.  A request of the HTTP thread waits once, for its response.  A task would cost three
callbacks of the loop with a context each: for the start, for the wake-up, and for the end.  The
requests that came in one turn of the loop start in one callback, and the responses that came in
one turn go on in one callback: see ``mailbox.py``.

Code that is driven has no current task, and all of it has one context.  So this is for code of
ours that runs no user code.  Used on the loop's thread only.

Begin at `Driven.resume`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Protocol, cast

from ..runtime.real import Real


class Owner(Protocol):
    """Knows the requests that are driven: a `Port`."""

    def ended(self, driven: Driven, /) -> None: ...


class Driven:
    """One coroutine.  The coroutine may await futures of the loop, and this object itself.

    Awaiting this object waits for the next call of `resume`.  No other code awaits it.  The object
    is its own iterator: one object less for the garbage collector to look at.
    """

    __slots__ = ("_coroutine", "_future", "_is_awaited", "_owner")

    def __init__(self) -> None:
        self._coroutine: Coroutine[Any, Any, object] | None = None
        # The future that the coroutine awaits; None if the coroutine awaits this object, or runs.
        self._future: asyncio.Future[Any] | None = None
        self._is_awaited = False
        self._owner: Owner | None = None

    def begin(self, coroutine: Coroutine[Any, Any, object], owner: Owner) -> None:
        """Take a coroutine, which starts with the first `resume`.

        Args:
            owner: learns that the coroutine has ended.
        """
        self._coroutine, self._owner = coroutine, owner

    def __await__(self) -> Generator[None]:
        self._is_awaited = False
        return cast("Generator[None]", self)

    def __iter__(self) -> Driven:
        return self

    def __next__(self) -> None:
        if self._is_awaited:
            raise StopIteration
        self._is_awaited = True

    def resume(self, _: object = None, *, error: BaseException | None = None) -> None:
        """Let the coroutine go on until it waits again.  Called by the loop, in no other task."""
        coroutine = self._coroutine
        if coroutine is None:
            return
        self._future = None
        try:
            found = coroutine.send(None) if error is None else coroutine.throw(error)
        except (StopIteration, asyncio.CancelledError):
            self._end()
        except BaseException as raised:
            self._end()
            Real.get_running_loop().call_exception_handler(
                {"message": "a request has failed", "exception": raised}
            )
        else:
            if found is not None:
                self._future = found
                found._asyncio_future_blocking = False
                found.add_done_callback(self.resume)

    def cancel(self) -> None:
        """Raise CancelledError in the coroutine, where it waits.  Called as `resume` is."""
        if self._future is not None:
            self._future.cancel()
        else:
            self.resume(error=asyncio.CancelledError())

    def _end(self) -> None:
        owner, self._owner = self._owner, None
        self._coroutine = None
        if owner is not None:
            owner.ended(self)
