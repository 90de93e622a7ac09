"""A stream whose time is up while a piece of it is on its way to the caller: whose fault that is, on a virtual clock."""

import math
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
from traffic import EVENTS, Reply, world

from appliance.core.fault import FaultKind
from appliance.http1.transport import Exchange, Failure, Hold, PoolStats, UpstreamRequest

TOTAL_S = 3.0
CONFIG = f"""
[backends.a]
provider = "custom"
base_url = "http://a.test/v1"
health = {{ mode = "off" }}
timeouts = {{ total_s = {TOTAL_S} }}
[[routes]]
name = "r"
targets = [ {{ backend = "a" }} ]
"""


@attrs.define(eq=False)
class Endless:
    """A backend whose answer never ends; see http1.transport."""

    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"text/event-stream"),)
    holds: bool = True
    head_at: float = 0.0
    reused: bool = True
    connect_s: float = 0.0
    cut: bool = False

    async def send(self, request: UpstreamRequest, hold: Hold | None = None) -> Exchange | Failure:
        assert hold is not None
        hold.take(self.close)
        self.head_at = trio.current_time()
        return self

    def whole(self) -> bytes | None:
        return None

    async def read(self) -> bytes | Failure:
        await trio.lowlevel.checkpoint()
        return Failure("closed", "cut") if self.cut else EVENTS[0]

    async def pass_on(self, take: Callable[[bytes], bool]) -> bytes | Failure:
        return await self.read()

    def close(self) -> None:
        self.cut = True

    def stats(self) -> PoolStats:
        return PoolStats(0, 0, 0)


@pytest.mark.parametrize(("each_s", "kind", "errors"), [(0.25, FaultKind.TOTAL_TIMEOUT, 1), (TOTAL_S * 2, FaultKind.CLIENT_GONE, 0)])
async def test_a_caller_is_to_blame_where_a_piece_has_waited_for_them_and_not_where_one_is_just_leaving(
    autojump_clock: Any, each_s: float, kind: FaultKind, errors: int
) -> None:
    """Either is sending at every instant; but the one takes a piece in a moment, and the other has not read for as long as it may."""
    one = world(CONFIG, {"a": lambda _now, _chance: Reply(math.inf)})
    one.plan.upstreams["a"].transport = Endless()

    async def send(message: Any) -> None:
        await trio.sleep(each_s)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.proxy.watch)
        record = await one.ask(stream=True, send=send)
        nursery.cancel_scope.cancel()
    (attempt,) = record.attempts
    assert attempt.fault is not None
    assert attempt.fault.kind is kind
    assert one.plan.upstreams["a"].state.errors == errors
