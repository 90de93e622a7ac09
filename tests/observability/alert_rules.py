"""The committed rule file and its promtool cases as data, and promtool itself."""

import os
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from promql_names import selectors

ROOT = Path(__file__).resolve().parent.parent.parent
RULES = ROOT / "observability" / "alerts.yaml"
CASES = ROOT / "observability" / "tests"
RUNBOOKS = ROOT / "observability" / "runbooks"
REQUIRED = "OBSERVABILITY_REQUIRED"
"""Set by `make test-observability`, which installs the tools: then their absence is a failure."""


def tool(name: str) -> str:
    """The path of one of Prometheus' programs; the test is skipped where it is missing and nobody insists."""
    path = shutil.which(name)
    if path is None:
        words = f"{name} is not on PATH (Debian: packaging/install-observability.sh)"
        if os.environ.get(REQUIRED):
            pytest.fail(words)
        pytest.skip(words)
    return path


@cache
def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


@cache
def recorded() -> dict[str, str]:
    """Recorded series → its expression."""
    return {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}


@cache
def metrics_behind(expr: str) -> set[str]:
    """The metrics that an expression asks for, those behind recorded series included."""
    expressions = recorded()
    found = set()
    for name in {one.metric for one in selectors(expr)}:
        found |= metrics_behind(expressions[name]) if name in expressions else {name}
    return found


@cache
def cases() -> list[tuple[Path, dict[str, Any]]]:
    """(file, one test group of it) of every promtool case."""
    return [(path, group) for path in sorted(CASES.glob("*.yml")) for group in yaml.safe_load(path.read_text())["tests"]]


def series_metrics(group: dict[str, Any]) -> set[str]:
    """The metrics that a case has samples of."""
    return {re.split(r"[{ ]", series["series"])[0] for series in group["input_series"]}
