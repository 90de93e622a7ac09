"""The committed dashboards are what the code makes, and each is one that Grafana 9 provisions and draws without a question."""

import re
from itertools import combinations

import pytest
from dashboard_queries import FILLED, FOLDER, VARIABLE, choices, dashboards, fill, panels, queries

from observability.dashboards import files

NAMES = ["aigateway", "appliance", "inference-gateway", "llm-gateway-overview", "llm-gateway-providers", "models-monitoring"]
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


@pytest.fixture(params=NAMES)
def dashboard(request):
    return dashboards()[request.param]


def test_the_committed_json_is_what_the_code_makes_byte_for_byte():
    made = files()
    assert sorted(made) == sorted(path.name for path in FOLDER.iterdir()) == [f"{name}.json" for name in NAMES]
    for name, text in made.items():
        assert (FOLDER / name).read_bytes() == text.encode(), f"{name} is not what the code makes: run `make dashboards`"


def test_a_dashboard_is_found_under_its_files_name_and_loads_in_grafana_9(dashboard, request):
    assert dashboard["uid"] == request.node.callspec.params["dashboard"]
    assert "id" not in dashboard, "an id is the database's; provisioning fails on a foreign one"
    assert not {"__inputs", "__requires", "__elements"} & dashboard.keys(), "these ask whoever imports, and provisioning asks nobody"
    assert dashboard["schemaVersion"] >= 36
    assert dashboard["title"]
    assert dashboard["description"]
    assert dashboard["refresh"] == "30s"


def test_ids_are_unique_rows_among_them(dashboard):
    rows = [panel for panel in dashboard["panels"] if panel["type"] == "row"]
    ids = [one["id"] for one in [*rows, *panels(dashboard)]]
    assert len(ids) == len(set(ids))


def test_panels_stay_in_24_columns_and_do_not_overlap(dashboard):
    open_ones = dashboard["panels"]
    folded = [row["panels"] for row in open_ones if row["type"] == "row" and row["panels"]]
    for together in [open_ones, *folded]:
        for panel in together:
            place = panel["gridPos"]
            assert place["x"] >= 0
            assert place["y"] >= 0
            assert place["w"] > 0
            assert place["h"] > 0
            assert place["x"] + place["w"] <= 24, panel["title"]
        for one, other in combinations(together, 2):
            assert not overlap(one["gridPos"], other["gridPos"]), f"{one['title']} lies over {other['title']}"


def overlap(one, other) -> bool:
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not (beside or below)


def test_every_panel_says_what_it_shows_and_in_which_unit(dashboard):
    for panel in panels(dashboard):
        assert panel["title"]
        assert len(panel["description"]) > 15, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        steps = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
        assert steps[0] is None
        assert steps[1:] == sorted(steps[1:]), f"{panel['title']}: thresholds out of order"


def test_every_series_can_be_told_from_the_others(dashboard):
    for panel in panels(dashboard):
        legends = [target["legendFormat"] for target in panel["targets"]]
        assert all(legends), panel["title"]
        assert len(set(legends)) == len(legends), f"{panel['title']}: two series of one name"
        several = len(legends) > 1 or "{{" in legends[0]
        if several and panel["type"] in ("timeseries", "state-timeline"):
            assert panel["options"]["legend"]["showLegend"], panel["title"]
        if several and panel["type"] == "stat":
            assert panel["options"]["textMode"] == "value_and_name", panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)


def test_every_query_asks_the_chosen_datasource(dashboard):
    first = dashboard["templating"]["list"][0]
    assert (first["name"], first["type"], first["current"]["value"]) == ("datasource", "datasource", "prometheus")
    for panel in panels(dashboard):
        assert panel["datasource"] == DATASOURCE
        for target in panel["targets"]:
            assert target["datasource"] == DATASOURCE
            assert target["expr"]
    for variable in dashboard["templating"]["list"][1:]:
        assert variable["datasource"] == DATASOURCE


def test_every_variable_that_is_used_is_offered_and_every_one_offered_is_used(dashboard):
    offered = {variable["name"] for variable in dashboard["templating"]["list"]}
    asked = [target["expr"] for panel in panels(dashboard) for target in panel["targets"]]
    asked += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    used = {plain or braced for expr in asked for plain, braced in VARIABLE.findall(expr)}
    assert {name for name in used if not name.startswith("__")} == offered - {"datasource"}


def test_all_of_a_variable_fits_series_without_its_label(dashboard):
    for variable in dashboard["templating"]["list"][1:]:
        assert variable["includeAll"]
        assert variable["allValue"] == ".*"
        assert variable["current"]["value"] == ["$__all"]
    for panel in panels(dashboard):
        for target in panel["targets"]:
            assert not re.search(r'[^~]"\$\w+"', target["expr"].replace('=~"', '~"')), "a variable of several values needs =~"


def test_no_variable_is_left_when_an_expression_is_filled_in():
    asked = queries()
    assert len(asked) > 100
    assert not [query for query in asked if "$" in query.expr]
    assert {query.dashboard for query in asked} == set(NAMES)
    assert {(choice.variable, choice.label) for choice in choices()} == {(name, name) for name in ("job", "cluster", "provider")}
    assert fill('x{job=~"$job"}[$__rate_interval]', {**FILLED, "job": "a|b"}) == 'x{job=~"a|b"}[1m]'


def test_runbook_links_begin_where_the_generator_is_told():
    text = files("https://git.example/appliance/blob/main/observability/runbooks/")["appliance.json"]
    assert '"url": "https://git.example/appliance/blob/main/observability/runbooks/LLMGatewayHighErrorRate.md"' in text
    assert '"url": "/public/runbooks/' not in text
