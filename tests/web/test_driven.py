"""Coroutines that run on a loop without a task, and what a request leaves behind."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from moorage.web.driven import Driven
from moorage.web.exchange import Exchange
from moorage.web.mailbox import Mailbox
from moorage.web.ports import Port

from .sockets import Client, served


async def answers(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    await send(start)
    await send({"type": "http.response.body", "body": b"ok"})


def test_requests_leave_nothing_to_the_garbage_collector():
    with served(lambda: answers) as (_, url), Client(url) as client:

        def ask(times: int) -> None:
            for _ in range(times):
                client.ask("/")
                assert client.answer()[2] == b"ok"

        ask(3)
        gc.collect()
        gc.disable()
        try:
            ask(40)
            left = sum(type(found) is Exchange for found in gc.get_objects())
        finally:
            gc.enable()
    assert left < 5  # the last ones are still in use


def test_a_driven_coroutine_waits_for_resume_and_for_futures_and_is_forgotten_at_its_end():
    async def main() -> list[str]:
        port, driven, seen = Port(), Driven(), list[str]()
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            seen.append("begun")
            await driven
            await driven
            seen.append(await future)

        port.run(driven, work())
        assert not seen
        for _ in range(3):
            driven.resume()
        seen.append("waits")
        future.set_result("future")
        await asyncio.sleep(0)
        driven.resume()  # after its end: nothing
        await port.end(0)
        return seen

    assert asyncio.run(main()) == ["begun", "waits", "future"]


def test_a_driven_coroutine_that_never_ends_is_cancelled_at_the_end_of_its_port():
    async def main() -> list[str]:
        port, seen = Port(), list[str]()

        async def work(waits_for: Any, name: str) -> None:
            try:
                await waits_for
            except asyncio.CancelledError:
                seen.append(name)
                raise

        paused, waiting = Driven(), Driven()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        port.run(paused, work(paused, "paused"))
        port.run(waiting, work(future, "waiting"))
        paused.resume()
        waiting.resume()
        await port.end(0)
        await asyncio.sleep(0)
        return seen

    assert asyncio.run(main()) == ["paused", "waiting"]


def test_an_error_of_a_driven_coroutine_reaches_the_handler_of_the_loop():
    async def main() -> list[Any]:
        port, driven, told = Port(), Driven(), list[Any]()
        asyncio.get_running_loop().set_exception_handler(lambda _, said: told.append(said))

        async def work() -> None:
            raise ZeroDivisionError

        port.run(driven, work())
        driven.resume()
        await port.end(0)
        return told

    (said,) = asyncio.run(main())
    assert type(said["exception"]) is ZeroDivisionError


def test_soon_calls_after_the_present_callback_in_order():
    async def main() -> list[int]:
        mailbox, seen = Mailbox(asyncio.get_running_loop()), list[int]()
        mailbox.soon(lambda: seen.append(1))
        mailbox.soon(lambda: (seen.append(2), mailbox.soon(lambda: seen.append(3))))
        assert not seen
        await asyncio.sleep(0)
        assert seen == [1, 2]
        await asyncio.sleep(0)
        return seen

    assert asyncio.run(main()) == [1, 2, 3]


def test_a_port_is_not_empty_while_its_last_connection_becomes_a_websocket():
    class Stays:
        def wind_down(self) -> None:
            pass

    async def main() -> list[bool]:
        port, before, after = Port(), Stays(), Stays()
        port.admit(before)
        port.wind_down(None)
        waiting = asyncio.ensure_future(port.emptied(30))
        await asyncio.sleep(0)
        port.replace(before, after)
        for _ in range(5):  # until who waits has run, if it was woken
            await asyncio.sleep(0)
        seen = [waiting.done()]
        port.remove(after)
        return [*seen, await waiting]

    assert asyncio.run(main()) == [False, True]
