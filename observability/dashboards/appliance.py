"""Appliance: what an on-call person opens first. From top to bottom: is it bad, for whom, whose fault, and is it the gateway itself?

Requests and their errors come from the `inference_gateway` vocabulary, tenants and budgets from `aigateway`, tokens from `gen_ai`, the
process from `appliance`, burn rates from the recording rules that the alerts use, so that both say the same.
"""

from typing import Final

from appliance.telemetry.verdict import OF_CALLER, OF_GATEWAY, OF_UPSTREAM
from appliance.telemetry.vocabularies.aigateway import BREAKER
from observability.dashboards import appliance_inside
from observability.dashboards.board import Annotation, Board, Row
from observability.dashboards.panels import (
    COUNT,
    HEALTH,
    HEALTH_STEPS,
    PERCENT,
    RATIO,
    REQUESTS_PER_S,
    SECONDS,
    STATE,
    TOKENS_PER_S,
    USD,
    Panel,
    breaker_words,
    good_below,
    legend,
    none_is_good,
)
from observability.dashboards.promql import or_zero, per_s, percent, percentiles, quantile
from observability.dashboards.variables import Variable, within

REQUESTS: Final = within("inference_gateway_requests_total")
BUCKETS: Final = within("inference_gateway_request_duration_seconds_bucket")
OVERHEAD: Final = within("appliance_overhead_seconds_bucket")
BUDGET_USAGE: Final = f"max by (tenant_id) ({within('aigateway_budget_usage_ratio')})"
WORST_HEALTH: Final = f"min by (backend) ({within('inference_gateway_backend_health')})"
# As fast as a month's budget would last a month is 1; at 14.4, an hour costs two per cent of it and somebody is woken.
BURN_STEPS: Final = good_below(1, 14.4)


def errors(*of: str) -> str:
    """Requests that ended in one of these error types; all of them without any."""
    return within("inference_gateway_request_errors_total", f'error_type=~"{"|".join(sorted(of))}"' if of else "")


def blamed(types: frozenset[str]) -> str:
    """Requests per second that ended in one of these; 0 while there are none but requests."""
    return or_zero(per_s(errors(*types)), per_s(REQUESTS))


NOW = (
    Panel(
        "Requests", "Requests per second, refused ones and cache hits too.", "stat", REQUESTS_PER_S, legend(("Requests", per_s(REQUESTS))),
        width=3, height=4,
    ),
    Panel(
        "Failing", "Requests that ended in a fault of a provider or of the gateway, in percent. Callers' own faults are not in it.", "stat",
        PERCENT, legend(("Failing", percent(per_s(errors(*OF_UPSTREAM, *OF_GATEWAY)), per_s(REQUESTS)))), width=3, height=4, decimals=2,
        steps=good_below(1, 5), runbook="LLMGatewayHighErrorRate",
    ),
    Panel(
        "Budget Burn, 1 h", "How many times as fast as allowed the availability objective's error budget was used in the last hour. "
        "Needs the recording rules of `alerts.yaml`.", "stat", COUNT,
        legend(("Burn", f"max({within('job:appliance_availability:burn_rate1h')}) >= 0")), width=3, height=4, decimals=1, steps=BURN_STEPS,
        runbook="ApplianceAvailabilityBurnFast",
    ),
    Panel(
        "P95 Latency", "95 of 100 requests took no longer, streams until they end.", "stat", SECONDS,
        legend(("p95", quantile(0.95, BUCKETS))), width=3, height=4, steps=good_below(10, 30), runbook="LLMGatewayHighLatencyP95",
    ),
    Panel(
        "P99 Overhead", "Of the time that the gateway added itself: a request's span less its providers' spans.", "stat", SECONDS,
        legend(("p99", quantile(0.99, OVERHEAD))), width=3, height=4, steps=good_below(0.025, 0.1), runbook="ApplianceOverheadHigh",
    ),
    Panel(
        "Backends Down", "Backends that take no requests, in the opinion of at least one gateway.", "stat", COUNT,
        legend(("Down", f"count({WORST_HEALTH}) - sum({WORST_HEALTH})")), width=3, height=4, steps=none_is_good(),
        runbook="LLMGatewayProviderUnhealthy",
    ),
    Panel(
        "Breakers Open", "Circuit breakers that are open, over all gateways.", "stat", COUNT,
        legend(("Open", f"sum({within('aigateway_circuit_breaker_state')} == bool {BREAKER['open']})")), width=3, height=4,
        steps=none_is_good(), runbook="LLMGatewayCircuitBreakerOpen",
    ),
    Panel(
        "Budgets Above 80 %", "Tenants that have spent or reserved four fifths of their budget or more. Empty: none has a budget.", "stat",
        COUNT, legend(("Tenants", or_zero(f"count({BUDGET_USAGE} >= 0.8)", f"count({BUDGET_USAGE})"))),
        width=3, height=4, steps=none_is_good(),
        runbook="ApplianceBudgetNearlyUsed",
    ),
)  # fmt: skip

TRAFFIC = (
    Panel(
        "Requests by Status", "By the HTTP status that callers saw; 499 when they left first.", "timeseries", REQUESTS_PER_S,
        legend(("{{status}}", per_s(REQUESTS, "status"))), width=8, minimum=0, calcs=("mean", "max"), stacking="normal",
    ),
    Panel(
        "Requests by Route", "Which part of the traffic it is.", "timeseries", REQUESTS_PER_S,
        legend(("{{route}}", per_s(REQUESTS, "route"))), width=8, minimum=0, calcs=("mean", "max"),
    ),
    Panel(
        "At Work", "Requests being worked on, streams being sent, connections of clients.", "timeseries", COUNT,
        legend(
            ("requests", f"sum({within('appliance_in_flight_requests')})"),
            ("streams", f"sum({within('aigateway_active_streams')})"),
            ("client connections", f"sum({within('appliance_client_connections')})"),
        ),
        width=8, minimum=0, calcs=("mean", "max"),
    ),
)  # fmt: skip

ERRORS = (
    Panel(
        "Errors by Blame", "Who has to act: a provider, the gateway or its operator, or the callers.", "timeseries", REQUESTS_PER_S,
        legend(("provider", blamed(OF_UPSTREAM)), ("gateway", blamed(OF_GATEWAY)), ("caller", blamed(OF_CALLER))), width=8, minimum=0,
        calcs=("mean", "max"), runbook="LLMGatewayHighErrorRate",
    ),
    Panel(
        "Errors by Backend and Type", "Requests that ended in a fault, by the backend of the last attempt. `none`: before any backend.",
        "timeseries", REQUESTS_PER_S, legend(("{{backend}} {{error_type}}", per_s(errors(), "backend", "error_type"))), width=8, minimum=0,
        calcs=("mean", "max"), runbook="HighErrorRate",
    ),
    Panel(
        "Refused by a Limit", "By tenant and by what was used up: requests, tokens, concurrency or budget. Empty while nobody was.",
        "timeseries", REQUESTS_PER_S,
        legend((
            "{{tenant}} {{limit_type}}",
            per_s(within("llm_gateway_llm_gateway_rate_limit_hits_total"), "tenant", "limit_type"),
        )),
        width=8, minimum=0, calcs=("mean", "max"), runbook="LLMGatewayRateLimitHits",
    ),
)  # fmt: skip


def burn(objective: str) -> tuple[tuple[str, str], ...]:
    """(legend, expression) of each window's burn rate, of the job and cluster that burn most."""
    windows = ("5m", "1h", "6h", "1d", "3d")
    return tuple((f"over {window}", f"max({within(f'job:appliance_{objective}:burn_rate{window}')}) >= 0") for window in windows)


SLO = (
    Panel(
        "Availability: Budget Burn", "How many times as fast as allowed errors use up the objective's budget. 1 lasts just as long as "
        "the budget should. The objective is a recording rule in `alerts.yaml`.", "timeseries", COUNT, legend(*burn("availability")),
        minimum=0, calcs=("lastNotNull", "max"), steps=BURN_STEPS, runbook="ApplianceAvailabilityBurnSlow",
    ),
    Panel(
        "First Token: Budget Burn", "The same for streams whose first token came too late.", "timeseries", COUNT,
        legend(*burn("first_token")), minimum=0, calcs=("lastNotNull", "max"), steps=BURN_STEPS, runbook="ApplianceFirstTokenBurnSlow",
    ),
)  # fmt: skip

LATENCY = (
    Panel(
        "Request Latency", "From parsed head to last byte, providers and gateway together.", "timeseries", SECONDS,
        legend(*percentiles(BUCKETS)), width=8, minimum=0, calcs=("mean", "max"), runbook="LLMGatewayHighLatencyP95",
    ),
    Panel(
        "Gateway Overhead", "The part of it that the gateway added: a request's span less its providers' spans.", "timeseries", SECONDS,
        legend(*percentiles(OVERHEAD)), width=8, minimum=0, calcs=("mean", "max"), runbook="ApplianceOverheadHigh",
    ),
    Panel(
        "Overhead's Share", "The gateway's part of all time that requests took.", "timeseries", PERCENT,
        legend((
            "overhead",
            f"100 * {per_s(within('appliance_overhead_seconds_sum'))}"
            f" / ({per_s(within('inference_gateway_request_duration_seconds_sum'))} > 0)",
        )),
        width=8, minimum=0, calcs=("mean", "max"), runbook="ApplianceOverheadHigh",
    ),
    Panel(
        "P95 Latency by Backend", "Who is slow.", "timeseries", SECONDS, legend(("{{backend}}", quantile(0.95, BUCKETS, "backend"))),
        minimum=0, calcs=("mean", "max"), runbook="LLMGatewayHighLatencyP95",
    ),
    Panel(
        "Time to First Token", "Of streams that went well: what people feel.", "timeseries", SECONDS,
        legend(*percentiles(within("gen_ai_server_time_to_first_token_seconds_bucket"))), minimum=0, calcs=("mean", "max"),
        runbook="LLMGatewayHighTTFT",
    ),
)  # fmt: skip

BACKENDS = (
    Panel(
        "Health", "Whether each backend takes requests; with several gateways, the worst opinion of it.", "state-timeline", STATE,
        legend(("{{backend}}", WORST_HEALTH)), steps=HEALTH_STEPS, mapping=HEALTH, runbook="LLMGatewayProviderUnhealthy",
    ),
    Panel(
        "Breakers", "Closed, half-open or open; with several gateways, the worst of them.", "state-timeline", STATE,
        legend(("{{provider}}", f"max by (provider) ({within('aigateway_circuit_breaker_state')})")), mapping=breaker_words(BREAKER),
        runbook="LLMGatewayCircuitBreakerOpen",
    ),
    Panel(
        "In Flight by Backend", "Attempts running now.", "timeseries", COUNT,
        legend(("{{backend}}", f"sum by (backend) ({within('inference_gateway_active_requests')})")), width=8, minimum=0,
        calcs=("mean", "max"), runbook="ApplianceUpstreamSaturated",
    ),
    Panel(
        "Waiting and Connected", "Requests that wait for a slot or a connection; connections by state, idle ones among the open.",
        "timeseries", COUNT,
        legend(
            ("{{backend}} waiting", f"sum by (backend) ({within('appliance_upstream_queued_requests')})"),
            ("{{backend}} {{state}}", f"sum by (backend, state) ({within('appliance_upstream_connections')})"),
        ),
        width=8, minimum=0, calcs=("mean", "max"), runbook="ApplianceUpstreamQueued",
    ),
    Panel(
        "Fallbacks", "How often a request moved on to another backend.", "timeseries", REQUESTS_PER_S,
        legend((
            "{{from_backend}} → {{to_backend}}",
            per_s(within("inference_gateway_fallbacks_total"), "from_backend", "to_backend"),
        )),
        width=8, minimum=0, calcs=("mean", "max"),
    ),
    Panel(
        "Keys at Work", "Attempts by key, of backends with several (`api_keys`); a key that gets none rests.", "timeseries",
        REQUESTS_PER_S,
        legend(("{{backend}} key {{key}}", per_s(within("appliance_upstream_key_requests_total"), "backend", "key"))),
        minimum=0, calcs=("mean", "max"),
    ),
    Panel(
        "Keys Refused", "Refusals by key and reason, and gateways in which the key rests because of them.", "timeseries", COUNT,
        legend(
            (
                "{{backend}} key {{key}} {{error_type}} per s",
                per_s(within("appliance_upstream_key_refusals_total"), "backend", "key", "error_type"),
            ),
            ("{{backend}} key {{key}} rests", f"sum by (backend, key) ({within('appliance_upstream_key_resting')})"),
        ),
        minimum=0, calcs=("mean", "max"),
    ),
    Panel(
        "Hedges", "Slow requests that were asked for at a second backend; those of which the second answered first; those left alone, as "
        "the route's share was used up or nobody was free.", "timeseries", REQUESTS_PER_S,
        legend(
            ("{{route}} sent", per_s(within("appliance_hedges_sent_total"), "route")),
            ("{{route}} won", per_s(within("appliance_hedges_won_total"), "route")),
            ("{{route}} withheld", per_s(within("appliance_hedges_withheld_total"), "route")),
        ),
        width=24, minimum=0, calcs=("mean", "max"),
    ),
)  # fmt: skip

MONEY = (
    Panel(
        "Budget Usage", "Spent and reserved, as a part of the running period's budget; only tenants that have one.", "timeseries", RATIO,
        legend(("{{tenant_id}}", BUDGET_USAGE)), width=8, minimum=0, calcs=("lastNotNull", "max"), steps=good_below(0.8, 1),
        runbook="ApplianceBudgetUsedUp",
    ),
    Panel(
        "Spend by Tenant", "US dollars per hour at the present rate.", "timeseries", USD,
        legend(("{{tenant_id}}", "3600 * " + per_s(within("aigateway_cost_usd_total"), "tenant_id"))), width=8, minimum=0,
        calcs=("mean", "max"), axis="USD per hour",
    ),
    Panel(
        "Tokens", "Input and output tokens per second, as billed.", "timeseries", TOKENS_PER_S,
        legend(("{{type}}", per_s(within("inference_gateway_tokens_total"), "type"))), width=8, minimum=0, calcs=("mean", "max"),
        runbook="LLMGatewayHighTokenUsage",
    ),
    Panel(
        "Budget Warnings", "Since the gateways started, by tenant, by whose budget it is and by how much of it was reached.", "timeseries",
        COUNT,
        legend((
            "{{tenant}} {{scope}} {{percent}} %",
            f"sum by (tenant, scope, percent) ({within('appliance_budget_warnings_total')})",
        )),
        width=8, minimum=0, calcs=("lastNotNull",), runbook="ApplianceKeyBudgetReached",
    ),
    Panel(
        "Budget Webhooks", "What became of the warnings that were sent, since the gateways started.", "timeseries", COUNT,
        legend(("{{result}}", f"sum by (result) ({within('appliance_budget_webhooks_total')})")), width=8, minimum=0,
        calcs=("lastNotNull",), runbook="ApplianceBudgetWebhookFailing",
    ),
    Panel(
        "Without a Price", "Requests for models that no price is known of, by what was made of them: spend is too low by these.",
        "timeseries", REQUESTS_PER_S,
        legend(("{{model}} {{policy}}", per_s(within("appliance_unpriced_requests_total"), "model", "policy"))), width=8, minimum=0,
        calcs=("mean", "max"), runbook="ApplianceUnpricedRequests",
    ),
)  # fmt: skip

BOARD = Board(
    uid="appliance",
    title="Appliance",
    description="On call: traffic, errors by blame, latency with the gateway's own part apart, objectives, backends, budgets, the process.",
    rows=(
        Row("Now", NOW),
        Row("Traffic", TRAFFIC),
        Row("Errors", ERRORS),
        Row("Objectives", SLO),
        Row("Latency", LATENCY),
        Row("Backends", BACKENDS),
        Row("Budgets & Spend", MONEY),
        *appliance_inside.ROWS,
    ),
    variables=(
        Variable("job", "Job", "label_values(appliance_build_info, job)"),
        Variable("cluster", "Cluster", 'label_values(appliance_build_info{job=~"$job"}, cluster)'),
    ),
    annotations=(
        Annotation("Start", f"{within('appliance_start_time_seconds')} * 1000", "{{instance}} started", "red"),
        Annotation(
            "Configuration", f"{within('appliance_config_last_success_timestamp_seconds')} * 1000", "{{instance}} loaded its file", "blue",
        ),
    ),
)  # fmt: skip
