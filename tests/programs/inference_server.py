"""An inference server as a subprocess of a class, and a client which waits for its health."""

import asyncio
import json
import subprocess
import sys
import time

import aiohttp
import modal

PORT = 18742
MINUTES = 60

SERVER = """
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer(b"ok")
    def do_POST(self):
        prompt = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["prompt"]
        self.answer(json.dumps({"text": prompt[::-1], "model": sys.argv[2]}).encode())
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()
"""

app = modal.App("inference-server")


@app.cls(
    image=modal.Image.debian_slim().pip_install("vllm", "huggingface_hub[hf_transfer]"),
    gpu="H100:2",
    scaledown_window=15 * MINUTES,
    timeout=10 * MINUTES,
    region="us-east",
    secrets=[modal.Secret.from_dict({"MODEL": "mirror-1b"})],
)
@modal.concurrent(max_inputs=64)
class Server:
    @modal.enter()
    def start(self):
        import os

        self.process = subprocess.Popen([sys.executable, "-c", SERVER, str(PORT), os.environ["MODEL"]])
        print("started the server")

    @modal.web_server(port=PORT, startup_timeout=5 * MINUTES)
    def serve(self):
        pass

    @modal.exit()
    def stop(self):
        self.process.terminate()
        print("the server ended with", self.process.wait())


@app.local_entrypoint()
async def test(test_timeout: int = 1 * MINUTES, prompts: int = 30):
    url = await Server().serve.get_web_url.aio()
    async with aiohttp.ClientSession(base_url=url) as session:
        deadline = time.time() + test_timeout
        while time.time() < deadline:
            async with session.get("/health") as response:
                if response.status == 200:
                    break
        else:
            raise RuntimeError(f"no health within {test_timeout} s")
        texts = await asyncio.gather(*(ask(session, f"prompt {n}") for n in range(prompts)))
    print(texts[-1], len(texts))


async def ask(session: aiohttp.ClientSession, prompt: str) -> str:
    async with session.post("/v1/completions", json={"prompt": prompt}) as response:
        response.raise_for_status()
        answer = json.loads(await response.text())
    return f"{answer['model']}: {answer['text']}"
