"""Advice: what to write instead of a value without a name, or of another library's word.

Owns the texts for mistakes that are recognized by a name, such as ``workers=3`` and ``f.submit``.
The texts keep the values that the user gave.  ``frames.py`` and ``declaring/marks.py`` ask for
arguments; the ``__getattr__`` of functions, calls, classes and apps ask for attributes.

Begin at `for_keyword`, then `for_positions`, then `of_function`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from .arguments import meant

# -- values that the user gave ---------------------------------------------------------------


class Absent:
    """The type of `ABSENT`: no value was given."""


ABSENT: Final = Absent()


def shown(value: object) -> str:
    """Return the text for a value that the user gave; ``...`` if the text may be long."""
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, str) and len(value) <= 40:
        return repr(value)
    return "..."


def number(value: object, otherwise: int) -> int:
    """Return the whole number from 1 up that `value` means, or `otherwise`."""
    return meant(value, 1) or otherwise


def concurrent_numbers(max_inputs: object = ABSENT, target_inputs: object = ABSENT) -> str:
    """Return the arguments of ``concurrent`` with the numbers that were given."""
    target = meant(target_inputs, 1)
    most = number(max_inputs, max(10, target or 0))
    return f"max_inputs={most}" + ("" if target is None else f", target_inputs={target}")


def batched_numbers(max_batch_size: object = ABSENT, wait_ms: object = ABSENT) -> str:
    """Return the arguments of ``batched`` with the numbers that were given."""
    wait = meant(wait_ms, 0)
    return f"max_batch_size={number(max_batch_size, 8)}, wait_ms={50 if wait is None else wait}"


# -- values without a name -------------------------------------------------------------------

# Decorators that stand in the module; the app's begin with ``app.``.
_DECORATORS: Final = frozenset(
    {"asgi_app", "batched", "clustered", "concurrent", "fastapi_endpoint", "web_server", "wsgi_app"}
)
# The keyword that a lone value most likely is, where no keyword is required.
_FIRST: Final = {"parameter": "default", "fastapi_endpoint": "method"}


def for_positions(
    name: str,
    given: Sequence[object],
    keywords: Mapping[str, object],
    names: Sequence[str],
    required: Sequence[str],
) -> str:
    """Return the call to write instead of a call with values without names.

    Args:
        name: the function, as users write it.
        given: the values without a name.
        keywords: the values with a name.
        names: all names of arguments, in order.
        required: those of `names` without a default.
    """
    values = dict(keywords)
    if name == "concurrent":
        values = dict(zip(("max_inputs", "target_inputs"), given, strict=False)) | values
        return f"@moorage.concurrent({concurrent_numbers(**_of(values, *names))})"
    if name == "batched":
        values = dict(zip(("max_batch_size", "wait_ms"), given, strict=False)) | values
        return f"@moorage.batched({batched_numbers(**_of(values, *names))})"
    if name in ("app.function", "app.cls"):
        count = meant(given[0], 1)
        if count is None:
            return f"@{name}()"
        return f"@{name}(max_containers={count}), or {_below(name, count)}"
    if name in ("update_autoscaler", "with_options") and meant(given[0], 1) is not None:
        return f"{name}(max_containers={number(given[0], 1)})"
    first = [_FIRST[name]] if name in _FIRST else list(required)
    rest = [each for each in first if each not in values]
    if required and len(given) > len(rest):
        rest = [each for each in names if each not in values]
    values = dict(zip(rest, given, strict=False)) | values
    written = [n for n in names if n in values or n in first] or list(names)
    arguments = ", ".join(f"{n}={shown(values.get(n, ABSENT))}" for n in written)
    return f"{'@moorage.' if name in _DECORATORS else ''}{name}({arguments})"


def _of(values: Mapping[str, object], *names: str) -> dict[str, object]:
    return {name: value for name, value in values.items() if name in names}


def _below(where: str, count: object) -> str:
    return f"@moorage.concurrent({concurrent_numbers(count)}) below @{where}()"


# -- wrong keywords --------------------------------------------------------------------------

# Other libraries' words for the number of workers, each of which runs one task at a time.
_WORKERS: Final = frozenset(
    {"instances", "jobs", "n_jobs", "n_workers", "nodes", "num_processes", "num_replicas"}
    | {
        "max_replicas",
        "max_workers",
        "num_workers",
        "pool_size",
        "processes",
        "replicas",
        "workers",
    }
)
# Other libraries' words for the number of tasks at once.
_AT_ONCE: Final = frozenset(
    {"limit", "max_in_flight", "max_parallel", "max_parallelism", "max_tasks", "max_threads"}
    | {
        "n_threads",
        "num_threads",
        "parallel",
        "parallelism",
        "slots",
        "thread_pool_size",
        "threads",
    }
)
_BATCH_SIZES: Final = frozenset({"batch", "batch_size", "max_batch", "max_size", "size"})
_BATCH_WAITS: Final = frozenset({"delay_ms", "max_wait", "max_wait_ms", "timeout_ms", "wait"})


def for_keyword(where: str, name: str, value: object) -> str:
    """Return what to write instead of another library's keyword; "" if the name is not known."""
    at_once = name in _AT_ONCE or "concurren" in name
    workers = name in _WORKERS
    if where in ("concurrent", "with_concurrency"):
        return f"write max_inputs={number(value, 10)}" if at_once or workers else ""
    if where in ("batched", "with_batching"):
        if name in _BATCH_SIZES:
            return f"write max_batch_size={number(value, 8)}"
        wait = meant(value, 0) if isinstance(value, int) else None
        return f"write wait_ms={50 if wait is None else wait}" if name in _BATCH_WAITS else ""
    count = number(value, 10)
    if where in ("app.function", "app.cls"):
        if workers:
            return (
                f"write max_containers={count}, or {_below(where, count)} "
                "for several inputs in one container"
            )
        return f"write {_below(where, count)}" if at_once else ""
    if where == "with_options":
        at_once_here = f".with_concurrency(max_inputs={count})"
        if workers:
            return f"write max_containers={count}, or {at_once_here}"
        return f"write {at_once_here}" if at_once else ""
    if where == "update_autoscaler" and (workers or at_once):
        return f"write max_containers={count}"
    if where in ("App", "app.run") and (workers or at_once):
        return f"write @app.function(max_containers={count}) above the function"
    return ""


# -- other libraries' attributes -------------------------------------------------------------

_START: Final = frozenset(
    {"apply_async", "background", "defer", "delay", "dispatch", "enqueue", "fire", "kiq"}
    | {"launch", "queue", "schedule", "send", "start", "start_soon", "submit", "trigger"}
)
_RUN: Final = frozenset(
    {"apply", "call", "execute", "get", "invoke", "result", "run", "run_sync", "wait"}
)
_AWAIT: Final = frozenset(
    {"acall", "ainvoke", "aio", "apply_aio", "arun", "async_remote", "call_async", "call_aio"}
    | {"remote_aio", "remote_async", "run_async", "submit_async"}
)
_MANY: Final = {
    "amap": "await {f}.map.aio(...)",
    "batch": "{f}.map([...])",
    "imap": "{f}.map([...])",
    "imap_unordered": "{f}.map([...], order_outputs=False)",
    "map_async": "{f}.map.aio([...])",
    "map_unordered": "{f}.map([...], order_outputs=False)",
    "spawn_async": "await {f}.spawn.aio(...)",
    "starmap_async": "{f}.starmap.aio([...])",
    "submit_many": "{f}.spawn_map([...])",
    "stream": "{f}.remote_gen(...)",
}


def of_function(function: str, name: str, known: Iterable[str]) -> str:
    """Return what to write instead of ``function.name``; "" if the name is like no other."""
    if name in _START:
        return f"write {function}.spawn(...), and .get() on what it returns"
    if name in _RUN:
        return f"write {function}.remote(...)"
    if name in _AWAIT:
        return f"write await {function}.remote.aio(...)"
    if name in _MANY:
        return f"write {_MANY[name].format(f=function)}"
    if name in URLS:
        return f"write {function}.get_web_url(), for a web function"
    return _near(function, name, known)


# The names of the URL of a web function.
URLS: Final = frozenset(
    {"address", "base_url", "endpoint", "get_url", "get_web_url", "url", "web_url"}
)

# The names of the ways to call a function, and of what other libraries call them.
CALLS: Final = frozenset(
    {"for_each", "map", "remote", "remote_gen", "spawn", "spawn_map", "starmap"}
    | _START
    | _AWAIT
    | _MANY.keys()
    | {"call", "execute", "invoke", "run"}
)

_OF_CALL: Final = (
    (
        {
            "done",
            "finished",
            "is_done",
            "is_running",
            "poll",
            "ready",
            "running",
            "state",
            "status",
        },
        "call.get(timeout=0), which raises TimeoutError while there is no result",
    ),
    (
        {"fetch", "join", "output", "remote", "result", "results", "value", "wait"},
        "call.get(), or call.get(timeout=...) to wait no longer than that",
    ),
    (
        {"aget", "async_get", "get_async", "result_async", "wait_async"},
        "await call.get.aio()",
    ),
    (
        {"error", "exception", "failed", "succeeded", "successful"},
        "call.get() in a try statement, because it raises the error of the call",
    ),
    (
        {"cancelled", "is_cancelled", "canceled"},
        "call.get() in a try statement, because it raises InputCancelledError after a cancel",
    ),
    ({"abort", "kill", "revoke", "stop", "terminate"}, "call.cancel()"),
    (
        {"add_done_callback", "on_complete", "then"},
        "asyncio.create_task(call.get.aio()), and add_done_callback(...) on that task",
    ),
    ({"call_id", "function_call_id", "id", "job_id", "task_id"}, "call.object_id"),
)


# The names of futures of other libraries that a call has not.
NAMES_OF_FUTURES: Final = frozenset(name for names, _ in _OF_CALL for name in names)


def of_call(name: str) -> str:
    """Return what to write instead of ``call.name``, for a name in `NAMES_OF_FUTURES`."""
    return next(f"write {instead}" for names, instead in _OF_CALL if name in names)


_OF_APP: Final = (
    (
        {"arun", "run_aio", "run_async"},
        "async with app.run(): around the calls",
    ),
    (
        {"execute", "launch", "main", "serve", "start", "up"},
        "with app.run(): around the calls",
    ),
    ({"close", "end", "kill", "quit", "shutdown", "terminate"}, "app.stop(), or leave app.run()"),
    (
        {"actor", "activity", "fn", "func", "job", "remote_function", "task", "tool", "worker"},
        "@app.function() above a def",
    ),
    ({"actor_class", "class_", "service"}, "@app.cls() above a class"),
    (
        {"cli", "command", "entry_point", "entrypoint", "local_entry_point"},
        "@app.local_entrypoint() above a def",
    ),
    ({"enter", "exit", "method"}, "@moorage.{0}() above a method, and @app.cls() above its class"),
    ({"concurrent"}, "@moorage.concurrent(max_inputs=10) below @app.function()"),
    ({"batched"}, "@moorage.batched(max_batch_size=8, wait_ms=50) below @app.function()"),
    (
        {"api_route", "endpoint", "get", "patch", "post", "put", "route"}
        | {"fastapi_endpoint", "web_endpoint", "webhook"},
        "@moorage.fastapi_endpoint() below @app.function()",
    ),
    ({"asgi", "asgi_app"}, "@moorage.asgi_app() below @app.function()"),
    ({"wsgi", "wsgi_app"}, "@moorage.wsgi_app() below @app.function()"),
    ({"web_server"}, "@moorage.web_server(8000) below @app.function()"),
    (
        {"apply", "call", "map", "remote", "spawn", "starmap", "submit"},
        "f.{1}(...), for a function f of the app",
    ),
    ({"functions"}, "app.registered_functions"),
    ({"classes"}, "app.registered_classes"),
)


def of_app(name: str, known: Iterable[str]) -> str:
    """Return what to write instead of ``app.name``; "" if the name is like no other."""
    for names, instead in _OF_APP:
        if name in names:
            way = {"apply": "remote", "call": "remote", "submit": "spawn"}.get(name, name)
            return f"write {instead.format(name, way)}"
    return _near("app", name, known)


def _near(owner: str, name: str, known: Iterable[str]) -> str:
    public = [each for each in known if not each.startswith("_")]
    near = [] if name.startswith("_") else difflib.get_close_matches(name, public, 1, 0.75)
    return f"write {owner}.{near[0]}" if near else ""


def no_attribute(owner: str, name: str, instead: str) -> AttributeError:
    """Return the error for an attribute that `owner`, such as ``Function(f)``, does not have."""
    # With a name and without an object, Python adds no guess, such as "Did you mean '_submit'?".
    return AttributeError(f"{owner} has no {name}; {instead}", name=name)
