"""Ports: which container of this process has which port.

Owns the table of the ports that containers listen on.  A port is of one container at a time.
``web_server.py`` takes a port before it starts a server of the user's, and gives the port back when
the server has ended.  A container that is a process does so in a table of its own, which knows
nothing of the others; so this process has taken the port for it before it starts: `take_ports`.

Begin at `take_port`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..exception import InvalidError
from ..runtime import forking
from ..runtime.clocks.clock import Waiter, system_clock
from ..runtime.containers.container import ContainerState
from ..runtime.real import Real

# Seconds that a container waits for the port of another, which ends.
LONGEST_WAIT: Final = 30.0

# Seconds in which the server of a container that was killed gives the port free, and those between
# two looks.
FREE_WITHIN: Final = 2.0
LOOKS_EVERY: Final = 0.02

_GOING: Final = frozenset(
    {ContainerState.DRAINING, ContainerState.STOPPING, ContainerState.STOPPED}
)


@dataclass(slots=True)
class Holder:
    """Who has a port."""

    name: str  # the web function, as messages show it
    container: Any
    waiting: list[Waiter] = field(default_factory=list[Waiter])


_lock = Real.Lock()
_holders: Final[dict[int, Holder]] = {}  # guarded by `_lock`


def take_port(port: int, name: str, container: Any) -> None:
    """Take `port` for a container that starts.  On its thread T, with no loop running.

    If another container has the port and is idle, it is stopped, and waited for.

    Raises:
        InvalidError: if the port is taken, by a container that goes on or by another process.
    """
    clock = container.host.clock
    until = clock.now() + LONGEST_WAIT
    while True:
        waiter = clock.make_waiter()
        with _lock:
            holder = _holders.get(port)
            if holder is None:
                _holders[port] = Holder(name, container)
                break
            holder.waiting.append(waiter)
        if not _is_going(holder.container) or not clock.wait(waiter, max(0.0, until - clock.now())):
            raise InvalidError(
                f"{name} needs port {port}, and a container of {holder.name} listens there; "
                "give one of them another port"
            )
    try:
        _check_free(port, name)
    except BaseException:
        give_port_back(port, container)
        raise


def take_ports(ports: Sequence[tuple[str, int]], container: Any) -> Callable[[], object]:
    """Take ports for a container that is a process.  On a thread that may wait, before its start.

    Args:
        ports: the web functions, and the port of each.

    Returns:
        What gives the ports back.  To be called when the process has ended.

    Raises:
        InvalidError: as `take_port`.
    """

    def give_back() -> None:
        for _, port in ports:
            give_port_back(port, container)

    until = system_clock.now() + FREE_WITHIN
    try:
        for name, port in ports:
            while True:
                try:
                    take_port(port, name, container)
                    break
                except InvalidError:
                    # The server of the container before, which was killed, may end just now.
                    if _holder_of(port) is not None or system_clock.now() >= until:
                        raise
                    system_clock.wait(system_clock.make_waiter(), LOOKS_EVERY)
    except BaseException:
        give_back()
        raise
    return give_back


def _holder_of(port: int) -> Holder | None:
    with _lock:
        return _holders.get(port)


def give_port_back(port: int, container: Any) -> None:
    """Give `port` back, if `container` has it."""
    with _lock:
        holder = _holders.get(port)
        if holder is None or holder.container is not container:
            return
        del _holders[port]
    for waiter in holder.waiting:
        waiter.wake()


def _is_going(container: Any) -> bool:
    """Whether a container ends, if need be because it is idle and is stopped now."""
    if container.given_up or container.state in _GOING:
        return True
    if container.state is ContainerState.STARTING:
        return False
    return bool(container.host.evict_idle()) or container.state in _GOING


def _check_free(port: int, name: str) -> None:
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            listener = Real.socket(family, socket.SOCK_STREAM)
        except OSError:
            continue  # this machine has no IPv6
        with listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                listener.bind((host, port))
            except PermissionError:
                continue  # a port below 1024: the server may have the right, or says so itself
            except OSError as error:
                if family == socket.AF_INET6 and error.errno != 98:
                    continue
                pid = pid_at(port)
                who = "another process"
                if pid == os.getpid():
                    who = "a server on a thread of this process"
                elif pid is not None:
                    who = f"another process (pid {pid})"
                raise InvalidError(
                    f"{name} needs port {port}, and {who} listens there; end it, or write another "
                    "port"
                ) from None


def _listeners(port: int) -> Iterator[tuple[str, str]]:
    """Give the address, in hexadecimal, and the inode of each socket that listens on `port`."""
    for name in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", name).read_text().splitlines()[1:]
        except OSError:
            continue  # not Linux
        for line in lines:
            fields = line.split()
            address, _, number = fields[1].rpartition(":")
            if fields[3] == "0A" and int(number, 16) == port:
                yield address, fields[9]


_LOOPBACK: Final = frozenset({"0100007F", "00000000000000000000000001000000"})


def is_loopback_only(port: int) -> bool:
    """Whether what listens on `port` can be reached from this machine only; False if unknown."""
    addresses = [address for address, _ in _listeners(port)]
    return bool(addresses) and all(address in _LOOPBACK for address in addresses)


def pid_at(port: int) -> int | None:
    """Return the process that listens on `port`; None if there is none, or it is unknown."""
    wanted = {f"socket:[{inode}]" for _, inode in _listeners(port)}
    if not wanted:
        return None
    # Of this process first: it can have inherited the socket to others.
    own = str(os.getpid())
    for name in [own, *(n for n in os.listdir("/proc") if n.isdigit() and n != own)]:
        try:
            for number in os.listdir(f"/proc/{name}/fd"):
                if os.readlink(f"/proc/{name}/fd/{number}") in wanted:
                    return int(name)
        except OSError:
            continue  # it has ended, or belongs to another user
    return None


def _after_fork() -> None:
    forking.renew(_lock)
    forking.keep(dict(_holders))
    _holders.clear()


forking.in_child(_after_fork)
