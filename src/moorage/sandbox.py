"""Sandboxes: containers at Modal that run any command.

Owns `Sandbox` and its parts, for programs that name them.  There are no sandboxes here: their
arguments are checked, and then `UnimplementedError` is raised.  The reason: programs trust a
sandbox with code that nobody has read, such as that of a language model.  A subprocess has all
rights of the user, so it would be worse than an error.  `Probe` is a value that works.

Begin at `Sandbox.create`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, Literal

from . import config
from .arguments import EnvDict, check_env, check_name, unchecked, unimplemented
from .client import Client
from .cloud_bucket_mount import CloudBucketMount
from .container_process import ContainerProcess
from .exception import InvalidError
from .image import Image
from .io_streams import StreamReader, StreamWriter
from .network_file_system import NetworkFileSystem
from .object import Object
from .proxy import Proxy
from .resources import MountPath, check_mounts
from .scheduler_placement import check_regions
from .secret import Secret
from .stream_type import StreamType
from .tunnel import Tunnel
from .types import SandboxConnectCredentials
from .volume import Volume
from .with_aio import MethodWithAio, plain_function, plain_iteration

_INSTEAD: Final = (
    "a subprocess is no sandbox, because it has all your rights on this machine; "
    "for a command that you trust, use subprocess.run([...])"
)
_ROOM: Final = 65536  # bytes that Linux accepts as arguments of a command


@dataclass(frozen=True)
class Probe:
    """The test whether a sandbox is ready: a port that listens, or a command that succeeds.

    Raises:
        InvalidError: unless exactly one of the two is given; see `with_tcp` and `with_exec`.
    """

    tcp_port: int | None = None
    exec_argv: tuple[str, ...] | None = None
    interval_ms: int = 100

    def __post_init__(self) -> None:
        if (self.tcp_port is None) == (self.exec_argv is None):
            raise InvalidError(
                "a Probe looks at a port or runs a command, not both and not neither; "
                'write Probe.with_tcp(8000) or Probe.with_exec("test", "-f", "ready")'
            )

    @classmethod
    def with_tcp(cls, port: int, *, interval_ms: int = 100) -> Probe:
        """Return a probe that succeeds when the port listens.  `interval_ms` is in milliseconds.

        Raises:
            InvalidError: unless 1 <= port <= 65535 and interval_ms > 0.
        """
        if not isinstance(unchecked(port), int) or not 1 <= port <= 65535:
            raise InvalidError(f"port must be from 1 to 65535, got {port!r}; write with_tcp(8000)")
        _check_interval(interval_ms)
        return cls(tcp_port=port, interval_ms=interval_ms)

    @classmethod
    def with_exec(cls, *argv: str, interval_ms: int = 100) -> Probe:
        """Return a probe that succeeds when the command succeeds.

        Raises:
            InvalidError: if there is no command, or a part of the command is not a str.
        """
        if not argv or not all(isinstance(unchecked(each), str) for each in argv):
            raise InvalidError(
                f"with_exec() takes a command as str, got {argv!r}; "
                'write Probe.with_exec("test", "-f", "ready")'
            )
        _check_interval(interval_ms)
        return cls(exec_argv=argv, interval_ms=interval_ms)


def _check_interval(interval_ms: object) -> None:
    if not isinstance(interval_ms, int) or interval_ms <= 0:
        raise InvalidError(
            f"interval_ms must be a whole number above 0, got {interval_ms!r}; write 100"
        )


class SandboxSnapshot(Object):
    """The saved state of a sandbox, kept at Modal."""

    _made_by = 'SandboxSnapshot.from_id("sn-...")'
    _instead = _INSTEAD

    @staticmethod
    @plain_function
    def from_id(sandbox_snapshot_id: str, client: Client | None = None) -> SandboxSnapshot:
        """Name a snapshot by Modal's id."""
        return SandboxSnapshot._new("SandboxSnapshot()")


class Runs(Object):
    """The methods that a sandbox and a sidecar share: both run, and run commands."""

    _instead = _INSTEAD

    @MethodWithAio
    def exec(
        self,
        *args: str,
        stdout: StreamType = StreamType.PIPE,
        stderr: StreamType = StreamType.PIPE,
        timeout: int | None = None,
        workdir: str | None = None,
        env: EnvDict | None = None,
        secrets: Collection[Secret] | None = None,
        text: bool = True,
        bufsize: Literal[-1, 1] = -1,
        pty: bool = False,
    ) -> ContainerProcess[str]:
        raise self._unimplemented("exec")

    @MethodWithAio
    def snapshot_filesystem(self, timeout: int = 55, *, ttl: int | None = 2592000) -> Image:
        raise self._unimplemented("snapshot_filesystem")

    @MethodWithAio
    def snapshot_directory(
        self, path: PurePosixPath | str, *, timeout: int = 55, ttl: int | None = 2592000
    ) -> Image:
        raise self._unimplemented("snapshot_directory")

    @MethodWithAio
    def mount_image(self, path: PurePosixPath | str, image: Image) -> None:
        raise self._unimplemented("mount_image")

    @MethodWithAio
    def unmount_image(self, path: PurePosixPath | str) -> None:
        raise self._unimplemented("unmount_image")

    @MethodWithAio
    def reload_volumes(self, *, timeout: int = 55) -> None:
        raise self._unimplemented("reload_volumes")

    @MethodWithAio
    def wait(self, raise_on_termination: bool = True) -> None:
        raise self._unimplemented("wait")

    @MethodWithAio
    def poll(self) -> int | None:
        raise self._unimplemented("poll")

    @MethodWithAio
    def terminate(self, *, wait: bool = False) -> int | None:
        raise self._unimplemented("terminate")


class Sandbox(Runs):
    """A container at Modal that runs any command.  There is none in this process."""

    _made_by = 'Sandbox.create("command", app=app)'

    @staticmethod
    @plain_function
    def create(
        *args: str,
        app: object = None,
        name: str | None = None,
        tags: dict[str, str] | None = None,
        image: Image | None = None,
        env: EnvDict | None = None,
        secrets: Collection[Secret] | None = None,
        network_file_systems: Mapping[MountPath, NetworkFileSystem] = {},
        timeout: int | None = 300,
        idle_timeout: int | None = None,
        workdir: str | None = None,
        gpu: str | None = None,
        cloud: str | None = None,
        region: str | Sequence[str] | None = None,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        runtime: Literal["gvisor", "vm"] | None = None,
        block_network: bool = False,
        outbound_cidr_allowlist: Sequence[str] | None = None,
        outbound_domain_allowlist: Sequence[str] | None = None,
        inbound_cidr_allowlist: Sequence[str] | None = None,
        volumes: Mapping[MountPath, Volume | CloudBucketMount] = {},
        pty: bool = False,
        encrypted_ports: Sequence[int] = (),
        h2_ports: Sequence[int] = (),
        unencrypted_ports: Sequence[int] = (),
        custom_domain: str | None = None,
        proxy: Proxy | None = None,
        include_oidc_identity_token: bool = False,
        readiness_probe: Probe | None = None,
        verbose: bool = False,
        experimental_options: Mapping[str, object] | None = None,
        client: Client | None = None,
        environment_name: str | None = None,
        cidr_allowlist: Sequence[str] | None = None,
    ) -> Sandbox:
        """Start a sandbox with a command.

        Raises:
            InvalidError: for arguments that Modal refuses before it starts a sandbox.
            UnimplementedError: for all other arguments.
        """
        example = 'write Sandbox.create("echo", "hello", app=app)'
        if not all(isinstance(unchecked(each), str) for each in args):
            raise InvalidError(f"a sandbox takes its command as str, got {args!r}; {example}")
        if sum(len(each.encode()) for each in args) > _ROOM:
            raise InvalidError(f"the arguments of a command are {_ROOM} bytes at most; {example}")
        if env is not None:
            check_env("env", env)
        if name is not None:
            check_name(name, "Sandbox", 'name="my-sandbox"')
        if workdir is not None and not workdir.startswith("/"):
            raise InvalidError(f'workdir must be absolute, got {workdir!r}; write "/{workdir}"')
        if block_network and (encrypted_ports or h2_ports or unencrypted_ports):
            raise InvalidError("no ports are open with block_network=True; leave one of them out")
        check_mounts("volumes", volumes)
        check_mounts("network_file_systems", network_file_systems)
        check_regions("region", region)
        if app is None and config.strict:
            raise InvalidError(f"a sandbox belongs to an app; {example}")
        raise unimplemented("Sandbox.create", _INSTEAD)

    @staticmethod
    @plain_function
    def from_name(
        app_name: str,
        name: str,
        *,
        environment_name: str | None = None,
        include_terminated: bool = False,
        client: Client | None = None,
    ) -> Sandbox:
        raise unimplemented("Sandbox.from_name", _INSTEAD)

    @staticmethod
    @plain_function
    def from_id(sandbox_id: str, client: Client | None = None) -> Sandbox:
        raise unimplemented("Sandbox.from_id", _INSTEAD)

    @staticmethod
    @plain_iteration
    def list(
        *,
        app_id: str | None = None,
        tags: dict[str, str] | None = None,
        client: Client | None = None,
    ) -> Iterator[Sandbox]:
        raise unimplemented("Sandbox.list", _INSTEAD)

    @MethodWithAio
    def detach(self) -> None:
        raise self._unimplemented("detach")

    @MethodWithAio
    def get_tags(self) -> dict[str, str]:
        raise self._unimplemented("get_tags")

    @MethodWithAio
    def set_tags(self, tags: dict[str, str], *, client: Client | None = None) -> None:
        raise self._unimplemented("set_tags")

    @MethodWithAio
    def wait_until_ready(self, *, timeout: int = 300) -> None:
        raise self._unimplemented("wait_until_ready")

    @MethodWithAio
    def tunnels(self, timeout: int = 50) -> dict[int, Tunnel]:
        raise self._unimplemented("tunnels")

    @MethodWithAio
    def create_connect_token(
        self, user_metadata: str | dict[str, Any] | None = None, port: int = 8080
    ) -> SandboxConnectCredentials:
        raise self._unimplemented("create_connect_token")

    @property
    def stdout(self) -> StreamReader[str]:
        raise self._unimplemented("stdout")

    @property
    def stderr(self) -> StreamReader[str]:
        raise self._unimplemented("stderr")

    @property
    def stdin(self) -> StreamWriter:
        raise self._unimplemented("stdin")

    @property
    def returncode(self) -> int | None:
        raise self._unimplemented("returncode")


class SidecarContainer(Runs):
    """An additional container of a sandbox at Modal.  There is none in this process."""

    _made_by = "sandbox.sidecars.create(...)"

    @property
    def name(self) -> str:
        raise self._unimplemented("name")


class SidecarManager:
    """The sidecars of a sandbox at Modal."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    @MethodWithAio
    def create(
        self,
        *args: str,
        name: str,
        image: Image,
        env: Mapping[str, str] | None = None,
        secrets: Collection[Secret] | None = None,
        workdir: str | None = None,
        volumes: Mapping[MountPath, Volume | CloudBucketMount] | None = None,
        outbound_cidr_allowlist: Sequence[str] | None = None,
        outbound_domain_allowlist: Sequence[str] | None = None,
        include_oidc_identity_token: bool = False,
        proxy: Proxy | None = None,
        pty: bool = False,
        experimental_memory_reserve_consume_mib: int | None = None,
    ) -> SidecarContainer:
        raise unimplemented("SidecarManager.create", _INSTEAD)

    @MethodWithAio
    def get(self, *, name: str, include_terminated: bool = False) -> SidecarContainer:
        raise unimplemented("SidecarManager.get", _INSTEAD)

    @MethodWithAio
    def list(self, include_terminated: bool = False) -> list[SidecarContainer]:
        raise unimplemented("SidecarManager.list", _INSTEAD)
