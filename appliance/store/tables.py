"""Writing rows: a batch of them, their daily sums and what they cost each budget, in one transaction.

The rule: a row counts once. A batch may come again (after a kill, or when nobody knows whether a commit came through); rows whose id is
there already are left out before anything is added up.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice

import attrs

from appliance.store.experiment_days import forget_before, note_rows
from appliance.store.names import Names
from appliance.store.row import LedgerRow
from appliance.store.schema import ROWS_COLUMNS, ROWS_NAME, create_rows, rows_table

DAY_S = 86_400
DAY_MAX = 2_932_896  # 9999-12-31
PERIOD_MAX_S = 32 * DAY_S
"""The longest period of a budget that has an end."""

SHIFT_MIN_S = 1.0
"""A row whose time and id disagree by less has the time of its id."""

IDS_AT_ONCE = 500
"""Parameters of one query; SQLite of before 2020 takes 999."""

DAILY_SUMS = (
    "requests", "errors", "estimated_requests", "input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens",
    "reasoning_tokens", "cost_nusd",
)  # fmt: skip

SUM_MAX = 2**63 - 1
"""Where sums stop, SQLite's largest whole number: a backend may claim any number of tokens, again and again."""


def _added(name: str) -> str:
    return f"{name} = min({name} + excluded.{name}, {SUM_MAX})"


_INSERT_ROW = f"({', '.join(ROWS_COLUMNS)}) VALUES ({', '.join('?' * len(ROWS_COLUMNS))})"
_ADD_DAILY = (
    f"INSERT INTO daily (day, tenant, key, route, backend, model, {', '.join(DAILY_SUMS)})"
    f" VALUES ({', '.join('?' * (6 + len(DAILY_SUMS)))})"
    f" ON CONFLICT DO UPDATE SET {', '.join(map(_added, DAILY_SUMS))}"
)
_ADD_SPENT = f"INSERT INTO spend VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET {_added('spent_nusd')}"

ID_MAX = 2**63 - 1
"""SQLite's."""

SHAPES_MAX = 4_096
"""Combinations of texts whose numbers are kept; past it all are forgotten and looked up anew."""

SHAPED = ("tenant", "key", "route", "backend", "model", "dialect", "operation", "usage_source")
"""The texts of a row that are numbers in the file; its error type comes last, where it has one."""

DailyKey = tuple[int, int, int, int, int, int]
Shape = tuple[str, str, str, str, str, str, str, str, str]
Numbers = tuple[tuple[int, int, int, int, int], tuple[int, int, int, int | None]]


@attrs.define(eq=False)
class Tables:
    """The ledger's tables on one connection, which is in autocommit mode."""

    connection: sqlite3.Connection
    names: Names
    _months: dict[int, str] = attrs.field(factory=dict)
    _made: set[str] = attrs.field(factory=set)
    _shapes: dict[Shape, Numbers] = attrs.field(factory=dict)

    def add(self, rows: Sequence[LedgerRow]) -> int:
        """Add what is not there yet. How many rows that were. Raises sqlite3.Error: nothing was added then, or everything."""
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            added = self._add(rows)
            connection.execute("COMMIT")
        except BaseException:
            self.names.forget()
            self._made.clear()
            self._shapes.clear()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self.names.keep()
        return added

    def _add(self, rows: Sequence[LedgerRow]) -> int:
        by_table: dict[str, dict[int, LedgerRow]] = {}
        for row in rows:
            by_table.setdefault(self._table(row), {})[row.id] = row
        added = 0
        daily: dict[DailyKey, list[int]] = {}
        spent: dict[tuple[str, int], int] = {}
        for table, wanted in by_table.items():
            self._ensure(table)
            for known in self._known(table, wanted):
                del wanted[known]
            written = [self._values(row, daily) for row in wanted.values()]
            self.connection.executemany(f"INSERT INTO {table} {_INSERT_ROW}", written)
            added += len(written)
            for row in wanted.values():
                for scope, period_start, nusd in row.spent:
                    spent[scope, period_start] = spent.get((scope, period_start), 0) + nusd
            note_rows(self.connection, [(_day(row.started), row) for row in wanted.values() if row.experiment])
        self.connection.executemany(_ADD_DAILY, ((*key, *(min(one, SUM_MAX) for one in sums)) for key, sums in daily.items()))
        self.connection.executemany(_ADD_SPENT, ((*key, min(nusd, SUM_MAX)) for key, nusd in spent.items()))
        return added

    def _values(self, row: LedgerRow, daily: dict[DailyKey, list[int]]) -> tuple[object, ...]:
        """The row as it is stored; it is added to its day's sums on the way."""
        (
            ident, started, request_id, tenant, key, user, route, backend, model, dialect, operation, stream, status, error_type, source,
            *counts, cost_nusd, duration_ms, ttft_ms, attempts, _, _, _,
        ) = row  # fmt: skip
        shape = (tenant, key, route, backend, model, dialect, operation, source, error_type)
        numbers = self._shapes.get(shape) or self._numbers(shape)
        holders, kinds = numbers
        asked, answered, cached, written, thought, *_ = counts
        sums = daily.setdefault((_day(started), *holders), [0] * len(DAILY_SUMS))
        sums[0] += 1
        sums[1] += row.failed
        sums[2] += source == "estimated"
        sums[3] += asked
        sums[4] += answered
        sums[5] += cached
        sums[6] += written
        sums[7] += thought
        sums[8] += cost_nusd
        shift_s = started - ident / 1e6
        return (
            ident, *holders, *kinds[:2], stream, status, kinds[3], kinds[2], *counts, cost_nusd, duration_ms, ttft_ms,
            round(shift_s * 1000) if abs(shift_s) >= SHIFT_MIN_S else None, request_id or None, user or None, attempts or None,
        )  # fmt: skip

    def _numbers(self, shape: Shape) -> Numbers:
        """The numbers of a shape's texts. Kept, since rows come in few shapes: it takes one look-up instead of nine."""
        if len(self._shapes) >= SHAPES_MAX:
            self._shapes.clear()
        *texts, error_type = shape
        found = [self._number(kind, text) for kind, text in zip(SHAPED, texts, strict=True)]
        numbers = self._shapes[shape] = (
            (found[0], found[1], found[2], found[3], found[4]),
            (found[5], found[6], found[7], self._number("error_type", error_type) if error_type else None),
        )
        return numbers

    def _number(self, kind: str, text: str) -> int:
        return self.names.number(self.connection, kind, text)

    def _table(self, row: LedgerRow) -> str:
        day = _day(row.started)
        table = self._months.get(day)
        if table is None:
            if len(self._months) > 64:
                self._months.clear()
            moment = datetime.fromtimestamp(day * DAY_S, UTC)
            table = self._months[day] = rows_table(moment.year, moment.month)
        return table

    def _ensure(self, table: str) -> None:
        if table not in self._made:
            self.connection.execute(create_rows(table))
            self._made.add(table)

    def _known(self, table: str, ids: Iterable[int]) -> list[int]:
        found: list[int] = []
        left = iter(tuple(ids))
        while some := tuple(islice(left, IDS_AT_ONCE)):
            query = f"SELECT id FROM {table} WHERE id IN ({', '.join('?' * len(some))})"
            found += (number for (number,) in self.connection.execute(query, some))
        return found

    def drop_before(self, moment: float) -> list[str]:
        """Forget single rows of whole months that ended before `moment` (seconds since the epoch); daily sums stay. Their pages are used
        again for new rows. The names of the tables that went."""
        at = datetime.fromtimestamp(moment, UTC)
        gone = [table for table in rows_tables(self.connection) if table < rows_table(at.year, at.month)]
        for table in gone:
            self.connection.execute(f"DROP TABLE {table}")
            self._made.discard(table)
        month = datetime(at.year, at.month, 1, tzinfo=UTC).timestamp()
        forget_before(self.connection, _day(month), int(month * 1e6))
        for table in ("spend", "budget_warnings"):  # a total starts at 0, and stays
            self.connection.execute(f"DELETE FROM {table} WHERE period_start > 0 AND period_start < ?", (int(moment) - PERIOD_MAX_S,))
        return gone

    def last_id(self, below: int = ID_MAX) -> int:
        """The largest ledger id there is, of those below a bound; 0 where there is none."""
        largest = 0
        for table in rows_tables(self.connection):
            (found,) = self.connection.execute(f"SELECT max(id) FROM {table} WHERE id < ?", (below,)).fetchone()
            largest = max(largest, found or 0)
        return largest

    def spent(self, scope: str, period_start: int) -> int:
        """Nano-USD; 0 for what has no row yet."""
        query = "SELECT spent_nusd FROM spend WHERE scope = ? AND period_start = ?"
        row = self.connection.execute(query, (scope, period_start)).fetchone()
        return int(row[0]) if row is not None else 0


def rows_tables(connection: sqlite3.Connection) -> list[str]:
    """The months there are, the oldest first."""
    return sorted(_rows_named(name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")))


def _rows_named(names: Iterable[str]) -> Iterator[str]:
    return (name for name in names if ROWS_NAME.fullmatch(name))


def _day(started: float) -> int:
    return max(0, min(DAY_MAX, int(started // DAY_S)))
