"""Daily figures of each variant of an experiment, kept beside the rows that they are made of.

The rule: they are written in the transaction of their rows, so that a row counts once here too. A day of a variant is one entry of a
kilobyte or two however many requests it had; entries go when the rows of their month do.
"""

import sqlite3
from collections.abc import Iterable

import orjson

from appliance.core.outcome import Outcome, Result, of_figures
from appliance.store.row import LedgerRow

UNCOUNTED = frozenset({"count_tokens"})
"""Operations that nobody waits for an answer of, and that would make a variant look quick and cheap."""

CACHE = "cache"
"""The backend of answers that no variant gave."""

NUSD_PER_USD = 1e9


def note_rows(connection: sqlite3.Connection, rows: Iterable[tuple[int, LedgerRow]]) -> None:
    """Add rows that took part in experiments, each with its day, to the figures; within a transaction. Each only once."""
    found: dict[tuple[str, int, str], Outcome] = {}
    for day, row in rows:
        connection.execute("INSERT OR IGNORE INTO row_experiments VALUES (?, ?, ?)", (row.id, row.experiment, row.variant))
        if row.operation not in UNCOUNTED and row.backend != CACHE:
            found.setdefault((row.experiment, day, row.variant), Outcome()).note(result_of(row))
    for key, outcome in found.items():
        query = "SELECT figures FROM experiment_days WHERE experiment = ? AND day = ? AND variant = ?"
        before = connection.execute(query, key).fetchone()
        if before is not None:
            outcome.merge(of_figures(orjson.loads(before[0])))
        figures = orjson.dumps(outcome.figures()).decode()
        connection.execute("INSERT OR REPLACE INTO experiment_days VALUES (?, ?, ?, ?)", (*key, figures))


def forget_before(connection: sqlite3.Connection, day: int, row_id: int) -> None:
    """Drop the figures of days, and what is said of rows, before these."""
    connection.execute("DELETE FROM experiment_days WHERE day < ?", (day,))
    connection.execute("DELETE FROM row_experiments WHERE id < ?", (row_id,))


def result_of(row: LedgerRow) -> Result:
    asked = {(one[0], one[1]) for one in orjson.loads(row.attempts)} if row.attempts else ()
    return Result(
        ok=not row.error_type, client_gone=row.error_type == "client_gone", fell_back=len(asked) > 1,
        estimated=row.usage_source == "estimated", latency_ms=row.duration_ms, ttft_ms=row.ttft_ms, input_tokens=row.input_tokens,
        output_tokens=row.output_tokens, cost_usd=row.cost_nusd / NUSD_PER_USD,
    )  # fmt: skip
