"""What the gateway is doing right now, as plain data, read once at scrape.

Whoever owns live state implements `LiveView`; telemetry never reaches into it. One `LiveState` is one instant: it is taken in one go, with
no await, so that the gauges of one scrape belong together.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import attrs

BreakerState = Literal["closed", "open", "half_open"]


@attrs.frozen
class KeyState:
    """One of several keys of a backend, known by its number. refusals: by error type."""

    number: int
    resting: bool
    requests: int
    refusals: Mapping[str, int]


@attrs.frozen
class BackendState:
    """One configured backend.

    Attributes:
        healthy: False while its breaker is open or its health check says so.
        in_flight: attempts running on it.
        pool_open, pool_idle: upstream connections; idle ones are among the open ones.
        queued: requests waiting for a slot of `max_concurrency` or for a connection.
        keys: none of a backend that has but one.
    """

    name: str
    healthy: bool = True
    breaker: BreakerState = "closed"
    in_flight: int = 0
    pool_open: int = 0
    pool_idle: int = 0
    queued: int = 0
    keys: Sequence[KeyState] = ()


@attrs.frozen
class LedgerState:
    """The usage ledger: rows written and write errors since start, rows waiting for their commit."""

    rows: int = 0
    queued: int = 0
    errors: int = 0


@attrs.frozen
class CacheState:
    """The response cache: what it holds now, requests that wait in it for the answer to another, and entries that gave way since start."""

    entries: int = 0
    size_bytes: int = 0
    waiting: int = 0
    evictions: int = 0


@attrs.frozen
class LiveState:
    """One instant of the process.

    Attributes:
        backends, models, tenants: every configured one, so that their series exist before the first request.
        experiments: the configured ones' names, so that the series of both variants exist before the first assignment.
        shadows: copies of requests by experiment and what became of them; shadow_costs_usd: what they cost, by experiment.
        budgets: spent plus reserved over budget of the running period, 0 to 1 and beyond; only tenants that have a budget.
        started_at, config_loaded_at: wall-clock seconds since the epoch; 0 when unknown.
        reloads_ok, reloads_failed: configuration reloads since start, the first load not among them.
        restarts: supervised services and how often each was restarted; name every service, so that its zero is seen.
        refusals: what HTTP engines refused before the application ran, by (status, class of reason); name those that
            can come, so that their zeros are seen.
        log_dropped: log lines thrown away because standard error did not take them.
        unpriced: requests for models without a price, by model (bounded) and what was made of them (refuse, zero, estimate).
        budget_warnings: given, by tenant (bounded), scope (tenant, key) and percent; budget_webhooks: warnings by what became of their
            delivery.
        trace_spans: spans by what became of them (sent, rejected, failed, dropped); traces_queued: requests that wait to be sent.
        ledger: None when there is no ledger. cache: of responses.
        hedges_withheld: slow requests that were not asked twice, by route; name every route that hedges, so that its zero is seen.
    """

    backends: Sequence[BackendState] = ()
    models: Sequence[str] = ()
    tenants: Sequence[str] = ()
    experiments: Sequence[str] = ()
    shadows: Mapping[tuple[str, str], int] = attrs.field(factory=dict)
    shadow_costs_usd: Mapping[str, float] = attrs.field(factory=dict)
    budgets: Mapping[str, float] = attrs.field(factory=dict)
    namespace: str = "default"
    in_flight: int = 0
    active_streams: int = 0
    client_connections: int = 0
    draining: bool = False
    started_at: float = 0.0
    config_loaded_at: float = 0.0
    reloads_ok: int = 0
    reloads_failed: int = 0
    restarts: Mapping[str, int] = attrs.field(factory=dict)
    refusals: Mapping[tuple[int, str], int] = attrs.field(factory=dict)
    log_dropped: int = 0
    unpriced: Mapping[tuple[str, str], int] = attrs.field(factory=dict)
    budget_warnings: Mapping[tuple[str, str, str], int] = attrs.field(factory=dict)
    budget_webhooks: Mapping[str, int] = attrs.field(factory=dict)
    trace_spans: Mapping[str, int] = attrs.field(factory=dict)
    traces_queued: int = 0
    hedges_withheld: Mapping[str, int] = attrs.field(factory=dict)
    ledger: LedgerState | None = None
    cache: CacheState = CacheState()
    version: str = ""
    commit: str = ""
    python: str = ""


class LiveView(Protocol):
    """The owner of live state, as telemetry sees it."""

    def state(self) -> LiveState:
        """The present instant. Synchronous and quick: it is called on the event loop at every scrape."""
        ...
