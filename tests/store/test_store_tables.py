"""Rows, daily sums and spend: written together, each row once, and old months dropped whole."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store.ledger_rows import MARCH, row

from appliance.store.database import open_database
from appliance.store.names import OTHER, Names
from appliance.store.row import Spent
from appliance.store.tables import DAY_S, SUM_MAX, Tables, rows_tables


def tables_at(path: Path, names_max: int = 100) -> Tables:
    connection = open_database(path)
    assert isinstance(connection, sqlite3.Connection)
    return Tables(connection, Names(names_max))


@pytest.fixture
def tables(tmp_path) -> Iterator[Tables]:
    one = tables_at(tmp_path / "one.db")
    yield one
    one.connection.close()


def all_rows(tables: Tables) -> list[tuple[object, ...]]:
    query = " UNION ALL ".join(f"SELECT id, input_tokens, cost_nusd FROM {name}" for name in rows_tables(tables.connection))
    return sorted(tables.connection.execute(query)) if query else []


def daily(tables: Tables, *columns: str) -> list[tuple[object, ...]]:
    shown = [f"(SELECT text FROM names WHERE id = {name})" if name in ("tenant", "model", "backend") else name for name in columns]
    return sorted(tables.connection.execute(f"SELECT {', '.join(shown)} FROM daily"))


def test_a_row_comes_back_as_it_went_in(tables):
    given_row = row(
        3, user="u1", request_id="mine", error_type="upstream_timeout", status=504, usage_source="estimated", stream=True,
        cached_input_tokens=4, cache_write_tokens=5, reasoning_tokens=6, input_audio_tokens=7, output_audio_tokens=8, search_units=9,
        ttft_ms=120, attempts="[1]",
    )  # fmt: skip
    assert tables.add([given_row]) == 1
    found = tables.connection.execute("SELECT * FROM rows_2026_03")
    values = dict(zip([name for name, *_ in found.description], found.fetchone(), strict=True))
    for name in ("tenant", "key", "route", "backend", "model", "dialect", "operation", "error_type", "usage_source"):
        query = "SELECT text FROM names WHERE id = ? AND kind = ?"
        assert tables.connection.execute(query, (values.pop(name), name)).fetchone() == (getattr(given_row, name),)
    assert values.pop("shift_ms") is None
    assert values == {name: getattr(given_row, name) for name in values}


def test_a_row_that_comes_again_counts_once(tables):
    first, second = row(1, spent=(Spent("tenant:acme", 0, 5),)), row(2, spent=(Spent("tenant:acme", 0, 7), Spent("key:acme/ci", 9, 7)))
    assert tables.add([first, first, second]) == 2
    assert tables.add([first, second]) == 0
    assert tables.add([second, row(3)]) == 1
    assert daily(tables, "requests", "input_tokens", "cost_nusd") == [(3, 30, 4500)]
    assert (tables.spent("tenant:acme", 0), tables.spent("key:acme/ci", 9), tables.spent("key:acme/ci", 8)) == (12, 7, 0)


@settings(max_examples=30, deadline=None)
@given(batches=st.lists(st.lists(st.integers(1, 30), max_size=20), max_size=6))
def test_sums_are_of_the_rows_whatever_comes_twice(tmp_path_factory, batches):
    tables = tables_at(tmp_path_factory.mktemp("sums") / "one.db")
    for batch in batches:
        tables.add([
            row(number, MARCH + number * DAY_S / 3, tenant=f"t{number % 2}", input_tokens=number, spent=(Spent("x", 0, number),))
            for number in batch
        ])  # fmt: skip
    numbers = {number for batch in batches for number in batch}
    assert [tokens for _, tokens, _ in all_rows(tables)] == sorted(numbers)
    (sums,) = tables.connection.execute("SELECT coalesce(sum(requests), 0), coalesce(sum(input_tokens), 0) FROM daily")
    assert sums == (len(numbers), sum(numbers))
    assert tables.spent("x", 0) == sum(numbers)
    tables.connection.close()


def test_a_batch_that_fails_leaves_nothing_and_can_come_again(tables):
    broken = row(2, input_tokens="not a number", spent=(Spent("x", 0, 1),))
    with pytest.raises(TypeError):
        tables.add([row(1, tenant="new", spent=(Spent("x", 0, 1),)), broken])
    assert all_rows(tables) == []
    assert tables.add([row(1, tenant="new", spent=(Spent("x", 0, 1),))]) == 1
    assert daily(tables, "tenant", "requests") == [("new", 1)]
    assert tables.spent("x", 0) == 1


class Doubtful:
    """A connection of which nobody knows whether its first commit came through: it did, and then its disk failed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.failed = False

    def __getattr__(self, name: str) -> object:
        return getattr(self.connection, name)

    def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        cursor = self.connection.execute(statement, *values)
        if statement == "COMMIT" and not self.failed:
            self.failed = True
            raise sqlite3.OperationalError("disk I/O error")
        return cursor


def test_a_batch_whose_commit_nobody_knows_of_can_come_again_with_more(tables):
    batch = [row(number, tenant="new", spent=(Spent("x", 0, number),), experiment="trial", variant="control") for number in range(1, 51)]
    tables.connection = Doubtful(tables.connection)
    with pytest.raises(sqlite3.OperationalError):
        tables.add(batch)
    others = [row(number, tenant="newer", model="newest", spent=(Spent("x", 0, number),)) for number in range(51, 71)]
    assert tables.add([*others[:10], *batch, *others[10:], others[0]]) == 20
    assert [tokens for _, tokens, _ in all_rows(tables)] == [10] * 70
    assert daily(tables, "tenant", "model", "requests", "input_tokens") == [("new", "gpt-4o-mini", 50, 500), ("newer", "newest", 20, 200)]
    assert tables.spent("x", 0) == sum(range(1, 71))
    (figures,) = tables.connection.execute("SELECT figures FROM experiment_days").fetchone()
    assert orjson.loads(figures)["requests"] == 50
    assert tables.connection.execute("SELECT count(*) FROM row_experiments").fetchone() == (50,)


def test_what_a_refused_batch_took_for_a_name_is_forgotten_with_it(tables):
    tables.add([row(1)])
    assert tables.add([row(2, tenant="first"), row(3, tenant="second"), row(1)]) == 2
    tables.add([row(4, tenant="second"), row(5, tenant="first")])
    assert daily(tables, "tenant", "requests") == [("acme", 1), ("first", 2), ("second", 2)]


def test_a_batch_of_new_rows_takes_few_statements_and_looks_nothing_up(tables):
    tables.add([row(1)])
    said: list[str] = []
    tables.connection.set_trace_callback(said.append)
    tables.add([row(number) for number in range(2, 162)])
    tables.connection.set_trace_callback(None)
    kinds = [statement.split()[0] for statement in said]
    assert "SELECT" not in kinds
    assert kinds.count("INSERT") == 160 // 16 + 1


@pytest.mark.parametrize("size", [1, 15, 16, 17, 32, 45])
def test_a_batch_of_any_size_is_stored_in_its_order(tables, size):
    rows = [row(number, input_tokens=number, spent=(Spent(f"key:{number}", 0, number),)) for number in range(1, size + 1)]
    assert tables.add(rows) == size
    assert all_rows(tables) == [(one.id, one.input_tokens, one.cost_nusd) for one in rows]
    assert [tables.spent(f"key:{number}", 0) for number in range(1, size + 1)] == list(range(1, size + 1))


@pytest.mark.parametrize("name", ["cached_input_tokens", "cache_write_tokens", "reasoning_tokens"])
def test_parts_of_tokens_add_up_over_batches(tables, name):
    tables.add([row(1, **{name: 5}), row(2)])
    tables.add([row(3)])
    tables.add([row(4, **{name: 6})])
    assert daily(tables, name) == [(11,)]


def test_errors_and_estimates_are_counted_and_a_client_that_left_is_nobodys_error(tables):
    tables.add([row(1, error_type="client_gone", usage_source="estimated"), row(2, error_type="upstream_timeout", usage_source="none")])
    assert daily(tables, "requests", "errors", "estimated_requests") == [(2, 1, 1)]


def test_days_and_months_are_those_of_utc(tables):
    tables.add([row(1, MARCH - 0.001), row(2, MARCH), row(3, MARCH + DAY_S - 0.001)])
    assert rows_tables(tables.connection) == ["rows_2026_02", "rows_2026_03"]
    assert daily(tables, "day", "requests") == [(MARCH // DAY_S - 1, 1), (MARCH // DAY_S, 2)]


def test_the_time_of_a_row_is_known_though_the_clock_was_set_back(tables):
    tables.add([row(1, MARCH, id=int((MARCH + 3600) * 1e6)), row(2, MARCH)])
    assert sorted(tables.connection.execute("SELECT id / 1000 + coalesce(shift_ms, 0) FROM rows_2026_03")) == [(MARCH * 1000,)] * 2


def test_any_time_can_be_written(tables):
    tables.add([row(1, started, id=number) for number, started in enumerate((-5.0, 0.0, 1e15))])
    assert rows_tables(tables.connection) == ["rows_1970_01", "rows_9999_12"]


def test_old_months_are_dropped_whole_and_their_sums_stay(tables):
    tables.add([row(1, MARCH - 40 * DAY_S), row(2, MARCH - DAY_S), row(3, MARCH)])
    assert tables.drop_before(MARCH - DAY_S) == ["rows_2026_01"]
    assert tables.drop_before(MARCH) == ["rows_2026_02"]
    assert tables.drop_before(MARCH) == []
    assert sum(requests for (requests,) in daily(tables, "requests")) == 3
    assert tables.add([row(4, MARCH - DAY_S)]) == 1


def test_pages_of_dropped_months_are_used_again(tmp_path):
    path = tmp_path / "one.db"
    tables = tables_at(path)
    sizes = []
    for month in range(6):
        begin = MARCH + month * 31 * DAY_S
        for part in range(4):
            tables.add([row(part * 500 + number, begin + number) for number in range(500)])
        tables.drop_before(begin - 20 * DAY_S)
        tables.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        sizes.append(path.stat().st_size)
    assert sizes[5] == sizes[2], sizes


def test_the_dictionary_is_bounded(tables):
    tables.names.names_max = 5
    tables.add([row(number, model=f"model-{number}") for number in range(20)])
    tables.add([row(100 + number, model=f"later-{number}") for number in range(20)])
    found = daily(tables, "model", "requests")
    assert len(found) == 6
    assert dict(found)[OTHER] == 35
    again = Tables(tables.connection, Names(5))
    again.add([row(200, model="much-later")])
    assert dict(daily(tables, "model", "requests"))[OTHER] == 36


def test_a_model_may_be_called_as_what_stands_for_the_rest(tables):
    """Callers can name it so, before any other name of its kind is looked for."""
    tables.add([row(1, model=OTHER)])
    assert daily(tables, "model", "requests") == [(OTHER, 1)]


def test_sums_stop_at_the_largest_number_there_is(tables):
    tables.add([row(number, input_tokens=2**62, spent=(Spent("x", 0, 2**62),)) for number in range(2)])
    tables.add([row(number, input_tokens=2**62, spent=(Spent("x", 0, 2**62),)) for number in range(2, 4)])
    assert daily(tables, "requests", "input_tokens") == [(4, SUM_MAX)]
    assert tables.spent("x", 0) == SUM_MAX


def test_a_name_that_another_program_added_is_found(tables):
    tables.connection.execute("INSERT INTO names VALUES (77, 'tenant', 'acme')")
    tables.add([row(1)])
    assert tables.connection.execute("SELECT tenant FROM rows_2026_03").fetchone() == (77,)


def test_the_largest_id_is_found_in_whichever_month(tables):
    assert tables.last_id() == 0
    tables.add([row(1, MARCH), row(2, MARCH - DAY_S, id=9 * 10**15)])
    assert tables.last_id() == 9 * 10**15
