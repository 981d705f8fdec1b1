"""Leaving: what runs and waits is cancelled, then exit hooks run."""

from __future__ import annotations

import pytest

import moorage
from moorage.exception import InputCancelledError

from .ways import Counts
from .work import drive, in_both_times, in_every_shape_and_both_times, shaped


@pytest.mark.elsewhere
@in_both_times
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_leaving_cancels_what_runs_and_what_waits_and_then_runs_the_exit_hooks(way, world, kind):
    log = world.notes()
    door = world.door()

    async def body(x):
        with world.at_work(x):
            try:
                if kind == "async":
                    await door.wait()
                while kind == "sync":
                    moorage.check_cancelled()
                    await world.turn()
            except BaseException as error:
                log.append(type(error).__name__)
                raise

    class Work:
        if kind == "sync":

            @moorage.method()
            def run(self, x):
                return drive(body(x))

        else:

            @moorage.method()
            async def run(self, x):
                return await body(x)

        @moorage.exit()
        def leave(self):
            log.append("exit")

    with way.open(Work, world.clock, max_inputs=2) as container:
        handles = [container.submit(x) for x in range(5)]
        world.wait_for(lambda: world.running == 2)
    assert sorted(world.began) == [0, 1]
    assert all(handle.done() for handle in handles)
    for handle in handles:
        with pytest.raises(InputCancelledError):
            handle.result()
    assert log[-1] == "exit"
    expected = "InputCancellation" if kind == "sync" else "CancelledError"
    assert log[:-1] == [expected] * 2
    assert container.last_counts == Counts(cancelled=5)


@pytest.mark.elsewhere
@in_every_shape_and_both_times
def test_an_error_in_the_block_leaves_as_well(way, shape, world):
    async def body(x):
        with world.at_work(x):
            while True:
                moorage.check_cancelled()
                await world.turn()

    handles = []

    def use():
        code, options = shaped(shape, body)
        with way.open(code, world.clock, **options) as container:
            handles.extend([container.submit(1), container.submit(2)])
            world.wait_for(lambda: world.running == 1)
            raise KeyError

    with pytest.raises(KeyError):
        use()
    assert all(handle.done() for handle in handles)
    assert world.running == 0
