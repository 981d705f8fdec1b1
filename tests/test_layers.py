"""The layers of DESIGN.md, read out of the imports; and who may look at the time."""

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

import moorage

ROOT = Path(moorage.__file__).parent

# The table of docs/design.md: one row for each folder, lowest first.  A file of a folder imports
# from its own row and from those before it.
ROWS = [
    "runtime",
    "runtime/clocks",
    "runtime/guards",
    "runtime/containers",
    "runtime/pools",
    "runtime/waiting",
    "old",
    "mounting",
    "stores",
    "cloud",
    "serialize",
    "placing",
    "simulator",
    "declaring",
    "web",
    "running",
    "calling",
    "describing",
    "surface",
    "testing",
    "cli",
]
# Files beside the folders belong to three rows by their names; all others are "cloud".
BESIDE = {
    "runtime": {
        *("account_types", "advice", "arguments", "client_config", "config", "exception"),
        *("frames", "variables", "with_aio"),
    },
    "surface": {
        *("__init__", "app", "as_modal", "cls", "experimental", "functions", "output"),
        *("partial_function", "runner", "server", "simulate"),
    },
    "testing": {"mypy_plugin", "pytest_plugin"},
    "cli": {"__main__"},
}


def row_of(name):
    """The row of a module: its folder, or what its name says where it has none."""
    folder = "/".join(name.split(".")[:-1])
    if folder:
        return folder
    return next((row for row, names in BESIDE.items() if name in names), "cloud")


def is_above(imported, name):
    return ROWS.index(row_of(imported)) > ROWS.index(row_of(name))


# For type checkers only, and each with its reason.
UPWARD_FOR_TYPES = {
    # What a method of an app's class is, for whoever reads `obj.method`.
    ("declaring.batch_types", "functions"),
    ("declaring.partial", "functions"),
    ("running.entrypoint", "app"),
}

# Besides the standard library.
THIRD_PARTY = {"anyio", "typing_extensions"}
# Only inside functions: whoever does not use it need not have it.
LAZY_THIRD_PARTY = {"anyio", "trio"}
# What an extra installs, imported inside the functions of the one file that uses it.
OF_EXTRAS = {
    "__main__": {"click"},
    "cli.rich_output": {"rich"},
    "cli.watching": {"watchfiles"},
    "schedule": {"cronsim"},
    "secret": {"dotenv"},
    "testing.web_client": {"httpx"},
    "testing.web_sockets": {"httpx"},  # for type checkers only
    "web.fastapi_app": {"fastapi"},
    "web.proxy": {"aiohttp", "multidict", "yarl"},
    "web.uvicorn_protocol": {"uvicorn"},
    "web.wsgi": {"a2wsgi"},
}
# Those that only pytest's plugin imports.
FOR_PYTEST = {"pytest_plugin", "testing.explore_marker", "testing.leak_check"}
# The command line is nothing without click, so its files import it at their beginnings.
FOR_CLICK = "cli."
# The plugin that mypy imports.
FOR_MYPY = {"mypy_plugin"}

# Who may read time or wait with a limit.
TIME_OWNERS = {
    "runtime.background",
    "runtime.clocks.bells",
    "runtime.clocks.clock",
    "runtime.clocks.clock_thread",
    "runtime.clocks.first_look",
    "runtime.clocks.participants",
    "runtime.clocks.patched_time",
    "runtime.clocks.timekeeper",
    "runtime.clocks.virtual_clock",
    "runtime.real",
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
                self._other(alias.name)

    def visit_ImportFrom(self, node):
        if node.level == 0 and node.module.split(".")[0] != "moorage":
            self._other(node.module)
            return
        if node.level == 0:
            base = node.module.split(".")[1:]
        else:
            base = self.package[: len(self.package) - (node.level - 1)]
            base = base + (node.module.split(".") if node.module else [])
        for alias in node.names:
            # `from . import config` names a module, `from .config import x` does not.
            self._ours(".".join([*base, alias.name]), fallback=".".join(base))

    def _other(self, name):
        # What only type checkers read is as late as what a function imports.
        self.others.append((name.split(".")[0], self._in_function or self._typing))

    def _ours(self, name, fallback=""):
        for candidate in (name, fallback, f"{fallback}.__init__".lstrip(".")):
            if candidate in MODULES:
                self.ours.append((candidate, self._typing))
                return
        raise AssertionError(f"cannot tell what {name!r} imports")


@cache
def imports_of(name):
    found = Imports(name)
    found.visit(ast.parse(MODULES[name].read_text()))
    return found


def test_every_folder_has_its_row():
    assert {row_of(name) for name in MODULES} == set(ROWS)


def test_every_file_beside_the_folders_is_there():
    assert set().union(*BESIDE.values()) <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_down(name):
    upward = {
        (name, imported)
        for imported, typing_only in imports_of(name).ours
        if is_above(imported, name) and not (typing_only and (name, imported) in UPWARD_FOR_TYPES)
    }
    assert not upward


def test_every_exception_to_the_layers_is_used():
    used = {
        (name, imported)
        for name in MODULES
        for imported, typing_only in imports_of(name).ours
        if typing_only and is_above(imported, name)
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
        allowed |= {"mypy"} if name in FOR_MYPY else set()
        allowed |= {"click"} if name.startswith(FOR_CLICK) else set()
        allowed |= OF_EXTRAS.get(name, set()) if in_function else set()
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
    found = Imports("runtime.containers.container")
    found.visit(
        ast.parse(
            "from ..clocks import clock\n"
            "from ... import config\n"
            "from ...exception import Error\n"
            "import moorage.app\n"
            "import trio.lowlevel\n"
            "if TYPE_CHECKING:\n    from ...functions import Function\n"
            "def f():\n    import anyio\n"
        )
    )
    assert found.ours == [
        *[("runtime.clocks.clock", False), ("config", False), ("exception", False), ("app", False)],
        ("functions", True),
    ]
    assert found.others == [("trio", False), ("anyio", True)]
