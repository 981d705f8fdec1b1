"""The base of the cloud's objects: placeholders that can be named and passed on.

Owns how they are made (by class methods only), shown, and what they answer that
Modal would have to ask its servers.  A placeholder holds what it was made with
and does nothing; what would need its contents raises `UnimplementedError`.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Generic, Self, TypeVar

from .arguments import no_constructor, unimplemented
from .client import Client
from .exception import UnimplementedError
from .with_aio import MethodWithAio

O = TypeVar("O")  # noqa: E741 - the object


class HydrateMethod:
    """``obj.hydrate()`` and ``await obj.hydrate.aio()``."""

    def __get__(self, instance: O, owner: type[O]) -> Hydrate[O]:
        return Hydrate(instance)


class Hydrate(Generic[O]):
    """Look nothing up, and return the object: it is used where it is named."""

    def __init__(self, obj: O) -> None:
        self._obj = obj

    def __call__(self, client: Client | None = None) -> O:
        return self._obj

    async def aio(self, client: Client | None = None) -> O:
        return self._obj


class Object:
    """Something of the cloud that was named, not made."""

    # What to write instead of calling the class.
    _made_by: ClassVar[str] = "one of its class methods"
    # What there is instead of its contents; the end of every UnimplementedError.
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
        """What ``from_name`` makes.  It is shown as in Modal, whose name the user imported."""
        where = "" if environment_name is None else f", environment_name={environment_name!r}"
        return cls._new(f"{prefix}{cls.__name__}.from_name({name!r}{where})", name)

    # Modal's id, of the few that have it before they are looked up.
    _object_id: str | None = None

    @property
    def object_id(self) -> str:
        """Modal's id of the object; most placeholders have none.

        Raises:
            AttributeError: if so, as in Modal before an object is looked up.
        """
        if self._object_id is not None:
            return self._object_id
        raise AttributeError(
            f"{self!r} has no object_id, for it is a placeholder in this process; "
            "write a name of your own where you need a key"
        )

    @property
    def client(self) -> Client:
        """Modal's connection; placeholders have none.

        Raises:
            AttributeError: always, as in Modal before an object is looked up.
        """
        raise AttributeError(f"{self!r} has no client, for nothing is looked up in this process")

    hydrate: HydrateMethod = HydrateMethod()

    @MethodWithAio
    def get_dashboard_url(self) -> str:
        """The object's page at Modal: there is none.

        Raises:
            UnimplementedError: always.
        """
        raise self._unimplemented("get_dashboard_url")

    def _unimplemented(self, method: str) -> UnimplementedError:
        return unimplemented(f"{type(self).__name__}.{method}", self._instead)

    def __repr__(self) -> str:
        return self._shown


class Manager(Generic[O]):
    """What ``Volume.objects`` and its like are: they list and delete what is at Modal."""

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
    """One side of an object, e.g. ``Workspace.members``, which is at Modal."""

    def __init__(self, whole: Object) -> None:
        self._whole = whole

    def _unimplemented(self, method: str) -> UnimplementedError:
        return unimplemented(f"{type(self).__name__}.{method}", self._whole._instead)
