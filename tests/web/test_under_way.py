"""Which requests could run again, if their container were lost."""

from __future__ import annotations

import asyncio

import pytest

from moorage.web.exchange import Exchange


def scope_of(kind="http", headers=()):
    scope = {"type": kind, "path": "/", "headers": list(headers), "asgi": {}}
    return scope if kind == "websocket" else {**scope, "method": "POST"}


async def begun(scope, application):
    """The exchange of a request whose application has come to its first wait, or its end."""
    exchange = Exchange("web", scope)
    paying = asyncio.ensure_future(exchange.pay(application, asyncio.current_task()))
    for _ in range(3):
        await asyncio.sleep(0)
    paying.cancel()
    return exchange.is_under_way


async def waits(scope, receive, send):
    await asyncio.Event().wait()


async def reads(scope, receive, send):
    await receive()
    await asyncio.Event().wait()


async def responds(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await asyncio.Event().wait()


BODY = [(b"content-length", b"3")]


@pytest.mark.parametrize(
    ("scope", "application", "expected"),
    [
        (scope_of(), waits, False),
        (scope_of(), reads, False),  # there is no body: an empty message for each run
        (scope_of(), responds, True),
        (scope_of(headers=BODY), waits, False),
        (scope_of(headers=BODY), reads, True),
        (scope_of("websocket"), waits, True),
    ],
)
def test_a_request_is_under_way_once_something_has_passed(scope, application, expected):
    assert asyncio.run(begun(scope, application)) is expected
