"""Named objects: creates, lists and deletes those that hold something in this process.

Owns `NamedObjects`, the base of the types of ``Dict.objects`` and ``Queue.objects``.

Begin at `NamedObjects`.
"""

from __future__ import annotations

import builtins
import importlib
from datetime import datetime
from typing import Generic, TypeVar

from .arguments import InvalidArgumentsError, InvalidValueError, check_name, unchecked
from .client import Client
from .exception import InvalidError, NotFoundError
from .object import Stored
from .off_the_loop import off_the_loop
from .runtime.context import is_a_container
from .stores.home import environment_of

S = TypeVar("S", bound=Stored)


class NamedObjects(Generic[S]):
    """Creates, lists and deletes the named objects of one class."""

    @property
    def _kind(self) -> type[S]:
        raise NotImplementedError

    @off_the_loop
    def create(
        self,
        name: str,
        *,
        allow_existing: bool = False,
        environment_name: str | None = None,
        client: Client | None = None,
    ) -> None:
        """Make the object of this name, which is empty.

        Raises:
            AlreadyExistsError: if it is there already, and `allow_existing` is false.
        """
        kind = self._kind
        check_name(name, kind.__name__, f'{kind.__name__}.objects.create("my-name")')
        environment = environment_of(environment_name)
        kind._catalogue().create(environment, name, allow_existing=allow_existing)

    @off_the_loop
    def list(
        self,
        *,
        max_objects: int | None = None,
        created_before: datetime | str | None = None,
        environment_name: str = "",
        client: Client | None = None,
    ) -> builtins.list[S]:
        """Return handles of the named objects, the newest first.

        Args:
            max_objects: the most handles; all if None.
            created_before: only the objects that were made before this time, or ISO date.
            environment_name: the environment; the configured one if empty.
        """
        if max_objects is not None and max_objects < 0:
            raise InvalidError(
                f"max_objects must not be negative, got {max_objects}; write max_objects=10"
            )
        kind, environment = self._kind, environment_of(environment_name)
        before = None if created_before is None else _moment(created_before)
        records = [
            record
            for record in kind._catalogue().named(environment)
            if before is None or record.created_at < before
        ][::-1]
        found: builtins.list[S] = []
        for record in records[:max_objects]:
            assert record.name is not None
            handle = kind._from_name(record.name, environment_name or None)
            handle._record = record
            found.append(handle)
        return found

    @off_the_loop
    def delete(
        self,
        name: str,
        *,
        allow_missing: bool = False,
        environment_name: str | None = None,
        client: Client | None = None,
    ) -> None:
        """Delete the object of this name, with what it holds.

        Raises:
            NotFoundError: if there is none, and `allow_missing` is false.
        """
        kind, environment = self._kind, environment_of(environment_name)
        check_name(name, kind.__name__, f'{kind.__name__}.objects.delete("my-name")')
        record = kind._catalogue().find(environment, name)
        if record is not None and kind._catalogue().delete(record):
            kind._forget(record)
        elif not allow_missing:
            raise NotFoundError(
                f"there is no {kind.__name__} {name!r} in the environment {environment!r}; "
                "write allow_missing=True if it need not be there"
            )


def _moment(when: datetime | str) -> datetime:
    """Return a time with its zone; one without is in the local zone."""
    given = unchecked(when)
    advice = 'write created_before="2026-01-31", or a datetime'
    if isinstance(given, str):
        try:
            given = datetime.fromisoformat(given)
        except ValueError:
            raise InvalidValueError(
                f"created_before must be an ISO date or time, got {when!r}; {advice}"
            ) from None
    if not isinstance(given, datetime):
        raise InvalidArgumentsError(
            f"created_before must be a datetime or str, got {when!r}; {advice}"
        )
    return given.astimezone()


def use_contents_elsewhere() -> None:
    """In a container's process, have dicts and queues be those of the calling program.

    Called at the end of their modules, which such a process may import without the whole package.
    By its name, because its layer is below this one.
    """
    if is_a_container():
        stored = importlib.import_module(f"{__package__}.calling.stored")
        if hasattr(stored, "install"):  # else it is importing the caller, and does so itself
            stored.install()
