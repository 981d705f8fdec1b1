"""Each test of the contract runs in every way, in virtual time unless it says otherwise.

Tests that are marked `elsewhere` run in processes, too, in real time: what their bodies tell the
test goes by ``world.at_work``, ``world.door()`` and ``world.notes()``.
"""

import pytest

from .across import WorldAcross
from .ways import WAYS, elsewhere
from .work import make_world


def pytest_collection_modifyitems(config, items):
    """Without the tests that see into a container, a process has only those for it."""

    def is_for_its_way(item):
        params = item.callspec.params if hasattr(item, "callspec") else {}
        if params.get("way") is not elsewhere:
            return True
        return item.get_closest_marker("elsewhere") and params.get("world") == "real"

    items[:] = [item for item in items if is_for_its_way(item)]


@pytest.fixture(params=[*WAYS, elsewhere], ids=lambda way: way.name)
def way(request):
    return request.param


@pytest.fixture
def world(request):
    its_way = request.node.callspec.params.get("way")
    if its_way is elsewhere:
        made = WorldAcross()
    else:
        made = make_world(getattr(request, "param", "virtual"))
    yield made
    made.close()
