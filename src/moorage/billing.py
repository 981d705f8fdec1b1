"""What a workspace at Modal costs: nothing does, in this process.

Owns the names that reports are made with.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TypedDict

from .arguments import unimplemented
from .client import Client
from .with_aio import FunctionWithAio

_INSTEAD = "leave the report out, for what runs in this process is not billed"


@dataclass(frozen=True, slots=True)
class BillingReportItem:
    """What one object cost in one interval."""

    object_id: str
    description: str
    environment_name: str
    interval_start: datetime
    cost: Decimal
    cost_by_resource: dict[str, Decimal]
    tags: dict[str, str]


class WorkspaceBillingReportItem(TypedDict):
    """What one object cost in one interval, as `workspace_billing_report` gives it."""

    object_id: str
    description: str
    environment_name: str
    interval_start: datetime
    cost: Decimal
    tags: dict[str, str]


@FunctionWithAio
def workspace_billing_report(
    *,
    start: datetime,
    end: datetime | None = None,
    resolution: str = "d",
    tag_names: list[str] | None = None,
    client: Client | None = None,
) -> list[WorkspaceBillingReportItem]:
    """What each object of the workspace cost, by day or hour.

    Raises:
        UnimplementedError: always.
    """
    raise unimplemented("workspace_billing_report", _INSTEAD)


__all__ = ["BillingReportItem", "WorkspaceBillingReportItem", "workspace_billing_report"]
