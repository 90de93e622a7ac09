"""Writing rows: a batch of them, their daily sums and what they cost each budget, in one transaction.

The rule: a row counts once. A batch may come again (after a kill, or when nobody knows whether a commit came through), and its ids are the
primary key: a batch of which a row is there already, or that holds a row twice, is refused by SQLite as a whole, sums and all. Only then
what is there is looked up and left out, and the rest added; nearly every batch is new, and pays nothing for those that are not.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice

import attrs

from appliance.store.experiment_days import forget_before, note_rows
from appliance.store.names import Names
from appliance.store.row import LedgerRow, has_failed
from appliance.store.schema import ROWS_COLUMNS, ROWS_NAME, create_rows, rows_table
from appliance.store.several import Several

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


_ADD_DAILY = Several.of(
    f"INSERT INTO daily (day, tenant, key, route, backend, model, {', '.join(DAILY_SUMS)})",
    6 + len(DAILY_SUMS),
    f" ON CONFLICT DO UPDATE SET {', '.join(map(_added, DAILY_SUMS))}",
)
_ADD_SPENT = Several.of("INSERT INTO spend", 3, f" ON CONFLICT DO UPDATE SET {_added('spent_nusd')}")

ID_MAX = 2**63 - 1
"""SQLite's."""

SHAPES_MAX = 4_096
"""Combinations of texts whose numbers are kept; past it all are forgotten and looked up anew."""

SHAPED = ("tenant", "key", "route", "backend", "model", "dialect", "operation", "usage_source")
"""The texts of a row that are numbers in the file; its error type comes last, where it has one."""

Shape = tuple[float, str, str, str, str, str, str, str, str, str]
"""A row's day, SHAPED, and its error type."""

Stored = tuple[object, ...]
"""A row as its table has it."""


@attrs.define(eq=False)
class Kind:
    """Rows of one shape: where they go, as what, and what those of the running batch add to their day.

    Attributes:
        table: of their month.
        holders: the numbers of tenant, key, route, backend and model, by which days add up.
        failed, estimated: whether each counts as such.
        requests to cost_nusd: of the running batch; nothing outside one.
    """

    table: str
    day: int
    holders: tuple[int, ...]
    dialect: int
    operation: int
    source: int
    error_type: int | None
    failed: bool
    estimated: bool
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nusd: int = 0

    def taken(self) -> tuple[int, ...]:
        """What is to be added, by _ADD_DAILY; it counts from nothing again."""
        requests = self.requests
        sums = (
            requests, requests if self.failed else 0, requests if self.estimated else 0, self.input_tokens, self.output_tokens,
            self.cached_input_tokens, self.cache_write_tokens, self.reasoning_tokens, self.cost_nusd,
        )  # fmt: skip
        self.requests = self.input_tokens = self.output_tokens = self.cost_nusd = 0
        self.cached_input_tokens = self.cache_write_tokens = self.reasoning_tokens = 0
        return (self.day, *self.holders, *(sums if max(sums) <= SUM_MAX else [min(one, SUM_MAX) for one in sums]))


@attrs.define(eq=False)
class Tables:
    """The ledger's tables on one connection, which is in autocommit mode."""

    connection: sqlite3.Connection
    names: Names
    _made: dict[str, Several] = attrs.field(factory=dict)
    _kinds: dict[Shape, Kind] = attrs.field(factory=dict)

    def add(self, rows: Sequence[LedgerRow]) -> int:
        """Add what is not there yet. How many rows that were. Raises sqlite3.Error: nothing was added then, or everything."""
        try:
            return self._committed(rows)
        except sqlite3.IntegrityError:
            return self._committed(rows, some_known=True)

    def _committed(self, rows: Sequence[LedgerRow], *, some_known: bool = False) -> int:
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            wanted = self._unknown(rows) if some_known else rows
            self._add(wanted)
            connection.execute("COMMIT")
        except BaseException:
            self.names.forget()
            self._made.clear()
            self._kinds.clear()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self.names.keep()
        return len(wanted)

    def _unknown(self, rows: Sequence[LedgerRow]) -> list[LedgerRow]:
        """Those that are not there yet, each once: within a batch the last of one id."""
        by_table: dict[str, dict[int, LedgerRow]] = {}
        for row in rows:
            by_table.setdefault(_table(_day(row.started)), {})[row.id] = row
        for table, wanted in by_table.items():
            self._at(table)
            for known in self._known(table, wanted):
                del wanted[known]
        return [row for wanted in by_table.values() for row in wanted.values()]

    def _add(self, rows: Sequence[LedgerRow]) -> None:
        """In one pass, which a row's price is nearly all of."""
        stored: dict[str, list[Stored]] = {}
        kinds: list[Kind] = []
        spent: dict[tuple[str, int], int] = {}
        tried: list[tuple[int, LedgerRow]] = []
        for row in rows:
            (
                ident, started, request_id, tenant, key, user, route, backend, model, dialect, operation, stream, status, error_type,
                source, asked, answered, cached, written, thought, heard, spoken, searches, cost_nusd, duration_ms, ttft_ms, attempts,
                spends, experiment, _,
            ) = row  # fmt: skip
            shape = (started // DAY_S, tenant, key, route, backend, model, dialect, operation, source, error_type)
            kind = self._kinds.get(shape) or self._kind(shape)
            if not kind.requests:
                kinds.append(kind)
            kind.requests += 1
            kind.input_tokens += asked
            kind.output_tokens += answered
            kind.cost_nusd += cost_nusd
            if cached or written or thought:
                kind.cached_input_tokens += cached
                kind.cache_write_tokens += written
                kind.reasoning_tokens += thought
            shift_s = started - ident / 1e6
            values = (
                ident, *kind.holders, kind.dialect, kind.operation, stream, status, kind.error_type, kind.source, asked, answered, cached,
                written, thought, heard, spoken, searches, cost_nusd, duration_ms, ttft_ms,
                None if -SHIFT_MIN_S < shift_s < SHIFT_MIN_S else round(shift_s * 1000), request_id or None, user or None, attempts or None,
            )  # fmt: skip
            table = kind.table
            if table in stored:
                stored[table].append(values)
            else:
                stored[table] = [values]
            for scope, period_start, nusd in spends:
                place = (scope, period_start)
                spent[place] = spent.get(place, 0) + nusd
            if experiment:
                tried.append((kind.day, row))
        for table, several in stored.items():
            self._at(table).store(self.connection, several)
        note_rows(self.connection, tried)
        _ADD_DAILY.store(self.connection, [kind.taken() for kind in kinds])
        _ADD_SPENT.store(self.connection, [(*place, min(nusd, SUM_MAX)) for place, nusd in spent.items()])

    def _kind(self, shape: Shape) -> Kind:
        """Kept, since rows come in few shapes: it takes one look-up instead of nine."""
        if len(self._kinds) >= SHAPES_MAX:
            self._kinds.clear()
        days, *texts, error_type = shape
        *holders, dialect, operation, source = [self._number(name, text) for name, text in zip(SHAPED, texts, strict=True)]
        day = _within(days)
        kind = self._kinds[shape] = Kind(
            _table(day), day, tuple(holders), dialect, operation, source, self._number("error_type", error_type) if error_type else None,
            has_failed(error_type), texts[-1] == "estimated",
        )  # fmt: skip
        return kind

    def _number(self, kind: str, text: str) -> int:
        return self.names.number(self.connection, kind, text)

    def _at(self, table: str) -> Several:
        """How rows go into a table, which is made where it is not there."""
        insert = self._made.get(table)
        if insert is None:
            self.connection.execute(create_rows(table))
            insert = self._made[table] = Several.of(f"INSERT INTO {table} ({', '.join(ROWS_COLUMNS)})", len(ROWS_COLUMNS))
        return insert

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
            self._made.pop(table, None)
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


def _table(day: int) -> str:
    moment = datetime.fromtimestamp(day * DAY_S, UTC)
    return rows_table(moment.year, moment.month)


def _day(started: float) -> int:
    return _within(started // DAY_S)


def _within(day: float) -> int:
    return max(0, min(DAY_MAX, int(day)))
