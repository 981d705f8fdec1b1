"""Endpoints: how the requests of a web function come to its pool.

Owns `FunctionEndpoint` and `ServerEndpoint`, which the bridge (``web/bridge.py``) asks.
``functions.py``, ``server.py`` and ``cls.py`` make them.

Begin at `FunctionEndpoint.submit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..runtime.containers.residents import make_visit_target
from ..runtime.input import Input, Target
from ..runtime.pools.pool import Pool
from ..runtime.real import Real
from ..web.bridge import TooManyRequests
from .services import Service


class FunctionEndpoint:
    """The endpoint of one web function.  See `Endpoint`."""

    def __init__(self, target: Target, service: Service) -> None:
        self.name: str = target.name
        self.resident: str = target.name
        self.target: Target = make_visit_target(target.name, is_method=target.is_method)
        self._service = service

    def submit(self, inputs: Sequence[Input], scope: Any) -> Pool:
        """See `Endpoint.submit`."""
        return _submit(self._service, inputs)


class ServerEndpoint:
    """The endpoint of a class whose enter hooks start a server.  See `Endpoint`."""

    def __init__(self, target: Target, service: Service, max_concurrency: int | None) -> None:
        self.name: str = target.name
        self.resident: str = target.name
        self.target: Target = target
        self._service = service
        self._most = max_concurrency
        # Held while a request is counted and submitted, so that `_most` is never exceeded.
        self._lock = Real.Lock()

    def submit(self, inputs: Sequence[Input], scope: Any) -> Pool:
        """See `Endpoint.submit`.

        Raises:
            TooManyRequests: if `max_concurrency` requests wait or run.
        """
        if not self._most:
            return _submit(self._service, inputs)
        with self._lock:
            run = self._service.current_run()
            pool = run.pools.get(self._service.key)
            if pool is not None:
                seen = pool.statistics()
                if seen.queued + seen.running + len(inputs) > self._most:
                    raise TooManyRequests(
                        f"{self.name} has {self._most} requests already, its max_concurrency"
                    )
            return _submit(self._service, inputs)


def _submit(service: Service, inputs: Sequence[Input]) -> Pool:
    while True:
        run = service.current_run()
        pool = run.pools.get(service.key)
        if pool is None:
            pool = run.pool(service.key, service.maker(run))
        if pool.submit(inputs):
            return pool
        run.drop(service.key, pool)
