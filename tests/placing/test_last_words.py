"""What a container's process has left to other threads is done, although it has ended since."""

import os
import sys
import threading

import pytest

import moorage
from moorage.calling.answers import Answers
from moorage.exception import ContainerLostError, InputCancelledError
from moorage.runtime.background import flush
from moorage.runtime.pools.pool import Pool, PoolState

from .outside import wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfds are Linux's")


@pytest.fixture
def gone(monkeypatch):
    """An event: some container of the run is gone, and its answers know."""
    gone, end = threading.Event(), Answers.gone

    def end_and_tell(answers):
        try:
            end(answers)
        finally:
            gone.set()

    monkeypatch.setattr(Answers, "gone", end_and_tell)
    return gone


def pool_of(app, name):
    (found,) = [pool for pool in app._runs.run.pools.values() if name in pool.options.name]
    return found


def test_a_container_leaves_when_another_thread_has_written_its_last_message(caplog):
    app = moorage.App("leaves")

    @app.function(serialized=True, scaledown_window=60)
    def stops_late():
        import threading

        from moorage.placing.channel import Channel
        from moorage.placing.frames import Kind
        from moorage.placing.outbox import Outbox

        leaves = threading.Event()
        put, wait, close = Outbox.put, Outbox.wait_written, Channel.close_when_written

        def put_for_another(box, message):
            effect = put(box, message)
            if message[0] != Kind.STOPPED or effect is None:
                return effect
            threading.Thread(target=lambda: leaves.wait(30) and effect()).start()
            return None

        def wait_and_tell(box, seconds):
            leaves.set()
            return wait(box, seconds)

        def close_and_tell(channel):
            close(channel)
            leaves.set()

        Outbox.put, Outbox.wait_written = put_for_another, wait_and_tell
        Channel.close_when_written = close_and_tell

    with app.run(placement="process"):
        stops_late.remote()
    flush(5)
    assert "lost" not in caplog.text


def test_a_call_that_is_about_to_be_submitted_when_its_container_is_lost(gone, monkeypatch, caplog):
    app = moorage.App("noted")

    @app.function(serialized=True)
    def inner(x):
        return x + 1

    @app.function(serialized=True)
    def outer(x):
        return inner.remote(x)

    @app.function(serialized=True)
    def dies():
        import os

        os._exit(3)

    held, note = [], Answers._note

    def note_and_lose(answers, number, pool, input, spawned):
        noted = note(answers, number, pool, input, spawned)
        if not held:
            held.append(input)
            answers._container.kill()
            assert gone.wait(30)
        return noted

    with app.run(placement="process"):
        assert inner.remote(0) == 1  # a container is there, and idle
        monkeypatch.setattr(Answers, "_note", note_and_lose)
        assert outer.spawn(1).get(timeout=30) == 2  # by another container
        assert inner.spawn(5).get(timeout=30) == 6
        with pytest.raises(ContainerLostError):
            dies.spawn().get(timeout=30)
    assert isinstance(held[0].outcome.exception(), InputCancelledError)
    flush(5)
    assert "failed" not in caplog.text


def test_what_an_exit_hook_has_spawned_and_cancelled(gone, monkeypatch):
    app = moorage.App("spawned")

    @app.function(serialized=True)
    def last():
        pass

    @app.function(serialized=True)
    async def endless():
        import asyncio

        await asyncio.Event().wait()

    @app.cls(serialized=True)
    class Model:
        @moorage.method()
        def begin(self):
            self.call = endless.spawn()
            return self.call.object_id

        @moorage.exit()
        def leave(self):
            last.spawn()
            self.call.cancel()

    find, known = Answers._function, set()

    def find_late(answers, address):
        if known and address not in known:  # to read the handle back is user code
            assert gone.wait(30)
        known.add(address)
        return find(answers, address)

    monkeypatch.setattr(Answers, "_function", find_late)
    with app.run(placement="process"):
        call = moorage.FunctionCall.from_id(Model().begin.remote())
        wait_for(lambda: endless.statistics().running == 1)
        pool_of(app, "Model").evict_idle()
        with pytest.raises(InputCancelledError):
            call.get(timeout=30)
        wait_for(lambda: last.statistics() and last.statistics().succeeded == 1)


def test_the_last_records_reach_the_handlers_of_the_program(caplog):
    app = moorage.App("records")

    @app.function(serialized=True)
    def says_late():
        import logging
        import threading

        from moorage.placing import child
        from moorage.runtime.background import log_in_background, on_log_thread

        leaves, write_all = threading.Event(), child.flush

        def flush_and_tell(seconds):
            leaves.set()
            return write_all(seconds)

        child.flush = flush_and_tell
        on_log_thread(lambda: leaves.wait(30))  # a record that takes long
        log_in_background(logging.getLogger("moorage"), logging.WARNING, "the last words")

    with app.run(placement="process"):
        says_late.remote()
    flush(5)
    assert "the last words" in caplog.text


def test_a_failed_start_is_told_before_the_run_is_left(monkeypatch, tmp_path, in_threads):
    app = moorage.App("failed")
    left = threading.Event()
    told = []
    begun, fails = str(tmp_path / "begun"), str(tmp_path / "fails")
    os.mkfifo(fails)

    @app.cls(serialized=True, min_containers=1)
    class Broken:
        @moorage.enter()
        def begin(self):
            import pathlib

            pathlib.Path(begun).touch()
            pathlib.Path(fails).read_bytes()  # when the other end is closed
            raise LookupError

    log = Pool._log_failed_start

    def log_late(pool, container, error):
        told.append(left.wait(1))
        log(pool, container, error)

    monkeypatch.setattr(Pool, "_log_failed_start", log_late)
    with app.run(placement="process"):
        wait_for((tmp_path / "begun").exists)
        pool = pool_of(app, "Broken")

        def fail_when_left():
            wait_for(lambda: pool._state is not PoolState.OPEN)
            os.close(os.open(fails, os.O_WRONLY))

        failing = in_threads(fail_when_left)
    left.set()
    failing.result()
    assert told == [False]
