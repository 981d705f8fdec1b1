"""Web hooks: signed requests come in, work goes on in the background, a callback tells the end."""

import hashlib
import hmac
import json
import os
import urllib.request

import modal
from fastapi import Header, HTTPException, Request, Response

app = modal.App("webhooks", image=modal.Image.debian_slim().pip_install("fastapi[standard]"))
signing_key = modal.Secret.from_dict({"SIGNING_KEY": "hush"})
done = modal.Queue.from_name("webhooks-done", create_if_missing=True)


def signature(body: bytes) -> str:
    return hmac.new(os.environ["SIGNING_KEY"].encode(), body, hashlib.sha256).hexdigest()


@app.function(secrets=[signing_key])
@modal.fastapi_endpoint(method="POST", label="hook")
async def receive(request: Request, x_signature: str = Header()):
    """Take an event of GitHub's kind; answer before the work is done."""
    body = await request.body()
    if not hmac.compare_digest(signature(body), x_signature):
        raise HTTPException(401, "wrong signature")
    event = json.loads(body)
    if event["type"] == "ping":
        return Response("pong", media_type="text/plain", headers={"X-Event": "ping"})
    call = await handle.spawn.aio(event)
    return {"call": call.object_id.partition("-")[0]}


@app.function(secrets=[signing_key], retries=1)
def handle(event: dict) -> None:
    body = json.dumps({"id": event["id"], "state": "handled"}).encode()
    headers = {"Content-Type": "application/json", "X-Signature": signature(body)}
    request = urllib.request.Request(callback.get_web_url(), data=body, headers=headers)
    with urllib.request.urlopen(request) as response:
        assert json.load(response) == "thanks"


@app.function(secrets=[signing_key])
@modal.fastapi_endpoint(method="POST")
def callback(item: dict, x_signature: str = Header()):
    if item["state"] != "handled" or len(x_signature) != 64:
        raise HTTPException(400)
    done.put(item["id"])
    return "thanks"


@app.function()
@modal.concurrent(max_inputs=10)
@modal.fastapi_endpoint(requires_proxy_auth=True)
def admin(limit: int = 10, verbose: bool = False) -> dict:
    ids = done.get_many(limit, block=False)
    return {"done": sorted(ids), "verbose": verbose}


@app.function()
@modal.fastapi_endpoint(method="DELETE")
def forget(response: Response) -> None:
    done.clear()
    response.status_code = 202
    response.set_cookie("forgotten", "yes")
