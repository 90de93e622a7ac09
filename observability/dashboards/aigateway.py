"""AI Gateway: by tenant and provider, with money and budgets (the `aigateway` vocabulary).

Rates are over five minutes, as in the queries that people have in their notes for this vocabulary.
"""

from typing import Final

from appliance.telemetry.vocabularies.aigateway import BREAKER
from observability.dashboards.board import Board, Row
from observability.dashboards.panels import (
    COUNT,
    RATIO,
    REQUESTS_PER_S,
    SECONDS,
    STATE,
    TOKENS_PER_S,
    USD,
    Panel,
    breaker_words,
    good_above,
    good_below,
    legend,
)
from observability.dashboards.promql import or_zero, per_s, percentiles, quantile

WINDOW: Final = "5m"
BUCKETS: Final = "aigateway_request_duration_seconds_bucket"
CACHE_HIT_RATIO: Final = (
    "sum(rate(aigateway_cache_hits_total[5m]))"
    " / (sum(rate(aigateway_cache_hits_total[5m])) + sum(rate(aigateway_cache_misses_total[5m])))"
)  # fmt: skip

OVERVIEW = (
    Panel(
        "Request Rate", "Requests per second, refused ones and cache hits too.", "stat", REQUESTS_PER_S,
        legend(("Requests", "sum(rate(aigateway_requests_total[5m]))")), width=6, height=4,
    ),
    Panel(
        "P95 Latency", "95 of 100 requests took no longer, from parsed head to last byte: streams until they end.", "stat", SECONDS,
        legend(("p95", quantile(0.95, BUCKETS, window=WINDOW))), width=6, height=4, steps=good_below(5, 10),
        runbook="LLMGatewayHighLatencyP95",
    ),
    Panel(
        "Total Cost", "US dollars since the gateways started. `appliance usage` knows every day before.", "stat", USD,
        legend(("Cost", "sum(aigateway_cost_usd_total)")), width=6, height=4, decimals=2,
    ),
    Panel(
        "Active Streams", "Streams being sent to clients now.", "stat", COUNT, legend(("Streams", "sum(aigateway_active_streams)")),
        width=6, height=4,
    ),
)  # fmt: skip

PERFORMANCE = (
    Panel(
        "Request Rate by Provider", "Traffic distribution. `none` was refused before any provider, `cache` answered from it.",
        "timeseries", REQUESTS_PER_S, legend(("{{provider}}", per_s("aigateway_requests_total", "provider", window=WINDOW))), minimum=0,
        calcs=("mean", "max"),
    ),
    Panel(
        "Latency by Provider", "P50, P95 and P99 of request duration by provider.", "timeseries", SECONDS,
        legend(*percentiles(BUCKETS, "provider", window=WINDOW)), minimum=0, calcs=("mean", "max"),
    ),
)  # fmt: skip

USAGE = (
    Panel(
        "Token Rate", "Input and output tokens per second, as billed, streams too.", "timeseries", TOKENS_PER_S,
        legend(("{{type}}", per_s("aigateway_tokens_total", "type", window=WINDOW))), minimum=0, calcs=("mean", "max"),
    ),
    Panel(
        "Cost per Hour by Tenant", "US dollars that each tenant spent in the hour before each point.", "timeseries", USD,
        legend(("{{tenant_id}}", "sum by (tenant_id) (increase(aigateway_cost_usd_total[1h]))")), minimum=0, calcs=("mean", "max"),
        axis="USD per hour",
    ),
)  # fmt: skip

HEALTH = (
    Panel(
        "Cache Hit Ratio", "Look-ups that the response cache had an answer for. Empty while nothing is looked up.", "gauge", RATIO,
        legend(("Hits", CACHE_HIT_RATIO + " >= 0")), width=6, minimum=0, maximum=1, steps=good_above(0.3, 0.6),
        runbook="LLMGatewayLowCacheHitRate",
    ),
    Panel(
        "Rate Limit Hits", "Requests of each tenant refused by a rate or concurrency limit.", "timeseries", REQUESTS_PER_S,
        legend((
            "{{tenant_id}}",
            or_zero(
                per_s("aigateway_rate_limit_hits_total", "tenant_id", window=WINDOW),
                per_s("aigateway_requests_total", "tenant_id", window=WINDOW),
            ),
        )),
        width=9, minimum=0,
        calcs=("mean", "max"), runbook="LLMGatewayRateLimitHits",
    ),
    Panel(
        "Circuit Breaker State", "Closed, half-open or open, by provider; with several gateways the worst of them.", "state-timeline",
        STATE, legend(("{{provider}}", "max by (provider) (aigateway_circuit_breaker_state)")), width=9, mapping=breaker_words(BREAKER),
        runbook="LLMGatewayCircuitBreakerOpen",
    ),
)  # fmt: skip

ERRORS = (
    Panel(
        "Provider Errors", "Failed attempts by provider and type; one request may have had several. Empty while there are none.",
        "timeseries", REQUESTS_PER_S,
        legend(("{{provider}} {{error_type}}", per_s("aigateway_provider_errors_total", "provider", "error_type", window=WINDOW))),
        minimum=0, calcs=("mean", "max"), runbook="HighErrorRate",
    ),
    Panel(
        "Budget Usage", "Spent and reserved, as a part of the running period's budget; only tenants that have one.", "bargauge", RATIO,
        legend(("{{tenant_id}}", "max by (tenant_id) (aigateway_budget_usage_ratio)")), minimum=0, maximum=1, steps=good_below(0.8, 1),
    ),
)  # fmt: skip

BOARD = Board(
    uid="aigateway",
    title="AI Gateway",
    description="Traffic, latency, tokens, spend, cache, breakers, errors and budgets by tenant and provider.",
    rows=(
        Row("Overview", OVERVIEW),
        Row("Performance", PERFORMANCE),
        Row("Usage", USAGE),
        Row("Health", HEALTH),
        Row("Errors", ERRORS),
    ),
)
