"""The environment variables of runs: set in this process, and taken back.

Owns `os.environ` as far as functions ask for variables: the ``env`` of their images, secrets and
``env=``.  A container calls `RunEnvironment.prepare` before the constructor and the enter hooks;
the end of a run calls `RunEnvironment.end`.  The variables are those of the whole process, because
containers are threads of it.

For each variable there is a stack: the value of the program itself, and above it a layer of each
run that has set the variable.  The topmost value is the one that is set.  A layer goes with its
run.  What the program sets meanwhile is left alone, and counts as a layer of its own as soon as
another run sets the variable.

The lock of `ProcessEnvironment` guards all of this.  Secrets are looked up outside of the lock.
No log record and no error has a value.

Begin at `RunEnvironment.prepare`, then `ProcessEnvironment.put` and `ProcessEnvironment.remove`.
"""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Final

from ..declaring.needs import Needs
from ..exception import ExecutionError
from ..placing.placed import Surroundings
from ..runtime import forking
from ..runtime.background import log
from ..runtime.error_copies import copy_error
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from ..stores.home import configured_environment
from ..variables import Variables, checked

logger: Final = logging.getLogger("moorage")


@dataclass(frozen=True, slots=True, repr=False)
class _Layer:
    """One value of a variable.  No `repr`, because the value may be a password."""

    owner: RunEnvironment | None  # None: the program itself
    function: str  # which function asked for the value, for the warning
    value: str | None  # None: the program has deleted the variable


class ProcessEnvironment:
    """The variables that runs have set in `os.environ`."""

    def __init__(self) -> None:
        self._lock = Real.Lock()
        # The layers of each variable, the lowest first.  The lowest is the program's value from
        # before the first run.  Guarded by the lock.
        # Invariant: each list has a layer of a run; each run has at most one layer in it.
        self._stacks: dict[str, list[_Layer]] = {}
        forking.know(self)

    def _after_fork(self) -> None:
        """In a forked child: the variables stay set, and are the child's own from now on."""
        self._lock = Real.Lock()
        forking.keep(self._stacks)
        self._stacks = {}

    @uninterruptible
    def put(
        self, owner: RunEnvironment, key: Hashable, function: str, values: Mapping[str, str]
    ) -> list[tuple[str, str]]:
        """Set variables for `function`, once for each `key` of a run.

        Returns:
            The variables that another function has set to another value, each with the name of
            that function.

        Raises:
            ExecutionError: if the run has ended.
        """
        replaced: list[tuple[str, str]] = []
        with self._lock:
            if owner.ended:
                raise ExecutionError(
                    f"the run of {function} has ended while a container started; "
                    "call inside `with app.run():`"
                )
            if key in owner.prepared:
                return []
            owner.prepared.add(key)
            for name, value in values.items():
                current = os.environ.get(name)
                stack = self._stacks.setdefault(name, [])
                if not stack or stack[-1].value != current:
                    stack.append(_Layer(None, "", current))
                elif stack[-1].owner is not None and current != value:
                    replaced.append((name, stack[-1].function))
                kept = [layer for layer in stack if layer.owner is not owner]
                stack[:] = [*_merged(kept), _Layer(owner, function, value)]
                if value != current:
                    os.environ[name] = value
        return replaced

    def outer(self, name: str) -> str | None:
        """Return a variable as it is without the runs; None if it is not set."""
        with self._lock:
            current = os.environ.get(name)
            stack = self._stacks.get(name)
            if stack is None or stack[-1].value != current:
                return current
            return next(layer.value for layer in reversed(stack) if layer.owner is None)

    def all_outer(self) -> dict[str, str]:
        """Return all variables as they are without the runs."""
        with self._lock:
            names = [*os.environ, *self._stacks]
        found = {name: self.outer(name) for name in names}
        return {name: value for name, value in found.items() if value is not None}

    @uninterruptible
    def remove(self, owner: RunEnvironment) -> None:
        """Take the variables of a run back.  A later value of the program stays."""
        with self._lock:
            owner.ended = True
            for name, stack in list(self._stacks.items()):
                at = next((i for i, layer in enumerate(stack) if layer.owner is owner), None)
                if at is None:
                    continue
                current, top, mine = os.environ.get(name), stack[-1], stack[at]
                # There is always a layer below: the lowest is the program's.
                wanted, below = current, stack[at - 1].value
                del stack[at]
                if current == top.value:
                    wanted = stack[-1].value
                elif current == mine.value:
                    # The program has set the variable, while another run was above, and has put
                    # back what it found, as tests do.
                    wanted = below
                stack[:] = _merged(stack)
                if all(layer.owner is None for layer in stack):
                    del self._stacks[name]
                if wanted == current:
                    continue
                if wanted is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = wanted


def _merged(stack: list[_Layer]) -> list[_Layer]:
    """Return the layers without those of the program that another of the program follows."""
    return [
        layer
        for i, layer in enumerate(stack)
        if layer.owner or i + 1 == len(stack) or stack[i + 1].owner
    ]


process_environment: Final = ProcessEnvironment()


class RunEnvironment:
    """What the functions of one run need of the process, as far as it is there for them."""

    def __init__(self) -> None:
        # Guarded by the lock of the process's environment:
        self.ended: bool = False
        # The functions whose variables are set, by the keys of their pools.  Weak: a run may
        # meet any number of variants.
        self.prepared: weakref.WeakSet[Hashable] = weakref.WeakSet()
        self._warned: set[Hashable] = set()  # single operations, no lock

    def prepare(self, key: Hashable, function: str, needs: Needs) -> None:
        """Give a container that starts what its function needs.  On the container's thread.

        The variables are set once for each function of a run: later changes of the program count.

        Raises:
            ImportError: or another error that the body of ``image.imports()`` raised.
            NotFoundError: in strict mode, for a secret that is not there.
            InvalidError: if a variable cannot be set, or a file of a secret is broken.
        """
        image = needs.image
        values = Variables()
        if image is not None:
            for error in image._import_errors:
                raise copy_error(error)
            if image._workdir is not None:
                self._warn(
                    ("workdir", image._workdir),
                    f"{function} runs in the directory of this process, not in the one that "
                    f"Image.workdir({image._workdir!r}) names; write absolute paths",
                )
            values |= image._env
        if key in self.prepared:
            return
        for secret in needs.secrets:
            values |= secret._resolved(process_environment.outer, self._warn)
        values |= needs.variables
        checked(f"the environment of {function}", values)
        for name, other in process_environment.put(self, key, function, values):
            self._warn(
                (name, frozenset([function, other])),
                f"{name} now has the value of {function}, and had another value of {other}: "
                "functions share the environment of this process; give the variables two names",
            )

    def of_process(
        self, function: str, needs: Needs | None, environment_name: str | None
    ) -> Surroundings:
        """Return the environment of a container that is a process of its own.

        The variables of other functions are not in it.

        Args:
            function: the function, for messages.
            needs: what it needs.
            environment_name: the namespace of named objects that the run was given.

        Raises:
            ImportError, NotFoundError, InvalidError: as `prepare`.
        """
        values = Variables()
        directory: str | None = None
        lacking = ""
        if needs is not None:
            image = needs.image
            if image is not None:
                for error in image._import_errors:  # the same imports fail there
                    raise copy_error(error)
                values |= image._env
                directory = image._workdir
                lacking = (
                    f"{function} runs in the directory of this process, because the one that "
                    f"Image.workdir({directory!r}) names is not there; make it, or write absolute "
                    "paths"
                )
            for secret in needs.secrets:
                values |= secret._resolved(process_environment.outer, self._warn)
            values |= needs.variables
            checked(f"the environment of {function}", values)
        environ = {**process_environment.all_outer(), **_of_container(environment_name), **values}
        return Surroundings(environ, directory, lacking)

    def end(self) -> None:
        """Take the variables back.  From now on no container of the run can start."""
        process_environment.remove(self)

    def _warn(self, key: Hashable, text: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            log(logger, logging.WARNING, "%s", text)


def environment_of_process(
    environment: RunEnvironment | None,
    function: str,
    needs: Needs | None,
    environment_name: str | None,
) -> Surroundings:
    """Return the environment of a container that is a process: see `RunEnvironment.of_process`."""
    if environment is None:
        environment = RunEnvironment()
    return environment.of_process(function, needs, environment_name)


def _of_container(environment_name: str | None) -> dict[str, str]:
    """Return the variables that Modal sets in each container."""
    return {
        "MODAL_TASK_ID": f"ta-{Real.urandom(11).hex()}",
        "MODAL_IS_REMOTE": "1",
        "MODAL_ENVIRONMENT": configured_environment(environment_name),
    }
