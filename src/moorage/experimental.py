"""Experimental: what code that runs in a container may ask of its container.

Owns the functions of Modal's ``modal.experimental`` that mean something in one process: the
concurrency of the current container, and the deployed apps.  The others can be imported, so that a
program's module loads; a call of theirs raises an error that says what to use instead.

Begin at `set_local_input_concurrency`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import partial_function
from .arguments import meant, unimplemented
from .calling.asking import ask
from .declaring.partial import Decorator
from .exception import (
    DeprecationError,
    InvalidArgumentsError,
    InvalidError,
    InvalidUseError,
    NotInContainerError,
    UnimplementedError,
)
from .frames import hide_our_frames, positional_arguments, warn
from .running import deployments
from .runtime.containers.container import Container
from .runtime.context import current_input, is_a_container
from .stores.home import environment_that_goes_along
from .web.servers import http_server as http_server
from .with_aio import function_with_aio, plain_function


def _container(name: str, error: type[InvalidError] = NotInContainerError) -> Container:
    input = current_input()
    if input is None:
        raise error(
            f"{name} belongs to the container that runs an input, and none runs here; "
            "call it in a function of an app"
        )
    container: Container = input.container
    return container


@hide_our_frames
def get_local_input_concurrency() -> int:
    """Return how many inputs this container may run now.

    This is the limit of the container, or the number of inputs in its slots if that is larger.

    Raises:
        InvalidError: outside of any input.
    """
    slots = _container("get_local_input_concurrency").slots
    return max(slots.limit, len(slots.held))


@hide_our_frames
def set_local_input_concurrency(concurrency: int) -> None:
    """Set the limit of this container: how many inputs it may run at once.

    The limit is from 1 to `max_inputs`: a number outside is replaced by the nearest bound, and
    a fraction is cut off.  Nothing is interrupted: while more inputs run than the new limit
    allows, no other input starts.  From then on the pool fills the container up to the new
    limit, and ``target_inputs`` does not apply to this container any more.

    Raises:
        InvalidError: outside of any input, or if `concurrency` is not a number.
    """
    container = _container("set_local_input_concurrency")
    given: object = concurrency
    try:
        number = None if isinstance(given, str) else int(concurrency)
    except (TypeError, ValueError, OverflowError):  # not a number, or not a finite one
        number = None
    if number is None:
        raise InvalidArgumentsError(
            f"set_local_input_concurrency takes how many inputs this container may run, got "
            f"{given!r}; write set_local_input_concurrency({meant(given, 1) or 4})"
        )
    container.host.resize(container, number)


@hide_our_frames
def stop_fetching_inputs() -> None:
    """Give this container no more inputs.  The container ends when its inputs have ended.

    Raises:
        InvalidError: outside of any input.
    """
    container = _container("stop_fetching_inputs", InvalidUseError)
    container.host.stop_fetching(container)


@hide_our_frames
def clustered(
    size: int, broadcast: bool = True, rdma: bool = False, fabric_size: int | None = None
) -> Decorator:
    """The old place of ``moorage.clustered``: works with a warning, also in strict mode.

    `broadcast` and `fabric_size` are for the cloud; accepted without effect.
    """
    if callable(size):
        raise positional_arguments("experimental.clustered", (size,), "@moorage.clustered(size=2)")
    warn(
        "experimental.clustered is moorage.clustered now; write @moorage.clustered(size=...)",
        DeprecationError,
    )
    return partial_function.clustered(size=size, rdma=rdma)


async def _stop_app_async(
    name: str, *, environment_name: str | None = None, client: object = None
) -> None:
    await deployments.find(name, environment_name).stop.aio()


@function_with_aio(_stop_app_async)
def stop_app(name: str, *, environment_name: str | None = None, client: object = None) -> None:
    """Stop the app that is deployed or runs in this process under `name`.

    Raises:
        NotFoundError: if there is no such app.
    """
    if is_a_container():
        ask(_stop_there, name, environment_that_goes_along(environment_name))
        return
    deployments.find(name, environment_name).stop()


async def _stop_there(name: str, environment_name: str | None) -> None:
    await deployments.find(name, environment_name).stop.aio()


@plain_function
def get_app_objects(
    app_name: str, *, environment_name: str | None = None, client: object = None
) -> dict[str, Any]:
    """Return the functions and classes of the app of this name, by their names.

    Raises:
        NotFoundError: if no app of this name is deployed or runs in this process.
    """
    if is_a_container():
        there: dict[str, Any] = ask(
            _objects_there, app_name, environment_that_goes_along(environment_name)
        )
        return there
    return _objects_there(app_name, environment_name)


def _objects_there(app_name: str, environment_name: str | None) -> dict[str, Any]:
    app = deployments.find(app_name, environment_name)
    return {**app._functions_by_name(), **app._classes_by_name()}


# -- for the cloud: these can be imported and named, and raise an error when they are called -----


@dataclass
class ClusterInfo:
    """The cluster in which a clustered function runs at Modal."""

    rank: int
    cluster_id: str
    container_ips: list[str]
    container_ipv4_ips: list[str]
    fabric_ids: list[str]


def _about_the_cloud(name: str) -> UnimplementedError:
    return unimplemented(
        f"experimental.{name}",
        "there are get_local_input_concurrency, set_local_input_concurrency, "
        "stop_fetching_inputs, get_app_objects and stop_app; leave it out, or run it with Modal",
    )


def get_cluster_info() -> ClusterInfo:
    """Raise `UnimplementedError`: this process has no clusters."""
    raise _about_the_cloud("get_cluster_info")


def get_fabric_peers() -> list[int]:
    """Raise `UnimplementedError`: this process has no clusters."""
    raise _about_the_cloud("get_fabric_peers")


@plain_function
def list_deployed_apps(environment_name: str = "", client: object = None) -> list[Any]:
    """Raise `UnimplementedError`: there is no account."""
    raise _about_the_cloud("list_deployed_apps")


@plain_function
def list_cluster_reservations(*, client: object = None) -> list[Any]:
    """Raise `UnimplementedError`: there is no account."""
    raise _about_the_cloud("list_cluster_reservations")


@plain_function
def get_app_lifecycle(app_id: str, *, client: object = None) -> Any:
    """Raise `UnimplementedError`: there is no account."""
    raise _about_the_cloud("get_app_lifecycle")


@plain_function
def image_delete(image_id: str, *, client: object = None) -> None:
    """Raise `UnimplementedError`: there are no images."""
    raise _about_the_cloud("image_delete")


@plain_function
def flash_forward(
    port: int,
    process: object = None,
    health_check_url: str | None = None,
    startup_timeout: int = 30,
    exit_grace_period: int = 0,
    h2_enabled: bool = False,
) -> Any:
    """Raise `UnimplementedError`: ports of this process are not forwarded."""
    raise _about_the_cloud("flash_forward")


@plain_function
def flash_get_containers(app_name: str, cls_name: str) -> list[Any]:
    """Raise `UnimplementedError`: nothing is served."""
    raise _about_the_cloud("flash_get_containers")


@plain_function
def server_forward() -> Any:
    """Raise `UnimplementedError`: ports of this process are not forwarded."""
    raise _about_the_cloud("server_forward")
