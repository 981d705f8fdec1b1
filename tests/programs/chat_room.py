"""Chat rooms over WebSockets: everybody in a room sees what anybody says.

The rooms are in the memory of one container, so there is one at most.
"""

import contextlib
import logging
from collections import deque
from dataclasses import dataclass, field

import modal
from fastapi import FastAPI, Query, WebSocket, WebSocketDisconnect, WebSocketException, status

logger = logging.getLogger("chat")

app = modal.App(name="chat-room", image=modal.Image.debian_slim().pip_install("fastapi[standard]"))


@dataclass
class ChatRoom:
    name: str
    members: dict[str, WebSocket] = field(default_factory=dict)
    history: deque[str] = field(default_factory=lambda: deque(maxlen=50))

    async def broadcast(self, message: str) -> None:
        self.history.append(message)
        for nick, socket in list(self.members.items()):
            try:
                await socket.send_text(message)
            except (WebSocketDisconnect, RuntimeError):
                logger.info("%s has gone", nick)


@app.function(max_containers=1, timeout=24 * 60 * 60)
@modal.concurrent(max_inputs=200)
@modal.asgi_app()
def chat():
    @contextlib.asynccontextmanager
    async def lifespan(web_app: FastAPI):
        rooms: dict[str, ChatRoom] = {}
        web_app.state.rooms = rooms
        print("the house is open", flush=True)
        yield
        print("the house is closed; rooms:", *sorted(rooms), flush=True)

    web_app = FastAPI(lifespan=lifespan)

    @web_app.websocket("/rooms/{name}")
    async def join(socket: WebSocket, name: str, nick: str = Query(min_length=1)):
        room = web_app.state.rooms.setdefault(name, ChatRoom(name))
        if nick in room.members:
            raise WebSocketException(status.WS_1008_POLICY_VIOLATION, "the nick is taken")
        await socket.accept()
        room.members[nick] = socket
        await socket.send_json({"history": list(room.history)})
        await room.broadcast(f"* {nick} has come")
        try:
            async for text in socket.iter_text():
                if text == "/who":
                    await socket.send_text("* " + ", ".join(sorted(room.members)))
                elif text == "/quit":
                    await socket.close(code=4000, reason="bye")
                    break
                else:
                    await room.broadcast(f"<{nick}> {text}")
        finally:
            del room.members[nick]
            await room.broadcast(f"* {nick} has left")

    @web_app.get("/rooms")
    async def rooms() -> dict[str, list[str]]:
        return {name: sorted(room.members) for name, room in web_app.state.rooms.items()}

    return web_app
