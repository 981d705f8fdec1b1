"""The arguments for the cloud, which functions, classes and apps accept.

Owns the checks of these arguments; ``app.py``, ``cls.py`` and `options.py` call them.  Only
``image``, ``secrets`` and ``env`` have an effect here: see ``needs.py``.  A mistake that Modal
1.6.4 refuses when the program starts is refused here with the same class of error.  A mistake that
Modal finds only when the program runs is refused here at once, except in strict mode, which is
silent where Modal is.

Begin at `check_cloud_arguments`, then `_CHECKS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from ..arguments import (
    InvalidArgumentsError,
    InvalidAttributeError,
    check_env,
    is_dict,
    iterated,
    lenient,
    unchecked,
)
from ..exception import InvalidError
from ..resources import check_amount, check_gpu, check_mounts
from ..runtime.real import Real

# Arguments that are True, False or absent.
_FLAGS: Final = (
    "nonpreemptible",
    "block_network",
    "restrict_modal_access",
    "i6pn",
    "include_source",
    "_experimental_restrict_output",
)
_SECRETS: Final = 'write secrets=[modal.Secret.from_name("my-secret")]'
_SCHEDULE: Final = 'write schedule=modal.Period(days=1) or schedule=modal.Cron("0 9 * * 1")'


def check_cloud_arguments(where: str, given: Mapping[str, object]) -> None:
    """Check the arguments for the cloud that a decorator or constructor was given.

    Args:
        where: ``app.function``, ``app.cls``, ``App`` or ``with_options``.  The same argument is
            checked differently in these places, because Modal does so.
        given: the arguments by name.  Arguments that are not for the cloud are ignored.

    Raises:
        InvalidError: for a wrong value; also a TypeError, ValueError or AttributeError where
            Modal raises that.
    """
    for name, value in given.items():
        check = _CHECKS.get(name)
        if check is not None:
            check(where, name, value)


def check_scheduled(schedule: object, function: Callable[..., object]) -> None:
    """Refuse a function that has a schedule and needs arguments: a schedule gives none.

    Raises:
        InvalidError: if `function` has a parameter without a default.
    """
    if schedule is None:
        return
    for name, parameter in Real.signature(function).parameters.items():
        open_ended = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if parameter.default is parameter.empty and not open_ended:
            raise InvalidError(
                f"{getattr(function, '__name__', function)!r} has a schedule and so is called "
                f"without arguments, but demands {name!r}; write {name}=... with a default"
            )


def _check_image(where: str, name: str, value: object) -> None:
    if value is None:
        return
    from ..image import Image

    if not isinstance(value, Image):
        raise InvalidError(
            f"image must be an Image, got {value!r}; write image=modal.Image.debian_slim()"
        )


def _check_schedule(where: str, name: str, value: object) -> None:
    if value is None:
        return
    from ..schedule import Schedule

    if not isinstance(value, Schedule):
        raise InvalidAttributeError(
            f"schedule must be a Period or a Cron, got {value!r}; {_SCHEDULE}"
        )


def _check_env(where: str, name: str, value: object) -> None:
    if value:
        check_env("env", value)
    elif value is not None and not is_dict(value):
        lenient(f'env must be a dict, got {type(value).__name__}; write env={{"NAME": "value"}}')


def _check_secrets(where: str, name: str, value: object) -> None:
    # A wrong value may well be the text of a secret, so the message shows only its type.
    wrong: str | None = type(value).__name__
    # Only a Collection is iterated: iterating would consume an iterator.  A str is iterable too,
    # but is not a list of secrets.
    if isinstance(value, Collection) and not isinstance(value, (str, bytes)):
        members = list(iterated("secrets", unchecked(value), _SECRETS))
        wrong = _first_that_is_no_secret(members)
    message = f"secrets must be a list of Secret, got {wrong or type(value).__name__}; {_SECRETS}"
    if where == "App":
        # Only here does Modal check the members.
        if wrong or not isinstance(value, (list, tuple)):
            raise InvalidError(message)
        return
    counted = Collection if where == "with_options" else Iterable
    if value and not isinstance(value, counted):
        raise InvalidArgumentsError(message)
    if value is not None and wrong:
        lenient(message)


def _first_that_is_no_secret(members: Collection[object]) -> str | None:
    """Return the type of the first member that is no `Secret`; None if all are."""
    if not members:
        return None  # without an import that few programs need
    from ..secret import Secret

    return next((type(each).__name__ for each in members if not isinstance(each, Secret)), None)


def _check_gpu(where: str, name: str, value: object) -> None:
    check_gpu(value, several=where != "with_options")


def _check_amount(where: str, name: str, value: object) -> None:
    check_amount(name, value, at_once=where == "with_options")


def _check_mounts(where: str, name: str, value: object) -> None:
    decorates = where in ("app.function", "app.cls")
    check_mounts(
        name, value, merged=decorates and name == "volumes", look_into_buckets=where != "App"
    )


def _check_disk(where: str, name: str, value: object) -> None:
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32
    ):
        lenient(f"{name} must be a number of MiB, got {value!r}; write {name}=524288")


def _check_proxy(where: str, name: str, value: object) -> None:
    if value is None:
        return
    from ..proxy import Proxy

    if not isinstance(value, Proxy):
        lenient(f'proxy must be a Proxy, got {value!r}; write modal.Proxy.from_name("my-proxy")')


def _check_text(where: str, name: str, value: object) -> None:
    if value is not None and not isinstance(value, str):
        example = "aws" if name == "cloud" else "us-east"
        lenient(f'{name} must be a str, got {value!r}; write {name}="{example}"')


def _check_region(where: str, name: str, value: object) -> None:
    if not value and where == "with_options":
        _check_text(where, name, value)
        return
    if value is None:
        return
    from ..scheduler_placement import check_regions

    check_regions(name, value)


def _check_flag(where: str, name: str, value: object) -> None:
    if value is None or isinstance(value, bool):
        return
    message = f"{name} must be True or False, got {value!r}; write {name}=True"
    if name == "nonpreemptible" and not hasattr(value, "__index__"):
        raise InvalidArgumentsError(message)
    lenient(message)


def _check_experimental(where: str, name: str, value: object) -> None:
    advice = f'write {name}={{"name": "value"}}'
    if value and not is_dict(value):
        raise InvalidAttributeError(f"{name} must be a dict, got {value!r}; {advice}")
    if value is not None and not is_dict(value):
        lenient(f"{name} must be a dict, got {value!r}; {advice}")


def _check_tags(where: str, name: str, value: object) -> None:
    if value is None:
        return
    advice = 'write tags={"team": "search"}'
    if not is_dict(value):
        raise InvalidAttributeError(f"tags must be a dict, got {value!r}; {advice}")
    for pair in value.items():
        for part in pair:
            if not isinstance(part, str):
                raise InvalidArgumentsError(f"tags must hold str, got {part!r}; {advice}")
            if not re.fullmatch(r"[A-Za-z0-9\-._]{1,63}", part):
                raise InvalidError(
                    f"a tag has 1 to 63 letters, digits, '-', '.' or '_', got {part!r}; {advice}"
                )


_CHECKS: Final[Mapping[str, Callable[[str, str, object], None]]] = {
    "image": _check_image,
    "schedule": _check_schedule,
    "env": _check_env,
    "secrets": _check_secrets,
    "gpu": _check_gpu,
    "network_file_systems": _check_mounts,
    "volumes": _check_mounts,
    "cpu": _check_amount,
    "memory": _check_amount,
    "ephemeral_disk": _check_disk,
    "proxy": _check_proxy,
    "cloud": _check_text,
    "routing_region": _check_text,
    "region": _check_region,
    "experimental_options": _check_experimental,
    "tags": _check_tags,
    **dict.fromkeys(_FLAGS, _check_flag),
}
