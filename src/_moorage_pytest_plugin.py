"""What pytest loads in every suite where moorage is installed: names, and no more.

Owns the options and the names of the fixtures.  It stands beside the package, not
in it: to import ``moorage.anything`` is to import all of moorage, and a suite that
uses nothing of it must not pay for that.  So this file imports pytest alone; what
its fixtures and options do is in ``moorage.pytest_plugin``, which the first of them
that is used imports.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from moorage.pytest_plugin import FakeContainerFactory, RunApp
    from moorage.testing import VirtualClock

# Each is an ini option, and a flag: `moorage_strict = true`, `--moorage-strict`.
_OPTIONS = {
    "moorage_as_modal": "`import modal` gives moorage, in the whole session",
    "moorage_strict": "moorage refuses what Modal refuses, as with MOORAGE_STRICT=1",
    "moorage_leak_check": "fail tests that leave threads, tasks, slots, containers or runs behind",
}


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    # pytest rewrites the asserts of whatever comes with a plugin.  Those of moorage are
    # its invariants, no tests: a suite runs the code that production runs, and does not
    # wait for it to be compiled anew.
    marked: object = getattr(getattr(pluginmanager, "rewrite_hook", None), "_must_rewrite", None)
    if isinstance(marked, set):
        marked.discard("moorage")
    group = parser.getgroup("moorage")
    for name, what in _OPTIONS.items():
        parser.addini(name, what, type="bool", default=False)
        flag = "--" + name.replace("_", "-")
        group.addoption(flag, dest=name, action="store_true", default=None, help=what)
    parser.addini(
        "moorage_leaks_allowed",
        "names of threads and tasks that the leak check lets be, with * and ?",
        type="linelist",
        default=[],
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    # Before the user's conftest files are imported: they may import modal.
    _turn_on(early_config)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "moorage_leaks(*names): the leak check lets this test leave things behind: "
        "threads and tasks of these names (with * and ?), or anything if none is given",
    )
    _turn_on(config)  # named in `pytest_plugins`, it is too late for the hook above


def pytest_collection_finish(session: pytest.Session) -> None:
    if any("virtual_clock" in getattr(item, "fixturenames", ()) for item in session.items):
        from moorage.pytest_plugin import install_virtual_time

        install_virtual_time(session.config)


def _turn_on(config: pytest.Config) -> None:
    wanted = [name for name in _OPTIONS if _is_on(config, name)]
    if wanted:
        from moorage.pytest_plugin import turn_on

        for name in wanted:
            turn_on(config, name)


def _is_on(config: pytest.Config, name: str) -> bool:
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
    """A clock whose time jumps when all wait; the test's own event loop lives in it too.

    The test's thread takes part: time stands still but where it waits.  What
    `fake_container` and `run_app` start in the same test lives by this clock.
    """
    from moorage import pytest_plugin

    yield from pytest_plugin.clock_of_test(request)


@pytest.fixture
def fake_container(request: pytest.FixtureRequest) -> Generator[FakeContainerFactory]:
    """`fake_container(fn, **options)` starts a `FakeContainer`, closed at the test's end."""
    from moorage import pytest_plugin

    yield from pytest_plugin.containers_of_test(request)


@pytest.fixture
def run_app(request: pytest.FixtureRequest) -> Generator[RunApp]:
    """`run_app(app, **options)` enters `app.run(**options)`, left at the test's end."""
    from moorage import pytest_plugin

    yield from pytest_plugin.runs_of_test(request)
