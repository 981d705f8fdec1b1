"""Blocking calls: locks and queues of users' code, while a ``clock.patch_time()`` block is open.

Owns the methods that replace those of ``threading.Lock``, ``threading.RLock`` and
``queue.SimpleQueue`` meanwhile, and what is known about who holds a lock.  Everything else that
blocks in ``threading``, ``queue`` and ``concurrent.futures`` is made of these three: a Condition
waits in a lock, an Event and a Queue wait in a Condition.  Begin at `_methods_of`, then `_rest`,
then `install`.

How a blocking call rests.  A replacement first tries without blocking.  If that fails, and the
calling thread takes part in a patched clock (``reach.py``), the thread waits in the clock, as in
``time.sleep``: its participant is idle, others go on, and a timeout is virtual.  No method that
releases a lock is replaced.  Instead, each time a participant comes to rest, the clock looks which
of the blocked calls can go on (`Participants.look`).  So a release by C code, or by a method that
was bound before the patch, is seen too, and `release` cannot be interrupted half-way.

How objects are covered that were made before the patch.  The types of locks are immutable, so the
replacements are written to the dict of the type itself, behind its mappingproxy.  A Condition
binds methods of its lock when it is made; while patched, descriptors look these up anew.

moorage's own locks have another type (``real.py``), so nothing here is on the path of the engine.

If the interpreter does not let the types be changed, `install` changes nothing.  Then blocking
calls are real, as without `patch_time`.
"""

from __future__ import annotations

import gc
import math
import queue
import re
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from threading import Condition, Lock, RLock
from types import BuiltinMethodType, CodeType, FrameType, MethodType
from typing import Any, Final, cast

from ...exception import ClockStuckError
from ..outcome import user_frames
from ..places import Step, shown_step
from ..real import Real
from ..stacks import thread_name
from ..thread_state import thread_state
from . import started
from .blocked import Blocked, wait_until_free
from .reach import VirtualTime, clock_of_wait, is_standard, module_of

Method = Callable[..., Any]

# The modules whose own reading of the time must agree with the waits that they make, and whose
# threads call a function of ``time`` that the code gave them (``Thread(target=time.sleep)``).
READERS: Final = frozenset(
    {"threading", "queue", "concurrent.futures._base", "concurrent.futures.thread"}
)

# Real seconds for which a call blocks for real, and keeps the turn, if a thread that takes no part
# holds the lock.  Such locks are held for moments (logging, a pool's bookkeeping), and how long
# must not decide which participant goes first.
HELD_BY_OTHERS: Final = 0.05

_CONDITION_WAIT: Final[CodeType] = Condition.wait.__code__


class Holder:
    """Who took a lock last, and where."""

    __slots__ = ("ident", "step")

    def __init__(self, ident: int, step: Step | None) -> None:
        self.ident: int = ident
        self.step: Step | None = step  # None if it is not known

    def __str__(self) -> str:
        name = thread_name(self.ident)
        return f"{name} holds" if self.step is None else f"{name} took in {shown_step(self.step)}"


# By the id of the lock.  An entry stays after the release: it counts only while the lock is held.
_holders: Final[dict[int, Holder]] = {}


def _note(lock: object, frame: FrameType) -> None:
    """Note that the calling thread has taken `lock`; the call was made in `frame`."""
    if frame.f_code is _CONDITION_WAIT:
        _holders.pop(id(lock), None)  # the lock of one wait, released by `notify`
        return
    user = frame
    while user.f_back is not None and is_standard(module_of(user)):
        user = user.f_back
    _holders[id(lock)] = Holder(Real.get_ident(), (user.f_code, user.f_lineno or 0))


# When a wait of a thread last ran out, in virtual time, and the time that the thread last read
# there, by the thread's ident.
_ran_out: Final[dict[int, tuple[float, float]]] = {}


# -- the wait -----------------------------------------------------------------------


def _clock_here(frame: FrameType) -> VirtualTime | None:
    """Return the clock in which a blocking call rests that was made in `frame`; else None."""
    if thread_state.clock is None or Real.get_ident() in started.as_is:
        return None
    return clock_of_wait(frame)


def clock_of_reader(frame: FrameType) -> VirtualTime | None:
    """As `_clock_here`, for a reading of the time by one of `READERS`; None if not in force."""
    return _clock_here(frame) if _installed else None


def read(clock: VirtualTime) -> float:
    """Return the time of `clock` for one of `READERS`.

    Just after the instant at which a wait of this thread ran out, and later at each reading:
    ``as_completed`` looks whether its limit has passed, and would wait for 0 s for ever at the
    very instant of its limit.
    """
    now, ident = clock.now(), Real.get_ident()
    at, last = _ran_out.get(ident, (-1.0, now))
    if at != now:
        return now
    last = math.nextafter(last, math.inf)
    _ran_out[ident] = (now, last)
    return last


def end_of(clock: VirtualTime, timeout: float | None) -> float | None:
    """Return when a wait ends that begins now; later than now, or ``wait_for`` would spin."""
    if timeout is None:
        return None
    now = clock.now()
    return max(now + timeout, math.nextafter(now, math.inf))


def _rest(
    clock: VirtualTime,
    blocked: Blocked,
    attempt: Callable[[], bool],
    until: float | None,
) -> bool | None:
    """Wait in virtual time until `attempt` succeeds; false if `until` comes first.

    None if the thread takes part no more: then the caller blocks for real.
    """
    lock = clock.participants.lock
    if not lock.acquire(True, 1.0):
        return None  # a finalizer that runs in the clock's own code must not wait in the clock
    lock.release()
    while True:
        if not clock._patches or not clock._has_this_thread:
            return None
        came = wait_until_free(clock, blocked, until)
        blocked.again = True
        if attempt():
            return True
        if not came:
            now = clock.now()
            _ran_out[Real.get_ident()] = (now, now)
            return False


def standard_caller(frame: FrameType) -> bool:
    """Whether `frame` runs a method of ``threading``, ``queue`` or ``concurrent.futures``."""
    return module_of(frame).partition(".")[0] in ("threading", "queue", "concurrent")


def call_in(frame: FrameType) -> str:
    """Return the method of these modules that the user's code called, from `frame` outwards."""
    caller: FrameType | None = frame
    name = ""
    while caller is not None and standard_caller(caller):
        name = caller.f_code.co_qualname
        caller = caller.f_back
    return name


def _call_of(method: str, frame: FrameType) -> str:
    """Return the name of the blocking call as the user's code wrote it."""
    name = call_in(frame)
    return method if name in ("", "Condition.__enter__") else name


def _about(lock: Any, kind: str, frame: FrameType) -> Callable[[], str]:
    call = _call_of(f"{kind}.acquire", frame)
    if frame.f_code is _CONDITION_WAIT:
        return lambda: call

    def about() -> str:
        return acquire_of(call, kind, _holder_of(lock))

    return about


def acquire_of(call: str, kind: str, holder: object) -> str:
    """Return the text for a call that takes a lock of `kind`, and for who holds it, if known."""
    if holder is None:
        return call
    return f"{call} of {'an' if kind == 'RLock' else 'a'} {kind} that {holder}"


def _holder_of(lock: Any) -> Holder | None:
    """Return who holds `lock` now, as far as it is known."""
    holder = _holders.get(id(lock))
    owner = owner_of(lock)
    if owner is not None and (holder is None or holder.ident != owner):
        return Holder(owner, None) if owner else None
    return holder


def owner_of(lock: Any) -> int | None:
    """Return the ident of the thread that owns an RLock, 0 if none; None for another lock."""
    for kind in _RLOCKS:
        if isinstance(lock, kind):
            found = re.search(r"owner=(-?\d+)", _shown(kind, lock))
            return int(found[1]) if found else None
    return None


def _shown(kind: type, lock: object) -> str:
    """Return the `repr` of `kind`, also for an instance of a subclass: it runs C code only."""
    method: Callable[[object], str] = vars(kind)["__repr__"]
    return method(lock)


# -- the replacements ------------------------------------------------------------------


def _try(lock: Any, acquire: Method, release: Method, frame: FrameType, seconds: float) -> bool:
    """Take `lock`, within `seconds` if it is not free; note it.

    An exception from outside comes either before the lock is taken, or releases it:
        1. the thread takes the lock,
        2. a strike is raised before the user's ``with`` has begun its block,
        3. nobody would ever release the lock.
    """
    guard = thread_state.guard
    if guard is None:
        if acquire(lock, True, seconds) if seconds else acquire(lock, False):
            _note(lock, frame)
            return True
        return False
    guard.enter()
    got: object = False
    try:
        got = acquire(lock, True, seconds) if seconds else acquire(lock, False)
        if got:
            _note(lock, frame)
    finally:
        try:
            guard.exit()
        except BaseException:
            if got:
                release(lock)
            raise
    return got is True


def _take(
    lock: Any, kind: type, of: _Originals, timeout: float | None, frame: FrameType
) -> bool | None:
    """Take a lock that another holds, as a rest; None if the call must block for real."""
    clock = _clock_here(frame)
    if clock is None:
        return None
    until = end_of(clock, timeout)
    if frame.f_code is not _CONDITION_WAIT:
        holder = _holder_of(lock)
        takes_part = holder is not None and holder.ident in clock.participants.key_of_thread
        if not takes_part and _try(lock, of.acquire, of.release, frame, HELD_BY_OTHERS):
            return True

    def is_free() -> bool:
        if kind in _RLOCKS:
            return _shown(kind, lock).startswith("<unlocked")
        return not of.locked(lock)

    about, background = _about(lock, of.name, frame), started.is_background(clock, frame)
    blocked = Blocked(lock, is_free, about=about, background=background)
    try:
        return _rest(clock, blocked, lambda: _try(lock, of.acquire, of.release, frame, 0.0), until)
    except ClockStuckError as error:
        raise error.with_traceback(user_frames(error.__traceback__))


class _Originals:
    """The methods of a type of locks, as they are outside of all patches."""

    __slots__ = ("acquire", "locked", "name", "release", "restore")

    def __init__(self, kind: type) -> None:
        methods = vars(kind)
        self.name: str = "RLock" if "RLock" in kind.__name__ else "Lock"
        self.acquire: Method = methods["acquire"]
        self.release: Method = methods["release"]
        self.locked: Method = methods.get("locked", bool)
        self.restore: Method = methods.get("_acquire_restore", bool)


def _methods_of(kind: type) -> dict[str, Method]:
    """Make the replacements for a type of locks."""
    of = _Originals(kind)
    real_acquire, real_release, real_restore = of.acquire, of.release, of.restore

    def block(self: Any, timeout: float, frame: FrameType) -> bool:
        """Block for real."""
        if thread_state.guard is not None:
            taken: bool = real_acquire(self, True, timeout)
            return taken  # with nothing in between at which a strike could lose the lock
        with started.away(lambda: not of.locked(self)):
            taken = real_acquire(self, True, timeout)
        if taken:
            _note(self, frame)
        return taken

    def acquire(self: Any, blocking: bool = True, timeout: float = -1) -> bool:
        if not blocking or not (timeout == -1 or 0 < timeout <= threading.TIMEOUT_MAX):
            taken: bool = real_acquire(self, blocking, timeout)  # or its error
            if taken:
                _note(self, sys._getframe(1))
            return taken
        frame = sys._getframe(1)
        if _try(self, real_acquire, real_release, frame, 0.0):
            return True
        took = _take(self, kind, of, None if timeout == -1 else timeout, frame)
        if took is None:
            took = block(self, timeout, frame)
        return took

    def enter(self: Any) -> bool:
        frame = sys._getframe(1)
        if _try(self, real_acquire, real_release, frame, 0.0):
            return True
        if _take(self, kind, of, None, frame) is None:
            block(self, -1, frame)
        return True

    def restore(self: Any, state: tuple[int, int]) -> None:
        # As the end of `Condition.wait`, with an RLock: take the lock as often as before.
        frame = sys._getframe(1)
        if not real_acquire(self, False) and not _take(self, kind, of, None, frame):
            real_restore(self, state)
            return
        for _ in range(state[0] - 1):
            real_acquire(self, False)

    made: dict[str, Method] = {"acquire": acquire, "__enter__": enter}
    if "_acquire_restore" in vars(kind):
        made["_acquire_restore"] = restore
    made = _named(kind, made)
    if "acquire_lock" in vars(kind):
        made["acquire_lock"] = acquire
    return made


def _methods_of_queue(kind: type) -> dict[str, Method]:
    """Make the replacement for ``queue.SimpleQueue.get``."""
    real_get: Method = vars(kind)["get"]
    empty: Method = vars(kind)["empty"]

    def get(self: Any, block: bool = True, timeout: float | None = None) -> Any:
        if not block or (timeout is not None and not 0 < timeout <= threading.TIMEOUT_MAX):
            return real_get(self, block, timeout)
        frame = sys._getframe(1)
        try:
            return real_get(self, False)
        except queue.Empty:
            pass
        clock = _clock_here(frame)
        if clock is None:
            with started.away(lambda: not empty(self)):
                return real_get(self, block, timeout)
        got: list[Any] = []

        def attempt() -> bool:
            try:
                got.append(real_get(self, False))
            except queue.Empty:
                return False
            return True

        call, background = _call_of("SimpleQueue.get", frame), started.is_background(clock, frame)
        blocked = Blocked(self, lambda: not empty(self), about=lambda: call, background=background)
        until = end_of(clock, timeout)
        try:
            came = _rest(clock, blocked, attempt, until)
        except ClockStuckError as error:
            raise error.with_traceback(user_frames(error.__traceback__))
        if came is None:
            return real_get(self, block, timeout)
        if not came:
            raise queue.Empty
        return got.pop()

    return _named(kind, {"get": get})


def _named(kind: type, made: dict[str, Method]) -> dict[str, Method]:
    for name, function in made.items():
        function.__name__ = name
        function.__qualname__ = f"{kind.__qualname__}.{name}"
        function.__doc__ = vars(kind)[name].__doc__
    return made


class _BoundAnew:
    """A method of its lock that a Condition has bound when it was made: looked up at each use."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, condition: Any, kind: Any = None) -> Any:
        if condition is None:
            return self
        try:
            bound: Any = condition.__dict__[self._name]
        except KeyError:
            original = _OF_CONDITIONS.get(self._name)
            if original is None:
                raise AttributeError(self._name) from None
            return original.__get__(condition)
        if isinstance(bound, BuiltinMethodType):
            lock: Any = bound.__self__
            if isinstance(lock, ALL_LOCKS):
                return getattr(lock, self._name)
        return bound

    def __set__(self, condition: Any, bound: Any) -> None:
        if isinstance(bound, MethodType):
            # As outside of the patch, so that nothing is left of it in the Condition.
            for kind, made in _replaced.items():
                if made.get(self._name) is bound.__func__:
                    bound = cast("Any", _originals[kind][self._name]).__get__(bound.__self__)
                    break
        condition.__dict__[self._name] = bound

    def __delete__(self, condition: Any) -> None:
        condition.__dict__.pop(self._name, None)


# -- the patch ---------------------------------------------------------------------------

_LOCKS: Final[tuple[type, ...]] = (type(Lock()),)
_RLOCKS: Final[tuple[type, ...]] = (type(RLock()),)
ALL_LOCKS: Final = (*_LOCKS, *_RLOCKS)


def _dict_of(kind: type) -> dict[str, Any] | None:
    """Return the dict of an immutable type, behind its mappingproxy; None if it is not found."""
    found: list[Any] = gc.get_referents(vars(kind))
    methods = found[0] if len(found) == 1 else None
    return cast("dict[str, Any]", methods) if isinstance(methods, dict) else None


def _make() -> dict[type, dict[str, Method]]:
    """Make all replacements, by type; none where the types cannot be changed."""
    kinds: tuple[type, ...] = (*_LOCKS, *_RLOCKS, SimpleQueue)
    if type(Real.Lock()) in kinds or sys.implementation.name != "cpython":
        return {}
    try:
        _forget_lookups()
    except (ImportError, AttributeError):
        return {}
    if any(_dict_of(kind) is None for kind in kinds):
        return {}
    made: dict[type, dict[str, Method]] = {k: _methods_of(k) for k in (*_LOCKS, *_RLOCKS)}
    made[SimpleQueue] = _methods_of_queue(SimpleQueue)
    return made


def _forget_lookups(*kinds: type) -> None:
    """Make the interpreter forget which methods it has found in `kinds`."""
    import ctypes

    for kind in kinds:
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))


def change_types(old: dict[type, dict[str, Any]], new: dict[type, dict[str, Any]]) -> None:
    """Replace the methods `old` of immutable types by `new`, where they are there.

    Changes nothing if this interpreter does not let the types be changed.
    """
    if sys.implementation.name != "cpython":
        return
    for kind, methods in new.items():
        there = _dict_of(kind)
        if there is None:
            continue
        try:
            _forget_lookups()
        except (ImportError, AttributeError):
            return
        for name, method in methods.items():
            if there.get(name) is old[kind][name]:
                there[name] = method
        _forget_lookups(kind)


# Filled by the first `install`.  The replacements, and what they replace, by type.
_replaced: Final[dict[type, dict[str, Method]]] = {}
_originals: Final[dict[type, dict[str, Method]]] = {}
_OF_CONDITIONS: Final[dict[str, Any]] = {"_acquire_restore": vars(Condition)["_acquire_restore"]}
_BOUND_ANEW: Final = {name: _BoundAnew(name) for name in ("acquire", "_acquire_restore")}
# What `_time` of ``threading`` and `time` of ``queue`` were.
_readers: Final[dict[tuple[Any, str], Any]] = {}
_installed = False


def install(monotonic: Callable[[], float]) -> None:
    """Put the replacements in place; `monotonic` is that of the clock of users' calls."""
    global _installed
    if not _replaced:
        _replaced.update(_make())
        for kind, made in _replaced.items():
            _originals[kind] = {name: vars(kind)[name] for name in made}
    if not _replaced:
        return
    _installed = True
    for kind, made in _replaced.items():
        methods = _dict_of(kind)
        assert methods is not None
        methods.update(made)
    _forget_lookups(*_replaced)
    for name, descriptor in _BOUND_ANEW.items():
        setattr(Condition, name, descriptor)
    for module, name in ((threading, "_time"), (queue, "time")):
        _readers[module, name] = getattr(module, name)
        setattr(module, name, monotonic)
    started.install()


def uninstall() -> None:
    """Undo `install`; also one that failed half-way."""
    global _installed
    if not _installed:
        return
    _installed = False
    started.uninstall()
    for (module, name), original in _readers.items():
        setattr(module, name, original)
    _readers.clear()
    for name, descriptor in _BOUND_ANEW.items():
        if vars(Condition).get(name) is descriptor:
            if name in _OF_CONDITIONS:
                setattr(Condition, name, _OF_CONDITIONS[name])
            else:
                delattr(Condition, name)
    for kind, originals in _originals.items():
        methods = _dict_of(kind)
        assert methods is not None
        methods.update(originals)
    _forget_lookups(*_originals)
    _holders.clear()
    _ran_out.clear()
