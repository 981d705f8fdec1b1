"""Placed containers: the containers of a pool whose code runs in processes.

Owns how a pool's factory makes a `RemoteContainer` with its process, and what each process is told
(``world.py``).  What is the same for all containers of a pool is made once: the code, as bytes.

Begin at `Placing.factory`.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ..runtime.containers.container import Container, ContainerFactory, ContainerOptions, Host
from .blueprints import needs_surface
from .frames import Buffer, Kind, encode
from .process import ContainerProcess
from .processes import Processes
from .remote import RemoteContainer
from .world import World, world_here


class Surroundings(NamedTuple):
    """The environment and the working directory of a process."""

    environ: Mapping[str, str]
    directory: str | None  # None: that of this process


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
        prepare: Callable[[], object] | None,
        environment: Callable[[], Surroundings],
    ) -> ContainerFactory:
        """Return what makes the containers of a pool.

        Args:
            options: their options.
            targets: the names of the pool's targets, in the order of the blueprint.
            is_batched: whether the pool makes batches.
            is_single_use: whether each input (or batch) gets a new container.
            prepare: called in this process before a container starts; may refuse the start.
            environment: called then too: returns what the process has around it.
        """
        source = self.processes.source()
        by_name = {name: index for index, name in enumerate(targets)}

        def factory(host: Host, number: int, target: int, limit: int) -> Container:
            def setup() -> list[Buffer]:
                if prepare is not None:
                    prepare()
                around = environment()
                world: World = world_here(
                    self._code,
                    options,
                    number=number,
                    limit=limit,
                    is_batched=is_batched,
                    environ=around.environ,
                    directory=around.directory,
                )
                return encode(Kind.SETUP, [((), (pickle.dumps(world),))])

            process = ContainerProcess(source, setup)
            process.has_surface = needs_surface(self._code)
            return RemoteContainer(
                host,
                number,
                target,
                limit,
                name=options.name,
                max_inputs=options.max_inputs,
                targets=by_name,
                setup=None,
                process=process,
                is_single_use=is_single_use,
            )

        return factory
