"""A small server for a folder of pictures; it knows nothing of Modal."""

import argparse
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--folder", type=Path, required=True)
options = parser.parse_args()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        name = self.path.strip("/")
        if not name:
            listing = {
                "title": os.environ["GALLERY_TITLE"],
                "pid": os.getpid(),
                "pictures": {p.name: p.stat().st_size for p in sorted(options.folder.iterdir())},
            }
            return self.answer(200, "application/json", json.dumps(listing).encode())
        if name == "moved":
            self.send_response(302)
            self.send_header("Location", "/boat.svg")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        picture = options.folder / name
        if picture.parent != options.folder or not picture.is_file():
            return self.answer(404, "text/plain", b"no such picture\n")
        self.answer(200, "image/svg+xml", picture.read_bytes())

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, "application/octet-stream", body[::-1])

    def log_message(self, *arguments: object) -> None:
        pass


ThreadingHTTPServer(("0.0.0.0", options.port), Handler).serve_forever()
