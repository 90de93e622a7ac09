"""Checks of single TOML values: text, truth, numbers, choices, moments.

One rule: nothing is coerced except an integer where a float is wanted. `"false"` is not a bool, `1` is not a string, `true` is not a
number, NaN and infinity are not numbers.
"""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any

from appliance.config.knob import About
from appliance.config.problem import Refusal, meant, quoted

INTEGER_MAX = 2**63 - 1
"""TOML v1.0.0 promises 64-bit signed integers and no more; SQLite's are the same."""
_PLAIN = About()


def text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise Refusal(f"is {named(value)}", "a string", "put it in quotes" if isinstance(value, bool | int | float | date) else "")


def truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise Refusal(f"is {named(value)}", "true or false", "write it without quotes" if value in ("true", "false") else "")


def number(value: Any, kind: type, described: About = _PLAIN) -> int | float:
    """An int, or a finite float, within its bounds. The message shows a number, for it is not a secret's place; never a string."""
    expected = expected_number(kind, described)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refusal(f"is {named(value)}", expected, "write it without quotes" if isinstance(value, str) and _looks_numeric(value) else "")
    if kind is int and isinstance(value, float):
        raise Refusal(f"is {value!r}, not a whole number", expected)
    if isinstance(value, float) and not math.isfinite(value):
        raise Refusal(f"is {value!r}", expected)
    if isinstance(value, int) and abs(value) > INTEGER_MAX:
        raise Refusal("is too large a number", expected)
    if (described.low is not None and value < described.low) or (described.high is not None and value > described.high):
        raise Refusal(f"is {value!r}", expected)
    return float(value) if kind is float else value


def choice(value: Any, choices: tuple[str, ...]) -> str:
    expected = "one of " + ", ".join(quoted(each) for each in choices)
    if not isinstance(value, str):
        raise Refusal(f"is {named(value)}", expected)
    if value not in choices:
        raise Refusal(f"is {quoted(value)}", expected, meant(value, choices))
    return value


def moment(value: Any) -> datetime:
    """An aware moment. A date means its first moment in UTC, and so does a local date-time, which says no zone."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    raise Refusal(f"is {named(value)}", "a TOML date or date-time", "write it without quotes" if isinstance(value, str) else "")


LEAVES: Mapping[type, tuple[Callable[[Any], Any], Any]] = {
    str: (text, ""),
    bool: (truth, False),
    int: (lambda value: number(value, int), 0),
    float: (lambda value: number(value, float), 0.0),
    datetime: (moment, datetime(2000, 1, 1, tzinfo=UTC)),
}
"""The check of each plain type, and a stand-in for where it failed."""


def expected_number(kind: type, described: About) -> str:
    """`an integer between 1 and 20`, `a number of at least 0 (USD)`."""
    what = "an integer" if kind is int else "a number"
    low, high = described.low, described.high
    if low is not None and high is not None:
        what += f" between {plain(low)} and {plain(high)}"
    elif low is not None:
        what += f" of at least {plain(low)}"
    return f"{what} ({described.unit})" if described.unit else what


def named(value: Any) -> str:
    """What kind of TOML value something is, without saying which."""
    match value:
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a float"
        case str():
            return "a string"
        case list():
            return "an array"
        case dict():
            return "a table"
        case datetime() | date() | time():
            return "a date or time"
    return "of no TOML type"


def plain(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _looks_numeric(value: str) -> bool:
    return len(value) < 40 and value.strip().replace(".", "", 1).replace("_", "").isdigit()
