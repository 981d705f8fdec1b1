"""Exchanges: one web request on its way between two event loops.

Owns the messages of one HTTP request or WebSocket: from the *front* (the loop that has the
connection) to the *back* (the loop of the container that runs the application), and back again.
The messages are those of ASGI.  The front half is `Exchange.relay`, which ``bridge.py`` runs as
the request's task on the front loop; the back half is `Exchange.pay`, which runs the
application in a container, as the code of the request's input.

A lock of the exchange's own guards the two queues; it is a leaf: nothing is called while it is
held.  Each half wakes the other by the mailbox of the other's loop, once for many messages.

Back pressure: the application's `send` waits while more than `RESPONSE_WINDOW` bytes are on their
way; the front reads no more than `BODY_WINDOW` bytes, or `MESSAGES_WINDOW` messages of a
WebSocket, that the application has not received.

If the container is another process, the back half is there, on an exchange of its own, and
``crossing.py`` carries the messages: see `Exchange.departs`.

Begin at `Exchange.pay`, then `_send_checked` and `_receive`; then `Exchange.relay`.  `_puts_whole`
and `_pass_whole` are a shorter way for a response that is sent whole.
"""

from __future__ import annotations

import asyncio
import enum
import functools
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..runtime.clocks.timekeeper import Timer
from ..runtime.labels import Shown
from ..runtime.outcome import Outcome
from ..runtime.pools.web_tally import WebTally
from ..runtime.real import Real
from .driven import Driven
from .mailbox import Mailbox, mailbox_here

if TYPE_CHECKING:
    import anyio

    from ..runtime.containers.residents import Blob, Line
    from .crossing import Crossing

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# Bytes of a response, or of a WebSocket's messages, that may be on their way to the front.
RESPONSE_WINDOW: Final = 256 * 1024

# Bytes of a request's body, and messages of a WebSocket, that the application has not received.
BODY_WINDOW: Final = 64 * 1024
MESSAGES_WINDOW: Final = 16

# The least that a message of a WebSocket takes of `RESPONSE_WINDOW`.
SHARE: Final = RESPONSE_WINDOW // MESSAGES_WINDOW

# Seconds that the front waits with the last message of a response for the end of the input,
# so that the client's next request finds the slot free.  The application mostly returns right
# after that message.  It may also block its loop, and the client must not wait for that.
# Many times the interval after which Python switches threads (5 ms): a container's thread that
# waits for the interpreter, on a busy machine, must not look like a blocked loop, or the client's
# next request starts a container.
HELD_AT_MOST: Final = 0.1


# The code with which a WebSocket is closed because its run is being left.
GOES_AWAY: Final = 1012


# The most characters of a path that messages show.
LONGEST_PATH: Final = 200


class SendError(RuntimeError):
    """The application sent a message that may not come now."""


class ClientLeft(OSError):
    """The application sent a message of a WebSocket whose client has left."""


class Phase(enum.Enum):
    """What the application may send next."""

    RESPONSE = "http.response.start"
    BODY = "http.response.body"
    HANDSHAKE = "websocket.accept"
    MESSAGES = "websocket.send"
    DENIAL = "websocket.http.response.body"
    ENDED = "ended"


# The messages that an application may send in each phase, by the phase's value.
_ALLOWED: Final = {
    Phase.RESPONSE.value: ("http.response.start",),
    Phase.BODY.value: ("http.response.body",),
    Phase.HANDSHAKE.value: (
        "websocket.accept",
        "websocket.close",
        "websocket.http.response.start",
    ),
    Phase.MESSAGES.value: ("websocket.send", "websocket.close"),
    Phase.DENIAL.value: ("websocket.http.response.body",),
    Phase.ENDED.value: (),
}

# The phases as globals: to read a member from its class takes ten times as long.
_RESPONSE: Final = Phase.RESPONSE
_BODY: Final = Phase.BODY
_HANDSHAKE: Final = Phase.HANDSHAKE
_MESSAGES: Final = Phase.MESSAGES
_DENIAL: Final = Phase.DENIAL
_ENDED: Final = Phase.ENDED

# Extensions of ASGI that work through an exchange.  The application is shown no others that the
# server may have: they would send messages of other types, or end a response in another way.
_EXTENSIONS: Final = frozenset({"tls", "websocket.http.response"})


# What Starlette and FastAPI note in a scope while a service routes a request to us.  The
# application would take the routes of the service for its own, and fail in `url_for`.
_OF_A_SERVICE: Final = (
    *("app", "app_root_path", "router", "route", "endpoint"),
    *("starlette.exception_handlers", "fastapi_inner_astack", "fastapi_function_astack"),
    "fastapi_middleware_astack",
)


class CanBeLeft(Protocol):
    """The call of a request, as its exchange sees it."""

    def left(self) -> object: ...


class Exchange(Shown):
    """One request between its front and its back."""

    __slots__ = (
        "_asked",
        "_back",
        "_back_loop",
        "_began",
        "_body_complete",
        "_cancels",
        "_close",
        "_crossing",
        "_front_error",
        "_gone",
        "_has_sent",
        "_head",
        "_inbox",
        "_is_empty",
        "_is_whole",
        "_let_go",
        "_lock",
        "_muted",
        "_outbox",
        "_packed",
        "_phase",
        "_posted",
        "_readers",
        "_room",
        "_turn_due",
        "_unread",
        "_unsent",
        "_woken",
        "answered",
        "call",
        "counts",
        "dismissed",
        "driven",
        "front",
        "is_websocket",
        "leaving",
        "outcome",
        "received",
        "refused",
        "resident",
        "scope",
        "sent",
        "status",
    )

    def __init__(self, resident: str, scope: Scope) -> None:
        kind = scope["type"]
        self.is_websocket: bool = kind == "websocket"
        method = "WEBSOCKET" if self.is_websocket else scope["method"]
        path: str = scope["path"]
        if len(path) > LONGEST_PATH or not path.isprintable():
            path = repr(path[:LONGEST_PATH])[1:-1]  # a line of a log stays one line
        super().__init__(f"{method} {path}")
        self.resident: str = resident  # the name of the application that answers
        # A copy: the application changes its scope, on another thread than the server that made
        # this one.  ``spec_version`` is as with uvicorn: 2.3 tells Starlette to look for the
        # disconnect of a client by `receive`.
        scope = dict(scope)
        if "router" in scope:
            for key in _OF_A_SERVICE:
                scope.pop(key, None)
        self.scope: Scope = scope
        version = "2.4" if self.is_websocket else "2.3"
        asgi: dict[str, str] = {"version": "3.0", "spec_version": version}
        if scope.get("asgi") != asgi:  # else one object less
            scope["asgi"] = asgi
        if scope.get("extensions"):
            known = scope["extensions"].items()
            scope["extensions"] = {name: value for name, value in known if name in _EXTENSIONS}
        self.front: Mailbox = self._make_front()
        # How the input ended; None until then.  Written under the lock of the pool, and read by
        # both halves without that lock.  All messages of the application are in the queue by then.
        self.outcome: Outcome | None = None
        # Cancels the input some time after the client has left; None if there is no such timer.
        self.leaving: Timer | None = None
        self.counts: WebTally | None = None  # of the pool; set before the request is submitted
        # Of the front only:
        self.call: CanBeLeft | None = None  # `left` is called once, when the client has left
        self.status: int = 0  # of the response that began; 101 of a WebSocket; 0 until then
        self.refused: BaseException | None = None  # raised by the server, which took no message
        self.answered: bool = False  # the last message has been sent
        self.dismissed: float | None = None  # see `dismiss`
        self._began: Message | None = None  # the start of the response
        self.sent: int = 0  # bytes of the response
        self.received: int = 0  # bytes of the body
        self.driven: Driven | None = None  # runs `relay`; None if a task does
        # What `relay` waits for: a future of a task, or `driven`.
        self._woken: asyncio.Future[None] | Driven | None = None
        self._body_complete: bool  # the server has no more of the body
        # If the back is in another process: what takes its place, and what is made of there.
        self._crossing: Crossing | None = None
        self._packed: tuple[Sequence[Blob], Callable[[Exchange, Line], Crossing]] | None = None
        # Of the back only:
        self._back: Mailbox | None = None
        self._back_loop: asyncio.AbstractEventLoop | None = None
        self._phase = _HANDSHAKE if self.is_websocket else _RESPONSE
        self._close: Message | None = None  # the message by which the application closed
        # The start of the response, until the body comes, or the turn of the loop is over.
        self._head: Message | None = None
        self._turn_due = False  # `_turn` is scheduled
        self._cancels: anyio.CancelScope | None = None  # around the application, while it runs
        # The input was cancelled, or ran out of time, and what the application sends is dropped.
        self._muted = False

        self._lock = Real.Lock()
        # Guarded by `_lock`:
        # Few objects for the garbage collector: it looks at those of all requests again and again.
        self._inbox: list[Message] | None = None  # or no list, if there are none
        self._outbox: list[Message] | None = None  # or no list, if there are none
        self._readers: tuple[asyncio.Future[None], ...] = ()  # tasks of the back in `receive`
        self._room: tuple[asyncio.Future[None], ...] = ()  # tasks of the back in `send`
        self._unread: int = 0  # bytes, or messages, that the application has not received
        self._unsent = 0  # bytes that the front has not sent
        self._asked = False  # the application has asked for the body
        self._has_sent = False  # the application has sent something
        self._gone: Message | None = None  # the message that says that the client has left
        self._is_whole = False  # `_outbox` is the start of a response, and its whole body
        self._posted = False  # the front will look at `_outbox`
        self._let_go = False  # the front need not wait for the end of the input
        self._front_error: BaseException | None = None  # raised by the front's `send`
        # The application has not received the end of the body of a request without a body.
        self._is_empty = kind == "http" and not has_body(scope)
        self._body_complete = self._is_empty

    def _make_front(self) -> Mailbox:
        return mailbox_here()

    def count(self) -> None:
        """Count the request, which is over.  Called once."""
        if self.counts is not None:
            self.counts.ended(self.status, self.received, self.sent)

    # -- the back: in a container -----------------------------------------------------

    async def pay(self, application: Application, task: Any) -> None:
        """Run the application for this request: see `Visit`.

        A cancellation goes through a cancel scope: then a sync handler that the application runs
        on a thread of anyio keeps the slot until its thread is out.

        Args:
            task: the task of the input.
        """
        self._back = mailbox_here()
        self._back_loop = self._back.loop
        try:
            with _scope_class()() as scope:
                self._cancels, task.cancels = scope, self
                await application(self.scope, self._receive, self._send)
        finally:
            if self._head is not None:
                self._put_head(self._head)  # of a response without a body
        self._cancels = None
        if scope.cancelled_caught:
            raise asyncio.CancelledError

    def cancel(self) -> None:
        """Cancel the application.

        The client gets 504 or 503, or a response that breaks off, also if the application catches
        its cancellation and answers: else the end of the response would look like its regular end.
        The application may still close a WebSocket, with a code of its own.
        """
        self._muted = self._phase is not _MESSAGES
        if self._cancels is not None:
            self._cancels.cancel()

    async def _receive(self) -> Message:
        while True:
            with self._lock:
                if self._is_empty:
                    self._is_empty = False
                    return {"type": "http.request", "body": b"", "more_body": False}
                if self._inbox:
                    message = self._inbox.pop(0)
                    before = self._unread
                    self._unread -= self._size(message)
                    asks = self._has_room(before) is not self._has_room(self._unread)
                    break
                if self._gone is not None or self._phase is _ENDED:
                    return dict(self._gone or self._disconnect())
                assert self._back_loop is not None
                reader = self._back_loop.create_future()
                self._readers += (reader,)
                asks, self._asked = not self._asked, True
            if asks:
                self._post()
            try:
                await reader
            finally:
                with self._lock:
                    self._readers = tuple(other for other in self._readers if other is not reader)
        if asks:
            self._post()
        return message

    async def _send(self, message: Message) -> None:
        # First what most applications send: the start, and then the whole body in one message,
        # without waiting in between.  It is put into the queue in one step.
        kind, head = message["type"], self._head
        if head is not None:
            if kind == "http.response.body" and self._puts_whole(head, message):
                return
            self._put_head(head)
        elif kind == "http.response.start" and self._phase is _RESPONSE:
            head = dict(message)
            _own_start(head)
            self._head, self._phase = head, _BODY
            self._at_next_turn()
            return
        await self._send_checked(self._checked(message))

    def _puts_whole(self, head: Message, message: Message) -> bool:
        """Put a whole response into the queue; false if there is more to it than that."""
        body = message.get("body")
        if (
            type(body) is not bytes
            or message.get("more_body")
            or len(body) > RESPONSE_WINDOW
            or self._muted
        ):
            return False
        with self._lock:
            if self._gone is not None or self._readers:
                return False
            self._head, self._phase = None, _ENDED
            self._outbox, self._is_whole = [head, dict(message)], True
            self._unsent += len(body)
            self._has_sent = True
            posts, self._posted = not self._posted, True
        if posts:
            self.front.post(self._wake)
        return True

    def _put_head(self, head: Message) -> None:
        """Put the start of a response into the queue."""
        self._head = None
        if not self._muted:
            with self._lock:
                self._outbox = [head]  # nothing comes before it
                self._has_sent = True

    async def _send_checked(self, message: Message) -> None:
        if self._muted:
            return
        size = self._weight(message)
        ended = self._phase is _ENDED
        with self._lock:
            if self._front_error is not None:
                error, self._front_error = self._front_error, None
                raise error
            if self._gone is not None:
                if self.is_websocket:
                    raise ClientLeft("the client of this WebSocket has left")
                return  # nobody reads it: as servers do
            if self._outbox is None:
                self._outbox = [message]
            else:
                self._outbox.append(message)
            self._unsent += size
            self._has_sent = True
            posts = not self._posted
            is_full = self._unsent > RESPONSE_WINDOW
            readers = self._take_readers() if ended else ()
        for reader in readers:
            _finish(reader)
        if message["type"] == "http.response.start":
            # The first part of the body mostly follows at once, and takes this one along.
            self._at_next_turn()
            return
        if ended:
            self._at_next_turn()
        if posts:
            self._post()
        while is_full:
            assert self._back_loop is not None
            with self._lock:
                if self._unsent <= RESPONSE_WINDOW // 2 or self._gone is not None:
                    break
                room = self._back_loop.create_future()
                self._room += (room,)
            await room

    def _checked(self, message: Message) -> Message:
        """Return a copy of a message that may come now.

        A copy, because the application may use the message, its headers and its buffer again as
        soon as `send` has returned.

        Raises:
            SendError: if the message may not come now: in `send`, as servers do.
        """
        kind, phase = message["type"], self._phase
        if kind not in _ALLOWED[phase._value_]:  # the hash of an enum's member is a call
            if phase is _ENDED:
                raise SendError(f"{kind!r} came after the last message; send nothing after it")
            raise SendError(f"{kind!r} may not come now; expected {phase.value!r}")
        message = dict(message)
        if phase is _BODY or phase is _DENIAL:
            body = message.get("body", b"")
            if type(body) is not bytes:
                message["body"] = b"" if body is None else bytes(memoryview(body))
            if not message.get("more_body", False):
                self._phase = _ENDED
        elif kind == "websocket.send":
            data = message.get("bytes")
            if data is not None and type(data) is not bytes:
                message["bytes"] = bytes(memoryview(data))
        elif kind == "websocket.close":
            self._close, self._phase = message, _ENDED
        elif kind == "websocket.accept":
            message["headers"] = list(message.get("headers") or ())
            self._phase = _MESSAGES
        else:
            _own_start(message)
            self._phase = _DENIAL if self.is_websocket else _BODY
        return message

    def _at_next_turn(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            assert self._back is not None
            self._back.soon(self._turn)

    def _turn(self) -> None:
        """Make the front send what it has, after the callback in which the application sent it."""
        self._turn_due = False
        if self.outcome is not None:
            return  # the input has ended, and the front knows
        if self._phase is _ENDED:
            # Not yet: `soon` calls this maybe in the same turn of the loop.
            assert self._back_loop is not None
            self._back_loop.call_soon(self._let_front_go)
            return
        if self._head is not None:
            self._put_head(self._head)
        with self._lock:
            posts = bool(self._outbox) and not self._posted
        if posts:
            self._post()

    def _let_front_go(self) -> None:
        """Have the front send the last message: the application has had a turn, and goes on."""
        if self.outcome is None:
            self.let_go()

    def _post(self) -> None:
        with self._lock:
            if self._posted:
                return
            self._posted = True
        self.front.post(self._wake)

    def settled(self) -> None:
        """Wake the front, which reads `outcome`.  On any thread, with no lock held."""
        if self.leaving is not None:
            self.leaving.cancel()
        self._post()

    # -- the front: on the loop that has the connection ----------------------------------

    def _wake(self) -> None:
        """Let `relay` look at the exchange again.  Called by the loop, in no task."""
        woken = self._woken
        if isinstance(woken, Driven):
            self._woken = None
            woken.resume()
        elif woken is not None:
            _finish(woken)

    def _wake_soon(self) -> None:
        """Do the same, within code of the front that must not be entered again."""
        woken = self._woken
        if isinstance(woken, Driven):
            self.front.soon(self._wake)
        elif woken is not None:
            _finish(woken)

    async def relay(self, receive: Receive, send: Send, *, watches: bool = False) -> Outcome | None:
        """Pass messages on until the response is complete, or the input has ended.

        Args:
            watches: ask `receive` whether the client has left, once there is no more body.

        Returns:
            How the input ended, if it ended without a complete response; else None.
        """
        loop = self.front.loop
        reading: asyncio.Task[None] | None = None
        may_hold = True
        try:
            if self.driven is not None and self._body_complete and not watches:
                # There is nothing to do before the application sends something.
                with self._lock:
                    waits = not self._posted
                    if waits:
                        self._woken = self.driven
                if waits:
                    try:
                        await self.driven
                    finally:
                        self._woken = None
            while True:
                with self._lock:
                    self._posted = False
                    # Not before `_posted` is reset: `settled` posts nothing while it is set.
                    #     1. this loop reads `outcome`, which is None, 2. the input ends, and
                    #     `_post` finds `_posted` set, 3. this loop resets `_posted`, and waits
                    #     for a wake-up that nobody sends.
                    outcome = self.outcome
                    messages, self._outbox = self._outbox, None
                    reads = (self._asked or self.is_websocket) and self._has_room(self._unread)
                    let_go = self._let_go
                    is_whole, self._is_whole = self._is_whole, False
                if is_whole and outcome is not None and self._gone is None:
                    assert messages is not None
                    await self._pass_whole(messages, send)
                    return None if self.answered else outcome
                last = None
                if (
                    may_hold
                    and messages
                    and outcome is None
                    and not let_go
                    and self._is_last(messages[-1])
                ):
                    last = messages.pop()
                if messages:
                    await self._pass_on(messages, send)
                if self.answered:
                    return None
                if last is not None:
                    with self._lock:
                        self._outbox = [last, *(self._outbox or ())]
                elif outcome is not None and not messages:
                    return outcome
                elif messages:
                    continue
                if (reading is None or reading.done()) and not self.has_left:
                    if not self._body_complete:
                        if reads:
                            reading = loop.create_task(self._read(receive))
                    elif watches:
                        reading = loop.create_task(self._read(receive))
                with self._lock:
                    if self._posted:
                        continue
                    self._woken = self.driven or loop.create_future()
                timer = None if last is None else loop.call_later(HELD_AT_MOST, self._wake)
                try:
                    await self._woken
                finally:
                    self._woken = None
                    if timer is not None:
                        timer.cancel()
                may_hold = last is None
        finally:
            if reading is not None:
                reading.cancel()

    async def _pass_on(self, messages: list[Message], send: Send) -> None:
        freed = 0
        try:
            for message in messages:
                length = _length(message)
                freed += max(length, SHARE) if self.is_websocket else length
                if self._gone is not None:
                    continue
                kind = message["type"]
                if kind.endswith("response.start"):
                    self.status, self._began = message["status"], message
                    if self.dismissed is not None:
                        self._end_stream()
                elif kind == "websocket.accept":
                    self.status = 101
                    if self.counts is not None:
                        self.counts.opened()
                await send(message)
                self.sent += length
                self.answered = self._is_last(message)
        except Exception as error:
            self._not_sent(error)
        # After the last message nothing is on its way.  Then the application still waits in `send`
        # only if this pass freed what it waits for.
        if freed > RESPONSE_WINDOW // 2 or (freed and not self.answered):
            if self._crossing is not None:
                self._crossing.took(freed)
            with self._lock:
                before = self._unsent
                self._unsent -= freed
                wakes = self._unsent <= RESPONSE_WINDOW // 2 < before and bool(self._room)
            if wakes:
                self._wake_back()

    async def _pass_whole(self, messages: list[Message], send: Send) -> None:
        """Do the same with a whole response of an application that has ended."""
        head, body = messages
        self.status, self._began = head["status"], head
        try:
            await send(head)
            await send(body)
        except Exception as error:
            self._not_sent(error)
            return
        self.sent = len(body["body"])
        self.answered = True

    def _not_sent(self, error: Exception) -> None:
        if not isinstance(error, OSError):  # which says that the client has left
            # The server refuses what the application sent.
            with self._lock:
                self._front_error = error
            self.refused = error
        self.leave()

    async def _read(self, receive: Receive) -> None:
        """Read the body, or the messages of a WebSocket, while there is room for them.

        If there is no more body, wait until the client leaves.
        """
        while not self.has_left:
            was_complete = self._body_complete
            try:
                message = await receive()
            except Exception:  # the connection is gone
                self.leave()
                return
            kind = message["type"]
            if kind in ("http.disconnect", "websocket.disconnect"):
                self.leave(message=message)
                return
            self.received += _length(message)
            if was_complete:
                continue
            if kind == "http.request":
                self._body_complete = not message.get("more_body", False)
            with self._lock:
                if self._inbox is None:
                    self._inbox = [message]
                else:
                    self._inbox.append(message)
                self._unread += self._size(message)
                goes_on = self._has_room(self._unread)
            self._wake_back()
            if self._body_complete or not goes_on:
                self._wake_soon()  # `relay` decides whether there is more to read
                return

    @property
    def is_under_way(self) -> bool:
        """Whether something has passed that cannot pass a second time.

        That is a part of the response; or the request's body, once the application has asked for
        it, because the server gives the body once.  A WebSocket is under way from its beginning.
        """
        return self.is_websocket or self._has_sent or self._asked

    @property
    def client(self) -> str:
        """The address of the client; "" if the server does not say."""
        address: Any = self.scope.get("client")
        return f"{address[0]}:{address[1]}" if address else ""

    @property
    def has_left(self) -> bool:
        """Whether the client has left."""
        return self._gone is not None

    def leave(self, *, message: Message | None = None) -> None:
        """Note that the client has left: the application receives a disconnect.

        Args:
            message: the disconnect that the server gave.
        """
        with self._lock:
            is_first, self._gone = self._gone is None, self._gone or message or self._disconnect()
        if not is_first or self.answered:
            return
        if self.call is not None:
            self.call.left()
        self._wake_back()
        self._wake_soon()

    def dismiss(self, seconds: float) -> None:
        """End what has no end of its own: the run is being left.  From any thread.

        The application of a WebSocket, or of a stream of events, receives a disconnect, and its
        input is cancelled `seconds` later.  Other requests go on.
        """
        self.front.post(partial(self._dismiss, seconds))

    def _dismiss(self, seconds: float) -> None:
        if self.dismissed is None:
            self.dismissed = seconds
            if self.is_websocket or self._began is not None:
                self._end_stream()

    def _end_stream(self) -> None:
        if self.is_websocket:
            self.leave(message={"type": "websocket.disconnect", "code": GOES_AWAY, "reason": ""})
        elif self._began is not None and _is_stream_of_events(self._began):
            self.leave()

    def _wake_back(self) -> None:
        if self._crossing is not None:
            self._crossing.write()
            return
        back = self._back
        if back is not None:
            back.post(self._look)

    def _look(self) -> None:
        """Let the tasks of the application look at the exchange again.  On the back's loop."""
        with self._lock:
            readers = self._take_readers()
            room, self._room = self._room, ()
        for waits in (*readers, *room):
            _finish(waits)

    def _take_readers(self) -> tuple[asyncio.Future[None], ...]:
        readers, self._readers = self._readers, ()
        return readers

    # -- the back in another process: see ``crossing.py`` --------------------------------

    def will_cross(
        self, packed: Sequence[Blob], make: Callable[[Exchange, Line], Crossing]
    ) -> None:
        """Get ready to cross.  On the front's loop, before the request is submitted.

        Args:
            packed: what the other half is made of.
            make: makes what takes the place of the back here.
        """
        self._packed = packed, make

    def departs(self, line: Line) -> Sequence[Blob]:
        """Let the back be in another process.  See `RemoteVisit.departs`."""
        assert self._packed is not None
        packed, make = self._packed
        self._crossing = make(self, line)
        return packed

    def departed(self) -> None:
        """Send what the server has given before there was a container."""
        if self._inbox or self._gone is not None:
            self.front.post(self._wake_back)

    def heard(self, kind: int, number: int, data: Sequence[Blob]) -> None:
        """See `HalfVisit.heard`."""
        if self._crossing is not None:
            self._crossing.heard(kind, number, data)

    def take_received(self) -> tuple[Sequence[Message], Message | None, BaseException | None]:
        """Take what the application may receive: messages, the disconnect, and a refusal."""
        with self._lock:
            messages, self._inbox = self._inbox, None
            refused, self._front_error = self._front_error, None
            return messages or (), self._gone, refused

    def application_sent(self, message: Message) -> None:
        """Take a message of the application."""
        with self._lock:
            self._has_sent = True
            if self._outbox is None:
                self._outbox = [message]
            else:
                self._outbox.append(message)
            self._unsent += self._weight(message)
        self._post()

    def application_asked(self) -> None:
        """Note that the application asks for the body."""
        with self._lock:
            self._asked = True
        self._post()

    def application_took(self, size: int) -> None:
        """Note that the application has received `size` of the window of the body."""
        with self._lock:
            self._unread -= size
        self._post()

    def let_go(self) -> None:
        """Have the front send the last message, though the input has not ended."""
        with self._lock:
            self._let_go = True
        self._post()

    # -- what the messages are -----------------------------------------------------------

    def _disconnect(self) -> Message:
        if self.is_websocket:
            closed = self._close or {}
            code = closed.get("code", 1000) if closed else 1006
            reason = closed.get("reason") or ""
            return {"type": "websocket.disconnect", "code": code, "reason": reason}
        return {"type": "http.disconnect"}

    def _size(self, message: Message) -> int:
        """What a message takes of the room in the inbox: see `_has_room`."""
        return 1 if self.is_websocket else len(message.get("body") or b"")

    def _has_room(self, unread: int) -> bool:
        return unread < (MESSAGES_WINDOW if self.is_websocket else BODY_WINDOW)

    def _weight(self, message: Message) -> int:
        """What a message takes of `RESPONSE_WINDOW`."""
        if self.is_websocket:
            return max(_length(message), SHARE)
        return _length(message)

    def _is_last(self, message: Message) -> bool:
        kind = message["type"]
        if kind == "http.response.body" or kind == "websocket.http.response.body":
            return not message.get("more_body", False)
        return bool(kind == "websocket.close")


def has_left(receive: Receive) -> bool:
    """Whether the client has left whose request's messages `receive` gives.  On any thread."""
    exchange = getattr(receive, "__self__", None)
    return isinstance(exchange, Exchange) and exchange.has_left


@functools.cache
def _scope_class() -> type[anyio.CancelScope]:
    """Return the class of anyio's cancel scopes on asyncio.

    ``anyio.CancelScope()`` finds the class anew, which takes as long as all else that a scope does.
    """
    import anyio

    return type(anyio.CancelScope())


def has_body(scope: Scope) -> bool:
    """Whether the headers of an HTTP request announce a body."""
    for name, value in scope["headers"]:
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0"):
            return True
    return False


def _is_stream_of_events(start: Message) -> bool:
    for name, value in start.get("headers") or ():
        if name.lower() == b"content-type":
            return bool(value.lower().startswith(b"text/event-stream"))
    return False


def _own_start(copy: Message) -> None:
    """Have the copy of a start share nothing with it that the application may change."""
    copy["headers"] = list(copy.get("headers") or ())
    copy["status"] = int(copy["status"])


def _length(message: Message) -> int:
    if message["type"] == "http.response.start":
        return 0
    body = message.get("body") or message.get("bytes") or message.get("text") or b""
    return len(body)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
