"""A dashboard of measurements in plain WSGI, whose files are on a Volume."""

import csv
import html
import io
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import parse_qs
from wsgiref.util import request_uri
from wsgiref.validate import validator

import modal

app = modal.App("dashboard", image=modal.Image.debian_slim().pip_install("pillow"))
volume = modal.Volume.from_name("dashboard-measurements", create_if_missing=True)

DATA = Path("/data")


@app.function(volumes={"/data": volume}, max_containers=1)
def record(sensor: str, value: float) -> int:
    """Append one measurement, and return how many the sensor has."""
    path = DATA / f"{sensor}.jsonl"
    with path.open("a") as file:
        file.write(json.dumps({"value": value}) + "\n")
    volume.commit()
    return len(path.read_text().splitlines())


def measurements(sensor: Path) -> list[float]:
    return [json.loads(line)["value"] for line in sensor.read_text().splitlines()]


class Dashboard:
    """Routes by method and path."""

    def __call__(self, environ: dict, start_response: Callable) -> Iterable[bytes]:
        volume.reload()
        route = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if route == ("GET", "/"):
            return self.page(environ, start_response)
        if route == ("POST", "/record"):
            return self.record(environ, start_response)
        if route == ("GET", "/export.csv"):
            start_response("200 OK", [("Content-Type", "text/csv")])
            return self.rows()
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [f"nothing at {request_uri(environ)}\n".encode()]

    def page(self, environ: dict, start_response: Callable) -> list[bytes]:
        title = html.escape(parse_qs(environ["QUERY_STRING"]).get("title", ["Dashboard"])[0])
        rows = "".join(
            f"<tr><td>{html.escape(path.stem)}<td>{len(values)}<td>{sum(values) / len(values):.2f}"
            for path in sorted(DATA.glob("*.jsonl"))
            if (values := measurements(path))
        )
        body = f"<!doctype html><h1>{title}</h1><table>{rows}</table>".encode()
        headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response("200 OK", headers)
        return [body]

    def record(self, environ: dict, start_response: Callable) -> list[bytes]:
        form = parse_qs(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode())
        try:
            sensor, value = form["sensor"][0], float(form["value"][0])
        except (KeyError, ValueError) as error:
            start_response("400 Bad Request", [("Content-Type", "text/plain")])
            return [f"{type(error).__name__}: {error}\n".encode()]
        count = record.remote(sensor, value)
        headers = [("Location", "/"), ("Content-Type", "text/plain"), ("X-Count", str(count))]
        start_response("303 See Other", headers)
        return []

    def rows(self) -> Iterator[bytes]:
        yield b"sensor,value\r\n"
        for path in sorted(DATA.glob("*.jsonl")):
            for value in measurements(path):
                line = io.StringIO()
                csv.writer(line).writerow([path.stem, value])
                yield line.getvalue().encode()


@app.function(volumes={"/data": volume}, max_containers=1)
@modal.concurrent(max_inputs=10)
@modal.wsgi_app()
def dashboard():
    return validator(Dashboard())


@app.local_entrypoint()
def main(sensor: str = "kitchen", values: str = "20.5,21.5"):
    counts = [record.remote(sensor, float(value)) for value in values.split(",")]
    print(f"{sensor}: {counts[-1]} measurements")
