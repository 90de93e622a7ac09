"""What budgets have spent, looked up: kept sums, sums over rows, and rows that are on their way."""

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import attrs
import pytest

from appliance.store.database import open_database
from appliance.store.fault import StoreFault
from appliance.store.names import Names
from appliance.store.row import LedgerRow, Spent
from appliance.store.spending import Asked, GivenWarning, Spending, look_up, note_warning
from appliance.store.tables import Tables

SCOPE = "tenant:acme"
_NUMBERS = count()


def second(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def row(moment: str, nusd: int, tenant: str = "acme", key: str = "ci", spent: tuple[Spent, ...] = ()) -> LedgerRow:
    started = datetime.fromisoformat(moment).timestamp()
    return LedgerRow(
        int(started * 1e6) + next(_NUMBERS), started, "", tenant, key, "", "r", "b", "m", "openai_chat", "chat", False, 200, "", "provider",
        cost_nusd=nusd, spent=spent,
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "one.db"


def add(path: Path, *rows: LedgerRow) -> None:
    connection = open_database(path)
    assert not isinstance(connection, StoreFault)
    Tables(connection, Names(100)).add(rows)
    connection.close()


def asked(start: int, kind: str = "month", zone: str = "UTC", scope: str = SCOPE, key: str = "", ceiling: int = 1000) -> Asked:
    return Asked(scope, "acme", key, kind, zone, start, ceiling)


def found(path: Path, *wanted: Asked, ids: Iterable[int] = ()) -> Spending:
    spending = look_up(path, wanted, {one.scope for one in wanted}, lambda: ids)
    assert isinstance(spending, Spending), spending
    return spending


def test_a_new_budget_counts_the_rows_of_its_period_alone_from_its_own_midnight(path: Path) -> None:
    add(
        path, row("2026-06-30T21:59:59Z", 1), row("2026-06-30T22:00:00Z", 20), row("2026-07-01T00:00:00Z", 300),
        row("2026-07-20T10:00:00Z", 4_000), row("2026-07-20T10:00:00Z", 50_000, key="other"), row("2026-07-20T10:00:00Z", 600_000, "rival"),
    )  # fmt: skip
    berlin = second("2026-07-01T00:00:00+02:00")
    key = asked(berlin, scope="key:acme/ci", key="ci", zone="Europe/Berlin")
    spent = found(path, asked(berlin, zone="Europe/Berlin"), key).spent
    assert spent == {SCOPE: 54_320, "key:acme/ci": 4_320}
    assert found(path, asked(0, "total")).spent == {SCOPE: 54_321}


def test_the_kept_sum_holds_while_the_budget_stays_and_not_after_it_was_another_or_away(path: Path) -> None:
    july = second("2026-07-01T00:00:00Z")
    add(path, row("2026-07-02T00:00:00Z", 5))
    assert found(path, asked(july)).spent == {SCOPE: 5}
    add(path, row("2026-07-03T00:00:00Z", 60, spent=(Spent(SCOPE, july, 60),)), row("2026-07-03T00:00:01Z", 700))  # counted for nobody
    assert found(path, asked(july)).spent == {SCOPE: 65}
    day = second("2026-07-03T00:00:00Z")
    assert found(path, asked(day, "day")).spent == {SCOPE: 760}
    assert found(path, asked(july)).spent == {SCOPE: 765}
    assert found(path).spent == {}
    add(path, row("2026-07-04T00:00:00Z", 8_000))
    assert found(path, asked(july)).spent == {SCOPE: 8_765}
    assert found(path, asked(second("2026-08-01T00:00:00Z"))).spent == {SCOPE: 0}


def test_rows_that_are_on_their_way_are_told_apart_from_those_that_are_counted(path: Path) -> None:
    here = row("2026-07-02T00:00:00Z", 5)
    add(path, here)
    assert found(path, asked(0, "total"), ids=[here.id, here.id + 1]).counted == {here.id}


def test_warnings_are_kept_by_period_and_ceiling_and_stay_delivered(path: Path) -> None:
    july = second("2026-07-01T00:00:00Z")
    found(path, asked(july))
    given = GivenWarning(SCOPE, july, 80, 1000, 801)
    assert note_warning(path, given, 1.0) is None
    assert note_warning(path, GivenWarning(SCOPE, july, 95, 1000, 951, delivered=True), 1.0) is None
    assert [(one.percent, one.delivered) for one in found(path, asked(july)).warnings] == [(80, False), (95, True)]
    assert note_warning(path, attrs.evolve(given, delivered=True), 2.0) is None
    assert note_warning(path, given, 3.0) is None
    assert [(one.percent, one.delivered) for one in found(path, asked(july)).warnings] == [(80, True), (95, True)]
    assert found(path, asked(july, ceiling=2000)).warnings == ()
    assert found(path, asked(july + 1)).warnings == ()


def test_sums_and_warnings_of_periods_long_over_are_forgotten_and_totals_are_not(path: Path) -> None:
    old, total = second("2025-01-01T00:00:00Z"), 0
    add(path, row("2025-01-02T00:00:00Z", 5, spent=(Spent(SCOPE, old, 5), Spent("key:acme/ci", total, 5))))
    note_warning(path, GivenWarning(SCOPE, old, 50, 10, 5), 1.0)
    connection = open_database(path)
    assert not isinstance(connection, StoreFault)
    tables = Tables(connection, Names(100))
    tables.drop_before(datetime(2026, 7, 1, tzinfo=UTC).timestamp())
    assert (tables.spent(SCOPE, old), tables.spent("key:acme/ci", total)) == (0, 5)
    assert connection.execute("SELECT count(*) FROM budget_warnings").fetchone() == (0,)
    connection.close()


def test_a_store_that_cannot_be_read_is_a_fault_not_a_zero(path: Path) -> None:
    path.write_bytes(b"no database" * 100)
    assert isinstance(look_up(path, [asked(0)], {SCOPE}, list), StoreFault)
    assert isinstance(note_warning(path, GivenWarning(SCOPE, 0, 50, 10, 5), 1.0), StoreFault)
