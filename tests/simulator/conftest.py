"""A running simulator on a real socket, and raw connections to it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import httpx
import orjson
import pytest
import trio

from appliance.http1.listen import ListenFault
from appliance.simulator.serve import open_sockets, serve
from appliance.simulator.settings import Settings


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[str]:
    """The base URL of a simulator with these settings."""
    sockets = open_sockets(["127.0.0.1:0"])
    assert not isinstance(sockets, ListenFault)
    async with trio.open_nursery() as nursery:
        urls = await nursery.start(partial(serve, sockets, settings))
        yield urls[0]
        nursery.cancel_scope.cancel()


@pytest.fixture
async def sim() -> AsyncIterator[str]:
    async with running(Settings()) as url:
        yield url


@pytest.fixture
def start() -> Callable[[Settings], object]:
    return running
