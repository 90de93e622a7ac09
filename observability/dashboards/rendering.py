"""One panel as Grafana's JSON: the fields that Grafana 9.0 knows, spelled out, so that a later default changes nothing.

Source: the dashboard JSON model and the schemas of the timeseries, stat, gauge, bargauge and state-timeline panels.
"""

from string import ascii_uppercase
from typing import Any, Final

from observability.dashboards.panels import Panel, Query, Step

DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
INSTANT: Final = ("stat", "gauge", "bargauge")
RUNBOOK_FILES: Final = "observability/runbooks"
"""Where the runbooks are in the repository: a description names the file, whatever a link makes of it."""


def panel_json(panel: Panel, number: int, place: dict[str, int], runbooks: str) -> dict[str, Any]:
    """number: the panel's id; place: its gridPos; runbooks: what the link begins with."""
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": _description(panel),
        "datasource": DATASOURCE,
        "gridPos": place,
        **({"interval": panel.interval} if panel.interval else {}),
        **({"links": [_runbook_link(panel.runbook, runbooks)]} if panel.runbook else {}),
        "targets": [_target(panel, query, letter) for query, letter in zip(panel.queries, ascii_uppercase, strict=False)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind](panel),
    }


def _description(panel: Panel) -> str:
    return f"{panel.description}\n\nRunbook: {RUNBOOK_FILES}/{panel.runbook}.md" if panel.runbook else panel.description


def _runbook_link(name: str, runbooks: str) -> dict[str, Any]:
    return {"title": f"Runbook: {name}", "url": f"{runbooks.rstrip('/')}/{name}.md", "targetBlank": True}


def _target(panel: Panel, query: Query, letter: str) -> dict[str, Any]:
    instant = panel.kind in INSTANT
    return {
        "refId": letter, "datasource": DATASOURCE, "editorMode": "code", "expr": query.expr, "legendFormat": query.legend,
        "instant": instant, "range": not instant,
    }  # fmt: skip


def _defaults(panel: Panel) -> dict[str, Any]:
    steps = panel.steps or (Step(None, "green"),)
    by_value = bool(panel.steps or panel.mapping) and panel.kind != "timeseries"
    optional = {"min": panel.minimum, "max": panel.maximum, "decimals": panel.decimals}
    return {
        "unit": panel.unit,
        **{name: value for name, value in optional.items() if value is not None},
        "color": {"mode": "thresholds" if by_value or panel.kind in INSTANT else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": [{"color": step.colour, "value": step.value} for step in steps]},
        "mappings": _mappings(panel),
        "links": _drill_links(panel),
        "custom": _CUSTOM[panel.kind](panel) if panel.kind in _CUSTOM else {},
    }


def _mappings(panel: Panel) -> list[dict[str, Any]]:
    if not panel.mapping:
        return []
    words = panel.mapping.items()
    options = {str(value): {"text": word, "color": colour, "index": index} for index, (value, (word, colour)) in enumerate(words)}
    return [{"type": "value", "options": options}]


def _drill_links(panel: Panel) -> list[dict[str, Any]]:
    if not panel.drill:
        return []
    url = f"/d/{panel.drill}?${{datasource:queryparam}}&${{job:queryparam}}&${{cluster:queryparam}}"
    return [{"title": "Details of ${__field.labels.provider}", "url": url + "&var-provider=${__field.labels.provider}&${__url_time_range}"}]


def _timeseries_custom(panel: Panel) -> dict[str, Any]:
    bars = panel.drawing == "bars"
    return {
        "drawStyle": panel.drawing, "lineWidth": 1, "lineInterpolation": "linear", "fillOpacity": 80 if bars else 10,
        "gradientMode": "none", "showPoints": "never" if bars else "auto", "pointSize": 4, "spanNulls": False, "barAlignment": 0,
        "axisPlacement": "auto", "axisLabel": panel.axis, "scaleDistribution": {"type": "linear"},
        "stacking": {"mode": panel.stacking, "group": "A"}, "thresholdsStyle": {"mode": "line" if panel.steps else "off"},
        "hideFrom": {"legend": False, "tooltip": False, "viz": False},
    }  # fmt: skip


def _timeline_custom(_panel: Panel) -> dict[str, Any]:
    return {"lineWidth": 0, "fillOpacity": 70, "hideFrom": {"legend": False, "tooltip": False, "viz": False}}


def _legend(panel: Panel) -> dict[str, Any]:
    return {"displayMode": "table" if panel.calcs else "list", "placement": "bottom", "showLegend": True, "calcs": list(panel.calcs)}


def _timeseries_options(panel: Panel) -> dict[str, Any]:
    return {"legend": _legend(panel), "tooltip": {"mode": "multi", "sort": "desc"}}


def _timeline_options(panel: Panel) -> dict[str, Any]:
    return {
        "legend": _legend(panel), "tooltip": {"mode": "single", "sort": "none"}, "mergeValues": True, "showValue": "auto",
        "alignValue": "left", "rowHeight": 0.9,
    }  # fmt: skip


LAST: Final = {"calcs": ["lastNotNull"], "fields": "", "values": False}


def _stat_options(panel: Panel) -> dict[str, Any]:
    named = len(panel.queries) > 1 or "{{" in panel.queries[0].legend
    return {
        "reduceOptions": LAST, "orientation": "auto", "textMode": "value_and_name" if named else "value",
        "colorMode": "background" if panel.mapping else "value", "graphMode": "none", "justifyMode": "auto",
    }  # fmt: skip


def _gauge_options(_panel: Panel) -> dict[str, Any]:
    return {"reduceOptions": LAST, "orientation": "auto", "showThresholdLabels": False, "showThresholdMarkers": True}


def _bargauge_options(_panel: Panel) -> dict[str, Any]:
    return {
        "reduceOptions": LAST, "orientation": "horizontal", "displayMode": "gradient", "showUnfilled": True, "minVizWidth": 0,
        "minVizHeight": 10,
    }  # fmt: skip


_CUSTOM: Final = {"timeseries": _timeseries_custom, "state-timeline": _timeline_custom}
_OPTIONS: Final = {
    "timeseries": _timeseries_options,
    "stat": _stat_options,
    "gauge": _gauge_options,
    "bargauge": _bargauge_options,
    "state-timeline": _timeline_options,
}
