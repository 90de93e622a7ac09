"""What became of experiments, as operators see it: the days that are asked for, added up and compared.

The rule: days count whole and are UTC, since that is how their figures are kept (see `experiment_days`).
"""

import math
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
import orjson

from appliance.config.problem import Problem, meant
from appliance.config.routing import Experiment, Target
from appliance.core.comparison import compared
from appliance.core.experiment import CONTROL, TREATMENT, VARIANTS
from appliance.core.outcome import Outcome, of_figures
from appliance.store.moment import iso, moment_s
from appliance.store.tables import DAY_MAX, DAY_S
from appliance.store.transaction import reading

ENDED_MAX = 200
"""Experiments that are not in the configuration any more and are still told of, the latest."""

@attrs.frozen
class OutcomesQuery:
    """What is asked.

    Attributes:
        since, until: days since 1970-01-01 (UTC), the first included, the second not.
        name: of one experiment; empty for all.
    """

    since: int = 0
    until: int = DAY_MAX + 1
    name: str = ""


def outcomes_query(asked: Mapping[str, str], now: float) -> OutcomesQuery | tuple[Problem, ...]:
    """The question in `name`, `since` and `until`, as they are typed or stand in a URL. Days count whole."""
    problems: list[Problem] = []
    found: dict[str, float] = {}
    for name in ("since", "until"):
        if asked.get(name):
            moment = moment_s(asked[name], now, ahead=False)
            if moment is None:
                problems.append(Problem(name, "is no point in time", "a date (UTC), an ISO 8601 time, or a span before now like 7d or 24h"))
            else:
                found[name] = moment
    query = OutcomesQuery(name=asked.get("name", ""))
    if "since" in found:
        query = attrs.evolve(query, since=math.floor(found["since"] / DAY_S))
    if "until" in found:
        query = attrs.evolve(query, until=math.ceil(found["until"] / DAY_S))
    if not problems and query.until <= query.since:
        problems.append(Problem("until", "is not after since", "a later day; days count whole"))
    return tuple(problems) or query


def read_outcomes(
    connection: sqlite3.Connection, experiments: Sequence[Experiment], query: OutcomesQuery, now: float
) -> dict[str, Any] | Problem:
    """`{"from", "to", "experiments": [...]}`, JSON-ready: those of the configuration in its order, then such as have ended. Raises
    sqlite3.Error."""
    with reading(connection):
        where = "day >= ? AND day < ?" + (" AND experiment = ?" if query.name else "")
        values = (query.since, query.until, *([query.name] if query.name else []))
        ended = "SELECT experiment FROM experiment_days GROUP BY experiment ORDER BY max(day) DESC, experiment LIMIT ?"
        known = list(dict.fromkeys([one.name for one in experiments] + [name for (name,) in connection.execute(ended, (ENDED_MAX,))]))
        days: dict[str, list[int]] = {}
        outcomes: dict[str, dict[str, Outcome]] = {}
        for name, day, variant, figures in connection.execute(f"SELECT * FROM experiment_days WHERE {where} ORDER BY day", values):
            days.setdefault(name, []).append(day)
            outcomes.setdefault(name, {}).setdefault(variant, Outcome()).merge(of_figures(orjson.loads(figures)))
    if query.name and query.name not in known:
        return Problem("name", f"{query.name[:40]!r} is no experiment", "one that is or was configured", meant(query.name, known))
    configured = {one.name: one for one in experiments}
    shown = [
        _experiment(name, configured.get(name), outcomes.get(name, {}), days.get(name, []))
        for name in known
        if (not query.name or name == query.name) and (name in configured or name in days)
    ]
    until = min(now, query.until * DAY_S) if query.until <= DAY_MAX else now
    return {"from": iso(query.since * DAY_S) if query.since else None, "to": iso(until), "experiments": shown}


def _experiment(name: str, settings: Experiment | None, outcomes: Mapping[str, Outcome], days: Sequence[int]) -> dict[str, Any]:
    by_variant = {variant: outcomes.get(variant, Outcome()) for variant in VARIANTS}
    return {
        "name": name,
        "state": "ended" if settings is None else "shadow" if settings.shadow else "running",
        "route": None if settings is None else settings.route,
        "percent": None if settings is None else settings.percent,
        CONTROL: None if settings is None else _target(settings.control),
        TREATMENT: None if settings is None else _target(settings.treatment),
        "first_day": _date(days[0]) if days else None,
        "last_day": _date(days[-1]) if days else None,
        "variants": {variant: outcome.shown() for variant, outcome in by_variant.items()},
        **compared(by_variant[CONTROL], by_variant[TREATMENT]),
    }


def _target(target: Target) -> dict[str, str]:
    return {"backend": target.backend, "model": target.model}


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_S, UTC).date().isoformat()
