"""The base of the cloud's objects: placeholders that can be named and passed on.

Owns how these objects are made (by class methods only), their `repr`, and their answers to
requests that Modal would send to its servers.  A placeholder holds the arguments it was made
with and does nothing; an operation that needs its contents raises `UnimplementedError`.
``image.py``, ``volume.py`` and the files like them subclass `Object`.

Begin at `Object`, then `Manager`.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Generic, Self, TypeVar

from .arguments import no_constructor, unimplemented
from .client import Client
from .exception import UnimplementedError
from .with_aio import MethodWithAio, PosesAsFunction, Way

O = TypeVar("O")  # noqa: E741 - the object


class HydrateMethod:
    """For type checkers: the method ``obj.hydrate()``, also as ``await obj.hydrate.aio()``."""

    def __get__(self, instance: O, owner: type[O]) -> Hydrate[O]:
        return Hydrate(instance)


class Hydrate(PosesAsFunction, Generic[O]):
    """Return the object itself.  Nothing is looked up, because the object is a placeholder."""

    _way = "hydrate"

    def __init__(self, obj: O) -> None:
        self._obj = obj

    def __call__(self, client: Client | None = None) -> O:
        return self._obj

    async def aio(self, client: Client | None = None) -> O:
        return self._obj


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
        hydrate = Way(Hydrate, "``hydrate()`` returns the object itself: nothing is looked up.")

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


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _Object = Object
