"""The checks of what a container would have: GPUs, CPUs, memory, mounts.

Owns the rules that functions and the build steps of images share.  Nothing here
is enforced in this process; the checks are for the programs that also run with
Modal, and say early what it would say, there or only at run time.
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
from .cloud_bucket_mount import CloudBucketMount
from .exception import InvalidError, InvalidInfinityError, InvalidLengthError
from .network_file_system import NetworkFileSystem
from .volume import Volume

MountPath: TypeAlias = str | PurePosixPath | PathLike[str]

# What Modal's messages can hold.
_MOST: Final = 2**32 - 1
# Where containers have files of their own.
_TAKEN: Final = ("/", "/root", "/tmp")

_GPU = 'write gpu="T4", or gpu="T4:2" for two'


def check_gpu(gpu: object, *, several: bool = False) -> None:
    """A type of GPU, with a count after a colon or not; or a list of them if `several`.

    Raises:
        InvalidError: if it is not a str, or the count is not a number.
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
    """``cpu`` in cores or ``memory`` in MiB: a number, or a pair of request and limit.

    Args:
        at_once: whether Modal itself looks at once, as ``with_options`` does.

    Raises:
        InvalidError: and a ValueError or TypeError at once where it is that in Modal.
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
            # Modal reads the first two for cpu, and so overlooks a third.
            if at_once and (name == "memory" or len(amounts) < 2):
                raise short(message("takes a request and a limit"))
            lenient(message("takes a request and a limit"))
            return
    elif isinstance(value, (int, float)) and not (name == "cpu" and isinstance(value, bool)):
        amounts = (value,)
    else:
        # Modal takes such a value for none, or makes some number of it.
        lenient(message("must be a number or a pair of numbers"))
        return
    error = _wrong_amount(name, *amounts)
    if error is not None:
        kind, what = error
        if at_once:
            raise kind(message(what))
        lenient(message(what))


def _wrong_amount(name: str, *amounts: object) -> tuple[type[InvalidError], str] | None:
    """The class of error and what is wrong with an amount, or a request and a limit."""
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
    """Where file systems would be mounted: absolute paths to `Volume` and its like.

    Args:
        name: the argument, ``volumes`` or ``network_file_systems``.
        merged: whether Modal would merge it with the app's, and so raises a TypeError
            for what is no dict.
        look_into_buckets: whether the `CloudBucketMount` among them are looked into.

    Raises:
        InvalidError: and a TypeError at once for what cannot be a path.
    """
    kinds: tuple[type, ...]
    if name == "volumes":
        kinds, kind = (Volume, CloudBucketMount), "Volume"
    else:
        kinds, kind = (NetworkFileSystem,), "NetworkFileSystem"
    advice = f'write {name}={{"/data": modal.{kind}.from_name("my-data")}}'
    if not is_dict(mounts):
        error = InvalidArgumentsError if merged else InvalidError
        raise error(f"{name} must be a dict of paths to {kind}, got {mounts!r}; {advice}")
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
