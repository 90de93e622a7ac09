"""What most promises are shown on: a simulated provider for each file, and the ways into its gateway.

A file brings its own `gateway` (for `url`) or its `CONFIG` (for `place` and `door`), since that is what it is about.
"""

from collections.abc import Iterator

import pytest
from doors import DOORS, Door, Site, site
from rig import Gateway, Simulator, running


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    one = Simulator(tmp_path_factory.mktemp("simulator"))
    with running(one):
        yield one


@pytest.fixture(params=["builtin", "hypercorn"])
def url(request: pytest.FixtureRequest, gateway: Gateway) -> str:
    """The file's gateway, over either engine."""
    return gateway.url if request.param == "builtin" else gateway.hypercorn_url


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A gateway with the file's CONFIG, and its provider."""
    with site(tmp_path_factory.mktemp("place"), request.module.CONFIG) as both:
        yield both


@pytest.fixture(scope="module", params=DOORS[:2])
def door(place: Site, request: pytest.FixtureRequest) -> Door:
    return place.door(request.param)
