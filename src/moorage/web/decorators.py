"""Web decorators: they mark functions and check their arguments.

Owns ``fastapi_endpoint``, ``asgi_app``, ``wsgi_app``, ``web_server`` and the old name
``web_endpoint``.  Users call them, from ``partial_function.py``.  A marked function runs with
``.local()``.

Begin at `fastapi_endpoint`, then `_app_mark`, which the other decorators share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Never

from .. import config
from ..declaring.marks import Web, name_of, parameters_beside_self
from ..declaring.partial import WebDecorator, mark, refuse_class
from ..exception import (
    DeprecationError,
    InvalidArgumentsError,
    InvalidDomainsError,
    InvalidError,
)
from ..frames import (
    hide_our_frames,
    hide_our_frames_of_decorator,
    positional_arguments,
    unknown_keyword,
    warn,
)
from ..runtime.kinds import Kind, kind_of
from ..runtime.real import Real
from .labels import check_label


@hide_our_frames_of_decorator("@moorage.fastapi_endpoint()")
def fastapi_endpoint(
    *,
    method: str = "GET",
    label: str | None = None,
    custom_domains: Iterable[str] | None = None,
    docs: bool = False,
    requires_proxy_auth: bool = False,
) -> WebDecorator:
    """Mark a function as one web endpoint: FastAPI reads its parameters from the request.

    Args:
        method: the HTTP method that the endpoint answers: GET, POST, PUT, PATCH, DELETE,
            HEAD or OPTIONS.
        label: names the endpoint in its URL, ``http://<label>.localhost:PORT``.
        custom_domains: a list of names, for the cloud; without effect.
        docs: whether to serve interactive documentation.
        requires_proxy_auth: whether requests need a token of ``config.proxy_tokens``, or of the
            environment variable ``MOORAGE_PROXY_TOKENS``.

    Raises:
        InvalidError: if an argument is wrong, or the decorated object is a class.
    """
    _check_text("method", method, "POST")
    web = Web(
        "fastapi_endpoint",
        method=method,
        docs=docs,
        label=_checked_label(label),
        custom_domains=_checked_domains(custom_domains),
        requires_proxy_auth=requires_proxy_auth,
    )
    if not config.strict and str(method or "").upper() not in _METHODS:
        raise InvalidError(
            f"method must be an HTTP method, got {method!r}; write one of {', '.join(_METHODS)}"
        )

    @hide_our_frames
    def decorate(obj: Any) -> Any:
        refuse_class("fastapi_endpoint", obj)
        return mark("fastapi_endpoint", obj, web=web)

    return decorate


_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


@hide_our_frames
def web_endpoint(*args: Any, **kwargs: Any) -> WebDecorator:
    """The old name of ``fastapi_endpoint``: works with a warning.

    Raises:
        DeprecationError: in strict mode.
    """
    message = (
        "web_endpoint was renamed; write @moorage.fastapi_endpoint(...) with the same arguments"
    )
    if config.strict:
        raise DeprecationError(message)
    warn(message, DeprecationError)
    gone = {"wait_for_response": kwargs.pop("wait_for_response", None)}
    if gone["wait_for_response"] is not None:
        _accept_gone("web_endpoint", gone, fastapi_endpoint)
    return fastapi_endpoint(*args, **kwargs)


@hide_our_frames_of_decorator("@moorage.asgi_app()")
def asgi_app(
    *,
    label: str | None = None,
    custom_domains: Iterable[str] | None = None,
    requires_proxy_auth: bool = False,
    **old_names: Never,
) -> WebDecorator:
    """Mark a function without parameters that returns an ASGI application.

    See `fastapi_endpoint` for the arguments.

    Raises:
        InvalidError: if an argument is wrong, or the decorated object is not a plain function
            without parameters.
    """
    _accept_gone("asgi_app", old_names, asgi_app)
    return _app_mark("asgi_app", label, custom_domains, requires_proxy_auth)


@hide_our_frames_of_decorator("@moorage.wsgi_app()")
def wsgi_app(
    *,
    label: str | None = None,
    custom_domains: Iterable[str] | None = None,
    requires_proxy_auth: bool = False,
    **old_names: Never,
) -> WebDecorator:
    """Mark a function without parameters that returns a WSGI application.

    See `fastapi_endpoint` for the arguments.

    Raises:
        InvalidError: if an argument is wrong, or the decorated object is not a plain function
            without parameters.
    """
    _accept_gone("wsgi_app", old_names, wsgi_app)
    return _app_mark("wsgi_app", label, custom_domains, requires_proxy_auth)


@hide_our_frames
def web_server(
    port: int,
    *,
    startup_timeout: float = 5.0,
    label: str | None = None,
    custom_domains: Iterable[str] | None = None,
    requires_proxy_auth: bool = False,
) -> WebDecorator:
    """Mark a function without parameters that starts a server on a local port.

    See `fastapi_endpoint` for the other arguments.

    Args:
        port: the port on which the server listens, 1 to 65,535.
        startup_timeout: seconds until the server must listen; above 0.

    Raises:
        InvalidError: if an argument is wrong, or the decorated object is not a plain function
            without parameters.
    """
    if callable(port):
        raise positional_arguments("web_server", [port], "@moorage.web_server(8000)")
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:  # pyright: ignore[reportUnnecessaryIsInstance]
        kind = InvalidArgumentsError if isinstance(port, bool) else InvalidError
        raise kind(
            f"web_server takes the port that the function listens on, 1 to 65,535, "
            f"got {port!r}; write @moorage.web_server(8000)"
        )
    if startup_timeout <= 0:
        raise InvalidError(
            f"startup_timeout of web_server must be above 0 seconds, got {startup_timeout!r}; "
            "write startup_timeout=5"
        )
    return _app_mark(
        "web_server",
        label,
        custom_domains,
        requires_proxy_auth,
        port=port,
        startup_timeout=startup_timeout,
    )


def _accept_gone(where: str, old: Mapping[str, object], decorator: Callable[..., object]) -> None:
    """Accept ``wait_for_response``, which Modal 1.6.4 has no longer, outside of strict mode.

    Raises:
        InvalidArgumentsError: for any other name, and in strict mode.
    """
    for name, value in old.items():
        if config.strict or name != "wait_for_response":
            raise unknown_keyword(where, name, Real.signature(decorator).parameters, value=value)
        warn(
            f"wait_for_response of {where} is gone from Modal; take it away, and use "
            ".spawn(...) in the endpoint for work that goes on after the response",
            DeprecationError,
        )


def _app_mark(
    kind: Literal["asgi_app", "wsgi_app", "web_server"],
    label: str | None,
    custom_domains: Iterable[str] | None,
    requires_proxy_auth: bool,
    *,
    port: int | None = None,
    startup_timeout: float | None = None,
) -> WebDecorator:
    """Check the arguments; return the decorator for a function that makes an application."""
    web = Web(
        kind,
        port=port,
        startup_timeout=startup_timeout,
        label=_checked_label(label),
        custom_domains=_checked_domains(custom_domains),
        requires_proxy_auth=requires_proxy_auth,
    )

    @hide_our_frames
    def decorate(obj: Any) -> Any:
        refuse_class(kind, obj)
        marked = mark(kind, obj, web=web)
        raw: Callable[..., object] = marked.raw
        if kind_of(raw) is Kind.ASYNC:
            raise InvalidError(
                f"{kind} decorates a plain function that makes the application, got the "
                f"async function {name_of(raw)}; write def, and await inside the application"
            )
        extra = parameters_beside_self(raw)
        if extra:
            raise InvalidError(
                f"{kind} decorates a function without parameters, and {name_of(raw)} has "
                f"{', '.join(extra)}; take them away"
            )
        return marked

    return decorate


def _check_text(name: str, text: str | None, example: str) -> str | None:
    if text is not None and not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentsError(
            f'{name} must be a string, got {text!r}; write {name}="{example}"'
        )
    return text


def _checked_label(label: str | None) -> str | None:
    _check_text("label", label, "my-app")
    # Modal's service refuses a label later, when the function is served.
    return label if label is None or config.strict else check_label(label)


def _checked_domains(domains: Iterable[str] | None) -> tuple[str, ...]:
    if isinstance(domains, str):
        raise InvalidDomainsError(
            f"custom_domains must be a list of names, got {domains!r}; "
            f"write custom_domains=[{domains!r}]"
        )
    return tuple(domains or ())
