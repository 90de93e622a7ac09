"""Every metric and label that a dashboard names exists, and every metric that exists is on a dashboard or in a rule."""

import re
import subprocess

import pytest
from alert_rules import RUNBOOKS, alerts, rules, tool
from dashboard_queries import choices, dashboards, panels, queries
from promql_names import Grouping, Selector, argued, groupings, selectors

from appliance.telemetry.vocabularies import VOCABULARIES

FAMILIES = {family.name: family for families in VOCABULARIES.values() for family in families}
# What Prometheus adds to each series that it scrapes; `cluster` is the stack's own target label.
OF_THE_TARGET = {"job", "instance", "cluster"}


def family_of(metric: str):
    """The family whose sample this is, or None. A histogram is asked by bucket, sum or count, anything else by its own name."""
    if metric in FAMILIES and FAMILIES[metric].kind != "histogram":
        return FAMILIES[metric]
    base = re.sub(r"_(bucket|sum|count)$", "", metric)
    family = FAMILIES.get(base)
    return family if base != metric and family and family.kind == "histogram" else None


def labels_of(metric: str) -> set[str]:
    """What may be matched or grouped by. A recorded series has what its rule leaves: here, those of its target but `instance`."""
    if ":" in metric:
        return {"job", "cluster", "model"}
    family = family_of(metric)
    assert family, f"no vocabulary has {metric}"
    return {*family.label_names, *OF_THE_TARGET, *({"le"} if metric.endswith("_bucket") else ())}


def asked() -> list[tuple[str, str]]:
    """(where, expression) of everything."""
    found = [(f"{one.dashboard}: {one.panel}", one.expr) for one in queries()]
    return found + [(f"{one.dashboard}: ${one.variable}", one.selector) for one in choices()]


def test_names_are_read_out_of_an_expression():
    expr = 'sum by (le, a) (rate(x_bucket{b=~"c|d", e!="f"}[5m])) / on (a) group_left () sum(y) by (a) >= bool 0 or 0 * time()'
    assert selectors(expr) == [Selector("x_bucket", ("b", "e")), Selector("y", ())]
    assert groupings(expr) == [Grouping(("le", "a"), ("x_bucket",)), Grouping(("a",), ("y",))]
    assert selectors("1e3 * job:a:rate5m{job=~\"x\"}") == [Selector("job:a:rate5m", ("job",))]


@pytest.mark.parametrize(("where", "expr"), asked())
def test_every_metric_has_a_vocabulary_and_every_label_is_one_of_its_own(where, expr):
    assert selectors(expr)
    for selector in selectors(expr):
        assert set(selector.labels) <= labels_of(selector.metric), f"{where}: {selector}"
    for grouping in groupings(expr):
        assert grouping.metrics
        for metric in grouping.metrics:
            assert set(grouping.labels) <= labels_of(metric), f"{where}: {grouping}"


def test_a_legend_names_only_labels_that_are_left():
    for query in queries():
        if not query.panel.startswith("annotation"):
            inner = re.match(r"(count|sum|max)\(", query.expr) is not None  # a sum of everything leaves no label
            left = set() if inner else {label for grouping in groupings(query.expr) for label in grouping.labels} - {"le"}
            left -= {"instance"} if "[1m:" in query.expr else set()  # summed away again around a subquery
            named = set(re.findall(r"{{(\w+)}}", query.legend))
            assert named == left, f"{query.dashboard}: {query.panel}: {query.legend!r} of {sorted(left)}"


SINCE_THE_START = {
    "inference_gateway_cost_total", "aigateway_cost_usd_total", "appliance_budget_warnings_total", "appliance_budget_webhooks_total",
}  # fmt: skip


def test_counters_are_asked_for_their_growth_and_gauges_for_their_value():
    """But for totals since the start, which say so: the sum of what the counters stand at."""
    for query in queries():
        where, growing = f"{query.dashboard}: {query.panel}", argued(query.expr, "rate") | argued(query.expr, "increase")
        for selector in selectors(query.expr):
            family = family_of(selector.metric)
            if family and family.kind in ("gauge", "info"):
                assert selector.metric not in growing, f"{where}: the rate of a gauge"
            elif family and selector.metric not in growing:
                assert family.name in SINCE_THE_START, f"{where}: a counter's bare value"


def test_every_family_is_on_a_panel_or_in_a_rule():
    text = "\n".join(expr for _, expr in asked())
    shown = {family.name for one in selectors_of(text) if (family := family_of(one))}
    ruled = {family.name for rule in rules() for one in selectors_of(rule["expr"]) if (family := family_of(one))}
    missing = sorted(set(FAMILIES) - shown - ruled)
    assert not missing, f"on no panel and in no rule: {missing}; give each a panel in observability/dashboards/ and run `make dashboards`"


def selectors_of(text: str) -> set[str]:
    return {one.metric for line in text.split("\n") for one in selectors(line)}


def test_every_recorded_series_that_a_panel_asks_for_is_recorded():
    recorded = {one for _, expr in asked() for one in selectors_of(expr) if ":" in one}
    assert recorded
    assert recorded <= {rule["record"] for rule in rules() if "record" in rule}


def test_every_runbook_that_a_panel_links_to_is_there_and_an_alerts():
    named = set()
    for dashboard in dashboards().values():
        for panel in panels(dashboard):
            for link in panel.get("links", ()):
                name = link["url"].rsplit("/", 1)[1]
                assert f"Runbook: observability/runbooks/{name}" in panel["description"]
                named.add(name)
    assert named
    assert named <= {f"{alert['alert']}.md" for alert in alerts()}
    assert named <= {path.name for path in RUNBOOKS.iterdir()}


def test_prometheus_understands_every_expression(tmp_path):
    promtool = tool("promtool")
    records = [f"      - record: panel:{number}\n        expr: '{expr}'\n" for number, (_, expr) in enumerate(asked())]
    path = tmp_path / "panels.yaml"
    path.write_text("groups:\n  - name: panels\n    rules:\n" + "".join(records))
    done = subprocess.run([promtool, "check", "rules", str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(records)} rules found" in done.stdout
