"""Rows for tests, each different only where the test says so."""

from typing import Any

from appliance.store.row import LedgerRow, Opened

MARCH = 1_772_323_200.0  # 2026-03-01 00:00 UTC
FIELDS = {
    "request_id": "", "tenant": "acme", "key": "ci", "user": "", "route": "chat", "backend": "alpha", "model": "gpt-4o-mini",
    "dialect": "openai_chat", "operation": "chat", "stream": False, "status": 200, "error_type": "", "usage_source": "provider",
    "input_tokens": 10, "output_tokens": 20, "cost_nusd": 1500, "duration_ms": 800,
}  # fmt: skip


def row(number: int = 1, started: float = MARCH, **fields: Any) -> LedgerRow:
    return LedgerRow(**{"id": int(started * 1e6) + number, "started": started, **FIELDS, **fields})


def opened(number: int = 1, started: float = MARCH, **fields: Any) -> Opened:
    shared = {name: FIELDS[name] for name in Opened._fields if name in FIELDS}
    return Opened(**{"id": int(started * 1e6) + number, "started": started, **shared, **fields})
