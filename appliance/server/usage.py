"""The door of /v1/usage: what the caller's tenant has used and spent, and what it may.

The rule: a caller sees its own tenant and no other, whatever it asks for. It counts against no limit, since who has reached one wants to
see where they stand; few of these look-ups run at once (TenancyKeeper).
"""

import sqlite3
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import attrs

from appliance.config.problem import Problem
from appliance.config.report import problem_text
from appliance.config.tenancy import Budget, Tenant
from appliance.config.zone import zone
from appliance.core.budget import NEVER, period_at
from appliance.core.fault import Fault, FaultKind
from appliance.gateway.admission import authenticate
from appliance.gateway.ceilings import tenant_scope
from appliance.gateway.gateway import Gateway
from appliance.gateway.plan import KeyPlan
from appliance.gateway.tenancy_keeper import TenancyKeeper
from appliance.http1.asgi import Scope, Send
from appliance.server.inference import refuse_plainly
from appliance.server.reply import HeaderList, header_map, reply, reply_json
from appliance.store.fault import StoreFault
from appliance.store.moment import iso, iso_or_none
from appliance.store.usage import NUSD_PER_USD, UsageQuery, read_usage, usage_csv, usage_query

BY_DEFAULT = "day,model"
KNOWN = frozenset({"by", "since", "until", "key", "model", "backend", "route", "format"})
CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key"})
NO_STORE: HeaderList = [(b"cache-control", b"no-store")]
CSV = b"text/csv; charset=utf-8"


@attrs.frozen
class Standing:
    """How a tenant stands in its running period: its budget's, or this month (UTC) where it has none. Money in nano-USD, times in seconds
    since the epoch.

    Attributes:
        end: None where it never ends. spent: None where the ledger is to say it.
    """

    start: int
    end: int | None
    ceiling: int | None = None
    spent: int | None = None
    reserved: int = 0


async def serve_usage(gateway: Gateway, tenants: TenancyKeeper, scope: Scope, send: Send, *, anonymous: bool) -> None:
    """GET /v1/usage, with the query of /admin/usage but for `tenant`."""
    plan, now = gateway.plan, gateway.wall_clock()
    key = authenticate(plan, header_map(scope), scope["query_string"], now, anonymous=anonymous)
    if isinstance(key, Fault):
        await refuse_plainly(gateway, scope, send, key)
        return
    asked = dict(parse_qsl(scope["query_string"].decode("latin-1")))
    if header_map(scope).keys().isdisjoint(CREDENTIALS):
        asked.pop("key", None)  # it is the caller's own, as Gemini's clients send it
    standing = standing_of(gateway, key, now)
    query = _query(asked, standing, now)
    if isinstance(query, Fault):
        await refuse_plainly(gateway, scope, send, query)
        return
    found = await _read(tenants, key.tenant, query, standing, now)
    if isinstance(found, Fault):
        await refuse_plainly(gateway, scope, send, found)
        return
    usage, spent_usd = found
    if asked.get("format") == "csv":
        await reply(send, 200, usage_csv(usage).encode(), CSV, NO_STORE)
    else:
        tenant = plan.tenancy.tenants.get(key.tenant, Tenant())
        await reply_json(send, _view(key.tenant, tenant, standing, spent_usd, usage), headers=NO_STORE)


def standing_of(gateway: Gateway, key: KeyPlan, now: float) -> Standing:
    """The tenant's budget as it stands; where it has none, or nobody knows yet what is spent of it, its period."""
    live = gateway.accounts.budgets.standing_of(tenant_scope(key.tenant))
    if live is not None:
        return Standing(live.start, live.end, live.ceiling_nusd, live.spent_nusd, live.reserved_nusd)
    tenant = gateway.plan.tenancy.tenants.get(key.tenant, Tenant())
    budget = tenant.budget or Budget(usd=0.0)
    place = zone(budget.timezone)
    assert place is not None  # a configuration was checked
    period = period_at(budget.period, now, place)
    ceiling = round(tenant.budget.usd * NUSD_PER_USD) if tenant.budget is not None else None
    return Standing(period.start, None if period.end == NEVER else period.end, ceiling)


def _query(asked: Mapping[str, str], standing: Standing, now: float) -> UsageQuery | Fault:
    """What is asked; all of the running period where no time is given."""
    known = ", ".join(sorted(KNOWN))
    problems = [Problem(name[:40], "is not a known parameter", f"some of {known}") for name in asked if name not in KNOWN]
    if asked.get("format", "json") not in ("json", "csv"):
        problems.append(Problem("format", "is neither", "json or csv"))
    query = usage_query(asked, now, BY_DEFAULT)
    if problems or isinstance(query, tuple):
        problems += query if isinstance(query, tuple) else ()
        return Fault(FaultKind.BAD_REQUEST, "; ".join(map(problem_text, problems)), param=problems[0].path)
    return query if asked.get("since") else attrs.evolve(query, since=standing.start)


async def _read(
    tenants: TenancyKeeper, tenant: str, query: UsageQuery, standing: Standing, now: float
) -> tuple[dict[str, Any], float] | Fault:
    """The rows, and what the running period has cost."""
    rows = attrs.evolve(query, only={**query.only, "tenant": tenant})
    period = UsageQuery(standing.start, None, (), {"tenant": tenant})

    def look(connection: sqlite3.Connection) -> tuple[dict[str, Any] | Problem, dict[str, Any] | Problem]:
        return read_usage(connection, rows, now), read_usage(connection, period, now)

    found = await tenants.for_caller(look)
    if isinstance(found, StoreFault):
        words = "the usage ledger cannot be read right now; try again shortly"
        return Fault(FaultKind.LEDGER_UNAVAILABLE, words, retry_after_s=1.0, detail=found.message)
    usage, whole = found
    if isinstance(usage, Problem):
        return Fault(FaultKind.BAD_REQUEST, problem_text(usage), param=usage.path)
    assert not isinstance(whole, Problem)  # it is one row
    return usage, standing.spent / NUSD_PER_USD if standing.spent is not None else float(whole["total"]["cost_usd"])


def _view(name: str, tenant: Tenant, standing: Standing, spent_usd: float, usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "tenant": name, "period": {"start": iso(standing.start), "end": iso_or_none(standing.end)},
        "budget_usd": None if standing.ceiling is None else standing.ceiling / NUSD_PER_USD, "spent_usd": spent_usd,
        "reserved_usd": standing.reserved / NUSD_PER_USD,
        "limits": {"requests_per_minute": tenant.rpm, "tokens_per_minute": tenant.tpm, "concurrency": tenant.concurrency},
        "from": usage["from"], "to": usage["to"], "by": usage["by"], "rows": usage["rows"], "total": usage["total"],
    }  # fmt: skip
