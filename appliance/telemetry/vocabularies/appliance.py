"""The `appliance` vocabulary: the gateway's own operation.

Nothing here is about a model or a tenant; every family is read from the process as it is.
"""

from collections.abc import Iterator, Sequence

from appliance.telemetry.family import Family, Label, Scope
from appliance.telemetry.live import BackendState, KeyState, LedgerState

BACKEND, KEY, ROUTE = Label("backend"), Label("key"), Label("route")
KEY_FAULTS = ("authentication", "quota", "rate_limited")


def _hedges(scope: Scope, what: str) -> list[tuple[tuple[str, ...], float]]:
    """By route, from 0 on for those that hedge."""
    counts = dict.fromkeys(scope.live.hedges_withheld, 0)
    counts.update({route: times for (route, part), times in scope.cells.hedges.items() if part == what})
    return [((route,), times) for route, times in counts.items()]


def _ledger(state: LedgerState | None, measure: str) -> list[tuple[tuple[str, ...], float]]:
    return [] if state is None else [((), getattr(state, measure))]


def _keys(backends: Sequence[BackendState]) -> Iterator[tuple[BackendState, KeyState]]:
    return ((one, key) for one in backends for key in one.keys)


FAMILIES = (
    Family(
        "appliance_build_info", "info", "The running build.", "live", (Label("version"), Label("commit"), Label("python")),
        read=lambda scope: [((scope.live.version, scope.live.commit, scope.live.python), 1)],
    ),
    Family(
        "appliance_start_time_seconds", "gauge", "When the process started, since the epoch.", "live", unit="seconds",
        read=lambda scope: [((), scope.live.started_at)],
    ),
    Family(
        "appliance_overhead_seconds", "histogram", "Request span minus the union of its upstream spans: what the gateway added.", "live",
        unit="seconds", read=lambda scope: [((), scope.cells.overhead)],
    ),
    Family(
        "appliance_in_flight_requests", "gauge", "Requests being worked on now.", "live", read=lambda scope: [((), scope.live.in_flight)],
    ),
    Family(
        "appliance_client_connections", "gauge", "Client connections open now.", "live",
        read=lambda scope: [((), scope.live.client_connections)],
    ),
    Family(
        "appliance_engine_refusals_total", "counter", "Requests that the HTTP engine refused before the application ran.", "live",
        (Label("status"), Label("reason")),
        read=lambda scope: [((str(status), reason), times) for (status, reason), times in scope.live.refusals.items()],
    ),
    Family(
        "appliance_draining", "gauge", "1 while the process finishes its requests before it ends.", "live",
        read=lambda scope: [((), int(scope.live.draining))],
    ),
    Family(
        "appliance_config_reloads_total", "counter", "Configuration reloads by result.", "live", (Label("result"),),
        read=lambda scope: [(("ok",), scope.live.reloads_ok), (("failed",), scope.live.reloads_failed)],
    ),
    Family(
        "appliance_config_last_success_timestamp_seconds", "gauge", "When the running configuration was loaded, since the epoch.", "live",
        unit="seconds", read=lambda scope: [((), scope.live.config_loaded_at)],
    ),
    Family(
        "appliance_service_restarts_total", "counter", "Restarts of a supervised service.", "live", (Label("service"),),
        read=lambda scope: [((name,), times) for name, times in scope.live.restarts.items()],
    ),
    Family(
        "appliance_upstream_connections", "gauge", "Upstream connections by state.", "live", (BACKEND, Label("state")),
        read=lambda scope: [
            pair
            for one in scope.live.backends
            for pair in (((one.name, "open"), one.pool_open), ((one.name, "idle"), one.pool_idle))
        ],
    ),
    Family(
        "appliance_upstream_queued_requests", "gauge", "Requests waiting for a slot or a connection.", "live", (BACKEND,),
        read=lambda scope: [((one.name,), one.queued) for one in scope.live.backends],
    ),
    Family(
        "appliance_upstream_key_resting", "gauge", "1 while one of a backend's several keys rests because it was refused.", "live",
        (BACKEND, KEY), read=lambda scope: [((one.name, str(key.number)), int(key.resting)) for one, key in _keys(scope.live.backends)],
    ),
    Family(
        "appliance_upstream_key_requests_total", "counter", "Attempts made with one of a backend's several keys.", "live", (BACKEND, KEY),
        read=lambda scope: [((one.name, str(key.number)), key.requests) for one, key in _keys(scope.live.backends)],
    ),
    Family(
        "appliance_upstream_key_refusals_total", "counter", "Times a backend refused one of its several keys.", "live",
        (BACKEND, KEY, Label("error_type")),
        read=lambda scope: [
            ((one.name, str(key.number), error_type), key.refusals.get(error_type, 0))
            for one, key in _keys(scope.live.backends)
            for error_type in KEY_FAULTS
        ],
    ),
    Family(
        "appliance_event_loop_lag_seconds", "histogram", "How late a timer of the event loop fired.", "live",
        unit="seconds", read=lambda scope: [((), scope.cells.loop_lag)],
    ),
    Family(
        "appliance_hedges_sent_total", "counter", "Second attempts made beside a slow first one.", "live", (ROUTE,),
        read=lambda scope: _hedges(scope, "sent"),
    ),
    Family(
        "appliance_hedges_won_total", "counter", "Second attempts whose answer the caller got.", "live", (ROUTE,),
        read=lambda scope: _hedges(scope, "won"),
    ),
    Family(
        "appliance_hedges_withheld_total", "counter", "Slow first attempts without a second: the share was used up, or nobody was free.",
        "live", (ROUTE,), read=lambda scope: [((route,), times) for route, times in scope.live.hedges_withheld.items()],
    ),
    Family(
        "appliance_unpriced_requests_total", "counter", "Requests for a model without a price, by what was made of them.", "live",
        (Label("model"), Label("policy")), read=lambda scope: list(scope.live.unpriced.items()),
    ),
    Family(
        "appliance_experiment_copies_total", "counter", "Copies of requests for a shadow experiment, by what became of them.",
        "live", (Label("experiment"), Label("result")), read=lambda scope: list(scope.live.shadows.items()),
    ),
    Family(
        "appliance_experiment_copies_cost_usd_total", "counter", "What the copies of a shadow experiment cost, in US dollars.", "live",
        (Label("experiment"),), read=lambda scope: [((name,), usd) for name, usd in scope.live.shadow_costs_usd.items()],
    ),
    Family(
        "appliance_budget_warnings_total", "counter", "Budgets that reached a part of their ceiling.", "live",
        (Label("tenant"), Label("scope"), Label("percent")), read=lambda scope: list(scope.live.budget_warnings.items()),
    ),
    Family(
        "appliance_budget_webhooks_total", "counter", "Budget warnings by what became of their delivery.", "live", (Label("result"),),
        read=lambda scope: [((result,), times) for result, times in scope.live.budget_webhooks.items()],
    ),
    Family(
        "appliance_trace_spans_total", "counter", "Spans of traces by what became of them.", "live", (Label("result"),),
        read=lambda scope: [((result,), spans) for result, spans in scope.live.trace_spans.items()],
    ),
    Family(
        "appliance_trace_queued_requests", "gauge", "Finished requests whose spans wait to be sent.", "live",
        read=lambda scope: [((), scope.live.traces_queued)],
    ),
    Family(
        "appliance_ledger_rows_total", "counter", "Rows written to the usage ledger.", "live",
        read=lambda scope: _ledger(scope.live.ledger, "rows"),
    ),
    Family(
        "appliance_ledger_queued_rows", "gauge", "Ledger rows waiting for their commit.", "live",
        read=lambda scope: _ledger(scope.live.ledger, "queued"),
    ),
    Family(
        "appliance_ledger_errors_total", "counter", "Failed writes to the usage ledger.", "live",
        read=lambda scope: _ledger(scope.live.ledger, "errors"),
    ),
    Family(
        "appliance_cache_entries", "gauge", "Answers kept in the response cache.", "live",
        read=lambda scope: [((), scope.live.cache.entries)],
    ),
    Family(
        "appliance_cache_bytes", "gauge", "Memory of the answers kept in the response cache.", "live", unit="bytes",
        read=lambda scope: [((), scope.live.cache.size_bytes)],
    ),
    Family(
        "appliance_cache_evictions_total", "counter", "Answers that gave way in the response cache before their time was over.", "live",
        read=lambda scope: [((), scope.live.cache.evictions)],
    ),
    Family(
        "appliance_cache_waiting_requests", "gauge", "Requests waiting for the answer to the same request.", "live",
        read=lambda scope: [((), scope.live.cache.waiting)],
    ),
    Family(
        "appliance_metric_series", "gauge", "Label sets kept.", "live", read=lambda scope: [((), scope.cells.series)],
    ),
    Family(
        "appliance_metric_series_dropped_total", "counter", "Times a new label set was folded into `other` because the bound was reached.",
        "live", read=lambda scope: [((), scope.cells.dropped)],
    ),
    Family(
        "appliance_log_lines_dropped_total", "counter", "Log lines thrown away because standard error did not take them.", "live",
        read=lambda scope: [((), scope.live.log_dropped)],
    ),
)  # fmt: skip
