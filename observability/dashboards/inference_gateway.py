"""AI Inference Gateway: by route and backend, with what callers saw (the `inference_gateway` vocabulary)."""

from typing import Final

from observability.dashboards.board import Board, Row
from observability.dashboards.panels import (
    COUNT,
    HEALTH,
    HEALTH_STEPS,
    PERCENT,
    REQUESTS_PER_S,
    SECONDS,
    STATE,
    TOKENS_PER_S,
    USD,
    Panel,
    good_above,
    good_below,
    legend,
)
from observability.dashboards.promql import per_s, per_s_of_many, percent, percentiles, quantile

REQUESTS: Final = "inference_gateway_requests_total"
BUCKETS: Final = "inference_gateway_request_duration_seconds_bucket"

OVERVIEW = (
    Panel(
        "Request Rate", "Requests per second across all routes, refused ones and cache hits too.", "stat", REQUESTS_PER_S,
        legend(("Requests", per_s(REQUESTS))), width=6, height=4,
    ),
    Panel(
        "Success Rate", "Requests answered with 2xx, in percent of all.", "stat", PERCENT,
        legend(("Success", percent(per_s(REQUESTS + '{status=~"2.."}'), per_s(REQUESTS)))),
        width=6, height=4, steps=good_above(95, 99), decimals=2,
    ),
    Panel(
        "P95 Latency", "95 of 100 requests took no longer, from parsed head to last byte: streams until they end.", "stat", SECONDS,
        legend(("p95", quantile(0.95, BUCKETS))), width=6, height=4, steps=good_below(5, 10), runbook="LLMGatewayHighLatencyP95",
    ),
    Panel(
        "Total Cost", "US dollars across all backends since the gateways started. `appliance usage` knows every day before.", "stat", USD,
        legend(("Cost", "sum(inference_gateway_cost_total)")), width=6, height=4, decimals=2,
    ),
)  # fmt: skip

TRAFFIC = (
    Panel(
        "Request Rate by Route", "Traffic distribution across routes.", "timeseries", REQUESTS_PER_S,
        legend(("{{route}}", per_s(REQUESTS, "route"))), minimum=0, calcs=("mean", "max"),
    ),
    Panel(
        "Request Rate by Backend", "Traffic distribution across backends. `none` was refused before any backend, `cache` answered from it.",
        "timeseries", REQUESTS_PER_S, legend(("{{backend}}", per_s(REQUESTS, "backend"))), minimum=0, calcs=("mean", "max"),
    ),
)  # fmt: skip

LATENCY = (
    Panel(
        "Latency Percentiles by Backend", "P50, P95 and P99 of request duration by backend, streams until they end.", "timeseries", SECONDS,
        legend(*percentiles(BUCKETS, "backend")), minimum=0, calcs=("mean", "max"),
    ),
    Panel(
        "Active Requests by Backend", "Attempts running on each backend now.", "timeseries", COUNT,
        legend(("{{backend}}", "sum by (backend) (inference_gateway_active_requests)")), minimum=0, calcs=("max", "lastNotNull"),
        runbook="LLMGatewayHighActiveRequests",
    ),
)  # fmt: skip

ERRORS = (
    Panel(
        "Errors by Backend", "Requests that ended in a fault, by the last attempt's backend and what went wrong. Empty while none did.",
        "timeseries", REQUESTS_PER_S,
        legend(("{{backend}} {{error_type}}", per_s("inference_gateway_request_errors_total", "backend", "error_type"))),
        minimum=0, calcs=("mean", "max"), runbook="LLMGatewayHighErrorRate",
    ),
    Panel(
        "Rate Limit Hits by Route", "Requests refused by a rate or concurrency limit of the gateway. Budgets are not among them.",
        "timeseries", REQUESTS_PER_S,
        legend(("{{route}}", per_s_of_many("inference_gateway_rate_limit_hits_total", REQUESTS, "route"))),
        minimum=0, calcs=("mean", "max"), runbook="LLMGatewayRateLimitHits",
    ),
)  # fmt: skip

BACKENDS = (
    Panel(
        "Backend Health Status", "Whether each backend takes requests now: its breaker is not open and its health check does not fail. "
        "With several gateways, what the one that thinks worst of it says.", "stat", STATE,
        legend(("{{backend}} ({{namespace}})", "min by (backend, namespace) (inference_gateway_backend_health)")),
        steps=HEALTH_STEPS, mapping=HEALTH, runbook="LLMGatewayProviderUnhealthy",
    ),
    Panel(
        "Fallback Activations", "How often a request moved on from one backend to another.", "timeseries", REQUESTS_PER_S,
        legend(("{{from_backend}} → {{to_backend}}", per_s("inference_gateway_fallbacks_total", "from_backend", "to_backend"))), minimum=0,
        calcs=("mean", "max"),
    ),
)  # fmt: skip

COSTS = (
    Panel(
        "Cost Rate by Backend", "US dollars that are being spent per hour at the present rate.", "timeseries", USD,
        legend(("{{backend}}", "3600 * " + per_s("inference_gateway_cost_total", "backend"))), minimum=0, calcs=("mean", "max"),
        axis="USD per hour",
    ),
    Panel(
        "Token Rate by Backend", "Tokens per second, input and output apart, as billed.", "timeseries", TOKENS_PER_S,
        legend(("{{backend}} {{type}}", per_s("inference_gateway_tokens_total", "backend", "type"))), minimum=0, calcs=("mean", "max"),
        runbook="LLMGatewayHighTokenUsage",
    ),
)  # fmt: skip

EXPERIMENTS = (
    Panel(
        "Experiment Assignments", "Traffic distribution across the variants of each experiment. "
        "`appliance experiments` compares their outcomes.", "timeseries", REQUESTS_PER_S,
        legend(("{{experiment}} {{variant}}", per_s("inference_gateway_experiment_assignments_total", "experiment", "variant"))),
        width=24, minimum=0, calcs=("mean", "max"),
    ),
)  # fmt: skip

BOARD = Board(
    uid="inference-gateway",
    title="AI Inference Gateway",
    description="Traffic, latency, errors, health, costs and experiments by route and backend.",
    rows=(
        Row("Overview", OVERVIEW),
        Row("Traffic", TRAFFIC),
        Row("Latency", LATENCY),
        Row("Errors & Rate Limits", ERRORS),
        Row("Backend Health", BACKENDS),
        Row("Costs & Tokens", COSTS),
        Row("A/B Experiments", EXPERIMENTS),
    ),
)
