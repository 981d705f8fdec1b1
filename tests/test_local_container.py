"""The container that runs in this process, held to what its pool relies on."""

import asyncio
import logging
import threading

import pytest

import moorage
from moorage import App
from moorage.runtime.clocks.clock import system_clock
from moorage.runtime.containers.container import ContainerOptions, ContainerState
from moorage.runtime.containers.lifecycle import Hook, Lifecycle
from moorage.runtime.containers.local import LocalContainer
from moorage.runtime.containers.task_lane import STARTS_PER_TURN
from moorage.runtime.input import InputState


class HostThatStopsAtOnce:
    """A pool that stops its container in the moment it is ready."""

    def __init__(self):
        self.lock = threading.Lock()
        self.clock = system_clock
        self.around = None
        self.stopped = threading.Event()

    def settle(self, container, input, outcome, *more):
        raise AssertionError("no input was placed")

    def container_ready(self, container):
        container.state = ContainerState.READY
        container.stop()
        return True

    def container_failed(self, container, error):
        self.stopped.set()
        raise error

    def container_stopped(self, container):
        self.stopped.set()


def test_a_stop_before_the_loop_runs_cuts_no_exit_hook(caplog):
    ended = []

    async def hook(instance):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        ended.append("exit hook")

    host = HostThatStopsAtOnce()
    options = ContainerOptions(
        name="work",
        max_inputs=1,
        has_async=True,
        lifecycle=Lifecycle(lambda: None, (), (Hook("exit", hook, True),)),
    )
    container = LocalContainer(host, 1, 1, 1, options)
    with caplog.at_level(logging.WARNING, "moorage"):
        container.boot()
        assert host.stopped.wait(10)
        assert container.join(10) == []
    assert ended == ["exit hook"]
    assert caplog.messages == []


@pytest.mark.parametrize("hook", ["enter", "exit"])
def test_an_async_hook_that_stops_the_loop_goes_on(hook, caplog):
    app = App()
    log = []

    async def stop_loop():
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    @app.cls()
    class Work:
        @moorage.enter()
        async def enter(self):
            if hook == "enter":
                await stop_loop()
            log.append("enter")

        @moorage.method()
        async def work(self):
            return "worked"

        @moorage.exit()
        async def exit(self):
            if hook == "exit":
                await stop_loop()
            log.append("exit")

    with app.run():
        assert Work().work.remote() == "worked"
    assert log == ["enter", "exit"]
    assert caplog.messages == []


def test_inputs_that_start_in_the_next_turn_of_the_loop_have_not_begun():
    """More inputs than start in one turn: other code, which may block the loop, comes between."""
    app = App()
    started, is_full = threading.Event(), threading.Event()
    begun, waiting = set(), []

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=1000)
    async def work(n):
        if n < 0:  # the loop is held until all inputs have their slots
            started.set()
            is_full.wait(30)
            return n
        begun.add(n)
        if n == 0:
            await asyncio.sleep(0)
            waiting.extend(call._first.state for n, call in enumerate(calls) if n not in begun)
        return n

    with app.run():
        first = work.spawn(-1)
        assert started.wait(30)
        calls = [work.spawn(n) for n in range(3 * STARTS_PER_TURN)]
        is_full.set()
        assert [call.get() for call in (first, *calls)] == list(range(-1, 3 * STARTS_PER_TURN))
    assert waiting
    assert set(waiting) == {InputState.GRANTED}
