"""A server with OpenAI's chat API, and its client.

    modal secret create chat-server-key API_KEY=...
    modal deploy chat_server.py
    modal run chat_server.py --api-key ... --prompt "..."
"""

import asyncio
import json
import os
import time
import uuid
from collections.abc import AsyncIterator
from typing import Literal

import modal

MODEL = "parrot-7b"
MINUTES = 60

image = (
    modal.Image.from_registry("nvidia/cuda:12.8.0-devel-ubuntu22.04", add_python="3.12")
    .entrypoint([])
    .uv_pip_install("vllm==0.9.1", "httpx", "fastapi[standard]", extra_options="--torch-backend=auto")
    .env({"VLLM_USE_V1": "1"})
)
cache = modal.Volume.from_name("parrot-cache", create_if_missing=True)

app = modal.App("chat-server")


class Engine:
    """What a real engine does, with a parrot for the model."""

    def __init__(self, model: str):
        self.model = model

    async def generate(self, messages: list[dict], max_tokens: int) -> AsyncIterator[str]:
        said = next(m["content"] for m in reversed(messages) if m["role"] == "user")
        for word in said.split()[:max_tokens]:
            await asyncio.sleep(0.005)
            yield word.upper() + " "


@app.function(
    image=image,
    gpu="H100:1",
    secrets=[modal.Secret.from_name("chat-server-key", required_keys=["API_KEY"])],
    volumes={"/root/.cache/parrot": cache},
    scaledown_window=15 * MINUTES,
    timeout=10 * MINUTES,
)
@modal.concurrent(max_inputs=32)
@modal.asgi_app()
def serve():
    import fastapi
    from fastapi.responses import StreamingResponse
    from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
    from pydantic import BaseModel

    class Message(BaseModel):
        role: Literal["system", "user", "assistant"]
        content: str

    class ChatRequest(BaseModel):
        model: str = MODEL
        messages: list[Message]
        stream: bool = False
        max_tokens: int = 100

    engine = Engine(MODEL)
    with open("/root/.cache/parrot/loaded.txt", "a") as file:
        file.write(f"{MODEL}\n")

    async def is_authenticated(key: HTTPAuthorizationCredentials = fastapi.Security(HTTPBearer())):
        if key.scheme != "Bearer" or key.credentials != os.environ["API_KEY"]:
            raise fastapi.HTTPException(401, "Invalid authentication credentials")
        return {"username": "authenticated_user"}

    web_app = fastapi.FastAPI(title=f"OpenAI-compatible {MODEL} server", docs_url="/docs")
    router = fastapi.APIRouter(prefix="/v1", dependencies=[fastapi.Depends(is_authenticated)])

    @web_app.get("/health")
    async def health():
        return fastapi.Response()

    @router.get("/models")
    async def models():
        return {"object": "list", "data": [{"id": MODEL, "object": "model"}]}

    @router.post("/chat/completions")
    async def completions(request: ChatRequest):
        messages = [message.model_dump() for message in request.messages]
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": MODEL}
        if not request.stream:
            text = "".join([part async for part in engine.generate(messages, request.max_tokens)])
            message = {"role": "assistant", "content": text.strip()}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            return {**head, "object": "chat.completion", "choices": choices}

        async def chunks():
            async for part in engine.generate(messages, request.max_tokens):
                choice = {"index": 0, "delta": {"content": part}, "finish_reason": None}
                chunk = {**head, "object": "chat.completion.chunk", "choices": [choice]}
                yield f"data: {json.dumps(chunk)}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(chunks(), media_type="text/event-stream")

    web_app.include_router(router)
    return web_app


@app.local_entrypoint()
async def client(api_key: str, prompt: str = "polly wants a cracker", stream: bool = True):
    """Wait for the server, and chat with it."""
    import httpx

    url = await serve.get_web_url.aio()
    headers = {"Authorization": f"Bearer {api_key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=MINUTES) as http:
        (await http.get("/health")).raise_for_status()
        model = (await http.get("/v1/models")).raise_for_status().json()["data"][0]["id"]
        payload = {
            "model": model,
            "messages": [
                {"role": "system", "content": "You are a parrot."},
                {"role": "user", "content": prompt},
            ],
            "stream": stream,
        }
        if not stream:
            answer = await http.post("/v1/chat/completions", json=payload)
            print(answer.json()["choices"][0]["message"]["content"])
            return
        async with http.stream("POST", "/v1/chat/completions", json=payload) as response:
            async for line in response.aiter_lines():
                data = line.removeprefix("data: ")
                if data and data != "[DONE]":
                    print(json.loads(data)["choices"][0]["delta"]["content"], end="", flush=True)
        print()
