"""Crossing: a web request whose application is in another process.

Owns how the messages of one exchange (``exchange.py``) cross to a container's process and back.
The exchange has two halves anyway; here each of them is in a process of its own, on an `Exchange`
of its own, and notes take the place of the queues between them:

| note | to | number | what it says |
|---|---|---|---|
| MESSAGE | both | where the body is | the next message of the server, or of the application |
| LEFT | container | | the client has left: the message that the application receives |
| REFUSED | container | | the server refuses what the application sends: why |
| TAKEN | both | bytes, or messages of a WebSocket | so much was passed on: there is room for more |
| ASKS | front | | the application asks for the body |
| LETS_GO | front | | the front need not wait for the end of the input |

The windows of back pressure are those of an exchange.  Each half counts what it has sent and has
not heard to be taken; the other half says so when half a window was taken, so a small request has
no such note.

Messages and scopes are written by ``marshal``, which knows plain data only, and runs no code of the
user.  A large body is not copied into it: it follows, as a blob of its own.

Begin at `Crossing` (beside the server), then `Arrived` (in the container).
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from ..runtime.containers.residents import Blob, Line, Note
from .exchange import (
    BODY_WINDOW,
    MESSAGES_WINDOW,
    RESPONSE_WINDOW,
    Application,
    Exchange,
    Message,
    Scope,
    SendError,
)

if TYPE_CHECKING:
    from .mailbox import Mailbox

MESSAGE: Final = 0
LEFT: Final = 1
REFUSED: Final = 2
TAKEN: Final = 3
ASKS: Final = 4
LETS_GO: Final = 5

# Bytes of a body that is not copied into its message.
LARGE: Final = 32 * 1024

# Where the body of a message is, beside the message: the number of MESSAGE.
_BODIES: Final = (None, "body", "bytes")


class Crossing:
    """The half of an exchange that is beside the server: see `RemoteVisit`.

    `write` and `took` are called on the front's loop, `heard` on the thread that reads.
    """

    __slots__ = ("_exchange", "_has_left", "_line", "_taken")

    def __init__(self, exchange: Exchange, line: Line) -> None:
        self._exchange = exchange
        self._line = line
        self._taken = 0  # that the other half was not told
        self._has_left = False  # the other half was told

    def write(self) -> None:
        """Send what the application may receive."""
        messages, gone, refused = self._exchange.take_received()
        notes = [packed_message(message) for message in messages]
        if refused is not None:
            notes.append((REFUSED, 0, (str(refused).encode("utf-8", "replace"),)))
        if gone is not None and not self._has_left:
            self._has_left = True
            notes.append((LEFT, 0, (_dumped(dict(gone)),)))
        if notes:
            self._line.send(*notes)

    def took(self, size: int) -> None:
        """Note that the server has taken `size` of the window of the response."""
        self._taken += size
        if self._taken >= RESPONSE_WINDOW // 2:
            taken, self._taken = self._taken, 0
            self._line.send((TAKEN, taken, ()))

    def heard(self, kind: int, number: int, data: Sequence[Blob]) -> None:
        exchange = self._exchange
        if kind == MESSAGE:
            exchange.application_sent(message_of(number, data))
        elif kind == ASKS:
            exchange.application_asked()
        elif kind == TAKEN:
            exchange.application_took(number)
        elif kind == LETS_GO:
            exchange.let_go()


class Arrived(Exchange):
    """The half of an exchange that is in the container: see `ArrivedVisit`.

    Its loop is the container's; `heard` is called on the thread that reads.
    """

    __slots__ = ("_came", "_has_asked", "_line", "_told")

    def __init__(self, line: Line, resident: str, scope: Scope) -> None:
        super().__init__(resident, scope)
        self._line = line
        self._has_asked = False  # the front was told
        self._told = 0  # what the front was told to be taken
        self._came = 0  # guarded by `_lock`: of the window of the body, what has come

    def _make_front(self) -> Mailbox:
        nobody: Any = None  # the front is elsewhere, and `_post` is another one here
        front: Mailbox = nobody
        return front

    # -- what the application does: on the container's loop ------------------------------

    async def _receive(self) -> Message:
        message = await super()._receive()
        with self._lock:
            taken = self._came - self._unread - self._told
        if taken >= (MESSAGES_WINDOW if self.is_websocket else BODY_WINDOW) // 2:
            self._told += taken
            self._line.send((TAKEN, taken, ()))
        return message

    async def _send(self, message: Message) -> None:
        await self._send_checked(self._checked(message))

    def _checked(self, message: Message) -> Message:
        kept = _Kept(super()._checked(message))
        try:
            kept.note = packed_message(kept)
        except ValueError as error:
            raise SendError(
                f"{message['type']!r} has {error}, and the server is in another process; "
                "send plain data"
            ) from None
        return kept

    def _post(self) -> None:
        with self._lock:
            messages, self._outbox = self._outbox, None
            lets_go, self._let_go = self._let_go, False
            asks = self._asked and not self._has_asked
            self._has_asked = self._asked
        notes: list[Note] = []
        if asks:
            notes.append((ASKS, 0, ()))
        for message in messages or ():
            assert isinstance(message, _Kept)
            notes.append(message.note)
        if lets_go:
            notes.append((LETS_GO, 0, ()))
        if notes:
            self._line.send(*notes)

    async def pay(self, application: Application, task: Any) -> None:
        try:
            await super().pay(application, task)
        finally:
            self._post()  # the start of a response that has no body yet

    # -- what the front says ----------------------------------------------------------------

    def heard(self, kind: int, number: int, data: Sequence[Blob]) -> None:
        with self._lock:
            if kind == MESSAGE:
                message = message_of(number, data)
                size = self._size(message)
                self._inbox = [*(self._inbox or ()), message]
                self._unread += size
                self._came += size
            elif kind == LEFT:
                self._gone = marshal.loads(data[0])
            elif kind == REFUSED:
                self._front_error = SendError(str(bytes(data[0]), "utf-8"))
            elif kind == TAKEN:
                self._unsent -= number
                if self._unsent > RESPONSE_WINDOW // 2:
                    return
        self._wake_back()


class _Kept(dict[str, Any]):
    """A message of the application, and its note."""

    __slots__ = ("note",)

    note: Note


# -- bytes ------------------------------------------------------------------------------


def packed_request(exchange: Exchange) -> Sequence[Blob]:
    """Return what `arrive` makes the other half of.

    Of the scope, what is no plain data stays here: the objects that a service's middleware notes.
    """
    scope = dict(exchange.scope)
    scope.pop("state", None)  # of the server in front; the application gets its own
    return (_dumped((exchange.resident, scope), drops=True),)


def arrive(line: Line, data: Sequence[Blob]) -> Arrived:
    """Return the half of an exchange that is in the container."""
    resident, scope = marshal.loads(data[0])
    return Arrived(line, resident, scope)


def packed_message(message: Message) -> Note:
    """Return the note of a message.

    Raises:
        ValueError: if it has something else than plain data, which the text names.
    """
    for number, name in enumerate(_BODIES):
        body = None if name is None else message.get(name)
        if type(body) is bytes and len(body) >= LARGE:
            rest = {key: value for key, value in message.items() if key != name}
            return MESSAGE, number, (_dumped(rest), body)
    return MESSAGE, 0, (_dumped(dict(message)),)


def message_of(number: int, data: Sequence[Blob]) -> Message:
    """Return the message of a note."""
    message: Message = marshal.loads(data[0])
    name = _BODIES[number]
    if name is not None:
        message[name] = bytes(data[1])
    return message


def _dumped(value: Any, *, drops: bool = False) -> bytes:
    try:
        return marshal.dumps(value)
    except ValueError:
        return marshal.dumps(_plain(value, drops=drops))


# How deep plain data may be.
_DEEPEST: Final = 20


def _plain(value: object, *, drops: bool, depth: int = 0) -> Any:
    """Return `value` with plain types in the place of their subclasses.

    Args:
        drops: leave out entries of mappings that are no plain data.

    Raises:
        ValueError: if it is no plain data.
    """
    kind = type(value)
    if value is None or kind in (bool, int, float, str, bytes):
        return value
    if isinstance(value, (bytearray, memoryview)):
        return bytes(cast("bytearray", value))
    # Not by methods of the value, which are the user's.
    if isinstance(value, bytes):
        return b"".join([value])
    if isinstance(value, str):
        return "".join([value])
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if depth < _DEEPEST:
        if isinstance(value, tuple):
            many = cast("Iterable[object]", value)
            return tuple(_plain(each, drops=drops, depth=depth + 1) for each in many)
        if isinstance(value, (list, set, frozenset)):
            some = cast("Iterable[object]", value)
            return [_plain(each, drops=drops, depth=depth + 1) for each in some]
        if isinstance(value, Mapping):
            made: dict[Any, Any] = {}
            entries = cast("Mapping[object, object]", value)
            for key, each in entries.items():
                try:
                    made[_plain(key, drops=drops)] = _plain(each, drops=drops, depth=depth + 1)
                except ValueError:
                    if not drops:
                        raise
            return made
    raise ValueError(f"an object of the type {kind.__name__}")
