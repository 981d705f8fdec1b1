"""Every way to cancel, times every state of an input: the table of docs/guides/cancelling.md."""

import asyncio
import gc
import signal
import threading
from functools import partial
from pathlib import Path

import pytest

import moorage
from moorage import App, Retries, config
from moorage.exception import InputCancellation, InputCancelledError
from moorage.runtime.pools.capacity import process_capacity
from onlooker import Notes, Onlooker

PAGE = Path(__file__).parent.parent / "docs" / "guides" / "cancelling.md"

# What becomes of the input's code.
NEVER_RUNS = "never runs"
STRUCK = "`InputCancellation` in its code"
CANCELLED = "`CancelledError` in its task"
CLOSED = "its generator is closed"
NOT_AGAIN = "is not tried again"
DONE = "has ended"
RUNS_ON = "runs on for the other members"

STATES = {
    "queued": NEVER_RUNS,
    "its container starts": NEVER_RUNS,
    "runs, a `def`": STRUCK,
    "runs, an `async def`": CANCELLED,
    "streams, a `def`": CLOSED,
    "streams, an `async def`": CLOSED,
    "waits for a retry": NOT_AGAIN,
    "in a batch that forms": NEVER_RUNS,
    "in a batch with a slot that has not begun": NEVER_RUNS,
    "in a batch that runs, a `def`": RUNS_ON,
    "in a batch that runs, an `async def`": RUNS_ON,
    "the last of a batch, a `def`": STRUCK,
    "the last of a batch, an `async def`": CANCELLED,
    "waits for a retry, as its batch failed": NOT_AGAIN,
    "settled": DONE,
}

# What its caller sees.
WAYS = {
    "`FunctionCall.cancel()`": "`InputCancelledError`",
    "its caller's task is cancelled": "`CancelledError`",
    "its reader is closed": "nothing",
    "its reader is dropped": "nothing",
    "Ctrl-C in its blocking caller": "`KeyboardInterrupt`",
    "its app is left": "`InputCancelledError`",
}


def answer_of(state, way):
    """What the caller sees; None if there is no such caller."""
    streams = state.startswith("streams")
    if streams and way == "`FunctionCall.cancel()`":
        return None  # a generator is not spawned
    if state == "settled":
        # Nobody waits any more, but for a handle; a stream or map is at its end.
        return "its result" if way in ("`FunctionCall.cancel()`", "its app is left") else None
    return WAYS[way]


CELLS = [(state, way) for state in STATES for way in WAYS if answer_of(state, way) is not None]


def table():
    lines = ["| the input | its code | " + " | ".join(WAYS) + " |", "|---" * (2 + len(WAYS)) + "|"]
    for state, fate in STATES.items():
        answers = [answer_of(state, way) or "-" for way in WAYS]
        lines.append(f"| {state} | {fate} | " + " | ".join(answers) + " |")
    return "\n".join(lines)


def test_the_page_shows_this_table():
    assert table() in PAGE.read_text()


class Stage:
    """A function whose input is brought into one state, and what its code went through."""

    def __init__(self, state):
        self.state = state
        self.app = App()
        self.probe = Onlooker()
        self.fate = Notes(self.probe)
        self.go_on = threading.Event()  # everything that was held up goes on
        self.streams = state.startswith("streams")
        # What the input is; the first of another kind keeps the only slot.
        retries = Retries(max_retries=1, initial_delay=60.0) if "retry" in state else None
        options = {"max_containers": 1, "timeout": 600, "serialized": True}
        fate, go_on = self.fate, self.go_on

        def hold():
            if state == "its container starts":
                assert go_on.wait(30)

        if state == "runs, an `async def`":

            async def work(hold):
                if not hold:
                    return "followed"
                fate.append("began")
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    fate.append(CANCELLED)
                    raise

        elif state == "streams, a `def`":

            def work(hold):
                fate.append("began")
                try:
                    while hold:
                        yield 1
                except GeneratorExit:
                    fate.append(CLOSED)
                    raise

        elif state == "streams, an `async def`":

            async def work(hold):
                fate.append("began")
                try:
                    while hold:
                        yield 1
                except (GeneratorExit, asyncio.CancelledError):
                    fate.append(CLOSED)
                    raise
                except BaseException as error:
                    fate.append(error)
                    raise

        else:

            def work(hold):
                if not hold:
                    return "followed"
                if hold == "holder":
                    assert go_on.wait(30)
                    return None
                fate.append("began")
                try:
                    if state == "waits for a retry":
                        raise ValueError("once more")
                    if state == "settled":
                        return "result"
                    while True:
                        sum(range(100))
                except InputCancellation:
                    fate.append(STRUCK)
                    raise

        if state == "its container starts":

            @self.app.cls(**options)
            class Slow:
                @moorage.enter()
                def enter(self):
                    hold()

                @moorage.method()
                def work(self, hold):
                    return work(hold)

            self.function = Slow().work
        else:
            self.function = self.app.function(retries=retries, **options)(work)

    def run(self, **options):
        return self.app.run(probe=self.probe, **options)

    def prepare(self):
        if self.state == "queued":
            self.holder = self.function.spawn("holder")
            self.probe.wait_until(lambda: self.function.statistics().running == 1)

    def is_reached(self):
        seen = self.function.statistics()
        if seen is None:
            return False
        if self.state == "queued":
            return seen.queued == 1 and seen.running == 1
        if self.state == "its container starts":
            return seen.queued == 1
        if self.state == "waits for a retry":
            return seen.waiting == 1
        if self.state == "settled":
            return seen.succeeded == 1
        return "began" in self.fate and seen.running == 1

    def wait_reached(self):
        self.probe.wait_until(self.is_reached)

    def finish(self):
        """The slot has come back: another input gets through, and all counts agree."""
        self.go_on.set()
        self.assert_ended()
        if self.streams:
            assert list(self.function.remote_gen(False)) == []
        else:
            assert self.function.remote(False) == "followed"
        seen = self.function.statistics()
        assert seen.accepted == seen.succeeded + seen.failed + seen.cancelled
        assert seen.failed == 0
        settled = self.state == "settled"
        assert seen.cancelled == (0 if settled else 1)

    def assert_ended(self):
        def is_over():
            seen = self.function.statistics()
            return seen is None or not (seen.queued or seen.waiting or seen.running)

        self.probe.wait_until(is_over)
        expected = STATES[self.state]
        if expected == NEVER_RUNS:
            assert self.fate == []
        elif expected in (NOT_AGAIN, DONE):
            assert self.fate == ["began"]
        else:
            assert self.fate == ["began", expected]


class BatchStage(Stage):
    """The same for a member of a batch."""

    def __init__(self, state):
        self.state = state
        self.app = App()
        self.probe = Onlooker()
        self.fate = Notes(self.probe)
        self.go_on = threading.Event()
        self.leaves = False  # the code goes on until it is cancelled
        self.streams = False
        self.shared = "that runs" in state or "has not begun" in state
        self.neighbours = []

        retries = Retries(max_retries=1, initial_delay=60.0) if "retry" in state else None
        full = self.shared or "forms" in state
        batched = moorage.batched(max_batch_size=2, wait_ms=600_000 if full else 0)
        concurrent = moorage.concurrent(max_inputs=2 if "has not begun" in state else 1)
        work = self.work_async if "async" in state or "begun" in state else self.work
        self.function = self.app.function(
            max_containers=1, timeout=600, retries=retries, serialized=True
        )(concurrent(batched(work)))

    @property
    def work(self):
        def work(holds):
            if self.returns_at_once(holds):
                return self.results(holds)
            try:
                self.compute()
            except InputCancellation:
                self.fate.append(STRUCK)
                raise
            self.fate.append(RUNS_ON)
            return self.results(holds)

        return work

    @property
    def work_async(self):
        async def work(holds):
            if self.returns_at_once(holds):
                return self.results(holds)
            try:
                while self.goes_on():
                    await asyncio.sleep(0)
            except asyncio.CancelledError:
                self.fate.append(CANCELLED)
                raise
            self.fate.append(RUNS_ON)
            return self.results(holds)

        return work

    def returns_at_once(self, holds):
        if "holder" in holds:  # and blocks its loop
            assert self.go_on.wait(30)
        if True not in holds:
            return True
        self.fate.append("began")
        if "retry" in self.state:
            raise ValueError("once more")
        return False

    def compute(self):
        # A function of its own: see docs/guides/cancelling.md on CPython 3.13.
        while self.goes_on():
            sum(range(100))

    def goes_on(self):
        # `leaves` last: it is set before the event.
        return not (self.shared and self.go_on.is_set()) or self.leaves

    @staticmethod
    def results(holds):
        return ["followed" if hold is False else hold for hold in holds]

    def prepare(self):
        if "has not begun" in self.state:
            self.neighbours = [self.function.spawn("holder") for _ in range(2)]
            self.probe.wait_until(lambda: self.function.statistics().running == 2)
        if self.shared:
            self.neighbours.append(self.function.spawn("neighbour"))

    def is_reached(self):
        seen = self.function.statistics()
        if seen is None:
            return False
        if "forms" in self.state:
            return seen.queued == 1 and bool(seen.containers_started)
        if "has not begun" in self.state:
            return seen.running == 4
        if "retry" in self.state:
            return seen.waiting == 1
        return "began" in self.fate

    def finish(self):
        self.go_on.set()
        for call in self.neighbours:
            assert call.get(timeout=30) in ("holder", "neighbour")
        self.assert_ended()
        assert list(self.function.map([False, False])) == ["followed"] * 2
        seen = self.function.statistics()
        assert seen.accepted == seen.succeeded + seen.cancelled
        assert seen.cancelled == 1

    def assert_ended(self):
        if self.leaves and STATES[self.state] == RUNS_ON:
            # Everybody left it.
            ends = CANCELLED if "async" in self.state else STRUCK
            assert self.fate == ["began", ends]
        else:
            super().assert_ended()


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(config, "cancel_grace", 0.01)


def read(reader, got):
    try:
        for each in reader:
            got.append(each)
    except BaseException as error:
        got.append(error)


async def read_async(reader, got):
    async for each in reader:
        got.append(each)


@pytest.mark.parametrize(("state", "way"), CELLS)
def test_cancelling(state, way):
    stage = BatchStage(state) if "batch" in state else Stage(state)
    before = process_capacity.statistics().containers
    try:
        BY_WAY[way](stage)
    finally:
        stage.go_on.set()
    gc.collect()
    assert process_capacity.statistics().containers == before


def by_cancel(stage):
    with stage.run():
        stage.prepare()
        call = stage.function.spawn(True)
        stage.wait_reached()
        call.cancel()
        call.cancel()  # once more is harmless
        if stage.state == "settled":
            assert call.get() == "result"
        else:
            with pytest.raises(InputCancelledError):
                call.get(timeout=30)
        stage.finish()


def by_task(stage):
    async def main():
        got = []
        if stage.streams:
            task = asyncio.create_task(read_async(stage.function.remote_gen.aio(True), got))
        else:
            task = asyncio.create_task(stage.function.remote.aio(True))
        await stage.probe.wait_until.aio(stage.is_reached)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with stage.run():
        stage.prepare()
        asyncio.run(main())
        stage.finish()


def by_close(stage):
    with stage.run():
        stage.prepare()
        got = []
        reader = stage.function.remote_gen(True) if stage.streams else stage.function.map([True])
        thread = threading.Thread(target=read, args=(reader, got))
        if stage.streams:
            next(reader)
        else:
            thread.start()  # a map begins with its first step, which does not come
        stage.wait_reached()
        reader.close()
        if not stage.streams:
            thread.join(30)
            assert not thread.is_alive()
        stage.finish()


def by_drop(stage):
    async def main():
        # Steps that are begun and whose task is gone drop the map with them.
        results = stage.function.map.aio([True])
        task = asyncio.ensure_future(anext(results))
        await stage.probe.wait_until.aio(stage.is_reached)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del results, task

    with stage.run():
        stage.prepare()
        if stage.streams:
            reader = stage.function.remote_gen(True)
            next(reader)
            stage.wait_reached()
            del reader
        else:
            asyncio.run(main())
        gc.collect()
        stage.finish()


def by_interrupt(stage):
    main, raised = threading.get_ident(), threading.Event()

    def press():
        stage.wait_reached()
        # To this very thread: the kernel may give one for the process to any.  And again: CPython
        # misses one that comes just before a wait.
        while True:
            signal.pthread_kill(main, signal.SIGINT)
            if raised.wait(5):
                return

    with stage.run():
        stage.prepare()
        presser = threading.Thread(target=press)
        presser.start()
        blocks = (
            partial(list, stage.function.remote_gen(True))
            if stage.streams
            else partial(stage.function.remote, True)
        )
        with pytest.raises(KeyboardInterrupt):
            blocks()
        raised.set()
        presser.join()
        stage.finish()


def by_leaving(stage):
    got = []
    with stage.run(grace=5):
        stage.prepare()
        if stage.streams:
            reader = stage.function.remote_gen(True)
            next(reader)
        else:
            call = stage.function.spawn(True)
        stage.wait_reached()
        stage.leaves = True
        run = stage.app._runs.run

        def is_left():
            seen = stage.function.statistics()
            return run.closed and (seen is None or not seen.queued)

        # What no cancel ends goes on then: a start, and the holder of the slot.
        leaving = threading.Thread(
            target=lambda: (stage.probe.wait_until(is_left), stage.go_on.set())
        )
        leaving.start()
    leaving.join(30)
    stage.assert_ended()
    if stage.streams:
        read(reader, got)
        assert isinstance(got[-1], InputCancelledError)
    elif stage.state == "settled":
        assert call.get() == "result"
    else:
        with pytest.raises(InputCancelledError, match="left"):
            call.get(timeout=30)


BY_WAY = dict(
    zip(WAYS, [by_cancel, by_task, by_close, by_drop, by_interrupt, by_leaving], strict=True)
)
