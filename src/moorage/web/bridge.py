"""The bridge: each web request is an input of a pool.

Owns `Bridge`, an ASGI application that runs nothing itself: it submits each HTTP request and each
WebSocket to the pool of its endpoint, passes the messages on (``exchange.py``), and answers when
no application does: 503 if there is no room, 504 if the time is over, 500 if the code failed.
Three users call it on an event loop of their own: the HTTP thread (``http_loop.py``), a mounted
app (``mounted.py``), and the test kit's client.

The bridge runs no user code, parses nothing of the user's, and never blocks its loop.

Begin at `Bridge.__call__`, then `_answer`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from typing import Final, Protocol

from ..exception import (
    ExecutionError,
    FunctionTimeoutError,
    InvalidUseError,
    QueueTimeoutError,
    ResourceExhaustedError,
)
from ..runtime.background import in_background, log, on_log_thread
from ..runtime.input import Input, InputState, Target, next_call_number
from ..runtime.outcome import Cancelled, Failure, Outcome, UnreadError, Value
from ..runtime.pools.pool import Pool
from ..runtime.uninterruptible import uninterruptible
from .answers import answer
from .driven import Driven
from .exchange import GOES_AWAY, ClientLeft, Exchange, Receive, Scope, Send

logger: Final = logging.getLogger("moorage")

# Seconds between the disconnect of a client, of which the application is told, and the cancel of
# its input.
LEAVES_AFTER: Final = 1.0

# The key in a scope for the `Connection` of a request.  A server of ours sets it; with any other
# server the bridge asks `receive`.
CONNECTION: Final = "moorage.connection"

# The status of a WebSocket that is open: see `Exchange.status`.
SWITCHED: Final = 101


class Connection(Protocol):
    """The connection of one request, as the bridge sees it."""

    def when_lost(self, callback: Callable[..., object], /) -> None:
        """Call `callback` on the loop when the client has left before the response was complete.

        A connection that is `Driven` also runs the bridge.

        The server of a WebSocket may give the disconnect that the application is to receive, as
        ``callback(message=...)``.
        """
        ...


class Endpoint(Protocol):
    """What a bridge needs of a web function."""

    @property
    def name(self) -> str:
        """The function as messages show it."""
        ...

    @property
    def resident(self) -> str:
        """The name under which the application lives in each container: see `Resident`."""
        ...

    @property
    def target(self) -> Target: ...
    def submit(self, inputs: Sequence[Input], scope: Scope, /) -> Pool:
        """Submit to the pool that serves `scope`, and return the pool.

        Raises:
            WrongQuery: if the query does not give the parameters of the class.
            ExecutionError: if the run is ending, drains, or has ended.
            ResourceExhaustedError: if the backlog is full.
        """
        ...


class TooManyRequests(ResourceExhaustedError):
    """The endpoint takes no more requests at a time: the client gets 429."""


class WrongQuery(Exception):
    """The query of a request does not give the parameters of the class.

    The text is for the client.  The text of no other exception reaches a client.
    """


class BrokenOff(Exception):
    """The response began and cannot be completed: the server must close the connection."""


class WebCall:
    """The call of one web request.  It has no result, and is found by no id."""

    # The pool reports a failed start itself: the client gets no error.
    is_web: Final = True

    __slots__ = ("context", "exchange", "input", "number", "pool", "target")

    def __init__(self, target: Target, exchange: Exchange) -> None:
        self.number: int = next_call_number()
        self.target: Target = target
        self.context: Context = _EMPTY
        self.exchange: Exchange = exchange
        # Set when the pool has taken the request.
        self.pool: Pool
        self.input: Input

    def left(self) -> None:
        """Cancel the input of a client that has left: see `_left`."""
        _left(self.exchange, self.pool, self.input)

    @property
    def is_left(self) -> bool:
        """Whether the client has left.  Read by the pool, under its lock: see `Endings`."""
        return self.exchange.has_left

    @property
    def is_under_way(self) -> bool:
        """Whether the request cannot be run again.  Read by the pool, when a container is lost."""
        return self.exchange.is_under_way

    def settled(self, input: Input, /) -> Callable[[], object] | None:
        exchange, outcome = self.exchange, input.outcome
        exchange.outcome = outcome
        if type(outcome) is Failure and input.container is not None:
            return partial(_tell_failure, exchange, outcome, input.input_id, self.target.name)
        return exchange.settled


# The context of every web call.  Each attempt of an input copies it.
_EMPTY: Final = Context()


def _tell_failure(exchange: Exchange, outcome: Failure, input_id: str, name: str) -> None:
    if is_failure_of_the_application(outcome) and not (
        exchange.has_left and _kind_of(outcome) in _SAY_THAT_A_CLIENT_LEFT
    ):
        text, shown = "%s of %s failed (%s)", exchange.shown

        def tell() -> None:
            log(logger, logging.ERROR, text, shown, name, input_id, exc_info=outcome.exception())

        if isinstance(outcome.unread, UnreadError):
            # Reading the error runs user code, and this thread reads for all containers.
            on_log_thread(tell)
        else:
            tell()
    exchange.settled()


def is_failure_of_the_application(outcome: Failure) -> bool:
    """Whether the application, or the start of its container, raised an error of its own."""
    if isinstance(outcome.unread, UnreadError):
        return _kind_of(outcome) != ClientLeft.__name__
    ours = (QueueTimeoutError, FunctionTimeoutError, ClientLeft)
    return not isinstance(outcome.unread, ours)


def _kind_of(outcome: Failure) -> str:
    """Return the name of the type of the error.  Runs no user code."""
    error = outcome.unread
    if isinstance(error, UnreadError):  # of another process: see `shown_error`
        return error.shown.partition(":")[0].rpartition(".")[2]
    return type(error).__name__


# What Starlette raises in an application that goes on after its client has left.  Most
# applications do not catch these errors, and the end of a WebSocket is no failure to report.
_SAY_THAT_A_CLIENT_LEFT: Final = frozenset({"WebSocketDisconnect", "ClientDisconnect"})


class Bridge:
    """An ASGI application whose requests are inputs of the pool of one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint: Endpoint = endpoint

    def make_call(self, exchange: Exchange, connection: Connection | None) -> WebCall:
        """Return the call of a request."""
        return WebCall(self.endpoint.target, exchange)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.  For the lifespan of a server: there is nothing to do."""
        if scope["type"] == "lifespan":
            await _no_lifespan(receive, send)
            return
        endpoint = self.endpoint
        connection: Connection | None = scope.pop(CONNECTION, None)
        exchange = Exchange(endpoint.resident, scope)
        front: object = connection
        if isinstance(front, Driven):
            exchange.driven = front  # this coroutine runs in no task
        call = self.make_call(exchange, connection)
        input = Input(call, 0, (exchange,), None)
        try:
            with uninterruptible:
                pool = endpoint.submit((input,), scope)
        except InvalidUseError:
            raise  # by the program that calls the bridge
        except Exception as error:
            status, text = _refusal(error, endpoint.name)
            await _answer(exchange, status, receive, send, text)
            exchange.count()
            return
        call.pool, call.input, exchange.call = pool, input, call
        if connection is not None:
            connection.when_lost(exchange.leave)
        try:
            outcome = await exchange.relay(receive, send, watches=connection is None)
            if exchange.refused is not None:
                text = "%s of %s sent a response that the server refused: %s (%s)"
                why = exchange.refused
                log(logger, logging.ERROR, text, exchange.shown, endpoint.name, why, input.input_id)
                # Some servers believe that the response is complete, and keep the connection.
                raise BrokenOff from why
            if outcome is not None and not exchange.has_left:
                if type(outcome) is Value and exchange.status != SWITCHED:
                    text = "%s of %s returned without a complete response (%s)"
                    log(logger, logging.ERROR, text, exchange.shown, endpoint.name, input.input_id)
                status, retry_after = _status_of(outcome), 0
                if isinstance(outcome, Failure) and input.container is None and status != 503:
                    status = 500  # no container has started
                    retry_after = math.ceil(pool.backs_off_for)
                await _answer(exchange, status, receive, send, retry_after=retry_after)
            elif outcome is not None and exchange.is_websocket and exchange.dismissed is not None:
                await _answer(exchange, 503, receive, send)
        except GeneratorExit:
            # A garbage collection dropped the task, maybe while this thread holds some lock.  So
            # this code must take no lock.
            in_background(partial(_dropped, exchange, pool, input))
            raise
        except BaseException:
            exchange.leave()  # as a client that leaves
            exchange.call = None
            del call.input  # which refers to `call`
            exchange.count()
            raise
        # Nothing is left to the garbage collector: see `HttpProtocol`.
        exchange.call = None  # which refers to `exchange`
        del call.input  # which refers to `call`
        exchange.count()


def _refusal(error: Exception, name: str) -> tuple[int, str | None]:
    """Return the status, and perhaps a text, for a request that no pool has taken."""
    if isinstance(error, TooManyRequests):
        return 429, None
    if isinstance(error, (ResourceExhaustedError, ExecutionError)):
        return 503, None
    if isinstance(error, WrongQuery):
        return 400, str(error)
    log(logger, logging.ERROR, "%s has no pool", name, exc_info=error)
    return 500, None


def _dropped(exchange: Exchange, pool: Pool, input: Input) -> None:
    pool.cancel(input)
    exchange.count()


def _left(exchange: Exchange, pool: Pool, input: Input) -> None:
    """Cancel the input of a client that has left: at once if it waits, or else a little later."""
    pool.cancel_waiting((input,))
    if input.state is InputState.SETTLED:
        return

    def cancel() -> None:
        if exchange.outcome is None:
            pool.cancel(input)

    # Not a timer of the front's loop, which may end, or stop, before the timer is due.
    seconds = LEAVES_AFTER if exchange.dismissed is None else exchange.dismissed
    clock = pool.clock
    timer = clock.call_at(clock.now() + seconds, cancel)
    exchange.leaving = timer
    if exchange.outcome is not None:
        timer.cancel()  # the input ended meanwhile, and `settled` did not see the timer


def _status_of(outcome: Outcome) -> int:
    """Return the status for a request whose input ended without a response."""
    if isinstance(outcome, Cancelled):
        return 503  # its run is being left
    if isinstance(outcome, Failure):
        if isinstance(outcome.unread, FunctionTimeoutError):
            return 504
        if isinstance(outcome.unread, QueueTimeoutError):
            return 503
    return 500


async def _answer(
    exchange: Exchange,
    status: int,
    receive: Receive,
    send: Send,
    text: str | None = None,
    *,
    retry_after: int = 0,
) -> None:
    """Answer in place of an application.

    Raises:
        BrokenOff: if the response has begun.
    """
    if exchange.status == SWITCHED:
        # As servers do, the end of the application closes its WebSocket.
        if exchange.dismissed is not None or isinstance(exchange.outcome, Cancelled):
            code = GOES_AWAY
        else:
            code = 1000 if type(exchange.outcome) is Value else 1011
        try:
            await send({"type": "websocket.close", "code": code, "reason": ""})
        except (OSError, RuntimeError):
            pass  # the client has left
        return
    if exchange.status:
        raise BrokenOff
    exchange.status = status
    later = [(b"retry-after", b"%d" % retry_after)] if retry_after else []
    await answer(
        exchange.scope, send, status, text, headers=later, body_unread=not exchange.received
    )


async def _no_lifespan(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
