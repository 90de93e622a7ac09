"""The admin routes of what is live: backends, statistics, the configuration, reload, and a hand on each backend."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import trio

from appliance.config.masked import masked_dict
from appliance.config.problem import Problem
from appliance.config.secret import MASK
from appliance.gateway.decision import down_because
from appliance.gateway.upstream import Upstream
from appliance.server.admin_route import AdminRoute, Answer, Asked, Parameter, flag, refused
from appliance.server.admin_schemas import TEXT, array, ref, table
from appliance.telemetry.latency import LOOKED_AT_MAX, Latency, latencies
from appliance.telemetry.stats import stats_steps

if TYPE_CHECKING:
    from appliance.server.admin import AdminApp


async def list_providers(app: "AdminApp", _: Asked) -> Answer:
    return Answer({"providers": [_provider(upstream, found) for upstream, found in _with_latency(app)]})


def _with_latency(app: "AdminApp") -> list[tuple[Upstream, Latency | None]]:
    found = latencies(app.gateway.recent.latest(LOOKED_AT_MAX))
    return [(upstream, found.get(name)) for name, upstream in app.gateway.plan.upstreams.items()]


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


async def show_config(app: "AdminApp", asked: Asked) -> Answer:
    wanted = flag(asked, "diff")
    if isinstance(wanted, Problem):
        return refused([wanted])
    return Answer(attrs.asdict(await app.compare()) if wanted else masked_dict(app.gateway.plan.config))


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
    return Answer(next(_provider(upstream, found) for upstream, found in _with_latency(app) if upstream.name == name))


def _drain(upstream: Upstream) -> None:
    upstream.state.drained = True


def _resume(upstream: Upstream) -> None:
    upstream.state.drained = False


def _reset_breaker(upstream: Upstream) -> None:
    upstream.state.breaker.reset()
    upstream.state.failures_in_a_row = upstream.state.probe_failures = 0


def _provider(upstream: Upstream, latency: Latency | None) -> dict[str, object]:
    """One backend as /admin/providers and `appliance status` show it; no credentials in it."""
    state, pool, now = upstream.state, upstream.transport.stats(), trio.current_time()
    return {
        "name": upstream.name, "provider": upstream.provider.name, "base_url": upstream.base_url, "healthy": state.healthy,
        "drained": state.drained, "breaker": str(state.breaker.state), "breaker_opened_total": state.breaker.opened_total,
        "in_flight": state.in_flight, "max_concurrency": upstream.slots.limit, "waiting": upstream.slots.waiting,
        "connections": {"open": pool.open, "idle": pool.idle, "queued": pool.queued},
        "first_byte_ms": round(state.first_byte_s * 1000, 1), "requests": state.requests, "errors": state.errors,
        "latency_ms": None if latency is None else {
            "p50": round(latency.p50_s * 1000, 1), "p95": round(latency.p95_s * 1000, 1), "attempts": latency.attempts,
        },
        "down_because": down_because(state, now), "last_error": state.last_error,
        "last_error_s_ago": round(now - state.last_error_at, 1) if state.last_error else None, "last_probe": state.last_probe,
        "credentials": _credentials(upstream), "keys": _keys(upstream),
    }  # fmt: skip


def _keys(upstream: Upstream) -> list[dict[str, object]]:
    """Several keys by their numbers, with how long each rests yet; nothing of a backend with one."""
    now = trio.current_time()
    return [
        {
            "key": number, "value": MASK, "rests_s": round(max(0.0, key.resting_until - now), 1), "last_refusal": key.last_refusal,
            "requests": key.requests, "refusals": dict(key.refusals),
        }
        for number, key in enumerate(upstream.ring.keys if upstream.ring is not None else (), 1)
    ]  # fmt: skip


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


LIVE_ROUTES = (
    AdminRoute("GET", "/admin/providers", "listProviders", "Backends with their health", list_providers,
               table({"providers": array(ref("Provider"))})),
    AdminRoute("GET", "/admin/stats", "showStats", "What was served since the start", show_stats, {"type": "object"}),
    AdminRoute("GET", "/admin/config", "showConfig", "The configuration in force, secrets masked; or what a reload would change",
               show_config, {"type": "object"}, refusals=(400,),
               query=(Parameter("diff", "true: `changes`, `problems` and `needs_restart` of the file as it is now", {"type": "boolean"}),)),
    AdminRoute("POST", "/admin/reload", "reload", "Load the configuration anew, whole or not at all", reload,
               table({"changes": array(TEXT), "problems": array(TEXT)}), refusals=(422,)),
    AdminRoute("POST", "/admin/backends/{name}/drain", "drainBackend", "Take a backend out", drain, ref("Provider"), refusals=(404,)),
    AdminRoute("POST", "/admin/backends/{name}/resume", "resumeBackend", "Put it back in", resume, ref("Provider"), refusals=(404,)),
    AdminRoute("POST", "/admin/backends/{name}/reset-breaker", "resetBreaker", "Close its breaker and forget its failures", reset_breaker,
               ref("Provider"), refusals=(404,)),
)  # fmt: skip
