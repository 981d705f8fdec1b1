"""The entry point that pytest loads in every suite where moorage is installed.

Owns the names of the options, of the marker and of the fixtures; their bodies are in
``moorage/pytest_plugin.py``, imported when the first option or fixture is used.
This file is beside the package ``moorage``, not in it: the import of any module of the
package imports asyncio and more, and a suite that does not use moorage must not pay for
that import.  For the same reason, this file imports only pytest, and what pytest imports.

Begin at `pytest_addoption`, then `_turn_on`, then `virtual_clock`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from moorage.pytest_plugin import FakeContainerFactory, RunApp
    from moorage.testing import VirtualClock

# Each name is an ini option and a flag: `moorage_strict = true`, `--moorage-strict`.
_OPTIONS = {
    "moorage_as_modal": "`import modal` gives moorage, in the whole session",
    "moorage_strict": "moorage refuses what Modal refuses, as with MOORAGE_STRICT=1",
    "moorage_leak_check": "fail tests that leave threads, tasks, slots, containers or runs behind",
}


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    # pytest rewrites the asserts of all modules that are installed with a plugin.  The
    # asserts of moorage are invariants, not tests.  Without the rewriting, a suite runs the
    # same code as production, and does not wait until pytest has compiled moorage again.
    marked: object = getattr(getattr(pluginmanager, "rewrite_hook", None), "_must_rewrite", None)
    if isinstance(marked, set):
        marked.discard("moorage")
    group = parser.getgroup("moorage")
    for name, what in _OPTIONS.items():
        parser.addini(name, what, type="bool", default=False)
        flag = "--" + name.replace("_", "-")
        group.addoption(flag, dest=name, action="store_true", default=None, help=what)
    group.addoption(
        "--moorage-seed",
        type=int,
        metavar="N",
        help="run tests marked with moorage_explore once, in the order of seed N",
    )
    parser.addini(
        "moorage_leaks_allowed",
        "names of threads and tasks that the leak check allows, with * and ?",
        type="linelist",
        default=[],
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    # Apply the options before pytest imports the user's conftest files, which may import
    # modal.
    _turn_on(early_config)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "moorage_leaks(*names): the leak check allows this test to leave things behind: "
        "threads and tasks of these names (with * and ?), or anything if no name is given",
    )
    config.addinivalue_line(
        "markers",
        "moorage_explore(runs=200, seed=0, preempt=0): run this test, which uses virtual_clock, "
        "once for each seed, each time in another order of its steps",
    )
    # Again, for a plugin that is named in `pytest_plugins`: pytest loads it too late to
    # call the hook above.
    _turn_on(config)
    _give_home(config)


def pytest_collection_finish(session: pytest.Session) -> None:
    if any("virtual_clock" in getattr(item, "fixturenames", ()) for item in session.items):
        from moorage.pytest_plugin import install_virtual_time

        install_virtual_time(session.config)
    if any(item.get_closest_marker("moorage_explore") for item in session.items):
        from moorage.pytest_plugin import install_exploring

        install_exploring(session.config)


def _give_home(config: pytest.Config) -> None:
    """Keep named objects of this session in a directory of its own, unless the user names one.

    Each process of pytest-xdist inherits the environment of the first one, and has a directory of
    its own.
    """
    given = os.environ.get("MOORAGE_HOME")
    if given and given != os.environ.get("MOORAGE_PYTEST_HOME"):
        return
    path = tempfile.mkdtemp(prefix="moorage-pytest-")
    before = {key: os.environ.get(key) for key in ("MOORAGE_HOME", "MOORAGE_PYTEST_HOME")}
    os.environ.update(dict.fromkeys(before, path))

    def restore() -> None:
        for key, value in before.items():
            if os.environ.get(key) == path:
                if value is None:
                    del os.environ[key]
                else:
                    os.environ[key] = value
        shutil.rmtree(path, ignore_errors=True)

    config.add_cleanup(restore)


def _turn_on(config: pytest.Config) -> None:
    """Apply the options that are on; import moorage only if an option is on."""
    wanted = [name for name in _OPTIONS if _is_on(config, name)]
    if wanted:
        from moorage.pytest_plugin import turn_on

        for name in wanted:
            turn_on(config, name)


def _is_on(config: pytest.Config, name: str) -> bool:
    """Return the value of the option `name`; a flag on the command line goes before the ini."""
    flag: object = getattr(config.known_args_namespace, name, None)
    if flag is not None:
        return bool(flag)
    try:
        return bool(config.getini(name))
    except (ValueError, TypeError, pytest.UsageError) as error:
        raise pytest.UsageError(
            f"{name} must be true or false: {error}; write {name} = true"
        ) from None


@pytest.fixture
def virtual_clock(request: pytest.FixtureRequest) -> Generator[VirtualClock]:
    """A clock whose time jumps when all participants wait; the test's event loop uses it too.

    The test's thread takes part in the clock: time passes only while the test waits.
    Containers of `fake_container` and runs of `run_app` in the same test use this clock.
    """
    from moorage import pytest_plugin

    yield from pytest_plugin.clock_of_test(request)


@pytest.fixture
def fake_container(request: pytest.FixtureRequest) -> Generator[FakeContainerFactory]:
    """Start a `FakeContainer`, left when the test ends: `fake_container(fn, **options)`."""
    from moorage import pytest_plugin

    yield from pytest_plugin.containers_of_test(request)


@pytest.fixture
def run_app(request: pytest.FixtureRequest) -> Generator[RunApp]:
    """Enter `app.run(**options)`, left when the test ends: `run_app(app, **options)`."""
    from moorage import pytest_plugin

    yield from pytest_plugin.runs_of_test(request)
