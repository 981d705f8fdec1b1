"""A probe that does not get in the way: for tests of cancels, strikes and speed."""

from __future__ import annotations

from typing import Any

from moorage.testing import Probe


class Onlooker(Probe):
    """Wakes who waits in `wait_until`; records nothing, and no frame of it is around user code."""

    def _record(self, *args: Any) -> None: ...

    def around(self, pool: Any, input: Any, function: Any) -> Any:
        return function
