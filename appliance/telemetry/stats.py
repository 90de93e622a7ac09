"""/admin/stats: the same cells as the metrics, summed for people. Nothing here counts anything."""

from collections.abc import Generator
from typing import Any

import attrs

from appliance.telemetry.cells import DURATION_EDGES_S, TTFT_EDGES_S, Cells, RequestCell, RequestKey
from appliance.telemetry.family import DIMENSIONS
from appliance.telemetry.histogram import Histogram, quantile
from appliance.telemetry.live import LiveState
from appliance.telemetry.verdict import CLIENT_GONE, OF_CALLER

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

# Cells summed between two pauses; each goes into five sums, about 20 µs in all.
PAUSE_CELLS = 50

_AT = {name: place for place, name in enumerate(DIMENSIONS["requests"])}


@attrs.define
class Sums:
    """Sums over some cells."""

    requests: int = 0
    succeeded: int = 0
    errors: int = 0
    refused: int = 0
    client_gone: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    duration: Histogram = attrs.field(factory=lambda: Histogram(DURATION_EDGES_S))
    ttft: Histogram = attrs.field(factory=lambda: Histogram(TTFT_EDGES_S))

    def add(self, key: RequestKey, cell: RequestCell) -> None:
        error_type = key[_AT["error_type"]]
        self.requests += cell.count
        if error_type == "":
            self.succeeded += cell.count
        elif error_type == CLIENT_GONE:
            self.client_gone += cell.count
        elif error_type in OF_CALLER:
            self.refused += cell.count
        else:
            self.errors += cell.count
        self.input_tokens += cell.input_tokens
        self.output_tokens += cell.output_tokens
        self.cost_usd += cell.cost_usd
        _merge(self.duration, cell.duration)
        if cell.ttft is not None:
            _merge(self.ttft, cell.ttft)

    def shown(self) -> dict[str, Any]:
        """JSON-ready. Latencies in milliseconds, None where nothing was observed; `refused` is what callers got wrong or may not do."""
        return {
            "requests": self.requests, "succeeded": self.succeeded, "errors": self.errors, "refused": self.refused,
            "client_gone": self.client_gone, "input_tokens": self.input_tokens, "output_tokens": self.output_tokens,
            "cost_usd": round(self.cost_usd, 9), "duration_ms": _quantiles_ms(self.duration), "ttft_ms": _quantiles_ms(self.ttft),
        }  # fmt: skip


def stats(cells: Cells, live: LiveState, wall_time: float) -> dict[str, Any]:
    """Totals, then by backend, route, tenant and model, in one go. `stats_steps` is the same with pauses."""
    steps = stats_steps(cells, live, wall_time)
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            shown: dict[str, Any] = finished.value
            return shown


def stats_steps(cells: Cells, live: LiveState, wall_time: float) -> Generator[None, None, dict[str, Any]]:
    """As `stats`; yields every PAUSE_CELLS cells, so that the server can let its streams run in between."""
    total = Sums()
    tables: dict[str, dict[str, Sums]] = {name: {} for name in ("backend", "route", "tenant", "model")}
    tables["backend"] = {one.name: Sums() for one in live.backends}
    for done, key in enumerate(list(cells.requests)):
        cell = cells.requests[key]
        if done % PAUSE_CELLS == PAUSE_CELLS - 1:
            yield
        total.add(key, cell)
        for name, table in tables.items():
            value = str(key[_AT[name]])
            if value not in table:
                table[value] = Sums()
            table[value].add(key, cell)
    yield
    return {
        "uptime_s": round(max(0.0, wall_time - live.started_at), 3) if live.started_at else None,
        "in_flight": live.in_flight, "active_streams": live.active_streams, "draining": live.draining, "total": total.shown(),
        "overhead_ms": _quantiles_ms(cells.overhead), "event_loop_lag_ms": _quantiles_ms(cells.loop_lag),
        "backends": _with_state(_shown(tables["backend"]), live), "routes": _shown(tables["route"]),
        "tenants": _shown(tables["tenant"]), "models": _shown(tables["model"]),
        "series": {"kept": cells.series, "dropped": cells.dropped},
    }  # fmt: skip


def _shown(table: dict[str, Sums]) -> dict[str, dict[str, Any]]:
    return {value: sums.shown() for value, sums in table.items()}


def _with_state(backends: dict[str, dict[str, Any]], live: LiveState) -> dict[str, dict[str, Any]]:
    """Every configured backend is there, asked or not."""
    for one in live.backends:
        backends[one.name] |= {"healthy": one.healthy, "breaker": one.breaker, "in_flight": one.in_flight}
    return backends


def _merge(into: Histogram, one: Histogram) -> None:
    into.counts = [a + b for a, b in zip(into.counts, one.counts, strict=True)]
    into.sum += one.sum


def _quantiles_ms(histogram: Histogram) -> dict[str, float | None]:
    found = {name: quantile(histogram.edges, histogram.counts, share) for name, share in QUANTILES.items()}
    return {name: None if value is None else round(value * 1000, 3) for name, value in found.items()}
