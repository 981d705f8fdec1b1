"""The job queue: what the web application sees, minute by minute, in no time."""

import asyncio
from textwrap import dedent

import jobs
import modal
import pytest
from jobs import Status, app, render, status, submit

from moorage.testing import Probe


@pytest.fixture
def probe():
    return Probe()


@pytest.fixture(autouse=True)
def running(run_app, probe):
    run_app(app, probe=probe)


def test_a_job_is_pending_until_it_is_done(clock):
    job = submit("amber", months=2)
    assert status(job) == Status("pending")
    clock.sleep(39.9)
    assert status(job) == Status("pending")
    clock.sleep(0.2)
    assert status(job) == Status("done", jobs.Report("amber", ["amber 01: paid", "amber 02: paid"]))


def test_asking_does_not_wait_nor_take_the_result_away(clock):
    job = submit("amber")
    for _ in range(3):
        status(job)
    assert clock.now() == 0
    jobs.wait_for([job])
    assert status(job) == status(job)


def test_two_at_a_time_the_others_in_order(clock, probe):
    ordered = [submit(name) for name in ("amber", "birch", "cedar", "dill", "elm")]
    clock.sleep(1)
    assert [status(job).state for job in ordered] == ["pending"] * 5
    assert render.statistics().running == 2
    assert render.statistics().queued == 3
    assert [end.report.customer for end in jobs.wait_for(ordered)] == [
        *("amber", "birch", "cedar", "dill", "elm")
    ]
    assert render.statistics().peak_containers == 2
    assert f"\n{probe.timeline(width=40)}\n" == dedent("""
                            0         20        40        60 s  (2 s a column)
        render('amber', 1)  ##########                       result render-1
        render('birch', 1)  ##########                       result render-2
        render('cedar', 1)  ..........##########             result render-1
        render('dill', 1)   ..........##########             result render-2
        render('elm', 1)    ....................##########   result render-1
        render-1            ===============================
        render-2            ===============================
    """)


def test_what_goes_wrong_is_said_and_spoils_no_other(clock):
    bad, good = submit("nobody"), submit("amber")
    jobs.wait_for([bad, good])
    assert status(bad) == Status("failed", reason="NoSuchCustomer: nobody")
    assert status(good).state == "done"


def test_one_that_takes_too_long_is_ended_and_its_container_is_free_again(clock):
    long = submit("amber", months=100)
    jobs.wait_for([long])
    assert clock.now() == 300
    assert status(long) == Status("failed", reason="it took too long")
    assert jobs.wait_for([submit("birch")])[0].state == "done"
    assert clock.now() == 320


def test_taking_back_one_that_runs_leaves_the_others(clock):
    first, second, third = (submit(name) for name in ("amber", "birch", "cedar"))
    clock.sleep(5)
    jobs.cancel(first)
    assert status(first) == Status("cancelled")
    jobs.wait_for([second, third])
    assert clock.now() == 25  # the third began when the first ended
    assert (status(second).state, status(third).state) == ("done", "done")


def test_taking_back_one_that_waits_never_runs_it(clock, probe):
    ordered = [submit(name) for name in ("amber", "birch", "cedar")]
    jobs.cancel(ordered[2])
    jobs.wait_for(ordered)
    assert [status(job).state for job in ordered] == ["done", "done", "cancelled"]
    assert "render('cedar', 1)" not in probe.events.inputs("started")


def test_taking_back_what_is_done_changes_nothing(clock):
    job = submit("amber")
    jobs.wait_for([job])
    jobs.cancel(job)
    assert status(job).state == "done"


def test_cancel_wins_or_result_wins_never_both(probe):
    """The report is rendered, and the order is taken back before anybody knows."""
    with probe.hold("settle") as gate:
        job = submit("amber")
        gate.wait_held()
        jobs.cancel(job)
        assert status(job) == Status("cancelled")
    assert status(job) == Status("cancelled")
    assert jobs.wait_for([submit("birch")])[0].state == "done"


def test_results_are_kept_for_ten_minutes(clock):
    job = submit("amber")
    jobs.wait_for([job])
    clock.sleep(599)
    assert status(job).state == "done"
    clock.sleep(1)
    assert status(job) == Status("expired")


def test_an_id_that_was_never_given_is_unknown():
    assert status("fc-nonsense") == Status("unknown")
    with pytest.raises(modal.exception.NotFoundError):
        jobs.cancel("fc-nonsense")


def test_containers_come_with_the_work_and_go_without(clock, probe):
    jobs.wait_for([submit("amber"), submit("birch")])
    clock.sleep(59)
    assert len(render.statistics().containers) == 2
    clock.sleep(2)
    assert render.statistics().containers == ()
    assert jobs.wait_for([submit("cedar")])[0].state == "done"


def test_polling_is_once_in_five_seconds(clock, monkeypatch):
    asked = []
    real = jobs.status
    monkeypatch.setattr(jobs, "status", lambda job: asked.append(clock.now()) or real(job))
    jobs.wait_for([submit("amber")])
    assert asked == [0, 5, 10, 15, 20, 20]


async def test_many_follow_one_job(clock):
    job = submit("amber")

    async def states():
        return [(clock.now(), found.state) async for found in jobs.follow(job)]

    seen = await asyncio.gather(*(states() for _ in range(10)))
    assert seen == [[(0, "pending"), (20, "done")]] * 10


async def test_who_follows_sees_it_taken_back(clock):
    job = submit("amber")
    asyncio.get_running_loop().call_later(7, jobs.cancel, job)
    assert [found.state async for found in jobs.follow(job)] == ["pending", "cancelled"]
    assert clock.now() == 10


def test_the_command_line(clock, capsys):
    jobs.main(customer="amber", months=2)
    assert capsys.readouterr().out == "done\namber 01: paid\namber 02: paid\n"
    jobs.main(customer="nobody")
    assert capsys.readouterr().out == "failed\nNoSuchCustomer: nobody\n"
