"""The groups of worker processes: what a container in a process of its own costs.

Owns the contenders: moorage with ``placement="process"``, `ProcessPoolExecutor`,
`multiprocessing.Pool` and loky, if loky is installed.  All of them start their processes before the
first measurement, and all run the same functions of ``bodies.py``, which their processes import.

Begin at `bulk`; the other groups follow in the order of the table.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import moorage
from moorage.exception import ContainerLostError

from .bodies import SIZE, Numbers, echo, echo_async, first_of, sleep_long, work
from .harness import Contender, Function, Goal, Group, Run, spawned_by, timed
from .proof import CheckFailed

SLOTS: Final = 100
SPAWN: Final = multiprocessing.get_context("spawn")
CORES: Final = (
    len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
)
MANY: Final = 8  # containers on `CORES` cores
PATIENCE: Final = 60.0
AT_ONCE: Final = 0.010  # seconds within which a death is to be noticed
_SMAPS: Final = Path("/proc/self/smaps_rollup")


# -- the contenders' ways -----------------------------------------------------------------


def _executor(stack: ExitStack, workers: int = 1) -> ProcessPoolExecutor:
    return stack.enter_context(ProcessPoolExecutor(workers, mp_context=SPAWN))


def _loky(stack: ExitStack, workers: int = 1) -> Any:
    """An executor of loky; None if loky is not installed."""
    try:
        loky: Any = importlib.import_module("loky")
    except ImportError:
        return None
    executor = loky.ProcessPoolExecutor(workers, timeout=None)
    stack.callback(executor.shutdown, kill_workers=True)
    return executor


def _pool(stack: ExitStack, workers: int = 1) -> Any:
    return stack.enter_context(SPAWN.Pool(workers))


def _submitted(executor: Any, body: Callable[[Any], Any]) -> Run:
    def run(inputs: Sequence[Any]) -> list[Any]:
        futures = [executor.submit(body, x) for x in inputs]
        return [future.result() for future in futures]

    return run


def _each(call: Callable[[Any], Any]) -> Run:
    return lambda inputs: [call(x) for x in inputs]


@contextmanager
def placed(
    body: Callable[[Any], Any],
    slots: int,
    containers: int = 1,
    placement: Any = "process",
    **options: Any,
) -> Iterator[Function]:
    """The body as a function of an app that runs, with ready containers in processes."""
    app = moorage.App("benchmarks")
    marked = moorage.concurrent(max_inputs=slots)(body) if slots > 1 else body
    options = {"min_containers": containers, "max_containers": containers, **options}
    function = app.function(**options)(marked)
    with app.run(placement=placement):
        deadline = time.monotonic() + PATIENCE
        while True:
            now = function.statistics()
            ready = 0 if now is None else sum(c.state.value == "ready" for c in now.containers)
            if ready == containers:
                break
            if time.monotonic() > deadline:
                raise CheckFailed(f"not {containers} ready containers: {now}")
            if now is None:
                function.remote(1)
            time.sleep(0.01)
        yield function


def _group(name: str, what: str, inputs: int, contenders: Sequence[Contender | None]) -> Group:
    there = [contender for contender in contenders if contender is not None]
    notes = [] if _is_there("loky") else ["loky is not installed"]
    return Group(name, "µs", what, echo, inputs, SLOTS, there, notes=notes, remote=True)


def _is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


# -- trivial bodies ----------------------------------------------------------------------


@contextmanager
def bulk(quick: bool) -> Iterator[Group]:
    with ExitStack() as stack:
        executor, loky, pool = _executor(stack), _loky(stack), _pool(stack)
        of_loky = None if loky is None else timed("loky submit + result", _submitted(loky, echo))
        many = stack.enter_context(placed(echo, SLOTS))
        on_a_loop = stack.enter_context(placed(echo_async, SLOTS))
        some, one = (stack.enter_context(placed(echo, slots)) for slots in (8, 1))

        def mapped(function: Function) -> Run:
            return lambda inputs: list(function.map(inputs))

        yield _group(
            "elsewhere-bulk",
            f"many trivial inputs for one worker process, at most {SLOTS} at a time",
            400 if quick else 2_000,
            [
                timed("ProcessPoolExecutor submit + result", _submitted(executor, echo)),
                of_loky,
                timed("Pool.imap", lambda inputs: list(pool.imap(echo, inputs))),
                timed(
                    "ProcessPoolExecutor.map, chunks of 100",
                    lambda inputs: list(executor.map(echo, inputs, chunksize=100)),
                ),
                timed("moorage map, sync", mapped(many), function=many, goal=Goal(0.10)),
                timed("moorage map, async", mapped(on_a_loop), function=on_a_loop, goal=Goal(0.10)),
                timed("moorage spawn, then get", spawned_by(many), function=many, goal=Goal(0.15)),
                timed(
                    "moorage map, 8 slots", mapped(some), function=some, goal=Goal(0.22), limit=8
                ),
                timed("moorage map, 1 slot", mapped(one), function=one, goal=Goal(0.9), limit=1),
            ],
        )


@contextmanager
def single(quick: bool) -> Iterator[Group]:
    with ExitStack() as stack:
        executor, loky, pool = _executor(stack), _loky(stack), _pool(stack)
        of_loky = None
        if loky is not None:
            of_loky = timed("loky", _each(lambda x: loky.submit(echo, x).result()))
        sync = stack.enter_context(placed(echo, SLOTS))
        on_a_loop = stack.enter_context(placed(echo_async, SLOTS))
        yield _group(
            "elsewhere-one",
            "a trivial input at a time for one worker process",
            40 if quick else 400,
            [
                timed("ProcessPoolExecutor", _each(lambda x: executor.submit(echo, x).result())),
                of_loky,
                timed("Pool.apply", _each(lambda x: pool.apply(echo, (x,)))),
                timed("moorage remote, sync", _each(sync.remote), function=sync, goal=Goal(0.65)),
                timed(
                    "moorage remote, async",
                    _each(on_a_loop.remote),
                    function=on_a_loop,
                    goal=Goal(0.65),
                ),
            ],
        )


# -- work for the processor -----------------------------------------------------------------


@contextmanager
def cpu_bound(quick: bool) -> Iterator[Group]:
    """Work in Python on all cores; the speed-up is that over one loop in this process."""
    with ExitStack() as stack:
        executor, loky, pool = (make(stack, CORES) for make in (_executor, _loky, _pool))
        list(executor.map(work, range(CORES)))
        of_loky = None if loky is None else timed("loky", _submitted(loky, work))
        exact = stack.enter_context(placed(work, 1, CORES))
        many = stack.enter_context(placed(work, 1, MANY))
        threads = stack.enter_context(placed(work, 1, CORES, "thread"))

        def contender(name: str, function: Function, count: int, goal: Goal | None) -> Contender:
            return timed(
                name,
                lambda inputs: list(function.map(inputs)),
                function=function,
                goal=goal,
                containers=count,
            )

        group = _group(
            "elsewhere-cpu",
            f"inputs that calculate for some 20 ms, on {CORES} cores",
            2 * CORES if quick else 8 * CORES,
            [
                timed(f"ProcessPoolExecutor({CORES})", _submitted(executor, work)),
                of_loky,
                timed(f"Pool({CORES}).map", lambda inputs: pool.map(work, inputs, 1)),
                timed("a loop in this process", _each(work)),
                contender(f"moorage map, {CORES} containers", exact, CORES, Goal(1.05)),
                contender(f"moorage map, {MANY} containers", many, MANY, Goal(1.05)),
                contender(f"moorage map, {CORES} containers on threads", threads, CORES, None),
            ],
        )
        group.notes.append(_SpeedUp(group.contenders))
        yield group


class _SpeedUp:
    """How many times as fast as the loop in this process each contender was; noted as text."""

    def __init__(self, contenders: list[Contender]) -> None:
        self._taken: dict[str, list[float]] = {}
        for index, contender in enumerate(contenders):
            contenders[index] = self._noting(contender)

    def _noting(self, contender: Contender) -> Contender:
        taken = self._taken.setdefault(contender.name, [])
        measure = contender.measure

        def noting(inputs: Sequence[int]) -> tuple[float, list[Any]]:
            total, results = measure(inputs)
            taken.append(total)
            return total, results

        return contender.measured(noting)

    def __str__(self) -> str:
        medians = {name: statistics.median(taken[1:]) for name, taken in self._taken.items()}
        loop = medians["a loop in this process"]
        return "speed-up: " + ", ".join(f"{n} {loop / m:.2f}" for n, m in medians.items())


# -- starts, and what an idle process keeps --------------------------------------------------


@contextmanager
def starts(quick: bool) -> Iterator[Group]:
    """The start of a further container up to its first result."""
    with ExitStack() as stack:
        # Without a container that is ready: each input waits for its own to start.
        cold: dict[str, Any] = {"single_use_containers": True, "min_containers": 0}
        cold["max_containers"] = 4
        function = stack.enter_context(placed(echo, 1, 0, **cold))
        spawning = moorage.Processes(start="spawn")
        by_spawn = stack.enter_context(placed(echo, 1, 0, spawning, **cold))
        function.remote(1)  # the zygote is there
        yield _group(
            "elsewhere-start",
            "starts one process after the other; each gives one result",
            1 if quick else 2,
            [
                timed("an interpreter that imports moorage.App", _each(_interpreter)),
                timed("multiprocessing.Process, spawn", _each(_multiprocessing)),
                timed("moorage, forked from the zygote", _each(function.remote), goal=Goal(0.3)),
                timed('moorage, start="spawn"', _each(by_spawn.remote)),
            ],
        )


def _interpreter(x: int) -> int:
    program = f"import moorage; moorage.App; print({x})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, env=_environment()
    )
    return int(done.stdout)


def _environment() -> dict[str, str]:
    """The variables with which another interpreter finds the same moorage."""
    source = str(Path(moorage.__file__).parent.parent)
    rest = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": source + (os.pathsep + rest if rest else "")}


def _multiprocessing(x: int) -> int:
    queue = SPAWN.SimpleQueue()
    process = SPAWN.Process(target=_put, args=(queue, x))
    process.start()
    result: int = queue.get()
    process.join()
    return result


def _put(queue: Any, x: int) -> None:
    queue.put(x)


@contextmanager
def idle_memory(quick: bool) -> Iterator[Group]:
    """The private memory of an idle process."""
    with ExitStack() as stack:
        function = stack.enter_context(placed(echo, 1, 2 if quick else 4))
        executor = _executor(stack)
        executor.submit(echo, 1).result()
        (worker,) = executor._processes  # nothing public says its number
        interpreter = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import moorage, sys; moorage.App; print(flush=True); sys.stdin.read()",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
        )
        stack.callback(interpreter.communicate)
        assert interpreter.stdout is not None
        interpreter.stdout.readline()

        def contender(name: str, pids: Callable[[], list[int]], goal: Goal | None) -> Contender:
            def run(inputs: Sequence[Any]) -> list[Any]:
                return list(inputs)

            def measure(inputs: Sequence[int]) -> tuple[float, list[Any]]:
                private = statistics.mean(map(_private, pids()))
                return private * len(inputs), list(inputs)

            return Contender(name, run, measure, goal)

        def containers() -> list[int]:
            now = function.statistics()
            assert now is not None
            return [container.pid for container in now.containers if container.pid is not None]

        group = _group(
            "elsewhere-memory",
            "private memory of an idle process",
            1,
            [
                contender("an interpreter that imported moorage", lambda: [interpreter.pid], None),
                contender("worker of ProcessPoolExecutor", lambda: [worker], None),
                contender("moorage, a container", containers, Goal(0.3)),
            ],
        )
        yield Group(group.name, "kB", group.what, echo, 1, SLOTS, group.contenders, remote=True)


def _private(pid: int) -> float:
    """The kilobytes that process `pid` shares with nobody."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("Private_"))


# -- large arguments -----------------------------------------------------------------------


@contextmanager
def arrays(quick: bool) -> Iterator[Group]:
    """Arrays to the process, a number back."""
    with ExitStack() as stack:
        executor, loky, pool = _executor(stack), _loky(stack), _pool(stack)
        function = stack.enter_context(placed(first_of, 1))
        given = [Numbers(number) for number in range(2 if quick else 8)]

        def each(call: Callable[[Any], Any]) -> Run:
            return lambda inputs: [call(given[x]) for x in inputs]

        of_loky = None
        if loky is not None:
            of_loky = timed("loky", each(lambda x: loky.submit(first_of, x).result()))
        yield _group(
            "elsewhere-arrays",
            f"an array of {SIZE:,} bytes to one worker process, a number back, one at a time",
            len(given),
            [
                timed("ProcessPoolExecutor", each(lambda x: executor.submit(first_of, x).result())),
                of_loky,
                timed("Pool.apply", each(lambda x: pool.apply(first_of, (x,)))),
                timed("moorage remote", each(function.remote), function=function, goal=Goal(0.15)),
            ],
        )


# -- deaths ----------------------------------------------------------------------------------


@contextmanager
def kills(quick: bool) -> Iterator[Group]:
    """From ``kill -9`` to the error at the caller."""
    with ExitStack() as stack:
        stack.enter_context(_without_warnings())
        function = stack.enter_context(placed(sleep_long, 1, nonpreemptible=True))
        seen: list[float] = []
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "begun"

        def noticed(x: int) -> tuple[float, int]:
            call = function.spawn(str(path))
            pid = _begun(path)
            began = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            try:
                call.get(timeout=PATIENCE)
            except ContainerLostError:
                taken = time.perf_counter() - began
                seen.append(taken)
                return taken, x
            raise CheckFailed("a killed container gave a result")

        def noticed_by_executor(x: int) -> tuple[float, int]:
            with ProcessPoolExecutor(1, mp_context=SPAWN) as executor:
                future = executor.submit(sleep_long, str(path))
                pid = _begun(path)
                began = time.perf_counter()
                os.kill(pid, signal.SIGKILL)
                error = future.exception(timeout=PATIENCE)
                taken = time.perf_counter() - began
            if error is None:
                raise CheckFailed("a killed worker gave a result")
            return taken, x

        def contender(name: str, act: Callable[[int], tuple[float, int]], **rest: Any) -> Contender:
            def measure(inputs: Sequence[int]) -> tuple[float, list[Any]]:
                taken, results = zip(*map(act, inputs), strict=True)
                return sum(taken) * 1e6, list(results)

            return Contender(name, list, measure, **rest)

        group = _group(
            "elsewhere-kill",
            "from kill -9 of the process to the error at the caller",
            2 if quick else 13,
            [
                contender("ProcessPoolExecutor", noticed_by_executor, part=5),
                contender("moorage spawn, then get", noticed, goal=Goal(1.0)),
            ],
        )
        group.notes.append(_Noticed(seen))
        yield group


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Each lost container is a warning in the log."""
    logger = logging.getLogger("moorage")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class _Noticed:
    """How many deaths were noticed at once; noted as text."""

    def __init__(self, seen: list[float]) -> None:
        self._seen = seen

    def __str__(self) -> str:
        at_once = sum(taken <= AT_ONCE for taken in self._seen)
        share = at_once / len(self._seen)
        verdict = "met" if share >= 0.99 else "MISSED"
        return (
            f"moorage noticed {at_once} of {len(self._seen)} deaths within {AT_ONCE * 1000:g} ms; "
            f"goal 99 of 100 {verdict}"
        )


def _begun(path: Path) -> int:
    """The process in which the code that writes `path` runs, once it has begun.

    Before that, a killed container would cost the input nothing: it would run again.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text()):
            path.unlink()
            return int(text)
        time.sleep(0.001)
    raise CheckFailed("the input did not begin")


GROUPS: Final = {
    "elsewhere-bulk": bulk,
    "elsewhere-one": single,
    "elsewhere-cpu": cpu_bound,
    "elsewhere-start": starts,
    **({"elsewhere-memory": idle_memory} if _SMAPS.exists() else {}),
    "elsewhere-arrays": arrays,
    "elsewhere-kill": kills,
}
