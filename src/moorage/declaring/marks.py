"""Marks: what decorators say about one function or class, as frozen values.

Owns `Marks` and its parts.  The decorators make them; `PartialFunction` (``partial.py``) carries
them to the app.

Begin at `Marks`, then `Concurrency`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from .. import config
from ..arguments import meant
from ..exception import InvalidError
from ..runtime.real import Real


@dataclass(frozen=True, slots=True)
class Concurrency:
    """The arguments of ``concurrent``; None for an absent argument."""

    max_inputs: int | None = None
    target_inputs: int | None = None

    def merged(self, other: Concurrency, name: str) -> Concurrency:
        """Return `self` and `other` as one.

        Raises:
            InvalidError: if both set the same argument, or together are wrong.
        """
        for field in ("max_inputs", "target_inputs"):
            if getattr(self, field) is not None and getattr(other, field) is not None:
                raise InvalidError(
                    f"concurrent sets {field} twice on {name}; write it once, with max_inputs "
                    "and target_inputs together"
                )
        both = Concurrency(
            self.max_inputs if other.max_inputs is None else other.max_inputs,
            self.target_inputs if other.target_inputs is None else other.target_inputs,
        )
        if not config.strict:
            both.check_order()
        return both

    def checked(self) -> Concurrency:
        """Check the numbers and return `self`; in strict mode check only what Modal checks at once.

        Raises:
            InvalidError: if a number is wrong.
        """
        for field in () if config.strict else ("max_inputs", "target_inputs"):
            value: object = getattr(self, field)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidError(
                    f"{field} must be a whole number from 1 up, got {value!r}; "
                    f"write {field}={meant(value, 1) or 10}"
                )
        self.check_order()
        return self

    def check_order(self) -> None:
        """Refuse `target_inputs` above `max_inputs`."""
        most, target = self.max_inputs, self.target_inputs
        if target and most is not None and target > most:
            raise InvalidError(
                f"target_inputs must not exceed max_inputs, got {target} > {most}; "
                f"write target_inputs={most} or less"
            )


@dataclass(frozen=True, slots=True)
class Batching:
    """The arguments of ``batched``; `wait_ms` is in milliseconds, as in Modal."""

    max_batch_size: int
    wait_ms: int


@dataclass(frozen=True, slots=True)
class Web:
    """The arguments of a web decorator."""

    kind: Literal["fastapi_endpoint", "asgi_app", "wsgi_app", "web_server"]
    method: str | None = None  # fastapi_endpoint only
    docs: bool = False  # fastapi_endpoint only
    port: int | None = None  # web_server only
    startup_timeout: float | None = None  # web_server only; seconds
    label: str | None = None
    custom_domains: tuple[str, ...] = ()
    requires_proxy_auth: bool = False


@dataclass(frozen=True, slots=True)
class Serves:
    """What a class says whose enter hooks start an HTTP server."""

    port: int
    startup_timeout: float = 30.0  # seconds
    exit_grace_period: float | None = None  # seconds
    max_concurrency: int | None = None  # requests at a time; None for no limit
    needs_token: bool = False  # true without ``unauthenticated=True``
    # What Modal's autoscaler aims at.  Without effect here: a port has one server.
    target_concurrency: float | None = None
    scaleup_window: int | None = None  # seconds


@dataclass(frozen=True, slots=True)
class Marks:
    """Everything that decorators say about one function or class."""

    concurrency: Concurrency | None = None
    batching: Batching | None = None
    web: Web | None = None
    is_method: bool = False
    is_generator: bool | None = None
    enter: Literal["", "snap", "enter"] = ""
    exit: bool = False
    cluster_size: int | None = None
    is_server: bool = False  # under experimental.http_server
    serves: Serves | None = None  # the same

    @property
    def is_interface(self) -> bool:
        """Whether callers can call it: it is a method, a batched function or a web endpoint."""
        return self.is_method or self.batching is not None or self.web is not None

    @property
    def is_hook(self) -> bool:
        """Whether it is an enter or exit hook."""
        return bool(self.enter) or self.exit


def is_written_in_a_class(function: object) -> bool:
    """Whether the function is defined in a class body, and so takes an instance."""
    qualname: object = getattr(function, "__qualname__", "")
    return isinstance(qualname, str) and "." in qualname.rpartition("<locals>.")[2]


def parameters_beside_self(function: Callable[..., object]) -> list[str]:
    """Return the names of the parameters that a caller gives."""
    static: Callable[..., object] | None = getattr(function, "_moorage_static", None)
    if static is not None:  # below @staticmethod: it takes no instance
        return list(Real.signature(static).parameters)
    names = list(Real.signature(function).parameters)
    return names[1:] if names and is_written_in_a_class(function) else names


def name_of(obj: object) -> str:
    """Return the name of a function or class; of anything else its text."""
    return str(getattr(obj, "__name__", obj))


class _Required:
    """The type of `REQUIRED`, which is one object also in another process."""

    def __reduce__(self) -> str:
        return "REQUIRED"


# The `default` of a parameter without a default.
REQUIRED: Final = _Required()
