"""One request for many: whoever leads may be cancelled at any await, and those who wait still get their answer, from one backend each time.

The backend here is a script of awaits, so that each of them can be the one that a leader is cancelled at.
"""

from typing import Any

import pytest
import trio
import trio.testing

from appliance.core.fault import Fault, FaultKind
from appliance.core.record import AttemptRecord, RequestRecord
from appliance.dialects.language_table import language
from appliance.gateway.answers import Answers
from appliance.gateway.cache import EmbeddedCache
from appliance.gateway.cache_plan import CachePlan
from appliance.gateway.call import Call, Outlet
from appliance.gateway.live import Live
from appliance.gateway.recording import RecordingRoom

AWAITS = 5
"""Of one answer, a second each: admission, the head, two pieces, the end."""
BODY = b'{"model":"m","temperature":0,"messages":[]}'
PLAN = CachePlan(60.0, False, False, b"digest")


class Places:
    """Of those who wait. taken: how many there were; held: those that were not given back."""

    def __init__(self) -> None:
        self.taken = self.held = 0

    async def admit_waiting(self, call: Call, resolved: Any) -> "Places":
        await trio.lowlevel.checkpoint()
        self.taken += 1
        self.held += 1
        return self

    def settle(self, tokens: int) -> None:
        self.held -= 1


class Accounts:
    """No limit and no budget, and a place for whoever waits."""

    def __init__(self) -> None:
        self.allowances = Places()

    async def admit(self, call: Call, resolved: Any, now: float) -> None:
        await trio.sleep(1)

    async def admit_hit(self, call: Call, resolved: Any) -> None:
        await trio.lowlevel.checkpoint()


class Backend:
    """Stands where the proxy does. failing: how many answers are a fault before one is good."""

    def __init__(self, failing: int = 0) -> None:
        self.calls: set[Call] = set()
        self.live, self.asked, self.failing = Live(), 0, failing

    async def serve(self, call: Call, resolved: Any) -> Fault | None:
        self.asked += 1
        number = self.asked
        attempt = AttemptRecord("b", "v", "m", "m", trio.current_time(), outcome="cancelled")
        call.record.attempts.append(attempt)
        await trio.sleep(1)
        if number <= self.failing:
            attempt.outcome = "error"
            return Fault(FaultKind.SERVER_ERROR, "no")
        await call.outlet.start(200, [(b"content-type", b"text/event-stream")])
        await trio.sleep(1)
        await call.outlet.write(b"data: %d\n\n" % number)
        await trio.sleep(1)
        await call.outlet.write(b"data: [DONE]\n\n", more=False)
        attempt.outcome = "success"
        await trio.sleep(1)
        return None


class Resolved:
    model = "m"

    class route:
        keepalive_s = 0.0
        cache = PLAN


def answers(backend: Backend, wait_s: float = 600) -> Answers:
    return Answers(Accounts(), backend, EmbeddedCache(1_000_000, 10), 100_000, wait_s, RecordingRoom(1_000_000))  # type: ignore[arg-type]


class Client:
    """One request, and what was sent to it."""

    def __init__(self, tenant: str = "t") -> None:
        chat = language("openai_chat")
        assert chat.verbatim is not None
        parsed = chat.verbatim.read(BODY.replace(b"{", b'{"stream":true,', 1), "chat")
        self.record = RequestRecord("1", "1", 0.0, 0.0)
        self.body, self.fault = b"", None

        async def send(message: dict[str, Any]) -> None:
            await trio.lowlevel.checkpoint()
            self.body += message.get("body", b"")

        key = type("Key", (), {"tenant": tenant})()
        outlet = Outlet(send, self.record, 0.0)
        self.call = Call(self.record, parsed, BODY, chat, key, b"", {}, outlet, lambda: None, None)  # type: ignore[arg-type]

    async def ask(self, where: Answers) -> None:
        asked = where.asked(self.call, Resolved(), b"")  # type: ignore[arg-type]
        assert asked is not None
        self.fault = await where.serve(self.call, Resolved(), asked, skip=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("awaits", range(AWAITS))
async def test_a_leader_cancelled_at_any_await_does_not_fail_its_followers(autojump_clock: trio.testing.MockClock, awaits: int) -> None:
    backend = Backend()
    where = answers(backend)
    leader, followers = Client(), [Client() for _ in range(5)]
    async with trio.open_nursery() as nursery:
        leading = await nursery.start(_cancellable, leader, where)
        await trio.sleep(0.5)
        for one in followers:
            nursery.start_soon(one.ask, where)
        await trio.sleep(awaits)
        leading.cancel()
    asked = 2 if awaits else 1  # the first await is before any backend is asked
    assert [one.fault for one in followers] == [None] * 5
    assert {one.body for one in followers} == {b"data: %d\n\ndata: [DONE]\n\n" % asked}
    assert backend.asked == asked
    assert sorted(one.record.cache for one in followers) == ["hit"] * 4 + ["miss"]
    assert all(one.record.cache_waited_s >= awaits for one in followers)
    assert (where.flights.waiting, where.room.held_bytes, backend.calls) == (0, 0, set())
    places = where.accounts.allowances
    assert (places.held, places.taken) == (0, 9), "four wait for another leader"  # type: ignore[attr-defined]


async def _cancellable(client: Client, where: Answers, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await client.ask(where)


async def test_those_who_wait_take_turns_after_failures(autojump_clock: trio.testing.MockClock) -> None:
    backend = Backend(failing=2)
    where, clients = answers(backend), [Client() for _ in range(6)]
    async with trio.open_nursery() as nursery:
        for one in clients:
            nursery.start_soon(one.ask, where)
    assert sorted(one.fault is None for one in clients) == [False, False, True, True, True, True]
    assert backend.asked == 3


async def test_nobody_waits_longer_than_for_the_time_that_is_set(autojump_clock: trio.testing.MockClock) -> None:
    backend = Backend()
    where, clients = answers(backend, wait_s=2), [Client() for _ in range(3)]
    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        for one in clients:
            nursery.start_soon(one.ask, where)
    assert backend.asked == 3
    assert trio.current_time() - begun < 2 + AWAITS + 1
    assert [one.fault for one in clients] == [None] * 3


async def test_a_tenant_waits_for_none_of_anothers_requests(autojump_clock: trio.testing.MockClock) -> None:
    backend = Backend()
    where, clients = answers(backend), [Client("a"), Client("b"), Client("a")]
    async with trio.open_nursery() as nursery:
        for one in clients:
            nursery.start_soon(one.ask, where)
    assert backend.asked == 2
    assert clients[0].body == clients[2].body != clients[1].body


async def test_what_was_begun_before_the_cache_was_emptied_is_not_kept(autojump_clock: trio.testing.MockClock) -> None:
    backend = Backend()
    where, clients = answers(backend), [Client(), Client()]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clients[0].ask, where)
        await trio.sleep(2.5)
        await where.flush()
    await clients[1].ask(where)
    assert (backend.asked, clients[1].record.cache) == (2, "miss")
