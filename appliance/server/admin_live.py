"""The admin routes of what is live: backends, statistics, recent requests, the configuration, reload, and a hand on each backend."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import attrs
import trio

from appliance.config.masked import masked_dict
from appliance.config.problem import Problem
from appliance.gateway.upstream import Upstream
from appliance.server.admin_route import DIGITS_MAX, AdminRoute, Answer, Asked, Parameter, refused, whole
from appliance.server.admin_schemas import TEXT, array, ref, table
from appliance.telemetry.recent import PAGE_MAX, Filter
from appliance.telemetry.stats import stats_steps

if TYPE_CHECKING:
    from appliance.server.admin import AdminApp

LISTING = 100


async def list_providers(app: "AdminApp", _: Asked) -> Answer:
    return Answer({"providers": [_provider(upstream) for upstream in app.gateway.plan.upstreams.values()]})


async def show_stats(app: "AdminApp", _: Asked) -> Answer:
    """Summed in steps: a great many series must not hold up the streams."""
    steps = stats_steps(app.gateway.cells, app.view.state(), app.gateway.wall_clock())
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: dict[str, object] = done.value
            return Answer(result)
        await trio.lowlevel.checkpoint()


async def list_requests(app: "AdminApp", asked: Asked) -> Answer:
    wanted, limit = _filter(asked.query), whole(asked, "limit", LISTING, 1, PAGE_MAX)
    if isinstance(wanted, Problem) or isinstance(limit, Problem):
        return refused([found for found in (wanted, limit) if isinstance(found, Problem)])
    return Answer({"requests": [record.as_dict() for record in app.gateway.recent.newest(wanted, limit)]})


async def show_request(app: "AdminApp", asked: Asked) -> Answer:
    record = app.gateway.recent.find(asked.names["id"])
    if record is None:
        return Answer({"error": f"no such request among the last {len(app.gateway.recent)}"}, 404)
    return Answer(record.as_dict())


async def show_config(app: "AdminApp", _: Asked) -> Answer:
    return Answer(masked_dict(app.gateway.plan.config))


async def reload(app: "AdminApp", _: Asked) -> Answer:
    result = await app.reload()
    return Answer(attrs.asdict(result), 422 if result.problems else 200)


async def drain(app: "AdminApp", asked: Asked) -> Answer:
    return _at_backend(app, asked, _drain)


async def resume(app: "AdminApp", asked: Asked) -> Answer:
    return _at_backend(app, asked, _resume)


async def reset_breaker(app: "AdminApp", asked: Asked) -> Answer:
    return _at_backend(app, asked, _reset_breaker)


def _at_backend(app: "AdminApp", asked: Asked, act: Callable[[Upstream], None]) -> Answer:
    name = asked.names["name"]
    upstream = app.gateway.plan.upstreams.get(name)
    if upstream is None:
        names = ", ".join(app.gateway.plan.upstreams)
        return Answer({"error": f"no backend is called {name[:80]!r}; there are: {names}"}, 404)
    act(upstream)
    return Answer(_provider(upstream))


def _drain(upstream: Upstream) -> None:
    upstream.state.drained = True


def _resume(upstream: Upstream) -> None:
    upstream.state.drained = False


def _reset_breaker(upstream: Upstream) -> None:
    upstream.state.breaker.reset()
    upstream.state.failures_in_a_row = upstream.state.probe_failures = 0


def _provider(upstream: Upstream) -> dict[str, object]:
    """One backend as /admin/providers and `appliance status` show it; no credentials in it."""
    state, pool = upstream.state, upstream.transport.stats()
    return {
        "name": upstream.name, "provider": upstream.provider.name, "base_url": upstream.base_url, "healthy": state.healthy,
        "drained": state.drained, "breaker": str(state.breaker.state), "breaker_opened_total": state.breaker.opened_total,
        "in_flight": state.in_flight, "max_concurrency": upstream.slots.limit, "waiting": upstream.slots.waiting,
        "connections": {"open": pool.open, "idle": pool.idle, "queued": pool.queued},
        "first_byte_ms": round(state.first_byte_s * 1000, 1), "requests": state.requests, "errors": state.errors,
        "last_error": state.last_error, "last_probe": state.last_probe, "credentials": _credentials(upstream),
    }  # fmt: skip


def _credentials(upstream: Upstream) -> dict[str, object] | None:
    """How the temporary credentials of a backend's account are; None where it has none."""
    account = None if upstream.prover is None else upstream.prover.account
    if account is None:
        return None
    left_s = account.seconds_left()
    return {
        "valid_s": round(left_s) if math.isfinite(left_s) else None, "failures": account.held.failures,
        "problem": account.trouble.words if account.trouble is not None else "",
    }  # fmt: skip


def _filter(asked: Mapping[str, str]) -> Filter | Problem:
    """The listing's conditions from the query string, or what is wrong with them."""
    known = {"tenant", "backend", "model", "route", "error_type"}
    flags = {"true": True, "false": False}
    values: dict[str, str | int | bool] = {}
    for name, text in asked.items():
        if name in known:
            values[name] = text
        elif name == "status":
            if not (text.isascii() and text.isdecimal()) or len(text) > DIGITS_MAX:
                return Problem("status", "status is an HTTP status such as 502")
            values[name] = int(text)
        elif name in ("stream", "failed"):
            if text not in flags:
                return Problem(name, f"{name} is true or false")
            values[name] = flags[text]
        elif name != "limit":
            known_words = f"known are {', '.join(sorted(known))}, status, stream, failed, limit"
            return Problem(name[:40], f"unknown parameter {name[:40]!r}; {known_words}")
    return attrs.evolve(Filter(), **values)  # type: ignore[arg-type]


_BOOLEAN = {"type": "boolean"}

LIVE_ROUTES = (
    AdminRoute("GET", "/admin/providers", "listProviders", "Backends with their health", list_providers,
               table({"providers": array(ref("Provider"))})),
    AdminRoute("GET", "/admin/stats", "showStats", "What was served since the start", show_stats, {"type": "object"}),
    AdminRoute("GET", "/admin/requests", "listRequests", "The latest requests, the newest first", list_requests,
               table({"requests": array(ref("Record"))}), refusals=(400,), query=(
                   *(Parameter(name, "only of this one", TEXT) for name in ("tenant", "backend", "model", "route", "error_type")),
                   Parameter("status", "only with this HTTP status", {"type": "integer", "minimum": 0}),
                   Parameter("stream", "only streams, or none", _BOOLEAN),
                   Parameter("failed", "only with an error, or without", _BOOLEAN),
                   Parameter("limit", "at most so many", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": LISTING}),
               )),
    AdminRoute("GET", "/admin/requests/{id}", "showRequest", "One of the latest requests, by either of its ids", show_request,
               ref("Record"), refusals=(404,)),
    AdminRoute("GET", "/admin/config", "showConfig", "The configuration in force, secrets masked", show_config, {"type": "object"}),
    AdminRoute("POST", "/admin/reload", "reload", "Load the configuration anew, whole or not at all", reload,
               table({"changes": array(TEXT), "problems": array(TEXT)}), refusals=(422,)),
    AdminRoute("POST", "/admin/backends/{name}/drain", "drainBackend", "Take a backend out", drain, ref("Provider"), refusals=(404,)),
    AdminRoute("POST", "/admin/backends/{name}/resume", "resumeBackend", "Put it back in", resume, ref("Provider"), refusals=(404,)),
    AdminRoute("POST", "/admin/backends/{name}/reset-breaker", "resetBreaker", "Close its breaker and forget its failures", reset_breaker,
               ref("Provider"), refusals=(404,)),
)  # fmt: skip
