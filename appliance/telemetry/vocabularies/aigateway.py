"""The `aigateway` vocabulary: by tenant and provider, with the reason a request ended in words.

Every request counts: refusals under provider `none`, cache hits under provider `cache`. Provider errors are attempts.
"""

from appliance.telemetry.family import REACHED, Family, Label
from appliance.telemetry.verdict import CLIENT_GONE, OF_UPSTREAM

# Seconds.
EDGES_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

# The order differs from other vocabularies: half-open is 1 here.
BREAKER = {"closed": 0, "half_open": 1, "open": 2}

STATUS = {
    "": "success",
    CLIENT_GONE: "client_gone",
    "unauthorized": "unauthorized",
    "model_forbidden": "unauthorized",
    "budget_exceeded": "budget_exceeded",
    "rate_limit_exceeded": "rate_limited",
    "invalid_request": "bad_request",
    "context_length": "bad_request",
    "content_filtered": "bad_request",
    "method_not_allowed": "bad_request",
    "request_timeout": "bad_request",
    "body_too_large": "bad_request",
    "unsupported_media": "bad_request",
    "unknown_model": "no_provider",
    "not_found": "no_provider",
    "no_backend": "no_provider",
    "backend_busy": "no_provider",
    "draining": "no_provider",
    "ledger_unavailable": "no_provider",
    # The closed set has no word for a bug of the gateway; this is the one that alerts look at.
    "internal": "provider_error",
} | dict.fromkeys(OF_UPSTREAM, "provider_error")

TENANT, PROVIDER, MODEL = Label("tenant_id", "tenant"), Label("provider", "backend"), Label("model")

FAMILIES = (
    Family(
        "aigateway_requests_total", "counter", "Requests by how they ended.", "requests",
        (TENANT, PROVIDER, MODEL, Label("status", "error_type", STATUS)), "count",
    ),
    Family(
        "aigateway_request_duration_seconds", "histogram", "Request duration from parsed head to last byte.", "requests",
        (TENANT, PROVIDER, MODEL), "duration", edges=EDGES_S, unit="seconds",
    ),
    Family(
        "aigateway_tokens_total", "counter", "Tokens of answers, as billed, streams too.", "requests", (TENANT, PROVIDER, MODEL),
        where=REACHED, split=("type", {"input": "input_tokens", "output": "output_tokens"}),
    ),
    Family(
        "aigateway_cost_usd_total", "counter", "Cost of answers in US dollars, streams too.", "requests",
        (TENANT, PROVIDER, MODEL), "cost_usd", where=REACHED, unit="usd",
    ),
    Family(
        "aigateway_cache_hits_total", "counter", "Requests answered from the response cache.", "lookups", (TENANT,),
        counted={"result": frozenset({"hit"})}, seed=lambda live: [(name,) for name in live.tenants],
    ),
    Family(
        "aigateway_cache_misses_total", "counter", "Requests that the response cache had no answer for.", "lookups", (TENANT,),
        counted={"result": frozenset({"miss"})}, seed=lambda live: [(name,) for name in live.tenants],
    ),
    Family(
        "aigateway_circuit_breaker_state", "gauge", "Circuit breaker: 0 closed, 1 half-open, 2 open.", "live", (PROVIDER,),
        read=lambda scope: [((one.name,), BREAKER[one.breaker]) for one in scope.live.backends],
    ),
    Family(
        "aigateway_provider_errors_total", "counter", "Attempts that failed by a fault of the provider.", "attempts",
        (PROVIDER, Label("error_type")), "count", where={"outcome": frozenset({"error"}), "error_type": OF_UPSTREAM},
    ),
    Family(
        "aigateway_rate_limit_hits_total", "counter", "Requests refused by a rate or concurrency limit.", "limits", (TENANT,),
        where={"limit_type": frozenset({"requests", "tokens", "concurrency"})},
    ),
    Family(
        "aigateway_active_streams", "gauge", "Streams being sent to clients now.", "live",
        read=lambda scope: [((), scope.live.active_streams)],
    ),
    Family(
        "aigateway_budget_usage_ratio", "gauge", "Spent plus reserved over budget of the running period; only tenants that have one.",
        "live", (TENANT,), unit="ratio",
        read=lambda scope: [((name,), ratio) for name, ratio in scope.live.budgets.items()],
    ),
)  # fmt: skip
