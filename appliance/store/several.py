"""Storing many rows by few statements.

For each statement that SQLite runs the interpreter lets another thread go on, and whoever stores waits for its turn again. A statement of
one row costs the gateway more by that than by what it does.
"""

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Final

import attrs

ROWS_AT_ONCE: Final = 16
"""Of one statement; twice as many would spare little. SQLite of before 2020 takes 999 parameters, and a row of the ledger has 27."""


@attrs.frozen
class Several:
    """An INSERT, as one row needs it and as ROWS_AT_ONCE do: two texts that stay the same, so that they stay prepared."""

    one: str
    many: str

    @classmethod
    def of(cls, insert: str, columns: int, end: str = "") -> "Several":
        """insert: up to VALUES. end: what follows those."""
        row = f"({', '.join('?' * columns)})"
        return cls(f"{insert} VALUES {row}{end}", f"{insert} VALUES {', '.join([row] * ROWS_AT_ONCE)}{end}")

    def store(self, connection: sqlite3.Connection, rows: Sequence[Sequence[object]]) -> None:
        """In the order given. Raises sqlite3.Error; some may be stored then."""
        whole = len(rows) - len(rows) % ROWS_AT_ONCE
        if whole:
            groups = [tuple(chain.from_iterable(rows[begin : begin + ROWS_AT_ONCE])) for begin in range(0, whole, ROWS_AT_ONCE)]
            connection.executemany(self.many, groups)
        if whole < len(rows):
            connection.executemany(self.one, rows[whole:])
