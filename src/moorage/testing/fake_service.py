"""The service of a fake container: it runs a function outside of the function's app.

Owns `FakeService`, which gives the fake container's options and run to the functions that the
container runs, and `in_container`, which makes these functions.  The engine asks a service for
the options, the run and the pool (``running/services.py``).

Begin at `FakeService.current_run`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from ..app import App
from ..declaring.options import FunctionOptions
from ..exception import ExecutionError, InvalidError
from ..functions import Function
from ..running.runs import MakePool, Run
from ..running.services import RunningApp, Service
from ..runtime.pools.autoscaler import Limits


class FakeService:
    """The service of a function as the fake container sees it.

    The options are those of the fake container, and the current run is the fake
    container's run, not a run of the app.  Everything else comes from the wrapped service.
    """

    def __init__(
        self, service: Service, options: FunctionOptions, get_run: Callable[[], Run | None]
    ) -> None:
        # No variant: the options of a fake container are its own, and not a change.
        self._inner: Service = service.with_options(options, variant="")
        self._get_run = get_run

    @property
    def app(self) -> App:
        app: App = self._inner.app
        return app

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def key(self) -> Hashable:
        return self._inner.key

    @property
    def options(self) -> FunctionOptions:
        return self._inner.options

    @property
    def is_variant(self) -> bool:
        return self._inner.is_variant

    def web_app(self) -> RunningApp:
        return self._inner.web_app()

    @property
    def mounts_volumes(self) -> bool:
        return self._inner.mounts_volumes

    @property
    def limits(self) -> Limits:
        return self._inner.limits

    def current_run(self) -> Run:
        run = self._get_run()
        if run is None:
            raise ExecutionError(
                f"the fake container of {self.name} is not in use any more; "
                "call its functions inside `with FakeContainer(...) as container:`"
            )
        return run

    @property
    def open_run(self) -> Run | None:
        return self._get_run()

    def places_in(self, run: Run) -> None:
        return None

    def maker(self, run: Run) -> MakePool:
        return self._inner.maker(run)

    def with_options(self, options: FunctionOptions, *, variant: str | None = None) -> FakeService:
        return FakeService(self._inner, options, self._get_run)

    def update_autoscaler(self, changes: Mapping[str, Any]) -> Limits:
        raise InvalidError(
            "a fake container has no autoscaler; "
            "call container.set_limit(...), or run the app: `with app.run(clock=clock):`"
        )


def in_container(function: Function[Any, Any, Any], service: Service) -> Function[Any, Any, Any]:
    """Return a copy of `function` whose inputs run in the pool of `service`."""
    return Function._make(
        function._target, service, function._local, shown=repr(function), web=function._web
    )
