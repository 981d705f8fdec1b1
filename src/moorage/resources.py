"""Checks of the resources that a cloud container would have: GPUs, CPUs, memory, mounts.

Owns the rules that functions and the build steps of images share; ``declaring/cloud_arguments.py``
and ``image.py`` call it.  No limit is enforced in this process.  The checks are for programs that
also run with Modal: they report early what Modal would report, there or only at run time.

Begin at `check_gpu`, `check_amount` and `check_mounts`.
"""

from __future__ import annotations

import math
import posixpath
from os import PathLike
from pathlib import PurePosixPath
from typing import Final, TypeAlias

from .arguments import (
    InvalidArgumentsError,
    InvalidValueError,
    fs_path,
    is_dict,
    is_list,
    is_tuple,
    lenient,
)
from .exception import InvalidError, InvalidInfinityError, InvalidLengthError

MountPath: TypeAlias = str | PurePosixPath | PathLike[str]

# The largest number that Modal's messages can hold.
_MOST: Final = 2**32 - 1
# Paths where containers have files of their own.
_TAKEN: Final = ("/", "/root", "/tmp")

_GPU = 'write gpu="T4", or gpu="T4:2" for two'


def check_gpu(gpu: object, *, several: bool = False) -> None:
    """Check a GPU type with an optional count, such as ``"T4:2"``; also a list if `several`.

    Raises:
        InvalidError: if `gpu` is not a str, or the count is not a whole number from 1 up.
    """
    if several and is_list(gpu):
        for each in gpu:
            if each is None:
                lenient(f"gpu must hold str, got None; {_GPU}")
            check_gpu(each)
        return
    if not gpu and not isinstance(gpu, str):
        if gpu is not None:
            lenient(f"gpu must be a str, got {gpu!r}; {_GPU}")
        return
    if not isinstance(gpu, str):
        raise InvalidError(f"gpu must be a str, got {gpu!r}; {_GPU}")
    _, colon, count = gpu.partition(":")
    if not colon:
        return
    try:
        number = int(count)
    except ValueError:
        raise InvalidError(
            f"the count of GPUs must be a whole number, got {count!r} in {gpu!r}; {_GPU}"
        ) from None
    if number < 0:
        raise InvalidValueError(f"the count of GPUs must not be negative, got {gpu!r}; {_GPU}")
    if number == 0:
        lenient(f"the count of GPUs must be at least 1, got {gpu!r}; {_GPU}")


def check_amount(name: str, value: object, *, at_once: bool) -> None:
    """Check ``cpu`` in cores or ``memory`` in MiB: a number, or a pair (request, limit).

    Args:
        at_once: whether Modal itself checks at once, as its ``with_options`` does.

    Raises:
        InvalidError: if the amount is wrong; also the builtin error that Modal raises, e.g. a
            ValueError.
    """
    if value is None:
        return
    advice = {
        "cpu": "write cpu=0.5, or cpu=(0.5, 2) for a request and a limit",
        "memory": "write memory=512, or memory=(512, 1024) for a request and a limit",
    }[name]

    def message(what: str) -> str:
        return f"{name} {what}, got {value!r}; {advice}"

    if is_tuple(value):
        amounts = value
        if len(amounts) != 2:
            short = InvalidLengthError if name == "cpu" else InvalidValueError
            # For cpu, Modal reads the first two numbers only, so it overlooks a third.
            if at_once and (name == "memory" or len(amounts) < 2):
                raise short(message("takes a request and a limit"))
            lenient(message("takes a request and a limit"))
            return
    elif isinstance(value, (int, float)) and not (name == "cpu" and isinstance(value, bool)):
        amounts = (value,)
    else:
        # Modal ignores such a value, or converts it to some number.
        lenient(message("must be a number or a pair of numbers"))
        return
    error = _wrong_amount(name, *amounts)
    if error is not None:
        kind, what = error
        if at_once:
            raise kind(message(what))
        lenient(message(what))


def _wrong_amount(name: str, *amounts: object) -> tuple[type[InvalidError], str] | None:
    """Return the error class and the text for a wrong amount or pair; None if it is right."""
    scale = 1000 if name == "cpu" else 1
    numbers: list[float] = []
    for each in amounts:
        if each is None:
            kind = InvalidError if name == "cpu" else InvalidArgumentsError
            return kind, "takes a number for both the request and the limit"
        if isinstance(each, bool) or not isinstance(each, (int, float)):
            kind = InvalidValueError if name == "cpu" else InvalidArgumentsError
            return kind, "takes numbers"
        if math.isinf(each):
            return InvalidInfinityError, "must be finite"
        if not 0 <= each * scale <= _MOST:
            return InvalidValueError, "is out of range"
        numbers.append(each)
    if len(numbers) == 2 and numbers[1] < numbers[0]:
        return InvalidError, "takes a limit that is not below the request"
    return None


def check_mounts(
    name: str, mounts: object, *, merged: bool = False, look_into_buckets: bool = True
) -> None:
    """Check the mounts: a dict of absolute paths to `Volume` objects and similar ones.

    Args:
        name: the argument, ``volumes`` or ``network_file_systems``.
        merged: whether Modal merges the argument with the app's volumes; then anything but a
            dict is also a TypeError.
        look_into_buckets: whether to check each `CloudBucketMount` in `mounts`.

    Raises:
        InvalidError: if a path or an object is wrong; also a TypeError for a key that cannot
            be a path.
    """
    kind = "Volume" if name == "volumes" else "NetworkFileSystem"
    advice = f'write {name}={{"/data": modal.{kind}.from_name("my-data")}}'
    if not is_dict(mounts):
        error = InvalidArgumentsError if merged else InvalidError
        raise error(f"{name} must be a dict of paths to {kind}, got {mounts!r}; {advice}")
    if not mounts:
        return
    # Few programs need these.
    from .cloud_bucket_mount import CloudBucketMount
    from .network_file_system import NetworkFileSystem
    from .volume import Volume

    kinds = (Volume, CloudBucketMount) if name == "volumes" else (NetworkFileSystem,)
    seen: dict[int, str] = {}
    for given, mounted in mounts.items():
        path = PurePosixPath(fs_path(f"a path in {name}", given)).as_posix()
        if path != posixpath.abspath(path):
            raise InvalidError(
                f"a path in {name} must be absolute and without '..', got {given!r}; {advice}"
            )
        if path in _TAKEN:
            raise InvalidError(f"nothing can be mounted at {path!r} itself in {name}; {advice}")
        if not isinstance(mounted, kinds):
            raise InvalidError(
                f"{name} takes {kind} objects, got {mounted!r} at {path!r}; {advice}"
            )
        if isinstance(mounted, CloudBucketMount):
            if look_into_buckets:
                mounted.check()
        elif isinstance(mounted, Volume) and id(mounted) in seen:
            raise InvalidError(
                f"the same {kind} cannot be mounted twice, got it at {seen[id(mounted)]!r} and "
                f"{path!r}; {advice}, once"
            )
        else:
            seen[id(mounted)] = path
