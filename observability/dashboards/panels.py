"""What a panel is, before Grafana's JSON: its question, its PromQL, its unit and the values at which somebody should worry.

A panel is data; `rendering` turns it into JSON. Every panel explains itself: `description` is what Grafana shows at its (i).
"""

from collections.abc import Mapping
from typing import Final, Literal

import attrs

Kind = Literal["timeseries", "stat", "gauge", "bargauge", "state-timeline"]
Colour = Literal["green", "yellow", "red", "blue", "gray"]

# Grafana's unit ids. "count:" scales and names a unit that Grafana does not know.
REQUESTS_PER_S: Final = "reqps"
TOKENS_PER_S: Final = "count:tokens/s"
SECONDS: Final = "s"
MILLISECONDS: Final = "ms"
PERCENT: Final = "percent"
RATIO: Final = "percentunit"
USD: Final = "currencyUSD"
COUNT: Final = "short"
STATE: Final = "none"


@attrs.frozen
class Query:
    """One PromQL expression and what its series are called: `{{label}}` stands for a label's value."""

    expr: str
    legend: str


@attrs.frozen
class Step:
    """From `value` on, this colour; None is minus infinity and comes first."""

    value: float | None
    colour: Colour


@attrs.frozen
class Panel:
    """One panel.

    Attributes:
        kind: Grafana's panel type. Stats and gauges ask for the present instant, the others for the dashboard's whole range.
        steps: thresholds, in rising order. Empty: everything is green.
        mapping: value → (word, colour), for states.
        minimum, maximum: of the axis or gauge, in the panel's unit.
        calcs: what the legend's table tells of each series, by Grafana's names (mean, max, sum, lastNotNull).
        drawing: bars for counts of a period; the rest are lines.
        stacking: normal, or percent for shares of a whole.
        interval: least distance of two points ("1h"); empty leaves it to Grafana.
        axis: what the axis counts, where the unit does not say it.
        runbook: the alert whose runbook helps, by name.
        drill: a dashboard's uid that opens with a series' provider chosen.
    """

    title: str
    description: str
    kind: Kind
    unit: str
    queries: tuple[Query, ...]
    width: int = 12
    height: int = 8
    steps: tuple[Step, ...] = ()
    mapping: Mapping[int, tuple[str, Colour]] = attrs.field(factory=dict)
    minimum: float | None = None
    maximum: float | None = None
    decimals: int | None = None
    calcs: tuple[str, ...] = ()
    drawing: Literal["line", "bars"] = "line"
    stacking: Literal["none", "normal", "percent"] = "none"
    interval: str = ""
    axis: str = ""
    runbook: str = ""
    drill: str = ""


def good_below(warning: float, critical: float) -> tuple[Step, ...]:
    """Green, yellow from `warning`, red from `critical`."""
    return Step(None, "green"), Step(warning, "yellow"), Step(critical, "red")


def good_above(warning: float, fine: float) -> tuple[Step, ...]:
    """Red, yellow from `warning`, green from `fine`."""
    return Step(None, "red"), Step(warning, "yellow"), Step(fine, "green")


def none_is_good() -> tuple[Step, ...]:
    """Green at 0, red from 1: for counts of things that should not be."""
    return Step(None, "green"), Step(1, "red")


HEALTH: Final[Mapping[int, tuple[str, Colour]]] = {1: ("Healthy", "green"), 0: ("Unhealthy", "red")}
HEALTH_STEPS: Final = (Step(None, "red"), Step(1, "green"))

_BREAKER_WORDS: Final[Mapping[str, tuple[str, Colour]]] = {
    "closed": ("Closed", "green"),
    "half_open": ("Half-Open", "yellow"),
    "open": ("Open", "red"),
}


def breaker_words(values: Mapping[str, int]) -> dict[int, tuple[str, Colour]]:
    """A vocabulary's own numbers for the breaker's states → words. They differ: take them from the vocabulary, never from memory."""
    return {values[state]: word for state, word in _BREAKER_WORDS.items()}


def legend(*pairs: tuple[str, str]) -> tuple[Query, ...]:
    """(legend, expression) pairs as queries: the name first, as one reads them."""
    return tuple(Query(expr, name) for name, expr in pairs)
