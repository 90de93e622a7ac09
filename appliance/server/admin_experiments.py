"""The admin route of experiments: what became of each variant, and whether they differ."""

from typing import TYPE_CHECKING, Any

from appliance.config.problem import Problem
from appliance.core.comparison import MEASURE_NAMES
from appliance.core.experiment import VARIANTS
from appliance.core.outcome import COUNTS, MEASURES, PERCENTS
from appliance.core.price import NUSD
from appliance.gateway.gateway import Gateway
from appliance.gateway.shadows import RESULTS
from appliance.server.admin_route import AdminRoute, Answer, Asked, Parameter, answered, refused
from appliance.server.admin_schemas import MOMENT, TEXT, array, nullable, table
from appliance.store.outcomes import outcomes_query, read_outcomes

if TYPE_CHECKING:
    from appliance.server.admin import AdminApp

KNOWN = frozenset({"name", "since", "until"})


async def show_experiments(app: "AdminApp", asked: Asked) -> Answer:
    gateway = app.gateway
    now, experiments = gateway.wall_clock(), gateway.plan.config.experiments
    query = outcomes_query(asked.query, now)
    problems = list(query) if isinstance(query, tuple) else []
    problems += [Problem(name[:40], "is not a known parameter") for name in asked.query if name not in KNOWN]
    if problems or isinstance(query, tuple):
        return refused(problems)
    found = await app.tenants.at_desk(
        asked.actor, lambda desk: read_outcomes(desk.connection, experiments, query, now), changes=False
    )  # fmt: skip
    if isinstance(found, Problem):
        return refused([found])
    return answered({**found, "copies": _copies(gateway)} if isinstance(found, dict) else found)


def _copies(gateway: Gateway) -> list[dict[str, object]]:
    """Since the start, of each shadow experiment."""
    shadows = gateway.shadows
    return [
        {
            "experiment": name, **{result: shadows.counts[name, result] for result in RESULTS}, "cost_usd": nusd / NUSD,
            "last_error": shadows.errors.get(name, ""),
        }
        for name, nusd in shadows.costs_nusd.items()
    ]  # fmt: skip


_COUNT, _NUMBER, _DAY = {"type": "integer"}, nullable({"type": "number"}), nullable({"type": "string", "format": "date"})
_FIGURE = {
    "type": "object", "required": ["count"], "properties": {
        "count": {**_COUNT, "description": "requests that it is of"}, "mean": _NUMBER, "value": _NUMBER,
        "low": {**_NUMBER, "description": "with high: the true value lies between in 95 of 100 samples; null where there are too few"},
        "high": _NUMBER, "total": {"type": "number"}, **dict.fromkeys(
            [f"p{percent}{end}" for percent in PERCENTS for end in ("", "_low", "_high")], _NUMBER
        ),
    },
}  # fmt: skip
_VARIANT = table({**dict.fromkeys(COUNTS, _COUNT), "error_ratio": _FIGURE, **dict.fromkeys(MEASURES, _FIGURE)})
_DIFFERENCE = table({"difference": _NUMBER, "low": _NUMBER, "high": _NUMBER, "percent": _NUMBER, "verdict": TEXT})
_TARGET = nullable(table({"backend": TEXT, "model": TEXT}))
_WHEN = "a date (UTC), an ISO 8601 time, or a span before now like 7d; days count whole"

_COPIES = array(table({"experiment": TEXT, **dict.fromkeys(RESULTS, _COUNT), "cost_usd": {"type": "number"}, "last_error": TEXT}))

OUTCOMES_SCHEMA: dict[str, Any] = table({
    "copies": {**_COPIES, "description": "of shadow experiments: what became of the copies of requests since the start"},
    "from": nullable(MOMENT), "to": MOMENT,
    "experiments": array(table({
        "name": TEXT, "state": {"enum": ["running", "shadow", "ended"]}, "route": nullable(TEXT), "percent": _NUMBER, "control": _TARGET,
        "treatment": _TARGET, "first_day": _DAY, "last_day": _DAY, "variants": table(dict.fromkeys(VARIANTS, _VARIANT)),
        "differences": {**table(dict.fromkeys(MEASURE_NAMES, _DIFFERENCE)), "description": "treatment - control, with 95 % intervals"},
        "verdict": {"type": "string", "description": "what is clear among the differences, else why nothing is"},
    })),
})  # fmt: skip

EXPERIMENT_ROUTES = (
    AdminRoute("GET", "/admin/experiments", "showExperiments", "What became of each variant of each experiment, and whether they differ",
               show_experiments, OUTCOMES_SCHEMA, refusals=(400, 503), query=(
                   Parameter("name", "only of this one", TEXT),
                   Parameter("since", f"{_WHEN}; default: as long as rows are kept", TEXT),
                   Parameter("until", f"{_WHEN}, not included; default: now", TEXT),
               )),
)  # fmt: skip
