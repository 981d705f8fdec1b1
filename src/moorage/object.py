"""The base of the cloud's objects: placeholders that can be named and passed on.

Owns how these objects are made (by class methods only), their `repr`, and their answers to
requests that Modal would send to its servers.  A placeholder holds the arguments it was made
with and does nothing; an operation that needs its contents raises `UnimplementedError`.
``image.py``, ``volume.py`` and the files like them subclass `Object`.

Begin at `Object`, then `Manager`.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from .arguments import check_name, no_constructor, unimplemented
from .client import Client
from .exception import NotFoundError, UnimplementedError
from .off_the_loop import in_thread
from .stores.home import environment_of, environment_that_goes_along
from .stores.records import Catalogue, Record
from .with_aio import MethodWithAio, PosesAsFunction, Way

O = TypeVar("O")  # noqa: E741 - the object


class HydrateMethod:
    """For type checkers: the method ``obj.hydrate()``, also as ``await obj.hydrate.aio()``."""

    def __get__(self, instance: O, owner: type[O]) -> Hydrate[O]:
        return Hydrate(instance)


class Hydrate(PosesAsFunction, Generic[O]):
    """Look the object up, if it holds something in this process, and return it.

    Raises:
        NotFoundError: if there is no such object.
    """

    _way = "hydrate"

    def __init__(self, obj: O) -> None:
        self._obj = obj

    def __call__(self, client: Client | None = None) -> O:
        if isinstance(self._obj, Stored):
            self._obj._found()
        return self._obj

    async def aio(self, client: Client | None = None) -> O:
        if isinstance(self._obj, Stored) and self._obj._is_on_disk:
            return await in_thread(self, client)
        return self(client)


class Object:
    """A placeholder for an object of the cloud.  It is named, but does not exist anywhere."""

    # The advice of the error for calling the class.
    _made_by: ClassVar[str] = "one of its class methods"
    # The advice at the end of every UnimplementedError of this class.
    _instead: ClassVar[str] = "run this program with Modal for that"

    def __init__(self, *args: object, **kwargs: object) -> None:
        no_constructor(type(self).__name__, self._made_by)

    @classmethod
    def _new(cls, shown: str, name: str | None = None) -> Self:
        made = cls.__new__(cls)
        made._shown = shown
        made._name = name
        return made

    _shown: str
    _name: str | None

    @classmethod
    def _named(cls, name: str, environment_name: str | None, prefix: str = "modal.") -> Self:
        """Make the object for ``from_name``.  Its `repr` says ``modal.``, as in Modal."""
        where = "" if environment_name is None else f", environment_name={environment_name!r}"
        return cls._new(f"{prefix}{cls.__name__}.from_name({name!r}{where})", name)

    # Modal's id.  Only a few objects have an id before they are looked up.
    _object_id: str | None = None

    @property
    def object_id(self) -> str:
        """Modal's id of the object; most placeholders have none.

        Raises:
            AttributeError: if there is no id, as in Modal before an object is looked up.
        """
        if self._object_id is not None:
            return self._object_id
        raise AttributeError(
            f"{self!r} has no object_id, because it is a placeholder in this process; "
            "write a name of your own where you need a key"
        )

    @property
    def client(self) -> Client:
        """Modal's connection.  Placeholders have none.

        Raises:
            AttributeError: always, as in Modal before an object is looked up.
        """
        raise AttributeError(
            f"{self!r} has no client, because nothing is looked up in this process"
        )

    if TYPE_CHECKING:
        hydrate: HydrateMethod = HydrateMethod()
    else:
        hydrate = Way(Hydrate, "Look the object up, if it holds something, and return it.")

    @MethodWithAio
    def get_dashboard_url(self) -> str:
        """The URL of the object's page at Modal.  Placeholders have none.

        Raises:
            UnimplementedError: always.
        """
        raise self._unimplemented("get_dashboard_url")

    def _unimplemented(self, method: str) -> UnimplementedError:
        return unimplemented(f"{type(self).__name__}.{method}", self._instead)

    def __repr__(self) -> str:
        return self._shown


class Manager(Generic[O]):
    """The type of ``Volume.objects`` and similar: lists and deletes objects at Modal.

    Every method raises `UnimplementedError`.
    """

    def __init__(self, kind: str, instead: str) -> None:
        self._kind = kind
        self._instead = instead

    @MethodWithAio
    def list(
        self,
        *,
        max_objects: int | None = None,
        created_before: datetime | str | None = None,
        environment_name: str = "",
        client: Client | None = None,
    ) -> list[O]:
        raise self._unimplemented("list")

    @MethodWithAio
    def delete(
        self,
        name: str,
        *,
        allow_missing: bool = False,
        environment_name: str | None = None,
        client: Client | None = None,
    ) -> None:
        raise self._unimplemented("delete")

    def _unimplemented(self, method: str) -> UnimplementedError:
        return unimplemented(f"{self._kind}.{method}", self._instead)


class Part:
    """A part of an object at Modal, e.g. ``Workspace.members``."""

    def __init__(self, whole: Object) -> None:
        self._whole = whole

    def _unimplemented(self, method: str) -> UnimplementedError:
        return unimplemented(f"{type(self).__name__}.{method}", self._whole._instead)


class Stored(Object):
    """The base of the objects that hold something in this process: dicts, queues, volumes.

    A handle names an object, by name or by id, and touches nothing.  The object is looked up when
    the handle is used for the first time; the handle then keeps to that object.
    """

    @classmethod
    def _catalogue(cls) -> Catalogue:
        """Return what the objects of this class are kept in."""
        raise NotImplementedError

    _is_on_disk: ClassVar[bool] = False  # looking the object up reads and writes files
    _environment_name: str | None = None  # as it was given
    _creates: bool = False  # `create_if_missing`
    _asked_id: str | None = None  # as it was given to `from_id`
    _record: Record | None = None  # what the handle was found to be
    _gone: bool = False  # the block of an ephemeral object has ended

    @classmethod
    def _from_name(cls, name: str, environment_name: str | None, creates: bool = False) -> Self:
        check_name(name, cls.__name__, cls._made_by)
        made = cls._named(name, environment_name)
        made._environment_name = environment_name
        made._creates = creates
        return made

    @classmethod
    def _from_id(cls, object_id: str) -> Self:
        made = cls._new(f"{cls.__name__}.from_id({object_id!r})")
        made._asked_id = object_id
        return made

    @classmethod
    def _ephemeral(cls, environment_name: str | None) -> Self:
        made = cls._new(f"{cls.__name__}.ephemeral()")
        made._record = cls._catalogue().create_ephemeral(environment_of(environment_name))
        return made

    def _end(self) -> None:
        """End an ephemeral object: its contents are freed, and every later use fails."""
        record = self._found()
        self._catalogue().delete(record)
        self._forget(record)

    @classmethod
    def _forget(cls, record: Record) -> None:
        """Free the contents of an object that was deleted."""

    def _found(self) -> Record:
        """Return the record of this handle; look it up if this is the first use.

        Raises:
            NotFoundError: if there is no such object, or no longer.
        """
        record, catalogue = self._record, self._catalogue()
        if record is not None:
            if catalogue.of_id(record.object_id) is None:
                raise self._not_found("is gone: it was deleted, or its block has ended")
            return record
        if self._asked_id is not None:
            record = catalogue.of_id(self._asked_id)
            if record is None:
                raise self._not_found("is not in this process")
        else:
            assert self._name is not None
            environment = environment_of(self._environment_name)
            if self._creates:
                record = self._create(environment, self._name)
            else:
                record = catalogue.find(environment, self._name)
            if record is None:
                made_by = f"{type(self).__name__}.from_name({self._name!r}"
                raise self._not_found(
                    f"is not in the environment {environment!r}",
                    f"write {made_by}, create_if_missing=True)",
                )
        self._record = record
        return record

    def _create(self, environment: str, name: str) -> Record:
        """Make the object of this handle, or return the one that is there."""
        return self._catalogue().create(environment, name)

    def _not_found(self, why: str, advice: str = "") -> NotFoundError:
        return NotFoundError(f"{self!r} {why}; {advice or f'write {self._made_by}'}")

    @property
    def object_id(self) -> str:
        """The id of the object.

        Raises:
            AttributeError: before the handle is used for the first time; `hydrate` looks it up.
        """
        if self._record is None:
            raise AttributeError(
                f"Attempting to get object_id of unhydrated {self!r}, which is looked up at its "
                "first use; write .hydrate().object_id"
            )
        return self._record.object_id

    def __reduce__(self) -> tuple[Any, ...]:
        kind = type(self)
        if self._name is not None:
            return _unpickled_name, (
                kind,
                self._name,
                environment_that_goes_along(self._environment_name),
                self._creates,
            )
        return kind._from_id, (self._record.object_id if self._record else self._asked_id,)


def _unpickled_name(
    kind: type[Stored], name: str, environment_name: str | None, creates: bool
) -> Stored:
    return kind._from_name(name, environment_name, creates)


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _Object = Object
