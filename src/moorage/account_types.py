"""Values of Modal's service that describe accounts, servers, metrics and bills.

Owns no behaviour, and nothing here makes such a value.  The names and fields exist so that
programs which import them, or use them in annotations, still run.  ``types.py`` re-exports them
for users.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal


@dataclass(frozen=True)
class VolumeMountInfo:
    """How a volume is mounted."""

    name: str | None
    volume_id: str | None
    read_only: bool
    sub_path: str | None


@dataclass(frozen=True)
class CloudBucketMountInfo:
    """How a bucket is mounted."""

    bucket_name: str
    bucket_type: Literal["s3", "r2", "gcp"]
    read_only: bool
    key_prefix: str | None


@dataclass(frozen=True)
class TimeSeriesPoint:
    """One value of a series at one time."""

    time: datetime
    value: float | None


@dataclass(frozen=True)
class MetricSeries:
    """One metric over time."""

    name: str
    unit: str
    aggregation: str
    points: list[TimeSeriesPoint]
    description: str = ""


@dataclass(frozen=True)
class MetricDefinition:
    """What a metric measures."""

    name: str
    unit: str
    description: str


@dataclass(frozen=True)
class MetricsSchema:
    """The metrics that a kind of object has."""

    name: str
    definitions: list[MetricDefinition]


@dataclass(frozen=True)
class ObjectMetrics:
    """The metrics of one object from ``since`` to ``until``."""

    object_id: str
    since: datetime
    until: datetime
    bucket_size: timedelta
    point_count: int
    series: dict[str, MetricSeries]


@dataclass(frozen=True)
class StatsPercentile:
    """One percentile and its value."""

    percentile: float
    value: float


@dataclass(frozen=True)
class StatsPercentileDistribution:
    """Percentiles of one quantity, in ``unit``."""

    unit: str
    percentiles: list[StatsPercentile]


@dataclass(frozen=True)
class FunctionStats:
    """Counts of one function from ``since`` to ``until``."""

    since: datetime
    until: datetime
    input_success_count: int
    input_failure_count: int
    input_timeout_count: int
    input_running_at_end_count: int
    input_percentile_stats: dict[str, StatsPercentileDistribution]
    container_started_count: int
    container_error_count: int
    container_creating_at_end_count: int
    container_percentile_stats: dict[str, StatsPercentileDistribution]
    container_total_count: int
    variant_count: int
    all_variants: bool


@dataclass(frozen=True)
class ServerStats:
    """Counts of one server from ``since`` to ``until``."""

    @dataclass(frozen=True)
    class InferenceStats:
        """What an inference engine reports about itself."""

        engine: str
        status: str
        percentile_stats: dict[str, StatsPercentileDistribution]
        scalar_stats: dict[str, float]

    since: datetime
    until: datetime
    request_count: int
    request_count_by_status_code: dict[int, int]
    request_rate_per_second: float
    request_percentile_stats: dict[str, StatsPercentileDistribution]
    container_started_count: int
    container_error_count: int
    container_creating_at_end_count: int
    container_total_count: int
    container_percentile_stats: dict[str, StatsPercentileDistribution]
    inference: ServerStats.InferenceStats | None


@dataclass(frozen=True)
class SandboxConnectCredentials:
    """Where and how to reach a sandbox."""

    url: str
    token: str


@dataclass(frozen=True)
class WorkspaceMemberInfo:
    """Facts about a member of a workspace."""

    name: str
    email: str
    user_id: str
    role: str
    joined_at: datetime
    last_active_at: datetime | None


@dataclass(frozen=True)
class TokenData:
    """A token and its secret."""

    token_id: str
    token_secret: str


@dataclass(frozen=True)
class MemberTokenInfo:
    """Facts about a member's token."""

    name: str | None
    token_id: str
    user_id: str
    username: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    disabled: bool


@dataclass(frozen=True)
class ServiceUserInfo:
    """Facts about a service user."""

    service_user_id: str
    name: str
    token_id: str
    created_by: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    environment_roles: dict[str, str]


@dataclass(frozen=True)
class ProxyTokenInfo:
    """Facts about a proxy token."""

    token_id: str
    created_at: datetime
    scoped: bool
    name: str = ""
    created_by: str = ""


@dataclass(frozen=True)
class WorkspaceSettings:
    """The settings of a workspace."""

    default_environment: str
    image_builder_version: str


@dataclass(frozen=True)
class SandboxGroupStats:
    """What the sandboxes of one group cost."""

    tags: dict[str, str | None]
    cost: Decimal
    cost_by_resource: dict[str, Decimal]


@dataclass(frozen=True)
class SandboxStats:
    """Counts of one sandbox from ``since`` to ``until``."""

    since: datetime
    until: datetime
    duration: timedelta
    percentile_stats: dict[str, StatsPercentileDistribution]
    cost: Decimal | None
    cost_by_resource: dict[str, Decimal]
    billed_cpu_core_seconds: float
    billed_memory_gib_seconds: float


@dataclass(frozen=True)
class WorkspaceBillingSummary:
    """What a workspace cost."""

    start: datetime
    end: datetime
    metered_cost: Decimal
    metered_cost_breakdown: dict[str, Decimal]
    adjustments: dict[str, Decimal]
    billed_cost: Decimal


@dataclass(frozen=True)
class EnvironmentBillingSummary:
    """What an environment cost."""

    start: datetime
    end: datetime
    metered_cost: Decimal
    metered_cost_breakdown: dict[str, Decimal]


@dataclass(frozen=True)
class ServerContainerInfo:
    """Where one container of a server listens."""

    container_id: str
    host: str
    port: int


@dataclass(frozen=True)
class ServerSessionCredentials:
    """The id and the token of a session."""

    session_id: str
    token: str


@dataclass(frozen=True, slots=True)
class BillingReportItem:
    """The cost of one object in one interval."""

    object_id: str
    description: str
    environment_name: str
    interval_start: datetime
    cost: Decimal
    cost_by_resource: dict[str, Decimal]
    tags: dict[str, str]
