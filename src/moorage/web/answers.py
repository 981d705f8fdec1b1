"""Answers of our own: short texts in place of an application's response.

Owns `answer`.  The gate (``gate.py``) refuses requests with it, and the bridge (``bridge.py``)
answers for code that did not.  Nothing of an exception reaches a client.

Begin at `answer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .exchange import Scope, Send, has_body

# The extension of ASGI by which a WebSocket that is not accepted gets an HTTP response.
DENIAL: Final = "websocket.http.response"

TEXTS: Final = {
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


async def answer(
    scope: Scope,
    send: Send,
    status: int,
    text: str | None = None,
    *,
    headers: Sequence[tuple[bytes, bytes]] = (),
    body_unread: bool = True,
) -> None:
    """Send a whole response, or refuse the handshake of a WebSocket.

    Args:
        text: the body; that of `TEXTS` if None.
        headers: more headers.
        body_unread: whether nothing of the request's body was read.  If there is one, then the
            connection is closed after the response: the client may be in the middle of it.
    """
    body = (TEXTS[status] if text is None else text).encode()
    every = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        *headers,
    ]
    if status in (429, 503):
        every.append((b"retry-after", b"1"))
    kind = "http.response"
    if scope["type"] == "websocket":
        if DENIAL not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1011, "reason": ""})
            return
        kind = DENIAL
    elif body_unread and has_body(scope):
        every.append((b"connection", b"close"))
    try:
        await send({"type": f"{kind}.start", "status": status, "headers": every})
        await send({"type": f"{kind}.body", "body": body, "more_body": False})
    except OSError:
        pass  # the client has left
