"""Endpoints: how the requests of a web function come to its pool.

Owns `FunctionEndpoint`, which the bridge (``web/bridge.py``) asks.  ``functions.py`` makes it.

Begin at `FunctionEndpoint.submit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..runtime.clocks.clock import Clock
from ..runtime.containers.residents import make_visit_target
from ..runtime.input import Input, Target
from ..runtime.pools.pool import Pool
from .services import Service


class FunctionEndpoint:
    """The endpoint of one web function.  See `Endpoint`."""

    def __init__(self, target: Target, service: Service) -> None:
        self.name: str = target.name
        self.resident: str = target.name
        self.target: Target = make_visit_target(target.name, is_method=target.is_method)
        self._service = service

    @property
    def clock(self) -> Clock:
        """The clock of the run that takes the next request."""
        return self._service.current_run().clock

    def submit(self, inputs: Sequence[Input], scope: Any) -> Pool:
        """See `Endpoint.submit`."""
        service = self._service
        while True:
            run = service.current_run()
            participants = run.clock.participants
            if participants is not None:
                participants.refuse_real_loop("asgi(f), or web_client(f),")
            pool = run.pools.get(service.key)
            if pool is None:
                pool = run.pool(service.key, service.maker(run))
            for input in inputs:
                input.args[0].counts = pool.tally.web
            if pool.submit(inputs):
                return pool
            run.drop(service.key, pool)
