"""One account's credentials: fetched before they end, waited for by early requests, kept while fetching fails, replaced when refused."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from appliance.core.fault import Fault, FaultKind
from appliance.core.renewal import PAUSE_MAX_S, REFUSALS_APART_S, Held
from appliance.gateway.account import Account
from appliance.gateway.account_client import Reach
from appliance.providers.account import Grant, Trouble
from appliance.providers.google_account import Metadata

DOWN = Trouble("it cannot be reached")
NO = Trouble('it answered 400 and said "invalid_grant"', refused=True)


class Source:
    """Gives the listed answers one after the other, the last one for ever; each takes `takes_s`."""

    def __init__(self, *answers: Grant | Trouble, takes_s: float = 0.0) -> None:
        self.answers = list(answers)
        self.takes_s = takes_s
        self.asked_at: list[float] = []

    async def fetch(self) -> Grant | Trouble:
        self.asked_at.append(trio.current_time())
        await trio.sleep(self.takes_s)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def account_of(fetch: Callable[[], Awaitable[Grant | Trouble]]) -> Account:
    return Account(Metadata("http://m"), Reach(), fetch, lambda: 0.0)


def ignore(found: Grant | Trouble, held: Held) -> None:
    del found, held


async def test_a_token_is_replaced_before_it_ends(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    source = Source(Grant("one", 3600.0), Grant("two", 3600.0), Grant("three", 3600.0))
    account = account_of(source.fetch)
    nursery.start_soon(account.keep, ignore)
    assert await account.get("b", 5.0) == Grant("one", 3600.0)
    await trio.sleep(3299)
    assert account.usable() == Grant("one", 3600.0)
    await trio.sleep(2)
    assert account.usable() == Grant("two", 3600.0)
    assert set(account.secrets) == {b"one", b"two"}, "requests under way may still carry the old one"
    assert [round(at) for at in source.asked_at] == [0, 3300]


async def test_requests_before_the_first_token_wait_for_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    account = account_of(Source(Grant("one", 3600.0), takes_s=3.0).fetch)
    got = []

    async def request() -> None:
        got.append((await account.get("b", 5.0), trio.current_time()))

    async with trio.open_nursery() as requests:
        for _ in range(3):
            requests.start_soon(request)
        nursery.start_soon(account.keep, ignore)
    assert got == [(Grant("one", 3600.0), 3.0)] * 3


async def test_a_token_that_does_not_come_in_time_is_a_timeout(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    account = account_of(Source(Grant("one", 3600.0), takes_s=9.0).fetch)
    nursery.start_soon(account.keep, ignore)
    fault = await account.get("b", 5.0)
    assert isinstance(fault, Fault)
    assert (fault.kind, trio.current_time()) == (FaultKind.CONNECT_TIMEOUT, 5.0)


@pytest.mark.parametrize(("trouble", "kind"), [(DOWN, FaultKind.CONNECT), (NO, FaultKind.AUTHENTICATION)])
async def test_after_a_failure_requests_do_not_wait(
    nursery: trio.Nursery, autojump_clock: MockClock, trouble: Trouble, kind: FaultKind
) -> None:
    account = account_of(Source(trouble).fetch)
    nursery.start_soon(account.keep, ignore)
    await trio.sleep(100.1)
    begun = trio.current_time()
    fault = await account.get("b", 5.0)
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.detail, trio.current_time()) == (kind, trouble.words, begun)
    assert trouble.words not in fault.message


async def test_the_old_token_stays_in_use_while_fetching_fails(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    source = Source(Grant("one", 3600.0), DOWN)
    account = account_of(source.fetch)
    nursery.start_soon(account.keep, ignore)
    await trio.sleep(3599)
    assert await account.get("b", 5.0) == Grant("one", 3600.0)
    await trio.sleep(1.1)
    assert isinstance(await account.get("b", 5.0), Fault)
    pauses = [after - before for before, after in zip(source.asked_at[1:], source.asked_at[2:], strict=False)]
    assert pauses == sorted(pauses)
    assert pauses[-1] <= PAUSE_MAX_S
    source.answers = [Grant("two", 3600.0)]
    await trio.sleep(PAUSE_MAX_S)
    assert account.usable() == Grant("two", 3600.0)


async def test_a_refused_token_is_fetched_anew_once_for_all_who_carry_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    one, two = Grant("one", 3600.0), Grant("two", 3600.0)
    source = Source(one, two, takes_s=1.0)
    account = account_of(source.fetch)
    nursery.start_soon(account.keep, ignore)
    await account.get("b", 5.0)
    await trio.sleep(60)
    got: list[Grant | None] = []

    async def refused() -> None:
        got.append(await account.another(one, 5.0))

    async with trio.open_nursery() as requests:
        for _ in range(5):
            requests.start_soon(refused)
    assert got == [two] * 5
    assert len(source.asked_at) == 2
    assert await account.another(one, 5.0) == two, "who comes late finds the new one"
    assert await account.another(two, 5.0) is None, "and a backend that refuses every token does not make us ask for ever"
    assert len(source.asked_at) == 2
    await trio.sleep(REFUSALS_APART_S)
    source.answers = [Grant("three", 3600.0)]
    assert await account.another(two, 5.0) == Grant("three", 3600.0)


async def test_a_source_that_gives_the_refused_token_again_has_none(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    account = account_of(Source(Grant("one", 3600.0)).fetch)
    nursery.start_soon(account.keep, ignore)
    first = await account.get("b", 5.0)
    assert isinstance(first, Grant)
    assert await account.another(first, 5.0) is None


async def test_a_waiting_request_can_be_cancelled(autojump_clock: MockClock) -> None:
    account = account_of(Source(DOWN).fetch)
    for wait in (account.get("b", 1e6), account.another(Grant("one", 1.0), 1e6)):
        with trio.move_on_after(1) as scope:
            await wait
        assert scope.cancelled_caught


async def test_a_fetch_that_crashes_leaves_the_account_ready_for_the_next(autojump_clock: MockClock) -> None:
    async def crash() -> Grant | Trouble:
        raise RuntimeError("a bug")

    account = account_of(crash)
    with pytest.raises(RuntimeError):
        await account.keep(ignore)
    account.fetch = Source(Grant("one", 3600.0)).fetch
    async with trio.open_nursery() as nursery:
        nursery.start_soon(account.keep, ignore)
        assert await account.get("b", 5.0) == Grant("one", 3600.0)
        nursery.cancel_scope.cancel()
