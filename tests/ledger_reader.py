"""The usage ledger as anybody reads it: with SQLite, beside the gateway that writes it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from rig import Gateway, eventually

NAMED = ("tenant", "key", "route", "backend", "model", "dialect", "operation", "error_type", "usage_source")
COMMIT_S = 60.0
"""How long a row is waited for: some answers are read to their end before they have one."""


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def store_of(gateway: Gateway) -> Path:
    return gateway.config_path.with_suffix(".db")


def ledger_rows(path: Path, request_id: str | None = None) -> list[dict[str, Any]]:
    """All rows, or those of one request, the oldest first, with texts for their numbers."""
    with reading(path) as connection:
        names = dict(tuple(row) for row in connection.execute("SELECT id, text FROM names"))
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE name LIKE 'rows_%' ORDER BY name")]
        found = []
        for table in tables:
            where, given = ("WHERE request_id = ?", (request_id,)) if request_id is not None else ("", ())
            found += [dict(row) for row in connection.execute(f"SELECT * FROM {table} {where} ORDER BY id", given)]
    for row in found:
        row.update((name, names.get(row[name], "")) for name in NAMED)
    return found


def ledger_row(gateway: Gateway, request_id: str) -> dict[str, Any]:
    """The one row of a request, once it is committed."""
    rows = eventually(lambda: ledger_rows(store_of(gateway), request_id), COMMIT_S)
    assert len(rows) == 1, rows
    return dict(rows[0])
