"""Experiments in the routing plan: a population of users over real plans, what a variant's route holds, and who stays out."""

import attrs
import pytest

from appliance.config.loader import Loaded, load_text
from appliance.gateway.plan import Plan, Resolved
from appliance.gateway.plan_build import build_plan
from appliance.gateway.pricing import Unpriced, make_pricing
from appliance.gateway.tenancy import Tenancy
from appliance.gateway.upstream import build_upstreams
from appliance.gateway.variants import assigned
from appliance.prices.table import PriceTable
from appliance.providers import PROVIDERS

USERS = [f"user-{number}" for number in range(10_000)]
CONFIG = """
[backends.one]
provider = "custom"
base_url = "http://127.0.0.1:9/v1"
[backends.two]
provider = "custom"
base_url = "http://127.0.0.1:9/v1"
[[routes]]
name = "plain"
models = ["plain"]
targets = [ { backend = "one" } ]
[[routes]]
name = "chat"
strategy = "round_robin"
targets = [ { backend = "one", model = "a", weight = 3 }, { backend = "two", model = "b" } ]
fallback = [ { backend = "two", model = "rescue" } ]
[[experiments]]
name = "trial"
route = "chat"
control = { backend = "one", model = "old", label = "former" }
treatment = { backend = "two", model = "new" }
percent = 10
"""


def plan_of(text: str) -> Plan:
    loaded = load_text(text, env={}, providers=PROVIDERS)
    assert isinstance(loaded, Loaded), loaded
    upstreams = build_upstreams(loaded.config.backends, {})
    assert isinstance(upstreams, dict)
    return build_plan(loaded.config, upstreams, make_pricing(loaded.config.prices, PriceTable(), Unpriced()), Tenancy({}, ()))


def resolved(plan: Plan, user: str, model: str = "any") -> Resolved:
    found = plan.resolve(model, {}, 0)
    assert isinstance(found, Resolved)
    return assigned(found, user)


def variants(plan: Plan) -> list[str]:
    found = [resolved(plan, user).assigned for user in USERS]
    return [one.variant for one in found if one is not None]


@pytest.mark.parametrize("percent", [0, 0.5, 1, 10, 12.5, 50, 99, 100])
async def test_the_split_of_ten_thousand_users_is_within_a_point_of_percent(percent: float) -> None:
    split = variants(plan_of(CONFIG.replace("percent = 10", f"percent = {percent}")))
    assert len(split) == len(USERS)
    assert abs(split.count("treatment") / 100 - percent) < 1


async def test_a_new_plan_puts_everybody_where_they_were() -> None:
    split = variants(plan_of(CONFIG))
    assert variants(plan_of(CONFIG)) == split
    other = '[[experiments]]\nname = "other"\nroute = "plain"\ncontrol = { backend = "one" }\ntreatment = { backend = "two" }\n'
    assert variants(plan_of(CONFIG.replace("weight = 3", "weight = 5").replace('model = "new"', 'model = "newer"') + other)) == split
    renamed = variants(plan_of(CONFIG.replace('name = "trial"', 'name = "another"')))
    assert renamed != split, "another experiment has other users"


async def test_a_reload_decides_anew_about_everybody_who_was_seen_before() -> None:
    before = variants(plan_of(CONFIG))
    wider = variants(plan_of(CONFIG.replace("percent = 10", "percent = 40")))
    assert {one for one, other in zip(wider, before, strict=True) if other == "treatment"} == {"treatment"}
    assert wider.count("treatment") > 3 * before.count("treatment")
    assert set(variants(plan_of(CONFIG.replace("percent = 10", "percent = 0")))) == {"control"}


async def test_a_variants_target_takes_the_place_of_all_targets_and_the_fallbacks_stay() -> None:
    plan = plan_of(CONFIG)
    for user in USERS[:50]:
        one = resolved(plan, user)
        assert one.assigned is not None
        asked = [(target.upstream.name, target.model) for target in (*one.route.targets, *one.route.fallback)]
        first = ("two", "new") if one.assigned.variant == "treatment" else ("one", "old")
        assert asked == [first, ("two", "rescue")]
        assert one.route.name == "chat"


async def test_a_variant_changes_nothing_of_a_request_but_where_it_goes() -> None:
    plan = plan_of(CONFIG)
    route = next(one for one in plan.routes if one.name == "chat")
    assert route.experiment is not None
    before, variant = Resolved(route, "any", "prefix", ("because",), 7), route.experiment.treatment
    after = before.within(variant)
    assert after == attrs.evolve(before, route=variant.route, assigned=variant, narrowed=("because", variant.why))


async def test_the_models_of_both_variants_are_known_to_the_metrics() -> None:
    assert {"former", "new", "a", "b", "rescue"} <= set(plan_of(CONFIG).served_models())


async def test_a_route_without_an_experiment_and_a_pinned_one_are_as_they_were() -> None:
    plan = plan_of(CONFIG)
    plain = resolved(plan, "user-1", "plain")
    assert plain.assigned is None
    assert plain == plan.resolve("plain", {}, 0)
    pinned = plan.pinned(plan.resolve("any", {}, 0), "any", "two")
    assert isinstance(pinned, Resolved)
    assert pinned.assigned is None
    assert [target.model for target in pinned.route.targets] == ["b", "rescue"]


async def test_with_shadow_everybody_gets_control_and_some_are_copied() -> None:
    plain, plan = variants(plan_of(CONFIG)), plan_of(CONFIG + "shadow = true\n")
    found = [one for user in USERS if (one := resolved(plan, user).assigned) is not None]
    assert {one.variant for one in found} == {"control"}
    assert [one.shadow is not None for one in found] == [variant == "treatment" for variant in plain]
    copied = next(one.shadow for one in found if one.shadow is not None)
    assert [target.model for target in copied.targets] == ["new"]
    assert not copied.fallback
    assert all(one.route == found[0].route for one in found)
