"""Every rule of the autoscaler, as a story in virtual time.

`STORIES` is the table of docs/guides/scaling.md: each tells what is written, what
happens, and what is seen then; the numbers in it are those that were seen here.
"""

import asyncio
import re
from pathlib import Path

import pytest

import moorage
from moorage import App, config
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.containers.container import ContainerState

GUIDE = Path(__file__).parent.parent / "docs" / "guides" / "scaling.md"


class World:
    """One function whose containers take `start` seconds to start, in virtual time."""

    def __init__(self, clock, start=2.0, name="work", app=None, concurrent=None, **options):
        self.clock = clock
        self.app = app or App("scaling")

        async def enter(self):
            await asyncio.sleep(start)

        async def work(self, seconds):
            await asyncio.sleep(seconds)
            return self.number

        async def limit(self, count):
            moorage.experimental.set_local_input_concurrency(count)
            return moorage.experimental.get_local_input_concurrency()

        numbers = iter(range(1, 1000))

        async def number(self):
            self.number = next(numbers)

        made = type(
            name,
            (),
            {
                "number": moorage.enter(snap=False)(number),
                "enter": moorage.enter()(enter),
                "work": moorage.method()(work),
                "limit": moorage.method()(limit),
            },
        )
        if concurrent:
            made = moorage.concurrent(**concurrent)(made)
        self.cls = self.app.cls(**options)(made)

    def made(self):
        self.obj = self.cls()
        return self.obj

    def spawn(self, count, seconds):
        return [self.obj.work.spawn(seconds) for _ in range(count)]

    def count(self, *states):
        seen = self.obj.work.statistics()
        if seen is None:
            return 0
        wanted = states or ("starting", "ready")
        return sum(c.state.value in wanted for c in seen.containers)

    @property
    def containers(self):
        return self.count()

    @property
    def running(self):
        seen = self.obj.work.statistics()
        return [c.running for c in seen.containers if c.state is ContainerState.READY]

    @property
    def queued(self):
        return self.obj.work.statistics().queued

    def gone_after(self, containers, within=200.0):
        """Seconds until no more than so many are there."""
        began = self.clock.now()
        while self.containers > containers:
            assert self.clock.now() - began < within, f"{self.containers} are still there"
            self.clock.sleep(0.5)
        return self.clock.now() - began


STORIES = {}


def story(written, happens):
    def note(tell):
        STORIES[tell.__name__] = (written, happens, tell)
        return tell

    return note


def plain(number):
    return f"{number:g}"


EIGHT = {"concurrent": {"max_inputs": 8, "target_inputs": 4}}


@story("`target_inputs=4`, `max_inputs=8`", "10 inputs at once, nothing has run yet")
def first_inputs(clock):
    world = World(clock, **EIGHT)
    with world.app.run(clock=clock):
        world.made()
        calls = world.spawn(10, 5.0)
        containers = world.containers
        for call in calls:
            call.get()
        return f"{containers} containers start, `ceil(10 / 4)`, in the same breath"


@story("likewise", "one container is ready and idle; 6 inputs come")
def burst(clock):
    world = World(clock, **EIGHT)
    with world.app.run(clock=clock):
        world.made()
        world.obj.work.remote(5.0)
        calls = world.spawn(6, 5.0)
        clock.sleep(0.001)
        running, queued = world.running[0], world.queued
        for call in calls:
            call.get()
        return f"all {running} run there at once, above the target; {queued} wait"


@story("likewise", "one container is ready and idle; 20 inputs of 10 s come, a start takes 2 s")
def overflow(clock):
    world = World(clock, **EIGHT)
    with world.app.run(clock=clock):
        world.made()
        world.obj.work.remote(10.0)
        calls = world.spawn(20, 10.0)
        clock.sleep(0.001)
        first, queued, more = world.running[0], world.queued, world.count("starting")
        clock.sleep(2.0)
        assert world.queued == 0
        for call in calls:
            call.get()
        return (
            f"{first} run at once, {queued} wait for {more} containers that start, "
            "and begin 2 s later"
        )


@story("likewise", "three containers are ready; 5 inputs come one after the other")
def fullest_first(clock):
    world = World(clock, **EIGHT, min_containers=3)
    with world.app.run(clock=clock):
        world.made()
        clock.sleep(3.0)
        calls = []
        for _ in range(5):
            calls += world.spawn(1, 5.0)
            clock.sleep(0.001)
        seen = sorted(world.running, reverse=True)
        for call in calls:
            call.get()
        return (
            f"{seen[0]} run in the first, {seen[1]} in the second; the third stays idle, and may go"
        )


@story("`min_containers=2`", "the run begins, and nobody calls for an hour")
def minimum(clock):
    world = World(clock, min_containers=2)
    with world.app.run(clock=clock):
        world.made()
        clock.sleep(3.0)
        before = world.count("ready")
        clock.sleep(3600.0)
        after = world.count("ready")
        return f"{before} containers are ready from the start, and {after} an hour later"


@story("`max_containers=2`", "6 inputs of 1 s, one slot each; a start takes 2 s")
def maximum(clock):
    world = World(clock, max_containers=2)
    with world.app.run(clock=clock):
        world.made()
        calls = world.spawn(6, 1.0)
        for call in calls:
            call.get()
        peak = world.obj.work.statistics().peak_containers
        return f"never more than {peak} containers: the last input ends at {plain(clock.now())} s"


@story("`buffer_containers=2`", "one input runs for 30 s")
def buffer(clock):
    world = World(clock, buffer_containers=2)
    with world.app.run(clock=clock):
        world.made()
        (call,) = world.spawn(1, 30.0)
        clock.sleep(5.0)
        during = world.count("ready")
        call.get()
        clock.sleep(10.0)
        after = world.count("ready")
        return f"{during} containers are ready meanwhile; {after} of them 10 s after it ended"


@story("`scaledown_window=10`", "3 containers have become idle at the same time")
def window(clock):
    world = World(clock, scaledown_window=10)
    with world.app.run(clock=clock):
        world.made()
        for call in world.spawn(3, 5.0):
            call.get()
        clock.sleep(9.5)
        kept = world.containers
        clock.sleep(1.0)
        return f"all {kept} are kept for 10 s, and then {world.containers}"


@story("no `scaledown_window`", "3 containers, which took 2 s to start, have become idle")
def no_window(clock):
    world = World(clock)
    with world.app.run(clock=clock):
        world.made()
        for call in world.spawn(3, 5.0):
            call.get()
        others = world.gone_after(1)
        last = others + world.gone_after(0)
        return (
            f"two go after {plain(others)} s, about what their restart would cost; "
            f"the last one after {plain(last)} s"
        )


@story("likewise", "2 inputs of 5 s come together, every 20 s")
def needed_again(clock):
    world = World(clock)
    with world.app.run(clock=clock):
        world.made()
        for _ in range(8):
            for call in world.spawn(2, 5.0):
                call.get()
            clock.sleep(15.0)
        starts = world.obj.work.statistics().containers_started
        return (
            f"{starts} starts for 8 rounds: the second container was needed again late, "
            "so it is kept for 60 s"
        )


@story("`update_autoscaler(min_containers=3)`", "during the run, and `min_containers=0` later")
def updated(clock):
    world = World(clock, scaledown_window=10)
    with world.app.run(clock=clock):
        world.made()
        world.obj.update_autoscaler(min_containers=3)
        clock.sleep(60.0)
        raised = world.count("ready")
        world.obj.update_autoscaler(min_containers=0)
        clock.sleep(1.0)
        return f"{raised} containers are there; then {world.containers}, for their window is over"


@story(
    "`update_autoscaler(max_containers=1)`",
    "3 containers run an input each, and it is raised again",
)
def taken_back(clock):
    world = World(clock)
    with world.app.run(clock=clock):
        world.made()
        calls = world.spawn(3, 20.0)
        clock.sleep(5.0)
        world.obj.update_autoscaler(max_containers=1)
        ready, draining = world.count("ready"), world.count("draining")
        world.obj.update_autoscaler(max_containers=3)
        again = world.count("ready")
        for call in calls:
            call.get()
        started = world.obj.work.statistics().containers_started
        return (
            f"{ready} takes inputs and {draining} drain, none is interrupted; "
            f"then all {again} take inputs again, without a new start: {started} in all"
        )


@story("`update_autoscaler(max_containers=1)`", "3 containers are starting")
def starts_first(clock):
    world = World(clock)
    with world.app.run(clock=clock):
        world.made()
        calls = world.spawn(3, 1.0)
        clock.sleep(1.0)
        starting = world.count("starting")
        world.obj.update_autoscaler(max_containers=1)
        left = world.count("starting")
        for call in calls:
            call.get()
        return f"of {starting} starts {starting - left} are cancelled; one container serves all"


@story(
    "`set_local_input_concurrency(6)` in an input",
    "`target_inputs=4`, `max_inputs=8`; 8 inputs come",
)
def local_limit(clock):
    world = World(clock, **EIGHT, max_containers=1)
    with world.app.run(clock=clock):
        world.made()
        assert world.obj.limit.remote(6) == 6
        calls = world.spawn(8, 5.0)
        clock.sleep(0.001)
        running, queued = world.running[0], world.queued
        for call in calls:
            call.get()
        return f"{running} run in that container, whose target is off, and {queued} wait"


@story(
    "`moorage.config.max_containers = 3`, for all of the process",
    "f and then g was called, each has an idle container; 2 inputs come for h",
)
def evicted(clock):
    app = App("room")
    f, g, h = (World(clock, app=app, name=name, scaledown_window=1000) for name in "FGH")
    with pytest.MonkeyPatch.context() as patch, app.run(clock=clock):
        patch.setattr(config, "max_containers", 3)
        for world in (f, g, h):
            world.made()
        for world in (f, g):
            world.obj.work.remote(1.0)
            clock.sleep(1.0)
        calls = h.spawn(2, 5.0)
        clock.sleep(3.0)
        seen = {name: world.containers for name, world in (("f", f), ("g", g), ("h", h))}
        for call in calls:
            call.get()
        assert seen["f"] == 0
        return f"h has {seen['h']} and g {seen['g']}: that of f, idle for longest, made room"


@story("`batched(max_batch_size=4, wait_ms=100)`", "10 inputs at once, one slot for each container")
def batches(clock):
    app = App("batches")

    @app.function()
    @moorage.batched(max_batch_size=4, wait_ms=100)
    async def work(seconds):
        await asyncio.sleep(seconds[0])
        return seconds

    with app.run(clock=clock):
        calls = [work.spawn(1.0) for _ in range(10)]
        containers = len(work.statistics().containers)
        for call in calls:
            call.get()
        return f"{containers} containers, for 3 batches"


def told(name):
    _, _, tell = STORIES[name]
    with VirtualClock() as clock:
        return tell(clock)


def table():
    lines = ["| written | what happens | what is seen |", "|---|---|---|"]
    for name, (written, happens, _) in STORIES.items():
        lines.append(f"| {written} | {happens} | {told(name)} |")
    return "\n".join(lines)


@pytest.mark.parametrize("name", STORIES)
def test_the_guide_tells_what_is_seen(name):
    written, happens, _ = STORIES[name]
    assert f"| {written} | {happens} | {told(name)} |" in GUIDE.read_text().splitlines()


def test_the_guide_has_no_other_rows():
    section = GUIDE.read_text().partition("| written |")[2].partition("\n\n")[0]
    assert len(re.findall(r"^\|", section, re.M)) == len(STORIES) + 1


# -- what was got wrong once -----------------------------------------------------------------


def test_a_container_that_falls_idle_later_goes_when_its_window_ends():
    with VirtualClock() as clock:
        world = World(clock, start=0.0, scaledown_window=5, concurrent={"max_inputs": 2})
        with world.app.run(clock=clock):
            world.made()
            # 1. Three containers, of two inputs each; the third is idle since 1.
            for seconds in (200, 2, 30, 2, 1, 1):
                world.spawn(1, seconds)
            clock.sleep(10.0)
            # 2. It went.  Two slots were held then, and nobody was idle.
            assert world.running == [1, 1]
            # 3. One more comes, to the first; the second is idle since 30:
            world.spawn(1, 200)
            clock.sleep(21.0)
            # two are held again, as when the policy was asked last, but one is idle.
            assert sorted(world.running) == [0, 2]
            clock.sleep(60.0)
            assert world.running == [2]


def test_a_buffer_that_is_put_to_use_is_replaced():
    with VirtualClock() as clock:
        world = World(
            clock,
            start=0.0,
            scaledown_window=300,
            buffer_containers=1,
            concurrent={"max_inputs": 2},
        )
        with world.app.run(clock=clock):
            world.made()
            # 1. One container is full, and the buffer is idle beside it.
            world.spawn(2, 200.0)
            clock.sleep(1.0)
            assert sorted(world.running) == [0, 2]
            # 2. The buffer takes the next at once: nothing is queued.
            world.spawn(1, 200.0)
            clock.sleep(1.0)
            assert sorted(world.running) == [0, 1, 2]


def test_a_buffer_comes_when_the_idle_minimum_takes_an_input():
    with VirtualClock() as clock:
        world = World(clock, start=0.0, min_containers=1, buffer_containers=2)
        with world.app.run(clock=clock):
            world.made()
            world.obj.update_autoscaler(min_containers=1)  # so that its pool is there
            clock.sleep(1.0)
            assert world.running == [0]
            # It is granted at once: nothing is queued.
            world.spawn(1, 200.0)
            clock.sleep(40.0)
            assert sorted(world.running) == [0, 0, 1]


def test_a_container_that_is_taken_back_when_the_policy_woke_up_takes_what_is_queued():
    with VirtualClock() as clock:
        concurrent = {"max_inputs": 4, "target_inputs": 3}
        world = World(clock, start=1.0, concurrent=concurrent, timeout=5000)
        with world.app.run(clock=clock):
            world.made()
            # 1. Inputs are short, so that the policy expects slots to come free soon.
            for _ in range(20):
                world.obj.work.remote(0.01)
            world.obj.update_autoscaler(min_containers=2)
            clock.sleep(2.0)
            # 2. The first container has two, and a limit of one; the second one of four.
            world.spawn(2, 2000.0)
            world.obj.limit.remote(1)
            world.spawn(1, 2000.0)
            clock.sleep(1.0)
            assert world.running == [2, 1]
            # 3. The second drains, and one is queued.
            world.obj.update_autoscaler(min_containers=0, max_containers=1)
            (queued,) = world.spawn(1, 1.0)
            clock.sleep(1.0)
            assert (world.running, world.count("draining"), world.queued) == ([2], 1, 1)
            # 4. There may be more again; it is a later look that takes the second back.
            world.obj.update_autoscaler(max_containers=5)
            assert world.count("draining") == 1
            queued.get()
            assert clock.now() < 1000.0, "not only when one of the others ended"


if __name__ == "__main__":
    print(table())
