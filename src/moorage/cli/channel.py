"""The channel between the server process and the process that serves.

Owns `Channel`: messages (JSON objects) over a pair of Unix sockets, each with a file descriptor or
none.  ``supervisor.py`` has one end, ``child.py`` the other.

Begin at `Channel.send`.
"""

from __future__ import annotations

import json
import socket
from typing import Any, Final

from ..runtime.real import Real

Message = dict[str, Any]

# The bytes of the length in front of each message.
_LENGTH: Final = 4

# Descriptors that are received are closed in programs that the process starts.
_CLOSED_BY_EXEC: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Channel:
    """One end.  Any thread may send; one thread receives."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._lock = Real.Lock()

    def send(self, message: Message, descriptor: int | None = None) -> bool:
        """Send a message, with a descriptor or none; false if the other end is gone."""
        data = json.dumps(message).encode()
        with self._lock:
            try:
                descriptors = [] if descriptor is None else [descriptor]
                # Of the length alone, which is never sent in part.
                socket.send_fds(self._end, [len(data).to_bytes(_LENGTH, "big")], descriptors)
                self._end.sendall(data)
            except OSError:
                return False
        return True

    def receive(self) -> tuple[Message, int | None] | None:
        """Return the next message and its descriptor; None if the other end is gone."""
        try:
            head, descriptors, _, _ = socket.recv_fds(self._end, _LENGTH, 1, _CLOSED_BY_EXEC)
            data = self._exactly(int.from_bytes(head, "big")) if head else None
        except OSError:
            return None
        if data is None:
            return None
        message: Message = json.loads(data)
        return message, next(iter(descriptors), None)

    def _exactly(self, size: int) -> bytes | None:
        parts: list[bytes] = []
        while size:
            part = self._end.recv(size)
            if not part:
                return None
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Close this end.  Only when nobody receives any more."""
        self._end.close()

    def shut_down(self) -> None:
        """End both directions: a thread that receives, at either end, gets None."""
        try:
            self._end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
