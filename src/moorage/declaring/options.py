"""Options: what a function or class asks for, checked when it is written.

Owns the arguments of ``app.function``, ``app.cls`` and ``with_options`` that are not for the
cloud, their old names, and what strict mode refuses.  ``app.py``, ``cls.py`` and
``functions.py`` call it; ``cloud_arguments.py`` checks the arguments for the cloud, ``marks.py``
the numbers of ``concurrent``, ``parameters.py`` those of ``batched``, and ``registering.py`` and
``targets.py`` what only the app knows.

Begin at `checked_options`, then `FunctionOptions`, then `changed_options`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, TypedDict

from .. import config
from ..arguments import meant
from ..exception import DeprecationError, InvalidArgumentsError, InvalidError, InvalidValueError
from ..frames import unknown_keyword, warn
from ..retries import Retries, retry_policy
from ..runtime.labels import shown_argument
from ..runtime.pools.autoscaler import Limits
from .cloud_arguments import check_cloud_arguments
from .marks import Batching, Concurrency
from .needs import Needs, Volumes, needs_of, volumes_of

OnFull = Literal["raise", "wait"]
"""What a call does when the backlog is full: ``"raise"`` at once, or ``"wait"`` for room."""

# The default of arguments for which None would be a wrong value.  Never written to.
NOTHING: Final[dict[Any, Any]] = {}


@dataclass(frozen=True, slots=True)
class FunctionOptions:
    """The options of one function or class.  None means that an option was not given.

    Times are in seconds.  The options are a frozen value and part of the key of a pool:
    callers that ask for the same options share containers.
    """

    timeout: float | None = None
    startup_timeout: float | None = None
    queue_timeout: float | None = None
    max_backlog: int | None = None
    on_full: OnFull | None = None
    min_containers: int | None = None
    max_containers: int | None = None
    buffer_containers: int | None = None
    scaledown_window: float | None = None
    retries: Retries | None = None
    single_use_containers: bool = False
    nonpreemptible: bool = False
    concurrency: Concurrency | None = None
    batching: Batching | None = None
    needs: Needs | None = None
    volumes: Volumes | None = None  # of ``with_options``: in the place of all that there were

    def merged(self, **changes: Any) -> FunctionOptions:
        """Return these options with the `changes` that are not None."""
        return replace(self, **{name: v for name, v in changes.items() if v is not None})

    @property
    def execution_timeout(self) -> float:
        """Seconds that one input may run."""
        return self.timeout or config.default_timeout

    @property
    def longest_start(self) -> float:
        """Seconds that a container may take to start; by default as long as an input may run."""
        # At least 1 s, as in Modal: a shorter timeout, which is meant for inputs, could pass
        # before a busy machine has started the container's thread.
        return self.startup_timeout or max(self.execution_timeout, 1.0)

    @property
    def max_inputs(self) -> int:
        """The hard limit of one container; 1 without ``concurrent``."""
        return (self.concurrency and self.concurrency.max_inputs) or 1

    @property
    def limits(self) -> Limits:
        """The limits of the pool.  0 means unset, as in Modal."""
        most = self.max_inputs
        target = (self.concurrency and self.concurrency.target_inputs) or most
        return Limits(
            target_inputs=min(target, most),
            max_inputs=most,
            min_containers=self.min_containers or 0,
            max_containers=self.max_containers or None,
            buffer_containers=self.buffer_containers or 0,
            # None: the autoscaler chooses.
            scaledown_window=self.scaledown_window or config.default_scaledown_window,
        )

    def changes_from(self, other: FunctionOptions) -> str:
        """Return what differs from `other`, such as ``timeout=1, max_inputs=4``; "" if nothing."""
        before, after = other._flat(), self._flat()
        changes = [
            f"{name}={shown_argument(value)}"
            for name, value in after.items()
            if (type(value), value) != (type(before[name]), before[name])
        ]
        if self.needs is not None and self.needs != other.needs:
            changes += self.needs.changes_from(other.needs)
        if self.volumes is not None and self.volumes != other.volumes:
            changes.append(str(self.volumes))
        return ", ".join(changes)

    def _flat(self) -> dict[str, Any]:
        """Return the options under the names of the arguments that set them."""
        concurrency, batching = self.concurrency, self.batching
        flat: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        del flat["concurrency"], flat["batching"], flat["needs"], flat["volumes"]
        return flat | {
            "retries": self.retries and self.retries.max_retries,
            "max_inputs": concurrency and concurrency.max_inputs,
            "target_inputs": concurrency and concurrency.target_inputs,
            "max_batch_size": batching and batching.max_batch_size,
            "wait_ms": batching and batching.wait_ms,
        }

    def check_queue_timeout(self) -> None:
        """Refuse a `queue_timeout` so short that a lone input of a batch always times out.

        Raises:
            InvalidError: if `queue_timeout` is not longer than the batch waits for inputs.
        """
        if self.batching is None or self.queue_timeout is None:
            return
        wait = self.batching.wait_ms / 1000
        if self.queue_timeout <= wait:
            raise InvalidError(
                f"queue_timeout must be longer than wait_ms / 1000, the time that a lone input "
                f"of a batch waits, got queue_timeout={self.queue_timeout!r} with "
                f"wait_ms={self.batching.wait_ms!r}; write queue_timeout={2 * wait:g}"
            )

    def check_for_run(self) -> None:
        """Check what Modal checks only when the app runs.  Called in strict mode.

        Raises:
            InvalidValueError: also a ValueError; for a negative number.
            InvalidArgumentsError: also a TypeError; for anything but a whole number.
        """
        concurrency = self.concurrency or Concurrency()
        values: dict[str, object] = {
            "max_inputs": concurrency.max_inputs,
            "target_inputs": concurrency.target_inputs,
            "timeout": self.timeout,
            "startup_timeout": self.startup_timeout,
        }
        for name, value in values.items():
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise InvalidArgumentsError(
                    f"{name} must be a whole number, got {value!r}; "
                    f"write {name}={meant(value, 1) or 10}"
                )
            if value < 0:
                raise InvalidValueError(
                    f"{name} must not be negative, got {value!r}; write {name}=10"
                )


def check_concurrency(
    concurrency: Concurrency | None, name: str, *, is_server: bool = False
) -> None:
    """Check what is known of ``concurrent`` only when the app registers the function.

    Several ``concurrent`` decorators of one function are merged before.

    Raises:
        InvalidArgumentsError: also a TypeError; if none of them sets `max_inputs`.
        InvalidError: if `target_inputs` is not a whole number.
    """
    if concurrency is None:
        return
    if concurrency.max_inputs is None:
        if is_server and concurrency.target_inputs is not None:
            return  # the number of requests is not bounded: see `App.cls`
        raise InvalidArgumentsError(
            f"concurrent on {name} needs max_inputs, got none; "
            "write @moorage.concurrent(max_inputs=10)"
        )
    given: dict[str, object] = {"target_inputs": concurrency.target_inputs}
    target = given["target_inputs"]
    if target is not None and (
        isinstance(target, bool) or not isinstance(target, int) or target < 0
    ):
        raise InvalidError(
            f"target_inputs must be a whole number from 1 up, got {target!r}; "
            f"write target_inputs={meant(target, 1) or 10}"
        )


# The advice in the error for each argument.
_EXAMPLES: Final = {
    "timeout": "timeout=300",
    "startup_timeout": "startup_timeout=300",
    "queue_timeout": "queue_timeout=10",
}


def checked_options(
    where: str,
    *,
    timeout: float | None = None,
    startup_timeout: float | None = None,
    queue_timeout: float | None = None,
    max_backlog: int | None = None,
    on_full: OnFull | None = None,
    min_containers: int | None = None,
    max_containers: int | None = None,
    buffer_containers: int | None = None,
    scaledown_window: float | None = None,
    retries: int | Retries | None = None,
    single_use_containers: bool = False,
    nonpreemptible: object = False,
    max_inputs: int | None = None,
) -> FunctionOptions:
    """Check the arguments and return the options of a function or class.

    `max_inputs` is the old name of `single_use_containers`; it does not set the concurrency.

    Raises:
        InvalidError: for the first argument that is wrong.
    """
    if max_inputs is not None:
        if max_inputs is True or max_inputs != 1:
            raise InvalidError(
                f"max_inputs={max_inputs!r} here counts the inputs of a whole container, and may "
                f"only be 1; write @moorage.concurrent(max_inputs={max_inputs!r}) below @{where}() "
                "for concurrency, or single_use_containers=True"
            )
        warn(
            f"max_inputs=1 of {where} is the old name of single_use_containers and sets no "
            "concurrency; write single_use_containers=True",
            DeprecationError,
        )
        single_use_containers = True
    autoscaler = checked_autoscaler(
        min_containers=min_containers,
        max_containers=max_containers,
        buffer_containers=buffer_containers,
        scaledown_window=scaledown_window,
    )
    for name, value in (("timeout", timeout), ("startup_timeout", startup_timeout)):
        if not config.strict:
            _check_number(name, value, 0, exclusive=True)
    check_bounds(queue_timeout, max_backlog, on_full)
    if on_full is not None and max_backlog is None and where != "with_options":
        raise InvalidError(
            f"on_full says what happens when max_backlog inputs wait, got on_full={on_full!r} "
            f"alone; write @{where}(max_backlog=100, on_full={on_full!r})"
        )
    return FunctionOptions(
        timeout=timeout,
        startup_timeout=startup_timeout,
        queue_timeout=queue_timeout,
        max_backlog=max_backlog,
        on_full=on_full,
        retries=retry_policy(retries, where),
        single_use_containers=single_use_containers,
        # Checked with the arguments for the cloud, which strict mode lets through as they are.
        nonpreemptible=bool(nonpreemptible),
        **autoscaler,
    )


def check_bounds(queue_timeout: object, max_backlog: object, on_full: object) -> None:
    """Check the options that Modal does not have, in strict mode too.

    Raises:
        InvalidError: for the first option that is wrong.
    """
    _check_number("queue_timeout", queue_timeout, 0, exclusive=True)
    if max_backlog is not None and (
        isinstance(max_backlog, bool) or not isinstance(max_backlog, int) or max_backlog < 1
    ):
        raise InvalidError(
            f"max_backlog must be a whole number from 1 up, got {max_backlog!r}; "
            f"write max_backlog={meant(max_backlog, 1) or 100}"
        )
    if on_full not in (None, "raise", "wait"):
        raise InvalidError(
            f"on_full must be 'raise' or 'wait', got {on_full!r}; write on_full='wait'"
        )


def checked_autoscaler(
    *,
    min_containers: int | None = None,
    max_containers: int | None = None,
    buffer_containers: int | None = None,
    scaledown_window: float | None = None,
) -> dict[str, Any]:
    """Check the limits of the autoscaler and return them as given.

    Raises:
        InvalidError: for the first limit that is wrong.
    """
    given: dict[str, Any] = {
        "min_containers": min_containers,
        "max_containers": max_containers,
        "buffer_containers": buffer_containers,
    }
    for name, value in given.items():
        _check_containers(name, value)
    _check_window(scaledown_window)
    if min_containers and max_containers and min_containers > max_containers:
        raise InvalidError(
            f"min_containers must not exceed max_containers, got {min_containers} > "
            f"{max_containers}; write max_containers={min_containers} or more"
        )
    return {**given, "scaledown_window": scaledown_window}


def _check_containers(name: str, value: object) -> None:
    if value is None:
        return
    least = 1 if name == "max_containers" and not config.strict else 0
    number = meant(value, least)
    advice = f"write {name}={least if number is None else number}"
    # The classes of the errors are Modal's, in strict mode and without it.
    if isinstance(value, bool):
        number = max(int(value), least)
        raise InvalidArgumentsError(
            f"{name} must be a whole number, got {value!r}; write {name}={number}"
        )
    if not isinstance(value, int):
        raise InvalidError(f"{name} must be a whole number, got {value!r}; {advice}")
    if value < 0:
        raise InvalidValueError(f"{name} must be a number from {least} up, got {value!r}; {advice}")
    if value < least:
        raise InvalidError(f"{name} must be a number from {least} up, got {value!r}; {advice}")


def _check_window(value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int if config.strict else (int, float)):
        raise InvalidArgumentsError(
            f"scaledown_window must be a number of seconds, got {value!r}; "
            f"write scaledown_window={meant(value, 2, 3600) or 60}"
        )
    if not 2 <= value <= 3600:
        raise InvalidError(
            f"scaledown_window must be from 2 to 3600 seconds, got {value!r}; "
            f"write scaledown_window={2 if not value > 3600 else 3600}"
        )


def _check_number(name: str, value: object, least: float, *, exclusive: bool = False) -> None:
    if value is None:
        return
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        # `value < least` would accept NaN, because NaN compares false with everything.
        enough = value > least if exclusive else value >= least
        if enough:
            return
    wanted = f"above {least:g}" if exclusive else f"from {least:g} up"
    number = meant(value, 1)  # if `value` is a string of a number
    advice = _EXAMPLES[name] if number is None else f"{name}={number}"
    raise InvalidError(f"{name} must be a number {wanted}, got {value!r}; write {advice}")


def changed_options(
    options: FunctionOptions,
    cloud: Mapping[str, object],
    old_names: Mapping[str, Any],
    *,
    secrets: object = None,
    **given: Any,
) -> FunctionOptions:
    """Return `options` with the arguments of ``with_options``; None changes nothing.

    Args:
        options: the options.
        cloud: the arguments for the cloud that are checked now.
        old_names: arguments with old names.
        secrets: the argument ``secrets``, which strict mode may check later.
        given: the other arguments.

    Raises:
        InvalidError: for an argument that is wrong.
    """
    names = given.keys() | cloud.keys() | {"secrets"}
    concurrent_inputs = accept_old_names("with_options", given, old_names, lambda: names)
    check_cloud_arguments("with_options", cloud)
    if config.strict:  # the others are checked when the app runs
        given["retries"] = retry_policy(given["retries"], "with_options")
        check_bounds(given["queue_timeout"], given["max_backlog"], given["on_full"])
        changed = options.merged(**given)
    else:
        fresh = checked_options("with_options", **given)
        changed = options.merged(
            **{name: getattr(fresh, name) for name in given if given[name] is not None}
        )
        least, most = changed.min_containers, changed.max_containers
        checked_autoscaler(min_containers=least, max_containers=most)
    new = needs_of(None, (), secrets, cloud.get("env"))
    if new is not None:
        changed = changed.merged(needs=new if options.needs is None else options.needs.with_(new))
    changed = changed.merged(volumes=volumes_of(cloud.get("volumes")))
    if concurrent_inputs:  # 0 meant unset
        changed = changed.merged(concurrency=Concurrency(concurrent_inputs).checked())
    return changed


def refuse_no_timeout(timeout: object) -> None:
    """Refuse ``timeout=None`` in strict mode; otherwise None means the default."""
    if timeout is None and config.strict:
        raise InvalidError("timeout cannot be None; write a number of seconds, as timeout=300")


# Old name -> new name.
RENAMED: Final[Mapping[str, str]] = {
    "keep_warm": "min_containers",
    "concurrency_limit": "max_containers",
    "container_idle_timeout": "scaledown_window",
}
# Arguments that Modal 1.6.4 has no longer and refuses.  `mounts`, `secret` and `shared_volumes`
# count (see `App.function`); the others have no effect in one process.
GONE: Final[Mapping[str, str]] = {
    "mounts": "write image=image.add_local_dir(...) for files, or add_local_python_source(...)",
    "interactive": "take it away, and write modal.interact() in the function",
    "secret": "write secrets=[secret]",
    "shared_volumes": "write volumes={...}",
    "checkpointing_enabled": "write enable_memory_snapshot=True",
    "allow_cross_region_volumes": "take it away",
    "_allow_background_volume_commits": "take it away: volumes are always committed",
    "_experimental_buffer_containers": "write buffer_containers=1",
}


class OldNames(TypedDict, total=False):
    """Old names of arguments: accepted with a warning, refused in strict mode."""

    allow_concurrent_inputs: int
    keep_warm: int
    concurrency_limit: int
    container_idle_timeout: int


def accept_old_names(
    where: str,
    given: dict[str, Any],
    old: Mapping[str, Any],
    known: Callable[[], Iterable[str]],
) -> int | None:
    """Move arguments with old names to their new names, in `given`.

    Returns:
        The value of ``allow_concurrent_inputs``, which is a decorator now; None if not given.

    Raises:
        DeprecationError: in strict mode, for an old name.
        InvalidArgumentsError: for a name in `old` that was never an argument.
    """
    concurrent_inputs: int | None = None
    for name, given_value in old.items():
        value = given_value if config.strict else _number_of(name, given_value)
        if name == "allow_concurrent_inputs":
            instead = f"@moorage.concurrent(max_inputs={value!r}) below it"
            if where == "with_options":
                instead = f".with_concurrency(max_inputs={value!r})"
            message = f"allow_concurrent_inputs of {where} became a decorator; write {instead}"
        elif name in RENAMED:
            message = (
                f"{name} of {where} was renamed to {RENAMED[name]}; write {RENAMED[name]}={value!r}"
            )
        elif not config.strict and where.startswith("app.") and _is_gone(name):
            instead = GONE.get(name, "take it away")
            warn(f"{name} of {where} is gone from Modal; {instead}", DeprecationError)
            continue
        else:
            if name == "min_containers":  # with_options does not take it, as in Modal
                raise InvalidArgumentsError(
                    f"{where} takes no min_containers, got {value!r}; write "
                    f"update_autoscaler(min_containers={value!r}) on what it returns"
                )
            raise unknown_keyword(where, name, known(), value=value)
        if config.strict:
            raise DeprecationError(message)
        warn(message, DeprecationError)
        if name == "allow_concurrent_inputs":
            concurrent_inputs = value
        elif given.get(RENAMED[name]) is None:
            given[RENAMED[name]] = value
    return concurrent_inputs


def accept_gone(where: str, old: Mapping[str, object], known: Callable[[], Iterable[str]]) -> None:
    """Accept arguments that Modal once had, where no argument was renamed.

    Raises:
        InvalidArgumentsError: for any other name; in strict mode for each name.
    """
    for name, value in old.items():
        if config.strict or not _is_gone(name):
            raise unknown_keyword(where, name, known(), value=value)
        instead = GONE.get(name, "take it away")
        warn(f"{name} of {where} is gone from Modal; {instead}", DeprecationError)


def _number_of(name: str, value: Any) -> Any:
    """Return the number that a bool of an early Modal program means; None if it means none."""
    if not isinstance(value, bool):
        return value
    if name == "keep_warm":
        return int(value)
    return 1 if value and name != "container_idle_timeout" else None


def _is_gone(name: str) -> bool:
    """Whether Modal had an argument `name`; those with this prefix came and went."""
    return name in GONE or name.startswith("_experimental_")
