"""The options of a fake container: their types, and how they change a function's options.

Owns `FakeOptions` and the check of what a test gave.  `FakeContainer` (``fake_container.py``)
describes the options, and calls `changed` when it is made.

Begin at `changed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from ..declaring.marks import Concurrency
from ..declaring.options import FunctionOptions, OnFull, changed_options
from ..declaring.parameters import checked_batching
from ..exception import InvalidError
from ..retries import Retries
from ..runtime.clocks.clock import Clock


class FakeOptions(TypedDict, total=False):
    """The options of a `FakeContainer`, which describes them; each may be left out."""

    max_inputs: int | None
    target_inputs: int | None
    max_batch_size: int | None
    wait_ms: int | None
    timeout: float | None
    queue_timeout: float | None
    max_backlog: int | None
    on_full: OnFull | None
    retries: int | Retries | None
    clock: Clock | None
    serialize: bool
    grace: float | None


def check_names(given: Mapping[str, object]) -> None:
    """Refuse an option that `FakeContainer` does not have.

    Raises:
        InvalidError: if there is one.
    """
    unknown = given.keys() - FakeOptions.__annotations__.keys()
    if unknown:
        raise InvalidError(
            f"FakeContainer has no option {min(unknown)}; "
            f"write one that it has: {', '.join(FakeOptions.__annotations__)}"
        )


def changed(options: FunctionOptions, given: FakeOptions) -> FunctionOptions:
    """Return `options`, changed by the fake container's options, for exactly one container."""
    most, target = given.get("max_inputs"), given.get("target_inputs")
    if most is not None or target is not None:
        concurrency = Concurrency(options.max_inputs if most is None else most, target).checked()
        options = options.merged(concurrency=concurrency)
    size, wait_ms = given.get("max_batch_size"), given.get("wait_ms")
    if size is not None or wait_ms is not None:
        if size is None or wait_ms is None:
            raise InvalidError(
                f"a batch needs max_batch_size and wait_ms, got {size} and {wait_ms}; "
                "write both, as max_batch_size=4, wait_ms=100"
            )
        options = options.merged(batching=checked_batching(size, wait_ms))
    names = ("retries", "timeout", "queue_timeout", "max_backlog", "on_full")
    options = changed_options(options, {}, {}, **{name: given.get(name) for name in names})
    options.check_queue_timeout()
    return options.merged(min_containers=1, max_containers=1, buffer_containers=0)
