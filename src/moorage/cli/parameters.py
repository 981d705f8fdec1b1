"""The parameters of a function as options of the command line.

Owns which annotation is which type of option, and how the parsed values become the arguments of a
call.  Strict mode knows the types that Modal knows; otherwise lists, enums and paths are options
too.

Begin at `Parameters`, then `_kind_of`.
"""

from __future__ import annotations

import datetime
import enum
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import click

from .. import config
from ..runtime.real import Real
from .errors import CommandError

_EMPTY: Final = inspect.Parameter.empty
_VAR_POSITIONAL: Final = inspect.Parameter.VAR_POSITIONAL
_VAR_KEYWORD: Final = inspect.Parameter.VAR_KEYWORD


@dataclass(frozen=True)
class _Kind:
    """The type of an option, and whether the option may be given several times."""

    type: click.ParamType[Any]
    is_list: bool = False


class Parameters:
    """The parameters of one function, or of the constructor of a class.

    Args:
        signature: the parameters, without ``self``.
        hints: their annotations, evaluated.
        of_batch: whether each parameter takes a list that is made of the inputs of a batch: then
            the option is one element of the list.

    Raises:
        CommandError: if a parameter cannot be an option.
    """

    def __init__(
        self, signature: inspect.Signature, hints: Mapping[str, Any], *, of_batch: bool = False
    ) -> None:
        given = list(signature.parameters.values())
        self.takes_rest: bool = any(one.kind is _VAR_POSITIONAL for one in given)
        if self.takes_rest and len(given) > 1:
            raise CommandError(
                "Functions with variable-length positional arguments (*args) cannot have other "
                "parameters."
            )
        self._parameters: list[inspect.Parameter] = [] if self.takes_rest else given
        self.options: list[click.Option] = [
            _option(one, hints.get(one.name, _EMPTY), of_batch) for one in self._parameters
        ]

    @property
    def names(self) -> list[str]:
        """The names of the parameters that are options."""
        return [one.name for one in self._parameters]

    def arguments(self, values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of a call, by position and by name, for the parsed values."""
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for one, option in zip(self._parameters, self.options, strict=True):
            value = values[one.name]
            if option.multiple:
                # No option was given: click's answer is an empty tuple.
                has_default = not value and one.default is not _EMPTY
                value = one.default if has_default else list(value)
            if one.kind is inspect.Parameter.POSITIONAL_ONLY:
                positional.append(value)
            else:
                named[one.name] = value
        return positional, named


def parameters_of(
    function: Callable[..., Any], *, is_method: bool = False, of_batch: bool = False
) -> Parameters:
    """Return the parameters of a function or method.

    Raises:
        CommandError: if a parameter cannot be an option.
    """
    hints = hints_of(function)  # first: its error says more than that of the next line
    signature = Real.signature(function)
    if is_method:
        signature = signature.replace(parameters=list(signature.parameters.values())[1:])
    return Parameters(signature, hints, of_batch=of_batch)


def hints_of(function: object) -> dict[str, Any]:
    """Return the annotations of a function or class, evaluated.

    Raises:
        CommandError: if an annotation cannot be evaluated.
    """
    try:
        return typing.get_type_hints(function)
    except Exception as error:
        raise CommandError(
            "Unable to generate command line interface for app entrypoint due to unparseable type "
            f"hints:\n{error}"
        ) from None


def _option(parameter: inspect.Parameter, hint: Any, of_batch: bool) -> click.Option:
    shown = parameter.name.replace("_", "-")
    if parameter.kind is _VAR_KEYWORD and not config.strict:
        raise CommandError(
            f"Functions with arbitrary keyword arguments (**{parameter.name}) cannot be run from "
            "the command line; name the parameters, or write a local entrypoint that calls the "
            "function."
        )
    kind = _Kind(click.UNPROCESSED) if hint is _EMPTY else _kind_of(hint, of_batch)
    if kind is None:
        raise CommandError(
            f"Parameter `{shown}` has unparseable annotation: {_shown(parameter.annotation)}\n"
            f"Options can be {_possible()}. Write a local entrypoint with such parameters, which "
            "makes of them what the function takes."
        )
    declaration = f"--{shown}"
    if kind.type is click.BOOL:
        declaration += f"/--no-{shown}"
    more: dict[str, Any] = {"type": kind.type, "multiple": kind.is_list}
    if parameter.default is _EMPTY:
        more["required"] = True
    elif not kind.is_list:
        more["default"] = parameter.default
        more["show_default"] = parameter.default is not None
    elif parameter.default:
        more["show_default"] = ", ".join(map(str, parameter.default))
    if kind.type is click.UNPROCESSED:
        # Without an annotation a given value stays a str, and a default keeps its type.
        more["metavar"] = "ANY"
    # The name as it is: click would write it in small letters.
    return click.Option([parameter.name, declaration], **more)


def _possible() -> str:
    possible = "str, int, float, bool, datetime.datetime, Literal or X | None of these"
    return possible if config.strict else f"{possible}, list[X], an Enum or Path"


def _kind_of(hint: Any, of_batch: bool = False) -> _Kind | None:
    """Return the type of option for an annotation; None if there is none."""
    if of_batch and typing.get_origin(hint) is list and not config.strict:
        (hint,) = typing.get_args(hint)
    inner = _without_none(hint)
    plain = _PLAIN.get(inner) if isinstance(inner, type) else None
    if plain is not None:
        return _Kind(plain)
    if typing.get_origin(inner) is Literal and (inner is hint or not config.strict):
        return _choice(typing.get_args(inner))
    if config.strict:
        return None
    if typing.get_origin(inner) is list:
        (item,) = typing.get_args(inner)
        of_items = _kind_of(item)
        if of_items is None or of_items.is_list or of_items.type is click.BOOL:
            return None
        return _Kind(of_items.type, is_list=True)
    if isinstance(inner, type) and issubclass(inner, enum.Enum):
        return _Kind(click.Choice(inner))
    if inner is Path:
        return _Kind(click.Path(path_type=Path))
    return None


_PLAIN: Final[dict[type, click.ParamType[Any]]] = {
    str: click.STRING,
    int: click.INT,
    float: click.FLOAT,
    bool: click.BOOL,
    datetime.datetime: click.DateTime(),
}


def _choice(values: tuple[Any, ...]) -> _Kind | None:
    if all(isinstance(value, str) for value in values):
        return _Kind(click.Choice(values))
    if all(type(value) is int for value in values):
        return _Kind(click.Choice(values))
    return None


def _without_none(hint: Any) -> Any:
    """Return X for ``X | None``; other annotations as they are."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        others = [one for one in typing.get_args(hint) if one is not type(None)]
        if len(others) == 1:
            return others[0]
    return hint


def _shown(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
