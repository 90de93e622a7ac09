"""The admin routes of the response cache: what it holds, and emptying it. What is in the answers is never shown."""

from typing import TYPE_CHECKING

import attrs

from appliance.config.problem import Problem
from appliance.server.admin_route import AdminRoute, Answer, Asked, Parameter, refused
from appliance.server.admin_schemas import TEXT, table

if TYPE_CHECKING:
    from appliance.server.admin import AdminApp

NUMBER = {"type": "integer"}


async def show_cache(app: "AdminApp", _: Asked) -> Answer:
    answers = app.gateway.answers
    shown = attrs.asdict(answers.cache.status())
    shown |= {"size_max_bytes": app.gateway.plan.config.cache.size_max_bytes, "recording_bytes": answers.room.held_bytes}
    tenants = {name: {"entries": entries, "size_bytes": size} for name, (entries, size) in answers.cache.by_tenant().items()}
    return Answer({**shown, "waiting": answers.flights.waiting, "tenants": tenants})


async def flush_cache(app: "AdminApp", asked: Asked) -> Answer:
    unknown = [name for name in asked.query if name != "tenant"]
    if unknown:  # else a slip of the pen would empty it for all
        return refused([Problem(name[:40], f"unknown parameter {name[:40]!r}; known is tenant") for name in unknown])
    return Answer({"entries": await app.gateway.answers.flush(asked.query.get("tenant"))})


_SHOWN = ("entries", "size_bytes", "size_max_bytes", "recording_bytes", "evictions", "expired", "flushed", "waiting")
_TENANTS = {"type": "object", "additionalProperties": table({"entries": NUMBER, "size_bytes": NUMBER})}

CACHE_ROUTES = (
    AdminRoute("GET", "/admin/cache", "showCache", "What the response cache holds", show_cache,
               table({**dict.fromkeys(_SHOWN, NUMBER), "tenants": _TENANTS})),
    AdminRoute("POST", "/admin/cache/flush", "flushCache", "Forget kept answers: a tenant's, or all", flush_cache,
               table({"entries": NUMBER}), refusals=(400,), query=(Parameter("tenant", "only of this one", TEXT),)),
)  # fmt: skip
