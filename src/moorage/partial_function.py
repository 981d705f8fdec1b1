"""Decorators that mark functions, methods and classes, and check what they can at once.

Owns ``concurrent``, ``batched``, ``method``, ``enter``, ``exit``, ``parameter``,
``clustered`` and ``sessioned``; the web decorators are in ``web/``.  What a mark
is, and which may stand together, is in ``marks.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Never, TypeVar, dataclass_transform, overload

from .declaring.marks import Concurrency, name_of, positional_arguments
from .declaring.parameters import checked_batching
from .declaring.parameters import parameter as parameter
from .declaring.partial import BatchDecorator, Decorator, MethodDecorator, mark, refuse_class
from .declaring.partial import PartialFunction as PartialFunction
from .exception import InvalidError
from .frames import hide_our_frames
from .runtime.real import Real
from .web.decorators import asgi_app as asgi_app
from .web.decorators import fastapi_endpoint as fastapi_endpoint
from .web.decorators import web_endpoint as web_endpoint
from .web.decorators import web_server as web_server
from .web.decorators import wsgi_app as wsgi_app

F = TypeVar("F", bound="Callable[..., object] | PartialFunction[..., object, object]")


# Overloads, for what comes without max_inputs, or with something positional, is
# to get an error of ours at run time.  `target_inputs` alone is for a second
# `concurrent` on the same function.  That a class with `parameter`s takes them
# by name, is said here too, for mypy does not look for it at a method like
# `app.cls`.
@overload
@dataclass_transform(kw_only_default=True, field_specifiers=(parameter,))
def concurrent(*, max_inputs: int) -> Decorator: ...
@overload
def concurrent(*, max_inputs: int, target_inputs: int | None) -> Decorator: ...
@overload
def concurrent(*, target_inputs: int) -> Decorator: ...
@hide_our_frames
def concurrent(
    *args: object, max_inputs: int | None = None, target_inputs: int | None = None
) -> Decorator:
    """Let one container run several inputs at once.

    ``async def`` functions run as tasks on the container's event loop, ``def``
    functions on at most `max_inputs` threads of it.  Applies to functions and to
    classes, whose methods then share the slots of each container; never to a
    method.  Written twice, the two must set different things.

    Args:
        max_inputs: the hard limit: a container never runs more at once.
        target_inputs: the soft limit: containers are started to keep each near
            it; while there is nothing better, one may burst to `max_inputs`.
            Default: `max_inputs`.

    Raises:
        InvalidError: if written without parentheses or with positional
            arguments, or if `target_inputs` exceeds `max_inputs`.
    """
    if args:
        raise positional_arguments("concurrent", args[0], "@moorage.concurrent(max_inputs=10)")
    marked = Concurrency(max_inputs, target_inputs).checked()

    @hide_our_frames
    def decorate(obj: Any) -> Any:
        return mark("concurrent", obj, concurrency=marked)

    return decorate


@hide_our_frames
def batched(*args: Never, max_batch_size: int, wait_ms: int) -> BatchDecorator:
    """Mark a function that takes lists, for the inputs of several callers at once.

    Each parameter of the function receives a list with one element per caller;
    it returns a list of the same length, in which an exception object is raised at
    the caller of that element only.  Stands on a function, or on the one callable
    method of a class; with ``concurrent``, a batch takes one slot.

    Args:
        max_batch_size: the most inputs in one batch, 1 to 1,000.
        wait_ms: milliseconds that the first input of a batch waits for others at the
            most, 0 to 600,000.  A full batch does not wait, and one that waits for a
            slot grows until it has it.

    Raises:
        InvalidError: if a number is out of its range.
    """
    if args:
        raise positional_arguments(
            "batched", args[0], "@moorage.batched(max_batch_size=8, wait_ms=50)"
        )
    batching = checked_batching(max_batch_size, wait_ms)

    @hide_our_frames
    def decorate(obj: Any) -> Any:
        refuse_class("batched", obj)
        return mark("batched", obj, batching=batching)

    return decorate


@hide_our_frames
def method(*args: Never, is_generator: bool | None = None) -> MethodDecorator:
    """Make a method of an app's class callable with ``.remote()`` and the like.

    Args:
        is_generator: whether calling it gives a generator; found out if None.
    """
    if args:
        raise positional_arguments("method", args[0], "@moorage.method()")

    @hide_our_frames
    def decorate(obj: Any) -> Any:
        refuse_class("method", obj)
        return mark("method", obj, is_method=True, is_generator=is_generator)

    return decorate


@hide_our_frames
def enter(*args: Never, snap: bool = False) -> Callable[[F], F]:
    """Run a method once in each container, before its first input.

    Those with ``snap=True`` run first, as in Modal; no snapshot is taken here,
    but the class must say ``enable_memory_snapshot=True``.
    """
    if args:
        raise positional_arguments("enter", args[0], "@moorage.enter()")

    @hide_our_frames
    def decorate(obj: Any) -> Any:
        refuse_class("enter", obj)
        # Written twice, it runs once, at the earlier of the two times.
        early = snap or (isinstance(obj, PartialFunction) and obj.marks.enter == "snap")
        return mark("enter", obj, enter="snap" if early else "enter")

    return decorate


@hide_our_frames
def exit(*args: Never) -> Callable[[F], F]:
    """Run a method once in each container whose enter hooks succeeded, after its last input."""
    if args:
        raise positional_arguments("exit", args[0], "@moorage.exit()")

    @hide_our_frames
    def decorate(obj: Any) -> Any:
        refuse_class("exit", obj)
        return mark("exit", obj, exit=True)

    return decorate


@hide_our_frames
def clustered(*args: Never, size: int, rdma: bool = False) -> Decorator:
    """Accepted, checked, and without effect: a cluster of machines is the cloud's.

    Args:
        size: containers in the cluster, 1 or more.
        rdma: whether they are linked by RDMA.
    """
    if args:
        raise positional_arguments("clustered", args[0], "@moorage.clustered(size=2)")
    if size <= 0:
        raise InvalidError(f"the cluster size must be 1 or more, got {size!r}; write size=1")

    @hide_our_frames
    def decorate(obj: Any) -> Any:
        return mark("clustered", obj, cluster_size=size)

    return decorate


@hide_our_frames
def sessioned(*args: Never) -> Decorator:
    """Modal's mark for the class of a ``Server``; there are none here.

    Raises:
        InvalidError: always on a function; on a class, which is marked in vain.
    """
    if args:
        raise positional_arguments("sessioned", args[0], "@moorage.sessioned()")

    @hide_our_frames
    def decorate(obj: Any) -> Any:
        raw = obj.raw if isinstance(obj, PartialFunction) else obj
        if not Real.isclass(raw):
            raise InvalidError(
                f"sessioned decorates the class of a Server, got {name_of(raw)}; take it away"
            )
        return mark("sessioned", obj)

    return decorate
