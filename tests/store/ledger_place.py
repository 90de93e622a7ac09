"""A ledger on a path, and the death of its process without the process."""

import os
import sqlite3
from pathlib import Path
from typing import Any

from store.ledger_rows import MARCH

from appliance.config.schema import Store
from appliance.store.embedded import EmbeddedLedger
from appliance.store.fault import StoreFault
from appliance.store.tables import rows_tables

SEGMENT_BYTES = 65_536


class Said(list[tuple[str, str, dict[str, Any]]]):
    def __call__(self, level: str, event: str, **fields: Any) -> None:
        self.append((level, event, fields))

    def events(self) -> list[str]:
        return [event for _, event, _ in self]


class Clock:
    now = MARCH

    def __call__(self) -> float:
        return self.now


def ledger_at(path: Path, clock: Clock | None = None, **settings: Any) -> EmbeddedLedger:
    fields = {"journal_segment_bytes": SEGMENT_BYTES, "journal_segments_max": 3, **settings}
    ticking = clock or Clock()
    return EmbeddedLedger(Store(path=str(path), **fields), ticking, Said(), ticking)


def started(path: Path, clock: Clock | None = None, **settings: Any) -> EmbeddedLedger:
    ledger = ledger_at(path, clock, **settings)
    fault = ledger.start()
    assert fault is None, fault
    return ledger


def refused(path: Path, **settings: Any) -> StoreFault:
    fault = ledger_at(path, **settings).start()
    assert fault is not None
    return fault


def kill(ledger: EmbeddedLedger) -> None:
    """Close what the kernel closes when a process dies; nothing else is done."""
    journal = ledger.journal
    for segment in (*journal.segments(), *([journal.spare] if journal.spare is not None else [])):
        segment.close()
    ledger.writer.detach()
    os.close(ledger._lock_fd)


def stored(path: Path, *columns: str) -> list[tuple[Any, ...]]:
    """Of every row, by id; texts instead of their numbers."""
    named = {"tenant", "model", "error_type", "usage_source", "backend"}
    shown = ", ".join(f"(SELECT text FROM names WHERE names.id = r.{name})" if name in named else name for name in columns)
    connection = sqlite3.connect(path)
    try:
        query = " UNION ALL ".join(f"SELECT id AS at, {shown} FROM {table} AS r" for table in rows_tables(connection))
        return [row[1:] for row in connection.execute(f"{query} ORDER BY at")] if query else []
    finally:
        connection.close()


def spent(path: Path, scope: str) -> int:
    connection = sqlite3.connect(path)
    try:
        return sum(value for (value,) in connection.execute("SELECT spent_nusd FROM spend WHERE scope = ?", (scope,)))
    finally:
        connection.close()
