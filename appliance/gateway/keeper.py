"""Services that keep what is known of the backends up to date: the breaker keeper and the active health checkers.

Neither sends anything that costs money, and neither touches a request.
"""

from collections.abc import Callable

import trio

from appliance.gateway.gateway import Gateway
from appliance.gateway.probe import probe
from appliance.gateway.upstream import Upstream

KEEPER_TICK_S = 0.2
"""How often breakers are looked at. A rested one is late by this much; the cost is one comparison per backend."""

PROBES_MAX = 16
"""Probes at once, over all backends."""

JITTER = 0.1
"""Share of the interval by which probes are spread, so that many gateways do not probe one provider in step."""


async def keep_breakers(gateway: Gateway) -> None:
    """Move rested breakers to half-open. Where a free probe exists it goes first, so that finding out costs no caller's request."""
    limit = trio.CapacityLimiter(PROBES_MAX)
    asked: set[int] = set()
    async with trio.open_nursery() as nursery:
        while True:
            now = trio.current_time()
            for upstream in gateway.plan.upstreams.values():
                if not upstream.state.breaker.rested(now) or id(upstream) in asked:
                    continue
                if upstream.health_path() is None:
                    upstream.state.breaker.half_open()
                else:
                    asked.add(id(upstream))
                    nursery.start_soon(_probe_rested, upstream, limit, asked)
            await trio.sleep(KEEPER_TICK_S)


async def _probe_rested(upstream: Upstream, limit: trio.CapacityLimiter, asked: set[int]) -> None:
    breaker = upstream.state.breaker
    generation = breaker.generation
    try:
        async with limit:
            problem = await probe(upstream)
        upstream.state.last_probe = problem or "ok"
        if breaker.generation != generation:
            return  # somebody else decided meanwhile
        if problem:
            breaker.open(trio.current_time())
        else:
            breaker.half_open()
            upstream.state.failures_in_a_row = 0  # it answers: what failed before says no more about it
    finally:
        asked.discard(id(upstream))


async def check_health(gateway: Gateway, name: str, draw: Callable[[], float]) -> None:
    """The active health checker of one backend, for as long as the plan has it with `health.mode = "active"`."""
    while True:
        upstream = gateway.plan.upstreams.get(name)
        if upstream is None or upstream.settings.health.mode != "active":
            return
        upstream.state.probed(await probe(upstream))
        await trio.sleep(upstream.settings.health.interval_s * (1 - JITTER + 2 * JITTER * draw()))
