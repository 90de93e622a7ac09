"""What budgets have spent, and which warnings were given, as a gateway finds it at its start and after a change of budgets.

The rule: the sums in `spend` are whole only for budgets that were in force all the time, which `budgets` says; for one that is new, or has
another period or time zone, what its period has cost so far is added up from the rows. All in one transaction, so that no row counts twice.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import attrs

from appliance.store.database import open_database
from appliance.store.fault import StoreFault, fault_of
from appliance.store.schema import rows_table
from appliance.store.tables import DAY_S, IDS_AT_ONCE, rows_tables

LOCK_WAIT_S = 2.0
"""How long another program may hold the database before that counts as a failure, which is tried again."""


@attrs.frozen
class Asked:
    """A budget whose figures are wanted.

    Attributes:
        tenant, key: whose rows count; key is empty for all of a tenant's.
        kind, zone: of its period, as texts; start: of the one that runs, seconds since the epoch, 0 for a total.
    """

    scope: str
    tenant: str
    key: str
    kind: str
    zone: str
    start: int
    ceiling_nusd: int


@attrs.frozen
class GivenWarning:
    """One that was given. delivered: the webhook has it, or there was none."""

    scope: str
    period_start: int
    percent: int
    ceiling_nusd: int
    spent_nusd: int
    delivered: bool = False


@attrs.frozen
class Spending:
    """What the database knows.

    Attributes:
        spent: nano-USD by scope. warnings: those of the running periods and ceilings.
        counted: of the ledger ids that were asked about, those whose cost is in `spent`.
    """

    spent: dict[str, int]
    warnings: tuple[GivenWarning, ...]
    counted: frozenset[int]


def look_up(path: Path, asked: Sequence[Asked], in_force: Collection[str], ids: Callable[[], Iterable[int]]) -> Spending | StoreFault:
    """Figures of some budgets; all others but those `in_force` (scopes, `asked` among them) are forgotten as budgets.

    Args:
        ids: ledger ids whose rows may be on their way; called within the transaction.
    """
    connection = open_database(path, busy_s=LOCK_WAIT_S)
    if isinstance(connection, StoreFault):
        return connection
    with closing(connection):
        try:
            connection.execute("BEGIN IMMEDIATE")
            found = _looked_up(connection, asked, in_force, ids)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            return fault_of(error, str(path))
    return found


def note_warning(path: Path, warning: GivenWarning, at: float) -> StoreFault | None:
    """Write down that it was given, or now is delivered."""
    connection = open_database(path, busy_s=LOCK_WAIT_S)
    if isinstance(connection, StoreFault):
        return connection
    with closing(connection):
        try:
            connection.execute(
                "INSERT INTO budget_warnings (scope, period_start, percent, ceiling_nusd, spent_nusd, at, delivered_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET delivered_at = coalesce(delivered_at, excluded.delivered_at)",
                (
                    warning.scope, warning.period_start, warning.percent, warning.ceiling_nusd, warning.spent_nusd, int(at),
                    int(at) if warning.delivered else None,
                ),
            )  # fmt: skip
        except sqlite3.Error as error:
            return fault_of(error, str(path))
    return None


def _looked_up(
    connection: sqlite3.Connection, asked: Sequence[Asked], in_force: Collection[str], ids: Callable[[], Iterable[int]]
) -> Spending:
    known = {scope: (kind, zone) for scope, kind, zone in connection.execute("SELECT scope, period, timezone FROM budgets")}
    connection.executemany("DELETE FROM budgets WHERE scope = ?", [(scope,) for scope in known if scope not in in_force])
    spent: dict[str, int] = {}
    sums: dict[int, dict[tuple[str, str], int]] = {}
    for one in asked:
        if known.get(one.scope) == (one.kind, one.zone):
            spent[one.scope] = _kept(connection, one)
            continue
        if one.start not in sums:
            sums[one.start] = _sums_since(connection, one.start)
        cost = spent[one.scope] = sums[one.start].get((one.tenant, one.key), 0)
        connection.execute("REPLACE INTO spend (scope, period_start, spent_nusd) VALUES (?, ?, ?)", (one.scope, one.start, cost))
        connection.execute("REPLACE INTO budgets (scope, period, timezone) VALUES (?, ?, ?)", (one.scope, one.kind, one.zone))
    warnings = tuple(warning for one in asked for warning in _warnings(connection, one))
    return Spending(spent, warnings, frozenset(_counted(connection, tuple(ids()))))


def _kept(connection: sqlite3.Connection, one: Asked) -> int:
    row = connection.execute("SELECT spent_nusd FROM spend WHERE scope = ? AND period_start = ?", (one.scope, one.start)).fetchone()
    return int(row[0]) if row is not None else 0


def _sums_since(connection: sqlite3.Connection, start: int) -> dict[tuple[str, str], int]:
    """Nano-USD by tenant and key, and by tenant alone (with an empty key): from the sums of whole days (UTC), and of the rows from `start`
    to the first of those."""
    first_day = -(-start // DAY_S)
    found: dict[tuple[str, str], int] = {}
    moment = datetime.fromtimestamp(start, UTC)
    table = rows_table(moment.year, moment.month)
    queries: list[tuple[str, tuple[int, ...]]] = [("daily WHERE day >= ?", (first_day,))]
    if first_day * DAY_S != start and table in rows_tables(connection):
        queries.append((f"{table} WHERE id >= ? AND id < ?", (start * 1_000_000, first_day * DAY_S * 1_000_000)))
    for source, given in queries:
        summed = f"SELECT tenant, key, sum(cost_nusd) AS nusd FROM {source} GROUP BY tenant, key"
        named = f"SELECT t.text, k.text, nusd FROM ({summed}) JOIN names t ON t.id = tenant JOIN names k ON k.id = key"
        for tenant, key, nusd in connection.execute(named, given):
            for holder in ((tenant, key), (tenant, "")):
                found[holder] = found.get(holder, 0) + nusd
    return found


def _warnings(connection: sqlite3.Connection, one: Asked) -> Iterable[GivenWarning]:
    """Those of another ceiling count for nothing: a raised one is warned of anew."""
    query = (
        "SELECT percent, spent_nusd, delivered_at FROM budget_warnings WHERE scope = ? AND period_start = ? AND ceiling_nusd = ?"
        " ORDER BY percent"
    )
    for percent, spent, delivered in connection.execute(query, (one.scope, one.start, one.ceiling_nusd)):
        yield GivenWarning(one.scope, one.start, percent, one.ceiling_nusd, spent, delivered is not None)


def _counted(connection: sqlite3.Connection, ids: Sequence[int]) -> Iterable[int]:
    left = iter(ids)
    tables = rows_tables(connection)
    while some := tuple(islice(left, IDS_AT_ONCE)):
        for table in tables:
            query = f"SELECT id FROM {table} WHERE id IN ({', '.join('?' * len(some))})"
            yield from (number for (number,) in connection.execute(query, some))
