"""A site with a frontend of files, an API, and photos on a volume.

    modal serve photo_site/backend.py
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import modal

frontend = Path(__file__).parent / "frontend"
image = (
    modal.Image.debian_slim(python_version="3.12")
    .apt_install("ffmpeg")
    .pip_install("fastapi[standard]", "aiofiles")
    .add_local_dir(frontend, remote_path="/assets")
)
with image.imports():
    import fastapi
    from fastapi import BackgroundTasks, Request
    from fastapi.responses import FileResponse
    from fastapi.staticfiles import StaticFiles

app = modal.App("photo-site", image=image)
photos = modal.Volume.from_name("photo-site-photos", create_if_missing=True)
PHOTOS = Path("/mnt/photos")


@app.function(volumes={str(PHOTOS): photos}, retries=3)
def thumbnail(name: str) -> str:
    photos.reload()
    original = PHOTOS / "original" / name
    small = PHOTOS / "small" / name
    small.parent.mkdir(exist_ok=True)
    small.write_bytes(original.read_bytes()[:10])
    photos.commit()
    return hashlib.md5(small.read_bytes()).hexdigest()


@app.cls(volumes={str(PHOTOS): photos}, scaledown_window=300)
@modal.concurrent(max_inputs=20)
class Site:
    @modal.enter()
    def start(self):
        (PHOTOS / "original").mkdir(exist_ok=True)
        self.uploads: list[str] = []
        self.tidied: list[str] = []

    def tidy(self, name: str) -> None:
        self.tidied.append(name)

    @modal.asgi_app(label="photos")
    def web(self):
        web_app = fastapi.FastAPI()

        @web_app.put("/api/photos/{name}", status_code=201)
        async def upload(name: str, request: Request, background: BackgroundTasks):
            path = PHOTOS / "original" / name
            size = 0
            with path.open("wb") as file:
                async for chunk in request.stream():
                    size += len(chunk)
                    file.write(chunk)
            await photos.commit.aio()
            self.uploads.append(name)
            background.add_task(self.tidy, name)
            return {"size": size, "thumbnail": await thumbnail.remote.aio(name)}

        @web_app.get("/api/photos/{name}")
        def download(name: str, small: bool = False):
            path = PHOTOS / ("small" if small else "original") / name
            if not path.exists():
                raise fastapi.HTTPException(404)
            return FileResponse(path, media_type="image/jpeg", filename=name)

        @web_app.get("/api/status")
        def status():
            return {"uploads": self.uploads, "tidied": self.tidied}

        @web_app.exception_handler(ZeroDivisionError)
        async def nothing(request: Request, error: ZeroDivisionError):
            return fastapi.responses.PlainTextResponse("nothing to share", status_code=418)

        @web_app.get("/api/share")
        def share(people: int = 0):
            return {"photos": len(self.uploads) / people}

        web_app.mount("/", StaticFiles(directory="/assets", html=True))
        return web_app
