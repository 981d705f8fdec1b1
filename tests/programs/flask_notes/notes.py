"""Notes of several teams, by Flask: each team has an instance, and a file on a volume."""

import json
import threading
from pathlib import Path

import modal

image = modal.Image.debian_slim().pip_install("flask")
app = modal.App("flask-notes")
volume = modal.Volume.from_name("flask-notes", create_if_missing=True)


@app.cls(image=image, volumes={"/notes": volume}, max_containers=1, env={"FLASK_DEBUG": "0"})
@modal.concurrent(max_inputs=8)
class Notes:
    team: str = modal.parameter(default="all")

    @modal.enter()
    def read(self):
        self.path = Path("/notes") / f"{self.team}.json"
        self.notes: list[str] = json.loads(self.path.read_text()) if self.path.exists() else []
        self.lock = threading.Lock()

    @modal.exit()
    def write(self):
        self.path.write_text(json.dumps(sorted(self.notes)))
        volume.commit()

    @modal.method()
    def count(self) -> int:
        return len(self.notes)

    @modal.wsgi_app()
    def web(self):
        from flask import Flask, Response, jsonify, redirect, request, session, stream_with_context

        flask_app = Flask(__name__, template_folder=str(Path(__file__).parent / "templates"))
        flask_app.secret_key = "a key of flask"

        @flask_app.get("/")
        def index():
            session["visits"] = session.get("visits", 0) + 1
            return jsonify(team=self.team, notes=self.notes, visits=session["visits"])

        @flask_app.post("/notes")
        def add():
            with self.lock:
                self.notes.append(request.form["text"])
            return redirect(f"/?team={self.team}", code=303)

        @flask_app.post("/upload")
        def upload():
            lines = request.files["notes"].read().decode().splitlines()
            with self.lock:
                self.notes += lines
            return {"added": len(lines)}

        @flask_app.get("/stream")
        def stream():
            def lines():
                for note in self.notes:
                    yield f"{request.args.get('team')}: {note}\n"

            return Response(stream_with_context(lines()), mimetype="text/plain")

        return flask_app


@app.local_entrypoint()
def main(*teams: str):
    for team in teams:
        print(team, Notes(team=team).count.remote())
