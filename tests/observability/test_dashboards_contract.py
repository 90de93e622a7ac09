"""The panels that people know are there: under their names, in their rows, with their expressions, thresholds and words."""

import pytest
from dashboard_queries import dashboards, panels

from appliance.telemetry.vocabularies import aigateway, llm_gateway

INFERENCE_GATEWAY = {
    "Overview": ["Request Rate", "Success Rate", "P95 Latency", "Total Cost"],
    "Traffic": ["Request Rate by Route", "Request Rate by Backend"],
    "Latency": ["Latency Percentiles by Backend", "Active Requests by Backend"],
    "Errors & Rate Limits": ["Errors by Backend", "Rate Limit Hits by Route"],
    "Backend Health": ["Backend Health Status", "Fallback Activations"],
    "Costs & Tokens": ["Cost Rate by Backend", "Token Rate by Backend"],
    "A/B Experiments": ["Experiment Assignments"],
}
AIGATEWAY = {
    "Overview": ["Request Rate", "P95 Latency", "Total Cost", "Active Streams"],
    "Performance": ["Request Rate by Provider", "Latency by Provider"],
    "Usage": ["Token Rate", "Cost per Hour by Tenant"],
    "Health": ["Cache Hit Ratio", "Rate Limit Hits", "Circuit Breaker State"],
    "Errors": ["Provider Errors", "Budget Usage"],
}
OVERVIEW = [
    "Request Rate", "Error Rate", "P95 Latency", "Active Requests", "Token Rate", "Healthy Provider Count",
    "Request Rate by Provider/Model", "Latency Percentiles (p50, p95, p99)", "Time to First Token (TTFT)", "Cache Operations",
    "Rate Limit Hits",
]  # fmt: skip
REQUESTS, ERRORS = "sum by (model) (rate(model_requests_total[5m]))", "sum by (model) (rate(model_errors_total[5m]))"
MODELS = {
    "Model Request Throughput": "sum by (model) (rate(model_requests_total[5m]))",
    "Model Average Latency": "sum by (model) (rate(model_latency_ms_sum[5m])) / sum by (model) (rate(model_latency_ms_count[5m]))",
    "Model Error Rate": "sum by (model) (rate(model_errors_total[5m])) / sum by (model) (rate(model_requests_total[5m])) * 100",
    "Model Token Usage Rate": "sum by (model) (rate(model_tokens_used_total[5m]))",
    "Hourly Request Distribution": "sum by (model) (increase(model_requests_total[1h]))",
    "Model Availability": f"sum by (model) (({REQUESTS} - {ERRORS}) / {REQUESTS}) * 100",
}
SHARES = {
    "Claude Models %": "claude.*", "GPT Models %": "gpt.*", "Gemini Models %": ".*gemini.*", "Llama Models %": ".*llama.*",
    "Mistral Models %": ".*mistral.*",
}  # fmt: skip


def rows(dashboard) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            found[panel["title"]] = [inside["title"] for inside in panel["panels"]]
        else:
            next(reversed(found.values())).append(panel["title"])
    return found


def by_title(name: str) -> dict[str, dict]:
    return {panel["title"]: panel for panel in panels(dashboards()[name])}


def expressions(panel) -> list[str]:
    return [target["expr"] for target in panel["targets"]]


def steps(panel) -> list[tuple[str, float | None]]:
    return [(step["color"], step["value"]) for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]


def words(panel) -> dict[str, str]:
    return {value: shown["text"] for value, shown in panel["fieldConfig"]["defaults"]["mappings"][0]["options"].items()}


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("inference-gateway", "AI Inference Gateway"),
        ("llm-gateway-overview", "LLM Gateway Overview"),
        ("llm-gateway-providers", "LLM Gateway Provider Details"),
        ("aigateway", "AI Gateway"),
        ("models-monitoring", "Models Monitoring"),
        ("appliance", "Appliance"),
    ],
)
def test_every_dashboard_has_its_title(name, title):
    assert dashboards()[name]["title"] == title


def test_the_inference_gateway_dashboard_has_its_panels_in_their_rows():
    assert rows(dashboards()["inference-gateway"]) == INFERENCE_GATEWAY


def test_the_ai_gateway_dashboard_has_its_five_rows():
    assert rows(dashboards()["aigateway"]) == AIGATEWAY


def test_the_ai_gateway_dashboard_asks_what_its_users_have_in_their_notes():
    known = by_title("aigateway")
    assert expressions(known["Request Rate"]) == ["sum(rate(aigateway_requests_total[5m]))"]
    assert expressions(known["Cost per Hour by Tenant"]) == ["sum by (tenant_id) (increase(aigateway_cost_usd_total[1h]))"]
    hits, misses = "sum(rate(aigateway_cache_hits_total[5m]))", "sum(rate(aigateway_cache_misses_total[5m]))"
    assert expressions(known["Cache Hit Ratio"]) == [f"{hits} / ({hits} + {misses}) >= 0"]


def test_the_overview_has_its_key_panels():
    assert set(OVERVIEW) <= set(by_title("llm-gateway-overview"))
    text = "\n".join(expr for panel in by_title("llm-gateway-overview").values() for expr in expressions(panel))
    for family in llm_gateway.FAMILIES:
        assert family.name in text, f"{family.name} is on no panel of the overview"


@pytest.mark.parametrize("name", ["llm-gateway-overview", "llm-gateway-providers"])
def test_the_llm_gateway_dashboards_offer_datasource_job_cluster_and_provider(name):
    offered = {one["name"]: one for one in dashboards()[name]["templating"]["list"]}
    assert list(offered) == ["datasource", "job", "cluster", "provider"]
    assert offered["cluster"]["query"]["query"] == "label_values(llm_gateway_llm_gateway_requests_total, cluster)"
    assert 'provider_health{job=~"$job", cluster=~"$cluster"}, provider)' in offered["provider"]["query"]["query"]
    for panel in by_title(name).values():
        for expr in expressions(panel):
            for selector in expr.split("llm_gateway_llm_gateway_")[1:]:
                assert 'job=~"$job", cluster=~"$cluster"' in selector, f"{panel['title']} asks beyond the chosen job and cluster"


def test_a_providers_details_are_those_of_the_chosen_provider_alone():
    for panel in by_title("llm-gateway-providers").values():
        for expr in expressions(panel):
            assert expr.count('provider=~"$provider"') == expr.count("llm_gateway_llm_gateway_"), panel["title"]


def test_models_monitoring_has_its_eleven_panels_and_their_expressions_letter_for_letter():
    known = by_title("models-monitoring")
    assert len(known) == 11
    assert list(known) == [*list(MODELS)[:4], *SHARES, *list(MODELS)[4:]]
    for title, expr in MODELS.items():
        assert expressions(known[title]) == [expr]
        assert known[title]["targets"][0]["legendFormat"] == "{{model}}"
    for title, pattern in SHARES.items():
        (expr,) = expressions(known[title])
        assert f'sum(rate(model_requests_total{{model=~"{pattern}"}}[5m]))' in expr
        assert (known[title]["type"], known[title]["fieldConfig"]["defaults"]["max"]) == ("gauge", 100)


def test_models_monitoring_has_its_thresholds_units_and_legends():
    dashboard, known = dashboards()["models-monitoring"], by_title("models-monitoring")
    assert dashboard["refresh"] == "30s"
    assert steps(known["Model Error Rate"]) == [("green", None), ("yellow", 5), ("red", 10)]
    assert steps(known["Model Availability"]) == [("red", None), ("yellow", 95), ("green", 99)]
    for title in SHARES:
        assert steps(known[title]) == [("red", None), ("yellow", 50), ("green", 80)]
    assert known["Model Average Latency"]["fieldConfig"]["defaults"]["unit"] == "ms"
    assert known["Model Request Throughput"]["options"]["legend"]["calcs"] == ["mean", "max"]
    assert known["Model Token Usage Rate"]["options"]["legend"]["calcs"] == ["sum"]
    hourly = known["Hourly Request Distribution"]
    assert hourly["options"]["legend"]["calcs"] == ["sum"]
    assert hourly["interval"] == "1h", "bars closer than their window count a request twice"
    custom = hourly["fieldConfig"]["defaults"]["custom"]
    assert (custom["drawStyle"], custom["stacking"]["mode"]) == ("bars", "normal")


def test_a_breakers_word_is_the_one_of_its_own_vocabulary():
    found = 0
    for name in dashboards():
        for panel in by_title(name).values():
            text = " ".join(expressions(panel))
            if "circuit_breaker_state" in text and panel["fieldConfig"]["defaults"]["mappings"]:
                values = llm_gateway.BREAKER if "llm_gateway_llm_gateway_circuit" in text else aigateway.BREAKER
                expected = {str(values["closed"]): "Closed", str(values["open"]): "Open", str(values["half_open"]): "Half-Open"}
                assert words(panel) == expected, f"{name}: {panel['title']}"
                found += 1
    assert found == 4
    assert llm_gateway.BREAKER["open"] == aigateway.BREAKER["half_open"] == 1, "the case that a copied mapping gets wrong"
