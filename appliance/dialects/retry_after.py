"""Reads how long an upstream asks to wait: `retry-after-ms` (OpenAI, Azure), else `Retry-After` (RFC 9110 §10.2.3).

The rule: bytes and the wall time in, seconds out; nonsense means that nothing was asked.
"""

import math
from collections.abc import Iterable
from email.utils import parsedate_to_datetime

RETRY_AFTER_MAX_S = 86_400.0
"""Daily quotas ask for hours; more than a day is a mistake, and a caller should not be told to sleep on it."""


def retry_after_s(headers: Iterable[tuple[bytes, bytes]], now: float) -> float | None:
    """Seconds to wait, within [0, RETRY_AFTER_MAX_S]; None when the headers do not say.

    Args:
        headers: names in lower case.
        now: wall time in Unix seconds.
    """
    in_ms: float | None = None
    in_s: float | None = None
    for name, value in headers:
        if name == b"retry-after-ms" and in_ms is None:
            in_ms = _number(value)
        elif name == b"retry-after" and in_s is None:
            in_s = _number(value)
            if in_s is None:
                in_s = _until(value, now)
    if in_ms is not None:
        in_s = in_ms / 1000
    return None if in_s is None else min(max(in_s, 0.0), RETRY_AFTER_MAX_S)


def _number(value: bytes) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _until(value: bytes, now: float) -> float | None:
    try:
        return parsedate_to_datetime(value.decode("latin-1")).timestamp() - now
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
