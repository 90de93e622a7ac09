"""The latest requests as a table, for `appliance explain` without an id: where somebody begins who has none yet.

The rule: it reads what /admin/requests gives; a text that a caller chose cannot move the terminal's cursor, and no cell is longer than its
entry in WIDTHS_MAX.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from appliance.cli.columns import columns
from appliance.telemetry.access import printable

HEADING = ("time (UTC)", "id", "tenant", "model", "backend", "status", "took", "error")
WIDTHS_MAX = (14, 13, 12, 20, 12, 6, 8, 60)
RIGHT = frozenset({5, 6})


def table(records: Sequence[Mapping[str, Any]], width: int = 0) -> str:
    """A line a request, the newest first.

    Args:
        width: where lines end on a terminal; 0 for lines of any length.
    """
    if not records:
        return "no request is remembered that fits"
    text = columns([HEADING, *map(_cells, records)], RIGHT)
    return "\n".join(_cut(line, width) for line in text.split("\n")) if width else text


def _cells(record: Mapping[str, Any]) -> tuple[str, ...]:
    asked = [one["backend"] for one in record["attempts"]]
    said = (
        datetime.fromtimestamp(record["time"], UTC).strftime("%m-%d %H:%M:%S"), record["id"], record["tenant"],
        record["requested_model"] or "-", asked[-1] if asked else record["cache"] or "-", str(record["status"]),
        _span(record["duration_ms"]), record["error_type"],
    )  # fmt: skip
    return tuple(_cut(printable(cell), most) for cell, most in zip(said, WIDTHS_MAX, strict=True))


def _span(took_ms: float) -> str:
    if took_ms >= 10_000:
        return f"{took_ms / 1000:.1f} s"
    return f"{took_ms:.0f} ms" if took_ms >= 10 else f"{took_ms:.1f} ms"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
