"""LLM Gateway Overview: requests, tokens, health and errors by provider and model (the `llm_gateway` vocabulary).

Only requests that reached a provider count here; what the gateway refused stands on other dashboards.
"""

from typing import Final

from appliance.telemetry.vocabularies.llm_gateway import BREAKER
from observability.dashboards.board import Board, Row
from observability.dashboards.llm_gateway import DETAILS_UID, VARIABLES, of_gateway, of_provider
from observability.dashboards.panels import (
    COUNT,
    HEALTH,
    HEALTH_STEPS,
    PERCENT,
    REQUESTS_PER_S,
    SECONDS,
    STATE,
    TOKENS_PER_S,
    Panel,
    breaker_words,
    good_below,
    legend,
)
from observability.dashboards.promql import per_s, percent, percentiles, quantile

REQUESTS: Final = of_provider("requests_total")
FAILED: Final = of_provider("requests_total", 'status="error"')
BUCKETS: Final = of_provider("request_duration_seconds_bucket")
WORST_HEALTH: Final = f"min by (provider) ({of_provider('provider_health')})"

KEY = (
    Panel(
        "Request Rate", "Requests per second that reached a provider.", "stat", REQUESTS_PER_S,
        legend(("Requests", per_s(REQUESTS))), width=4, height=4,
    ),
    Panel(
        "Error Rate", "Requests that ended in an error, in percent of all that reached a provider. Callers who left are no errors.",
        "stat", PERCENT, legend(("Errors", percent(per_s(FAILED), per_s(REQUESTS)))), width=4, height=4, steps=good_below(5, 20),
        decimals=2, runbook="LLMGatewayHighErrorRate",
    ),
    Panel(
        "P95 Latency", "95 of 100 requests took no longer, streams until they end.", "stat", SECONDS,
        legend(("p95", quantile(0.95, BUCKETS))), width=4, height=4, steps=good_below(10, 30), runbook="LLMGatewayHighLatencyP95",
    ),
    Panel(
        "Active Requests", "Attempts running on the providers now.", "stat", COUNT,
        legend(("Active", f"sum({of_provider('active_requests')})")), width=4, height=4, runbook="LLMGatewayHighActiveRequests",
    ),
    Panel(
        "Token Rate", "Tokens per second, input and output together, as billed.", "stat", TOKENS_PER_S,
        legend(("Tokens", per_s(of_provider("tokens_total")))), width=4, height=4, runbook="LLMGatewayHighTokenUsage",
    ),
    Panel(
        "Healthy Provider Count", "Providers that take requests, of those configured. With several gateways, one that a single gateway "
        "holds for sick is not counted.", "stat", COUNT,
        legend(("Healthy", f"sum({WORST_HEALTH})"), ("Configured", f"count({WORST_HEALTH})")), width=4, height=4,
        steps=(*HEALTH_STEPS,), runbook="LLMGatewayAllProvidersUnhealthy",
    ),
)  # fmt: skip

REQUEST_METRICS = (
    Panel(
        "Request Rate by Provider/Model", "Requests per second by provider and model.", "timeseries", REQUESTS_PER_S,
        legend(("{{provider}} / {{model}}", per_s(REQUESTS, "provider", "model"))), minimum=0, calcs=("mean", "max"), drill=DETAILS_UID,
    ),
    Panel(
        "Requests by Outcome", "How requests ended, streamed and whole ones apart. Cancelled: the caller left.", "timeseries",
        REQUESTS_PER_S, legend(("{{status}}, streamed: {{streaming}}", per_s(REQUESTS, "status", "streaming"))), minimum=0,
        calcs=("mean", "max"), stacking="normal",
    ),
    Panel(
        "Latency Percentiles (p50, p95, p99)", "Of all requests together, streams until they end.", "timeseries", SECONDS,
        legend(*percentiles(BUCKETS)), minimum=0, calcs=("mean", "max"), runbook="LLMGatewayHighLatencyP99",
    ),
    Panel(
        "Time to First Token (TTFT)", "Until the first content or tool call of a stream; an opening without content does not count.",
        "timeseries", SECONDS, legend(*percentiles(of_provider("ttft_seconds_bucket"))), minimum=0, calcs=("mean", "max"),
        runbook="LLMGatewayHighTTFT",
    ),
)  # fmt: skip

TOKEN_METRICS = (
    Panel(
        "Token Throughput by Provider", "Tokens per second by provider, as billed.", "timeseries", TOKENS_PER_S,
        legend(("{{provider}}", per_s(of_provider("tokens_total"), "provider"))), width=8, minimum=0, calcs=("mean", "max"),
        drill=DETAILS_UID,
    ),
    Panel(
        "Input/Output Distribution", "Input and output tokens as parts of all.", "timeseries", TOKENS_PER_S,
        legend(("{{type}}", per_s(of_provider("tokens_total"), "type"))), width=8, minimum=0, calcs=("mean",), stacking="percent",
    ),
    Panel(
        "Generation Speed", "Tokens per second of the last answer of each model; empty when it has been idle.", "timeseries",
        TOKENS_PER_S, legend(("{{provider}} / {{model}}", f"avg by (provider, model) ({of_provider('tokens_per_second')})")), width=8,
        minimum=0, calcs=("mean", "min"), runbook="LLMGatewayLowTokenThroughput", drill=DETAILS_UID,
    ),
)  # fmt: skip

PROVIDER_HEALTH = (
    Panel(
        "Provider Health", "Whether each provider takes requests; with several gateways, the worst opinion of it.", "state-timeline",
        STATE, legend(("{{provider}}", WORST_HEALTH)), width=8, steps=HEALTH_STEPS, mapping=HEALTH, runbook="LLMGatewayProviderUnhealthy",
        drill=DETAILS_UID,
    ),
    Panel(
        "Circuit Breaker State", "Closed, open or half-open, of each gateway: every one learns for itself.", "state-timeline", STATE,
        legend(("{{provider}} ({{instance}})", f"max by (provider, instance) ({of_provider('circuit_breaker_state')})")), width=8,
        mapping=breaker_words(BREAKER), runbook="LLMGatewayCircuitBreakerOpen", drill=DETAILS_UID,
    ),
    Panel(
        "Active Requests by Provider", "Attempts running on each provider now.", "timeseries", COUNT,
        legend(("{{provider}}", f"sum by (provider) ({of_provider('active_requests')})")), width=8, minimum=0,
        calcs=("max", "lastNotNull"), runbook="LLMGatewayHighActiveRequests", drill=DETAILS_UID,
    ),
)  # fmt: skip

ERROR_ANALYSIS = (
    Panel(
        "Error Rate by Provider", "Requests that ended in an error, in percent of those that reached the provider.", "timeseries", PERCENT,
        legend(("{{provider}}", percent(per_s(FAILED, "provider"), per_s(REQUESTS, "provider")))), minimum=0, calcs=("mean", "max"),
        steps=good_below(5, 20), runbook="LLMGatewayCriticalErrorRate", drill=DETAILS_UID,
    ),
    Panel(
        "Errors by Provider and Type", "Failed attempts; a request that was retried may have had several.", "timeseries", REQUESTS_PER_S,
        legend(("{{provider}} {{error_type}}", per_s(of_provider("errors_total"), "provider", "error_type"))), minimum=0,
        calcs=("mean", "max"), runbook="LLMGatewayAuthenticationErrors", drill=DETAILS_UID,
    ),
)  # fmt: skip

CACHE_AND_LIMITS = (
    Panel(
        "Cache Operations", "Look-ups in the response cache by result.", "timeseries", REQUESTS_PER_S,
        legend(("{{operation}} {{result}}", per_s(of_gateway("cache_operations_total"), "operation", "result"))), minimum=0,
        calcs=("mean", "max"), stacking="normal", runbook="LLMGatewayLowCacheHitRate",
    ),
    Panel(
        "Rate Limit Hits", "Requests refused by a limit of their tenant: requests, tokens, concurrency or budget. "
        "Empty while nobody was.", "timeseries", REQUESTS_PER_S,
        legend(("{{tenant}} {{limit_type}}", per_s(of_gateway("rate_limit_hits_total"), "tenant", "limit_type"))),
        minimum=0, calcs=("mean", "max"), runbook="LLMGatewayRateLimitHits",
    ),
)  # fmt: skip

BOARD = Board(
    uid="llm-gateway-overview",
    title="LLM Gateway Overview",
    description="Requests, tokens, provider health and errors. A series of a provider leads to its details.",
    rows=(
        Row("Key Figures", KEY),
        Row("Request Metrics", REQUEST_METRICS),
        Row("Token Metrics", TOKEN_METRICS),
        Row("Provider Health", PROVIDER_HEALTH),
        Row("Error Analysis", ERROR_ANALYSIS),
        Row("Cache & Limits", CACHE_AND_LIMITS),
    ),
    variables=VARIABLES,
)
