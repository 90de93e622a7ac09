"""Hedging on a virtual clock: what it does to the slowest requests, what it costs, and that nothing is left of the loser, whatever it was
waiting for.

    make strategies        prints the table
"""

import json
import math
import random
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from traffic import EVENTS, Reply, World, percentile, world

from appliance.core.fault import FaultKind
from appliance.core.hedge import HedgePolicy
from appliance.core.record import RequestRecord
from appliance.gateway.faults import DRAINING
from appliance.http1.transport import Exchange, Failure, Hold, UpstreamRequest

CONFIG = """
[backends.a]
provider = "custom"
base_url = "http://a.test/v1"
max_concurrency = 50
health = { mode = "off" }
timeouts = { first_byte_s = 60, total_s = 60 }
[backends.b]
provider = "custom"
base_url = "http://b.test/v1"
max_concurrency = 50
health = { mode = "off" }
timeouts = { first_byte_s = 60, total_s = 60 }
[[routes]]
name = "r"
strategy = "STRATEGY"
targets = [ { backend = "a" }, { backend = "b" } ]
retry = { attempts = 2 }
hedge = { HEDGE }
"""
ALWAYS = "after_s = 0.5, max_percent = 100"


def config(hedge: str, strategy: str = "priority") -> str:
    return CONFIG.replace("HEDGE", hedge).replace("STRATEGY", strategy)


# What it is worth ------------------------------------------------------------------------------------------------------------------------


def bimodal(_now: float, chance: random.Random) -> Reply:
    """Three of a hundred are slow, for no reason of their own."""
    return Reply(chance.uniform(3.0, 5.0) if chance.random() < 0.03 else chance.uniform(0.15, 0.3))


def slow_day(_now: float, chance: random.Random) -> Reply:
    return Reply(chance.uniform(1.0, 2.0))


SETTINGS = {"no hedging": "", "after 0.5 s": "after_s = 0.5", "after the 96th percentile": "percentile = 96"}
SCENES = {"bimodal": bimodal, "slow day": slow_day}


@attrs.frozen
class Outcome:
    requests: int
    extra: float
    p50_s: float
    p95_s: float
    p99_s: float
    failed: int


def simulated(scene: str, hedge: str, *, stream: bool) -> Outcome:
    """Two minutes at 20 requests a second."""
    found: list[Outcome] = []

    async def run() -> None:
        one = world(config(hedge, "round_robin"), {"a": SCENES[scene], "b": SCENES[scene]})
        await one.traffic(20, 120, stream=stream)
        took = [each.took_s for each in one.served]
        asked = sum(len(each.asked) for each in one.transports.values())
        assert asked == sum(len(each.attempts) for each in one.served)
        p50, p95, p99 = (percentile(took, share) for share in (0.5, 0.95, 0.99))
        found.append(Outcome(len(took), asked / len(took) - 1, p50, p95, p99, sum(each.status != 200 for each in one.served)))

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    return found[0]


@pytest.fixture(scope="module")
def outcomes() -> dict[tuple[str, str, bool], Outcome]:
    return {
        (scene, name, stream): simulated(scene, hedge, stream=stream)
        for scene in SCENES for name, hedge in SETTINGS.items() for stream in (True, False)
    }  # fmt: skip


def test_the_table(outcomes: dict[tuple[str, str, bool], Outcome]) -> None:
    print()
    print(f"{'backends':<11}{'hedging':<27}{'answers':<9}{'requests':>9}{'asked twice':>13}{'p50':>9}{'p95':>9}{'p99':>9}")
    for (scene, name, stream), one in outcomes.items():
        kind = "streams" if stream else "whole"
        times = "".join(f"{seconds:7.2f} s" for seconds in (one.p50_s, one.p95_s, one.p99_s))
        print(f"{scene:<11}{name:<27}{kind:<9}{one.requests:>9}{one.extra:>12.1%} {times}")
    assert all(one.failed == 0 for one in outcomes.values())


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", list(SETTINGS)[1:])
def test_the_slowest_are_twice_as_fast_for_few_requests_more(
    outcomes: dict[tuple[str, str, bool], Outcome], name: str, stream: bool
) -> None:
    without, hedged = outcomes["bimodal", "no hedging", stream], outcomes["bimodal", name, stream]
    assert without.extra == 0
    assert hedged.p99_s <= without.p99_s / 2
    assert hedged.extra <= 0.05


@pytest.mark.parametrize("name", list(SETTINGS)[1:])
def test_a_slow_day_does_not_double_the_traffic(outcomes: dict[tuple[str, str, bool], Outcome], name: str) -> None:
    assert all(outcomes["slow day", name, stream].extra <= 0.05 for stream in (True, False))


# What becomes of the two -----------------------------------------------------------------------------------------------------------------


COMMENT = b": waiting\n\n"


@attrs.define(eq=False)
class Staged:
    """A backend that goes so far and no further: `send` (no head), `head` (a head alone), `comment` (bytes that are no event), or answers
    after `seconds`, and so many `turns` of the scheduler. ended_at: when it was cancelled or closed.
    """

    stage: str
    seconds: float = 0.0
    holds: bool = True
    turns: int = 0
    ended_at: float = math.nan
    asked_at: float = math.nan
    pieces: list[bytes] = attrs.field(factory=lambda: list(EVENTS))
    status: int = 200
    headers: list[tuple[bytes, bytes]] = attrs.field(factory=lambda: [(b"content-type", b"text/event-stream")])
    head_at: float = 0.0
    reused: bool = True
    connect_s: float = 0.0
    _cut: trio.Event = attrs.field(factory=trio.Event)

    async def send(self, request: UpstreamRequest, hold: Hold | None = None) -> Exchange | Failure:
        self.asked_at = trio.current_time()
        if hold is not None and self.holds:
            hold.take(self._cut.set)
        if self.stage == "send" and (failure := await self._wait(math.inf)) is not None:
            return failure
        if self.stage == "answers" and (failure := await self._wait(self.seconds)) is not None:
            return failure
        for _ in range(self.turns):
            await trio.lowlevel.checkpoint()
        if self.stage == "comment":
            self.pieces.insert(0, COMMENT)
        self.head_at = trio.current_time()
        return self

    async def _wait(self, seconds: float) -> Failure | None:
        try:
            with trio.move_on_after(seconds):
                await self._cut.wait()
                return Failure("closed", "cut")
        except trio.Cancelled:
            self.ended_at = trio.current_time()
            raise
        return None

    def whole(self) -> bytes | None:
        return None

    async def read(self) -> bytes | Failure:
        await trio.lowlevel.checkpoint()
        stuck = (self.stage == "head", self.stage == "comment" and self.pieces[:1] != [COMMENT])
        if any(stuck) and (failure := await self._wait(math.inf)) is not None:
            return failure
        return self.pieces.pop(0) if self.pieces else b""

    async def pass_on(self, take: Callable[[bytes], bool]) -> bytes | Failure:
        return await self.read()

    def close(self) -> None:
        if math.isnan(self.ended_at):
            self.ended_at = trio.current_time()


def staged(a: Staged, b: Staged, hedge: str = ALWAYS) -> World:
    one = world(config(hedge), {"a": bimodal, "b": bimodal})
    one.plan.upstreams["a"].transport, one.plan.upstreams["b"].transport = a, b
    return one


def nothing_left(one: World) -> None:
    for upstream in one.plan.upstreams.values():
        assert (upstream.state.in_flight, upstream.slots.taken, upstream.slots.waiting) == (0, 0, 0)
        assert upstream.state.breaker._probes == 0
    assert not one.proxy.calls
    assert one.proxy.live.streams == 0


async def asked(one: World, **more: Any) -> RequestRecord:
    """With the watch that ends what is over its time."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.proxy.watch)
        record = await one.ask(stream=True, **more)
        nursery.cancel_scope.cancel()
    return record


def told(record: RequestRecord) -> list[tuple[str, str, str, bool]]:
    return [(each.backend, each.outcome, each.hedge, each.lost) for each in record.attempts]


SECOND_WON = [("a", "cancelled", "", True), ("b", "success", "won", False)]
FIRST_WON = [("b", "cancelled", "sent", True), ("a", "success", "", False)]


@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize("stage", ["send", "head", "comment", "queue", "proof"])
async def test_the_first_is_cancelled_at_once_whatever_it_waits_for(autojump_clock: Any, stage: str, holds: bool) -> None:
    first, other = Staged(stage, holds=holds), Staged("answers", 0.25, holds=holds)
    one = staged(first, other)
    upstream = one.plan.upstreams["a"]
    if stage == "queue":
        upstream.slots.taken = upstream.slots.limit
    if stage == "proof":
        first.stage = "send"
        upstream.prover = Proving(first)
    upstream.state.breaker.half_open()
    began = trio.current_time()
    record = await asked(one)
    assert record.fault is None
    assert told(record) == SECOND_WON
    lost, won = record.attempts
    assert lost.ended_at == pytest.approx(began + 0.75), "at the instant at which the other's answer began"
    if stage == "queue":
        assert math.isnan(first.asked_at)
        assert lost.usage is None, "it never left, so nobody bills it"
        upstream.slots.taken = 0
    else:
        assert first.ended_at == lost.ended_at
        assert lost.usage is not None
        assert lost.usage.source == "estimated"
    assert record.usage is won.usage
    assert upstream.state.breaker.state.value == "half_open", "losing tells nothing of a backend"
    nothing_left(one)


@attrs.define
class Proving:
    """See gateway.proven.Prover."""

    transport: Staged
    secrets: tuple[bytes, ...] = ()

    async def send(self, _transport: Any, request: UpstreamRequest, hold: Hold | None) -> Exchange | Failure:
        return await self.transport.send(request, None)


@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize("stage", ["send", "head", "comment"])
async def test_the_second_is_cancelled_at_once_whatever_it_waits_for(autojump_clock: Any, stage: str, holds: bool) -> None:
    first, other = Staged("answers", 0.75, holds=holds), Staged(stage, holds=holds)
    one = staged(first, other)
    one.plan.upstreams["b"].state.breaker.half_open()
    began = trio.current_time()
    record = await asked(one)
    assert told(record) == FIRST_WON
    assert (record.backend, record.model, record.fallbacks) == ("a", "m", ())
    assert other.asked_at == pytest.approx(began + 0.5)
    assert other.ended_at == pytest.approx(began + 0.75)
    nothing_left(one)


async def test_both_at_the_same_instant_give_one_answer(autojump_clock: Any) -> None:
    for seconds in (0.5, 0.75):
        first, other = Staged("answers", seconds), Staged("answers", seconds - 0.5)
        one = staged(first, other)
        sent: list[dict[str, Any]] = []

        async def send(message: Any, sent: list[dict[str, Any]] = sent) -> None:
            sent.append(message)
            await trio.lowlevel.checkpoint()

        record = await asked(one, send=send)
        assert [message["type"] for message in sent].count("http.response.start") == 1
        assert b"".join(message.get("body", b"") for message in sent) == b"".join(EVENTS)
        served = dict(sent[0]["headers"])[b"x-served-by"].decode()
        assert record.backend == served
        assert len(record.attempts) in (1, 2)
        assert [each.outcome for each in record.attempts][-1] == "success"
        nothing_left(one)


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("turns", range(8))
async def test_a_second_that_is_due_in_the_very_turn_in_which_the_first_ends_keeps_nobody_waiting(
    autojump_clock: Any, turns: int, status: int
) -> None:
    """Whichever of the two the scheduler lets go first; nobody is left waiting for a loser that was told of nothing."""
    for _ in range(8):
        first, other = Staged("answers", 0.5, status=status, turns=turns), Staged("answers", 0.25)
        one = staged(first, other)
        with trio.fail_after(5):
            record = await asked(one)
        if status == 200:
            assert (record.fault, record.backend, record.attempts[-1].outcome) == (None, "a", "success")
        else:
            assert record.fault is not None
            assert (record.fault.upstream_status, record.backend) == (400, "a")
        assert [each.outcome for each in record.attempts[:-1]] == ["cancelled"] * (len(record.attempts) - 1)
        assert math.isnan(other.asked_at) == (len(record.attempts) == 1)
        nothing_left(one)


@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize("left_after_s", [0.0, 0.25, 0.5, 0.6, 0.75, 0.8])
async def test_a_caller_that_leaves_at_any_time_leaves_nothing(autojump_clock: Any, left_after_s: float, holds: bool) -> None:
    first, other = Staged("send", holds=holds), Staged("answers", 0.25, holds=holds)
    one = staged(first, other)

    async def stuck(message: Any) -> None:
        if message["type"] == "http.response.body":
            await trio.sleep_forever()  # a caller that does not read

    with trio.move_on_after(left_after_s) as scope:
        await asked(one, send=stuck)
    assert scope.cancelled_caught
    assert math.isnan(first.asked_at) or first.ended_at <= trio.current_time()
    assert math.isnan(other.asked_at) or other.ended_at <= trio.current_time()
    nothing_left(one)


@pytest.mark.parametrize("holds", [True, False])
async def test_a_shutdown_ends_both_and_is_one_request(autojump_clock: Any, holds: bool) -> None:
    first, other = Staged("send", holds=holds), Staged("comment", holds=holds)
    one = staged(first, other)
    counts: list[int] = []

    async def cut() -> None:
        await trio.sleep(0.7)
        counts.append(one.proxy.cut_all())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cut)
        record = await asked(one)
    assert counts == [1]
    assert record.fault == DRAINING
    assert len(record.attempts) == 2
    assert all(each.ended_at - record.started_at == pytest.approx(0.7) for each in record.attempts)
    nothing_left(one)


@pytest.mark.parametrize("holds", [True, False])
async def test_each_has_its_own_time(autojump_clock: Any, holds: bool) -> None:
    """The first is over time while the second may still answer; when both are, the caller hears of it once."""
    first, other = Staged("send", holds=holds), Staged("head", holds=holds)
    one = staged(first, other)
    for name in ("a", "b"):
        upstream = one.plan.upstreams[name]
        upstream.settings = attrs.evolve(upstream.settings, timeouts=attrs.evolve(upstream.settings.timeouts, first_byte_s=2.0))
    record = await asked(one)
    assert record.fault is not None
    assert record.fault.kind is FaultKind.FIRST_BYTE_TIMEOUT
    assert [(each.backend, each.outcome) for each in record.attempts] == [("a", "error"), ("b", "error")]
    for each in record.attempts:
        assert each.fault is not None
        assert each.ended_at - each.started_at == pytest.approx(2.0, abs=0.11)
    assert one.plan.upstreams["a"].state.errors == one.plan.upstreams["b"].state.errors == 1
    nothing_left(one)


async def test_the_second_goes_only_where_the_policy_would_go_next(autojump_clock: Any) -> None:
    def breaker_open(one: World) -> None:
        one.plan.upstreams["b"].state.breaker.open(trio.current_time())

    def drained(one: World) -> None:
        one.plan.upstreams["b"].state.drained = True

    def full(one: World) -> None:
        one.plan.upstreams["b"].slots.taken = one.plan.upstreams["b"].slots.limit

    def late(one: World) -> None:
        (route,) = one.plan.routes
        one.plan = attrs.evolve(one.plan, routes=(attrs.evolve(route, policy=attrs.evolve(route.policy, budget_s=0.4)),))

    for obstacle in (breaker_open, drained, full, late):
        one = staged(Staged("answers", 2.0), Staged("answers", 0.1))
        obstacle(one)
        record = await asked(one)
        assert told(record) == [("a", "success", "", False)], obstacle
        assert one.proxy.live.hedging("r").withheld == 1


async def test_at_most_one_second_attempt_is_made(autojump_clock: Any) -> None:
    """However long it takes, and however many backends there are."""
    more = config(ALWAYS).replace("{ backend = \"b\" }", "{ backend = \"b\" }, { backend = \"c\" }") + """
[backends.c]
provider = "custom"
base_url = "http://c.test/v1"
"""
    one = world(more, {"a": slow_day, "b": slow_day, "c": slow_day})
    for name in "abc":
        one.plan.upstreams[name].transport = Staged("answers", 10.0 if name != "b" else 5.0)
    record = await asked(one)
    assert told(record) == SECOND_WON


async def test_a_route_that_cannot_hedge_does_not(autojump_clock: Any) -> None:
    for settings in (config("after_s = 0"), config(ALWAYS).replace("attempts = 2", "attempts = 1")):
        (route,) = world(settings, {"a": bimodal, "b": bimodal}).plan.routes
        assert route.hedge is None
    (route,) = world(config("percentile = 95"), {"a": bimodal, "b": bimodal}).plan.routes
    assert route.hedge == HedgePolicy(0.0, 95.0, 50, 5.0)


async def test_what_is_shown_of_a_request_is_in_the_order_of_time(autojump_clock: Any) -> None:
    one = staged(Staged("answers", 0.75), Staged("send"))
    record = await asked(one)
    shown = json.loads(json.dumps(record.as_dict()["attempts"]))
    assert [(each["backend"], each["outcome"], each["hedge"], each["lost"]) for each in shown] == [
        ("a", "success", "", False), ("b", "cancelled", "sent", True)
    ]  # fmt: skip
    assert shown[1]["started_ms"] == pytest.approx(500)
    assert shown[1]["duration_ms"] == pytest.approx(250)
    assert record.overhead_s == pytest.approx(0, abs=0.001), "two at a time are no time of the gateway's own"
