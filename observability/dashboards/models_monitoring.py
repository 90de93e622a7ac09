"""Models Monitoring: throughput, latency, errors and availability by model (the `model` vocabulary).

These expressions are a contract, kept letter for letter: people have them in alerts and notes. So an idle model divides nothing by
nothing here, which Grafana draws as a gap.
"""

from observability.dashboards.board import Board, Row
from observability.dashboards.panels import (
    COUNT,
    MILLISECONDS,
    PERCENT,
    REQUESTS_PER_S,
    TOKENS_PER_S,
    Panel,
    good_above,
    good_below,
    legend,
)

FAMILIES = {
    "Claude": "claude.*",
    "GPT": "gpt.*",
    "Gemini": ".*gemini.*",
    "Llama": ".*llama.*",
    "Mistral": ".*mistral.*",
}
WIDTHS = (5, 5, 5, 5, 4)


def _family(name: str, pattern: str, width: int) -> Panel:
    share = (
        f'(sum(rate(model_requests_total{{model=~"{pattern}"}}[5m])) or vector(0))'
        " / (sum(rate(model_requests_total[5m])) > 0) * 100"
    )  # fmt: skip
    return Panel(
        f"{name} Models %", f"Requests for models of this family (`{pattern}`) in percent of all that reached a backend.", "gauge", PERCENT,
        legend((name, share)), width=width, height=6, minimum=0, maximum=100, steps=good_above(50, 80), decimals=1,
    )  # fmt: skip


PANELS = (
    Panel(
        "Model Request Throughput", "Requests per second for each model.", "timeseries", REQUESTS_PER_S,
        legend(("{{model}}", "sum by (model) (rate(model_requests_total[5m]))")), minimum=0, calcs=("mean", "max"),
    ),
    Panel(
        "Model Average Latency", "Average response time in milliseconds per model, streams until they end.", "timeseries", MILLISECONDS,
        legend((
            "{{model}}",
            "sum by (model) (rate(model_latency_ms_sum[5m])) / sum by (model) (rate(model_latency_ms_count[5m]))",
        )),
        minimum=0, calcs=("mean", "max"),
    ),
    Panel(
        "Model Error Rate", "Error percentage for each model: faults of a provider or of the gateway, never of a caller.", "timeseries",
        PERCENT,
        legend((
            "{{model}}",
            "sum by (model) (rate(model_errors_total[5m])) / sum by (model) (rate(model_requests_total[5m])) * 100",
        )),
        minimum=0, calcs=("mean", "max"), steps=good_below(5, 10),
    ),
    Panel(
        "Model Token Usage Rate", "Tokens consumed per second by model, input and output together.", "timeseries", TOKENS_PER_S,
        legend(("{{model}}", "sum by (model) (rate(model_tokens_used_total[5m]))")), minimum=0, calcs=("sum",),
    ),
    *[_family(name, pattern, width) for (name, pattern), width in zip(FAMILIES.items(), WIDTHS, strict=True)],
    Panel(
        "Hourly Request Distribution", "Total requests per model over the last hour: one bar an hour, one colour a model.", "timeseries",
        COUNT, legend(("{{model}}", "sum by (model) (increase(model_requests_total[1h]))")), minimum=0, calcs=("sum",), drawing="bars",
        stacking="normal", interval="1h",
    ),
    Panel(
        "Model Availability", "Availability percentage: successful requests of all that reached a backend.", "timeseries", PERCENT,
        legend((
            "{{model}}",
            "sum by (model) ((sum by (model) (rate(model_requests_total[5m])) - sum by (model) (rate(model_errors_total[5m])))"
            " / sum by (model) (rate(model_requests_total[5m]))) * 100",
        )),
        minimum=0, maximum=100, calcs=("mean", "min"), steps=good_above(95, 99),
    ),
)  # fmt: skip

BOARD = Board(
    uid="models-monitoring",
    title="Models Monitoring",
    description="Throughput, latency, error rate, tokens, families and availability by model.",
    rows=(Row("Models", PANELS),),
    refresh="30s",
    since="now-6h",
)
