"""The autoscaler's policy: each rule by itself, and what holds whatever it is shown."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.runtime.pools.autoscaler import Fill, Limits, Observation, TargetPolicy, Tuning
from moorage.simulator.simulation import StartUp, simulate

STARTED = {"starts": 5, "start_seconds": 10.0}  # 2 s each


def seen(now=0.0, **values):
    """An observation; nothing is there and nothing has happened unless said."""
    usual = {
        "running": 0,
        "queued": 0,
        "ready": 0,
        "starting": 0,
        "idle_since": (),
        "arrivals": 0,
        "completions": 0,
        "busy_seconds": 0.0,
        "starts": 0,
        "start_seconds": 0.0,
    }
    return Observation(now=now, **{**usual, **values})


def policy(**limits):
    return TargetPolicy(Limits(**{"target_inputs": 4, "max_inputs": 8, **limits}))


# -- how many ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("queued", "wanted"), [(1, 1), (4, 1), (5, 2), (100, 25)])
def test_before_anything_has_finished_there_is_a_slot_for_each_input(queued, wanted):
    assert policy().decide(seen(queued=queued, arrivals=queued)).wanted == wanted


def test_short_inputs_that_will_be_gone_start_nothing():
    # 12 of 10 ms run or wait, and a start takes 2 s.
    what = seen(
        now=100.0,
        running=8,
        queued=4,
        ready=1,
        arrivals=1012,
        completions=1000,
        busy_seconds=10.0,
        **STARTED,
    )
    # What `max_inputs` cannot hold is worth one more all the same.
    assert policy().decide(what).wanted == 2


def test_long_inputs_that_will_still_be_there_count_as_they_are():
    what = seen(
        now=1000.0,
        running=16,
        ready=2,
        arrivals=26,
        completions=10,
        busy_seconds=1000.0,
        **STARTED,
    )
    assert policy().decide(what).wanted == 4


def test_a_backlog_counts_for_what_works_it_off_within_a_start():
    # 792 queued of 0.1 s: 79 s of work, in 2 s by 40 slots.  That `max_inputs` held all of them
    # would take 100 containers, but there are to be no more than 20.
    what = seen(
        now=100.0,
        running=8,
        queued=792,
        ready=1,
        arrivals=1800,
        completions=1000,
        busy_seconds=100.0,
        **STARTED,
    )
    assert policy().decide(what).wanted == 100
    assert policy(max_containers=20).decide(what).wanted == 20


def test_the_count_at_target_is_never_exceeded_but_by_the_buffer():
    what = seen(queued=9, arrivals=9)
    assert policy().decide(what).wanted == 3
    assert policy(buffer_containers=2).decide(what).wanted == 5
    assert policy(buffer_containers=2, max_containers=4).decide(what).wanted == 4


def test_the_buffer_is_there_while_there_is_demand_only():
    assert policy(buffer_containers=2).decide(seen()).wanted == 0


def test_slots_that_are_withheld_add_to_the_demand():
    what = seen(running=1, queued=3, ready=1, arrivals=4, withheld=3)
    assert policy().decide(what).wanted == 2


def test_min_containers_hold_without_any_load_and_nothing_has_to_be_asked():
    decision = policy(min_containers=3).decide(seen(ready=3, idle_since=(0.0, 0.0, 0.0), now=1e4))
    assert (decision.wanted, decision.ask_again_at) == (3, None)


def test_inputs_burst_above_the_target():
    assert policy().decide(seen(queued=1)).fill is Fill.MAX


def test_what_starts_is_cancelled_when_nothing_is_left_to_do():
    p = policy()
    assert p.decide(seen(queued=40, arrivals=40)).wanted == 10
    assert p.decide(seen(now=0.1, starting=10, arrivals=40, completions=40)).wanted == 0


def test_noise_neither_starts_nor_cancels():
    # 5 a second of 0.4 s are 2 slots; now 6 are there, by chance.
    p = policy()
    for tick in range(100):
        now = tick * 0.1
        ended = tick // 2
        p.decide(
            seen(
                now,
                running=2,
                ready=1,
                arrivals=2 + ended,
                completions=ended,
                busy_seconds=2 * now,
                **STARTED,
            )
        )
    what = {"running": 6, "ready": 1, "arrivals": 54, "completions": 48, "busy_seconds": 20.0}
    assert p.decide(seen(10.0, **what, **STARTED)).wanted == 1
    assert p.decide(seen(10.0, starting=1, **what, **STARTED)).wanted == 2


# -- how long ---------------------------------------------------------------------------------


def test_a_window_that_was_set_is_kept_exactly():
    p = policy(scaledown_window=7.0)
    what = {"ready": 3, "idle_since": (1.0, 2.0, 2.5), "arrivals": 9, "completions": 9}
    for now, wanted, again in [
        (7.999, 3, 8.0),
        (8.0, 2, 9.0),
        (9.0, 1, 9.5),
        (math.nextafter(9.5, 0), 1, 9.5),
        (9.5, 0, None),
    ]:
        decision = p.decide(seen(now, **what))
        assert (decision.wanted, decision.ask_again_at) == (wanted, again)


def test_a_window_of_zero_keeps_nothing():
    what = seen(5.0, ready=1, idle_since=(5.0,), arrivals=1, completions=1)
    assert policy(scaledown_window=0.0).decide(what).wanted == 0


def test_the_last_container_stays_a_minute_and_another_for_what_a_start_costs():
    p = policy()
    idle = {"arrivals": 8, "completions": 8, "busy_seconds": 8.0, **STARTED}
    decision = p.decide(seen(10.0, ready=2, idle_since=(10.0, 10.0), **idle))
    assert (decision.wanted, decision.ask_again_at) == (2, 13.0)  # 1.5 starts of 2 s
    decision = p.decide(seen(13.0, ready=2, idle_since=(10.0, 10.0), **idle))
    assert (decision.wanted, decision.ask_again_at) == (1, 70.0)
    assert p.decide(seen(70.0, ready=1, idle_since=(10.0,), **idle)).wanted == 0


def test_a_start_that_costs_next_to_nothing_still_keeps_a_container_two_seconds():
    idle = {"arrivals": 8, "completions": 8, "starts": 5, "start_seconds": 0.005}
    decision = policy().decide(seen(10.0, ready=2, idle_since=(10.0, 10.0), **idle))
    assert decision.ask_again_at == 12.0


def test_a_level_that_is_needed_again_late_stays_a_minute():
    p = policy()
    counts = {"arrivals": 16, "completions": 0, **STARTED}
    for now in (10.0, 40.0):  # 16 inputs, which two containers can hold, not one
        p.decide(seen(now, running=16, ready=2, **counts))
    ended = {"arrivals": 32, "completions": 32, "busy_seconds": 32.0, **STARTED}
    idle = (41.0, 41.0)
    assert p.decide(seen(41.0, ready=2, idle_since=idle, **ended)).ask_again_at == 101.0
    assert p.decide(seen(100.9, ready=2, idle_since=idle, **ended)).wanted == 2
    assert p.decide(seen(101.0, ready=2, idle_since=idle, **ended)).wanted == 0


def idle_after(p, when, arrivals):
    """When it wants to be asked, of two containers that become idle at `when`."""
    ended = {"arrivals": arrivals, "completions": arrivals, "busy_seconds": 32.0, **STARTED}
    return p.decide(seen(when, ready=2, idle_since=(when, when), **ended)).ask_again_at


@pytest.mark.parametrize("gap", [1.0, 61.5])
def test_a_level_that_is_needed_again_soon_or_not_within_the_window_does_not(gap):
    p = policy()
    now = 10.0
    for arrivals in (16, 32):
        p.decide(seen(now, running=16, ready=2, arrivals=arrivals, completions=0, **STARTED))
        now += 1.0
        assert idle_after(p, now, arrivals) == now + 3.0
        now += gap


@pytest.mark.parametrize(("keeps_coming", "stays"), [(True, 60.0), (False, 3.0)])
def test_a_level_for_what_kept_coming_stays_a_minute_and_one_for_a_long_burst_does_not(
    keeps_coming, stays
):
    p = policy()
    for second in range(6):
        arrivals = 16 + 8 * second * keeps_coming
        counts = {"arrivals": arrivals, "completions": arrivals - 16, **STARTED}
        p.decide(seen(10.0 + second, running=16, ready=2, **counts))
    assert idle_after(p, 16.0, arrivals) == 16.0 + stays


def uses(p, begins, *, lasts=1.0, inputs=16):
    """Show `p` uses of its levels: `inputs` at once at each of `begins`; return the arrivals.

    Containers are ready as soon as they are wanted, and those that are not wanted are gone.
    """
    arrivals, idle = 0, []
    for begin in begins:
        while idle:  # what the pool does until then
            now = p.decide(ended(idle[0], idle, arrivals)).ask_again_at
            if now is None or now > begin:
                break
            idle = idle[len(idle) - p.decide(ended(now, idle, arrivals)).wanted :]
        arrivals += inputs
        needed = max(len(idle), -(-inputs // 8))
        came = {"arrivals": arrivals, "completions": arrivals - inputs, "busy_seconds": arrivals}
        p.decide(seen(begin, running=inputs, ready=needed, **came, **STARTED))
        idle = [begin + lasts] * needed
        p.decide(ended(begin + lasts, idle, arrivals))
    return arrivals


def ended(now, idle, arrivals):
    """All inputs have ended, and the containers are idle."""
    counts = {"arrivals": arrivals, "completions": arrivals, "busy_seconds": arrivals}
    return seen(now, ready=len(idle), idle_since=tuple(idle), **counts, **STARTED)


def stay_of_two(p, now, arrivals):
    """How long the second of two containers stays that become idle at `now`."""
    return p.decide(ended(now, [now, now], arrivals)).ask_again_at - now


@pytest.mark.parametrize(
    ("pause", "stay"),
    [
        (10.0, 60.0),  # each stay that outlasts the pause is as good; the longest is the safest
        (29.0, 60.0),
        (59.0, 60.0),  # 60 container-seconds, in place of 6 and a wait that counts 11 times
        (100.0, 3.0),
    ],
)
def test_a_level_stays_as_long_as_its_past_pauses_show_that_it_pays(pause, stay):
    p = policy()
    begins = [10.0 + k * (pause + 1.0) for k in range(4)]
    assert stay_of_two(p, begins[-1] + 1.0, uses(p, begins)) == stay


def test_a_pause_that_is_rare_does_not_end_a_stay_that_pays():
    p = policy()
    begins = [10.0 + 11.0 * k + (80.0 if k > 20 else 0.0) for k in range(40)]
    # 15 s outlast the usual pauses; in the long one 60 s would have cost more.
    assert stay_of_two(p, begins[-1] + 1.0, uses(p, begins)) == 15.0


def test_a_level_for_one_input_in_many_does_not_stay():
    p = policy()
    stays = []
    arrivals = 0
    # 16 inputs run all the time, 8 come each second.  Every 20 s there is one more for a moment.
    for second in range(200):
        arrivals += 8
        extra = second % 20 == 0
        what = {"running": 16 + extra, "arrivals": arrivals, "completions": arrivals - 16}
        p.decide(seen(float(second), ready=3, busy_seconds=arrivals * 2.0, **what, **STARTED))
        what["running"] = 16
        decision = p.decide(
            seen(
                second + 0.1,
                ready=3,
                idle_since=(second + 0.1,),
                busy_seconds=arrivals * 2.0,
                **what,
                **STARTED,
            )
        )
        stays.append(round(decision.ask_again_at - second - 0.1, 9))
    assert stays[-1] == 3.0


def test_the_last_container_stays_a_minute_until_three_pauses_were_longer():
    p = policy()
    begins = [10.0 + 100.0 * k for k in range(4)]
    stays = []
    for arrivals, begin in enumerate(begins, 1):
        counts = {"arrivals": arrivals, "completions": arrivals - 1, "busy_seconds": arrivals}
        p.decide(seen(begin, queued=1, **counts, **STARTED))
        p.decide(seen(begin + 2.0, running=1, ready=1, **counts, **STARTED))
        idle = [begin + 3.0]
        now = p.decide(ended(idle[0], idle, arrivals)).ask_again_at
        stays.append(now - idle[0])
        assert p.decide(ended(now, idle, arrivals)).wanted == 0
    assert stays == [60.0, 60.0, 60.0, 3.0]


def test_the_last_container_stays_a_minute_if_its_uses_are_not_seen():
    # An input that finds a slot below the target does not ask: only arrivals and the time at
    # which the container became idle show its uses.
    p = policy()
    p.decide(seen(10.0, queued=1, arrivals=1, **STARTED))
    p.decide(seen(12.0, running=1, ready=1, arrivals=1, **STARTED))
    idle, arrivals = 13.0, 1
    again = p.decide(ended(idle, [idle], arrivals)).ask_again_at
    for _ in range(50):
        idle, arrivals = again - 5.0, arrivals + 3
        decision = p.decide(ended(again, [idle], arrivals))
        assert (decision.wanted, decision.ask_again_at) == (1, idle + 60.0)
        again = decision.ask_again_at


@pytest.mark.parametrize("start", [0.0, 0.01])
def test_a_start_that_nobody_notices_is_no_reason_to_stay(start):
    p = policy()
    for k in range(6):
        now = 10.0 + 11.0 * k
        counts = {"starts": 5, "start_seconds": 5 * start, "busy_seconds": 16.0 * (k + 1)}
        came = 16 * (k + 1)
        p.decide(seen(now, running=16, ready=2, arrivals=came, completions=came - 16, **counts))
        idle = (now + 1.0, now + 1.0)
        decision = p.decide(
            seen(now + 1.0, ready=2, idle_since=idle, arrivals=came, completions=came, **counts)
        )
    assert decision.ask_again_at == now + 3.0


def test_levels_are_bounded_by_max_containers():
    p = policy(max_containers=3)
    p.decide(seen(10.0, queued=10_000, arrivals=10_000))
    assert len(p._levels) == 3


def test_a_map_is_not_kept_for_the_next_one_before_there_was_one():
    p = policy()
    idle = [11.0] * 1000
    assert p.decide(ended(11.0, idle, uses(p, [10.0], inputs=8000))).ask_again_at == 14.0
    assert p.decide(ended(14.0, idle, 8000)).wanted == 1


# -- whatever it is shown ---------------------------------------------------------------------

LIMITS = st.builds(
    lambda target, more, least, most, buffer, window: Limits(
        target, target + more, least, None if most is None else least + most, buffer, window
    ),
    st.integers(1, 8),
    st.integers(0, 8),
    st.integers(0, 3),
    st.none() | st.integers(1, 10),
    st.integers(0, 3),
    st.none() | st.sampled_from([0.0, 0.1, 2.0, 60.0]),
)

STEP = st.tuples(
    st.sampled_from([0.0, 1e-9, 0.01, 0.3, 2.0, 7.7, 100.0]),  # time that passes
    st.integers(0, 40),  # running
    st.integers(0, 60),  # queued
    st.integers(0, 12),  # ready
    st.integers(0, 6),  # starting
    st.integers(0, 12),  # idle, at most
    st.integers(-2, 50),  # arrivals since
    st.integers(0, 50),  # completions since
    st.integers(0, 5),  # withheld
)


@settings(max_examples=300, deadline=None)
@given(LIMITS, st.lists(STEP, max_size=30), st.sampled_from([0.0, 1e-6, 2.0]))
def test_what_always_holds(limits, steps, start):
    p = TargetPolicy(limits)
    now, arrivals, completions, busy, starts = 1e5, 0, 0, 0.0, 0
    for passed, running, queued, ready, starting, idle, came, went, withheld in steps:
        now += passed
        busy += passed * running
        arrivals = max(0, arrivals + came)
        completions += went
        starts += ready > 3
        idle = min(idle, ready, *([0] if running and not ready else []))
        since = tuple(sorted(now - 3.0 * k for k in range(idle)))
        what = seen(
            now,
            running=running,
            queued=queued,
            ready=ready,
            starting=starting,
            idle_since=since,
            arrivals=arrivals,
            completions=completions,
            busy_seconds=busy,
            starts=starts,
            start_seconds=starts * start,
            withheld=withheld,
        )
        decision = p.decide(what)
        demand = running + queued
        there = ready + starting
        at_target = -(-(demand + withheld) // limits.target_inputs) if demand else 0
        buffer = limits.buffer_containers if demand else 0
        assert decision.wanted >= limits.min_containers
        if limits.max_containers is not None:
            assert decision.wanted <= limits.max_containers
        if decision.wanted > there:  # it starts some: never more than at the target
            assert decision.wanted <= max(at_target + buffer, limits.min_containers)
        if decision.ask_again_at is not None:
            assert decision.ask_again_at > now
        if queued and (limits.max_containers is None or limits.max_containers):
            assert decision.wanted >= 1
        if queued and not there:
            assert decision.wanted >= 1
        if not demand:
            kept = sum(now < one + 60.0 for one in since)
            busy_now = ready - idle
            assert decision.wanted <= max(busy_now + kept, limits.min_containers)
        # Asked again at once, it says the same.
        assert p.decide(what) == decision


def test_its_memory_is_bounded():
    p = policy()
    for k in range(20_000):
        now = k * 0.37
        p.decide(
            seen(
                now,
                running=(k * 7919) % 400,
                ready=100,
                idle_since=(now - 0.1,),
                arrivals=k,
                completions=k,
                **STARTED,
            )
        )
    assert len(p._counts) <= 8
    assert len(p._levels) <= 100


@settings(max_examples=60, deadline=None)
@given(
    LIMITS,
    st.lists(st.tuples(st.floats(0.0, 5.0), st.floats(0.0, 4.0)), max_size=60),
    st.sampled_from([0.0, 0.5, 2.0]),
)
def test_a_pool_ends_its_work_and_empties(limits, inputs, start):
    now, arrivals, services = 0.0, [], []
    for gap, service in inputs:
        now += gap if gap > 1.0 else 0.0
        arrivals.append(now)
        services.append(service)
    found = simulate(arrivals, services, limits, TargetPolicy(limits), start_up=StartUp(start))
    assert found.left_over == 0
    assert found.containers_left == limits.min_containers
    assert found.decisions < 100 * (len(inputs) + 1) + 60 * limits.min_containers


@pytest.mark.parametrize("name", list(Tuning.__dataclass_fields__))
def test_no_constant_of_zero_breaks_it(name):
    tuning = Tuning(**{name: 0})
    limits = Limits(4, 8)
    arrivals = [0.05 * k for k in range(200)]
    found = simulate(arrivals, [0.3] * 200, limits, TargetPolicy(limits, tuning))
    assert found.left_over == found.containers_left == 0
