"""The costs of a workspace at Modal.  In this process nothing costs anything.

Owns the names with which programs make reports.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TypedDict

from .account_types import BillingReportItem as BillingReportItem
from .arguments import unimplemented
from .client import Client
from .with_aio import plain_function

_INSTEAD = "leave the report out, for what runs in this process is not billed"


class WorkspaceBillingReportItem(TypedDict):
    """The cost of one object in one interval, as in `workspace_billing_report`."""

    object_id: str
    description: str
    environment_name: str
    interval_start: datetime
    cost: Decimal
    tags: dict[str, str]


@plain_function
def workspace_billing_report(
    *,
    start: datetime,
    end: datetime | None = None,
    resolution: str = "d",
    tag_names: list[str] | None = None,
    client: Client | None = None,
) -> list[WorkspaceBillingReportItem]:
    """Return the cost of each object of the workspace, by day or hour.

    Raises:
        UnimplementedError: always.
    """
    raise unimplemented("workspace_billing_report", _INSTEAD)


__all__ = ["BillingReportItem", "WorkspaceBillingReportItem", "workspace_billing_report"]
