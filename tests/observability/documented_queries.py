"""Queries that people have in their notes, written for the dashboards' vocabularies: they must keep working letter for letter.

Each has a name, the expression, and where it is empty while all is well why that is so.
"""

REQUESTS, ERRORS = "sum by (model) (rate(model_requests_total[5m]))", "sum by (model) (rate(model_errors_total[5m]))"
AI_ERRORS, AI_REQUESTS = 'sum(rate(aigateway_requests_total{status!="success"}[5m]))', "sum(rate(aigateway_requests_total[5m]))"
HITS, MISSES = "sum(rate(aigateway_cache_hits_total[5m]))", "sum(rate(aigateway_cache_misses_total[5m]))"

DOCUMENTED = {
    "requests of the AI gateway": AI_REQUESTS,
    "error rate of the AI gateway": f"{AI_ERRORS} / {AI_REQUESTS}",
    "p99 of the AI gateway": "histogram_quantile(0.99, sum(rate(aigateway_request_duration_seconds_bucket[5m])) by (le))",
    "cost per hour": "sum(increase(aigateway_cost_usd_total[1h]))",
    "cache hit ratio": f"{HITS} / ({HITS} + {MISSES})",
    "high error rate": "sum(rate(aigateway_provider_errors_total[5m])) > 0.1",
    "throughput by model": REQUESTS,
    "latency by model": "sum by (model) (rate(model_latency_ms_sum[5m])) / sum by (model) (rate(model_latency_ms_count[5m]))",
    "error rate by model": f"{ERRORS} / {REQUESTS} * 100",
    "tokens by model": "sum by (model) (rate(model_tokens_used_total[5m]))",
    "hourly requests by model": "sum by (model) (increase(model_requests_total[1h]))",
    "availability by model": f"sum by (model) (({REQUESTS} - {ERRORS}) / {REQUESTS}) * 100",
    **{
        f"share of {name}": f'sum(rate(model_requests_total{{model=~"{pattern}"}}[5m])) / sum(rate(model_requests_total[5m])) * 100'
        for name, pattern in {
            "Claude": "claude.*", "GPT": "gpt.*", "Gemini": ".*gemini.*", "Llama": ".*llama.*", "Mistral": ".*mistral.*",
        }.items()
    },
    "clusters": "count by (cluster) (llm_gateway_llm_gateway_requests_total)",
    "a model's requests": 'model_requests_total{model="gpt-4o-mini"}',
    "a model's errors": 'model_errors_total{model="gpt-4o-mini"}',
    "a model's latency": 'model_latency_ms_bucket{model="gpt-4o-mini", le="1000.0"}',
    "a model's tokens": 'model_tokens_used_total{model="gpt-4o-mini"}',
}  # fmt: skip
"""Beside those on the panels, whose expressions test_dashboards_contract holds."""
