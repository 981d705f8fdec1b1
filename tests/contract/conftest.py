"""Each test of the contract runs in every way, in virtual time unless it says otherwise."""

import pytest

from .ways import WAYS
from .work import make_world


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def way(request):
    return request.param


@pytest.fixture
def world(request):
    return make_world(getattr(request, "param", "virtual"))
