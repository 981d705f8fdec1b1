"""Placed containers: the containers of a pool whose code runs in processes.

Owns how a pool's factory makes a `RemoteContainer` with its process, and what each process is told
(``world.py``).  What is the same for all containers of a pool is made once: the code, as bytes.

Begin at `Placing.factory`.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from .. import config
from ..mounting.own import OwnMounts
from ..runtime.containers.container import Container, ContainerFactory, ContainerOptions, Host
from .blueprints import needs_surface
from .frames import Buffer, Kind, encode
from .process import ContainerProcess
from .processes import Processes
from .remote import RemoteContainer, in_a_thread
from .world import World, world_here


class Surroundings(NamedTuple):
    """The environment and the working directory of a process."""

    environ: Mapping[str, str]
    directory: str | None  # None: that of this process
    lacking: str  # what to log if the directory is not there


class Reserving:
    """A process that starts when it has what no other container may have.  See `Process`."""

    def __init__(
        self, process: ContainerProcess, reserve: Callable[[Container], Callable[[], object]]
    ) -> None:
        self._process = process
        self._reserve = reserve
        self._give_back: Callable[[], object] | None = None

    def start(self, container: RemoteContainer) -> None:
        """Take what the process needs, on a thread of its own, and then start the process."""

        def start() -> None:
            try:
                self._give_back = self._reserve(container)
                self._process.start(container)
            except Exception as error:
                container.not_started(error)
            else:
                container.hears()

        in_a_thread(start, container.host, f"{container.name}-start")

    def kill(self) -> None:
        self._process.kill()

    def give_back(self) -> None:
        """Give back what the process had: it is gone."""
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back()


class Placing:
    """How the containers of one pool are processes.

    Args:
        processes: starts them.
        code: what they run: see ``blueprints.py``.
    """

    def __init__(self, processes: Processes, code: bytes) -> None:
        self.processes: Processes = processes
        self._code = code

    def factory(
        self,
        options: ContainerOptions,
        targets: Sequence[str],
        *,
        is_batched: bool,
        is_single_use: bool,
        mounts: Callable[[], OwnMounts | None] | None,
        is_new: Callable[[str], bool],
        environment: Callable[[str | None], Surroundings],
        reserve: Callable[[Container], Callable[[], object]] | None = None,
    ) -> ContainerFactory:
        """Return what makes the containers of a pool.

        Args:
            options: their options.
            targets: the names of the pool's targets, in the order of the blueprint.
            is_batched: whether the pool makes batches.
            is_single_use: whether each input (or batch) gets a new container.
            mounts: called in this process before a container starts: returns what the process
                mounts for itself; may refuse the start.
            is_new: says whether a text was not logged yet, of those of which one is enough.
            environment: called before a container starts, with the environment of named objects
                that the run was given: returns what the process has around it.
            reserve: called first of all, on a thread that may wait: takes what no other container
                may have, such as a port, and returns what gives that back.
        """
        source = self.processes.source()
        by_name = {name: index for index, name in enumerate(targets)}

        def factory(host: Host, number: int, target: int, limit: int) -> Container:
            def setup() -> list[Buffer]:
                own = None if mounts is None else mounts()
                process.has_mounts = own is not None
                run = getattr(host, "run", None)
                around = environment(getattr(run, "environment_name", None))
                world: World = world_here(
                    self._code,
                    options,
                    number=number,
                    limit=limit,
                    is_batched=is_batched,
                    environ=around.environ,
                    workdir=around.directory,
                    no_workdir=around.lacking,
                    grace=getattr(run, "grace", config.exit_grace),
                    mounts=own,
                )
                return encode(Kind.SETUP, [((), (pickle.dumps(world),))])

            process = ContainerProcess(source, setup)
            process.has_surface = needs_surface(self._code)
            reserving = None if reserve is None else Reserving(process, reserve)
            return RemoteContainer(
                host,
                number,
                target,
                limit,
                name=options.name,
                max_inputs=options.max_inputs,
                targets=by_name,
                setup=None,
                process=process if reserving is None else reserving,
                is_single_use=is_single_use,
                ended=None if reserving is None else reserving.give_back,
                is_new=is_new,
            )

        return factory
