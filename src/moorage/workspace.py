"""Workspaces: accounts at Modal.

Owns `Workspace`, a placeholder.  There is no account in this process: an operation that needs one
raises `UnimplementedError`.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from .arguments import InvalidUseError
from .billing import BillingReportItem
from .client import Client
from .object import Object, Part
from .types import (
    MemberTokenInfo,
    ProxyTokenInfo,
    ServiceUserInfo,
    TokenData,
    WorkspaceBillingSummary,
    WorkspaceMemberInfo,
    WorkspaceSettings,
)
from .with_aio import MethodWithAio


class Workspace(Object):
    """An account at Modal.  Here it can be named, but not used."""

    _made_by = "Workspace.from_context()"
    _instead = "leave the workspace out, for there is no account in this process"

    def __init__(self) -> None:
        raise InvalidUseError(f"Workspace() makes nothing by itself; write {self._made_by}")

    @property
    def name(self) -> str | None:
        """Always None: there is no account."""
        return self._name

    @staticmethod
    def from_context(*, client: Client | None = None) -> Workspace:
        """Return a workspace without a name: no workspace is configured."""
        return Workspace._new("Workspace.from_context()")

    @property
    def members(self) -> WorkspaceMembersManager:
        return WorkspaceMembersManager(self)

    @property
    def billing(self) -> WorkspaceBillingManager:
        return WorkspaceBillingManager(self)

    @property
    def proxy_tokens(self) -> WorkspaceProxyTokenManager:
        return WorkspaceProxyTokenManager(self)

    @property
    def settings(self) -> WorkspaceSettingsManager:
        return WorkspaceSettingsManager(self)

    @property
    def service_users(self) -> WorkspaceServiceUserManager:
        return WorkspaceServiceUserManager(self)

    @property
    def member_tokens(self) -> WorkspaceMemberTokenManager:
        return WorkspaceMemberTokenManager(self)


class WorkspaceMembersManager(Part):
    """The members of a workspace, at Modal."""

    @MethodWithAio
    def list(self) -> list[WorkspaceMemberInfo]:
        raise self._unimplemented("list")


class WorkspaceBillingManager(Part):
    """The costs of a workspace, at Modal."""

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
    def summary(self, cycle: str | datetime | None = None) -> WorkspaceBillingSummary:
        raise self._unimplemented("summary")


class WorkspaceProxyTokenManager(Part):
    """The tokens for calls of web functions, at Modal."""

    @MethodWithAio
    def create(self, name: str = "") -> TokenData:
        raise self._unimplemented("create")

    @MethodWithAio
    def update(self, proxy_token_id: str, *, name: str) -> None:
        raise self._unimplemented("update")

    @MethodWithAio
    def list(self, environment_name: str | None = None) -> list[ProxyTokenInfo]:
        raise self._unimplemented("list")

    @MethodWithAio
    def allow(self, proxy_token_id: str, environment_name: str) -> None:
        raise self._unimplemented("allow")

    @MethodWithAio
    def revoke(self, proxy_token_id: str, environment_name: str) -> None:
        raise self._unimplemented("revoke")

    @MethodWithAio
    def delete(self, proxy_token_id: str) -> None:
        raise self._unimplemented("delete")


class WorkspaceSettingsManager(Part):
    """The settings of a workspace, at Modal."""

    @MethodWithAio
    def list(self) -> WorkspaceSettings:
        raise self._unimplemented("list")

    @MethodWithAio
    def set(self, name: str, value: str) -> None:
        raise self._unimplemented("set")


class WorkspaceServiceUserManager(Part):
    """The service users (programs) of a workspace, at Modal."""

    @MethodWithAio
    def create(self, name: str, *, expires_in: int | None) -> TokenData:
        raise self._unimplemented("create")

    @MethodWithAio
    def set_role(self, service_user_name: str, environment_name: str, *, role: str) -> None:
        raise self._unimplemented("set_role")

    @MethodWithAio
    def info(self, name: str) -> ServiceUserInfo:
        raise self._unimplemented("info")

    @MethodWithAio
    def list(self) -> list[ServiceUserInfo]:
        raise self._unimplemented("list")

    @MethodWithAio
    def delete(self, name: str, *, allow_missing: bool = False) -> None:
        raise self._unimplemented("delete")


class WorkspaceMemberTokenManager(Part):
    """The tokens of the members of a workspace, at Modal."""

    @MethodWithAio
    def list(self) -> list[MemberTokenInfo]:
        raise self._unimplemented("list")

    @MethodWithAio
    def disable(self, *token_ids: str) -> None:
        raise self._unimplemented("disable")

    @MethodWithAio
    def enable(self, *token_ids: str) -> None:
        raise self._unimplemented("enable")

    @MethodWithAio
    def delete(self, token_id: str, *, allow_missing: bool = False) -> None:
        raise self._unimplemented("delete")


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _Workspace = Workspace
