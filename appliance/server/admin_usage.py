"""The admin routes of the ledger: what was used and spent, and who changed what."""

from typing import TYPE_CHECKING

from appliance.config.problem import Problem
from appliance.server.admin_route import CSV, AdminRoute, Answer, Asked, Parameter, answered, refused, whole
from appliance.server.admin_schemas import TEXT, array, ref, table
from appliance.store.audit import AUDIT_MAX, PAGE_MAX, read_audit
from appliance.store.tenancy_desk import Invalid
from appliance.store.usage import FIELDS, FILTERS, read_usage, usage_csv, usage_query

if TYPE_CHECKING:
    from appliance.server.admin import AdminApp

LISTING = 100
KNOWN = frozenset({*FILTERS, "since", "until", "by", "format"})


async def show_usage(app: "AdminApp", asked: Asked) -> Answer:
    now = app.gateway.wall_clock()
    query = usage_query(asked.query, now)
    problems = list(query) if isinstance(query, tuple) else []
    problems += [Problem(name[:40], "is not a known parameter") for name in asked.query if name not in KNOWN]
    wanted = asked.query.get("format", "json")
    if wanted not in ("json", "csv"):
        problems.append(Problem("format", f"is {wanted[:40]!r}", "json or csv"))
    if problems or isinstance(query, tuple):
        return refused(problems)
    found = await app.tenants.at_desk(asked.actor, lambda desk: read_usage(desk.connection, query, now), changes=False)
    if isinstance(found, Problem):
        return refused([found])
    if wanted == "csv" and isinstance(found, dict):
        return Answer(usage_csv(found), text_type=f"{CSV}; charset=utf-8")
    return answered(found)


async def show_audit(app: "AdminApp", asked: Asked) -> Answer:
    limit, before = whole(asked, "limit", LISTING, 1, PAGE_MAX), whole(asked, "before", 2**60 - 1, 1, 2**60 - 1)
    if isinstance(limit, Problem) or isinstance(before, Problem):
        return answered(Invalid(tuple(found for found in (limit, before) if isinstance(found, Problem))))
    act = app.tenants.at_desk(asked.actor, lambda desk: {"entries": read_audit(desk.connection, limit, before)}, changes=False)
    return answered(await act)


_WHEN = "a date (UTC), an ISO 8601 time, or a span before now like 7d or 24h"

USAGE_ROUTES = (
    AdminRoute("GET", "/admin/usage", "showUsage", "Requests, tokens and spend, summed; days are UTC", show_usage, ref("Usage"), csv=True,
               refusals=(400, 503), query=(
                   Parameter("by", f"what to sum by, with commas: {', '.join(FIELDS)}; default: day", TEXT),
                   Parameter("since", f"{_WHEN}; default: 30 days, today included", TEXT),
                   Parameter("until", f"{_WHEN}, not included; default: now", TEXT),
                   *(Parameter(name, "only of this one", TEXT) for name in FILTERS),
                   Parameter("format", "json or csv", {"type": "string", "enum": ["json", "csv"], "default": "json"}),
               )),
    AdminRoute("GET", "/admin/audit", "showAudit", f"Who changed which tenant or key, the newest first; the last {AUDIT_MAX} are kept",
               show_audit, table({"entries": array(ref("AuditEntry"))}), refusals=(400, 503), query=(
                   Parameter("limit", "at most so many", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": LISTING}),
                   Parameter("before", "only those before this id, for the next page", {"type": "integer", "minimum": 1}),
               )),
)  # fmt: skip
