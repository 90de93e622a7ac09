"""Whether treatment differs from control, in figures and in plain words. Pure.

The rule: a difference is told where its 95 % interval leaves out 0 and both sides have enough requests; else the words say which of the two
is lacking. Each line stands for itself: of the six, one in twenty is told wrongly by chance where there is no difference, so that a
look every hour until something shows proves nothing.
"""

from typing import Any, Final

import attrs

from appliance.core.interval import Interval, mean_difference, share_difference
from appliance.core.outcome import Outcome, interval_dict

ENOUGH: Final = 30
"""Requests on either side below which nothing is told: means of so few follow no normal distribution, and errors are a handful."""

NOT_ENOUGH: Final = "not enough data"
NO_DIFFERENCE: Final = "no clear difference"


@attrs.frozen
class _Measure:
    """more, less: what a positive and a negative difference mean for the treatment."""

    name: str
    more: str
    less: str


_ERRORS = _Measure("error_ratio", "treatment fails more often", "treatment fails less often")
_MEANS = (
    _Measure("latency_ms", "treatment is slower", "treatment is faster"),
    _Measure("ttft_ms", "treatment's first token comes later", "treatment's first token comes sooner"),
    _Measure("input_tokens", "treatment reads more tokens", "treatment reads fewer tokens"),
    _Measure("output_tokens", "treatment writes more tokens", "treatment writes fewer tokens"),
    _Measure("cost_usd", "treatment costs more", "treatment costs less"),
)

MEASURE_NAMES: Final = (_ERRORS.name, *(one.name for one in _MEANS))


def compared(control: Outcome, treatment: Outcome) -> dict[str, Any]:
    """`{"differences": {measure: {"difference", "low", "high", "percent", "verdict"}}, "verdict": words}`, all JSON-ready. A difference is
    treatment - control; percent is of control's value, None where that is 0 or not known."""
    errors = share_difference(treatment.errors, treatment.decided, control.errors, control.decided)
    base = control.errors / control.decided if control.decided else None
    differences = {_ERRORS.name: _shown(_ERRORS, errors, min(control.decided, treatment.decided), base)}
    for measure in _MEANS:
        one, other = treatment.measures[measure.name], control.measures[measure.name]
        differences[measure.name] = _shown(measure, mean_difference(one, other), min(one.count, other.count), other.mean)
    return {"differences": differences, "verdict": _summary(differences)}


def _shown(measure: _Measure, found: Interval | None, fewest: int, base: float | None) -> dict[str, Any]:
    percent = round(found.value / base * 100, 1) if found is not None and base else None
    return {**interval_dict(found, "difference"), "percent": percent, "verdict": verdict(measure, found, fewest)}


def verdict(measure: _Measure, found: Interval | None, fewest: int) -> str:
    """In plain words. fewest: requests on the side that has fewer."""
    if found is None or fewest < ENOUGH:
        return NOT_ENOUGH
    if found.low > 0:
        return measure.more
    return measure.less if found.high < 0 else NO_DIFFERENCE


def _summary(differences: dict[str, dict[str, Any]]) -> str:
    """All lines in one: what is clear, else why nothing is. Streams' first token may be lacking where nobody streams; that is no lack."""
    words = [one["verdict"] for one in differences.values()]
    clear = [each for each in words if each not in (NOT_ENOUGH, NO_DIFFERENCE)]
    if clear:
        return "; ".join(clear)
    lacking = any(differences[name]["verdict"] == NOT_ENOUGH for name in ("error_ratio", "latency_ms"))
    return NOT_ENOUGH if lacking else NO_DIFFERENCE
