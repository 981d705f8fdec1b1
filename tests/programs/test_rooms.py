"""Programs whose state is in the memory of one container: an auction, and chat rooms."""

import asyncio
import json
from contextlib import AsyncExitStack

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from programs.running import Shell


def test_a_hundred_bidders_are_in_one_room_at_once(shell: Shell):
    done = shell.run("run", "-q", "auction.py")
    assert done.stdout.splitlines() == [
        "the room is open",
        "the winner is bidder-099 of 100 bidders",
        "votes for another auction: 66",
        "{'most_present': 100, 'lots': {'a clock': ('bidder-099', 990)}}",
        "the room is closed after 1 lot",
    ]
    assert done.stderr == ""


async def history(socket) -> list[str]:
    return json.loads(await socket.recv())["history"]


async def heard_to_the_end(socket) -> list[str]:
    """What still comes before the socket is closed."""
    heard = []
    try:
        while True:
            heard.append(await socket.recv())
    except ConnectionClosed:
        return heard


async def talk(url: str) -> None:
    room = url.replace("http", "ws") + "/rooms/blue?nick="
    crowd = [f"n{number:02}" for number in range(30)]
    async with AsyncExitStack() as stack, httpx.AsyncClient(base_url=url) as http:
        ann = await stack.enter_async_context(connect(room + "ann", max_queue=None))
        assert await history(ann) == []
        assert await ann.recv() == "* ann has come"
        bob = await stack.enter_async_context(connect(room + "bob"))
        assert await history(bob) == ["* ann has come"]
        assert await bob.recv() == await ann.recv() == "* bob has come"

        with pytest.raises(InvalidStatus) as refused:
            await connect(room + "ann")
        assert refused.value.response.status_code == 403
        with pytest.raises(InvalidStatus):
            await connect(room)

        await ann.send("hello")
        assert await bob.recv() == await ann.recv() == "<ann> hello"
        assert (await http.get("/rooms")).json() == {"blue": ["ann", "bob"]}

        sockets = await asyncio.gather(
            *(stack.enter_async_context(connect(room + nick, max_queue=None)) for nick in crowd)
        )
        for socket in sockets:
            assert "<ann> hello" in await history(socket)
        await bob.send("/quit")
        await heard_to_the_end(bob)
        assert (bob.close_code, bob.close_reason) == (4000, "bye")

        await sockets[0].send("/who")
        await ann.send("welcome, all")
        for socket in [ann, *sockets]:
            heard = [await socket.recv()]
            while heard[-1] != "<ann> welcome, all":
                heard.append(await socket.recv())
            assert ("* " + ", ".join(["ann", *crowd]) in heard) == (socket is sockets[0])
        assert (await http.get("/rooms")).json() == {"blue": ["ann", *crowd]}

    async with connect(room.replace("blue", "red") + "eve") as eve:
        assert await history(eve) == []


async def listen_to_the_end(url: str, served) -> int | None:
    async with connect(url.replace("http", "ws") + "/rooms/blue?nick=last") as last:
        assert "* n07 has left" in await history(last)
        await asyncio.to_thread(served.end)
        await heard_to_the_end(last)
        return last.close_code


def test_everybody_in_a_chat_room_sees_what_anybody_says(shell: Shell):
    with shell.serving("serve", "chat_room.py", "--port", "0") as served:
        url = served.url("chat")
        asyncio.run(talk(url))
        # Also those who have just left are out of the room before the next one listens.
        while httpx.get(url + "/rooms").json() != {"blue": [], "red": []}:
            pass
        code = asyncio.run(listen_to_the_end(url, served))
    assert code in (1001, 1006, 1012)
    assert served.stdout == ["the house is open", "the house is closed; rooms: blue red"]
