"""Conversations of driver and child that have frames of every kind, and their witness.

Owns an app whose code appends a line to a file when it begins and when it ends, and for each part
of it a function that holds a conversation: it calls, notes in the file when it has an outcome, and
returns the outcomes.  ``test_frames_cut_off.py`` kills the child at each byte of the frames.

Containers import this module anew.  Begin at `Service`, then `hold_with_service`.
"""

import asyncio
import contextlib
import http.client
import logging
import os
import urllib.error
import urllib.request

import moorage
from moorage.exception import InputCancelledError

from .outside import wait_for
from .served import bear_witness

app = moorage.App("conversations")

MAX_INPUTS = 3
ITEMS = 24  # more than a generator is ahead of its reader
PADDING = "x" * 40


class Planned(Exception):
    """The error of an input that is to fail."""


@contextlib.contextmanager
def witnessed(path, id):
    bear_witness(path, "begin", id)
    try:
        yield
    finally:
        bear_witness(path, "end", id)


@app.function()
def inner(path, id):
    """What the code of a container calls: it runs beside the driver."""
    with witnessed(path, id):
        return id


numbers = moorage.Dict.from_name("conversations", create_if_missing=True)


@app.cls(max_containers=1, timeout=100)
@moorage.concurrent(max_inputs=MAX_INPUTS)
class Service:
    @moorage.enter()
    def load(self):
        # A text beside the frame's other numbers: a record for the driver's log.
        logging.getLogger("moorage").warning("a container has begun")

    @moorage.method()
    def value(self, path, id, padding):
        with witnessed(path, id):
            return id

    @moorage.method()
    async def value_async(self, path, id, padding):
        with witnessed(path, id):
            await asyncio.sleep(0)
            return id

    @moorage.method()
    def fails(self, path, id):
        with witnessed(path, id):
            raise Planned(id)

    @moorage.method()
    def items(self, path, id):
        with witnessed(path, id):
            yield from range(ITEMS)

    @moorage.method()
    async def waits(self, path, id):
        with witnessed(path, id):
            await asyncio.Event().wait()

    @moorage.method()
    def calls(self, path, id):
        with witnessed(path, id):
            other = f"{id}-{os.getpid()}"  # each run makes a call of its own
            assert inner.remote(path, other) == other
            bear_witness(path, "outcome", other)
            numbers[other] = id
            return numbers.pop(other)

    @moorage.method()
    async def holds(self, path, id):
        with witnessed(path, id):
            other = f"{id}-{os.getpid()}"
            assert inner.remote(path, other) == other  # holds the loop
            bear_witness(path, "outcome", other)
            return id

    @moorage.method()
    def resizes(self, path, id):
        with witnessed(path, id):
            moorage.experimental.set_local_input_concurrency(2)
            return id

    @moorage.method()
    def takes_no_more(self, path, id):
        with witnessed(path, id):
            moorage.experimental.stop_fetching_inputs()
            return id


def got(call):
    try:
        return call()
    except Exception as error:
        return error


class Talk:
    """One conversation: the outcomes of its inputs, by their ids."""

    def __init__(self, path):
        self.path = str(path)
        self.outcomes = {}

    def note(self, id, call):
        assert id not in self.outcomes
        self.outcomes[id] = got(call)
        bear_witness(self.path, "outcome", id)

    def has_begun(self, id):
        with contextlib.suppress(FileNotFoundError), open(self.path) as file:
            return any(line.startswith(f"begin {id} ") for line in file)


def hold_with_service(path, places):
    """Args: `places()` asks the first container where its threads are."""
    talk = Talk(path)
    service = Service()
    plain = [service.value, service.value_async, service.fails, service.calls, service.holds]
    calls = {}
    waiting = service.waits.spawn(talk.path, 20)
    for id, method in enumerate([*plain, service.value, service.value_async, service.resizes]):
        padding = [PADDING] if method in (service.value, service.value_async) else []
        calls[id] = method.spawn(talk.path, id, *padding)
    wait_for(lambda: talk.has_begun(20))
    places()
    waiting.cancel()
    talk.note(20, lambda: waiting.get(timeout=60))
    for id, call in calls.items():
        talk.note(id, lambda call=call: call.get(timeout=60))
    talk.note(21, lambda: list(service.items.remote_gen(talk.path, 21)))
    talk.note(22, lambda: service.takes_no_more.remote(talk.path, 22))
    talk.note(23, lambda: service.value.remote(talk.path, 23, PADDING))
    return talk.outcomes


OUTCOMES_OF_SERVICE = {
    **{id: id for id in (0, 1, 3, 4, 5, 6, 7, 22, 23)},
    2: Planned,
    20: InputCancelledError,
    21: list(range(ITEMS)),
}


@app.function(max_containers=1, timeout=100)
@moorage.batched(max_batch_size=MAX_INPUTS, wait_ms=5)
def lists(paths, ids):
    with contextlib.ExitStack() as stack:
        for path, id in zip(paths, ids, strict=True):
            stack.enter_context(witnessed(path, id))
        return [Planned(id) if id == 3 else id for id in ids]


def hold_with_batches(path, places):
    talk = Talk(path)
    calls = [lists.spawn(talk.path, id) for id in range(7)]
    for id, call in enumerate(calls):
        talk.note(id, lambda call=call: call.get(timeout=60))
    return talk.outcomes


OUTCOMES_OF_BATCHES = {**{id: id for id in range(7)}, 3: Planned}


@app.cls()
class FailsAtStart:
    @moorage.enter()
    def load(self):
        raise Planned("no start")

    @moorage.method()
    def run(self):
        pass


def hold_with_failing_start(path, places):
    talk = Talk(path)
    talk.note(0, FailsAtStart().run.remote)
    return talk.outcomes


@app.cls(startup_timeout=1)
class NeverStarts:
    @moorage.enter()
    async def load(self):
        await asyncio.Event().wait()

    @moorage.method()
    def run(self):
        pass


def hold_with_endless_start(path, places):
    talk = Talk(path)
    talk.note(0, NeverStarts().run.remote)
    return talk.outcomes


@app.function(max_containers=1, timeout=100)
@moorage.concurrent(max_inputs=MAX_INPUTS)
@moorage.asgi_app()
def pages():
    async def application(scope, receive, send):
        if scope["type"] != "http":
            return
        path, _, id = scope["query_string"].decode().rpartition("&")
        with witnessed(path, id):
            body = b""
            while True:
                message = await receive()
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await send({"type": "http.response.body", "body": id.encode()})

    return application


BODY = b"y" * 100


def hold_with_web(path, places):
    talk = Talk(path)
    url = pages.get_web_url()
    for id in range(3):
        request = urllib.request.Request(f"{url}/?{path}&{id}", data=BODY)
        talk.note(id, lambda request=request: fetch(request))
    return talk.outcomes


def fetch(request):
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.read()
    except urllib.error.HTTPError as error:
        error.close()
        raise OSError(f"status {error.code}") from None
    except http.client.HTTPException as error:
        raise OSError("the response broke off") from error


OUTCOMES_OF_WEB = {id: BODY + str(id).encode() for id in range(3)}
