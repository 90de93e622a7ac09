"""What the gateway is doing right now, gathered for the metrics and the statistics. Reads plainly, changes nothing."""

import platform

import attrs
import trio

from appliance import __version__
from appliance.core.price import NUSD
from appliance.gateway.budget_alerts import BudgetAlerts
from appliance.gateway.gateway import Gateway
from appliance.gateway.upstream import Upstream
from appliance.server.listeners import Engine
from appliance.server.refusal_book import RefusalBook
from appliance.telemetry.live import BackendState, CacheState, KeyState, LedgerState, LiveState
from appliance.telemetry.sink import LineSink


@attrs.define(eq=False)
class View:
    """Implements `telemetry.live.LiveView`.

    Attributes:
        engines: what serves the public listeners, for the count of client connections.
    """

    gateway: Gateway
    sink: LineSink
    refusals: RefusalBook
    alerts: BudgetAlerts
    engines: list[Engine] = attrs.field(factory=list)

    def state(self) -> LiveState:
        """The present instant."""
        gateway = self.gateway
        live, config = gateway.live, gateway.plan.config
        return LiveState(
            backends=[_backend(upstream) for upstream in gateway.plan.upstreams.values()],
            models=gateway.plan.served_models(),
            tenants=list(gateway.plan.tenancy.tenants) or (["anonymous"] if gateway.plan.anonymous else []),
            experiments=[experiment.name for experiment in config.experiments], shadows=dict(gateway.shadows.counts),
            shadow_costs_usd={name: nusd / NUSD for name, nusd in gateway.shadows.costs_nusd.items()},
            namespace=config.telemetry.namespace, in_flight=live.requests, active_streams=live.streams,
            client_connections=sum(engine.connections_open for engine in self.engines), draining=live.draining,
            started_at=live.started_wall, config_loaded_at=live.reloaded_at, reloads_ok=live.reloads_ok,
            reloads_failed=live.reloads_failed, restarts=dict(live.restarts), refusals=dict(self.refusals.counts),
            log_dropped=self.sink.dropped, unpriced=dict(gateway.unpriced.counts), budgets=gateway.accounts.budgets.ratios(),
            budget_warnings=dict(self.alerts.given), budget_webhooks=dict(self.alerts.posted),
            trace_spans=dict(gateway.traces.spans), traces_queued=gateway.traces.waiting,
            ledger=_ledger(gateway), cache=_cache(gateway), version=__version__, python=platform.python_version(),
            hedges_withheld={one.name: live.hedging(one.name).withheld for one in gateway.plan.routes if one.hedge is not None},
        )  # fmt: skip


def _ledger(gateway: Gateway) -> LedgerState:
    status = gateway.accounts.ledger.status()
    return LedgerState(status.rows, status.queued, status.errors)


def _cache(gateway: Gateway) -> CacheState:
    status = gateway.answers.cache.status()
    return CacheState(status.entries, status.size_bytes, gateway.answers.flights.waiting, status.evictions)


def _backend(upstream: Upstream) -> BackendState:
    state, pool = upstream.state, upstream.transport.stats()
    return BackendState(
        name=upstream.name, healthy=state.healthy, breaker=state.breaker.state.value, in_flight=state.in_flight,
        pool_open=pool.open, pool_idle=pool.idle, queued=upstream.slots.waiting + pool.queued,
        keys=_keys(upstream),
    )  # fmt: skip


def _keys(upstream: Upstream) -> list[KeyState]:
    if upstream.ring is None:
        return []
    now = trio.current_time()
    return [KeyState(number, one.rests(now), one.requests, dict(one.refusals)) for number, one in enumerate(upstream.ring.keys, 1)]
