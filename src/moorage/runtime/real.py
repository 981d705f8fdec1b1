"""The standard library as it was when moorage was imported.

Owns `Real`.  All files of moorage read from `Real` the functions and classes that users' tests
patch: those of ``time``, ``threading``, ``asyncio``, ``inspect`` and others.

Owns `import_late`, too: most of moorage is imported at its first use, which may be under a patch.

Begin at `Real` (at the end of this file), then `_globals_of`, `_loop_class` and `import_late`.

A patch changes the object that a module's name refers to (``mock.patch("time.sleep")``), or
all module globals that refer to a given object (freezegun).  Neither changes the attributes
of a class, so a patch changes the user's code, and not the engine.

A function of the standard library that is written in Python looks up other names at each
call: ``threading.Thread(...)`` makes an ``Event``, an ``Event`` makes a ``Condition``.  `Real`
has copies of such functions, whose globals are copies too.

The locks of moorage have a type of their own: the type of a second instance of the module
``_thread``.  Under ``clock.patch_time()`` the methods of the locks that users make are replaced
(``clocks/blocking.py``); moorage's locks stay as they are, and as fast.

If a patch is active when this module is imported, `Real` would keep the patch for ever.  So
the import raises an ImportError then.
"""

from __future__ import annotations

import _thread
import asyncio
import contextvars
import datetime
import functools
import importlib.util
import inspect
import logging
import os
import queue
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import weakref
from asyncio import base_events, events, selector_events
from collections.abc import Callable, Coroutine, Mapping
from concurrent import futures
from concurrent.futures import _base as futures_base
from contextvars import copy_context
from importlib import import_module
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, TypeGuard, TypeVar, cast

if TYPE_CHECKING:
    from typing_extensions import TypeIs

T = TypeVar("T")
F = TypeVar("F")
IsKind = Callable[[object], bool]

# The names that the engine needs from each module.  The import checks each for a patch.
_NAMES: Final[dict[ModuleType, tuple[str, ...]]] = {
    time: (
        *("monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"),
        *("sleep", "time", "time_ns"),
    ),
    threading: (
        *("Thread", "Lock", "RLock", "Condition", "Event", "Semaphore"),
        *("current_thread", "enumerate", "get_ident", "main_thread"),
    ),
    asyncio: (
        *("_enter_task", "_get_running_loop", "_leave_task"),
        *("all_tasks", "create_task", "current_task", "get_running_loop"),
        *("iscoroutine", "new_event_loop", "run", "shield", "wait", "wait_for"),
        *("Future", "Handle", "Runner", "Task"),
    ),
    inspect: (
        *("currentframe", "getattr_static", "getcoroutinestate", "getgeneratorstate"),
        *("isasyncgenfunction", "isawaitable", "isclass", "iscoroutine", "iscoroutinefunction"),
        *("isfunction", "isgeneratorfunction", "ismethod", "ismodule", "signature"),
    ),
    os: ("_exit", "close", "getcwd", "urandom", "write"),
    logging: ("getLogger",),
    queue: ("SimpleQueue",),
    selectors: ("DefaultSelector",),
    signal: ("getsignal", "signal"),
    socket: ("socket", "socketpair"),
}


def _refuse_patches() -> None:
    for module, names in _NAMES.items():
        for name in names:
            value = getattr(module, name)
            if not _is_original(module, value):
                _refuse(f"{module.__name__}.{name} is {_shown(value)}")
    time_machine = sys.modules.get("time_machine")
    hatch = getattr(time_machine, "escape_hatch", None)
    if hatch is not None and hatch.is_travelling():
        _refuse("time_machine travels in time")


def _is_original(module: ModuleType, value: object) -> bool:
    if module is time:
        return type(value) is BuiltinFunctionType and value.__module__ == "time"
    mock = sys.modules.get("unittest.mock")
    if mock is not None and isinstance(value, mock.NonCallableMock):
        return False
    # Tracers wrap functions, also in production.  Their wrapper has the `__module__` of the
    # original, and is accepted.  So is coverage's `os._exit`, which saves its data first.
    home = (getattr(value, "__module__", None) or "").partition(".")[0]
    return home in sys.stdlib_module_names or home == "coverage"


def _shown(value: object) -> str:
    """Describe `value`, without running user code."""
    kind = type(value)
    name = getattr(value, "__qualname__", None) if kind is FunctionType else None
    home = getattr(value, "__module__", None) if kind is FunctionType else kind.__module__
    return f"{home}.{name or kind.__qualname__}"


def _refuse(what: str) -> None:
    raise ImportError(
        f"moorage was imported while the standard library is patched: {what}, "
        "and the engine would run on the patch for as long as the process lives;\n"
        "write `import moorage` where nothing is patched yet, as at the top of the test's file"
    )


_refuse_patches()


# -- copies of functions that look up names at each call ---------------------------------


class _Globals(dict[str, Any]):
    """The globals of a module at import time, except the names in `live`.

    A name in `live` is read from the module at each use: for a subclass of dict, CPython
    calls ``__missing__`` when a function looks up a global that is not in the dict.
    """

    def __init__(self, module: ModuleType, live: frozenset[str]) -> None:
        self._module: dict[str, Any] = vars(module)
        super().__init__({name: v for name, v in self._module.items() if name not in live})

    def __missing__(self, name: str) -> Any:
        return self._module[name]


def _globals_of(module: ModuleType, live: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return a copy of a module's globals, in which its functions are copies too.

    The copied functions look up names in the returned dict, and not in the module.
    """
    names = _Globals(module, live) if live else dict(vars(module))
    for name, value in list(names.items()):
        if type(value) is FunctionType and value.__globals__ is vars(module):
            names[name] = _copy_of(value, names)
    return names


def _copy_of(function: FunctionType, names: dict[str, Any]) -> FunctionType:
    # The copy needs its own code object.  CPython caches in the code object what the names
    # last referred to; if the original and the copy shared it and ran in turns, each call
    # would look the names up again.
    copied = FunctionType(
        function.__code__.replace(),
        names,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copied.__kwdefaults__ = function.__kwdefaults__
    copied.__qualname__ = function.__qualname__
    copied.__doc__ = function.__doc__
    copied.__module__ = function.__module__
    return copied


def _class_with(kind: type[T], names: dict[str, Any]) -> type[T]:
    """Return a subclass of `kind` whose methods are copies that look up names in `names`."""
    inside: dict[str, Any] = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    if "__slots__" in vars(kind):
        inside["__slots__"] = ()
    for name, value in vars(kind).items():
        if type(value) is FunctionType:
            inside[name] = _copy_of(value, names)
        elif type(value) is property:
            inside[name] = property(*(_copied(f, names) for f in (value.fget, value.fset)))
    return cast("type[T]", type(kind.__name__, (kind,), inside))


def _copied(function: Callable[..., Any] | None, names: dict[str, Any]) -> Any:
    return _copy_of(function, names) if type(function) is FunctionType else function


# Globals of `threading` that must stay live.  A fork, `settrace`, `setprofile` and the shutdown
# of the interpreter assign them; users may replace `excepthook`.
_CHANGE: Final = frozenset(
    {"_active_limbo_lock", "_main_thread", "_profile_hook", "_trace_hook", "excepthook"}
    | {"_SHUTTING_DOWN", "_shutdown_locks", "_shutdown_locks_lock"}
)
_threading: Final = _globals_of(threading, _CHANGE)


def _second_thread_module() -> ModuleType:
    """Return a new instance of the module ``_thread``, whose lock types are its own.

    Returns ``_thread`` itself where the interpreter makes no second instance.
    """
    spec = importlib.util.find_spec("_thread")
    try:
        assert spec is not None and spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made)
        made.allocate_lock().acquire(False)
        made.RLock().acquire(False)
    except Exception:  # an interpreter that is not CPython
        return _thread
    return made


_own: Final = _second_thread_module()
_threading.update(_allocate_lock=_own.allocate_lock, Lock=_own.allocate_lock)
_threading.update(_CRLock=_own.RLock, RLock=_own.RLock)
for _name in ("Condition", "Semaphore", "Event", "Thread"):
    # In this order: a Semaphore and an Event make a Condition, a Thread makes an Event.
    _threading[_name] = _class_with(getattr(threading, _name), _threading)

_inspect: Final = _globals_of(inspect)
_socket: Final = _globals_of(socket)
_time: Final = SimpleNamespace(**vars(time))
_of_handles: Final = {**vars(events), "contextvars": SimpleNamespace(**vars(contextvars))}
# `concurrent.futures` loads this class lazily, so `vars(futures)` may not have it yet.
_of_executors: Final = {**vars(futures), "ThreadPoolExecutor": futures.ThreadPoolExecutor}
_of_loops: Final = {
    **vars(base_events),
    "concurrent": SimpleNamespace(futures=SimpleNamespace(**_of_executors)),
    "threading": SimpleNamespace(**{k: v for k, v in _threading.items() if k != "__builtins__"}),
    "time": _time,
}
_of_futures: Final = {**vars(futures_base), "threading": _of_loops["threading"]}


def _same(function: F, names: dict[str, Any]) -> F:
    """Return the copy of `function` in `names`."""
    return cast("F", names[cast("FunctionType", function).__name__])


def _class_here(kind: type[T], names: dict[str, Any]) -> type[T]:
    """Return the copy of the class `kind` in `names`."""
    return cast("type[T]", names[kind.__name__])


def _is_coroutine(value: object) -> TypeGuard[Coroutine[Any, Any, Any]]:
    """Return whether `value` is a coroutine, of Python or of Cython.

    False for generators; ``asyncio.iscoroutine`` of Python 3.11 returns True for them.
    """
    return isinstance(value, Coroutine)


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return ``inspect.signature(function)``.

    Not a copy of that function, because it calls a classmethod, which looks up patched names.
    """
    found: inspect.Signature = _inspect["_signature_from_callable"](
        function, sigcls=inspect.Signature
    )
    return found


# Methods of loops that look up names that users patch.
_LOOKS_UP: Final = (
    *("_add_reader", "_add_writer", "_make_self_pipe", "_run_forever_setup", "run_forever"),
    *("set_default_executor", "shutdown_default_executor"),
)
# Methods of loops that run in each turn of a loop.  The engine's loops have copies, because
# CPython caches lookups in the code of a method: the user's loops would invalidate the cache.
_EACH_TURN: Final = (
    *("_add_callback", "_call_soon", "_check_closed", "_process_events", "_process_self_data"),
    *("_read_from_self", "_run_once", "_write_to_self", "call_soon", "call_soon_threadsafe"),
    *("create_future", "get_debug", "is_closed"),
)
_for_methods: Final[dict[int, dict[str, Any]]] = {
    id(vars(base_events)): _of_loops,
    id(vars(selector_events)): {
        **vars(selector_events),
        "events": SimpleNamespace(
            **{**vars(events), "Handle": _class_with(events.Handle, _of_handles)}
        ),
        "socket": SimpleNamespace(**{k: v for k, v in _socket.items() if k != "__builtins__"}),
    },
}

_loop_classes: Final[dict[type, type]] = {}


def _time_of_loop(self: object) -> float:
    return Real.monotonic()


def _call_at(kind: Any) -> Callable[..., asyncio.TimerHandle]:
    def call_at(
        self: Any,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        # With None the handle would look up `contextvars.copy_context`, which may be patched.
        timer: asyncio.TimerHandle = kind.call_at(
            self, when, callback, *args, context=copy_context() if context is None else context
        )
        return timer

    return call_at


def _loop_class(kind: type) -> type:
    """Return a subclass of the loop class `kind` whose methods do not look up patched names."""
    found = _loop_classes.get(kind)
    if found is None:
        inside: dict[str, Any] = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
        for name in _LOOKS_UP:
            method: object = getattr(kind, name, None)
            names = _for_methods.get(id(getattr(method, "__globals__", None)))
            if type(method) is FunctionType and names is not None:
                inside[name] = _copy_of(method, names)
        for name in _EACH_TURN:
            method = getattr(kind, name, None)
            if type(method) is FunctionType:
                inside[name] = _copy_of(method, method.__globals__)
        if getattr(kind, "time", None) is asyncio.BaseEventLoop.time:
            inside |= {"time": _time_of_loop, "call_at": _call_at(kind)}
        found = _loop_classes[kind] = type(kind.__name__, (kind,), inside)
    return found


def _policy() -> object:
    # The public function gives a DeprecationWarning on Python 3.14.
    get = getattr(events, "_get_event_loop_policy", None) or vars(events)["get_event_loop_policy"]
    policy: object = get()
    return policy


def _new_event_loop(
    make_selector: Callable[[], selectors.BaseSelector] = selectors.DefaultSelector,
) -> asyncio.AbstractEventLoop:
    """Return a new loop of the program's own policy that does not look up patched names.

    Args:
        make_selector: makes the selector, if the policy is the one of Python itself.
    """
    policy = _policy()
    if (
        type(policy).__module__.partition(".")[0] == "asyncio"
        and getattr(policy, "_loop_factory", None) is asyncio.SelectorEventLoop
    ):
        return Real.SelectorEventLoop(make_selector())
    loop = Real.made_by_policy()
    kind = type(loop)
    if isinstance(loop, asyncio.BaseEventLoop) and not kind.__dict__.get("__slots__"):
        loop.__class__ = _loop_class(kind)
    return loop


# -- imports after that of moorage -------------------------------------------------------


def _originals_of(names: dict[str, Any], more: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        name: value
        for name, value in names.items()
        if callable(value) and (not name.startswith("_") or name in more)
    }


# The functions and classes of the standard library that files of moorage name at their import, and
# the methods.  Invariant: none is a patch, see `_refuse_patches`.
_ORIGINALS: Final[list[tuple[Any, dict[str, Any]]]] = [
    *((module, _originals_of(vars(module), names)) for module, names in _NAMES.items()),
    *(
        (module, _originals_of(vars(module)))
        for module in (contextvars, datetime, functools, futures, traceback, weakref)
    ),
    *(
        (kind, {name: v for name, v in vars(kind).items() if type(v) is FunctionType})
        for kind in (
            *(threading.Thread, threading.Condition, threading.Event, threading.Semaphore),
            asyncio.Runner,
        )
    ),
]


def import_late(name: str, package: str) -> ModuleType:
    """Import a module of moorage at its first use, as if nothing were patched.

    A file that is imported under a patch would name the patch for as long as the process lives:
    as a base class, or as a function that it copies.  So the names are as they were while the file
    is imported.  moorage's own ``clock.patch_time()`` stays in force, because other threads are in
    virtual time.
    """
    whole = package + name
    if whole in sys.modules:
        return import_module(name, package)
    patched: list[tuple[Any, str, Any]] = []
    for owner, originals in _ORIGINALS:
        present: Mapping[str, Any] = owner.__dict__
        for each, original in originals.items():
            value = present.get(each, original)
            if value is not original and not _is_ours(value):
                patched.append((owner, each, value))
                setattr(owner, each, original)
    try:
        return import_module(name, package)
    finally:
        for owner, each, value in patched:
            setattr(owner, each, value)


def _is_ours(value: object) -> bool:
    return str(getattr(value, "__module__", "")).partition(".")[0] == __name__.partition(".")[0]


# -- the names ---------------------------------------------------------------------------


if TYPE_CHECKING:
    # A type checker takes a function in a class for a method, except a staticmethod.
    _plain = staticmethod
else:
    # At run time no staticmethod is needed, because nobody makes an instance of `Real`.
    # CPython reads a plain function faster from a class than a staticmethod.
    def _plain(function):
        return function


class Real:
    """The names that moorage needs of the standard library, as class attributes.

    Nobody makes an instance.
    """

    # time
    monotonic: Final = _plain(time.monotonic)
    wall: Final = _plain(time.time)
    sleep: Final = _plain(time.sleep)
    wall_time: Final = _plain(time.time)
    tzset: Final = _plain(getattr(time, "tzset", lambda: None))  # none on Windows

    # threading
    Thread: Final = _class_here(threading.Thread, _threading)
    Event: Final = _class_here(threading.Event, _threading)
    if TYPE_CHECKING:
        Lock: Final = threading.Lock
        RLock: Final = threading.RLock
    else:
        Lock = _own.allocate_lock
        RLock = _own.RLock
    current_thread: Final = _plain(_same(threading.current_thread, _threading))
    all_threads: Final = _plain(_same(threading.enumerate, _threading))
    get_ident: Final = _plain(threading.get_ident)
    main_thread: Final = _plain(_same(threading.main_thread, _threading))

    # asyncio
    Handle: Final = asyncio.Handle
    Runner: Final = asyncio.Runner
    _enter_task: Final = _plain(asyncio._enter_task)
    _get_running_loop: Final = _plain(asyncio._get_running_loop)
    _leave_task: Final = _plain(asyncio._leave_task)
    get_running_loop: Final = _plain(asyncio.get_running_loop)
    all_tasks: Final = _plain(asyncio.all_tasks)
    create_task: Final = _plain(asyncio.create_task)
    current_task: Final = _plain(asyncio.current_task)
    iscoroutine: Final = _plain(_is_coroutine)
    made_by_policy: Final = _plain(asyncio.new_event_loop)
    new_event_loop: Final = _plain(_new_event_loop)
    policy: Final = _plain(_policy)
    run: Final = _plain(asyncio.run)
    run_coroutine_threadsafe: Final = _plain(asyncio.run_coroutine_threadsafe)
    shield: Final = _plain(asyncio.shield)
    wait: Final = _plain(asyncio.wait)
    wait_for: Final = _plain(asyncio.wait_for)
    wrap_future: Final = _plain(asyncio.wrap_future)

    # The class of most loops that `new_event_loop` returns; a base for subclasses.
    SelectorEventLoop: Final = cast(
        "type[asyncio.SelectorEventLoop]", _loop_class(asyncio.SelectorEventLoop)
    )

    # concurrent.futures
    Future: type[futures_base.Future[Any]] = _class_with(futures_base.Future, _of_futures)

    # inspect
    currentframe: Final = _plain(_same(inspect.currentframe, _inspect))
    getattr_static: Final = _plain(_same(inspect.getattr_static, _inspect))
    getcoroutinestate: Final = _plain(_same(inspect.getcoroutinestate, _inspect))
    getgeneratorstate: Final = _plain(_same(inspect.getgeneratorstate, _inspect))
    isasyncgenfunction: Final = _plain(cast("IsKind", _same(inspect.isasyncgenfunction, _inspect)))
    isawaitable: Final = _plain(_same(inspect.isawaitable, _inspect))
    isclass: Final = _plain(_same(inspect.isclass, _inspect))
    iscoroutinefunction: Final = _plain(
        cast("IsKind", _same(inspect.iscoroutinefunction, _inspect))
    )
    isgeneratorfunction: Final = _plain(
        cast("IsKind", _same(inspect.isgeneratorfunction, _inspect))
    )
    if TYPE_CHECKING:  # these two narrow the type of their argument

        @staticmethod
        def isfunction(value: object, /) -> TypeIs[FunctionType]: ...
        @staticmethod
        def ismethod(value: object, /) -> TypeIs[MethodType]: ...

    else:
        isfunction = _same(inspect.isfunction, _inspect)
        ismethod = _same(inspect.ismethod, _inspect)
    ismodule: Final = _plain(_same(inspect.ismodule, _inspect))
    signature: Final = _plain(_signature)

    # others
    SimpleQueue: Final = queue.SimpleQueue
    DefaultSelector: Final = selectors.DefaultSelector
    open_file: Final = _plain(open)
    exit_now: Final = _plain(os._exit)
    close: Final = _plain(os.close)
    getcwd: Final = _plain(os.getcwd)
    urandom: Final = _plain(os.urandom)
    write: Final = _plain(os.write)
    getsignal: Final = _plain(signal.getsignal)
    set_signal: Final = _plain(signal.signal)
    socketpair: Final = _plain(_same(socket.socketpair, _socket))
    socket: Final = socket.socket
    Popen: Final = subprocess.Popen
    if sys.platform != "win32":
        pthread_kill: Final = _plain(signal.pthread_kill)
    if sys.platform == "linux":
        eventfd: Final = _plain(os.eventfd)
        eventfd_read: Final = _plain(os.eventfd_read)
        eventfd_write: Final = _plain(os.eventfd_write)
        epoll: Final = select.epoll
        poll: Final = _plain(select.poll)
