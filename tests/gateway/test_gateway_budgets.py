"""Budgets with a clock of their own: what is reserved and by which rule, midnight, and figures that arrive while requests run."""

from collections.abc import Awaitable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import orjson
import pytest
import trio
import trio.testing

from appliance.config.schema import Price as OwnPrice
from appliance.config.tenancy import Budget
from appliance.core.budget import Reservation, Terms, Warned
from appliance.core.fault import Fault, FaultKind
from appliance.core.hedge import HedgePolicy
from appliance.core.record import RequestRecord
from appliance.dialects.openai_request import read_request
from appliance.dialects.protocol import ParsedRequest
from appliance.gateway.budgets import KNOWN_WAIT_S, Budgets
from appliance.gateway.ceilings import holder_of, key_scope, tenant_scope, terms_of
from appliance.gateway.foreseen import IMAGE_TOKENS, foreseen
from appliance.gateway.pricing import Pricing, Unpriced, own_price
from appliance.prices.table import PriceTable
from appliance.providers import PROVIDERS, Provider
from appliance.store.row import Spent
from appliance.store.spending import GivenWarning, Spending

BERLIN = ZoneInfo("Europe/Berlin")
TENANT, KEY = tenant_scope("acme"), key_scope("acme", "ci")
MESSAGES = [{"role": "user", "content": "x" * 400}]


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


NOON = at("2026-07-14T12:00:00+02:00")


@attrs.define
class Clock:
    now: float = NOON

    def __call__(self) -> float:
        return self.now


@attrs.define
class Settings:
    name: str = "sim"
    provider: Provider = PROVIDERS["custom"]


@attrs.define(eq=False)
class Target:
    """What of a route's target matters here."""

    model: str
    max_tokens: int | None = None
    upstream: Settings = attrs.field(factory=Settings)

    @property
    def served(self) -> str:
        return self.model


@attrs.define
class Route:
    targets: tuple[Target, ...]
    fallback: tuple[Target, ...] = ()
    hedge: HedgePolicy | None = None


@attrs.define
class Where:
    route: Route
    model: str = "cheap"


@attrs.define
class Key:
    scopes: tuple[str, ...] = (TENANT, KEY)
    holders: tuple[str, ...] = (TENANT, KEY)


@attrs.define
class Call:
    parsed: ParsedRequest
    record: RequestRecord
    pricing: Pricing
    key: Key = attrs.field(factory=Key)
    upload: Any = None


PRICING = Pricing(
    PriceTable(), Unpriced(),
    {
        "cheap": own_price(OwnPrice(output_usd_per_mtok=1.0)),
        "dear": own_price(OwnPrice(input_usd_per_mtok=1.0, output_usd_per_mtok=10.0)),
        "drawn": own_price(OwnPrice(output_usd_per_mtok=1.0, request_usd=0.5)),
    },
)  # fmt: skip


def asked(operation: str = "chat", wall: float = NOON, **fields: Any) -> Any:

    given = {"model": "cheap", **({"messages": MESSAGES} if operation == "chat" else {}), **fields}
    parsed = read_request(orjson.dumps(given), operation)
    assert isinstance(parsed, ParsedRequest), parsed
    return Call(parsed, RequestRecord("1", "1", 0.0, wall, operation=operation, requested_model="asked"), PRICING)


async def reserve(budgets: Budgets, call: Any, where: Any) -> Any:
    """As a request does it: its budgets are known first."""
    unknown = await budgets.known(call.key) if budgets.unknown else None
    return unknown or budgets.reserve(call, where)


def to(*models: str, fallback: tuple[str, ...] = (), cap: int | None = None) -> Any:
    return Where(Route(tuple(Target(one, cap) for one in models), tuple(map(Target, fallback))))


def terms(scope: str = TENANT, usd: float = 1.0, **more: Any) -> Terms:
    (found,) = terms_of(scope, Budget(usd=usd, **{"period": "day", "timezone": "Europe/Berlin", **more}))
    return found


def figures(budgets: Budgets, spent: int = 0, *warnings: GivenWarning, counted: frozenset[int] = frozenset()) -> None:
    """The database has answered."""
    unknown = tuple(budgets.unknown.values())
    budgets.take(unknown, Spending({one.terms.scope: spent for one in unknown}, warnings, counted))


def budgets_of(clock: Clock, *of: Terms, spent: int = 0) -> tuple[Budgets, list[Warned]]:
    told: list[Warned] = []
    one = Budgets(100, True, clock, lambda warned, _terms: told.append(warned))
    one.fit(of, 100)
    figures(one, spent)
    return one, told


def run(awaitable: Awaitable[Any]) -> Any:
    async def main() -> Any:
        return await awaitable

    return trio.run(main)


def held(given: Any) -> Reservation:
    assert isinstance(given, Reservation), given
    return given


def ended(call: Any, nusd: int) -> RequestRecord:
    call.record.cost_nusd = nusd
    return call.record


@pytest.mark.parametrize(("fields", "where", "tokens", "nusd"), [
    ({"max_tokens": 10}, to("cheap"), (100, 10), 10 * 1_000),
    ({}, to("cheap"), (100, 100), 100 * 1_000),
    ({"max_tokens": 5_000}, to("cheap"), (100, 100), 100 * 1_000),
    ({"max_tokens": 50}, to("cheap", cap=7), (100, 7), 7 * 1_000),
    ({"max_tokens": 10, "n": 3}, to("cheap"), (100, 30), 30 * 1_000),
    ({"max_tokens": 10}, to("cheap", fallback=("dear",)), (100, 10), 100 * 1_000 + 10 * 10_000),
    ({"max_tokens": 10}, to("nobody-knows-it"), (100, 10), 0),
])  # fmt: skip
def test_what_is_reserved_is_the_dearest_backends_price_of_the_prompt_and_the_longest_answer(
    fields: dict[str, Any], where: Any, tokens: tuple[int, int], nusd: int
) -> None:
    seen = foreseen(asked(**fields), where, 100)
    assert (seen.input_tokens, seen.output_tokens, seen.nusd) == (*tokens, nusd)


def test_pictures_rankings_and_counts_are_reserved_by_their_own_rules() -> None:
    assert foreseen(asked("image_generation", prompt="sheep", n=2), to("drawn"), 100).nusd == 500_000_000 + 2 * IMAGE_TOKENS * 1_000
    assert foreseen(asked("rerank", query="x", documents=["y"]), to("drawn"), 100).nusd == 500_000_000
    assert foreseen(asked("embeddings", input="x" * 400), to("dear"), 100).nusd == 100 * 1_000


def test_what_may_be_asked_for_twice_is_foreseen_twice():
    where = to("cheap", "dear", fallback=("dear",))
    once, cheap = foreseen(asked(), where, 100).nusd, foreseen(asked(), to("cheap"), 100).nusd
    where.route.hedge = HedgePolicy(1.0)
    where.route.targets[0].upstream, where.route.targets[1].upstream, where.route.fallback[0].upstream = map(Settings, ("a", "b", "b"))
    assert foreseen(asked(), where, 100).nusd == once + cheap, "the dearest two of different backends"
    assert foreseen(asked(previous_response_id="r"), where, 100).nusd == once, "it is never asked for twice"
    drawn = asked("image_generation", prompt="sheep")
    assert foreseen(drawn, where, 100).nusd == foreseen(drawn, to("cheap", "dear"), 100).nusd



def test_a_key_reserves_in_its_own_budget_and_its_tenants_and_a_refusal_says_whose_it_is() -> None:
    budgets, _ = budgets_of(Clock(), terms(usd=1.0), terms(KEY, 0.00015))
    first = held(run(reserve(budgets, asked(max_tokens=100), to("cheap"))))
    midnight = int(at("2026-07-14T00:00:00+02:00"))
    assert first.spent == (Spent(TENANT, midnight, 100_000), Spent(KEY, midnight, 100_000))
    call = asked(max_tokens=100)
    refused = run(reserve(budgets, call, to("cheap")))
    assert isinstance(refused, Fault)
    assert (refused.kind, call.record.limit_type) == (FaultKind.BUDGET_EXCEEDED, "budget")
    for words in ("the key 'ci'", "$0.00015 a day", "$0 is spent", "$0.0001 reserved", "may cost $0.0001", "at 2026-07-15T00:00:00+02:00"):
        assert words in refused.message
    budgets.release(first)
    held(run(reserve(budgets, asked(max_tokens=100), to("cheap"))))
    assert [one.reserved_nusd for one in budgets.standing(Key())] == [100_000, 100_000]  # type: ignore[arg-type]


def test_at_local_midnight_a_budget_starts_anew_and_late_ends_count_in_the_day_they_began_in() -> None:
    clock = Clock(at("2026-10-24T23:59:59+02:00"))  # the night on which clocks go back
    budgets, told = budgets_of(clock, terms(usd=0.0001))
    call = asked(wall=clock.now, max_tokens=100)
    late = held(run(reserve(budgets, call, to("cheap"))))
    assert isinstance(run(reserve(budgets, asked(wall=clock.now), to("cheap"))), Fault)
    yesterday, clock.now = int(at("2026-10-24T00:00:00+02:00")), at("2026-10-25T00:00:00+02:00")
    assert budgets.ratios() == {"acme": 0.0}
    held(run(reserve(budgets, asked(wall=clock.now, max_tokens=100), to("cheap"))))
    assert budgets.settle(late, Key(), ended(call, 99_000), 1) == (Spent(TENANT, yesterday, 99_000),)  # type: ignore[arg-type]
    assert budgets.ratios() == {"acme": 1.0}
    assert told == []
    clock.now = at("2026-10-25T23:59:59+01:00")
    assert isinstance(run(reserve(budgets, asked(wall=clock.now), to("cheap"))), Fault)  # the day has 25 hours
    clock.now += 1
    held(run(reserve(budgets, asked(wall=clock.now, max_tokens=100), to("cheap"))))


def test_what_ends_while_a_budgets_figures_are_looked_up_counts_once() -> None:
    told: list[Warned] = []
    budgets = Budgets(100, True, Clock(), lambda warned, _terms: told.append(warned))
    budgets.fit([], 100)
    before = [asked() for _ in range(3)]
    budgets.fit([terms(usd=0.001)], 100)
    month = int(at("2026-07-14T00:00:00+02:00"))
    for ledger_id, call in enumerate(before[:2]):
        assert budgets.settle(None, Key((), (TENANT, KEY)), ended(call, 200_000), ledger_id) == (Spent(TENANT, month, 200_000),)  # type: ignore[arg-type]
    figures(budgets, 250_000, counted=frozenset({0}))  # of which the first is a part, and the second not yet
    assert budgets.ratios() == {"acme": 0.45}
    spent = budgets.settle(None, Key((), (TENANT, KEY)), ended(before[2], 100_000), 2)  # type: ignore[arg-type]
    assert (spent, budgets.ratios()) == ((Spent(TENANT, month, 100_000),), {"acme": 0.55})
    assert [one.percent for one in told] == [50]


def test_a_request_that_held_something_counts_in_a_budget_that_came_while_it_ran_with_figures_and_without() -> None:
    day, key = int(at("2026-07-14T00:00:00+02:00")), Key((), (TENANT, KEY))
    budgets, _ = budgets_of(Clock(), terms(usd=0.001))
    calls = [asked(max_tokens=100) for _ in range(2)]
    first, second = (held(run(reserve(budgets, call, to("cheap")))) for call in calls)
    budgets.fit([terms(usd=0.001), terms(KEY, usd=0.001)], 100)
    both = {Spent(TENANT, day, 50_000), Spent(KEY, day, 50_000)}
    assert set(budgets.settle(first, key, ended(calls[0], 50_000), 1)) == both  # type: ignore[arg-type]
    figures(budgets, 0)
    assert set(budgets.settle(second, key, ended(calls[1], 50_000), 2)) == both  # type: ignore[arg-type]
    assert [budgets.book.accounts[scope].spent_nusd for scope in (TENANT, KEY)] == [100_000, 100_000]


def test_a_request_that_began_while_a_budget_was_unknown_counts_in_it() -> None:
    day, key = int(at("2026-07-14T00:00:00+02:00")), Key((), (TENANT, KEY))
    budgets, _ = budgets_of(Clock(), terms(usd=0.001))
    budgets.fit([terms(usd=0.001), terms(KEY, usd=0.001)], 100)
    call = asked(max_tokens=100)
    given = budgets.reserve(call, to("cheap"))
    spent = budgets.settle(held(given), key, ended(call, 50_000), 1)  # type: ignore[arg-type]
    assert set(spent) == {Spent(TENANT, day, 50_000), Spent(KEY, day, 50_000)}


def test_requests_wait_for_a_new_budgets_figures_and_are_refused_when_none_come() -> None:
    async def main(*, needed: bool, arrive: bool = False, fail: bool = False) -> Any:
        budgets, begun = Budgets(100, needed, Clock()), trio.current_time()
        budgets.fit([terms(usd=0.001)], 100)
        found: list[Any] = []

        async def ask() -> None:
            found.append(await reserve(budgets, asked(max_tokens=100), to("cheap")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            assert not found
            if arrive:
                figures(budgets, 950_000)
            if fail:
                budgets.fail()
        assert trio.current_time() - begun == (0 if arrive or fail else KNOWN_WAIT_S)
        return found[0]


    def outcome(**how: bool) -> Any:
        return trio.run(lambda: main(**how), clock=trio.testing.MockClock(autojump_threshold=0))

    assert outcome(needed=True, arrive=True).kind is FaultKind.BUDGET_EXCEEDED
    for broken in (False, True):
        assert outcome(needed=True, fail=broken).kind is FaultKind.LEDGER_UNAVAILABLE
        assert isinstance(outcome(needed=False, fail=broken), Reservation)


def test_what_an_earlier_run_warned_of_is_not_told_again_and_what_it_could_not_is() -> None:
    told: list[Warned] = []
    budgets = Budgets(100, True, Clock(), lambda warned, _terms: told.append(warned))
    budgets.fit([terms(usd=0.001)], 100)
    day = int(at("2026-07-14T00:00:00+02:00"))
    given = [GivenWarning(TENANT, day, percent, 1_000_000, percent * 10_000, delivered=percent == 50) for percent in (50, 80)]
    unknown = tuple(budgets.unknown.values())
    undelivered = budgets.take(unknown, Spending({TENANT: 960_000}, tuple(given), frozenset()))
    assert [one.percent for one in undelivered] == [80]
    assert [one.percent for one in told] == [95]


def test_a_reload_keeps_what_is_spent_and_held_and_one_with_another_period_holds_as_it_was_until_its_figures_are_here() -> None:
    budgets, _ = budgets_of(Clock(), terms(usd=0.001), spent=300_000)
    call = asked(max_tokens=100)
    given = held(run(reserve(budgets, call, to("cheap"))))
    budgets.fit([terms(usd=0.002)], 100)
    assert budgets.ratios() == {"acme": 0.2}
    budgets.fit([terms(usd=0.002, period="month")], 100)
    assert budgets.ratios() == {"acme": 0.2}
    month, day = int(at("2026-07-01T00:00:00+02:00")), int(at("2026-07-14T00:00:00+02:00"))
    spent = budgets.settle(given, Key(), ended(call, 50_000), 9)  # type: ignore[arg-type]
    assert set(spent) == {Spent(TENANT, day, 50_000), Spent(TENANT, month, 50_000)}
    figures(budgets, 900_000)
    assert budgets.ratios() == {"acme": 0.475}
    budgets.fit([], 100)
    assert (budgets.ratios(), budgets.wanted.is_set()) == ({}, True)


def test_scopes_name_their_holders() -> None:
    assert (holder_of(TENANT).words, holder_of(KEY).words) == ("the tenant 'acme'", "the key 'ci'")
    assert terms_of(TENANT, None) == ()
    assert terms(usd=0.1).ceiling_nusd == 100_000_000
