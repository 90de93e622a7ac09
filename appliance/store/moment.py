"""Points in time as they are shown and given: ISO 8601, in UTC."""

from datetime import UTC, datetime


def iso(seconds: float) -> str:
    """`2027-01-31T12:00:00Z`, of seconds since the epoch."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


def iso_or_none(seconds: float | None) -> str | None:
    return None if seconds is None else iso(seconds)
