"""What became of experiments: added up with the rows, each once, over restarts and upgrades, and forgotten with them."""

import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store.ledger_place import Clock, kill, started
from store.ledger_rows import MARCH, opened, row

from appliance.config.problem import Problem
from appliance.config.routing import Experiment, Target
from appliance.core.comparison import NO_DIFFERENCE, NOT_ENOUGH
from appliance.core.outcome import Outcome, of_figures
from appliance.store.database import open_database
from appliance.store.experiment_days import outcome_of
from appliance.store.frame import SETTLED, frame
from appliance.store.names import Names
from appliance.store.outcomes import OutcomesQuery, outcomes_query, read_outcomes
from appliance.store.row import LedgerRow
from appliance.store.schema import MIGRATIONS
from appliance.store.tables import DAY_S, Tables

NOW = MARCH + 20 * DAY_S
TRIAL = Experiment(
    name="trial", route="chat", control=Target(backend="one", model="old"), treatment=Target(backend="two", model="new"), percent=10.0
)
OLD_FIELDS = len(LedgerRow._fields) - 2
"""Of a row as it was before rows knew of experiments."""


def tables_at(path: Path) -> Tables:
    connection = open_database(path)
    assert isinstance(connection, sqlite3.Connection)
    return Tables(connection, Names(100))


def tried(number: int, variant: str = "control", **fields: Any) -> LedgerRow:
    return row(number, **{"experiment": "trial", "variant": variant, **fields})


def view_of(connection: sqlite3.Connection, query: OutcomesQuery | None = None, *experiments: Experiment) -> dict[str, Any]:
    found = read_outcomes(connection, experiments or (TRIAL,), query or OutcomesQuery(), NOW)
    assert isinstance(found, dict), found
    return found


def figures(connection: sqlite3.Connection, variant: str, query: OutcomesQuery | None = None) -> dict[str, Any]:
    found: dict[str, Any] = view_of(connection, query)["experiments"][0]["variants"][variant]
    return found


def test_each_variant_has_its_figures(tmp_path: Path) -> None:
    tables = tables_at(tmp_path / "one.db")
    attempts = [[backend, "m", "success", 200, "", 5, 1, 1, "provider"] for backend in ("two", "rescue")]
    tables.add([
        tried(1, duration_ms=100, ttft_ms=40, stream=True, input_tokens=10, output_tokens=20, cost_nusd=2_000_000),
        tried(2, duration_ms=300, input_tokens=30, output_tokens=40, cost_nusd=4_000_000),
        tried(3, error_type="server_error", status=502, duration_ms=9_000, input_tokens=5, output_tokens=0, cost_nusd=1_000_000),
        tried(4, error_type="client_gone", status=499, duration_ms=50_000, cost_nusd=0),
        tried(5, "treatment", duration_ms=500, attempts=orjson.dumps(attempts).decode(), usage_source="estimated"),
        tried(6, operation="count_tokens", duration_ms=1), tried(7, backend="cache", duration_ms=1), row(8, duration_ms=1),
    ])  # fmt: skip
    control, treatment = (figures(tables.connection, variant) for variant in ("control", "treatment"))
    assert (control["requests"], control["errors"], control["client_gone"], control["fallbacks"]) == (4, 1, 1, 0)
    assert (control["error_ratio"]["value"], control["error_ratio"]["count"]) == (pytest.approx(1 / 3), 3)
    assert (control["latency_ms"]["mean"], control["latency_ms"]["count"]) == (200, 2), "of answers that came whole"
    assert (control["ttft_ms"]["mean"], control["ttft_ms"]["count"], control["ttft_ms"]["low"]) == (40, 1, None)
    assert (control["input_tokens"]["mean"], control["output_tokens"]["total"]) == (20, 60)
    assert (control["cost_usd"]["total"], control["cost_usd"]["count"]) == (pytest.approx(0.007), 4), "what failed was paid as well"
    assert control["latency_ms"]["p95"] == pytest.approx(300, rel=0.1)
    assert (treatment["requests"], treatment["fallbacks"], treatment["estimated_requests"]) == (1, 1, 1)
    one = view_of(tables.connection)["experiments"][0]
    assert (one["state"], one["route"], one["percent"], one["treatment"]) == ("running", "chat", 10, {"backend": "two", "model": "new"})
    assert one["verdict"] == NOT_ENOUGH
    assert {measure["verdict"] for measure in one["differences"].values()} == {NOT_ENOUGH}
    taken_part = tables.connection.execute("SELECT experiment, variant FROM row_experiments WHERE id = ?", (tried(5).id,)).fetchall()
    assert taken_part == [("trial", "treatment")]
    tables.connection.close()


def spread_rows(first: int, variant: str, **fields: Any) -> list[LedgerRow]:
    return [tried(first + place, variant, **{"duration_ms": 400 + 5 * place, "cost_nusd": 1000 + place, **fields}) for place in range(60)]


def test_a_clear_difference_is_told_in_plain_words_and_an_unclear_one_is_not(tmp_path: Path) -> None:
    tables = tables_at(tmp_path / "one.db")
    slower = [one._replace(duration_ms=one.duration_ms + 500, output_tokens=5) for one in spread_rows(1000, "treatment")]
    tables.add([*spread_rows(1, "control"), *slower])
    one = view_of(tables.connection)["experiments"][0]
    verdicts = {name: measure["verdict"] for name, measure in one["differences"].items()}
    assert verdicts == {
        "error_ratio": NO_DIFFERENCE, "latency_ms": "treatment is slower", "ttft_ms": NOT_ENOUGH, "input_tokens": NO_DIFFERENCE,
        "output_tokens": "treatment writes fewer tokens", "cost_usd": NO_DIFFERENCE,
    }  # fmt: skip
    assert one["verdict"] == "treatment is slower; treatment writes fewer tokens"
    slow = one["differences"]["latency_ms"]
    assert slow["low"] < slow["difference"] == 500 < slow["high"]
    tables.add([one._replace(id=one.id + 10_000, error_type="server_error") for one in slower])
    assert "treatment fails more often" in view_of(tables.connection)["experiments"][0]["verdict"]
    tables.connection.close()


def test_two_variants_that_are_alike_are_not_told_apart(tmp_path: Path) -> None:
    tables = tables_at(tmp_path / "one.db")
    tables.add([*spread_rows(1, "control"), *spread_rows(1000, "treatment")])
    assert view_of(tables.connection)["experiments"][0]["verdict"] == NO_DIFFERENCE
    tables.connection.close()


def flat(shown: dict[str, Any]) -> dict[str, Any]:
    pairs = [(name, value.items() if isinstance(value, dict) else [("", value)]) for name, value in shown.items()]
    return {f"{name}.{inner}": -1 if value is None else value for name, values in pairs for inner, value in values}


@settings(max_examples=30, deadline=None)
@given(batches=st.lists(st.lists(st.integers(1, 30), max_size=20), max_size=6))
def test_days_add_up_to_their_rows_whatever_comes_twice(tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]]) -> None:
    tables = tables_at(tmp_path_factory.mktemp("sums") / "one.db")

    def made(number: int) -> LedgerRow:
        variant = "treatment" if number % 2 else "control"
        return tried(number, variant, started=MARCH + number * DAY_S / 3, duration_ms=number * 7, error_type="internal" * (number % 5 == 0))

    for batch in batches:
        tables.add([made(number) for number in batch])
    for variant in ("control", "treatment"):
        wanted = Outcome()
        for number in {number for batch in batches for number in batch}:
            if made(number).variant == variant:
                wanted.merge(outcome_of([made(number)]))
        found = figures(tables.connection, variant)
        assert flat(found) == pytest.approx(flat(of_figures(orjson.loads(orjson.dumps(wanted.figures()))).shown()), rel=1e-6, abs=1e-6)
    tables.connection.close()


def test_a_batch_adds_up_to_what_its_rows_say_one_by_one() -> None:
    fates = ["", "", "", "server_error", "client_gone", "recovered"]
    attempts = [orjson.dumps([[backend, "m", "success", 200] for backend in asked]).decode() for asked in ("aa", "ab")]
    rows = [
        tried(
            number, error_type=fates[number % 6], duration_ms=number * 7, ttft_ms=number if number % 2 else None, stream=bool(number % 2),
            input_tokens=number, output_tokens=2 * number, cost_nusd=number * 1_000_001, attempts=["", *attempts][number % 3],
            usage_source="estimated" if number % 4 == 0 else "provider",
        )
        for number in range(120)
    ]  # fmt: skip
    found = outcome_of(rows)
    whole = [one for one in rows if not one.error_type]
    assert (found.requests, found.errors, found.client_gone) == (120, 40, 20)
    assert (found.fallbacks, found.estimated_requests) == (40, 30)
    assert (found.measures["cost_usd"].count, found.measures["cost_usd"].total) == (120, pytest.approx(sum(range(120)) * 1_000_001e-9))
    for name in ("duration_ms", "ttft_ms", "input_tokens", "output_tokens"):
        values = [getattr(one, name) for one in whole if getattr(one, name) is not None]
        tally = found.measures[name.replace("duration", "latency")]
        assert (tally.count, tally.total, tally.squares) == (len(values), sum(values), sum(one * one for one in values))
    assert sum(found.spreads["latency_ms"].counts.values()) == 60
    assert sum(found.spreads["ttft_ms"].counts.values()) == found.measures["ttft_ms"].count


def test_they_survive_a_killed_process_and_count_once(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    ledger = started(path)
    for number in range(4):
        ledger.open(opened(number))
        if number < 3:
            ledger.settle(tried(number, started=MARCH))
        if number == 1:
            ledger.commit()
    kill(ledger)
    started(path).close()
    connection = open_database(path)
    assert isinstance(connection, sqlite3.Connection)
    found = figures(connection, "control")
    connection.close()
    assert (found["requests"], found["errors"]) == (3, 0), "what was under way says nothing of a variant"


def test_rows_that_the_version_before_left_in_its_journal_still_come_in(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    ledger = started(path)
    for number in range(2):
        ledger.open(opened(number))
    ledger.journal.settle(row(0).id, frame(SETTLED, tuple(row(0))[:OLD_FIELDS]))
    kill(ledger)
    after = started(path)
    assert after.writer.rows == 2
    after.close()


def test_a_store_of_the_first_version_is_brought_to_this_one(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    old = sqlite3.connect(path, isolation_level=None)
    old.executescript(MIGRATIONS[0] + "; PRAGMA application_id = 1095781447; PRAGMA user_version = 1")
    old.close()
    tables = tables_at(path)
    tables.add([tried(1)])
    assert figures(tables.connection, "control")["requests"] == 1
    tables.connection.close()


def test_days_can_be_asked_for_and_count_whole(tmp_path: Path) -> None:
    tables = tables_at(tmp_path / "one.db")
    tables.add([tried(day, started=MARCH + day * DAY_S + 5_000) for day in range(10)])
    query = outcomes_query({"since": "2026-03-03", "until": "2026-03-05T01:00"}, NOW)
    assert isinstance(query, OutcomesQuery)
    view = view_of(tables.connection, query)
    assert view["experiments"][0]["variants"]["control"]["requests"] == 3
    assert (view["from"], view["to"]) == ("2026-03-03T00:00:00Z", "2026-03-06T00:00:00Z")
    assert (view["experiments"][0]["first_day"], view["experiments"][0]["last_day"]) == ("2026-03-03", "2026-03-05")
    for wrong, path in (({"since": "soon"}, "since"), ({"since": "2026-03-05", "until": "2026-03-05"}, "until")):
        refused = outcomes_query(wrong, NOW)
        assert isinstance(refused, tuple)
        assert refused[0].path == path
    tables.connection.close()


def test_one_that_has_ended_keeps_its_figures_and_an_unknown_one_is_said_to_be(tmp_path: Path) -> None:
    tables = tables_at(tmp_path / "one.db")
    tables.add([tried(1, experiment="former")])
    view = view_of(tables.connection)
    assert [(one["name"], one["state"]) for one in view["experiments"]] == [("trial", "running"), ("former", "ended")]
    assert view["experiments"][0]["variants"]["control"]["requests"] == 0
    assert view_of(tables.connection, OutcomesQuery(name="former"))["experiments"][0]["variants"]["control"]["requests"] == 1
    found = read_outcomes(tables.connection, (TRIAL,), OutcomesQuery(name="trail"), NOW)
    assert isinstance(found, Problem)
    assert "trial" in found.hint
    tables.connection.close()


def test_they_are_forgotten_with_the_rows_of_their_month(tmp_path: Path) -> None:
    clock = Clock()
    ledger = started(tmp_path / "one.db", clock, retention_days=40)
    tables = ledger.writer._tables
    assert tables is not None
    tables.add([tried(1, started=MARCH + day * DAY_S) for day in (0, 20, 40)])
    tables.drop_before(MARCH + 45 * DAY_S)
    assert figures(tables.connection, "control")["requests"] == 1
    assert tables.connection.execute("SELECT count(*) FROM row_experiments").fetchone() == (1,)
    ledger.close()
