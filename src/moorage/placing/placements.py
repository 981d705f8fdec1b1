"""Placements: which functions of a run have containers in processes of their own.

Owns what ``app.run(placement=)``, ``config.placement`` and ``MOORAGE_PLACEMENT`` accept, and which
of them counts.  The first that says something does:

    1. ``app.run(placement=)``, for its run;
    2. ``--placement`` of the command line (`Command.given`);
    3. ``config.placement``, which a program may assign;
    4. ``MOORAGE_PLACEMENT``;
    5. what the command line takes if nothing else says so (`Command.default`);
    6. threads.

Begin at `placements_of`, then `Placements.of`, then `placements_of_configuration`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, TypeAlias, cast

from .. import config
from ..exception import InvalidError
from ..runtime.context import is_a_container
from .processes import Processes
from .shipping import check_installed

Place: TypeAlias = Literal["thread", "process"] | Processes
"""Where the containers of a function are: threads of this process, or worker processes."""

Placement: TypeAlias = Place | Mapping[str, Place]
"""A place for all functions, or places by the names of functions and classes; "*" for the others.
"""

VARIABLE: Final = "MOORAGE_PLACEMENT"


class Placements:
    """The places of the functions of one run that has some outside of this process."""

    __slots__ = ("_by_name", "_other")

    def __init__(self, by_name: Mapping[str, Processes | None], other: Processes | None) -> None:
        self._by_name = by_name
        self._other = other

    @property
    def names(self) -> Collection[str]:
        """The names of functions and classes that have a place of their own."""
        return self._by_name.keys()

    def of(self, name: str) -> Processes | None:
        """Return how the containers of a function or class are processes; None if threads."""
        return self._by_name.get(name, self._other)


def placements_of(placement: Placement | None, *, where: str = "placement") -> Placements | None:
    """Return the placements that a user has given; None if all containers are threads.

    Raises:
        InvalidError: if it is no placement, or an extra is not installed.
    """
    if placement is None:
        return None
    given = cast("object", placement)
    if isinstance(given, Mapping):
        by_name = cast("Mapping[Any, object]", given)
        for name in by_name:
            if not isinstance(name, str):
                raise InvalidError(
                    f"{where} has names of functions and classes, got {name!r}; "
                    f'write {{"f": "process", "*": "thread"}}'
                )
        places = {name: _place(f"{where}[{name!r}]", place) for name, place in by_name.items()}
        other = places.pop("*", None)
    else:
        places, other = {}, _place(where, given)
    if other is None and not any(places.values()):
        return None
    check_installed()
    return Placements(places, other)


def _place(where: str, given: object) -> Processes | None:
    if given == "thread":
        return None
    if given == "process":
        return Processes()
    if isinstance(given, Processes):
        return given
    raise InvalidError(
        f'{where} must be "thread", "process" or moorage.Processes(...), got {given!r}; '
        f'write {where}="process"'
    )


class Command:
    """What a command of the command line says about the runs of its process."""

    def __init__(self) -> None:
        self.given: Placement | None = None  # by its option
        self.default: Placement | None = None


command: Final = Command()


def placements_of_configuration() -> Placements | None:
    """Return what counts in a run whose ``app.run`` says nothing; None if all are threads.

    Always None in the process of a container, which starts no processes of its own.

    Raises:
        InvalidError: as `placements_of`.
    """
    if is_a_container():
        return None
    if command.given is not None:
        return placements_of(command.given, where="--placement")
    if config.placement is not None:
        return placements_of(cast("Placement", config.placement), where="config.placement")
    variable = os.environ.get(VARIABLE)
    if variable:
        return placements_of(cast("Placement", variable), where=VARIABLE)
    return placements_of(command.default)
