"""Whose price a request has, when it is charged, and what is bounded about it."""

from datetime import UTC, datetime

import attrs
import pytest

from appliance.config.loader import Loaded, load_text
from appliance.core.price import NUSD, cost_nusd
from appliance.core.record import AttemptRecord, RequestRecord
from appliance.core.usage import Usage
from appliance.gateway.plan import Plan, TargetPlan
from appliance.gateway.plan_build import build_plan
from appliance.gateway.pricing import KNOWN_MAX, UNPRICED_MAX, Pricing, Unpriced, make_pricing, usd_text
from appliance.gateway.tenancy import Tenancy
from appliance.gateway.upstream import build_upstreams
from appliance.prices.listed import read_listed
from appliance.prices.table import PriceTable
from appliance.providers import PROVIDERS

NOW = 1_780_000_000.0
BACKENDS = """
[backends.openai]
provider = "openai"
api_key = "test-key-0123456789"
[backends.router]
provider = "openrouter"
api_key = "test-key-0123456789"
[backends.azure]
provider = "azure-openai"
base_url = "https://example.openai.azure.com"
api_key = "test-key-0123456789"
[backends.house]
provider = "custom"
base_url = "http://127.0.0.1:9/v1"
"""


@pytest.fixture
async def plan() -> Plan:
    loaded = load_text(BACKENDS, env={}, providers=PROVIDERS)
    assert isinstance(loaded, Loaded), loaded
    upstreams = build_upstreams(loaded.config.backends, {})
    assert isinstance(upstreams, dict)
    return build_plan(loaded.config, upstreams, make_pricing(loaded.config.prices, PriceTable(), Unpriced()), Tenancy({}, ()))


def target(plan: Plan, backend: str) -> TargetPlan:
    return plan.direct[backend].targets[0]


def pricing(plan: Plan, text: str = "") -> Pricing:
    loaded = load_text(BACKENDS + text, env={}, providers=PROVIDERS)
    assert isinstance(loaded, Loaded), loaded
    return make_pricing(loaded.config.prices, plan.pricing.table, Unpriced())


def basis(one: Pricing, at: TargetPlan, asked: str, requested: str = "", reported: str = "") -> str:
    return one.price(at, asked, at.served_name(asked), requested or asked, NOW, reported).basis


def record(operation: str = "chat") -> RequestRecord:
    return RequestRecord("1", "1", 0.0, NOW, operation=operation, requested_model="gpt-4o")


def attempt(usage: Usage | None, outcome: str = "success", model: str = "gpt-4o") -> AttemptRecord:
    return AttemptRecord("openai", "openai", model, model, 0.0, usage=usage, outcome=outcome)


async def test_the_table_is_asked_for_its_own_vendor_only(plan: Plan):
    assert basis(plan.pricing, target(plan, "openai"), "gpt-4o") == "table"
    assert basis(plan.pricing, target(plan, "house"), "gpt-4o") == "zero"


@pytest.mark.parametrize("name", ["tuned", "openai/tuned", "house-name"])
async def test_the_operators_price_goes_by_the_bare_the_asked_and_the_requested_name(plan: Plan, name: str):
    own = pricing(plan, f'[prices.models."{name}"]\ninput_usd_per_mtok = 0.1\n')
    assert basis(own, target(plan, "router"), "openai/tuned", "house-name") == "own"


async def test_a_price_for_the_callers_name_does_not_make_a_listed_fallback_cheap(plan: Plan):
    own = pricing(plan, '[prices.models."my-llama"]\ninput_usd_per_mtok = 0\n')
    assert basis(own, target(plan, "house"), "llama-3", "my-llama") == "own"
    assert basis(own, target(plan, "openai"), "gpt-4o", "my-llama") == "table"


async def test_the_operators_price_goes_before_the_tables(plan: Plan):
    own = pricing(plan, '[prices.models."gpt-4o"]\ninput_usd_per_mtok = 0.1\noutput_usd_per_mtok = 0.3\n')
    found = own.price(target(plan, "openai"), "gpt-4o", "gpt-4o", "gpt-4o", NOW)
    assert (found.basis, cost_nusd(found.price, Usage(3, 3))) == ("own", 3 * 100 + 3 * 300)


async def test_a_way_of_serving_a_model_costs_as_the_model_unless_it_is_listed_itself(plan: Plan):
    router = target(plan, "router")
    plain = plan.pricing.price(router, "openai/gpt-4o", "gpt-4o", "", NOW)
    assert plan.pricing.price(router, "openai/gpt-4o:nitro", "gpt-4o", "", NOW) == plain
    free = plan.pricing.price(router, "meta-llama/llama-3.3-70b-instruct:free", "llama-3.3-70b-instruct", "", NOW)
    assert (free.basis, free.price.free) == ("table", True)


async def test_a_deployment_named_at_will_costs_as_the_model_that_its_answer_names(plan: Plan):
    azure = target(plan, "azure")
    assert basis(plan.pricing, azure, "prod-chat") == "zero"
    assert basis(plan.pricing, azure, "prod-chat", reported="gpt-4o-2024-08-06") == "table"


async def test_how_an_answer_was_served_is_charged_though_the_standard_price_is_remembered(plan: Plan):
    costs = []
    for tier in ("", "priority", "flex", ""):
        request, one = record(), attempt(Usage(100_000, 10_000, tier=tier), model="gpt-5")
        request.wall_time += 366 * 86_400
        plan.pricing.charge(target(plan, "openai"), one, request)
        costs.append(request.cost_nusd)
    assert 0 < costs[2] < costs[0] == costs[3] < costs[1]


async def test_a_price_of_the_callers_name_is_for_those_who_use_it(plan: Plan):
    own, house = pricing(plan, '[prices.models."theirs"]\ninput_usd_per_mtok = 100\n'), target(plan, "house")
    assert [own.quote(house, "m", name, NOW).basis for name in ("m", "theirs", "m", "theirs")] == ["zero", "own", "zero", "own"]


async def test_an_attempt_is_charged_once_and_the_request_is_the_sum_of_its_attempts(plan: Plan):
    request, first, second = record(), attempt(Usage(1_000, 10), "error"), attempt(Usage(1_000, 500))
    for one in (first, second, first, second):
        plan.pricing.charge(target(plan, "openai"), one, request)
    assert first.cost_nusd > 0
    assert request.cost_nusd == first.cost_nusd + second.cost_nusd
    assert request.cost_usd == request.cost_nusd / NUSD


@pytest.mark.parametrize(("operation", "outcome", "cost"), [
    ("image_generation", "success", 40_000_000), ("image_generation", "error", 0), ("image_generation", "cancelled", 0),
    ("count_tokens", "success", 0),
])  # fmt: skip
async def test_without_usage_only_an_answer_costs_and_only_what_a_request_costs(plan: Plan, operation: str, outcome: str, cost: int):
    own = pricing(plan, '[prices.models."gpt-4o"]\nrequest_usd = 0.04\ninput_usd_per_mtok = 100\n')
    request = record(operation)
    own.charge(target(plan, "openai"), attempt(None, outcome), request)
    assert request.cost_nusd == cost


async def test_models_without_a_price_are_told_of_once_and_their_number_is_bounded(plan: Plan):
    told: list[str] = []
    unpriced = Unpriced(lambda _backend, model, _policy: told.append(model))
    one = attrs.evolve(plan.pricing, unpriced=unpriced)
    for number in [*range(UNPRICED_MAX + 50), 0]:
        one.charge(target(plan, "house"), attempt(Usage(1, 1), model=f"model-{number}" + "x" * 200), record())
    assert len(told) == len(set(told)) == UNPRICED_MAX + 1 == len(unpriced.counts)
    assert (told[-1], unpriced.counts["other", "zero"]) == ("other", 50)
    assert max(map(len, told)) <= 100


async def test_what_is_remembered_of_callers_names_is_bounded(plan: Plan):
    house = target(plan, "house")
    for number in range(KNOWN_MAX + 10):
        assert plan.pricing.quote(house, f"name-{number}", "", NOW).basis == basis(plan.pricing, house, f"name-{number}")
    assert len(plan.pricing._known) <= KNOWN_MAX
    assert len(plan.pricing._quoted) <= KNOWN_MAX


@pytest.mark.parametrize(("change", "steady"), [({"from": "2026-01-01"}, [False, True]), ({"daily": [0, 43_200]}, [False, False])])
async def test_a_price_is_remembered_once_no_time_changes_it_any_more(plan: Plan, change: dict[str, object], steady: list[bool]):
    house, line = target(plan, "house"), ["x", [], [], [{"usd": {"input": "1"}}, {"usd": {"input": "2"}, **change}]]
    plan.pricing._known["custom", "m", "m", ""] = read_listed("v", line)
    times = [datetime(2025, 6, 1, 12, tzinfo=UTC), datetime(2026, 6, 1, 1, tzinfo=UTC)]
    early, late = (plan.pricing.quote(house, "m", "", at.timestamp()) for at in times)
    assert early.price.base.input * 2 == late.price.base.input
    assert [early.steady, late.steady] == steady
    assert len(plan.pricing._quoted) == steady.count(True)


async def test_a_request_that_began_before_a_change_of_price_costs_what_held_then_though_others_have_asked_since(plan: Plan):
    house, change = target(plan, "house"), datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    line = ["x", [], [], [{"usd": {"input": "1"}}, {"usd": {"input": "2"}, "from": "2026-01-01"}]]
    plan.pricing._known["custom", "m", "m", ""] = read_listed("v", line)
    before, after = (plan.pricing.quote(house, "m", "", change + seconds) for seconds in (-60, 60))
    assert before.price.base.input * 2 == after.price.base.input
    assert plan.pricing.quote(house, "m", "", change - 60).price == before.price


@pytest.mark.parametrize(("nusd", "text"), [(0, b"0"), (1, b"0.000000001"), (1_500_000_000, b"1.5"), (20_000_000_000, b"20")])
def test_money_is_written_exactly_and_without_an_exponent(nusd: int, text: bytes):
    assert usd_text(nusd) == text
