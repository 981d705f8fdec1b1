"""Servers: what may be decorated as one, and with which arguments.

Owns ``experimental.http_server``, and the checks that it shares with `App.server`.  The checks are
Modal's.  ``web_server.py`` serves such a class: its enter hooks start a server, which is asked by
the proxy.

Begin at `http_server`, then `check_server_class`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..declaring.declarations import Declarations
from ..declaring.marks import Marks, Serves, name_of
from ..declaring.partial import Decorator, PartialFunction, mark
from ..exception import InvalidArgumentsError, InvalidError
from ..frames import hide_our_frames, positional_arguments
from ..runtime.real import Real


@hide_our_frames
def http_server(
    port: int | None = None,
    *,
    proxy_regions: Sequence[str] = (),
    startup_timeout: int = 30,
    exit_grace_period: int | None = None,
    h2_enabled: bool = False,
) -> Decorator:
    """Mark a class whose enter hook starts an HTTP server.

    Write the decorator below ``@app.cls()``.

    Args:
        port: the port that the server listens on, 1 to 65,535.
        proxy_regions: for the cloud; at least one.
        startup_timeout: seconds until the server must listen; above 0.
        exit_grace_period: seconds for the last requests, 0 to 25.
        h2_enabled: for the cloud; accepted without effect.

    Raises:
        InvalidError: if an argument is wrong, or the decorated object is not a class.
    """
    example = '@modal.experimental.http_server(8000, proxy_regions=["us-east"])'
    if port is None or callable(port):
        raise positional_arguments("http_server", (port,), example)
    check_http_server(
        port,
        startup_timeout,
        exit_grace_period,
        "proxy_regions",
        proxy_regions and proxy_regions[0],
        longest=25,
    )

    @hide_our_frames
    def decorate(obj: Any) -> Any:
        raw = obj.raw if isinstance(obj, PartialFunction) else obj
        if not Real.isclass(raw):
            raise InvalidError(
                f"http_server decorates a class, got {name_of(raw)}; "
                f"write {example} above a class, below @app.cls()"
            )
        serves = Serves(int(port), startup_timeout, exit_grace_period)
        return mark("http_server", obj, is_server=True, serves=serves)

    return decorate


def check_http_server(
    port: object,
    startup_timeout: float,
    exit_grace_period: float | None,
    region_name: str,
    region: object,
    *,
    longest: int,
) -> None:
    """Check the arguments that both decorators have.

    Raises:
        InvalidError: for the first argument that is wrong.
    """
    if not isinstance(port, int) or not 1 <= port <= 65535:
        raise InvalidError(f"port must be a number from 1 to 65,535, got {port!r}; write port=8000")
    if startup_timeout <= 0:
        raise InvalidError(
            f"startup_timeout must be above 0 seconds, got {startup_timeout!r}; "
            "write startup_timeout=30"
        )
    if exit_grace_period is not None and not 0 <= exit_grace_period <= longest:
        raise InvalidError(
            f"exit_grace_period must be from 0 to {longest} seconds, got {exit_grace_period!r}; "
            "write exit_grace_period=10"
        )
    if not region:
        written = '["us-east"]' if region_name == "proxy_regions" else '"us-east"'
        raise InvalidError(
            f"{region_name} must name a region, got none; write {region_name}={written}"
        )


def check_server_concurrency(
    target: object, most: object, options: Mapping[str, object] | None
) -> None:
    """Check ``target_concurrency`` and ``max_concurrency`` of `App.server`.

    Raises:
        InvalidError: for the first argument that is wrong.
    """
    if target is not None and (
        isinstance(target, bool) or not isinstance(target, (int, float)) or not target >= 0
    ):
        raise InvalidError(
            f"target_concurrency must be a number from 0 up, got {target!r}; "
            "write target_concurrency=10"
        )
    if most is None:
        return
    if options is not None and "max_concurrency" in options:
        raise InvalidError(
            "max_concurrency is given twice, also in experimental_options; "
            "write max_concurrency=10 alone"
        )
    if isinstance(most, bool) or not isinstance(most, int) or most < 0:
        raise InvalidError(
            f"max_concurrency must be a whole number from 0 up, got {most!r}; "
            "write max_concurrency=10"
        )
    if most and isinstance(target, (int, float)) and target > most:
        raise InvalidError(
            f"target_concurrency must not exceed max_concurrency, got {target} > {most}; "
            f"write target_concurrency={most} or less"
        )


def check_scaleup_window(seconds: int | None) -> None:
    """Check ``scaleup_window`` of `App.server`.

    Raises:
        InvalidError: if it is not above 0.
    """
    if seconds is not None and seconds <= 0:
        raise InvalidError(
            f"scaleup_window must be above 0 seconds, got {seconds!r}; write scaleup_window=10"
        )


def check_server_class(raw: Any, marks: Marks, *, snapshots: bool) -> None:
    """Check the class that `App.server` decorates.

    Raises:
        InvalidError: if it cannot be a server; also a TypeError if it is not a class.
    """
    if not Real.isclass(raw):
        raise InvalidArgumentsError(
            f"app.server() decorates classes, got {name_of(raw)}; write it above a class"
        )
    name = raw.__name__
    constructor: object = raw.__init__
    if constructor is not object.__init__:
        raise InvalidError(
            f"the server class {name} cannot have a constructor (__init__) of its own; "
            "do its work in a method under @modal.enter()"
        )
    declared = Declarations(raw, snapshots=snapshots)
    if declared.parameters:
        raise InvalidError(
            f"the server class {name} cannot use modal.parameter(), got "
            f"{', '.join(declared.parameters)}; write class attributes instead"
        )
    bases: tuple[type, ...] = raw.__mro__
    members = [found for base in bases for found in vars(base).values()]
    if not any(isinstance(found, PartialFunction) and found.marks.enter for found in members):
        raise InvalidError(
            f"the server class {name} has no enter hook that starts its server; "
            "write one, under @modal.enter()"
        )
    for method in declared.methods:
        web = declared.web.get(method)
        kind = "method" if web is None else web.kind
        raise InvalidError(
            f"the server class {name} cannot have @modal.{kind}(), got {method}; "
            "write @app.cls() for a class with methods"
        )
    for is_marked, decorator, instead in (
        (marks.concurrency is not None, "concurrent", "write target_concurrency=10"),
        (marks.is_server, "http_server", "take it away"),
    ):
        if is_marked:
            raise InvalidError(
                f"the server class {name} cannot be decorated with @modal.{decorator}(); {instead}"
                + (" in @app.server()" if decorator == "concurrent" else "")
            )
