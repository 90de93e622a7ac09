"""Sums of the ledger: the same whichever tables they come from, and quick where there are a million rows."""

import itertools
import random
import sqlite3
import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from appliance.config.problem import Problem
from appliance.store.database import open_database
from appliance.store.moment import iso, moment_s, span_s
from appliance.store.names import Names
from appliance.store.row import LedgerRow
from appliance.store.schema import create_rows
from appliance.store.tables import DAY_S, Tables
from appliance.store.usage import COUNTS, FIELDS, UsageQuery, read_usage, usage_csv, usage_query

NOW = datetime(2027, 3, 3, 15, 30, tzinfo=UTC).timestamp()
TODAY = int(NOW // DAY_S) * DAY_S


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> sqlite3.Connection:
    return filled(tmp_path_factory.mktemp("usage") / "one.db", rows())


@cache
def rows() -> list[LedgerRow]:
    """Of five days over the end of a month, of everything some."""
    chance = random.Random(4)
    made = []
    for number in range(3000):
        started = NOW - chance.random() * 5 * DAY_S
        error = chance.choice(["", "", "", "timeout", "client_gone"])
        source = chance.choice(["provider", "provider", "estimated", "none"])
        made.append(
            LedgerRow(
                int(started * 1e6) + number % 2, started, "", chance.choice("ab"), chance.choice(["k1", "k2", "k3"]), "",
                chance.choice("rs"), chance.choice(["x", "y"]), chance.choice(["m", "n", "o"]), "d", "chat", False, 200, error, source,
                chance.randrange(100), chance.randrange(50), chance.randrange(9), cost_nusd=chance.randrange(10**7),
            )
        )  # fmt: skip
    return made


def filled(path: Path, some: list[LedgerRow]) -> sqlite3.Connection:
    found = open_database(path)
    assert isinstance(found, sqlite3.Connection)
    Tables(found, Names(1000)).add(some)
    return found


def asked(connection: sqlite3.Connection, since: float, until: float | None, by: tuple[str, ...] = (), **only: str) -> dict[str, Any]:
    found = read_usage(connection, UsageQuery(since, until, by, only), NOW)
    assert isinstance(found, dict), found
    return found


def expected(since: float, until: float, by: tuple[str, ...], **only: str) -> dict[tuple[str, ...], list[float]]:
    """The sums of `rows()` themselves."""
    sums: dict[tuple[str, ...], list[float]] = {}
    for row in rows():
        fields = {**row._asdict(), "day": datetime.fromtimestamp(row.started, UTC).date().isoformat()}
        if since <= row.started < until and all(fields[name] == text for name, text in only.items()):
            at = sums.setdefault(tuple(fields[name] for name in by), [0] * len(COUNTS))
            counts = [
                1, row.failed, row.input_tokens, row.output_tokens, row.cached_input_tokens, row.cost_nusd / 1e9,
                row.usage_source == "estimated",
            ]  # fmt: skip
            for place, count in enumerate(counts):
                at[place] += count
    return sums


SPANS = {
    "whole days": (TODAY - 3 * DAY_S, TODAY - DAY_S),
    "from within a day": (TODAY - 3 * DAY_S + 40_000, TODAY),
    "to within a day": (TODAY - 3 * DAY_S, TODAY - DAY_S + 11_111),
    "both, over the end of a month": (TODAY - 4 * DAY_S + 30_000, TODAY - DAY_S + 30_000),
    "within a day": (TODAY - 2 * DAY_S + 10_000, TODAY - 2 * DAY_S + 60_000),
    "everything": (TODAY - 10 * DAY_S, None),
}


@pytest.mark.parametrize("span", SPANS)
def test_every_grouping_of_every_span_is_the_sum_of_its_rows(connection, span):
    since, until = SPANS[span]
    for by in [(), *((name,) for name in FIELDS), ("day", "model"), ("tenant", "key", "model"), FIELDS]:
        for only in ({}, {"tenant": "a"}, {"model": "m", "backend": "x"}, {"key": "k1", "route": "r"}):
            found = asked(connection, since, until, by, **only)
            wanted = expected(since, until or NOW, by, **only)
            assert {tuple(row[name] for name in by): [row[name] for name in COUNTS] for row in found["rows"]} == {
                key: pytest.approx(sums) for key, sums in wanted.items()
            }, (span, by, only)
            total = [sum(column) for column in zip(*wanted.values(), strict=True)]
            assert [found["total"][name] for name in COUNTS] == pytest.approx(total)


def test_the_answer_has_the_shape_that_programs_read(connection):
    found = asked(connection, TODAY - DAY_S, TODAY, ("day", "tenant"))
    assert list(found) == ["from", "to", "by", "rows", "total"]
    assert (found["from"], found["to"], found["by"]) == ("2027-03-02T00:00:00Z", "2027-03-03T00:00:00Z", ["day", "tenant"])
    assert [list(row) for row in found["rows"]] == [["day", "tenant", *COUNTS]] * 2
    assert list(found["total"]) == list(COUNTS)
    assert all(row["day"] == "2027-03-02" for row in found["rows"])
    assert asked(connection, TODAY - DAY_S, None)["to"] == iso(NOW)


def test_days_come_in_order_and_what_costs_most_comes_first(connection):
    days = [row["day"] for row in asked(connection, TODAY - 9 * DAY_S, None, ("day",))["rows"]]
    assert days == sorted(days)
    costs = [row["cost_usd"] for row in asked(connection, TODAY - 9 * DAY_S, None, ("tenant", "model"))["rows"]]
    assert costs == sorted(costs, reverse=True)


def test_nobody_known_has_used_nothing(connection):
    for only in ({"tenant": "nobody"}, {"model": "'; DROP TABLE daily; --"}):
        found = asked(connection, TODAY - 9 * DAY_S, None, ("day",), **only)
        assert found["rows"] == []
        assert set(found["total"].values()) == {0}
    assert asked(connection, NOW + DAY_S, None, ("day",))["rows"] == []
    assert asked(connection, TODAY - 9 * DAY_S, None)["total"]["requests"] == 3000


def test_where_single_rows_are_gone_the_whole_day_is_told_and_said(tmp_path):
    kept = filled(tmp_path / "one.db", rows())
    kept.execute("DROP TABLE rows_2027_02")
    found = asked(kept, TODAY - 4 * DAY_S + 30_000, TODAY - DAY_S, ("day",))
    assert found["from"] == "2027-02-27T00:00:00Z"
    wanted = expected(TODAY - 4 * DAY_S, TODAY - DAY_S, ())[()]
    assert found["total"]["requests"] == wanted[0]


def test_too_many_rows_are_refused_with_what_to_do(connection):
    found = read_usage(connection, UsageQuery(TODAY - 9 * DAY_S, None, FIELDS), NOW, rows_max=10)
    assert isinstance(found, Problem)
    assert "fewer fields" in found.expected
    assert isinstance(read_usage(connection, UsageQuery(TODAY - 9 * DAY_S, None, ("tenant",)), NOW, rows_max=2), dict)


def test_csv_holds_what_callers_may_put_into_names(tmp_path):
    odd = 'm,"x"\nx'
    row = LedgerRow(int(NOW * 1e6), NOW, "", "a", "k", "", "r", "x", odd, "d", "chat", False, 200, "", "provider", 5, cost_nusd=1_500_000)
    text = usage_csv(asked(filled(tmp_path / "one.db", [row]), TODAY, None, ("model",)))
    assert text.splitlines()[0] == "model,requests,errors,input_tokens,output_tokens,cached_input_tokens,cost_usd,estimated_requests"
    assert text.split("\n", 1)[1] == '"m,""x""\nx",1,0,5,0,0,0.0015,0\r\n'


@pytest.mark.parametrize(
    ("nusd", "told"), [(0, "0"), (1, "0.000000001"), (18_450, "0.00001845"), (2_000_000_000, "2"), (10**18 + 1, "1000000000")]
)
def test_csv_tells_money_without_an_exponent(tmp_path, nusd, told):
    row = LedgerRow(int(NOW * 1e6), NOW, "", "a", "k", "", "r", "x", "m", "d", "chat", False, 200, "", "provider", 5, cost_nusd=nusd)
    text = usage_csv(asked(filled(tmp_path / "one.db", [row]), TODAY, None, ("model",)))
    assert text.splitlines()[1].split(",")[6] == told


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01", "999999999d"])
def test_any_time_that_can_be_told_can_be_asked_for(connection, text):
    moment = moment_s(text, NOW, ahead=False)
    assert moment is not None
    assert moment_s(iso(moment), NOW, ahead=False) == int(moment)
    query = usage_query({"since": text}, NOW)
    assert isinstance(query, UsageQuery)
    assert isinstance(read_usage(connection, query, NOW), dict)


def test_questions_are_read_and_every_mistake_in_them_is_told():
    found = usage_query({"since": "7d", "until": "2027-03-01", "by": "tenant, model,tenant", "key": "k"}, NOW)
    assert found == UsageQuery(NOW - 7 * DAY_S, TODAY - 2 * DAY_S, ("tenant", "model"), {"key": "k"})
    assert usage_query({}, NOW) == UsageQuery(TODAY - 29 * DAY_S, None, ("day",), {})
    wrong = usage_query({"since": "yesterday", "until": "2027-13-01", "by": "tenent,colour"}, NOW)
    assert [problem.path for problem in wrong] == ["since", "until", "by", "by"]
    assert "tenant" in wrong[2].hint
    (backwards,) = usage_query({"since": "1d", "until": "2d"}, NOW)
    assert backwards.path == "until"


def test_times_are_utc_unless_they_say_otherwise():
    assert moment_s("2027-03-03", NOW, ahead=False) == TODAY
    assert moment_s("2027-03-03T01:00:00+01:00", NOW, ahead=False) == TODAY
    assert moment_s("36h", NOW, ahead=True) == NOW + 36 * 3600
    assert [span_s(text) for text in ("0", "90s", "15m", "2h", "7d", "7", "d", "-1d", "1.5h", "")] == [
        0, 90, 900, 7200, 604_800, None, None, None, None, None,
    ]  # fmt: skip
    assert moment_s("999999999d", NOW, ahead=True) == 253_402_300_799
    assert moment_s("999999999d", NOW, ahead=False) == 0


def test_a_million_rows_are_summed_by_day_in_no_time(tmp_path):
    found = open_database(tmp_path / "big.db")
    assert isinstance(found, sqlite3.Connection)
    found.execute("PRAGMA synchronous = OFF")
    kinds = ("tenant", "key", "route", "backend", "model")
    names = [(kind, f"{kind}{number}") for kind, number in itertools.product(kinds, range(10))]
    found.executemany("INSERT INTO names (kind, text) VALUES (?, ?)", names)
    found.execute(create_rows("rows_2027_02"))
    found.execute("BEGIN")
    found.execute(
        "INSERT INTO rows_2027_02"
        " (id, tenant, key, route, backend, model, status, input_tokens, output_tokens, cached_input_tokens, cost_nusd)"
        " WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999999)"
        " SELECT ?1 + i * 2400000, 1 + i % 10, 11 + i % 7, 21 + i % 3, 31 + i % 5, 41 + i % 10, 200, i % 1000, i % 100, 0, i % 9999"
        " FROM n",
        (1_801_440_000 * 1_000_000,),
    )
    found.execute(
        "INSERT INTO daily SELECT id / 86400000000, tenant, key, route, backend, model, count(*), 0, 0,"
        " sum(input_tokens), sum(output_tokens), 0, 0, 0, sum(cost_nusd) FROM rows_2027_02 GROUP BY 1, 2, 3, 4, 5, 6"
    )
    found.execute("COMMIT")
    now = 1_801_440_000 + 28 * DAY_S
    begun = time.thread_time()  # what it computes; the machine may be busy with other things
    view = read_usage(found, UsageQuery(1_801_440_000, None, ("day",)), now)
    taken_s = time.thread_time() - begun
    assert isinstance(view, dict)
    assert view["total"]["requests"] == 1_000_000
    print(f"by day: {taken_s * 1000:.1f} ms")
    assert taken_s < 2.0, "0.2 s is promised; ten times as much is no noise"
    begun = time.monotonic()
    view = read_usage(found, UsageQuery(1_801_440_000 + 7000, now - 50_000, ("day", "tenant", "model")), now)
    print(f"with parts of days: {(time.monotonic() - begun) * 1000:.1f} ms")
