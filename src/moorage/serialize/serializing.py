"""Serializing: sends arguments and results through pickle, as to a remote container.

Owns what ``serialize=True`` of a run does.  Arguments are pickled when a call is made; a
wrapper around the user's function reads them back in the container.  The same wrapper pickles
results, items and exceptions, and reads them back, when the code has returned.  The engine
does not know of this: its inputs carry a `Shipped` in place of each argument.
``culprits.py`` finds the part of a value that does not pickle.  Begin at `serialize_call`,
then `_around`, which makes the wrapper.

Needs cloudpickle, which the extra ``serialize`` installs.
"""

from __future__ import annotations

import functools
import importlib
import io
import pickle
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Protocol, TypeVar, cast

from ..exception import (
    DeserializationError,
    ExecutionError,
    InvalidError,
    SerializationError,
    UnpicklableError,
)
from ..runtime.containers.lifecycle import Hook, Lifecycle
from ..runtime.error_copies import traceback_of
from ..runtime.input import Input, Target
from ..runtime.kinds import NOT_RUN, Kind, is_awaitable, is_iterable, refusal, unfinished
from ..runtime.labels import Shown, shown_argument
from ..runtime.outcome import _CONTROL_FLOW, PACKAGE, frames_of_raise
from ..runtime.posing import poses_as
from .culprits import (
    PROTOCOL,
    Part,
    argument_parts,
    error_text,
    find_culprit,
    type_name,
)

E = TypeVar("E", bound=BaseException)


def check_installed() -> None:
    """Raise unless values can be pickled as Modal pickles them.

    Raises:
        InvalidError: if cloudpickle is not installed.
    """
    _pickler_class()


@functools.cache
def _pickler_class() -> Any:
    try:
        cloudpickle: Any = importlib.import_module("cloudpickle")
    except ImportError:
        raise InvalidError(
            "serialize=True needs cloudpickle, which is not installed; "
            'write pip install "moorage[serialize]"'
        ) from None
    return type("Pickler", (cloudpickle.Pickler,), {"persistent_id": _persistent_id})


def _persistent_id(pickler: Any, value: object) -> int | None:
    """Return a number for a handle, None for other values; pickle calls this for each value.

    A handle (an app, a function, a call, ...) is passed by reference under that number, as
    Modal passes its objects by their ids.
    """
    kind = type(value)
    if not str(kind.__module__).startswith("moorage."):
        return None
    if not any(f"{base.__module__}.{base.__qualname__}" in _HANDLES for base in kind.__mro__):
        return None
    pickler.handles.append(value)
    return len(pickler.handles) - 1


# Classes by name, because their files import this file.
_HANDLES: Final = frozenset(
    {
        "moorage.app.App",
        "moorage.cls.Cls",
        "moorage.cls.Obj",
        "moorage.functions.Function",
        "moorage.declaring.partial.PartialFunction",
        "moorage.object.Object",
        "moorage.server.Server",
        "moorage.calling.function_call.FunctionCall",
    }
)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, handles: list[object]) -> None:
        super().__init__(file)
        self._handles = handles

    def persistent_load(self, pid: int) -> object:
        return self._handles[pid]


def _dump_to(value: object, file: Any) -> list[object]:
    pickler = _pickler_class()(file, protocol=PROTOCOL)
    handles: list[object] = []
    pickler.handles = handles
    pickler.dump(value)
    return handles


class Pickled:
    """A value in the form in which it travels; each `load` gives another copy."""

    __slots__ = ("_data", "_handles")

    def __init__(self, value: object) -> None:
        file = io.BytesIO()
        self._handles = _dump_to(value, file)
        self._data = file.getvalue()

    def load(self) -> Any:
        return _Unpickler(io.BytesIO(self._data), self._handles).load()


class Shipped(Shown):
    """A placeholder for one argument of an input; its arguments are pickled together."""

    __slots__ = ("_key", "_pickled")

    def __init__(self, pickled: Pickled, key: int | str, value: object) -> None:
        super().__init__(shown_argument(value))
        self._pickled = pickled
        self._key = key

    def unpack(self, loaded: dict[Pickled, Any]) -> Any:
        """Return a copy of the argument.

        `loaded` caches what was unpickled: the arguments of one input share one copy.
        """
        pickled, key = self._pickled, self._key
        if pickled not in loaded:
            loaded[pickled] = pickled.load()
        args, kwargs = loaded[pickled]
        return args[key] if isinstance(key, int) else kwargs[key]


# -- at the caller ---------------------------------------------------------------------


class SerializingTarget(Target):
    """A target that runs a function on copies of its arguments, and returns copied results."""

    __slots__ = ("original",)

    def __init__(self, original: Target, *, batched: bool = False) -> None:
        super().__init__(
            original.name,
            _around(original, batched=batched),
            original.kind,
            is_method=original.is_method,
        )
        self.original: Target = original
        self.is_cooperative: bool = original.is_cooperative


class HasTarget(Protocol):
    """A function, as far as this file needs it: see `Function` in ``functions.py``."""

    @property
    def _target(self) -> Target: ...


def serializing_target(function: HasTarget) -> SerializingTarget:
    """Return the serializing target of `function`, made once."""
    kept: SerializingTarget | None = vars(function).get("_serializing_target")
    if kept is None or kept.original is not function._target:
        # Two threads may each make a target here.  Both targets work.
        kept = vars(function)["_serializing_target"] = SerializingTarget(function._target)
    return kept


def serialize_call(inputs: Sequence[Input], function: HasTarget) -> None:
    """Pickle the arguments of a call that is about to be submitted.  No lock held.

    Raises:
        SerializationError: if some argument cannot be pickled; nothing is submitted then.
    """
    if inputs:
        call: Any = inputs[0].call
        call.target = serializing_target(function)
        serialize_inputs(inputs, one_of_many=len(inputs) > 1)


def serialize_inputs(inputs: Sequence[Input], *, one_of_many: bool) -> None:
    """Pickle the arguments of inputs whose call already has its `SerializingTarget`."""
    for input in inputs:
        args, kwargs = input.args, input.kwargs or {}
        if not args and not kwargs:
            continue
        if any(type(value) is Shipped for value in (*args[:1], *kwargs.values())):
            # The input is pickled already: its pool was retired meanwhile, and the input is
            # now submitted to the next pool.
            continue
        target = input.call.target
        pickled = _pickled_arguments(
            target.function,
            1 if target.is_method else 0,
            args,
            kwargs,
            f"argument {{!r}} of {_called(target)}"
            + (f", input {input.index} of its call," if one_of_many else ""),
        )
        input.args = tuple(Shipped(pickled, index, value) for index, value in enumerate(args))
        input.kwargs = {name: Shipped(pickled, name, kwargs[name]) for name in kwargs} or None


def _pickled_arguments(
    function: Callable[..., Any] | None,
    skip: int,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    what: str,
) -> Pickled:
    try:
        return Pickled((args, kwargs))
    except Exception as error:
        parts = argument_parts(function, args, kwargs, skip)
        part, culprit = find_culprit(parts, error, _dump_to)
        refusal = UnpicklableError(
            f"the {what.format(part.path)} cannot be serialized: "
            f"{culprit.explain(part.path, 'pass')}"
        )
        cause = _cause(culprit.error)
    try:
        raise refusal from cause
    finally:
        del refusal, cause


def _called(target: Target) -> str:
    return f"{target.name}()"


def _cause(error: Exception) -> Exception | None:
    """Return `error` if user code raised it, as the cause of ours; else None.

    The text of pickle's own errors is in our message already.
    """
    frames = _frames_of_users(traceback_of(error))
    if frames is not None:
        BaseException.with_traceback(error, frames)
    return None if frames is None else error


def _frames_of_users(traceback: TracebackType | None) -> TracebackType | None:
    """Return `traceback` from the first frame that is neither moorage's nor cloudpickle's."""
    while traceback is not None:
        frame = traceback.tb_frame
        ours = frame.f_code.co_filename.startswith(PACKAGE)
        if not ours and frame.f_globals.get("__package__") != "cloudpickle":
            return traceback
        traceback = traceback.tb_next
    return None


# -- in the container ------------------------------------------------------------------


def _around(target: Target, *, batched: bool) -> Callable[..., Any]:
    """Return a wrapper of the user's function that is called with `Shipped` arguments."""
    # `target.function` is read at each call: a test may replace the method (``patching.py``).
    function, name = target.function, _called(target)
    if target.kind.is_generator:

        @poses_as(function)
        def run_generator(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = _unpacked(name, args, kwargs)
            items = _guarded(name, lambda: target.function(*args, **kwargs))
            if not target.is_async and not is_iterable(items):
                return items  # the lane refuses these
            return _AsyncItems(items, name) if target.is_async else _Items(items, name)

        return run_generator

    if target.kind is Kind.ASYNC:

        @poses_as(function)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = _unpacked(name, args, kwargs)
            try:
                result = target.function(*args, **kwargs)
                if is_awaitable(result):
                    result = await result
                elif unfinished(result):
                    raise refusal(target.name, target.kind, result)
            except BaseException as error:
                failed = travelled(error, name)
            else:
                # The lane refuses what has not run, which pickle would refuse with another text.
                return result if unfinished(result) else _returned(result, name, batched)
            try:
                raise failed
            finally:
                # The error's traceback refers to this frame: break the reference cycle.
                del failed, args, kwargs

        return run_async

    @poses_as(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = _unpacked(name, args, kwargs)
        result = _guarded(name, lambda: target.function(*args, **kwargs))
        # The lane refuses what has not run, which pickle would refuse with another text.
        return result if unfinished(result) else _returned(result, name, batched)

    return run


def _guarded(name: str, code: Callable[[], Any]) -> Any:
    """Run user code and return its result; an exception is raised as `travelled` makes it."""
    try:
        return code()
    except BaseException as error:
        failed = travelled(error, name)
    try:
        raise failed
    finally:
        del failed, code  # the error's traceback refers to this frame: break the cycle


async def _guarded_async(name: str, awaitable: Any) -> Any:
    try:
        return await awaitable
    except BaseException as error:
        failed = travelled(error, name)
    try:
        raise failed
    finally:
        del failed, awaitable


def _unpacked(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return fresh copies of the arguments; each attempt gets its own copies."""
    loaded: dict[Pickled, Any] = {}

    def given(value: Any) -> Any:
        if type(value) is Shipped:
            return value.unpack(loaded)
        if type(value) is list:  # a batch has a list with one `Shipped` per member
            return [shipped.unpack(loaded) for shipped in cast("list[Shipped]", value)]
        return value  # the instance of the class (`self`) is not pickled

    try:
        return tuple(map(given, args)), {key: given(value) for key, value in kwargs.items()}
    except Exception as error:
        refusal = DeserializationError(
            f"the arguments of {name} cannot be read back in the container: "
            f"{error_text(error)}; {_REBUILD}"
        )
        cause = _cause(error)
    try:
        raise refusal from cause
    finally:
        del refusal, cause


_REBUILD: Final = "give its class a __reduce__ that makes an equal object, or pass plain data"


def _returned(result: Any, name: str, batched: bool) -> Any:
    if not batched or not isinstance(result, list):
        return _copied(result, "result", f"the result of {name}")
    # Each element of a batch is the result of one input.  If an element cannot be pickled,
    # only the caller of that input gets the error.
    elements: list[Any] = []
    for element in cast("list[object]", result):
        if issubclass(type(element), BaseException):
            elements.append(travelled(cast("BaseException", element), name))
            continue
        if id(type(element)) in NOT_RUN:
            elements.append(element)  # the batch refuses this element
            continue
        try:
            elements.append(_copied(element, "result", f"the result of {name}"))
        except (SerializationError, DeserializationError) as error:
            elements.append(error)
    return elements


def _copied(value: Any, root: str, what: str) -> Any:
    """Return the copy of a result or an item that arrives at the caller.

    Raises:
        SerializationError: if the value cannot be pickled.
        DeserializationError: if the value cannot be read back.
    """
    refusal: SerializationError | DeserializationError
    pickled: Pickled | None = None
    try:
        pickled = Pickled(value)
        return pickled.load()
    except Exception as error:
        if pickled is None:
            _, culprit = find_culprit([Part(root, value)], error, _dump_to)
            refusal = UnpicklableError(
                f"{what} cannot be serialized: {culprit.explain(root, 'return')}"
            )
            cause = _cause(culprit.error)
        else:
            refusal = DeserializationError(
                f"{what} cannot be read back at the caller: {error_text(error)}; "
                f"{_REBUILD.replace('pass plain', 'return plain')}"
            )
            cause = _cause(error)
    try:
        raise refusal from cause
    finally:
        del refusal, cause, value


def travelled(error: BaseException, name: str) -> BaseException:
    """Return the exception that a caller gets for `error`, which left the code of `name`.

    The result is a copy with the frames of the user's code, but without cause and context,
    which pickle leaves out.  As in Modal, an exception that cannot be pickled arrives as a
    SerializationError, and one that cannot be read back as an ExecutionError.
    """
    if issubclass(type(error), _CONTROL_FLOW):
        return error  # the engine wraps this error, or it is the cancellation of this input
    frames = frames_of_raise(error)
    kind = type_name(type(error))
    cause: Exception | None = None
    try:
        pickled = Pickled(error)
    except Exception as refused:
        _, culprit = find_culprit([Part("error", error)], refused, _dump_to)
        made: BaseException = SerializationError(
            f"the exception {kind} that left {name} cannot be serialized: "
            f"{culprit.explain('error', 'raise')}"
        )
        cause = _cause(culprit.error)
    else:
        try:
            made = pickled.load()
        except Exception as refused:
            made = ExecutionError(
                f"the exception {kind} that left {name} cannot be read back at the caller: "
                f"{error_text(refused)}; {_REBUILD_ERROR}"
            )
            cause = _cause(refused)
        else:
            if not isinstance(cast("object", made), BaseException):
                made = ExecutionError(
                    f"the exception {kind} that left {name} was read back as "
                    f"{type_name(type(made))}; {_REBUILD_ERROR}"
                )
    if cause is not None:
        made.__cause__ = cause
    return BaseException.with_traceback(made, frames)


_REBUILD_ERROR: Final = (
    "pass all arguments of its __init__ on to super().__init__(), or give it a __reduce__"
)


def _copied_item(item: object, name: str) -> Any:
    if id(type(item)) in NOT_RUN:
        return item  # the stream refuses this item
    return _copied(item, "item", f"an item of {name}")


class _Items:
    """An iterator of copies of a generator's items.  `close` closes the generator."""

    def __init__(self, items: Any, name: str) -> None:
        self._items = items
        self._name = name
        self._steps: Iterator[Any] = iter(items)

    def __iter__(self) -> _Items:
        return self

    def __next__(self) -> Any:
        try:
            item = next(self._steps)
        except StopIteration:
            raise
        except BaseException as error:
            failed = travelled(error, self._name)
        else:
            return _copied_item(item, self._name)
        try:
            raise failed
        finally:
            del failed

    def close(self) -> None:
        close = getattr(self._items, "close", None)
        if close is not None:  # a user's iterator that is not a generator may have no `close`
            close()


class _AsyncItems:
    """An async iterator of copies of an async generator's items; as `_Items`."""

    def __init__(self, items: Any, name: str) -> None:
        self._items = items
        self._name = name
        self._steps: AsyncIterator[Any] | None = None

    def __aiter__(self) -> _AsyncItems:
        return self

    async def __anext__(self) -> Any:
        try:
            if self._steps is None:
                # A function declared `is_generator` may be a coroutine function that returns
                # an async generator.
                if is_awaitable(self._items):
                    self._items = await self._items
                if not is_iterable(self._items, asynchronously=True):
                    raise refusal(self._name.removesuffix("()"), Kind.ASYNC_GENERATOR, self._items)
                self._steps = aiter(self._items)
            item = await anext(self._steps)
        except StopAsyncIteration:
            raise
        except BaseException as error:
            failed = travelled(error, self._name)
        else:
            return _copied_item(item, self._name)
        try:
            raise failed
        finally:
            del failed

    async def aclose(self) -> None:
        aclose = getattr(self._items, "aclose", None)
        if aclose is not None:
            await aclose()


# -- classes -----------------------------------------------------------------------------


def serializing_lifecycle(lifecycle: Lifecycle, name: str) -> Lifecycle:
    """Return `lifecycle`, changed to make its instance from copies of the parameters.

    Errors of its enter hooks travel as those of inputs.  No lock held.

    Raises:
        SerializationError: if a parameter cannot be pickled.
    """
    construct = lifecycle.construct
    if isinstance(construct, functools.partial):
        # Made by `Construction` in ``cls.py``: the user's __init__, if any, and its arguments.
        made = cast("functools.partial[object]", construct)
        init, args, kwargs = made.args
        pickled = _pickled_arguments(init, 1, args, kwargs, f"parameter {{!r}} of {name}")

        def construct_copy() -> object:
            args, kwargs = pickled.load()
            return _guarded(name, lambda: made.func(init, args, kwargs))

        construct = construct_copy
    hooks = lifecycle.hooks

    def hooks_now() -> tuple[tuple[Hook, ...], tuple[Hook, ...]]:
        assert hooks is not None
        enter, exit = hooks()
        return tuple(_hook(hook) for hook in enter), exit

    return replace(
        lifecycle,
        construct=construct,
        enter=tuple(_hook(hook) for hook in lifecycle.enter),
        hooks=None if hooks is None else hooks_now,
    )


def _hook(hook: Hook) -> Hook:
    """Return `hook`, changed so that its errors travel as those of inputs."""
    function, name = hook.function, f"{hook.name}()"

    @poses_as(function)
    def run(instance: Any) -> Any:
        made = _guarded(name, lambda: function(instance))
        return _guarded_async(name, made) if is_awaitable(made) else made

    return replace(hook, function=run)
