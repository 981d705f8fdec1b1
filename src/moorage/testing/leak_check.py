"""The pytest side of the leak check: hooks that say who owns what is started, and report leaks.

Owns the hooks and the current owner; ``leaks.py`` finds the leaks.  ``pytest_plugin.py``
registers `LeakCheck`; pytest calls the hooks on the main thread.  What a fixture of a
scope wider than ``function`` starts belongs to that fixture, and must have ended when the
fixture has ended.  A leak of such a fixture is reported as an error of the test after
which the fixture was torn down.

Begin at `LeakCheck.pytest_runtest_setup`, then `pytest_runtest_teardown`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from .leaks import LeakWatch, Owner


class LeakCheck:
    """The hooks of the leak check, registered when the option ``moorage_leak_check`` is on."""

    def __init__(self, config: pytest.Config) -> None:
        self._watch = LeakWatch()
        self._watch.start()
        config.add_cleanup(self._watch.stop)
        self._allowed: list[str] = list(config.getini("moorage_leaks_allowed"))
        # The test between the beginning of its setup and the end of its teardown.
        self._test: Owner | None = None
        # The fixtures of a wider scope that are set up, and not torn down yet.
        self._fixtures: dict[pytest.FixtureDef[Any], Owner] = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None]:
        self._test = Owner()
        self._watch.begin(self._test)
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any]
    ) -> Generator[None, object, object]:
        if fixturedef.scope == "function":
            return (yield)
        owner = Owner(f"the {fixturedef.scope}'s fixture {fixturedef.argname}")
        self._fixtures[fixturedef] = owner
        before = self._watch.begin(owner)
        try:
            return (yield)
        finally:
            self._watch.begin(before)

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        owner = self._fixtures.pop(fixturedef, None)
        if owner is not None:
            owner.ended = True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None]:
        test = self._test
        try:
            result = yield
        except BaseException as error:
            for leak in [] if test is None else self._leaks_of(item, test):
                error.add_note(f"left behind as well: {leak}")
            raise
        leaks = [] if test is None else self._leaks_of(item, test)
        if leaks:
            name = getattr(item, "originalname", None) or item.name
            what = leaks[0] if len(leaks) == 1 else "".join(f"\n- {leak}" for leak in leaks) + "\n"
            pytest.fail(
                f"left behind: {what}; or write @pytest.mark.moorage_leaks above {name}, "
                "if that may be",
                pytrace=False,
            )
        return result

    def _leaks_of(self, item: pytest.Item, test: Owner) -> list[str]:
        """End `test`; return its leaks and those of ended fixtures, except allowed leaks."""
        self._test = None
        allowed = list(self._allowed)
        for mark in item.iter_markers("moorage_leaks"):
            if not mark.args:  # @pytest.mark.moorage_leaks without names allows everything
                self._watch.forgive(test)
            allowed += [str(name) for name in mark.args]
        try:
            return self._watch.take_leaks(test, allowed)
        finally:
            self._watch.begin(None)
