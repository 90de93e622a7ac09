"""LLM Gateway Provider Details: one provider (or some) by model, chosen with the variable `provider` (the `llm_gateway` vocabulary)."""

from typing import Final

from appliance.telemetry.vocabularies.llm_gateway import BREAKER
from observability.dashboards.board import Board, Row
from observability.dashboards.llm_gateway import DETAILS_UID, VARIABLES, of_provider
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
from observability.dashboards.promql import mean, per_s, percent, percentiles, quantile

REQUESTS: Final = of_provider("requests_total")
FAILED: Final = of_provider("requests_total", 'status="error"')
BUCKETS: Final = of_provider("request_duration_seconds_bucket")
TTFT: Final = of_provider("ttft_seconds_bucket")
TOKENS: Final = of_provider("tokens_total")
MODEL: Final = "{{provider}} / {{model}}"

STATUS = (
    Panel(
        "Health", "Whether the provider takes requests now; with several gateways, the worst opinion of it.", "stat", STATE,
        legend(("{{provider}}", f"min by (provider) ({of_provider('provider_health')})")), width=4, height=5, steps=HEALTH_STEPS,
        mapping=HEALTH, runbook="LLMGatewayProviderUnhealthy",
    ),
    Panel(
        "Circuit Breaker State", "Closed, open or half-open now, of each gateway.", "stat", STATE,
        legend(("{{provider}} ({{instance}})", f"max by (provider, instance) ({of_provider('circuit_breaker_state')})")), width=4,
        height=5, mapping=breaker_words(BREAKER), runbook="LLMGatewayCircuitBreakerOpen",
    ),
    Panel(
        "Request Rate", "Requests per second that reached the provider.", "stat", REQUESTS_PER_S,
        legend(("Requests", per_s(REQUESTS))), width=4, height=5,
    ),
    Panel(
        "Error Rate", "Requests that ended in an error, in percent.", "stat", PERCENT,
        legend(("Errors", percent(per_s(FAILED), per_s(REQUESTS)))), width=4, height=5, steps=good_below(5, 20), decimals=2,
        runbook="LLMGatewayHighErrorRate",
    ),
    Panel(
        "P95 Latency", "95 of 100 requests took no longer, streams until they end.", "stat", SECONDS,
        legend(("p95", quantile(0.95, BUCKETS))), width=4, height=5, steps=good_below(10, 30), runbook="LLMGatewayHighLatencyP95",
    ),
    Panel(
        "Active Requests", "Attempts running on the provider now.", "stat", COUNT,
        legend(("Active", f"sum({of_provider('active_requests')})")), width=4, height=5, runbook="LLMGatewayHighActiveRequests",
    ),
)  # fmt: skip

MODELS = (
    Panel(
        "Request Rate by Model", "Requests per second by model.", "timeseries", REQUESTS_PER_S,
        legend((MODEL, per_s(REQUESTS, "provider", "model"))), minimum=0, calcs=("mean", "max"),
    ),
    Panel(
        "Request Distribution by Model", "Each model's part of the requests.", "timeseries", REQUESTS_PER_S,
        legend((MODEL, per_s(REQUESTS, "provider", "model"))), minimum=0, calcs=("mean",), stacking="percent",
    ),
)  # fmt: skip

LATENCY = (
    Panel(
        "Latency by Model", "P50, P95 and P99 of request duration, streams until they end.", "timeseries", SECONDS,
        legend(*percentiles(BUCKETS, "model")), width=8, minimum=0, calcs=("mean", "max"), runbook="LLMGatewayHighLatencyP99",
    ),
    Panel(
        "Average Latency, Streamed and Whole", "Mean duration; streams take as long as they are read.", "timeseries", SECONDS,
        legend(("{{model}}, streamed: {{streaming}}",
                mean(of_provider("request_duration_seconds_sum"), of_provider("request_duration_seconds_count"), "model", "streaming"))),
        width=8, minimum=0, calcs=("mean", "max"),
    ),
    Panel(
        "Time to First Token by Model", "P50 and P95 of the time to the first content or tool call of a stream.", "timeseries", SECONDS,
        legend(*percentiles(TTFT, "model", qs=(0.5, 0.95))), width=8, minimum=0, calcs=("mean", "max"), runbook="LLMGatewayHighTTFT",
    ),
)  # fmt: skip

USAGE = (
    Panel(
        "Token Usage by Model", "Tokens per second, input and output apart, as billed.", "timeseries", TOKENS_PER_S,
        legend((MODEL + " {{type}}", per_s(TOKENS, "provider", "model", "type"))), width=8, minimum=0, calcs=("mean", "max"),
        runbook="LLMGatewayHighTokenUsage",
    ),
    Panel(
        "Tokens per Request by Model", "Mean input and output tokens of a request.", "timeseries", COUNT,
        legend(("{{model}} {{type}}",
                f"{per_s(TOKENS, 'model', 'type')} / on (model) group_left () ({per_s(REQUESTS, 'model')} > 0)")),
        width=8, minimum=0, calcs=("mean", "max"), axis="tokens",
    ),
    Panel(
        "Generation Speed by Model", "Tokens per second of the last answer; empty when the model has been idle.", "timeseries",
        TOKENS_PER_S, legend((MODEL, f"avg by (provider, model) ({of_provider('tokens_per_second')})")), width=8, minimum=0,
        calcs=("mean", "min"), runbook="LLMGatewayLowTokenThroughput",
    ),
)  # fmt: skip

ERRORS = (
    Panel(
        "Errors by Type", "Failed attempts by type; a request that was retried may have had several.", "timeseries", REQUESTS_PER_S,
        legend(("{{provider}} {{error_type}}", per_s(of_provider("errors_total"), "provider", "error_type"))), minimum=0,
        calcs=("mean", "max"), stacking="normal", runbook="LLMGatewayAuthenticationErrors",
    ),
    Panel(
        "Error Rate by Model", "Requests that ended in an error, in percent of the model's.", "timeseries", PERCENT,
        legend((MODEL, percent(per_s(FAILED, "provider", "model"), per_s(REQUESTS, "provider", "model")))), minimum=0,
        calcs=("mean", "max"), steps=good_below(5, 20), runbook="LLMGatewayCriticalErrorRate",
    ),
)  # fmt: skip

BOARD = Board(
    uid=DETAILS_UID,
    title="LLM Gateway Provider Details",
    description="One provider by model: health, requests, latency, tokens and errors. Choose it above.",
    rows=(
        Row("Status", STATUS),
        Row("Models", MODELS),
        Row("Latency", LATENCY),
        Row("Token Usage", USAGE),
        Row("Errors", ERRORS),
    ),
    variables=VARIABLES,
)
