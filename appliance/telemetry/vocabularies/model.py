"""The `model` vocabulary: by served model alone, latency in milliseconds.

Requests that reached a backend count; an error is one that ended in a fault of upstream or gateway, never one of the caller.
"""

from appliance.telemetry.family import REACHED, Family, Label
from appliance.telemetry.live import LiveState
from appliance.telemetry.verdict import OF_GATEWAY, OF_UPSTREAM

# Milliseconds: the dashboards divide model_latency_ms_sum by its count and show the quotient as milliseconds.
EDGES_MS = (50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0, 30000.0, 60000.0, 120000.0)

MODEL = Label("model")


def _named(live: LiveState) -> list[tuple[str]]:
    """Every model that the configuration names has all its counters from start: a rate does not see what a series appears with, and errors
    over requests that only appear with the first failure would be infinitely many."""
    return [(name,) for name in live.models]


FAMILIES = (
    Family(
        "model_requests_total", "counter", "Requests that reached a backend.", "requests", (MODEL,), "count", where=REACHED, seed=_named,
    ),
    Family(
        "model_errors_total", "counter", "Of those, the ones that ended in a fault of upstream or gateway.", "requests", (MODEL,), "count",
        where=REACHED, counted={"error_type": OF_UPSTREAM | OF_GATEWAY}, seed=_named,
    ),
    Family(
        "model_latency_ms", "histogram", "Duration of requests that reached a backend, in milliseconds.", "requests",
        (MODEL,), "duration", where=REACHED, edges=EDGES_MS, scale=1000.0, unit="ms",
    ),
    Family(
        "model_tokens_used_total", "counter", "Tokens of answers, input and output together.", "requests", (MODEL,), "total_tokens",
        where=REACHED, seed=_named,
    ),
)  # fmt: skip
