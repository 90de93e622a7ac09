"""What panels show for series that are written out by hand: 0 and not nothing, nothing and not NaN, and the right number otherwise.

promtool evaluates the committed expressions; a wrong one fails with what it gave.
"""

import json
import subprocess

import pytest
from alert_rules import tool
from dashboard_queries import queries

SCRAPE_S = 15
AT = "10m"
OK = 'inference_gateway_requests_total{job="j", instance="i", route="r", backend="a", status="200"}'
BAD = 'inference_gateway_requests_total{job="j", instance="i", route="r", backend="a", status="502"}'
FAULTS = 'inference_gateway_request_errors_total{job="j", instance="i", route="r", backend="a", error_type="timeout"}'
HITS = 'inference_gateway_rate_limit_hits_total{job="j", instance="i", route="r", user="u%d"}'
LLM = 'llm_gateway_llm_gateway_requests_total{job="j", provider="a", model="m", streaming="false", status="%s"}'
HEALTH = 'inference_gateway_backend_health{job="j", instance="%s", backend="%s", namespace="default"}'
BREAKER = 'aigateway_circuit_breaker_state{job="j", instance="i", provider="%s"}'
BUDGET = 'aigateway_budget_usage_ratio{job="j", instance="i", tenant_id="%s"}'
CACHE = 'aigateway_cache_%s_total{job="j", instance="i", tenant_id="t"}'
MODEL = 'model_%s_total{job="j", instance="i", model="%s"}'
BUCKET = 'inference_gateway_request_duration_seconds_bucket{job="j", instance="i", route="r", backend="a", le="%s"}'
# Per scrape of fifteen seconds: 15 is one a second.
RISING, STILL = "0+15x60", "7x60"


def panel(dashboard: str, title: str, which: int = 0) -> str:
    found = [one.expr for one in queries() if (one.dashboard, one.panel) == (dashboard, title)]
    return found[which]


# what is going on; the series; the panel (dashboard, title, which of its queries); {labels: value}
CASES = [
    ("all is well", {OK: RISING}, ("inference-gateway", "Success Rate", 0), {"{}": 100}),
    ("all is well", {OK: RISING}, ("appliance", "Failing", 0), {"{}": 0}),
    ("all is well", {OK: RISING}, ("appliance", "Errors by Blame", 0), {"{}": 0}),
    ("all is well", {OK: RISING}, ("inference-gateway", "Rate Limit Hits by Route", 0), {'{route="r"}': 0}),
    ("nothing but errors", {BAD: RISING, FAULTS: RISING}, ("inference-gateway", "Success Rate", 0), {"{}": 0}),
    ("nothing but errors", {BAD: RISING, FAULTS: RISING}, ("appliance", "Failing", 0), {"{}": 100}),
    ("one in four fails", {OK: "0+45x60", BAD: RISING, FAULTS: RISING}, ("inference-gateway", "Success Rate", 0), {"{}": 75}),
    ("one in four fails", {OK: "0+45x60", BAD: RISING, FAULTS: RISING}, ("appliance", "Errors by Blame", 0), {"{}": 1}),
    ("one in four fails", {OK: "0+45x60", BAD: RISING, FAULTS: RISING}, ("appliance", "Errors by Blame", 1), {"{}": 0}),
    ("nobody asks any more", {OK: STILL, BAD: STILL, FAULTS: STILL}, ("inference-gateway", "Success Rate", 0), {}),
    ("nobody asks any more", {OK: STILL, BAD: STILL, FAULTS: STILL}, ("appliance", "Failing", 0), {}),
    ("nobody asks any more", {BUCKET % "0.5": STILL, BUCKET % "+Inf": STILL}, ("inference-gateway", "P95 Latency", 0), {}),
    ("all take half a second", {BUCKET % "0.5": RISING, BUCKET % "+Inf": RISING}, ("inference-gateway", "P95 Latency", 0), {"{}": 0.475}),
    (
        "four users are refused once each within a minute, by a route that is used",
        {OK: RISING, **{HITS % user: f"_x{36 + user} 1x30" for user in range(1, 5)}},
        ("inference-gateway", "Rate Limit Hits by Route", 0), {'{route="r"}': 4 / 60},
    ),
    ("no provider failed", {LLM % "success": RISING, LLM % "error": "0x60"}, ("llm-gateway-overview", "Error Rate", 0), {"{}": 0}),
    ("one in two fails", {LLM % "success": RISING, LLM % "error": RISING}, ("llm-gateway-overview", "Error Rate", 0), {"{}": 50}),
    (
        "two gateways differ about one of two backends",
        {HEALTH % ("i", "a"): "1x60", HEALTH % ("k", "a"): "0x60", HEALTH % ("i", "b"): "1x60", HEALTH % ("k", "b"): "1x60"},
        ("appliance", "Backends Down", 0), {"{}": 1},
    ),
    ("half-open is not open", {BREAKER % "a": "1x60", BREAKER % "b": "2x60"}, ("appliance", "Breakers Open", 0), {"{}": 1}),
    ("no breaker is open", {BREAKER % "a": "0x60"}, ("appliance", "Breakers Open", 0), {"{}": 0}),
    ("one of two budgets", {BUDGET % "t": "0.9x60", BUDGET % "u": "0.1x60"}, ("appliance", "Budgets Above 80 %", 0), {"{}": 1}),
    ("no budget is used up", {BUDGET % "t": "0.2x60"}, ("appliance", "Budgets Above 80 %", 0), {"{}": 0}),
    ("nobody has a budget", {OK: RISING}, ("appliance", "Budgets Above 80 %", 0), {}),
    ("three of four are hits", {CACHE % "hits": "0+45x60", CACHE % "misses": RISING}, ("aigateway", "Cache Hit Ratio", 0), {"{}": 0.75}),
    ("nothing is looked up", {CACHE % "hits": "0x60", CACHE % "misses": "0x60"}, ("aigateway", "Cache Hit Ratio", 0), {}),
    ("nothing is looked up", {CACHE % "hits": "0x60", CACHE % "misses": "0x60"}, ("appliance", "Cache Hits", 0), {}),
    (
        "a third is Claude",
        {MODEL % ("requests", "claude-x"): RISING, MODEL % ("requests", "gpt-x"): "0+30x60"},
        ("models-monitoring", "Claude Models %", 0), {"{}": 100 / 3},
    ),
    ("none is Claude", {MODEL % ("requests", "gpt-x"): RISING}, ("models-monitoring", "Claude Models %", 0), {"{}": 0}),
    (
        "one in five fails",
        {MODEL % ("requests", "m"): RISING, MODEL % ("errors", "m"): "0+3x60"},
        ("models-monitoring", "Model Availability", 0), {'{model="m"}': 80},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("what", "series", "asked", "expected"), CASES, ids=[f"{case[2][1]}: {case[0]}" for case in CASES])
def test_a_panel_shows(tmp_path, what, series, asked, expected):
    samples = [{"labels": labels, "value": value} for labels, value in expected.items()]
    # promtool compares floats exactly; a billionth more or less is the same number.
    expr = f"round({panel(*asked)}, 0.000001)"
    samples = [{**sample, "value": round(sample["value"], 6)} for sample in samples]
    test = {
        "interval": f"{SCRAPE_S}s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": expr, "eval_time": AT, "exp_samples": samples}],
    }
    path = tmp_path / "panel.yaml"  # JSON is YAML
    path.write_text(json.dumps({"rule_files": [], "evaluation_interval": "15s", "tests": [test]}))
    done = subprocess.run([tool("promtool"), "test", "rules", str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{what}: {expr}\n{done.stdout}{done.stderr}"
