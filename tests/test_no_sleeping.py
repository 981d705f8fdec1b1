"""No test orders events by sleeping: what takes real time here is listed, with its reason.

Read from the code of all files in tests/, and of the programs that they hold as strings:

- ``time.sleep(x)`` is virtual where the same function uses ``patch_time``;
- ``asyncio.sleep(x)``, and limits that pass (``get(timeout=0.1)``), are virtual where the
  same function uses a virtual clock, or all functions of the file that use it do;
- a thread's ``Event.wait``, ``join`` or ``acquire`` of less than a second, and such a
  ``Timer``, are pauses in real time everywhere.

``sleep(0)`` takes turns and no time.  ``event.wait(30)`` is no pause: it is there to fail.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent

# Where real time passes: ``file::function``, and why it must.
ALLOWED = {
    "test_other_tools.py::double_async": "an app, which a suite calls in virtual time only",
    "differential/programs/more_functions.py::f": "runs on Modal too; cancelled, never slept out",
    "differential/programs/more_functions.py::main": "a limit that passes is what is compared",
    "errors/mistakes/blocking_get_on_loop.py::main": "ends a wait that nothing else can end",
    # Load at random in real time is what the stress run is for; its naps order nothing.
    "stress/callers.py::Caller": "when a task is cancelled is left to chance",
    "stress/placed.py::Caller": "when a task is cancelled is left to chance",
    "stress/placed.py::_run": "processes that end are asked for, until they are gone",
    "stress/placed.py::_is_idle": "statistics are asked for: no probe sees other processes",
    "stress/placed_program.py::run": "plans that nap",
    "stress/placed_program.py::run_async": "plans that nap",
    "stress/placed_program.py::run_batch": "plans that nap",
    "stress/placed_program.py::answers": "orders nothing: the time in which kills may come",
    "stress/program.py::perform": "plans that nap",
    "stress/program.py::perform_async": "plans that nap",
    "stress/run.py::_resize": "the pace at which bounds change",
    # The load run is of real sockets in real time, for which its rates are the subject.
    "load/__main__.py::download": "a reader of 1 MB/s",
    "load/__main__.py::latencies": "the pace of the neighbour's requests",
    "load/__main__.py::Memory": "the pace at which the server's memory is read",
    "load/server.py::bulk": "an application that reads 1 MB/s",
    "placing/test_witness.py::test_a_soak_with_kills": "the pace of the kills",
    # Of a pool whose user code is in another process.
    "contract/across.py::WorldAcross": "looks again: nothing tells when a pool has gone on",
    # Called by the tests through functions that do not know the clock.
    "test_foreign_loops.py::work": "runs in virtual time in each test",
    "test_foreign_loops.py::items": "runs in virtual time in each test",
    "test_web_in_virtual_time.py::work": "runs in virtual time in each test",
    # Real processes, which end when the system says so.
    "placing/served.py::with_grandchild": "a program that is killed, never slept out",
    "placing/served.py::start_and_wait": "a program that is killed, never slept out",
    "placing/served.py::answer_when": "runs in another process, which only files reach",
    "placing/waiting.py::waits_at_most": "the wait that ends by itself is what is tested",
    "placing/waiting.py::gets_for_a_while": "the same",
    "placing/waiting.py::many_late": "the search in another process, of which no event tells",
    "placing/waiting.py::slow": "outlasts the search in another process, of which no event tells",
    "placing/waiting.py::is_helped": "the search in another process, of which no event tells",
    "placing/served.py::slowly": "orders nothing: the time in which kills may come",
    "web/crossing_apps.py::bare": "runs in another process, which only files reach",
    "web/crossing_apps.py::dies": "runs in another process, which only files reach",
    "web/test_crossing.py::test_a_reader_that_stops_stops_the_application": "nothing tells that "
    "an application in another process waits",
    "placing/outside.py::wait_for": "looks from outside: no event tells",
    # A real Ctrl-C.
    "test_interrupts.py::until_main_thread_waits": "nothing tells that a thread sleeps in C",
    "test_interrupts_anywhere.py::get_in_time": "a limit that passes, cut at every line",
    "test_interrupts_anywhere.py::what_is_left": "looks from outside: an event would be cut too",
    "test_interrupts_anywhere.py::press": "the pace of a storm of signals, at random",
    "test_interrupts_anywhere.py::explore": "ended by the second Ctrl-C",
    # That real time passes is what is tested: of a clock, and of waits that are not virtual.
    "test_patched_standard_library.py::"
    "test_asyncio_sleep_passes_in_a_container_while_time_is_frozen": "the sleep must end",
    "test_blocking.py::test_patches_nest_and_two_clocks_have_their_own": "the limit stays real",
    "test_blocking.py::test_only_the_modules_that_are_given": "the limit stays real",
    "test_blocking.py::test_without_types_that_can_be_changed_calls_are_real": (
        "the limits stay real"
    ),
    "test_blocking.py::test_async_code_blocks_its_loop_in_virtual_time_only": (
        "called in virtual time only"
    ),
    "test_blocking.py::hold": "called in virtual time only",
    "test_blocking.py::test_a_deadlock_names_the_calls_the_lines_and_the_holders": (
        "called in virtual time only"
    ),
    "test_blocking.py::worker_pool": "a program that `explore` runs in virtual time",
    "test_blocking.py::test_a_started_thread_that_does_real_io_does_not_stop_an_explored_test": (
        "a program that `explore` runs in virtual time"
    ),
    "test_patched_time.py::test_the_standard_library_keeps_real_time": "the limit stays real",
    "test_regressions.py::test_time_stands_still_while_an_exit_hook_is_busy_though_its_stop_came_"
    "early": "busy in real time, while virtual time must not move",
    "test_turns.py::gives_way": "whether a thread sleeps for real is what is looked at",
    "test_turns.py::test_a_thread_that_polls_gives_way": "a thread that polls for real",
    "test_turns.py::test_a_test_that_looks_again_and_again_sees_the_others_go_on": "it polls",
    "test_web_bridge.py::test_shield_defers_the_cancel_of_a_client_that_left": (
        "longer than the second that a client that left is waited for"
    ),
    "test_web_client.py::site": "those who let it nap are in virtual time",
    "test_virtual_clock.py::test_time_stands_until_what_was_dropped_is_closed": (
        "time in which virtual time must not move"
    ),
    "test_virtual_clock.py::test_threads_of_the_loops_executor_hold_up_time": "busy in real time",
    "web/test_http.py::until": "what another thread counts; no probe sees a client leave",
    # Nothing tells when the collector, or the registry's timer, has done its work.
    "test_call_graph.py::test_a_graph_keeps_no_argument_and_no_result": "until nothing is kept",
    "test_call_graph.py::test_a_root_that_still_runs_and_one_that_failed": "until an id is there",
    "test_unread_errors.py::settled": "until the call has settled, with no reader",
    "test_unread_errors.py::"
    "test_a_child_whose_id_is_given_out_after_it_failed_waits_for_its_expiry": "until it is kept",
    "test_unread_errors.py::"
    "test_the_frames_of_a_kept_failure_let_go_and_the_log_has_its_traceback": (
        "until nothing is kept"
    ),
    "test_other_loops.py::test_a_loop_that_is_blocked_beyond_the_timeout_has_no_note": (
        "a loop that is blocked in real time"
    ),
    # Nothing tells when a process, a socket or a thread of another package has got so far.
    "web/upstreams.py::Upstream": "the pace of a server's stream",
    "web/upstreams.py::<module>": "a server of its own process, slow to start",
    "web/apps_front.py::until": "looks at counts, processes and sockets alike",
    # Programs that are served by other processes, until the test writes a file.
    "cli/test_deploy.py::greet": "a request that runs until the test has seen it run",
    "cli/test_serve.py::test_a_request_that_runs_is_finished_by_the_old_version": (
        "a request that runs until the test has seen it run"
    ),
    "cli/shells.py::<module>": "a program that waits for a signal",
    # Never slept out, or virtual by what only a reader sees.
    "test_call_graph.py::test_a_call_of_a_task_that_outlived_its_input_begins_there": (
        "outlives its input; another loop's time"
    ),
    "test_kinds.py::test_a_hidden_async_hook_fails_and_times_out_as_others": "cancelled",
    "test_other_loops.py::and_goes_on": "cancelled, never slept out",
    "test_other_loops.py::sleeps": "cancelled, never slept out",
    "test_other_loops.py::test_the_loop_has_its_own_time_again": "cancelled, never slept out",
    "test_unread_errors.py::test_a_cancelled_input_is_no_error": "cancelled, never slept out",
    "test_awaited.py::sleeps": "cancelled, never slept out",
    "test_deadlock_of_tasks.py::nap": "called in virtual time only",
    "test_layers.py::test_the_search_for_time_finds_code_and_nothing_else": "text to be found",
    "test_pytest_plugin.py::brew": "the suites that call it live in virtual time",
    "test_queues.py::test_trio_tasks_wait_and_are_cancelled": "trio has no virtual loop here",
    "test_queues.py::test_cancels_that_race_with_puts_lose_no_item": "races with real cancels",
    "test_pytest_plugin.py::test_leaks_may_be_allowed_by_mark_and_by_name": "a task is left",
    "test_pytest_plugin.py::test_leaks_of_each_kind_are_named_with_where_they_were_started": (
        "tasks are left"
    ),
    "test_pytest_plugin.py::test_what_a_wider_fixture_starts_is_a_leak_only_when_that_has_ended": (
        "a task is left"
    ),
    "test_settling.py::make_class": "nap() is called in virtual time only",
    "explorations/report.py::busy_threads": "a thread that disturbs",
    "test_explore.py::test_distinct_counts_orders_and_not_seeds": "`explore` runs it",
    "test_explore.py::"
    "test_timers_of_different_times_keep_their_order_when_a_cancelled_one_was_put_off": (
        "`explore` runs it"
    ),
    "test_explore.py::test_time_is_patched_in_each_run": "`explore` runs it",
    "test_explore_marker.py::sell": "the suites that call it live in virtual time",
    "test_explore_marker.py::test_time_is_patched_and_real_again_afterwards": "a suite in text",
}

# What a function that lives in virtual time names.
CLOCKS = {"VirtualClock", "virtual_clock", "clock"}

# Less than these seconds, a limit is not there to fail but to pass.
SHORT = 1.0


def found_in(path: Path) -> Iterator[tuple[str, int, str]]:
    """What takes real time: the function that it is in, the line, the code."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield from found_in_module(tree)
    for outer, node in nodes(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if not any(f"{name}(" in node.value for name in NAMES):
                continue
            try:
                program = ast.parse(textwrap.dedent(node.value))
            except SyntaxError:
                continue  # prose
            for name, line, code in found_in_module(program):
                yield outer if outer != MODULE else name, node.lineno + line - 1, code


MODULE = "<module>"
PAUSES = ("wait", "join", "acquire", "Timer")
LIMITS = ("get", "result", "exception", "wait_for", "move_on_after", "fail_after")
NAMES = ("sleep", *PAUSES, *LIMITS)


def found_in_module(tree: ast.Module) -> Iterator[tuple[str, int, str]]:
    names: dict[str, set[str]] = {}
    for outer, node in nodes(tree):
        names.setdefault(outer, set()).update(names_in(node))
    users = {outer: {u for u in names if u != outer and outer in names[u]} for outer in names}
    virtual = {outer for outer, used in names.items() if used & CLOCKS}
    while more := {outer for outer, by in users.items() if by and by <= virtual} - virtual:
        virtual |= more
    for outer, node in nodes(tree):
        if isinstance(node, ast.Call) and takes_real_time(
            node, outer in virtual, "patch_time" in names[outer]
        ):
            yield outer, node.lineno, ast.unparse(node)


def nodes(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """All nodes, each with the name of the outermost function or class that it is in."""
    for statement in tree.body:
        outer = getattr(statement, "name", MODULE)
        for node in ast.walk(statement):
            yield outer, node


def names_in(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Name):
        return {node.id}
    if isinstance(node, ast.Attribute):
        return {node.attr}
    if isinstance(node, ast.Constant) and node.value in CLOCKS:
        return {str(node.value)}  # usefixtures("virtual_clock")
    if isinstance(node, ast.arg | ast.keyword) and node.arg:
        return {node.arg}
    return set()


def takes_real_time(call: ast.Call, is_virtual: bool, is_patched: bool) -> bool:
    function = call.func
    name = getattr(function, "attr", getattr(function, "id", ""))
    of = getattr(getattr(function, "value", None), "id", "")
    limits = [*call.args, *(k.value for k in call.keywords if k.arg in ("timeout", "delay"))]
    if name == "sleep":
        if not limits or getattr(limits[0], "value", None) == 0:
            return False
        if of == "time" or isinstance(function, ast.Name):
            return not is_patched
        return of in ("asyncio", "anyio", "trio") and not is_virtual
    is_short = any(
        isinstance(limit, ast.Constant)
        and isinstance(limit.value, int | float)
        and not isinstance(limit.value, bool)
        and 0 < limit.value < SHORT
        for limit in limits
    )
    return is_short and (name in PAUSES or (name in LIMITS and not is_virtual))


# Programs that `explore` runs in virtual time.
PROGRAMS = ("explorations/correct", "explorations/racy")
# Of the folder of users' programs, which run in real time as they stand, these files are ours.
OURS = ("programs/conftest.py", "programs/running.py", "programs/test_")


def of_users(file: str) -> bool:
    return file.startswith("programs/") and not file.startswith(OURS)


def test_nothing_takes_real_time_but_for_a_reason():
    found: dict[str, list[str]] = {}
    for path in sorted(HERE.rglob("*.py")):
        file = path.relative_to(HERE).as_posix()
        if file != Path(__file__).name and not file.startswith(PROGRAMS) and not of_users(file):
            for outer, line, code in found_in(path):
                found.setdefault(f"{file}::{outer}", []).append(f"{file}:{line}: {code}")
    new = [line for key, lines in found.items() if key not in ALLOWED for line in lines]
    assert not new, (
        "these take real time; wait for an event, a probe or a gate, or use a VirtualClock:\n"
        + "\n".join(new)
    )
    assert set(ALLOWED) <= set(found), "these are needed no more; take them out of ALLOWED"


@pytest.mark.parametrize(
    ("code", "refused"),
    [
        ("def test(): time.sleep(0.1)", True),
        ("def test(): sleep(x)", True),
        ("def test(): time.sleep(0)", False),
        ("def test(clock): time.sleep(1)", True),
        ("def test(clock):\n with clock.patch_time(): time.sleep(1)", False),
        ("def test():\n while not done(): Event().wait(0.001)", True),
        ("def test(clock): event.wait(timeout=0.5)", True),
        ("def test(): assert event.wait(30)", False),
        ("def test(): thread.join(0.1)", True),
        ("def test(): Timer(0.05, event.set).start()", True),
        ("def test(): call.get(timeout=0.5)", True),
        ("def test(clock): call.get(timeout=0.5)", False),
        ("async def test(): await asyncio.sleep(0.001)", True),
        ("async def test(): await anyio.sleep(x)", True),
        ("async def test(): await asyncio.sleep(0)", False),
        ("async def test(virtual_clock): await asyncio.sleep(60)", False),
        ("def make(): asyncio.sleep(1)\ndef test(clock): make()", False),
        ("def make(): asyncio.sleep(1)\ndef test(clock): make()\ndef more(): make()", True),
        ("def test(): run('''\n    import time\n    time.sleep(1)\n''')", True),
    ],
)
def test_what_is_refused(code, refused, tmp_path):
    path = tmp_path / "test_it.py"
    path.write_text(code)
    assert bool(list(found_in(path))) is refused
