"""One gateway before many models: each language has containers of its own."""

import os
import uuid

import modal

LANGUAGES = {
    "de": {"good": "guten", "morning": "Morgen"},
    "fr": {"good": "bon", "morning": "matin"},
    "eo": {"good": "bona", "morning": "mateno"},
}

image = modal.Image.debian_slim().uv_pip_install("fastapi", "sentencepiece")
app = modal.App("translators", image=image, secrets=[modal.Secret.from_dict({"TIER": "free"})])


@app.cls(gpu=["L4", "A10G"], scaledown_window=30, buffer_containers=0, max_containers=1)
@modal.concurrent(max_inputs=16, target_inputs=12)
class Translator:
    language: str = modal.parameter()
    polite: bool = modal.parameter(default=False)

    @modal.enter()
    def load(self) -> None:
        self.container = uuid.uuid4().hex
        self.words = LANGUAGES[self.language]
        self.requests = 0
        print(f"loading {self.language} polite={self.polite} tier={os.environ['TIER']}", flush=True)

    @modal.method()
    async def translate(self, text: str) -> dict:
        self.requests += 1
        words = [self.words.get(word, word) for word in text.split()]
        if self.polite:
            words.append("!")
        return {"text": " ".join(words), "container": self.container, "number": self.requests}

    @modal.exit()
    def unload(self) -> None:
        print(f"unloading {self.language} after {self.requests}", flush=True)


@app.function()
@modal.concurrent(max_inputs=100)
@modal.asgi_app()
def gateway():
    """A plain ASGI application, without a framework."""
    import json
    from urllib.parse import parse_qs

    async def asgi(scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        assert scope["type"] == "http"
        query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode()).items()}
        language = scope["path"].strip("/")
        if language not in LANGUAGES:
            return await respond(send, 404, {"error": f"no language {language!r}"})
        translator = Translator(language=language, polite=query.get("polite") == "yes")
        return await respond(send, 200, await translator.translate.remote.aio(query["text"]))

    async def respond(send, status, content):
        body = json.dumps(content).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return asgi


@app.local_entrypoint()
def main():
    calls = {language: Translator(language=language).translate.spawn("good morning") for language in LANGUAGES}
    for language, call in calls.items():
        print(language, call.get()["text"])
    premium = Translator.with_options(max_containers=2)(language="de", polite=True)
    print("de", premium.translate.remote("good morning")["text"])
