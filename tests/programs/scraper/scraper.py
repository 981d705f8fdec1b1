"""Scrape a site into a Volume, one folder per crawl.

    modal run scraper.py --site https://example.com --max-pages 200

Pages are fetched by one async container that keeps a handful of requests open at a time.
Servers that answer 5xx are asked again with a backoff; dead links are noted and skipped.
The result is on the Volume `scraped-pages`:

    modal volume ls scraped-pages /latest
"""

import asyncio
import hashlib
import json
import logging
import os
import re
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Optional
from urllib.parse import urldefrag, urljoin, urlsplit

import modal

logging.basicConfig(level=os.environ.get("LOGLEVEL", "WARNING"))
log = logging.getLogger("scraper")

image = (
    modal.Image.debian_slim(python_version="3.11")
    .apt_install("ca-certificates", "curl")
    .pip_install("httpx~=0.27")
    .env({"SCRAPER_USER_AGENT": "modal-scraper/1.0"})
)
app = modal.App("example-scraper", image=image)
volume = modal.Volume.from_name("scraped-pages", create_if_missing=True)

DATA = Path("/data")
LINK = re.compile(r'href="([^"]+)"')
TITLE = re.compile(r"<title>(.*?)</title>", re.IGNORECASE | re.DOTALL)

with image.imports():
    import httpx


class ServerBusy(Exception):
    """The server is there, but cannot answer now."""


@dataclass
class Page:
    url: str
    status: int
    title: str = ""
    size: int = 0
    path: Optional[str] = None
    links: list[str] = field(default_factory=list)


def path_of(url: str) -> str:
    """A file name that is readable and cannot collide."""
    slug = re.sub(r"[^a-z0-9]+", "-", urlsplit(url).path.lower()).strip("-") or "index"
    return f"{slug}-{hashlib.sha1(url.encode()).hexdigest()[:8]}.html"


@app.function(
    volumes={"/data": volume},
    retries=modal.Retries(max_retries=4, initial_delay=0.1, backoff_coefficient=1.5),
    timeout=60,
    max_containers=1,
)
@modal.concurrent(max_inputs=4)
async def fetch(url: str, crawl: str) -> Page:
    headers = {"user-agent": os.environ["SCRAPER_USER_AGENT"]}
    async with httpx.AsyncClient(follow_redirects=True, headers=headers, timeout=10) as client:
        response = await client.get(url)
    if response.status_code >= 500:
        raise ServerBusy(f"{response.status_code} from {url}")
    page = Page(url, response.status_code)
    if response.status_code != 200:
        log.warning("%s is dead (%s)", url, response.status_code)
        return page

    folder = DATA / crawl / "pages"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / path_of(url)
    await asyncio.to_thread(target.write_bytes, response.content)
    await volume.commit.aio()

    page.path = str(target)
    page.size = len(response.content)
    if match := TITLE.search(response.text):
        page.title = match.group(1).strip()
    here = urlsplit(url).netloc
    for href in LINK.findall(response.text):
        link = urldefrag(urljoin(str(response.url), href)).url
        if urlsplit(link).netloc == here and link not in page.links:
            page.links.append(link)
    return page


@app.function(volumes={"/data": volume}, timeout=30 * 60)
async def crawl(site: str, name: str, max_pages: int) -> dict:
    started = time.monotonic()
    seen = {site}
    frontier = [site]
    pages: list[Page] = []
    failed: dict[str, str] = {}
    while frontier and len(pages) < max_pages:
        batch = frontier[: max_pages - len(pages)]
        frontier = frontier[len(batch) :]
        results = fetch.map.aio(
            batch, kwargs={"crawl": name}, return_exceptions=True, wrap_returned_exceptions=False
        )
        position = 0
        async for result in results:
            url = batch[position]
            position += 1
            if isinstance(result, Exception):
                failed[url] = str(result)
                continue
            pages.append(result)
            for link in result.links:
                if link not in seen:
                    seen.add(link)
                    frontier.append(link)

    log.info("crawled %d pages in %.1f s", len(pages), time.monotonic() - started)
    index = {
        "site": site,
        "pages": [asdict(page) for page in sorted(pages, key=lambda page: page.url)],
        "failed": failed,
    }
    (DATA / name).mkdir(exist_ok=True)
    (DATA / name / "index.json").write_text(json.dumps(index, indent=2))
    await volume.commit.aio()
    return index


@app.local_entrypoint()
def main(site: str, name: str = "latest", max_pages: int = 100):
    index = crawl.remote(site, name, max_pages)
    for page in index["pages"]:
        print(f"{page['status']} {urlsplit(page['url']).path:<12} {page['title']}".rstrip())
    for url, reason in index["failed"].items():
        print(f"FAILED {urlsplit(url).path}: {reason.split(' ')[0]}")
    total = sum(page["size"] for page in index["pages"])
    print(f"{len(index['pages'])} pages, {total} bytes, {len(index['failed'])} failed")
