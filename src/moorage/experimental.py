"""Experimental: what code that runs in a container may ask of its container.

Owns Modal's ``modal.experimental`` functions that mean something in process:
the container's own concurrency, and the deployed apps.  The others are named,
and say what there is instead.
"""

from __future__ import annotations

from typing import Any, NoReturn

from . import deployments
from .exception import NotInContainerError
from .partial_function import clustered as clustered
from .runtime.container import Container
from .runtime.context import running_input
from .with_aio import FunctionWithAio


def _container(name: str) -> Container:
    input = running_input.get(None)
    if input is None:
        raise NotInContainerError(
            f"{name} belongs to the container that runs an input, and none runs here; "
            "call it in a function of an app"
        )
    container: Container = input.container
    return container


def get_local_input_concurrency() -> int:
    """How many inputs this container may run now: the larger of its limit and what runs.

    Raises:
        NotInContainerError: outside of any input; an InvalidError.
    """
    slots = _container("get_local_input_concurrency").slots
    return max(slots.limit, len(slots.held))


def set_local_input_concurrency(concurrency: int) -> None:
    """Set how many inputs this container may run, from 1 to its max_inputs.

    A number beyond these is brought within.  Interrupts nothing: while more
    run than are allowed, no further one starts.

    Raises:
        NotInContainerError: outside of any input; an InvalidError.
    """
    container = _container("set_local_input_concurrency")
    container.host.resize(container, int(concurrency))


def stop_fetching_inputs() -> None:
    """Take no more inputs in this container; it ends when those it has are done.

    Raises:
        NotInContainerError: outside of any input; an InvalidError.
    """
    container = _container("stop_fetching_inputs")
    container.host.stop_fetching(container)


def _stop_app(name: str, *, environment_name: str | None = None, client: object = None) -> None:
    """Stop the app that is deployed in this process under `name`.

    Raises:
        NotFoundError: if there is none.
    """
    deployments.find(name).stop()


async def _stop_app_async(
    name: str, *, environment_name: str | None = None, client: object = None
) -> None:
    await deployments.find(name).stop.aio()


stop_app: FunctionWithAio[..., None] = FunctionWithAio(_stop_app, _stop_app_async)


def _get_app_objects(
    app_name: str, *, environment_name: str | None = None, client: object = None
) -> dict[str, Any]:
    """The functions and classes of the app that is deployed under `app_name`, by name.

    Raises:
        NotFoundError: if there is none.
    """
    app = deployments.find(app_name)
    return {**app._functions_by_name(), **app._classes_by_name()}


get_app_objects: FunctionWithAio[..., dict[str, Any]] = FunctionWithAio(_get_app_objects)

_CLOUD_ONLY = frozenset(
    {
        "flash_forward",
        "flash_get_containers",
        "get_cluster_info",
        "get_fabric_peers",
        "http_server",
        "image_delete",
        "list_cluster_reservations",
        "list_deployed_apps",
        "server_forward",
    }
)


def __getattr__(name: str) -> NoReturn:
    if name in _CLOUD_ONLY:
        raise AttributeError(
            f"experimental.{name} is about Modal's cloud and is not here; "
            "there are get_local_input_concurrency, set_local_input_concurrency, "
            "stop_fetching_inputs, get_app_objects and stop_app"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
