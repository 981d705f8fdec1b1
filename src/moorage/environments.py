"""Environments: names under which apps and named objects are kept apart.

Owns `Environment`, which is such a name.  An environment is there as soon as something is in it
(``stores/home.py``), so it is not created.  Its members and costs are at Modal: an operation on
them raises `UnimplementedError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, NoReturn

from .arguments import InvalidArgumentsError, InvalidUseError, unchecked, unimplemented
from .billing import BillingReportItem
from .client import Client
from .exception import InvalidError
from .object import Object, Part
from .stores.home import environment_of
from .types import EnvironmentBillingSummary
from .with_aio import MethodWithAio, plain_function

_INSTEAD = (
    "leave environments out of that, for there is no account; "
    'environment_name="dev" needs no environment that was created'
)


class EnvironmentManager:
    """Lists and deletes the environments at Modal: the type of `Environment.objects`."""

    @MethodWithAio
    def create(
        self,
        name: str,
        *,
        restricted: bool = False,
        default_role: str | None = None,
        experimental_options: Mapping[str, object] | None = None,
        client: Client | None = None,
    ) -> None:
        raise unimplemented("Environment.objects.create", _INSTEAD)

    @MethodWithAio
    def list(self, *, client: Client | None = None) -> list[Environment]:
        raise unimplemented("Environment.objects.list", _INSTEAD)

    @MethodWithAio
    def delete(self, name: str, *, client: Client | None = None) -> None:
        raise unimplemented("Environment.objects.delete", _INSTEAD)


class Environment(Object):
    """The name of a part of a workspace: apps and named objects of two environments are apart."""

    _made_by = 'Environment.from_name("main")'
    _instead = _INSTEAD
    objects: ClassVar[EnvironmentManager] = EnvironmentManager()

    def __init__(self) -> None:
        raise InvalidUseError(f"Environment() makes nothing by itself; write {self._made_by}")

    @property
    def name(self) -> str:
        """The name given to `from_name`; of `from_context` the configured one, or ``"main"``."""
        return environment_of(self._name)

    @staticmethod
    def from_context(*, client: Client | None = None) -> Environment:
        """Return the environment of objects that name none: see `MODAL_ENVIRONMENT`."""
        return Environment._new("Environment.from_context()")

    @staticmethod
    def from_name(
        name: str, *, create_if_missing: bool = False, client: Client | None = None
    ) -> Environment:
        """Name an environment.

        Raises:
            InvalidError: if `name` is not a possible name; see `arguments.check_name`.
        """
        advice = f"write {Environment._made_by}"
        if not isinstance(unchecked(name), str):
            raise InvalidArgumentsError(f"an environment's name is a str, got {name!r}; {advice}")
        if name.startswith("en-") or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9\-_]{0,63}", name):
            raise InvalidError(
                "an environment's name has 1 to 64 letters, digits, '-' or '_', and begins with "
                f"a letter or digit, but not with 'en-', got {name!r}; {advice}"
            )
        return Environment._named(name, None, prefix="")

    @property
    def roles(self) -> EnvironmentRolesManager:
        return EnvironmentRolesManager(self)

    @property
    def members(self) -> EnvironmentMembersManager:
        return EnvironmentMembersManager(self)

    @property
    def apps(self) -> EnvironmentAppsManager:
        return EnvironmentAppsManager(self)

    @property
    def billing(self) -> EnvironmentBillingManager:
        return EnvironmentBillingManager(self)


class EnvironmentRolesManager(Part):
    """The roles of the members of an environment, at Modal."""

    @MethodWithAio
    def list(self, *, exclude_default: bool = False) -> dict[str, dict[str, str]]:
        raise self._unimplemented("list")

    @MethodWithAio
    def update(
        self,
        *,
        users: Mapping[str, str] | None = None,
        service_users: Mapping[str, str] | None = None,
    ) -> None:
        raise self._unimplemented("update")


class EnvironmentMembersManager(EnvironmentRolesManager):
    """The members of an environment, at Modal."""

    @MethodWithAio
    def remove(
        self, *, users: Iterable[str] | None = None, service_users: Iterable[str] | None = None
    ) -> None:
        raise self._unimplemented("remove")


class EnvironmentAppsManager(Part):
    """The apps of an environment, at Modal."""

    @MethodWithAio
    def list(self) -> list[object]:
        raise self._unimplemented("list")


class EnvironmentBillingManager(Part):
    """The costs of an environment, at Modal."""

    @MethodWithAio
    def report(
        self,
        *,
        start: datetime,
        end: datetime | None = None,
        resolution: str = "d",
        tag_names: list[str] | None = None,
    ) -> list[BillingReportItem]:
        raise self._unimplemented("report")

    @MethodWithAio
    def summary(self, cycle: str | datetime | None = None) -> EnvironmentBillingSummary:
        raise self._unimplemented("summary")


@plain_function
def list_environments(client: Client | None = None) -> NoReturn:
    raise unimplemented("list_environments", _INSTEAD)


@plain_function
def create_environment(name: str, client: Client | None = None) -> NoReturn:
    raise unimplemented("create_environment", _INSTEAD)


@plain_function
def delete_environment(name: str, client: Client | None = None) -> NoReturn:
    raise unimplemented("delete_environment", _INSTEAD)


@plain_function
def update_environment(
    current_name: str,
    *,
    new_name: str | None = None,
    new_web_suffix: str | None = None,
    new_image_builder_version: str | None = None,
    client: Client | None = None,
) -> NoReturn:
    raise unimplemented("update_environment", _INSTEAD)


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _Environment = Environment
