"""Marks: what decorators say about one function or class, as values.

Owns `Marks` and its parts.  `PartialFunction` (``partial.py``) carries them from the decorators
to the app.  Begin at `Marks`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from .. import config
from ..arguments import meant
from ..exception import InvalidArgumentsError, InvalidError
from ..runtime.real import Real


@dataclass(frozen=True, slots=True)
class Concurrency:
    """What ``concurrent`` was given; None where it said nothing."""

    max_inputs: int | None = None
    target_inputs: int | None = None

    def merged(self, other: Concurrency, name: str) -> Concurrency:
        """Both, if they say different things."""
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
        """Itself, its numbers checked; in strict mode only what Modal checks at once."""
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
        most, target = self.max_inputs, self.target_inputs
        if target and most is not None and target > most:
            raise InvalidError(
                f"target_inputs must not exceed max_inputs, got {target} > {most}; "
                f"write target_inputs={most} or less"
            )


@dataclass(frozen=True, slots=True)
class Batching:
    """What ``batched`` was given; the wait in milliseconds, as Modal has it."""

    max_batch_size: int
    wait_ms: int


@dataclass(frozen=True, slots=True)
class Web:
    """What a web decorator was given."""

    kind: Literal["fastapi_endpoint", "asgi_app", "wsgi_app", "web_server"]
    method: str | None = None  # of fastapi_endpoint
    docs: bool = False  # of fastapi_endpoint
    port: int | None = None  # of web_server
    startup_timeout: float | None = None  # of web_server, seconds
    label: str | None = None
    custom_domains: tuple[str, ...] = ()
    requires_proxy_auth: bool = False


@dataclass(frozen=True, slots=True)
class Marks:
    """What the decorators said about one function or class."""

    concurrency: Concurrency | None = None
    batching: Batching | None = None
    web: Web | None = None
    is_method: bool = False
    is_generator: bool | None = None
    enter: Literal["", "snap", "enter"] = ""
    exit: bool = False
    cluster_size: int | None = None

    @property
    def is_interface(self) -> bool:
        """Whether callers reach it: a method, a batched one or a web endpoint."""
        return self.is_method or self.batching is not None or self.web is not None

    @property
    def is_hook(self) -> bool:
        return bool(self.enter) or self.exit


def is_written_in_a_class(function: object) -> bool:
    """Whether the function stands in a class body, to be called with an instance."""
    qualname: str = getattr(function, "__qualname__", "")
    return "." in qualname.rpartition("<locals>.")[2]


def parameters_beside_self(function: Callable[..., object]) -> list[str]:
    """The names of the parameters that a caller gives."""
    names = list(Real.signature(function).parameters)
    return names[1:] if names and is_written_in_a_class(function) else names


def name_of(obj: object) -> str:
    return str(getattr(obj, "__name__", obj))


def positional_arguments(name: str, got: object, instead: str) -> InvalidArgumentsError:
    """The error of a decorator that takes keywords only and was given `got`."""
    if callable(got):
        return InvalidArgumentsError(
            f"{name} was written without its parentheses above {name_of(got)}; write {instead}"
        )
    return InvalidArgumentsError(f"{name} takes keywords only, got {got!r}; write {instead}")


REQUIRED: Final = object()  # the default of a parameter that has none
