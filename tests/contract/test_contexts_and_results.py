"""What an input sees and what its caller gets: contexts, ids, results, errors."""

from __future__ import annotations

import asyncio
import contextvars
import traceback

import pytest

import moorage
from moorage.exception import RemoteError

from .ways import Counts
from .work import Mine, in_every_shape, in_every_shape_and_both_times, shaped


@in_every_shape_and_both_times
def test_each_input_has_its_own_copy_of_its_callers_context_and_its_own_ids(way, shape, world):
    name = contextvars.ContextVar("name", default="nobody")
    door = world.door()
    seen = {}

    async def body(x):
        before = name.get()
        name.set(f"changed by {x}")
        with world.at_work(x):
            await door.wait()
        seen[x] = (
            before,
            name.get(),
            moorage.current_input_id(),
            moorage.current_function_call_id(),
            moorage.is_local(),
        )

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=3, **options) as container:
        handles = []
        for x in range(6):
            name.set(f"caller of {x}")
            handles.append(container.submit(x))
        name.set("later")
        world.wait_for(lambda: world.running == 3)
        door.open()
        for handle in handles:
            handle.result()
    assert name.get() == "later"
    assert moorage.is_local()
    assert moorage.current_input_id() is None
    for x in range(6):
        # No context crosses to another process.
        before = "nobody" if way.by_value else f"caller of {x}"
        assert seen[x][:2] == (before, f"changed by {x}")
        assert seen[x][4] is False
    assert len({ids[2] for ids in seen.values()}) == 6
    assert len({ids[3] for ids in seen.values()}) == 6


def test_hooks_run_in_an_empty_context_inside_of_the_container_and_of_no_input(way, world):
    name = contextvars.ContextVar("name", default="nobody")
    seen = []

    def note():
        seen.append((name.get(), moorage.is_local(), moorage.current_input_id()))

    class Work:
        @moorage.enter()
        def enter(self):
            note()

        @moorage.method()
        def run(self, x): ...

        @moorage.exit()
        def leave(self):
            note()

    name.set("caller")
    with way.open(Work, world.clock) as container:
        container.submit(1).result()
    assert seen == [("nobody", False, None)] * 2


@in_every_shape
def test_arguments_and_results_pass_by_reference_or_as_copies(way, shape, world):
    thing, result = [], {}

    async def body(x):
        x.append(1)
        return result

    code, options = shaped(shape, body)
    with way.open(code, world.clock, **options) as container:
        if way.by_value:
            assert container.submit(thing).result() == result
            assert container.submit(thing).result() is not result
            assert thing == []
        else:
            assert container.submit(thing).result() is result
            assert thing == [1]


@pytest.mark.elsewhere
@in_every_shape_and_both_times
def test_an_error_keeps_its_type_attributes_and_user_frames_and_the_container_is_used_on(
    way, shape, world
):
    cause = LookupError("cause")

    async def body(x):
        if x % 2:
            raise Mine(x, detail=[x]) from cause
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, **options) as container:
        for x in range(6):
            handle = container.submit(x)
            if not x % 2:
                assert handle.result() == x
                continue
            with pytest.raises(Mine) as caught:
                handle.result()
            assert (caught.value.code, caught.value.detail) == (x, [x])
            if way.by_value:
                assert type(caught.value.__cause__) is LookupError
                assert caught.value.__cause__.args == cause.args
            else:
                assert caught.value.__cause__ is cause
            frames = traceback.extract_tb(caught.value.__traceback__)
            assert frames[-1].name == "body"
            assert frames[0].filename == __file__
            ours = [frame.name for frame in frames if "/src/moorage/" in frame.filename]
            assert len(ours) <= 1, "one leads in"
        assert container.counts() == Counts(finished=3, failed=3)
        assert container.containers_started() == 1


class Stop(BaseException):
    """None that steers anything."""


CONTROL_FLOW = [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError]


@pytest.mark.elsewhere
@in_every_shape_and_both_times
def test_control_flow_arrives_as_a_remote_error_and_harms_no_neighbour(way, shape, world):
    door = world.door()

    async def body(x):
        with world.at_work(x):
            if x is None:
                await door.wait()
                return "unharmed"
            raise x("told so")

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=2, **options) as container:
        neighbour = container.submit(None)
        world.wait_for(lambda: world.running == 1)
        for error in CONTROL_FLOW:
            with pytest.raises(RemoteError, match=error.__name__) as caught:
                container.submit(error).result()
            assert type(caught.value.__cause__) is error
            assert caught.value.__cause__.args == ("told so",)
        with pytest.raises(Stop, match="told so"):
            container.submit(Stop).result()
        door.open()
        assert neighbour.result() == "unharmed"
        assert container.counts() == Counts(finished=1, failed=5)
        assert container.containers_started() == 1
