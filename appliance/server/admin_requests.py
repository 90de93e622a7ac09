"""The admin routes of single requests: the latest ones from memory, and one that is older from the store.

The rule: making a page of a thousand records takes some tens of milliseconds, in which streams go on.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs
import trio

from appliance.config.problem import Problem
from appliance.server.admin_route import DIGITS_MAX, AdminRoute, Answer, Asked, Parameter, answered, refused, whole
from appliance.server.admin_schemas import TEXT, array, nullable, ref, table
from appliance.store.ledger_lookup import brief, kept_request
from appliance.store.moment import moment_s
from appliance.telemetry.recent import PAGE_MAX, Filter, Recent

if TYPE_CHECKING:
    from appliance.server.admin import AdminApp

LISTING = 100
BREATH = 20
"""Records put in words before others may run: half a millisecond."""

NAMES = ("tenant", "key", "backend", "model", "route", "error_type")
_FLAGS = {"true": True, "false": False}


async def list_requests(app: "AdminApp", asked: Asked) -> Answer:
    wanted, limit = _filter(asked.query, app.gateway.wall_clock()), whole(asked, "limit", LISTING, 1, PAGE_MAX)
    if isinstance(wanted, Problem) or isinstance(limit, Problem):
        return refused([found for found in (wanted, limit) if isinstance(found, Problem)])
    told: list[dict[str, object]] = []
    more = False
    for record in app.gateway.recent.search(wanted, asked.query.get("before", "")):
        if record is None or len(told) % BREATH == BREATH - 1:
            await trio.lowlevel.checkpoint()
        if record is not None:
            if len(told) >= limit:
                more = True
                break
            told.append(record.as_dict())
    return Answer({"requests": told, "next": told[-1]["id"] if more else None})


async def show_request(app: "AdminApp", asked: Asked) -> Answer:
    recent, wanted, now = app.gateway.recent, asked.names["id"], app.gateway.wall_clock()
    remembered = _remembered(recent, wanted)
    if remembered is None:
        found = await app.tenants.at_desk(asked.actor, lambda desk: kept_request(desk.connection, wanted, now), changes=False)
        remembered = _remembered(recent, wanted)  # one that ended meanwhile, of which the store may have less, or nothing yet
        if remembered is None and found is None:
            return Answer({"error": f"no such request among the last {len(recent)}, nor in the store"}, 404)
        if remembered is None:
            return answered(found)
    return Answer(remembered)


def _remembered(recent: Recent, wanted: str) -> dict[str, object] | None:
    """A request by either id, as it is shown; None of one that memory does not have."""
    record = recent.find(wanted)
    if record is None:
        return None
    others = [] if record.id == wanted else recent.same(wanted, record)
    return {**record.as_dict(), "kept_in": "memory", "others": [brief(one.as_dict()) for one in others]}


def _filter(asked: Mapping[str, str], now: float) -> Filter | Problem:
    """The listing's conditions from the query string, or what is wrong with them."""
    values: dict[str, str | int | bool | float] = {}
    for name, text in asked.items():
        if name in NAMES:
            values[name] = text
        elif name == "status":
            if not (text.isascii() and text.isdecimal()) or len(text) > DIGITS_MAX:
                return Problem("status", "status is an HTTP status such as 502")
            values[name] = int(text)
        elif name in ("stream", "failed"):
            if text not in _FLAGS:
                return Problem(name, f"{name} is true or false")
            values[name] = _FLAGS[text]
        elif name == "since":
            since = moment_s(text, now, ahead=False)
            if since is None:
                return Problem(name, "is no point in time", _WHEN)
            values[name] = since
        elif name not in ("limit", "before"):
            known_words = f"known are {', '.join(NAMES)}, status, stream, failed, since, before, limit"
            return Problem(name[:40], f"unknown parameter {name[:40]!r}; {known_words}")
    return attrs.evolve(Filter(), **values)  # type: ignore[arg-type]


_WHEN = "a date (UTC), an ISO 8601 time, or a span before now like 15m or 24h"
_BOOLEAN = {"type": "boolean"}

REQUEST_ROUTES = (
    AdminRoute("GET", "/admin/requests", "listRequests", "The latest requests, the newest first", list_requests,
               table({"requests": array(ref("Record")), "next": {**nullable(TEXT), "description": "what `before` is for the next page"}}),
               refusals=(400,), query=(
                   *(Parameter(name, "only of this one", TEXT) for name in NAMES),
                   Parameter("status", "only with this HTTP status", {"type": "integer", "minimum": 0}),
                   Parameter("stream", "only streams, or none", _BOOLEAN),
                   Parameter("failed", "only with an error, or without", _BOOLEAN),
                   Parameter("since", f"only that began later; {_WHEN}", TEXT),
                   Parameter("before", "only that ended before the one of this id, for the next page", TEXT),
                   Parameter("limit", "at most so many", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": LISTING}),
               )),
    AdminRoute("GET", "/admin/requests/{id}", "showRequest", "One request by either of its ids, of several the latest", show_request,
               ref("Record"), refusals=(404, 503)),
)  # fmt: skip
