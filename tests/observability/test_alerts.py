"""Every alert fires when it should and is quiet when it should be, as promtool sees it, and says what a woken person needs."""

import re
import subprocess

import pytest
from alert_rules import CASES, RULES, alerts, cases, metrics_behind, recorded, rules, series_metrics, tool
from promql_names import groupings, selectors

from appliance.core.fault import ERROR_TYPES, FAULTS, Blame
from appliance.telemetry.vocabularies import VOCABULARIES

FAMILIES = {family.name: family for families in VOCABULARIES.values() for family in families}
OF_THE_TARGET = {"job", "instance", "cluster"}
SEVERITIES = {"critical", "warning", "info"}
FROM_DOCUMENTS = {
    "LLMGatewayProviderUnhealthy", "LLMGatewayAllProvidersUnhealthy", "LLMGatewayCircuitBreakerOpen", "LLMGatewayHighLatencyP95",
    "LLMGatewayHighLatencyP99", "LLMGatewayHighTTFT", "LLMGatewayHighErrorRate", "LLMGatewayCriticalErrorRate",
    "LLMGatewayAuthenticationErrors", "LLMGatewayRateLimitErrors", "LLMGatewayHighActiveRequests", "LLMGatewayRateLimitHits",
    "LLMGatewayHighTokenUsage", "LLMGatewayLowTokenThroughput", "LLMGatewayLowCacheHitRate", "HighErrorRate",
}  # fmt: skip
ALERTS = alerts()
NAMES = [alert["alert"] for alert in ALERTS]


def labels_of(metric: str) -> set[str]:
    """The labels of a metric's series; `up` is Prometheus' own, a recorded one has what its groupings leave."""
    if metric == "up":
        return OF_THE_TARGET
    expressions = recorded()
    if metric in expressions:
        expr = expressions[metric]
        left = [set(one.labels) for one in groupings(expr)] or [labels_of(one.metric) for one in selectors(expr)]
        return set.intersection(*left) if left else set()
    base = re.sub(r"_(bucket|sum|count)$", "", metric)
    family = FAMILIES.get(metric) or FAMILIES.get(base)
    assert family, f"no vocabulary has {metric}"
    assert (family.kind == "histogram") == (base != metric), f"{metric} is no sample of the {family.kind} {family.name}"
    return {*family.label_names, *OF_THE_TARGET, *({"le"} if metric.endswith("_bucket") else ())}


def promtool(*arguments: str) -> str:
    done = subprocess.run([tool("promtool"), *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_rules() -> None:
    assert f"{len(rules())} rules found" in promtool("check", "rules", str(RULES))


@pytest.mark.parametrize("path", sorted(CASES.glob("*.yml")), ids=lambda path: path.stem)
def test_the_alerts_fire_and_keep_quiet_as_written(path) -> None:
    assert "SUCCESS" in promtool("test", "rules", str(path))


@pytest.mark.parametrize("alert", ALERTS, ids=NAMES)
def test_each_alert_has_a_case_that_fires_and_one_that_does_not(alert) -> None:
    """And no case is quiet only because nothing was there: each has samples of every metric that the alert asks for."""
    outcomes = set()
    for path, group in cases():
        for one in group["alert_rule_test"]:
            if one["alertname"] == alert["alert"]:
                fires = bool(one["exp_alerts"])
                outcomes.add(fires)
                name = f"{path.name}: {group['name']}"
                assert group["name"].startswith(f"{alert['alert']} {'fires' if fires else 'is quiet'}: "), name
                assert metrics_behind(alert["expr"]) <= series_metrics(group), name
    assert outcomes == {True, False}


def test_no_case_is_of_an_alert_that_is_not_there() -> None:
    assert {one["alertname"] for _, group in cases() for one in group["alert_rule_test"]} == set(NAMES)


def test_the_alerts_that_the_dashboards_came_with_have_their_names() -> None:
    assert len(FROM_DOCUMENTS) == 16
    assert set(NAMES) >= FROM_DOCUMENTS
    assert len(set(NAMES)) == len(NAMES), "Grafana wants every title once in a folder"


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_every_metric_and_label_is_one_of_a_vocabulary(rule) -> None:
    expr = rule["expr"]
    for one in selectors(expr):
        assert set(one.labels) <= labels_of(one.metric), one
    for grouping in groupings(expr):
        for metric in set(grouping.metrics) - {"up"}:  # it only says which of the others count
            assert set(grouping.labels) <= labels_of(metric), grouping


@pytest.mark.parametrize("alert", ALERTS, ids=NAMES)
def test_each_alert_says_how_bad_it_is_what_is_wrong_and_where_to_read_on(alert) -> None:
    assert alert["labels"]["severity"] in SEVERITIES
    assert "for" in alert
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url"}
    assert notes["runbook_url"] == f"observability/runbooks/{alert['alert']}.md"
    assert notes["description"].endswith(".")
    assert "$labels" in notes["summary"] + notes["description"] or not selectors_left(alert["expr"])


def selectors_left(expr: str) -> bool:
    """Whether series that fire have labels beside job and cluster."""
    bare = [one for one in groupings(expr) if set(one.labels) - {"job", "cluster", "le"}]
    return bool(bare)


def test_annotations_are_rendered_whole() -> None:
    """In every case that fires: no label that is not there, no number that is none."""
    fired = 0
    for path, group in cases():
        for one in group["alert_rule_test"]:
            for expected in one["exp_alerts"]:
                fired += 1
                for text in expected["exp_annotations"].values():
                    assert not re.search(r"<no value>|%!|NaN|\{\{|  |(^|[\s(]) ?[,.;:]", text), f"{path.name}: {text!r}"
    assert fired >= len(ALERTS)


def test_what_counts_against_the_availability_objective_is_the_fault_tables_own_list() -> None:
    blamed = {row.label for row in FAULTS.values() if row.blame is not Blame.CALLER}
    assert blamed < ERROR_TYPES
    listed = re.findall(r'inference_gateway_request_errors_total\{error_type[!=]~"([^"]+)"', RULES.read_text())
    named = [set(one.split("|")) for one in listed]
    assert len(named) == 14
    assert all(one == blamed for one in named)


def test_every_error_type_that_an_alert_waits_for_can_come() -> None:
    text = "\n".join(alert["expr"] for alert in ALERTS)
    waited = set(re.findall(r'error_type="([^"]+)"', text))
    assert len(waited) >= 4
    assert waited <= ERROR_TYPES
