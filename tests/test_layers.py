"""The layers of DESIGN.md, read out of the imports; and who may look at the time."""

import ast
import sys
from pathlib import Path

import pytest

import moorage

ROOT = Path(moorage.__file__).parent

# DESIGN.md's table.  A file that is not in it fails the test: say where it belongs.
LAYERS = {
    "pytest_plugin": 7,
    "testing.leaks": 7,
    "testing.leak_check": 7,
    "testing.__init__": 7,
    "testing.events": 7,
    "testing.fake_container": 7,
    "testing.gates": 7,
    "testing.probe": 7,
    "testing.sequencer": 7,
    "testing.submission": 7,
    "__init__": 6,
    "app": 6,
    "app_run": 6,
    "functions": 6,
    "cls": 6,
    "calls": 6,
    "maps": 6,
    "retries": 6,
    "feeding": 6,
    "runs": 6,
    "as_modal": 6,
    "declarations": 6,
    "deployments": 6,
    "describing": 6,
    "description": 6,
    "entrypoint": 6,
    "experimental": 6,
    "invoking": 6,
    "local_instance": 6,
    "options": 6,
    "output": 6,
    "registering": 6,
    "runner": 6,
    "simulate": 6,
    "simulation_options": 6,
    "simulation_tables": 6,
    "simulation_plots": 6,
    "services": 6,
    "serializing": 6,
    "culprits": 6,
    "spawned": 6,
    "findable": 6,
    "targets": 6,
    "marks": 5,
    "web.__init__": 5,
    "web.decorators": 5,
    "partial_function": 5,
    "types": 5,
    "call_graph": 5,
    "billing": 5,
    "client": 5,
    "cloud": 5,
    "cloud_bucket_mount": 5,
    "cluster": 5,
    "container_process": 5,
    "dict": 5,
    "environments": 5,
    "file_pattern_matcher": 5,
    "image": 5,
    "io_streams": 5,
    "mount": 5,
    "network_file_system": 5,
    "object": 5,
    "proxy": 5,
    "queue": 5,
    "resources": 5,
    "sandbox": 5,
    "schedule": 5,
    "scheduler_placement": 5,
    "secret": 5,
    "server": 5,
    "stream_type": 5,
    "tunnel": 5,
    "volume": 5,
    "workspace": 5,
    "runtime.pools.pool": 4,
    "runtime.probing": 4,
    "runtime.pools.__init__": 0,
    "runtime.pools.alarms": 3,
    "runtime.pools.attempts": 3,
    "runtime.pools.backlog": 3,
    "runtime.pools.batches": 3,
    "runtime.pools.endings": 3,
    "runtime.pools.fleet": 3,
    "runtime.pools.kept": 3,
    "runtime.pools.scaling": 3,
    "runtime.pools.tally": 3,
    "runtime.statistics": 3,
    "runtime.pool_options": 3,
    "runtime.batching": 2,
    "runtime.verdicts": 0,
    "runtime.capacity": 4,
    "runtime.callers": 4,
    "runtime.deadlock": 4,
    "runtime.waiting_graph": 4,
    "runtime.surveys": 4,
    "runtime.waits": 4,
    "runtime.wakers": 2,
    "runtime.knots": 1,
    "runtime.container": 3,
    "runtime.snapshot": 3,
    "runtime.local": 3,
    "runtime.executor": 2,
    "runtime.loopwatch": 2,
    "runtime.threads": 2,
    "runtime.streaming": 2,
    "runtime.lifecycle": 2,
    "runtime.offload": 2,
    "runtime.idle_threads": 2,
    "runtime.cancellation": 2,
    "runtime.awaited": 0,
    "runtime.places": 0,
    "runtime.slots": 1,
    "runtime.autoscaler": 1,
    "runtime.routing": 1,
    "runtime.simulation": 1,
    "runtime.traces": 1,
    "runtime.anchors": 1,
    "runtime.hindsight": 1,
    "runtime.scoring": 1,
    "runtime.input": 0,
    "runtime.labels": 0,
    "runtime.outcome": 0,
    "runtime.context": 0,
    "runtime.captured": 0,
    "runtime.clock": 0,
    "runtime.virtual_clock": 0,
    "runtime.virtual_loop": 0,
    "runtime.stuck": 0,
    "runtime.patched_time": 0,
    "runtime.timekeeper": 0,
    "runtime.elsewhere": 0,
    "runtime.participants": 0,
    "runtime.real": 0,
    "runtime.uninterruptible": 0,
    "runtime.stacks": 0,
    "runtime.thread_state": 0,
    "runtime.interrupts": 0,
    "runtime.forking": 0,
    "runtime.__init__": 0,
    "frames": 0,
    "with_aio": 0,
    "account_types": 0,
    "arguments": 0,
    "exception": 0,
    "config": 0,
}

# For type checkers only, and each with its reason.
UPWARD_FOR_TYPES = {
    # What a method of an app's class is, for whoever reads `obj.method`.
    ("marks", "functions"),
}

# Besides the standard library.
THIRD_PARTY = {"anyio", "typing_extensions"}
# Only inside functions: whoever does not use it need not have it.
LAZY_THIRD_PARTY = {"anyio", "trio"}
# Those that only pytest's plugin imports.
FOR_PYTEST = {"pytest_plugin", "testing.leak_check"}

# Who may read time or wait with a limit.
TIME_OWNERS = {
    "runtime.clock",
    "runtime.elsewhere",
    "runtime.patched_time",
    "runtime.real",
    "runtime.timekeeper",
    "runtime.virtual_clock",
}


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


class Imports(ast.NodeVisitor):
    """The imports of one module: ours by module name, others by top-level package."""

    def __init__(self, name):
        self.package = name.split(".")[:-1]
        self.ours = []  # (module, is for type checkers only)
        self.others = []  # (package, is inside a function)
        self._typing = False
        self._in_function = False

    def visit_If(self, node):
        test = node.test
        typing_only = (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
            isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
        )
        before, self._typing = self._typing, self._typing or typing_only
        for child in node.body:
            self.visit(child)
        self._typing = before
        for child in node.orelse:
            self.visit(child)

    def visit_FunctionDef(self, node):
        before, self._in_function = self._in_function, True
        self.generic_visit(node)
        self._in_function = before

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Import(self, node):
        for alias in node.names:
            if alias.name.split(".")[0] == "moorage":
                self._ours(alias.name.removeprefix("moorage").lstrip("."))
            else:
                self.others.append((alias.name.split(".")[0], self._in_function))

    def visit_ImportFrom(self, node):
        if node.level == 0 and node.module.split(".")[0] != "moorage":
            self.others.append((node.module.split(".")[0], self._in_function))
            return
        if node.level == 0:
            base = node.module.split(".")[1:]
        else:
            base = self.package[: len(self.package) - (node.level - 1)]
            base = base + (node.module.split(".") if node.module else [])
        for alias in node.names:
            # `from . import config` names a module, `from .config import x` does not.
            self._ours(".".join([*base, alias.name]), fallback=".".join(base))

    def _ours(self, name, fallback=""):
        for candidate in (name, fallback, f"{fallback}.__init__".lstrip(".")):
            if candidate in MODULES:
                self.ours.append((candidate, self._typing))
                return
        raise AssertionError(f"cannot tell what {name!r} imports")


def imports_of(name):
    found = Imports(name)
    found.visit(ast.parse(MODULES[name].read_text()))
    return found


def test_every_file_has_its_layer():
    assert set(MODULES) == set(LAYERS)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_down(name):
    upward = {
        (name, imported)
        for imported, typing_only in imports_of(name).ours
        if LAYERS[imported] > LAYERS[name]
        and not (typing_only and (name, imported) in UPWARD_FOR_TYPES)
    }
    assert not upward


def test_every_exception_to_the_layers_is_used():
    used = {
        (name, imported)
        for name in MODULES
        for imported, typing_only in imports_of(name).ours
        if typing_only and LAYERS[imported] > LAYERS[name]
    }
    assert used == UPWARD_FOR_TYPES


def test_imports_make_no_circle_at_run_time():
    needs = {
        name: {imported for imported, typing_only in imports_of(name).ours if not typing_only}
        for name in MODULES
    }
    done = set()
    while len(done) < len(needs):
        ready = {name for name in needs if name not in done and needs[name] <= done}
        assert ready, f"a circle among {sorted(set(needs) - done)}"
        done |= ready


@pytest.mark.parametrize("name", MODULES)
def test_nothing_but_the_standard_library_and_two_packages_is_imported(name):
    for package, in_function in imports_of(name).others:
        allowed = THIRD_PARTY | (LAZY_THIRD_PARTY if in_function else set())
        allowed |= {"pytest"} if name in FOR_PYTEST else set()
        assert package in sys.stdlib_module_names or package in allowed


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("runtime.")])
def test_the_runtime_knows_no_decorator_and_no_app(name):
    outside = {
        imported for imported, _ in imports_of(name).ours if not imported.startswith("runtime.")
    }
    # with_aio: methods of the virtual clock, which is public, have two forms as all that wait.
    assert outside <= {"exception", "config", "with_aio"}


def time_uses(source):
    """Where code reads time or waits with a limit, as (line, what)."""
    tree = ast.parse(source)
    uses = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names]
            module = getattr(node, "module", None)
            if module == "time" or (isinstance(node, ast.Import) and "time" in names):
                uses.append((node.lineno, "import time"))
            if module == "asyncio" and "sleep" in names:
                uses.append((node.lineno, "asyncio.sleep"))
        elif isinstance(node, ast.Attribute):
            value = node.value
            base = value.id if isinstance(value, ast.Name) else getattr(value, "attr", "")
            if base == "time" or (base == "Real" and node.attr in ("monotonic", "sleep")):
                uses.append((node.lineno, f"{base}.{node.attr}"))
            if node.attr == "time" and "loop" in ast.unparse(value):
                uses.append((node.lineno, "loop.time"))
            if node.attr == "sleep" and base in ("asyncio", "anyio", "trio"):
                uses.append((node.lineno, f"{base}.sleep"))
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "acquire"
            and any(keyword.arg == "timeout" for keyword in node.keywords)
        ):
            uses.append((node.lineno, "acquire(timeout="))
    return sorted(uses)


@pytest.mark.parametrize("name", [name for name in MODULES if name not in TIME_OWNERS])
def test_time_is_left_to_the_clock(name):
    assert time_uses(MODULES[name].read_text()) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time", ["import time"]),
        ("from time import monotonic", ["import time"]),
        ("now = time.monotonic()", ["time.monotonic"]),
        ("now = Real.monotonic()", ["Real.monotonic"]),
        ("now = self._loop.time()", ["loop.time"]),
        ("now = asyncio.get_running_loop().time()", ["loop.time"]),
        ("lock.acquire(timeout=3)", ["acquire(timeout="]),
        ("lock.acquire(True, timeout=left)", ["acquire(timeout="]),
        ("await asyncio.sleep(1)", ["asyncio.sleep"]),
        ("from asyncio import sleep", ["asyncio.sleep"]),
        ('"""time.monotonic() and asyncio.sleep are not for us."""', []),
        ("x = 1  # time.sleep(3)", []),
        ("lock.acquire()", []),
        ("clock.sleep(3)", []),
    ],
)
def test_the_search_for_time_finds_code_and_nothing_else(source, found):
    if source.startswith("await"):
        source = f"async def f():\n    {source}"
    assert [what for _, what in time_uses(source)] == found


def test_the_search_for_imports_reads_all_kinds():
    found = Imports("runtime.container")
    found.visit(
        ast.parse(
            "from . import clock\n"
            "from .. import config\n"
            "from ..exception import Error\n"
            "import moorage.app\n"
            "import trio.lowlevel\n"
            "if TYPE_CHECKING:\n    from ..functions import Function\n"
            "def f():\n    import anyio\n"
        )
    )
    assert found.ours == [
        *[("runtime.clock", False), ("config", False), ("exception", False), ("app", False)],
        ("functions", True),
    ]
    assert found.others == [("trio", False), ("anyio", True)]
