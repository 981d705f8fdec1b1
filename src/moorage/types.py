"""Types: values that describe functions, apps, inputs and objects, under Modal's names.

Owns no behaviour.  The fields are Modal's, so that programs which read or build these values
still run.  moorage itself makes only `FunctionCurrentStats`, `FunctionAutoscalerSettings` and
`InputInfo` of the types defined here.  `PoolStatistics` and its parts are not Modal's; this
module re-exports them for annotations.  Begin at `FunctionCurrentStats`.
"""

from __future__ import annotations

import enum
import importlib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict

from .runtime.containers.container import ContainerState as ContainerState
from .runtime.pools.statistics import BatchStatistics as BatchStatistics
from .runtime.pools.statistics import ClassStatistics as ClassStatistics
from .runtime.pools.statistics import ContainerStatistics as ContainerStatistics
from .runtime.pools.statistics import PoolStatistics as PoolStatistics
from .runtime.pools.statistics import WebStatistics as WebStatistics

if TYPE_CHECKING:
    from .account_types import BillingReportItem as BillingReportItem
    from .account_types import CloudBucketMountInfo as CloudBucketMountInfo
    from .account_types import EnvironmentBillingSummary as EnvironmentBillingSummary
    from .account_types import FunctionStats as FunctionStats
    from .account_types import MemberTokenInfo as MemberTokenInfo
    from .account_types import MetricDefinition as MetricDefinition
    from .account_types import MetricSeries as MetricSeries
    from .account_types import MetricsSchema as MetricsSchema
    from .account_types import ObjectMetrics as ObjectMetrics
    from .account_types import ProxyTokenInfo as ProxyTokenInfo
    from .account_types import SandboxConnectCredentials as SandboxConnectCredentials
    from .account_types import SandboxGroupStats as SandboxGroupStats
    from .account_types import SandboxStats as SandboxStats
    from .account_types import ServerContainerInfo as ServerContainerInfo
    from .account_types import ServerSessionCredentials as ServerSessionCredentials
    from .account_types import ServerStats as ServerStats
    from .account_types import ServiceUserInfo as ServiceUserInfo
    from .account_types import StatsPercentile as StatsPercentile
    from .account_types import StatsPercentileDistribution as StatsPercentileDistribution
    from .account_types import TimeSeriesPoint as TimeSeriesPoint
    from .account_types import TokenData as TokenData
    from .account_types import VolumeMountInfo as VolumeMountInfo
    from .account_types import WorkspaceBillingSummary as WorkspaceBillingSummary
    from .account_types import WorkspaceMemberInfo as WorkspaceMemberInfo
    from .account_types import WorkspaceSettings as WorkspaceSettings

__all__ = [
    "AppInfo",
    "AppLifecycle",
    "AppState",
    "BatchStatistics",
    "BillingReportItem",
    "ClassStatistics",
    "CloudBucketMountInfo",
    "ContainerState",
    "ContainerStatistics",
    "DictInfo",
    "EnvironmentBillingSummary",
    "FileEntry",
    "FileEntryType",
    "FileInfo",
    "FileType",
    "FileWatchEvent",
    "FileWatchEventType",
    "FunctionAutoscalerSettings",
    "FunctionCurrentStats",
    "FunctionInfo",
    "FunctionStats",
    "InputInfo",
    "InputStatus",
    "LogEntry",
    "LogSource",
    "MemberTokenInfo",
    "MetricDefinition",
    "MetricSeries",
    "MetricsSchema",
    "ObjectMetrics",
    "PoolStatistics",
    "ProxyTokenInfo",
    "QueueInfo",
    "SandboxConnectCredentials",
    "SandboxGroupStats",
    "SandboxRuntime",
    "SandboxStats",
    "SecretInfo",
    "ServerAutoscalerSettings",
    "ServerContainerInfo",
    "ServerInfo",
    "ServerSessionCredentials",
    "ServerStats",
    "ServiceUserInfo",
    "StatsPercentile",
    "StatsPercentileDistribution",
    "TimeSeriesPoint",
    "TokenData",
    "VolumeCreateOptions",
    "VolumeInfo",
    "VolumeMountInfo",
    "WebStatistics",
    "WorkspaceBillingSummary",
    "WorkspaceMemberInfo",
    "WorkspaceSettings",
]

LogSource: TypeAlias = Literal["stdout", "stderr", "system"]
SandboxRuntime: TypeAlias = Literal["gvisor", "vm"]


class VolumeCreateOptions(TypedDict, total=False):
    """The options with which ``Volume.from_name`` would create a volume."""

    experimental_options: dict[str, object]


class InputStatus(enum.IntEnum):
    """The state of an input: not finished (``PENDING``), or how it ended."""

    PENDING = 0
    SUCCESS = 1
    FAILURE = 2
    INIT_FAILURE = 5
    TERMINATED = 3
    TIMEOUT = 4


class FileEntryType(enum.IntEnum):
    """The kind of a path in a volume."""

    UNSPECIFIED = 0
    FILE = 1
    DIRECTORY = 2
    SYMLINK = 3
    FIFO = 4
    SOCKET = 5


class FileType(enum.Enum):
    """The kind of a path in a sandbox."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"


class FileWatchEventType(enum.Enum):
    """The kind of a change to a watched path."""

    Unknown = "Unknown"
    Access = "Access"
    Create = "Create"
    Modify = "Modify"
    Remove = "Remove"


@dataclass(frozen=True)
class LogEntry:
    """One line of a log."""

    message: str
    timestamp: datetime
    source: LogSource
    object_id: str
    context_ids: list[str]


@dataclass
class DictInfo:
    """Facts about a ``Dict``."""

    name: str | None
    created_at: datetime
    created_by: str | None


@dataclass
class QueueInfo:
    """Facts about a ``Queue``."""

    name: str | None
    created_at: datetime
    created_by: str | None


@dataclass
class SecretInfo:
    """Facts about a ``Secret``."""

    name: str | None
    environment_name: str
    created_at: datetime
    created_by: str | None
    last_used: datetime | None


@dataclass
class VolumeInfo:
    """Facts about a ``Volume``."""

    name: str | None
    created_at: datetime
    created_by: str | None


@dataclass(frozen=True)
class FunctionCurrentStats:
    """The counts of one function at one moment.

    Attributes:
        backlog: the number of inputs in the queue.
        num_total_runners: the number of containers that are ready or draining.
        num_running_inputs: the number of inputs that hold a slot.
        input_headroom: how many more inputs the ready containers could run at once.
    """

    backlog: int
    num_total_runners: int
    num_running_inputs: int
    input_headroom: int


@dataclass
class InputInfo:
    """One input in a graph of calls; ``children`` are the inputs of the calls that it spawned."""

    input_id: str
    function_call_id: str
    task_id: str
    status: InputStatus
    function_name: str
    module_name: str
    children: list[InputInfo]


@dataclass(frozen=True)
class FileEntry:
    """One path in a volume."""

    path: str
    type: FileEntryType
    mtime: int
    size: int


@dataclass(frozen=True)
class FileInfo:
    """One path in a sandbox."""

    name: str
    path: str
    type: FileType
    size: int
    mode: int
    permissions: str
    owner: str
    group: str
    modified_time: float
    symlink_target: str | None

    def is_file(self) -> bool:
        return self.type is FileType.FILE

    def is_dir(self) -> bool:
        return self.type is FileType.DIRECTORY

    def is_symlink(self) -> bool:
        return self.type is FileType.SYMLINK


@dataclass
class FileWatchEvent:
    """One change to watched paths."""

    paths: list[str]
    type: FileWatchEventType


@dataclass(frozen=True)
class FunctionAutoscalerSettings:
    """The bounds of one function's autoscaler.

    ``scaledown_window`` is in seconds, and may have a fraction.  If it is None, the autoscaler
    chooses.  If ``max_containers`` is None, only the capacity of the process limits it.
    """

    min_containers: int | None
    max_containers: int | None
    scaledown_window: float | None
    buffer_containers: int | None


@dataclass(frozen=True)
class FunctionInfo:
    """The options of a function; ``timeout`` and ``startup_timeout`` are in seconds."""

    @dataclass(frozen=True)
    class WebInfo:
        """The URL of a web function, and how it is served."""

        web_url: str
        method: str | None
        unauthenticated: bool

    @dataclass(frozen=True)
    class ImageInfo:
        """The image of a function."""

        image_name: str | None
        image_id: str | None

    @dataclass(frozen=True)
    class ClusterInfo:
        """The cluster that a function asks for."""

        size: int
        rdma: bool
        fabric_size: int | None

    @dataclass(frozen=True)
    class BatchingInfo:
        """The arguments of ``batched``; ``wait_ms`` is in milliseconds."""

        max_batch_size: int
        wait_ms: int

    @dataclass(frozen=True)
    class ConcurrencyInfo:
        """The arguments of ``concurrent``."""

        max_inputs: int | None
        target_inputs: int | None

    cpu: float | tuple[float, float] | None
    memory_mib: int | tuple[int, int] | None
    gpus: list[tuple[str, int]]
    ephemeral_disk_mib: int | None
    image_info: FunctionInfo.ImageInfo
    startup_timeout: int | None
    timeout: int
    max_retries: int | None
    nonpreemptible: bool
    regions: list[str] | None
    routing_region: str | None
    cloud: str | None
    cluster_info: FunctionInfo.ClusterInfo | None
    batching_info: FunctionInfo.BatchingInfo | None
    concurrency_info: FunctionInfo.ConcurrencyInfo | None
    schedule: str | None
    restrict_modal_access: bool
    block_network: bool
    single_use_containers: bool
    volumes: dict[str, VolumeMountInfo]
    cloud_bucket_mounts: dict[str, CloudBucketMountInfo]
    secrets: list[str]
    web_info: FunctionInfo.WebInfo | None
    method_names: list[str] | None
    method_details: dict[str, FunctionInfo.WebInfo] | None


class AppState(str, enum.Enum):  # noqa: UP042 - str() of it names the member, as in Modal
    """The state of an app."""

    EPHEMERAL = "ephemeral"
    DETACHED = "detached"
    DEPLOYED = "deployed"
    STOPPING = "stopping"
    STOPPED = "stopped"
    INITIALIZING = "initializing"
    DISABLED = "disabled"


@dataclass
class AppLifecycle:
    """The state of an app, and when and by whom it was created, deployed and stopped."""

    state: AppState
    version: int | None
    created_at: datetime
    created_by: str
    deployed_at: datetime | None
    deployed_by: str | None
    stopped_at: datetime | None
    stopped_by: str | None


@dataclass(frozen=True)
class AppInfo:
    """An app, its lifecycle, and the ids of its functions and servers by name."""

    app_id: str
    description: str
    lifecycle: AppLifecycle
    functions: dict[str, str]
    servers: dict[str, str]


@dataclass(frozen=True)
class ServerAutoscalerSettings:
    """The autoscaler's settings of one server; windows in seconds."""

    target_concurrency: int | float | None
    min_containers: int | None
    max_containers: int | None
    buffer_containers: int | None
    scaleup_window: int | None
    scaledown_window: int | None


@dataclass(frozen=True)
class ServerInfo:
    """How a server was set up; times in seconds."""

    @dataclass(frozen=True)
    class ImageInfo:
        """The image of a server."""

        image_name: str | None
        image_id: str | None

    @dataclass(frozen=True)
    class ClusterInfo:
        """The cluster that a server asks for."""

        size: int
        rdma: bool
        fabric_size: int | None

    server_url: str
    port: int
    unauthenticated: bool
    h2_enabled: bool
    routing_region: str | None
    sessioned: bool
    startup_timeout: int
    exit_grace_period: int
    image_info: ServerInfo.ImageInfo
    cpu: float | tuple[float, float] | None
    memory_mib: int | tuple[int, int] | None
    gpus: list[tuple[str, int]]
    ephemeral_disk_mib: int | None
    nonpreemptible: bool
    compute_regions: list[str] | None
    cloud: str | None
    cluster_info: ServerInfo.ClusterInfo | None
    volumes: dict[str, VolumeMountInfo]
    cloud_bucket_mounts: dict[str, CloudBucketMountInfo]
    secrets: list[str]


if not TYPE_CHECKING:
    # At their first use: a program seldom needs them, and making so many classes takes time.
    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        account_types = importlib.import_module(".account_types", __package__)
        value = globals()[name] = getattr(account_types, name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
