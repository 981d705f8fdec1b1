"""A notebook server in a function, reached through a tunnel whose URL comes by a queue."""

import http.server
import json
import secrets
import threading
import urllib.request

import modal

app = modal.App("tunnel", image=modal.Image.debian_slim().pip_install("jupyter"))


@app.function(max_containers=1, timeout=3_600)
def notebook(urls: modal.Queue, commands: modal.Queue) -> int:
    token = secrets.token_urlsafe(13)
    answered = 0

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            nonlocal answered
            answered += 1
            good = self.path.endswith(f"?token={token}")
            self.send_response(200 if good else 403)
            self.end_headers()
            self.wfile.write(json.dumps({"cells": answered}).encode() if good else b"")

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            with modal.forward(server.server_port) as tunnel:
                urls.put(f"{tunnel.url}/?token={token}")
                while (command := commands.get()) != "stop":
                    print("command:", command)
        finally:
            server.shutdown()
    return answered


@app.local_entrypoint()
def main(reads: int = 3):
    with modal.Queue.ephemeral() as urls, modal.Queue.ephemeral() as commands:
        call = notebook.spawn(urls, commands)
        url = urls.get(timeout=60)
        for _ in range(reads):
            with urllib.request.urlopen(url) as response:
                print(json.load(response))
        try:
            urllib.request.urlopen(url + "x")
        except urllib.error.HTTPError as error:
            print("refused:", error.code)
        commands.put_many(["save", "stop"])
        print("answered", call.get(timeout=60))
