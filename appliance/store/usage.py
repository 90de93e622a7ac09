"""What was used and spent, summed: by tenant, key, model, backend, route and day.

The rule: whole days come from the daily sums, which stay for ever and are few; only what of a period is finer than a day is read row by
row. Days are UTC, in the sums as in the answer.
"""

import csv
import io
import math
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from appliance.config.problem import Problem, meant
from appliance.store.moment import iso, moment_s
from appliance.store.schema import rows_table
from appliance.store.tables import DAY_S, rows_tables
from appliance.store.transaction import reading

FIELDS = ("day", "tenant", "key", "route", "backend", "model")
FILTERS = FIELDS[1:]
COUNTS = ("requests", "errors", "input_tokens", "output_tokens", "cached_input_tokens", "cost_usd", "estimated_requests")
"""Of each row of the answer, after the fields that it is by."""

SINCE_DEFAULT_DAYS = 30
ROWS_MAX = 10_000
"""Of an answer; a caller can invent models, and the answer is in memory."""

NUSD_PER_USD = 1e9

_DAILY = "requests, errors, input_tokens, output_tokens, cached_input_tokens, cost_nusd, estimated_requests"
_FROM_ROWS = (
    "1 AS requests, error_type IS NOT NULL AND error_type IS NOT (SELECT id FROM names WHERE kind = 'error_type' AND text = 'client_gone')"
    " AS errors, input_tokens, output_tokens, cached_input_tokens, cost_nusd,"
    " usage_source IS (SELECT id FROM names WHERE kind = 'usage_source' AND text = 'estimated') AS estimated_requests"
)
_SUMMED = ", ".join(f"coalesce(sum({name}), 0)" for name in _DAILY.split(", "))


@attrs.frozen
class UsageQuery:
    """What is asked.

    Attributes:
        since, until: seconds since the epoch, the first included, the second not; None for everything up to now.
        by: of FIELDS, in the order of the answer. only: of FILTERS, what they are to be.
    """

    since: float
    until: float | None = None
    by: tuple[str, ...] = ()
    only: Mapping[str, str] = attrs.field(factory=dict)


def usage_query(asked: Mapping[str, str], now: float, by: str = "day") -> UsageQuery | tuple[Problem, ...]:
    """The question in `tenant`, `key`, `model`, `backend`, `route`, `since`, `until` and `by`, as they are typed or stand in a URL."""
    problems: list[Problem] = []
    moments: dict[str, float | None] = {"since": (now // DAY_S - SINCE_DEFAULT_DAYS + 1) * DAY_S, "until": None}
    for name in moments:
        if asked.get(name):
            moments[name] = moment_s(asked[name], now, ahead=False)
            if moments[name] is None:
                problems.append(Problem(name, "is no point in time", "a date (UTC), an ISO 8601 time, or a span before now like 7d or 24h"))
    fields = tuple(dict.fromkeys(word.strip() for word in (asked.get("by") or by).split(",") if word.strip()))
    for word in fields:
        if word not in FIELDS:
            problems.append(Problem("by", f"{word[:40]!r} is nothing to sum by", "some of " + ", ".join(FIELDS), meant(word, FIELDS)))
    since, until = moments["since"], moments["until"]
    if since is not None and until is not None and until <= since:
        problems.append(Problem("until", "is not after since", "a later time"))
    if problems or since is None:
        return tuple(problems)
    return UsageQuery(since, until, fields, {name: asked[name] for name in FILTERS if asked.get(name)})


@attrs.frozen
class _Part:
    """A stretch of time and where its figures are: whole days, or the rows of one of a table's days."""

    table: str
    low: int
    high: int
    day: int | None = None


def read_usage(connection: sqlite3.Connection, query: UsageQuery, now: float, rows_max: int = ROWS_MAX) -> dict[str, Any] | Problem:
    """`{"from", "to", "by", "rows": [...], "total": {...}}`, JSON-ready. Raises sqlite3.Error."""
    with reading(connection):
        begin, end, parts = _parts(query, now, frozenset(rows_tables(connection)))
        found = _summed(connection, query, parts, rows_max)
        if len(found) > rows_max:
            return Problem("by", f"makes more than {rows_max} rows", "a shorter time, a filter, or fewer fields")
        kinds = ", ".join(f"'{name}'" for name in query.by)
        texts = dict(connection.execute(f"SELECT id, text FROM names WHERE kind IN ({kinds})"))
    rows = [_row(query.by, values, texts) for values in found]
    if "day" in query.by:
        rows.sort(key=lambda row: tuple(row[name] for name in query.by))
    else:
        rows.sort(key=lambda row: (-row["cost_usd"], -row["requests"], *(row[name] for name in query.by)))
    total = _counts([sum(column) for column in zip(*(values[len(query.by) :] for values in found), strict=True)] or [0] * len(COUNTS))
    return {"from": iso(begin), "to": iso(end), "by": list(query.by), "rows": rows, "total": total}


def usage_csv(view: Mapping[str, Any]) -> str:
    """The rows of `read_usage` as CSV (RFC 4180), with a head, without the total. Money to the nano-USD, never with an exponent, which not
    every program reads as a number."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*view["by"], *COUNTS])
    writer.writeheader()
    writer.writerows({**row, "cost_usd": plain_usd(row["cost_usd"])} for row in view["rows"])
    return text.getvalue()


def plain_usd(amount: float) -> str:
    """`0.00012345`: exact to nano-USD, without an exponent."""
    return f"{amount:.9f}".rstrip("0").rstrip(".") or "0"


def _parts(query: UsageQuery, now: float, tables: frozenset[str]) -> tuple[float, float, list[_Part]]:
    """Where the figures are, and the time that they are of: what is asked, but whole days where single rows are not kept any more."""
    today = int(now // DAY_S)
    until = query.until if query.until is not None and query.until <= now else (today + 1) * DAY_S
    since = min(query.since, until)
    first, last = math.ceil(since / DAY_S), math.floor(until / DAY_S)
    parts: list[_Part] = []
    edges = [(since, until)] if first > last else [(since, first * DAY_S), (last * DAY_S, until)]
    for low, high in edges:
        if low == high:
            continue
        day = int(low // DAY_S)
        moment = datetime.fromtimestamp(day * DAY_S, UTC)
        table = rows_table(moment.year, moment.month)
        if table in tables:
            parts.append(_Part(table, int(low * 1e6), int(high * 1e6), day))
        else:
            first, last = min(first, day), max(last, day + 1)
            since, until = min(since, day * DAY_S), max(until, (day + 1) * DAY_S)
    if first < last:
        parts.append(_Part("daily", first, last))
    end = until if query.until is not None and until <= now else now
    return since, max(since, end), parts


def _summed(connection: sqlite3.Connection, query: UsageQuery, parts: list[_Part], rows_max: int) -> list[tuple[Any, ...]]:
    if not parts:
        return []
    where = "".join(f" AND {name} = (SELECT id FROM names WHERE kind = '{name}' AND text = :{name})" for name in query.only)
    selects = []
    for place, part in enumerate(parts):
        # Ids run ahead of the time where a clock was set back; at the edge of a period that is as good.
        at, counts = ("day", _DAILY) if part.day is None else ("id", _FROM_ROWS)
        fields = "".join(f"{part.day if name == 'day' and part.day is not None else name} AS {name}, " for name in query.by)
        selects.append(f"SELECT {fields}{counts} FROM {part.table} WHERE {at} >= :low{place} AND {at} < :high{place}{where}")
    values: dict[str, object] = dict(query.only)
    for place, part in enumerate(parts):
        values |= {f"low{place}": part.low, f"high{place}": part.high}
    grouped = f" GROUP BY {', '.join(query.by)} LIMIT {rows_max + 1}" if query.by else ""
    fields = "".join(f"{name}, " for name in query.by)
    return connection.execute(f"SELECT {fields}{_SUMMED} FROM ({' UNION ALL '.join(selects)}){grouped}", values).fetchall()


def _row(by: tuple[str, ...], values: tuple[Any, ...], texts: Mapping[int, str]) -> dict[str, Any]:
    named = {name: _day(value) if name == "day" else texts.get(value, "unknown") for name, value in zip(by, values, strict=False)}
    return named | _counts(values[len(by) :])


def _counts(values: Any) -> dict[str, Any]:
    return {name: value / NUSD_PER_USD if name == "cost_usd" else value for name, value in zip(COUNTS, values, strict=True)}


def _day(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_S, UTC).date().isoformat()
