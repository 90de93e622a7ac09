"""The `inference_gateway` vocabulary: by route and backend, with the HTTP status that the client saw.

Every request counts, refusals under backend `none` and cache hits under backend `cache`.
"""

from appliance.core.experiment import VARIANTS
from appliance.telemetry.family import REACHED, Family, Label
from appliance.telemetry.verdict import ANY_ERROR

# Seconds.
EDGES_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

ROUTE, BACKEND = Label("route"), Label("backend")
# A budget is money, not a rate: its refusals are no rate-limit hits here.
RATE_LIMITS = frozenset({"requests", "tokens", "concurrency"})

FAMILIES = (
    Family(
        "inference_gateway_requests_total", "counter", "Requests by the HTTP status sent to the client; 499 when the client left first.",
        "requests", (ROUTE, BACKEND, Label("status")), "count",
    ),
    Family(
        "inference_gateway_request_duration_seconds", "histogram", "Request duration from parsed head to last byte.",
        "requests", (ROUTE, BACKEND), "duration", edges=EDGES_S, unit="seconds",
    ),
    Family(
        "inference_gateway_request_errors_total", "counter", "Requests that ended in a fault, under the backend of the last attempt.",
        "requests", (ROUTE, BACKEND, Label("error_type")), "count", where={"error_type": ANY_ERROR},
    ),
    Family(
        "inference_gateway_backend_health", "gauge", "Whether the backend takes requests: 1 healthy, 0 not.", "live",
        (BACKEND, Label("namespace")),
        read=lambda scope: [((one.name, scope.live.namespace), int(one.healthy)) for one in scope.live.backends],
    ),
    Family(
        "inference_gateway_active_requests", "gauge", "Requests running on the backend now.", "live", (BACKEND,),
        read=lambda scope: [((one.name,), one.in_flight) for one in scope.live.backends],
    ),
    Family(
        "inference_gateway_rate_limit_hits_total", "counter", "Requests refused by a rate or concurrency limit.",
        "limits", (ROUTE, Label("user")), where={"limit_type": RATE_LIMITS},
    ),
    Family(
        "inference_gateway_experiment_assignments_total", "counter", "Requests assigned to a variant of an experiment.",
        "experiments", (Label("experiment"), Label("variant")),
        seed=lambda live: [(name, variant) for name in live.experiments for variant in VARIANTS],
    ),
    Family(
        "inference_gateway_cost_total", "counter", "Cost of answers, in US dollars.", "requests", (ROUTE, BACKEND), "cost_usd",
        where=REACHED,
    ),
    Family(
        "inference_gateway_tokens_total", "counter", "Tokens of answers, as billed.", "requests", (ROUTE, BACKEND),
        where=REACHED, split=("type", {"input": "input_tokens", "output": "output_tokens"}),
    ),
    Family(
        "inference_gateway_fallbacks_total", "counter", "Times a request moved on to another backend.",
        "fallbacks", (ROUTE, Label("from_backend"), Label("to_backend")),
    ),
)  # fmt: skip
