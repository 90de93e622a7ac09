"""Why a request went where it went, over plans of real configurations: which rule led there, who was passed over, what came next."""

from typing import Any

import pytest

from appliance.config.loader import Loaded, load_text
from appliance.core.breaker import Permit
from appliance.core.fault import Fault, FaultKind
from appliance.core.record import AttemptRecord, RequestRecord
from appliance.core.step import Pause, Surface, Tried, Try
from appliance.gateway.decision import STEPS_MAX, Decision, obstacle
from appliance.gateway.plan import Plan, Resolved
from appliance.gateway.plan_build import build_plan
from appliance.gateway.pricing import Unpriced, make_pricing
from appliance.gateway.tenancy import Tenancy
from appliance.gateway.upstream import build_upstreams
from appliance.prices.table import PriceTable
from appliance.providers import PROVIDERS

CONFIG = """
[aliases]
fast = "m-1"
mine = "beta/own"
[backends.alpha]
provider = "custom"
base_url = "http://127.0.0.1:9/v1"
health = { mode = "active", failures = 2 }
[backends.beta]
provider = "custom"
base_url = "http://127.0.0.1:9/v1"
models = ["only-b*"]
[[routes]]
name = "search"
models = ["x", "m-*"]
match = { headers = { x-team = "search*" }, min_prompt_tokens = 5 }
targets = [ { backend = "alpha", weight = 3 }, { backend = "beta", model = "b" } ]
[[routes]]
name = "rest"
models = ["m-*"]
targets = [ { backend = "alpha" } ]
fallback = [ { backend = "beta", model = "b" } ]
retry = { attempts = 2, budget_s = 7 }
"""
SERVER_ERROR = Fault(FaultKind.SERVER_ERROR, "failed", upstream_status=500)


@pytest.fixture
def plan() -> Plan:
    loaded = load_text(CONFIG, env={}, providers={name: row.base_url for name, row in PROVIDERS.items()})
    assert isinstance(loaded, Loaded), loaded
    upstreams = build_upstreams(loaded.config.backends, {})
    assert isinstance(upstreams, dict), upstreams
    return build_plan(loaded.config, upstreams, make_pricing(loaded.config.prices, PriceTable(), Unpriced()), Tenancy({}, ()))


def record(*attempts: AttemptRecord) -> RequestRecord:
    return RequestRecord("1a", "r", 100.0, 1.7e9, attempts=list(attempts))


def resolved(plan: Plan, model: str, prompt_tokens: int = 0, **headers: str) -> Resolved:
    found = plan.resolve(model, {name.replace("_", "-").encode(): value for name, value in headers.items()}, prompt_tokens)
    assert isinstance(found, Resolved), found
    return found


def told(found: Resolved) -> dict[str, Any]:
    return Decision(found, (*found.route.targets, *found.route.fallback)).told(record())


def test_a_route_is_told_with_the_pattern_and_the_conditions_that_let_it_in(plan: Plan) -> None:
    said = told(resolved(plan, "m-1", 9, x_team="search-eu"))
    assert (said["matched"], said["pattern"], said["asked_for"]) == ("route", "m-*", "m-1")
    assert said["conditions"] == {"headers": {"x-team": "search*"}, "min_prompt_tokens": 5}
    assert said["prompt_tokens"] == 9
    assert said["strategy"] == "weighted"
    assert said["candidates"] == [
        {"backend": "alpha", "model": "m-1", "role": "target", "weight": 3},
        {"backend": "beta", "model": "b", "role": "target", "weight": 1},
    ]  # fmt: skip


def test_the_value_of_a_callers_header_is_not_repeated(plan: Plan) -> None:
    assert "canary" not in str(told(resolved(plan, "m-1", 9, x_team="search-canary")))


@pytest.mark.parametrize(
    ("model", "matched", "asked_for", "backends"),
    [
        ("fast", "route", "m-1", ["alpha", "beta"]),
        ("beta/own", "prefix", "own", ["beta"]),
        ("mine", "prefix", "own", ["beta"]),
        ("only-b7", "vendor", "only-b7", ["beta"]),
    ],
)
def test_what_led_there_is_told_also_without_a_route(plan: Plan, model: str, matched: str, asked_for: str, backends: list[str]) -> None:
    said = told(resolved(plan, model))
    assert (said["matched"], said["asked_for"]) == (matched, asked_for)
    assert [one["backend"] for one in said["candidates"]] == backends
    assert said["conditions"] == {}


def test_a_pin_says_that_it_left_the_others_out(plan: Plan) -> None:
    pinned = plan.pinned(resolved(plan, "m-1"), "m-1", "beta")
    assert isinstance(pinned, Resolved)
    assert told(pinned)["narrowed"] == ["X-Provider: only beta"]
    assert [one["backend"] for one in told(pinned)["candidates"]] == ["beta"]
    alone = plan.pinned(plan.resolve("no-such", {}, 0), "no-such", "beta")
    assert isinstance(alone, Resolved)
    assert told(alone)["matched"] == "pin"


def test_who_was_passed_over_is_told_as_it_was_then(plan: Plan) -> None:
    found = resolved(plan, "m-1")
    decision = Decision(found, (*found.route.targets, *found.route.fallback))
    state = plan.upstreams["alpha"].state
    for _ in range(5):
        state.end(state.begin(90.0) or Permit(0, False), 98.0, SERVER_ERROR, answered=False)
    decision.pass_over([False, True], [], 100.0)
    state.breaker.reset()  # what comes later changes nothing
    (passed,) = decision.told(record())["passed_over"]
    assert passed["backend"] == "alpha"
    assert passed["why"].startswith("breaker open for 2.0 s, after server_error")


def test_one_that_was_asked_and_failed_was_not_passed_over(plan: Plan) -> None:
    found = resolved(plan, "m-1")
    decision = Decision(found, (*found.route.targets, *found.route.fallback))
    decision.pass_over([False, True], [Tried(0, SERVER_ERROR)], 100.0)
    assert decision.told(record())["passed_over"] == []


def test_each_obstacle_has_its_words(plan: Plan) -> None:
    state = plan.upstreams["alpha"].state
    state.breaker.open(10.0)
    assert obstacle(state, 12.5) == "breaker open for 2.5 s"
    state.breaker.half_open()
    assert "half-open" in obstacle(state, 12.5)
    state.probed("refused")
    state.probed("connection refused")
    assert obstacle(state, 12.5) == "down: 2 failed probes in a row, the last: connection refused"
    state.drained = True
    assert "operator" in obstacle(state, 12.5)


def attempt(backend: str, fault: Fault | None, begun: float, ended: float) -> AttemptRecord:
    return AttemptRecord(backend, "v", "m", "m", begun, ended, "error" if fault else "success", 500, fault)


def test_each_step_after_a_failure_is_told_with_its_reason(plan: Plan) -> None:
    found = resolved(plan, "m-1")
    decision = Decision(found, (*found.route.targets, *found.route.fallback))
    slow = Fault(FaultKind.UPSTREAM_RATE_LIMITED, "slow down", upstream_status=429, retry_after_s=2.0)
    decision.went_on(Try(1), 100.5)
    decision.went_on(Pause(2.0, 1), 101.0)
    decision.went_on(Pause(0.25, 0), 103.5)
    decision.went_on(Surface(SERVER_ERROR), 104.0)
    tries = [attempt("alpha", SERVER_ERROR, 100.0, 100.5), attempt("beta", slow, 100.5, 101.0), attempt("beta", slow, 103.0, 103.5)]
    steps = decision.told(record(*tries))["steps"]
    assert [(one["at_ms"], one["do"]) for one in steps] == [(500, "try"), (1000, "pause"), (3500, "pause"), (4000, "give_up")]
    assert steps[0]["backend"] == "beta"
    assert (steps[1]["pause_ms"], steps[1]["backend"]) == (2000, "beta")
    assert "Retry-After" in steps[1]["why"]
    assert "back-off" in steps[2]["why"]
    assert "as many as the route allows" in steps[3]["why"]


@pytest.mark.parametrize(
    ("fault", "tries", "elapsed_s", "word"),
    [
        (SERVER_ERROR, 2, 1.0, "as many"),
        (SERVER_ERROR, 1, 8.0, "7 s"),
        (SERVER_ERROR, 1, 1.0, "nobody was left"),
        (Fault(FaultKind.INVALID_REQUEST, "no", upstream_status=400), 1, 1.0, "would not help"),
        (Fault(FaultKind.NO_BACKEND, "no"), 0, 0.0, "no backend"),
        (Fault(FaultKind.DRAINING, "bye"), 1, 1.0, "shutting down"),
    ],
)
def test_why_there_was_no_further_attempt_is_told(plan: Plan, fault: Fault, tries: int, elapsed_s: float, word: str) -> None:
    decision = Decision(resolved(plan, "m-1"), ())
    decision.went_on(Surface(fault), 100.0 + elapsed_s)
    (step,) = decision.told(record(*(attempt("alpha", fault, 100.0, 100.0) for _ in range(tries))))["steps"]
    assert word in step["why"]


def test_what_the_strategy_saw_is_told_for_each_target(plan: Plan) -> None:
    decision = Decision(resolved(plan, "m-1", 9, x_team="search"), ())
    decision.seen = ("first byte, ms", (12.5, None))
    assert decision.told(record())["seen"] == {
        "what": "first byte, ms",
        "figures": [{"backend": "alpha", "model": "", "value": 12.5}, {"backend": "beta", "model": "b", "value": None}],
    }


def test_a_record_keeps_no_more_steps_than_it_may(plan: Plan) -> None:
    decision = Decision(resolved(plan, "m-1"), ())
    for number in range(2 * STEPS_MAX):
        decision.went_on(Surface(SERVER_ERROR), 100.0 + number)
    assert len(decision.told(record())["steps"]) == STEPS_MAX
