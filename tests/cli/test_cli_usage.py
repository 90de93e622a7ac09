"""The table of usage, of whatever names and sums there are."""

from typing import Any

from appliance.cli.usage import table
from appliance.store.usage import COUNTS


def shown(model: str, usd: float) -> str:
    """The line of one row."""
    row: dict[str, Any] = {"model": model, **dict.fromkeys(COUNTS, 0), "cost_usd": usd}
    view = {"by": ["model"], "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "rows": [row], "total": row}
    return table(view).split("\n")[3]


def test_small_sums_are_more_than_nothing() -> None:
    told = [shown("m", usd).split()[-2] for usd in (0.0, 0.000_000_001, 0.000_099, 0.0001, 1234.5)]
    assert told == ["0.0000", "<0.0001", "<0.0001", "0.0001", "1,234.5000"]


def test_a_model_that_a_caller_named_moves_no_cursor() -> None:
    assert shown("\x1b[2J\nm", 1.0).startswith("\\x1b[2J\\nm  ")
