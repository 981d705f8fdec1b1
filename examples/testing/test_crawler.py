"""The crawler, against a network that is a dictionary."""

import asyncio
import itertools
import threading
import time
from collections import Counter, defaultdict
from textwrap import dedent

import crawler
import modal
import pytest
from crawler import Busy, Page, Refused, Site, app, fetch

from moorage.testing import Sequencer


class Network:
    """Sites that answer in a second, and what was asked of them: when, and how many at once."""

    def __init__(self, clock):
        self.clock = clock
        self.pages = defaultdict(lambda: itertools.repeat((404, "")))
        self.seconds = defaultdict(lambda: 1.0)
        self.asked = []
        self.open, self.peak = Counter(), Counter()
        self.lock = threading.Lock()

    def add(self, url, *answers, seconds=1.0):
        """Answer so, one after the other, the last one for ever; a text is a page."""
        full = [(200, a) if isinstance(a, str) else a for a in answers]
        self.pages[url] = itertools.chain(full, itertools.repeat(full[-1]))
        self.seconds[url] = seconds

    def begin(self, url):
        host = url.split("/")[2]
        with self.lock:
            self.asked.append((self.clock.now(), url))
            self.open[host] += 1
            self.peak[host] = max(self.peak[host], self.open[host])
        return host

    def request(self, url):
        time.sleep(self.seconds[url])
        with self.lock:
            self.asked.append((self.clock.now(), url))
            return crawler.Response(*next(self.pages[url]), connection=threading.Lock())

    async def request_async(self, url):
        host = self.begin(url)
        try:
            await asyncio.sleep(self.seconds[url])
            return crawler.Response(*next(self.pages[url]), connection=threading.Lock())
        finally:
            self.open[host] -= 1

    def times(self, part):
        return [at for at, url in self.asked if part in url]


in_a_thread = crawler.request_async


@pytest.fixture(autouse=True)
def network(clock, monkeypatch):
    network = Network(clock)
    monkeypatch.setattr(crawler, "request", network.request)
    monkeypatch.setattr(crawler, "request_async", network.request_async)
    monkeypatch.setattr(crawler, "index", {})
    yield network
    assert network.open.total() == 0, "connections are open"


A, B = "https://a.example", "https://b.example"


def test_pages_come_in_the_order_of_their_urls(network, run_app):
    network.add(A + "/1", "one", seconds=9)
    network.add(A + "/2", "two", seconds=1)
    network.add(B + "/1", "three", seconds=2)
    run_app(app)
    found = list(crawler.crawl([A + "/1", B + "/1", A + "/2"]))
    assert [page.text for page in found] == ["one", "three", "two"]
    assert list(crawler.index) == [A + "/1", B + "/1", A + "/2"]


def test_two_at_once_at_a_site_and_sites_beside_each_other(network, clock, run_app):
    urls = [f"{site}/{n}" for n in range(10) for site in (A, B)]
    for url in urls:
        network.add(url, "x")
    run_app(app)
    assert all(page.status == 200 for page in crawler.crawl(urls))
    assert network.peak == {"a.example": 2, "b.example": 2}
    assert clock.now() == 1 + 10 / 2  # robots.txt, and two a second at each


def test_a_site_is_asked_in_order(network, run_app):
    urls = [f"{A}/{n}" for n in range(8)]
    run_app(app)
    list(crawler.crawl(urls))
    assert [url for _, url in network.asked] == [A + "/robots.txt", *urls]


def test_the_pause_that_a_site_asks_for(network, run_app):
    network.add(A + "/robots.txt", "User-agent: *\nCrawl-delay: 10")
    run_app(app)
    list(crawler.crawl([f"{A}/{n}" for n in range(4)]))
    assert network.times(A) == [1, 1, 11, 21, 31]


def test_what_the_rules_forbid_is_not_asked_for(network, run_app):
    network.add(A + "/robots.txt", "User-agent: *\nDisallow: /private")
    network.add(A + "/open", "x")
    run_app(app)
    forbidden, page = crawler.crawl([A + "/private/1", A + "/open"])
    assert isinstance(forbidden, Refused)
    assert page.text == "x"
    assert network.times("private") == []


def test_rules_are_read_once_by_a_site_that_is_busy_at_first(network, clock, run_app):
    network.add(A + "/robots.txt", (503, ""), (503, ""), "User-agent: *\nDisallow: /", seconds=0)
    run_app(app)
    found = list(crawler.crawl([A + "/1", A + "/2", A + "/3"]))
    assert [type(error) for error in found] == [Refused] * 3
    assert network.times("robots.txt") == [0, 1, 3]  # time.sleep, in virtual time


def test_a_busy_site_is_asked_again_after_1_2_and_4_s(network, run_app):
    network.add(A + "/1", (503, ""), (429, ""), (503, ""), "at last")
    run_app(app)
    (page,) = crawler.crawl([A + "/1"])
    assert page == Page(A + "/1", 200, "at last")
    assert network.times("/1") == [1, 1 + 1 + 1, 3 + 1 + 2, 6 + 1 + 4]


def test_one_that_stays_busy_is_given_up_and_the_others_are_there(network, run_app):
    network.add(A + "/1", (503, ""))
    network.add(A + "/2", "two")
    run_app(app)
    busy, page = crawler.crawl([A + "/1", A + "/2"])
    assert isinstance(busy, Busy)
    assert page.text == "two"
    assert len(network.times("/1")) == 4
    assert list(crawler.index) == [A + "/2"]


def test_while_one_waits_for_its_retry_others_have_its_slot(network, clock, fake_container):
    network.add(A + "/1", (503, ""), "one")
    with_one_slot = fake_container(Site(host="a.example"), max_inputs=1)
    first, second = with_one_slot.submit("/1"), with_one_slot.submit("/2")
    assert second.result().status == 404
    assert clock.now() == 3
    assert first.result().text == "one"
    assert f"\n{with_one_slot.timeline(width=20)}\n" == dedent("""
                                  0         2 s  (0.2 s a column)
        Site.fetch('/1')               #####~~~~~#####  result Site(host='a.example')-1
        Site.fetch('/2')               .....#####       result Site(host='a.example')-1
        Site(host='a.example')-1  .....===============
    """)


def test_a_missing_page_is_a_result(network, run_app):
    run_app(app)
    assert list(crawler.crawl([A + "/gone"])) == [Page(A + "/gone", 404, "")]
    assert crawler.index == {}


def test_a_site_that_hangs_costs_its_timeout_and_no_other_site(network, clock, run_app):
    network.add(A + "/1", "never", seconds=3600)
    network.add(B + "/1", "one")
    run_app(app)
    hangs, page = crawler.crawl([A + "/1", B + "/1"])
    assert isinstance(hangs, modal.exception.FunctionTimeoutError)
    assert page.text == "one"
    assert clock.now() == 1 + 30 + 1 + 30 + 2 + 30 + 4 + 30


async def test_a_task_that_is_cancelled_frees_its_slots(network, clock, run_app):
    network.add(A + "/1", "slow", seconds=20)
    run_app(app)
    asking = asyncio.create_task(fetch.remote.aio("a.example", "/1"))
    await asyncio.sleep(5)
    assert network.open["a.example"] == 1
    asking.cancel()
    await clock.sleep.aio(0)  # the cancel is on its way; until all has come to rest
    assert asking.cancelled()
    assert network.open["a.example"] == 0
    assert Site(host="a.example").fetch.statistics().running == 0
    assert clock.now() == 5


def test_requests_in_threads_are_beside_each_other(network, clock, fake_container, monkeypatch):
    monkeypatch.setattr(crawler, "request_async", in_a_thread)
    site = fake_container(Site(host="a.example"))
    both = [site.submit("/1"), site.submit("/2")]
    assert [each.result().status for each in both] == [404, 404]
    assert clock.now() == 2  # robots.txt, and both


async def test_the_later_answer_may_come_first(network, fake_container, monkeypatch):
    """Two requests of one site, answered in the other order: each caller has its own page."""
    turn = Sequencer()
    network.add(A + "/1", "one")
    network.add(A + "/2", "two")
    answer = network.request_async

    async def in_turn(url):
        async with turn({A + "/2": 0, A + "/1": 1}[url]):
            return await answer(url)

    monkeypatch.setattr(crawler, "request_async", in_turn)
    site = fake_container(Site(host="a.example"))
    one, two = site.submit("/1"), site.submit("/2")
    assert (await one).text == "one"
    assert (await two).text == "two"
    assert site.events.inputs("settled") == ["Site.fetch('/2')", "Site.fetch('/1')"]


def test_two_that_fetch_at_once_take_two_turns(network, fake_container):
    """Both are held before they look at whose turn it is, and let go at once."""
    network.add(A + "/robots.txt", "User-agent: *\nCrawl-delay: 10")
    site = fake_container(Site(host="a.example"))
    with site.hold("start") as gate:
        both = [site.submit("/1"), site.submit("/2")]
        gate.wait_held(2)
    for each in both:
        each.result()
    assert network.times("/1") + network.times("/2") == [1, 11]


def test_what_leaves_a_container_can_be_sent(network, run_app):
    network.add(A + "/1", "one")
    run_app(app, serialize=True)
    assert [page.text for page in crawler.crawl([A + "/1"])] == ["one"]


def test_a_connection_cannot(fake_container):
    async def careless(url):
        return await crawler.request_async(url)

    error = fake_container(careless, serialize=True).submit(A + "/1").exception()
    assert isinstance(error, modal.exception.SerializationError)
    assert "result.connection is a _thread.lock" in str(error)


def test_the_container_of_a_site_goes_after_a_minute(network, clock, run_app):
    run_app(app)
    list(crawler.crawl([A + "/1"]))
    site = Site(host="a.example")
    clock.sleep(59.9)
    assert len(site.fetch.statistics().containers) == 1
    clock.sleep(0.2)
    assert site.fetch.statistics().containers == ()


def test_the_command_line(network, run_app, capsys):
    network.add(A + "/", "hello")
    run_app(app)
    crawler.main()
    assert capsys.readouterr().out == "Page(url='https://a.example/', status=200, text='hello')\n"
