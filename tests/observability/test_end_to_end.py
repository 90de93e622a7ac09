"""A real Prometheus watches a real gateway do a scripted workload. Then every panel, alert, recorded series and documented query has data,
no NaN, and shows what the workload's callers counted."""

import re
import subprocess
import urllib.request
from collections import Counter

import pytest
from alert_rules import alerts, cases, recorded, tool
from dashboard_queries import Choice, PanelQuery, choices, queries
from documented_queries import DOCUMENTED
from expected_alerts import ABOUT, BY_THE_MACHINE, FIRING, NOT_THERE, QUIET
from expected_counts import TABLE, Row, total
from expected_panels import DOCUMENTED_VALUES, SHOWN, Expected, Shown
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_server import CLUSTER, JOB, is_number
from rig import eventually
from watched_gateway import BACKENDS, EXPERIMENT_PERCENT
from watched_run import Watched

from appliance.telemetry.vocabularies import VOCABULARIES

SHARE_TOLERANCE = 0.02
"""Of a quotient of two rates: a counter that was 0 at the first scrape has half a scrape less added before it."""
GAPS = {"models-monitoring"}
"""Dashboards whose expressions people know letter for letter, and that divide by a rate of 0: they draw a gap before the first request."""
PANELS = queries()
OPENMETRICS = "application/openmetrics-text;version=1.0.0"


def name_of(one: PanelQuery) -> str:
    return f"{one.dashboard}: {one.panel}: {one.legend}"


def asked(run: Watched, number: int) -> PanelQuery:
    """The query with the variables filled in. A subquery's step is a scrape of fifteen seconds in the dashboards; here one of ours."""
    return queries(run.filled)[number]


@pytest.mark.parametrize("number", range(len(PANELS)), ids=[name_of(one) for one in PANELS])
def test_a_panel_has_data_and_no_nan(run: Watched, number: int) -> None:
    query = asked(run, number)
    expr = run.on_this_scrape(query.expr)
    now = run.prometheus.ask(expr, run.until)
    assert now, f"no data: {expr}"
    assert all(is_number(one.value) for one in now), f"{expr}: {now}"
    if not query.instant:
        drawn = run.prometheus.ask_range(expr, run.since, run.until, 1.0)
        assert drawn, f"no data: {expr}"
        assert query.dashboard in GAPS or all(is_number(value) for values in drawn.values() for value in values), f"{expr}: {drawn}"


@pytest.mark.parametrize("one", choices(), ids=lambda one: f"{one.dashboard}: {one.variable}")
def test_a_variable_offers_its_values(run: Watched, one: Choice) -> None:
    offered = {dict(series.labels)[one.label] for series in run.prometheus.ask(one.selector, run.until)}
    assert offered == {"job": {JOB}, "cluster": {CLUSTER}, "provider": set(BACKENDS)}[one.variable]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.metric)
def test_a_counter_grew_by_what_callers_counted(run: Watched, row: Row) -> None:
    grown = {key: value for key, value in run.growth(row.metric, row.by).items() if value}
    assert grown == pytest.approx(row.expected(run.seen), abs=1e-9)


@pytest.mark.parametrize("one", SHOWN, ids=lambda one: f"{one.dashboard}: {one.title}, {one.which}")
def test_a_panel_shows_what_callers_counted(run: Watched, one: Shown) -> None:
    number = [at for at, panel in enumerate(PANELS) if (panel.dashboard, panel.panel) == (one.dashboard, one.title)][one.which]
    shown = run.table(run.on_this_scrape(asked(run, number).expr), one.by)
    if one.per:
        per = one.per(run)
        grown = {key: value * per for key, value in shown.items() if value}
        compare(grown, {key: value for key, value in one.expected(run).items() if value}, run.slack, one.some)
    else:
        compare(shown, one.expected(run), SHARE_TOLERANCE, one.some)


def compare(shown: dict[tuple[str, ...], float], expected: Expected, above: float, some: bool = False) -> None:
    """Each value within its bounds, and `above` a share higher at most; nothing else is shown unless `some`."""
    assert set(expected) <= set(shown)
    assert some or set(shown) <= set(expected)
    for key, value in expected.items():
        least, most = value if isinstance(value, tuple) else (value, value)
        assert least * (1 - SHARE_TOLERANCE) - 1e-9 <= shown[key] <= most * (1 + above) + 1e-9, f"{key}: shows {shown[key]}, not {value}"


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_documented_query_has_data_and_no_nan(run: Watched, name: str) -> None:
    found = run.prometheus.ask(DOCUMENTED[name], run.until)
    assert found
    assert all(is_number(one.value) for one in found), found


@pytest.mark.parametrize("name", DOCUMENTED_VALUES)
def test_a_documented_query_says_what_callers_counted(run: Watched, name: str) -> None:
    by, expected, per = DOCUMENTED_VALUES[name]
    shown = {key: value * (per or 1) for key, value in run.table(DOCUMENTED[name], by).items()}
    compare(shown, expected(run), run.slack if per else SHARE_TOLERANCE)


@pytest.mark.parametrize("name", recorded())
def test_a_recorded_series_is_recorded(run: Watched, name: str) -> None:
    found = run.prometheus.ask(name, run.until)
    assert found
    assert all(is_number(one.value) for one in found), found


def test_prometheus_evaluates_every_rule_without_a_complaint(run: Watched) -> None:
    evaluated = [rule for group in run.prometheus.get("/api/v1/rules")["groups"] for rule in group["rules"]]
    assert len(evaluated) == len(alerts()) + len(recorded())
    assert {(rule["health"], rule.get("lastError", "")) for rule in evaluated} == {("ok", "")}


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alerts_expression_is_true_of_whom_it_should_be_and_of_nobody_else(run: Watched, alert) -> None:
    found = run.prometheus.ask(alert["expr"], run.until)
    labels = [dict(one.labels) for one in found]
    assert all(is_number(one.value) for one in found)
    if alert["alert"] in BY_THE_MACHINE:
        return
    about = {next((one[label] for label in ABOUT if label in one), "") for one in labels} - {""}
    assert about == FIRING.get(alert["alert"], frozenset())
    assert bool(found) == (alert["alert"] in FIRING)


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_that_keeps_quiet_has_data_to_look_at(run: Watched, alert) -> None:
    """Without its bounds. NaN is what a quotient or percentile is of a provider that nobody asked meanwhile; a comparison drops it."""
    unbounded = re.sub(r"(>=|<=|==|>|<)\s*(bool )?-?\d[\d.e]*", "", alert["expr"])
    assert unbounded != alert["expr"]
    found = run.prometheus.ask(unbounded, run.until)
    assert any(is_number(one.value) for one in found) == (alert["alert"] not in NOT_THERE)


def test_every_alert_is_accounted_for_and_those_that_keep_quiet_fire_in_a_case() -> None:
    names = [alert["alert"] for alert in alerts()]
    assert sorted(names) == sorted([*FIRING, *QUIET, *BY_THE_MACHINE, *NOT_THERE])
    fired = {one["alertname"] for _, group in cases() for one in group["alert_rule_test"] if one["exp_alerts"]}
    assert {*QUIET, *BY_THE_MACHINE, *NOT_THERE} <= fired


def test_prometheus_itself_has_these_alerts_pending_or_firing(run: Watched) -> None:
    active = {alert["labels"]["alertname"] for alert in run.prometheus.get("/api/v1/alerts")["alerts"]}
    assert active - set(BY_THE_MACHINE) == set(FIRING)


def test_what_is_under_way_shows_while_it_is(run: Watched) -> None:
    at = run.streaming_at
    assert run.table("aigateway_active_streams", "", at) == {(): 1}
    assert run.table("appliance_in_flight_requests", "", at) == {(): 1}
    for family, label in (("llm_gateway_llm_gateway_active_requests", "provider"), ("inference_gateway_active_requests", "backend")):
        assert run.table(family, label, at) == {(name,): float(name == "alpha") for name in BACKENDS}


def test_the_simulator_was_asked_as_often_as_the_script_says(run: Watched) -> None:
    """What the table rests on: no attempt is missing from the script. Beside it are the copies of the shadow experiment, one each."""
    scripted = Counter(one.model for one in run.seen for _ in one.step.attempts)
    scripted["flat"] += sum(one.step.route == "shadowed" for one in run.seen)
    assert {name: times for name, times in run.simulated.items() if times} == scripted


def test_ledger_rows_and_spans_are_as_many_as_requests_and_attempts(run: Watched) -> None:
    attempts = sum(len(one.step.attempts) for one in run.seen)
    copies = sum(one.step.route == "shadowed" for one in run.seen)
    written = sum(one.backend != "none" for one in run.seen)
    assert run.growth("appliance_ledger_rows_total") == {(): written + copies}
    assert run.growth("appliance_trace_spans_total", "result")["sent",] == len(run.seen) + attempts
    assert sum(run.growth("gen_ai_client_operation_duration_seconds_count").values()) == attempts


def test_an_experiments_variants_are_those_that_the_published_hash_says(run: Watched) -> None:
    for one in (one for one in run.seen if one.step.experiment):
        expected = "treatment" if fnv1a(f"{one.user}:trial") % 100 < EXPERIMENT_PERCENT else "control"
        assert one.variant == expected, one.user
    variants = total(run.seen, lambda one: [((one.variant,), 1)] if one.step.experiment else [])
    assert min(variants["control",], variants["treatment",]) > 0


def fnv1a(text: str) -> int:
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def test_a_streams_speed_is_that_of_its_tokens(run: Watched) -> None:
    """A hundred and one tokens at fifty a second: two seconds between the first and the last, of which a busy machine may miss half."""
    speed = run.table('llm_gateway_llm_gateway_tokens_per_second{model="llama-3.1-8b"}', "model")["llama-3.1-8b",]
    waited = max(one.duration_s for one in run.seen if one.model == "llama-3.1-8b")
    assert 100 / waited <= speed <= 100


def test_prometheus_reads_what_it_scrapes_in_the_format_that_it_likes_best(run: Watched) -> None:
    """OpenMetrics. A scrape that takes longer than half a second, on a machine that is busy elsewhere, is one that did not come."""

    def well() -> bool:
        (target,) = run.prometheus.get("/api/v1/targets")["activeTargets"]
        return (target["health"], target["lastError"]) == ("up", "")

    eventually(well)
    ((_, came),) = run.table(f"avg_over_time(up[{run.window_s}s])", "").items()
    assert came > 0.2


def scraped(run: Watched, query: str = "", accept: str = "text/plain") -> str:
    request = urllib.request.Request(f"{run.gateway.admin_url}/metrics{query}", headers={"accept": accept})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("query", ["", *(f"?vocabulary={name}" for name in VOCABULARIES)])
def test_promtool_has_nothing_to_say_about_a_scrape_but_its_remark_on_milliseconds(run: Watched, query: str) -> None:
    done = subprocess.run([tool("promtool"), "check", "metrics"], input=scraped(run, query), capture_output=True, text=True, timeout=60)
    remarks = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    expected = ["model_latency_ms metric names should not contain abbreviated units"] if query in ("", "?vocabulary=model") else []
    assert remarks == expected


def test_both_expositions_of_this_workload_have_the_same_series(run: Watched) -> None:
    """OpenMetrics by its own reference parser, which promtool has none of."""
    opened = {family.name for family in text_string_to_metric_families(scraped(run, accept=OPENMETRICS))}
    plain = set(re.findall(r"^# TYPE (\S+)", scraped(run), re.M))
    assert len(opened) == len(plain) == len({family.name for families in VOCABULARIES.values() for family in families})
