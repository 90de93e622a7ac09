"""What the store knows of one request: its record, where that was kept, else what the ledger has.

The rule: its own id leads to its month's row at once; the id that the caller sees is looked for in the rows of the last days only, since
every one of them has to be read.
"""

import json
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from appliance.store.explanations import find_explanations, ledger_id
from appliance.store.row import ATTEMPT_FIELDS
from appliance.store.schema import rows_table
from appliance.store.tables import rows_tables

LOOK_BACK_DAYS = 7
DAY_US = 86_400_000_000
ID_MAX = 253_402_300_800_000_000  # the year 10000
TEXTS = ("tenant", "key", "route", "backend", "model", "dialect", "operation", "error_type", "usage_source")
COUNTS = (
    "input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens", "input_audio_tokens",
    "output_audio_tokens", "search_units",
)  # fmt: skip


def kept_request(connection: sqlite3.Connection, wanted: str, now: float) -> dict[str, Any] | None:
    """A request by either id, as /admin/requests/{id} shows it: `kept_in` is `store`, or `ledger` for what has no attempts' times, plan and
    words; None where there is none. now: seconds since the epoch. Raises sqlite3.Error."""
    found = find_explanations(connection, wanted)
    if found:
        others = [] if found[0]["id"] == wanted else [one for one in found[1:] if one["request_id"] == wanted]
        return {**found[0], "kept_in": "store", "others": [brief(one) for one in others]}
    row = find_row(connection, wanted, now)
    return None if row is None else {**row, "kept_in": "ledger", "others": []}


def brief(record: Mapping[str, Any]) -> dict[str, Any]:
    """One of several that carry the same request id."""
    return {name: record[name] for name in ("id", "time", "route", "model", "status")}


def find_row(connection: sqlite3.Connection, wanted: str, now: float) -> dict[str, Any] | None:
    """The row as a record, with the fields that are known; None where there is no such row. Raises sqlite3.Error."""
    months = rows_tables(connection)
    own = ledger_id(wanted)
    if 0 < own < ID_MAX:
        at = datetime.fromtimestamp(own / 1e6, UTC)
        table = rows_table(at.year, at.month)
        found = _row(connection, table, "id = ?", (own,)) if table in months else None
        if found is not None:
            return found
    for table in reversed(months[-2:]):
        since = int(now * 1e6) - LOOK_BACK_DAYS * DAY_US
        found = _row(connection, table, "id >= ? AND request_id = ? ORDER BY id DESC", (since, wanted))
        if found is not None:
            return found
    return None


def _row(connection: sqlite3.Connection, table: str, where: str, values: tuple[object, ...]) -> dict[str, Any] | None:
    cursor = connection.execute(f"SELECT * FROM {table} WHERE {where} LIMIT 1", values)
    found = cursor.fetchone()
    if found is None:
        return None
    row = {column[0]: value for column, value in zip(cursor.description, found, strict=True)}
    took_part = connection.execute("SELECT experiment, variant FROM row_experiments WHERE id = ?", (row["id"],)).fetchone()
    row["experiment"], row["variant"] = took_part or ("", "")
    for name in TEXTS:
        text = connection.execute("SELECT text FROM names WHERE id = ?", (row[name],)).fetchone()
        row[name] = text[0] if text is not None else ""
    return _record(row)


def _record(row: dict[str, Any]) -> dict[str, Any]:
    """In the shape of a whole record; what the ledger does not have is null or empty."""
    own = f"{row['id']:x}"
    usage = {name: row[name] for name in COUNTS} | {"source": row["usage_source"]}
    return {
        "id": own, "request_id": row["request_id"] or own, "time": row["id"] / 1e6 + (row["shift_ms"] or 0) / 1000,
        "tenant": row["tenant"], "key": row["key"], "route": row["route"], "requested_model": "", "model": row["model"],
        "dialect": row["dialect"], "operation": row["operation"], "stream": bool(row["stream"]), "attempts": _attempts(row),
        "status": row["status"], "error_type": row["error_type"], "error": "", "usage": usage, "cost_usd": row["cost_nusd"] / 1e9,
        "overhead_ms": None, "ttft_ms": row["ttft_ms"], "duration_ms": row["duration_ms"], "dropped_fields": [],
        "experiment": row["experiment"], "variant": row["variant"], "cache": "", "cache_waited_ms": None, "plan": None,
        "verdict": None, "trace_id": None,
    }  # fmt: skip


def _attempts(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of the row; of a single one what the row itself says."""
    if row["attempts"]:
        several = [dict(zip(ATTEMPT_FIELDS, one, strict=False)) for one in json.loads(row["attempts"])]
    else:
        outcome = "success" if not row["error_type"] else "cancelled" if row["error_type"] == "client_gone" else "error"
        several = [{name: row.get(name) for name in ATTEMPT_FIELDS} | {"outcome": outcome}]
    return [{**one, "started_ms": None} for one in several]
