"""The tally of web requests: the counters of one web function.

Owns `WebTally`.  Unlike the other counters of a pool, these are counted on the loops that have the
connections, when a request is over there; so the tally has a lock of its own, a leaf.

Begin at `WebTally.ended`.
"""

from __future__ import annotations

from ..real import Real


class WebTally:
    """Counters, all cumulative but `open_websockets`."""

    __slots__ = ("_lock", "by_class", "bytes_in", "bytes_out", "left", "open_websockets")

    def __init__(self) -> None:
        self._lock = Real.Lock()
        # Guarded by `_lock`:
        self.by_class: list[int] = [0] * 6  # requests that are over, by the class of their status
        self.left: int = 0  # requests whose clients left before a response began
        self.bytes_in: int = 0
        self.bytes_out: int = 0
        self.open_websockets: int = 0

    def opened(self) -> None:
        """Count a WebSocket that was accepted."""
        with self._lock:
            self.open_websockets += 1

    def ended(self, status: int, bytes_in: int, bytes_out: int) -> None:
        """Count a request that is over.

        Args:
            status: the status of the response; 101 of a WebSocket that was open; 0 if there was
                no response.
        """
        with self._lock:
            if status == 0:
                self.left += 1
            else:
                self.by_class[min(status // 100, 5)] += 1
            if status == 101:
                self.open_websockets -= 1
            self.bytes_in += bytes_in
            self.bytes_out += bytes_out

    def add(self, other: WebTally, sign: int) -> None:
        """Add, or with the sign -1 subtract, the counts of `other`."""
        with other._lock:
            seen = [*other.by_class]
            rest = other.left, other.bytes_in, other.bytes_out, other.open_websockets
        with self._lock:
            for index, count in enumerate(seen):
                self.by_class[index] += sign * count
            self.left += sign * rest[0]
            self.bytes_in += sign * rest[1]
            self.bytes_out += sign * rest[2]
            self.open_websockets += sign * rest[3]
