"""A dashboard: rows of panels, variables, annotations.

Panels flow from left to right in Grafana's 24 columns and wrap; nobody writes coordinates. Ids count up within a row, so that a new panel
moves no bookmark of another row's.
"""

from collections.abc import Iterator
from typing import Any, Final

import attrs

from observability.dashboards.panels import Panel
from observability.dashboards.rendering import DATASOURCE, panel_json
from observability.dashboards.variables import Variable

COLUMNS: Final = 24
# Grafana 9.0's. Later ones migrate it as they load it; an earlier one would not know what a later number means.
SCHEMA_VERSION: Final = 36
TAG: Final = "appliance"
# The rows' own ids, and the most panels that one may hold, itself among them.
ROW_IDS: Final = 100


@attrs.frozen
class Row:
    """A titled row. `folded` ones load when somebody opens them."""

    title: str
    panels: tuple[Panel, ...]
    folded: bool = False


@attrs.frozen
class Annotation:
    """Vertical lines where `expr`, a time in milliseconds since the epoch, says."""

    name: str
    expr: str
    text: str
    colour: str


@attrs.frozen
class Board:
    """One dashboard; its uid is its file's name too, so that links and bookmarks hold."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    refresh: str = "30s"
    since: str = "now-1h"


def board_json(board: Board, runbooks: str) -> dict[str, Any]:
    """Grafana's dashboard JSON. runbooks: what a panel's runbook link begins with."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.description,
        "tags": [TAG],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,  # one crosshair for all panels
        "refresh": board.refresh,
        "time": {"from": board.since, "to": "now"},
        "timezone": "browser",
        "timepicker": {"refresh_intervals": ["10s", "30s", "1m", "5m", "15m", "1h"]},
        "links": [
            {
                "type": "dashboards", "title": "Dashboards", "tags": [TAG], "asDropdown": True, "includeVars": True, "keepTime": True,
                "targetBlank": False, "icon": "external link", "tooltip": "", "url": "",
            }
        ],
        "annotations": {"list": [_annotation_json(one) for one in board.annotations]},
        "templating": {"list": [_datasource_json(), *[_variable_json(one) for one in board.variables]]},
        "panels": list(_placed(board, runbooks)),
    }  # fmt: skip


def _placed(board: Board, runbooks: str) -> Iterator[dict[str, Any]]:
    top = 0
    for number, row in enumerate(board.rows, 1):
        inside = []
        head = _row_json(row, number * ROW_IDS, top)
        top += 1
        left, height = 0, 0
        for place, panel in enumerate(row.panels, number * ROW_IDS + 1):
            if left + panel.width > COLUMNS:
                top, left, height = top + height, 0, 0
            inside.append(panel_json(panel, place, {"h": panel.height, "w": panel.width, "x": left, "y": top}, runbooks))
            left, height = left + panel.width, max(height, panel.height)
        if row.folded:
            yield {**head, "panels": inside}
        else:
            yield head
            yield from inside
            top += height


def _row_json(row: Row, number: int, top: int) -> dict[str, Any]:
    return {
        "id": number, "type": "row", "title": row.title, "collapsed": row.folded, "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": top},
        "panels": [],
    }  # fmt: skip


def _datasource_json() -> dict[str, Any]:
    """The stack's own Prometheus has the uid `prometheus`; where there is none of that name Grafana takes its default one."""
    return {
        "name": "datasource", "type": "datasource", "label": "Data source", "query": "prometheus", "hide": 0, "refresh": 1, "regex": "",
        "includeAll": False, "multi": False, "options": [], "skipUrlSync": False,
        "current": {"selected": True, "text": "Prometheus", "value": "prometheus"},
    }  # fmt: skip


def _variable_json(variable: Variable) -> dict[str, Any]:
    return {
        "name": variable.name, "type": "query", "label": variable.label, "datasource": DATASOURCE, "definition": variable.query,
        "query": {"query": variable.query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "hide": 0, "refresh": 2, "regex": "", "sort": 1, "includeAll": True, "allValue": ".*", "multi": True, "options": [],
        "skipUrlSync": False, "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }  # fmt: skip


def _annotation_json(annotation: Annotation) -> dict[str, Any]:
    return {
        "name": annotation.name, "datasource": DATASOURCE, "enable": True, "hide": False, "iconColor": annotation.colour,
        "expr": annotation.expr, "step": "60s", "titleFormat": annotation.name, "textFormat": annotation.text, "useValueForTime": True,
    }  # fmt: skip
