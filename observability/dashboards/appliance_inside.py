"""Appliance, the lower half: cache and experiments, the process itself, and generation in OpenTelemetry's words.

What is a process's own (its loop, its ledger, its restarts) is shown for each instance: a mean of two gateways hides the sick one.
"""

from typing import Final

from observability.dashboards.board import Row
from observability.dashboards.panels import (
    COUNT,
    PERCENT,
    REQUESTS_PER_S,
    SECONDS,
    USD,
    Panel,
    legend,
)
from observability.dashboards.promql import mean, per_s, percent, quantile
from observability.dashboards.variables import within

HITS: Final = per_s(within("aigateway_cache_hits_total"))
MISSES: Final = per_s(within("aigateway_cache_misses_total"))
# Grafana's unit for a span of time that may be days.
AGE: Final = "dtdurations"

CACHE = (
    Panel(
        "Cache Hits", "Look-ups in the response cache that found an answer, in percent. Empty while nothing is looked up.", "timeseries",
        PERCENT, legend(("hits", percent(HITS, f"({HITS} + {MISSES})"))), width=8, minimum=0, maximum=100,
        calcs=("mean", "min"), runbook="LLMGatewayLowCacheHitRate",
    ),
    Panel(
        "Cache Memory", "What the kept answers take.", "timeseries", "bytes",
        legend(("{{instance}}", f"sum by (instance) ({within('appliance_cache_bytes')})")), width=8, minimum=0,
        calcs=("max", "lastNotNull"),
    ),
    Panel(
        "Cached Answers", "Answers that are kept, and requests that wait for the answer to one just like them.", "timeseries", COUNT,
        legend(
            ("{{instance}} kept", f"sum by (instance) ({within('appliance_cache_entries')})"),
            ("{{instance}} waiting", f"sum by (instance) ({within('appliance_cache_waiting_requests')})"),
        ),
        width=8, minimum=0, calcs=("max", "lastNotNull"),
    ),
    Panel(
        "Cache Evictions", "Answers that had to go before their time was over: the cache is too small for what it is asked to keep.",
        "timeseries", "ops", legend(("{{instance}}", per_s(within("appliance_cache_evictions_total"), "instance"))), minimum=0,
        calcs=("mean", "max"),
    ),
    Panel(
        "Experiment Assignments", "Requests by experiment and variant; `appliance experiments` compares their outcomes.", "timeseries",
        REQUESTS_PER_S,
        legend((
            "{{experiment}} {{variant}}",
            per_s(within("inference_gateway_experiment_assignments_total"), "experiment", "variant"),
        )),
        minimum=0, calcs=("mean", "max"),
    ),
    Panel(
        "Shadow Copies", "Copies of requests to the treatments of shadow experiments, by what became of them. Skipped: too many were under "
        "way (`server.shadows_max`), or their backend was busy or failing.", "timeseries", REQUESTS_PER_S,
        legend(("{{experiment}} {{result}}", per_s(within("appliance_experiment_copies_total"), "experiment", "result"))), minimum=0,
        calcs=("mean", "max"),
    ),
    Panel(
        "Shadow Copies' Cost", "US dollars per hour at the present rate. No caller's budget has it.", "timeseries", USD,
        legend(("{{experiment}}", "3600 * " + per_s(within("appliance_experiment_copies_cost_usd_total"), "experiment"))), minimum=0,
        calcs=("mean", "max"), axis="USD per hour",
    ),
)  # fmt: skip

PROCESS = (
    Panel(
        "Uptime", "Since each gateway started.", "stat", AGE,
        legend(("{{instance}}", f"time() - max by (instance) ({within('appliance_start_time_seconds')})")), width=6, height=5,
        runbook="ApplianceRestartLoop",
    ),
    Panel(
        "Configuration Age", "Since each gateway took the configuration that it runs with.", "stat", AGE,
        legend(("{{instance}}", f"time() - max by (instance) ({within('appliance_config_last_success_timestamp_seconds')})")), width=6,
        height=5, runbook="ApplianceConfigReloadFailed",
    ),
    Panel(
        "Builds", "How many gateways run which version, commit and Python.", "stat", COUNT,
        legend((
            "{{version}} {{commit}}, Python {{python}}",
            f"count by (version, commit, python) ({within('appliance_build_info')})",
        )),
        width=6, height=5,
    ),
    Panel(
        "Draining", "Gateways that finish their requests before they end, and take no new ones.", "stat", COUNT,
        legend(("Draining", f"sum({within('appliance_draining')})")), width=6, height=5, runbook="ApplianceDrainStuck",
    ),
    Panel(
        "Event Loop Lag", "How late a timer fired: while it is late, nobody is served. P99 of each gateway.", "timeseries", SECONDS,
        legend(("{{instance}} p99", quantile(0.99, within("appliance_event_loop_lag_seconds_bucket"), "instance"))), width=8, minimum=0,
        calcs=("mean", "max"), runbook="ApplianceEventLoopBlocked",
    ),
    Panel(
        "Restarts", "In the hour before each point: of the process, and of the services inside it.", "timeseries", COUNT,
        legend(
            ("process {{instance}}", f"sum by (instance) (changes({within('appliance_start_time_seconds')}[1h]))"),
            ("service {{service}}", f"sum by (service) (increase({within('appliance_service_restarts_total')}[1h]))"),
        ),
        width=8, minimum=0, calcs=("max", "lastNotNull"), runbook="ApplianceServiceRestarting",
    ),
    Panel(
        "Configuration Reloads", "In the hour before each point. A failed one changed nothing.", "timeseries", COUNT,
        legend(("{{result}}", f"sum by (result) (increase({within('appliance_config_reloads_total')}[1h]))")), width=8, minimum=0,
        calcs=("max", "lastNotNull"), runbook="ApplianceConfigReloadFailed",
    ),
    Panel(
        "Ledger", "Rows written per second, and failed writes: without a ledger nobody is served, unless `on_failure` says so.",
        "timeseries", "ops",
        legend(
            ("{{instance}} rows", per_s(within("appliance_ledger_rows_total"), "instance")),
            ("{{instance}} errors", per_s(within("appliance_ledger_errors_total"), "instance")),
        ),
        width=8, minimum=0, calcs=("mean", "max"), runbook="ApplianceLedgerFailing",
    ),
    Panel(
        "Ledger Queue", "Rows that wait for their commit.", "timeseries", COUNT,
        legend(("{{instance}}", f"sum by (instance) ({within('appliance_ledger_queued_rows')})")), width=8, minimum=0,
        calcs=("mean", "max"), runbook="ApplianceLedgerBacklog",
    ),
    Panel(
        "Refused by the Engine", "Requests that never became any: broken heads, wrong methods, too slow, too large, too many.",
        "timeseries", REQUESTS_PER_S,
        legend(("{{status}} {{reason}}", per_s(within("appliance_engine_refusals_total"), "status", "reason"))), width=8, minimum=0,
        calcs=("mean", "max"), runbook="ApplianceConnectionsRefused",
    ),
    Panel(
        "Metric Series", "Label sets kept, of at most `telemetry.series_max`.", "timeseries", COUNT,
        legend(("{{instance}}", f"sum by (instance) ({within('appliance_metric_series')})")), width=8, minimum=0,
        calcs=("max", "lastNotNull"),
        runbook="ApplianceSeriesDropped",
    ),
    Panel(
        "Lost", "Label sets folded into `other` and log lines thrown away: what neither dashboards nor logs show.", "timeseries", "ops",
        legend(
            ("{{instance}} label sets", per_s(within("appliance_metric_series_dropped_total"), "instance")),
            ("{{instance}} log lines", per_s(within("appliance_log_lines_dropped_total"), "instance")),
        ),
        width=8, minimum=0, calcs=("mean", "max"), runbook="ApplianceLogLinesDropped",
    ),
    Panel(
        "Traces", "Spans per second by what became of them, and requests whose spans wait: anything but `sent` is lost to the collector.",
        "timeseries", COUNT,
        legend(
            ("{{result}} per second", per_s(within("appliance_trace_spans_total"), "result")),
            ("{{instance}} waiting", f"sum by (instance) ({within('appliance_trace_queued_requests')})"),
        ),
        width=8, minimum=0, calcs=("mean", "max"),
    ),
)  # fmt: skip

GENERATION = (
    Panel(
        "P95 Attempt by Vendor", "One attempt at a provider until its last byte; a request may have several.", "timeseries", SECONDS,
        legend((
            "{{gen_ai_provider_name}}",
            quantile(0.95, within("gen_ai_client_operation_duration_seconds_bucket"), "gen_ai_provider_name"),
        )),
        width=8, minimum=0, calcs=("mean", "max"),
    ),
    Panel(
        "P95 Request by Operation", "Requests that reached a provider, until the last byte.", "timeseries", SECONDS,
        legend((
            "{{gen_ai_operation_name}}",
            quantile(0.95, within("gen_ai_server_request_duration_seconds_bucket"), "gen_ai_operation_name"),
        )),
        width=8, minimum=0, calcs=("mean", "max"),
    ),
    Panel(
        "P95 First Token by Model", "Of streams that went well.", "timeseries", SECONDS,
        legend((
            "{{gen_ai_request_model}}",
            quantile(0.95, within("gen_ai_server_time_to_first_token_seconds_bucket"), "gen_ai_request_model"),
        )),
        width=8, minimum=0, calcs=("mean", "max"),
    ),
    Panel(
        "Time per Output Token", "After the first, of streams that went well; the mean by model.", "timeseries", SECONDS,
        legend((
            "{{gen_ai_request_model}}",
            mean(
                within("gen_ai_server_time_per_output_token_seconds_sum"), within("gen_ai_server_time_per_output_token_seconds_count"),
                "gen_ai_request_model",
            ),
        )),
        minimum=0, calcs=("mean", "max"),
    ),
    Panel(
        "Tokens per Attempt", "Mean input and output tokens, as the providers counted them.", "timeseries", COUNT,
        legend((
            "{{gen_ai_request_model}} {{gen_ai_token_type}}",
            mean(
                within("gen_ai_client_token_usage_sum"), within("gen_ai_client_token_usage_count"), "gen_ai_request_model",
                "gen_ai_token_type",
            ),
        )),
        minimum=0, calcs=("mean", "max"), axis="tokens",
    ),
)  # fmt: skip

ROWS = (
    Row("Cache & Experiments", CACHE),
    Row("The Gateway Itself", PROCESS),
    Row("Generation, in OpenTelemetry's Words", GENERATION, folded=True),
)
