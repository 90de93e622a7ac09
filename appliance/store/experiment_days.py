"""Daily figures of each variant of an experiment, kept beside the rows that they are made of.

The rule: they are written in the transaction of their rows, so that a row counts once here too. A day of a variant is one entry of a
kilobyte or two however many requests it had; entries go when the rows of their month do.
"""

import sqlite3
from collections.abc import Iterable, Sequence

import orjson

from appliance.core.interval import Tally
from appliance.core.outcome import Outcome, of_figures
from appliance.core.spread import Spread
from appliance.store.row import LedgerRow
from appliance.store.several import Several

UNCOUNTED = frozenset({"count_tokens"})
"""Operations that nobody waits for an answer of, and that would make a variant look quick and cheap."""

CACHE = "cache"
"""The backend of answers that no variant gave."""

NUSD_PER_USD = 1e9

_NOTE_PARTS = Several.of("INSERT OR IGNORE INTO row_experiments (id, experiment, variant)", 3)


def note_rows(connection: sqlite3.Connection, rows: Iterable[tuple[int, LedgerRow]]) -> None:
    """Add rows that took part in experiments, each with its day, to the figures; within a transaction. Each only once."""
    found: dict[tuple[str, int, str], list[LedgerRow]] = {}
    for day, row in rows:
        found.setdefault((row.experiment, day, row.variant), []).append(row)
    for key, taking_part in found.items():
        _NOTE_PARTS.store(connection, [(row.id, key[0], key[2]) for row in taking_part])
        counted = [row for row in taking_part if row.operation not in UNCOUNTED and row.backend != CACHE]
        if not counted:
            continue
        outcome = outcome_of(counted)
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


def outcome_of(rows: Sequence[LedgerRow]) -> Outcome:
    """The figures of one variant's rows, measure by measure: adding up row by row took the writer three times as long."""
    whole = [row for row in rows if not row.error_type]
    client_gone = sum(row.error_type == "client_gone" for row in rows) if len(whole) < len(rows) else 0
    latencies_ms = [row.duration_ms for row in whole]
    ttfts_ms = [row.ttft_ms for row in whole if row.ttft_ms is not None]
    return Outcome(
        requests=len(rows),
        errors=len(rows) - len(whole) - client_gone,
        client_gone=client_gone,
        fallbacks=sum(_fell_back(row.attempts) for row in rows if row.attempts),
        estimated_requests=[row.usage_source for row in rows].count("estimated"),
        measures={
            "latency_ms": Tally.of(latencies_ms),
            "ttft_ms": Tally.of(ttfts_ms),
            "input_tokens": Tally.of([row.input_tokens for row in whole]),
            "output_tokens": Tally.of([row.output_tokens for row in whole]),
            "cost_usd": Tally.of([row.cost_nusd / NUSD_PER_USD for row in rows]),
        },
        spreads={"latency_ms": Spread.of(latencies_ms), "ttft_ms": Spread.of(ttfts_ms)},
    )


def _fell_back(attempts: str) -> bool:
    return len({(backend, model) for backend, model, *_ in orjson.loads(attempts)}) > 1
