"""A polite crawler: few requests at a time to a site, at its pace, and by its rules.

    modal run crawler.py --urls https://a.example/,https://b.example/news

Each site has a container of its own, made of the parameter `host`, which reads the
site's robots.txt when it starts.  So the limit of a site is the limit of its container.
"""

import asyncio
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from urllib.robotparser import RobotFileParser

import modal

app = modal.App("crawler")

AGENT = "example-crawler"
AT_ONCE = 2  # requests at one site

index: dict[str, "Page"] = {}


class Refused(Exception):
    """The site's rules say no."""


class Busy(Exception):
    """The site asks us to come later."""


@dataclass(frozen=True)
class Page:
    url: str
    status: int
    text: str


@dataclass
class Response:
    """What came, and the connection it came by."""

    status: int
    text: str
    connection: Any = field(default=None, repr=False)


def request(url: str) -> Response:
    """One request; blocks.  Statuses are no errors."""
    asked = urllib.request.Request(url, headers={"User-Agent": AGENT})
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return Response(answer.status, answer.read().decode(errors="replace"), answer)
    except urllib.error.HTTPError as error:
        return Response(error.code, "")


async def request_async(url: str) -> Response:
    """One request; as `request`."""
    return await asyncio.to_thread(request, url)


@app.cls(
    max_containers=1,
    timeout=30,
    scaledown_window=60,
    retries=modal.Retries(max_retries=3, initial_delay=1.0, backoff_coefficient=2.0),
)
@modal.concurrent(max_inputs=AT_ONCE)
class Site:
    """One site.  What is asked of it too often waits here, and not at the site."""

    host: str = modal.parameter()

    @modal.enter()
    def read_rules(self) -> None:
        """Read robots.txt; a site that is busy is asked again, after 1, 2 and 4 s."""
        self.rules = RobotFileParser()
        self.next_turn = 0.0
        response = request(f"https://{self.host}/robots.txt")
        for pause in (1, 2, 4):
            if response.status != 503:
                break
            time.sleep(pause)
            response = request(f"https://{self.host}/robots.txt")
        self.rules.parse(response.text.splitlines() if response.status == 200 else [])

    @modal.method()
    async def fetch(self, path: str) -> Page | None:
        """The page, of whatever status; None where the rules say no.

        A result and no error, for errors are tried again.
        """
        url = f"https://{self.host}{path}"
        if not self.rules.can_fetch(AGENT, url):
            return None
        await self.wait_for_turn()
        response = await request_async(url)
        if response.status in (429, 503):
            raise Busy(url)
        return Page(url, response.status, response.text)

    async def wait_for_turn(self) -> None:
        """Keep the pause that the site asks for between the beginnings of two requests."""
        pause = float(self.rules.crawl_delay(AGENT) or 0)
        now = time.monotonic()
        turn = max(self.next_turn, now)
        self.next_turn = turn + pause
        await asyncio.sleep(turn - now)


@app.function(max_containers=1, timeout=600)
@modal.concurrent(max_inputs=100)
async def fetch(host: str, path: str) -> Page:
    """One page, by way of its site's container."""
    page = await Site(host=host).fetch.remote.aio(path)
    if page is None:
        raise Refused(f"https://{host}{path}")
    return page


def crawl(urls: Iterable[str]) -> Iterator[Page | Exception]:
    """The pages in the order of their URLs; in the place of one that is not had, why."""
    rows = [(parts.netloc, parts.path or "/") for parts in map(urlsplit, urls)]
    for found in fetch.starmap(rows, return_exceptions=True):
        if isinstance(found, Page) and found.status == 200:
            index[found.url] = found
        yield found


@app.local_entrypoint()
def main(urls: str = "https://a.example/") -> None:
    for found in crawl(urls.split(",")):
        print(found if isinstance(found, Page) else repr(found))
