"""The committed dashboards as a list of questions: every PromQL expression with Grafana's variables filled in.

What Grafana does with a variable before it asks Prometheus is done here by plain replacement, so that the same list serves promtool and a
running Prometheus.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "observability" / "grafana" / "dashboards"

# All of everything, as a dashboard that was just opened asks; a rate over four scrapes of fifteen seconds, as Grafana's is at least.
FILLED: Mapping[str, str] = {
    "datasource": "prometheus",
    "job": ".*",
    "cluster": ".*",
    "provider": ".*",
    "__rate_interval": "1m",
    "__interval": "15s",
    "__range": "1h",
}
VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::\w+)?\})")


@attrs.frozen
class PanelQuery:
    """One expression of one panel or annotation. instant: asked for one moment, not for a range. legend as the panel writes it."""

    dashboard: str
    panel: str
    expr: str
    legend: str
    instant: bool


@attrs.frozen
class Choice:
    """A variable's `label_values(selector, label)`, filled in."""

    dashboard: str
    variable: str
    selector: str
    label: str


def dashboards() -> dict[str, dict[str, Any]]:
    """File stem → its JSON."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every panel, those of folded rows too, rows themselves not."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def fill(expr: str, values: Mapping[str, str] = FILLED) -> str:
    """`expr` without variables; one that `values` does not know is a KeyError."""
    return VARIABLE.sub(lambda match: values[match[1] or match[2]], expr)


def queries(values: Mapping[str, str] = FILLED) -> list[PanelQuery]:
    """Every expression of every dashboard, in reading order, annotations last."""
    found = []
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                found.append(PanelQuery(name, panel["title"], fill(target["expr"], values), target["legendFormat"], target["instant"]))
        for one in dashboard["annotations"]["list"]:
            found.append(PanelQuery(name, f"annotation {one['name']}", fill(one["expr"], values), one["textFormat"], False))
    return found


def choices(values: Mapping[str, str] = FILLED) -> list[Choice]:
    """What fills the dashboards' variables."""
    found = []
    for name, dashboard in dashboards().items():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
                assert asked, f"{name}: ${variable['name']} asks {variable['query']['query']!r}"
                found.append(Choice(name, variable["name"], fill(asked[1], values), asked[2]))
    return found
