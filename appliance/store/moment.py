"""Points and spans of time as they are shown and given: ISO 8601 in UTC, and `90s`, `15m`, `24h`, `7d`."""

import re
from datetime import UTC, datetime

_SPAN = re.compile(r"(\d{1,9})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
MOMENT_MAX = 253_402_300_799  # 9999-12-31


def iso(seconds: float) -> str:
    """`2027-01-31T12:00:00Z`, of seconds since the epoch."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


def iso_or_none(seconds: float | None) -> str | None:
    return None if seconds is None else iso(seconds)


def span_s(text: str) -> int | None:
    """Seconds of `7d`; None where it is no span. 0 may stand alone."""
    if text == "0":
        return 0
    found = _SPAN.fullmatch(text)
    return None if found is None else int(found[1]) * _SECONDS[found[2]]


def moment_s(text: str, now: float, *, ahead: bool) -> float | None:
    """Seconds since the epoch of a date or time (UTC without a zone), or a span from now (`ahead`, else ago); None for another text."""
    span = span_s(text)
    if span is not None:
        return min(max(0.0, now + span if ahead else now - span), MOMENT_MAX)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    exact = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    return min(max(0.0, exact), MOMENT_MAX)  # at either end a zone leads out of the calendar
