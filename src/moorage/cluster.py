"""Clusters: containers at Modal that are scheduled together.

Owns `Cluster`, for programs that name it.  Only a clustered function at Modal runs in one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from .arguments import unchecked
from .client import Client
from .exception import InvalidError
from .object import Object
from .with_aio import MethodWithAio


class Cluster(Object):
    """The containers at Modal in which one call of a clustered function runs."""

    _made_by = "Cluster.from_context() inside a clustered function"
    _instead = "run one function with .map(), whose inputs share this process"

    @staticmethod
    def from_context() -> Cluster:
        """Return the cluster in which the caller runs.

        Raises:
            InvalidError: always, because this process has no clusters.
        """
        raise InvalidError(
            "nothing runs in a cluster in this process; run a clustered function with Modal, "
            "or one function here with .map()"
        )

    @staticmethod
    def from_id(cluster_id: str, *, client: Client | None = None) -> Cluster:
        """Name a cluster by Modal's id."""
        made = Cluster._new(f"modal.Cluster.from_id({cluster_id!r})")
        made._object_id = str(unchecked(cluster_id))
        return made

    @MethodWithAio
    def container_ids(self) -> list[str]:
        raise self._unimplemented("container_ids")

    @MethodWithAio
    def container_ips(self, family: Literal["ipv4", "ipv6"] = "ipv6") -> list[str]:
        raise self._unimplemented("container_ips")

    @MethodWithAio
    def container_rank(self, container_id: str | None = None) -> int:
        raise self._unimplemented("container_rank")


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _Cluster = Cluster
