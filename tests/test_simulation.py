"""The simulator: against queueing theory, its books, the oracle, and the command."""

import math
import random
import subprocess
import sys

import pytest

from moorage.runtime.pools.autoscaler import Limits, TargetPolicy
from moorage.simulate import main, read_trace
from moorage.simulator.anchors import CountOfTheMoment
from moorage.simulator.hindsight import oracle, schedule
from moorage.simulator.scoring import score, work
from moorage.simulator.simulation import Knee, StartUp, percentile, simulate
from moorage.simulator.tables import POLICIES
from moorage.simulator.traces import SERVICES, TRACES, poisson

INSTANT = StartUp(0.0)


def erlang_c(servers, load):
    """The chance to wait in M/M/c, for `load` = rate * mean service."""
    inverse = 1.0
    for k in range(1, servers + 1):  # Erlang B by its recursion
        inverse = 1.0 + inverse * k / load
    blocked = 1.0 / inverse
    return blocked / (1.0 - load / servers * (1.0 - blocked))


@pytest.mark.parametrize(("containers", "slots", "load"), [(1, 1, 0.7), (2, 4, 5.6), (5, 2, 7.0)])
def test_fixed_containers_wait_as_erlang_c_says(containers, slots, load):
    drawn = random.Random(7)
    arrivals = poisson(drawn, lambda t: load, load, 40_000.0 / load * 2)
    services = [drawn.expovariate(1.0) for _ in arrivals]
    limits = Limits(slots, slots, containers, containers)
    found = simulate(arrivals, services, limits, TargetPolicy(limits), start_up=INSTANT)
    servers = containers * slots
    expected = erlang_c(servers, load) / (servers - load)
    mean = sum(found.waits) / len(found.waits)
    assert mean == pytest.approx(expected, rel=0.12)
    waited = sum(wait > 0.0 for wait in found.waits) / len(found.waits)
    assert waited == pytest.approx(erlang_c(servers, load), rel=0.05)


@pytest.mark.parametrize("trace", ["steps x10", "over capacity", "small maps"])
@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("knee", [None, Knee(4)])
def test_the_books_balance(trace, name, knee):
    chosen = next(one for one in TRACES if one.name == trace)
    drawn = random.Random(3)
    arrivals = chosen.arrivals(drawn)[:1500]
    services = [drawn.expovariate(2.0) for _ in arrivals]
    limits = Limits(4, 8, max_containers=chosen.max_containers)
    found = simulate(arrivals, services, limits, POLICIES[name](limits), knee=knee, record=True)
    assert found.left_over == 0
    assert found.containers_left == 0 or name == "ray-serve"
    # Little's law, of those that wait and of those that run.
    assert found.queued_seconds == pytest.approx(math.fsum(found.waits))
    passed = math.fsum(found.excess) + math.fsum(services) - math.fsum(found.waits)
    assert found.running_seconds == pytest.approx(passed)
    # Containers cost at least what their slots worked, and there is no time to run backwards.
    assert found.container_seconds * limits.max_inputs >= found.running_seconds
    assert all(wait >= 0.0 for wait in found.waits)
    assert all(m.running <= m.ready * limits.max_inputs for m in found.timeline)
    assert found.timeline[-1].running == found.timeline[-1].queued == 0


def test_a_knee_slows_by_its_factor():
    limits = Limits(4, 8)
    found = simulate([0.0] * 8, [1.0] * 8, limits, _one(limits), knee=Knee(4), start_up=INSTANT)
    # Eight at once in one container are twice as slow.
    assert list(found.excess) == pytest.approx([1.0] * 8)
    assert found.above_target_seconds == pytest.approx(2.0)


def _one(limits):
    limits = Limits(limits.target_inputs, limits.max_inputs, 1, 1)
    return TargetPolicy(limits)


def test_the_same_seed_gives_the_same_and_another_does_not():
    arrivals, services = [0.0, 0.1, 5.0] * 1, [1.0] * 3
    limits = Limits(1, 1)
    runs = [simulate(arrivals, services, limits, TargetPolicy(limits), seed=s) for s in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0].container_seconds != runs[2].container_seconds


def test_arrivals_out_of_order_are_refused():
    limits = Limits(4, 8)
    with pytest.raises(ValueError, match=r"must be in order.*; sort them"):
        simulate([2.0, 1.0], [1.0, 1.0], limits, TargetPolicy(limits))
    with pytest.raises(ValueError, match="got 1 arrivals and 2 service times"):
        simulate([2.0], [1.0, 1.0], limits, TargetPolicy(limits))


def test_percentiles_are_values_that_occurred():
    assert [percentile([3.0, 1.0, 2.0], p) for p in (0, 50, 99, 100)] == [1.0, 2.0, 3.0, 3.0]
    assert percentile([], 99) == 0.0


def test_a_schedule_pays_a_start_or_the_gap_whichever_is_less():
    assert schedule([0.0, 2.0], [1.0, 1.0], 4, None, 2.0).container_seconds == 2 + 1 + 1 + 1
    assert schedule([0.0, 9.0], [1.0, 1.0], 4, None, 2.0).container_seconds == 2 + 1 + 2 + 1
    both = schedule([0.0, 0.0], [1.0, 1.0], 1, 1, 2.0)
    assert (both.container_seconds, both.excess_p99, both.containers) == (4.0, 1.0, 1)


@pytest.mark.parametrize("trace", [one for one in TRACES if one.name != "map of 10,000"])
def test_no_policy_beats_the_oracle_at_both(trace):
    limits = Limits(4, 8, max_containers=trace.max_containers)
    drawn = work(trace, "exponential", 5, limits=limits, start_up=StartUp())
    for make in (TargetPolicy, CountOfTheMoment):
        found = score(drawn, make)
        assert found.score > 0.99


def test_the_oracle_is_bound_by_max_containers():
    best = oracle([0.0] * 100, [1.0] * 100, Limits(4, 8, max_containers=2), 2.0, 0.2)
    assert best.containers == 2
    assert best.excess_p99 == pytest.approx(6.0)


def test_services_have_the_mean_that_was_asked_for():
    for law in SERVICES.values():
        draws = law(random.Random(1), 0.5)
        assert sum(next(draws) for _ in range(50_000)) / 50_000 == pytest.approx(0.5, rel=0.05)


def test_a_trace_file_may_say_services(tmp_path):
    path = tmp_path / "trace"
    path.write_text("# mine\n\n1.5 0.25\n0.5\n2,3\n")
    assert read_trace(str(path)) == ([0.5, 1.5, 2.0], [None, 0.25, 3.0])


@pytest.mark.parametrize("line", ["soon", "1 2 3", "-1", "1 inf"])
def test_a_line_of_a_trace_file_that_is_not_understood_is_told(tmp_path, capsys, line):
    path = tmp_path / "trace"
    path.write_text(f"1\n{line}\n")
    assert main(["--trace-file", str(path)]) == 2
    assert f"line 2 says {line!r}; write a time of arrival" in capsys.readouterr().err


def test_the_command_plans_a_deployment():
    command = [sys.executable, "-m", "moorage.simulate", "--rate", "5", "--duration", "60"]
    done = subprocess.run([*command, "--policy", "all"], capture_output=True, text=True, check=True)
    assert [name in done.stdout for name in POLICIES] == [True] * len(POLICIES)
    assert "oracle" in done.stdout


MISTAKES = {
    "--target 9": "got 9 > 8; write --max-inputs 9 or more",
    "--rate abc": "must be a number above 0, got 'abc'; write --rate 5",
    "--rate 0": "must be a number above 0, got '0'; write --rate 5",
    "--rate nan": "got 'nan'; write --rate 5",
    "--rate inf": "got 'inf'; write --rate 5",
    "--start -1": "must be a number from 0 up, got '-1'; write --start 2",
    "--start-spread 2": "must be a number from 0 to 1, got '2'; write --start-spread 0.25",
    "--scaledown-window 1": "must be a number from 2 to 3600, got '1'; write --scaledown-window 60",
    "--seeds 0": "must be a whole number from 1 up, got '0'; write --seeds 5",
    "--jobs two": "must be a whole number from 1 up, got 'two'; write --jobs 2",
    "--min-containers 3 --max-containers 2": "got 3 > 2; write --max-containers 3 or more",
    "--min-containers 33": "got 33 > 32; write --max-containers 33 or more",
    "--slope 2": "got no --knee; write --knee 4 too",
    "--policy knativ": "got 'knativ'; write --policy knative",
    "--trace step": "got 'step'; write --trace ",
    "--law normal": "got 'normal'; write --law log-normal",
    "--rate 5 --trace saw": "got --rate and --trace; write one of them",
    "--trace saw --duration 5": "--trace has a duration of its own; write it without --duration",
    "--score --rate 5": "--score runs all traces under all laws; write it without --rate",
    "--sensitivity --trace-file x": "write it without --trace-file",
    "--sensitivity --policy all": "write it without --policy",
    "--score --sensitivity": "write one of them",
    "--score --start 0": "got --start 0; write --start 0.1",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_told_with_what_to_write(line, capsys):
    with pytest.raises(SystemExit) as raised:
        main(line.split())
    assert raised.value.code == 2
    assert MISTAKES[line] in capsys.readouterr().err.splitlines()[-1]


def test_files_that_cannot_be_read_are_told(tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.write_text("# nothing\n")
    for path, advice in [
        (empty, "has no inputs; write one a line"),
        (tmp_path / "none", "No such file or directory; write the path of a file"),
    ]:
        assert main(["--trace-file", str(path)]) == 2
        assert advice in capsys.readouterr().err


def test_no_input_at_all_is_told(capsys):
    assert main(["--rate", "0.001", "--duration", "0.1"]) == 2
    assert "no input came in 0.1 s at 0.001 a second; write --duration" in capsys.readouterr().err


def test_containers_may_start_at_once(capsys):
    assert main(["--start", "0", "--duration", "20"]) == 0
    assert "start-up 0 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--duration 5", "max_containers=32"),
        ("--duration 5 --max-containers 0", "no limit of containers"),
        ("--trace over-capacity", "max_containers=5"),
        ("--trace over-capacity --max-containers 7", "max_containers=7"),
    ],
)
def test_a_pool_has_the_room_of_a_process_unless_told(line, said, capsys):
    assert main(line.split()) == 0
    assert said in capsys.readouterr().out.split("\n\n")[0]


def test_what_stays_is_billed_as_long_as_what_goes():
    arrivals, services = [10.0, 11.0], [1.0, 1.0]
    costs = []
    for changed in ({}, {"min_containers": 1}, {"scaledown_window": 3600.0}):
        limits = Limits(4, 8, **changed)
        policy = TargetPolicy(limits)
        found = simulate(arrivals, services, limits, policy, start_up=StartUp(2.0, 0.0))
        costs.append(found.container_seconds)
    # The first arrival starts a container, and the last input ends at 13, or at 12 if it
    # was there; 60 s more.
    assert costs == [63.0, 62.0, 63.0]


def test_a_plot_without_matplotlib_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["--duration", "5", "--plot", "unused.png"]) == 2
    told = capsys.readouterr()
    assert "pip install 'moorage[plots]'" in told.err
    assert not told.out  # before anything is computed


@pytest.mark.parametrize(
    ("path", "advice"), [("run.txt", "write --plot run.png"), ("no/run.png", "or make 'no'")]
)
def test_a_plot_that_cannot_be_written_is_told_first(path, advice, capsys):
    assert main(["--duration", "5", "--plot", path]) == 2
    told = capsys.readouterr()
    assert advice in told.err
    assert not told.out
