"""The `llm_gateway` vocabulary: by model and provider; its prefix is doubled in the dashboards that use it.

Requests that reached a backend count, refusals do not: a per-provider error ratio must not see what no provider saw.
"""

from appliance.telemetry.family import BOOL_TEXT, REACHED, Family, Label
from appliance.telemetry.verdict import ANY_ERROR, CLIENT_GONE

PREFIX = "llm_gateway_llm_gateway_"
# Seconds.
DURATION_EDGES_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
TTFT_EDGES_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Seconds without a generation after which tokens_per_second falls silent: an alert reads it as `< 10 for 10m`, and a model that nobody asks
# is not a slow one. Half of the alert's ten minutes.
RATE_IDLE_S = 300.0

BREAKER = {"closed": 0, "open": 1, "half_open": 2}
STATUS = {"": "success", CLIENT_GONE: "cancelled"} | {label: "error" for label in ANY_ERROR if label != CLIENT_GONE}

MODEL, PROVIDER, STREAMING = Label("model"), Label("provider", "backend"), Label("streaming", "stream", BOOL_TEXT)

FAMILIES = (
    Family(
        PREFIX + "requests_total", "counter", "Requests that reached a backend, by how they ended.", "requests",
        (MODEL, PROVIDER, Label("status", "error_type", STATUS), STREAMING), "count",
        where=REACHED, fill={"status": ("success", "error")},
    ),
    Family(
        PREFIX + "request_duration_seconds", "histogram", "Duration of requests that reached a backend.", "requests",
        (MODEL, PROVIDER, STREAMING), "duration", where=REACHED, edges=DURATION_EDGES_S, unit="seconds",
    ),
    Family(
        PREFIX + "tokens_total", "counter", "Tokens of answers, as billed.", "requests", (MODEL, PROVIDER), where=REACHED,
        split=("type", {"input": "input_tokens", "output": "output_tokens"}),
    ),
    Family(
        PREFIX + "active_requests", "gauge", "Requests running on the provider now.", "live", (PROVIDER,),
        read=lambda scope: [((one.name,), one.in_flight) for one in scope.live.backends],
    ),
    Family(
        PREFIX + "provider_health", "gauge", "Whether the provider takes requests: 1 healthy, 0 not.", "live", (PROVIDER,),
        read=lambda scope: [((one.name,), int(one.healthy)) for one in scope.live.backends],
    ),
    Family(
        PREFIX + "errors_total", "counter", "Attempts at a provider that failed.", "attempts",
        (PROVIDER, Label("error_type")), "count", where={"outcome": frozenset({"error"})},
    ),
    Family(
        PREFIX + "circuit_breaker_state", "gauge", "Circuit breaker: 0 closed, 1 open, 2 half-open.", "live", (PROVIDER,),
        read=lambda scope: [((one.name,), BREAKER[one.breaker]) for one in scope.live.backends],
    ),
    Family(
        PREFIX + "rate_limit_hits_total", "counter", "Requests refused by a limit of the tenant: requests, tokens, concurrency or budget.",
        "limits", (Label("tenant"), Label("limit_type")),
        # A budget's first refusal is news in itself, and who has one has a gauge for it already. That of a rate is not, and would be three
        # more series for each of up to ten thousand tenants.
        seed=lambda live: [(name, "budget") for name in live.budgets],
    ),
    Family(
        PREFIX + "cache_operations_total", "counter", "Look-ups in the response cache.", "lookups", (Label("operation"), Label("result")),
        seed=lambda _live: [("get", "hit"), ("get", "miss")],
    ),
    Family(
        PREFIX + "ttft_seconds", "histogram", "Time to the first content or tool-call delta of a stream.", "requests",
        (MODEL, PROVIDER), "ttft", where=REACHED, edges=TTFT_EDGES_S, unit="seconds",
    ),
    Family(
        PREFIX + "tokens_per_second", "gauge", "Speed of the last generation of two tokens or more; absent when idle.", "live",
        (MODEL, PROVIDER),
        read=lambda scope: [(key, rate.tokens_per_s) for key, rate in scope.cells.rates.items() if scope.now - rate.at <= RATE_IDLE_S],
    ),
)  # fmt: skip
