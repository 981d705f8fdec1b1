"""The decorators: they mark functions, methods and classes.

Owns ``concurrent``, ``batched``, ``method``, ``enter``, ``exit``, ``clustered`` and
``sessioned``; re-exports ``parameter`` and the web decorators of ``web/decorators.py``.  Users
call this file.  The arguments are checked in ``declaring/marks.py`` (``concurrent``) and
``declaring/parameters.py`` (``batched``); which marks may be combined, in ``declaring/partial.py``.

Begin at `concurrent`, then `mark` in ``declaring/partial.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform, overload

from .declaring.marks import Concurrency, name_of
from .declaring.parameters import checked_batching
from .declaring.parameters import parameter as parameter
from .declaring.partial import BatchDecorator, Decorator, MethodDecorator, mark, refuse_class
from .declaring.partial import PartialFunction as PartialFunction
from .exception import InvalidError
from .frames import hide_our_frames, hide_our_frames_of_decorator, positional_arguments
from .runtime.real import Real
from .web.decorators import asgi_app as asgi_app
from .web.decorators import fastapi_endpoint as fastapi_endpoint
from .web.decorators import web_endpoint as web_endpoint
from .web.decorators import web_server as web_server
from .web.decorators import wsgi_app as wsgi_app

F = TypeVar("F", bound="Callable[..., object] | PartialFunction[..., object, object]")


# Overloads, because the implementation accepts more than type checkers should: wrong calls get
# our own error at run time.  `target_inputs` alone is for a second `concurrent` on the same
# function, and for a class with a server (`http_server`).  `dataclass_transform` says that a class
# takes its `parameter`s by name; it is written here too, because mypy ignores it on a method such
# as `app.cls`.
@overload
@dataclass_transform(kw_only_default=True, field_specifiers=(parameter,))
def concurrent(*, max_inputs: int) -> Decorator: ...
@overload
def concurrent(*, max_inputs: int, target_inputs: int | None) -> Decorator: ...
@overload
def concurrent(*, target_inputs: int) -> Decorator: ...
@hide_our_frames_of_decorator("@moorage.concurrent(max_inputs=10)")
def concurrent(*, max_inputs: int | None = None, target_inputs: int | None = None) -> Decorator:
    """Let one container run several inputs at once.

    ``async def`` functions run as tasks on the container's event loop; ``def`` functions run
    on at most `max_inputs` threads of the container.  Write the decorator below
    ``@app.function()``, or below ``@app.cls()`` on a class, whose methods then share the slots
    of each container.  It is refused on a method.  If it is written twice on one function, the
    two must set different arguments.

    Args:
        max_inputs: the hard limit: a container never runs more inputs at once.
        target_inputs: the soft limit: the autoscaler starts containers so that each runs
            about `target_inputs` inputs.  A container runs up to `max_inputs` inputs while no
            other container can take them.  By default `max_inputs`.

    Raises:
        InvalidError: if the decorator is written without parentheses or with positional
            arguments, if a number is not a whole number from 1 up, or if `target_inputs`
            exceeds `max_inputs`.
    """
    marked = Concurrency(max_inputs, target_inputs).checked()

    @hide_our_frames
    def decorate(obj: Any) -> Any:
        return mark("concurrent", obj, concurrency=marked)

    return decorate


@hide_our_frames
def batched(*, max_batch_size: int, wait_ms: int) -> BatchDecorator:
    """Run the inputs of several callers in one call of the function, as lists.

    Each parameter of the function receives a list with one element per input.  The function
    returns a list of the same length.  If an element of that list is an exception object, it
    is raised at the caller of that input only.  The decorator is for functions, and for the
    only callable method of a class.  With ``concurrent``, a batch takes one slot.

    Args:
        max_batch_size: the most inputs in one batch, 1 to 1,000.
        wait_ms: milliseconds that the first input of a batch waits for others, at most;
            0 to 600,000.  A full batch does not wait.  A batch that waits for a slot takes
            further inputs until it gets the slot.

    Raises:
        InvalidError: if a number is out of its range, or the decorated object is a class.
    """
    batching = checked_batching(max_batch_size, wait_ms)

    @hide_our_frames
    def decorate(obj: Any) -> Any:
        refuse_class("batched", obj)
        return mark("batched", obj, batching=batching)

    return decorate


@hide_our_frames_of_decorator("@moorage.method()")
def method(*, is_generator: bool | None = None) -> MethodDecorator:
    """Make a method of an app's class callable with ``.remote()`` and the like.

    Args:
        is_generator: whether calling the method returns a generator; if None, this is read
            from the method.

    Raises:
        InvalidError: if the decorated object is a class, or a lifecycle hook.
    """

    @hide_our_frames
    def decorate(obj: Any) -> Any:
        refuse_class("method", obj)
        return mark("method", obj, is_method=True, is_generator=is_generator)

    return decorate


@hide_our_frames_of_decorator("@moorage.enter()")
def enter(*, snap: bool = False) -> Callable[[F], F]:
    """Run the method once in each container, before the first input of the container.

    Methods with ``snap=True`` run before the other enter hooks, as in Modal.  No snapshot is
    taken here, but the class must be decorated with
    ``@app.cls(enable_memory_snapshot=True)``.

    Raises:
        InvalidError: if the decorated object is a class, or a method for callers.
    """

    @hide_our_frames
    def decorate(obj: Any) -> Any:
        refuse_class("enter", obj)
        # A hook with two marks runs once, at the earlier of the two times.
        early = snap or (isinstance(obj, PartialFunction) and obj.marks.enter == "snap")
        return mark("enter", obj, enter="snap" if early else "enter")

    return decorate


@hide_our_frames_of_decorator("@moorage.exit()")
def exit() -> Callable[[F], F]:
    """Run the method once in each container, after the last input of the container.

    The exit hooks run only in a container whose enter hooks succeeded.

    Raises:
        InvalidError: if the decorated object is a class, or a method for callers.
    """

    @hide_our_frames
    def decorate(obj: Any) -> Any:
        refuse_class("exit", obj)
        return mark("exit", obj, exit=True)

    return decorate


@hide_our_frames
def clustered(*, size: int, rdma: bool = False) -> Decorator:
    """Mark a function or class for a cluster of machines in the cloud; without effect here.

    Args:
        size: the number of containers in the cluster, 1 or more.
        rdma: whether the containers are linked by RDMA.

    Raises:
        InvalidError: if `size` is below 1.
    """
    if size <= 0:
        raise InvalidError(f"the cluster size must be 1 or more, got {size!r}; write size=1")

    @hide_our_frames
    def decorate(obj: Any) -> Any:
        return mark("clustered", obj, cluster_size=size)

    return decorate


if not TYPE_CHECKING:  # an old spelling: `modal.build`

    @hide_our_frames
    def _build(*args, force=False, timeout=None):
        """Decorate a method that Modal once ran while it built the image.  It does not run here."""
        if args:
            raise positional_arguments("build", args, "@modal.enter()")
        return lambda function: function


@hide_our_frames_of_decorator("@moorage.sessioned()")
def sessioned() -> Decorator:
    """Mark the class of a ``Server``, as Modal does.  moorage has no servers yet.

    Raises:
        InvalidError: on anything but a class.  A class is marked, without effect.
    """

    @hide_our_frames
    def decorate(obj: Any) -> Any:
        raw = obj.raw if isinstance(obj, PartialFunction) else obj
        if not Real.isclass(raw):
            raise InvalidError(
                f"sessioned decorates the class of a Server, got {name_of(raw)}; take it away"
            )
        return mark("sessioned", obj)

    return decorate


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _PartialFunction = PartialFunction
