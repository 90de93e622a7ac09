"""What panels must show after the scripted workload, counted from the script and from what callers saw, as the callers' clocks allow.

The rule: the expression is the committed dashboard's own. Rates and increases are compared as growth, so that no row depends on how long
the run took.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
from expected_counts import Adds, Key, attempts, begun_streams, every, fallbacks, reached, spoilt, tokens, total, usd, where
from scripted_workload import Seen

from appliance.telemetry.verdict import OF_UPSTREAM
from appliance.telemetry.vocabularies import aigateway, inference_gateway, llm_gateway, model

if TYPE_CHECKING:
    from watched_run import Watched

FIVE_MINUTES_S = 300.0
CLOCK_S = 0.5
"""On a busy machine the gateway may look at its clock so much later than the caller who has got the last byte already."""
Bounds = tuple[float, float]
Expected = dict[Key, float | Bounds]
REACHED = reached()


@attrs.frozen
class Shown:
    """One query of one panel.

    Attributes:
        which: of the panel's queries. by: its labels.
        expected: values by labels; a pair is the least and the most.
        per: seconds by which the panel's value is multiplied first, to be growth again; None where it is no rate.
        some: the panel may have other series, too, which callers cannot count.
    """

    dashboard: str
    title: str
    which: int
    by: str
    expected: Callable[["Watched"], Expected]
    per: Callable[["Watched"], float] | None = None
    some: bool = False


def in_window(run: "Watched") -> float:
    return float(run.window_s)


def in_five_minutes(_: "Watched") -> float:
    return FIVE_MINUTES_S


def hourly(run: "Watched") -> float:
    return run.window_s / 3600


def whole(_: "Watched") -> float:
    return 1.0


def summed(adds: Callable[[Seen], Adds]) -> Callable[["Watched"], Expected]:
    """What requests add up to."""

    def of(run: "Watched") -> Expected:
        return dict(total(run.seen, adds))

    return of


def percent(part: Callable[[Seen], object], of: Callable[[Seen], object], *names: str) -> Callable[["Watched"], Expected]:
    """Of the requests that are `of`, how many of a hundred are `part`, too."""

    def shares(run: "Watched") -> Expected:
        parts = total(run.seen, where(every(*names), lambda one: of(one) and part(one)))
        alls = total(run.seen, where(every(*names), of))
        return {key: 100 * parts[key] / count for key, count in alls.items()}

    return shares


def quantile(share: float, edges: tuple[float, ...], of: Callable[[Seen], object], *names: str,
             took: Callable[[Seen], float | None] = lambda one: one.duration_s) -> Callable[["Watched"], Expected]:  # fmt: skip
    """Bounds of a percentile: no answer can have taken less than the simulator made it wait, and none longer than its caller waited.

    Prometheus cannot tell where in a bucket a value lies, hence from the bucket's lower edge to its upper one. It adds half a scrape to a
    bucket that was not at 0 before and nothing to one that was, so that a share near 1 may fall into the slowest bucket of the first round.
    """

    def bounds(run: "Watched") -> Expected:
        found: Expected = {}
        for key in total(run.seen, where(every(*names), of)):
            watched, both = (
                [one for one in seen if of(one) and key in dict(every(*names)(one))] for seen in (run.seen, (*run.warm, *run.seen))
            )
            least, most = sorted(map(floor_s, watched)), sorted((took(one) or 0.0) + CLOCK_S for one in watched)
            above = share * (1 + run.slack)
            low = least[max(0, int(share * (1 - run.slack) * len(least)) - 1)]
            high = most[int(above * len(most))] if above < 1 else max((took(one) or 0.0) + CLOCK_S for one in both)
            found[key] = (
                max((edge for edge in edges if edge < low), default=0.0),
                min((edge for edge in edges if edge >= high), default=edges[-1]),
            )
        return found

    return bounds


def floor_s(one: Seen) -> float:
    return one.step.floor_s if one.step.reached and one.step.status == 200 else 0.0


def average_ms(run: "Watched") -> Expected:
    found: Expected = {}
    for (name,), count in total(run.seen, reached("model")).items():
        group = [one for one in run.seen if one.step.reached and one.model == name]
        found[name,] = (1000 * sum(map(floor_s, group)) / count, 1000 * (sum(one.duration_s for one in group) / count + CLOCK_S))
    return found


def per_request(run: "Watched") -> Expected:
    """Tokens of each model's requests, by type."""
    counts = total(run.seen, reached("model"))
    return {key: amount / counts[key[:1]] for key, amount in total(run.seen, tokens("model")).items() if counts[key[:1]]}


def since_the_start(run: "Watched") -> Expected:
    return {(): sum(one.usd for one in (*run.warm, *run.seen))}


def since_the_start_of(name: str) -> Callable[["Watched"], Expected]:
    return lambda run: {(name,): sum(one.step.reached and one.model == name for one in (*run.warm, *run.seen))}


def fixed(values: Expected) -> Callable[["Watched"], Expected]:
    return lambda _: values


def spoilt_or_fine(one: Seen) -> bool:
    """What counts against the objective or for it: everything but the faults of callers."""
    return spoilt(one) or not one.step.fault


def burnt(run: "Watched") -> Expected:
    """How many times as fast as allowed: the objective lets one in two hundred fail."""
    return {(): percent(spoilt, spoilt_or_fine)(run)[()] / 100 / (1 - 0.995)}  # type: ignore[operator]


def family(pattern: str) -> Callable[["Watched"], Expected]:
    return percent(lambda one: pattern in one.model, lambda one: one.step.reached)


def upstream_faults(one: Seen) -> Adds:
    return attempts(one, OF_UPSTREAM.__contains__)


def is_error(one: Seen) -> bool:
    return one.step.fault not in ("", "client_gone")


def always(_: Seen) -> bool:
    return True


def is_reached(one: Seen) -> bool:
    return one.step.reached


STATES = {"alpha": "closed", "beta": "closed", "claude": "closed", "flaky": "closed", "broken": "open", "resting": "half_open"}
HEALTH: Expected = {(name,): float(name != "broken") for name in STATES}
BUDGETS: Expected = {("careful",): 0.85, ("poor",): 1.0}
OF_LLM: Expected = {(name,): {"closed": 0.0, "open": 1.0, "half_open": 2.0}[state] for name, state in STATES.items()}
OF_AI: Expected = {(name,): {"closed": 0.0, "half_open": 1.0, "open": 2.0}[state] for name, state in STATES.items()}
FIRST = {"took": lambda one: one.first_token_s}
IN, OV, PR, AI, MO, AP = (
    "inference-gateway", "llm-gateway-overview", "llm-gateway-providers", "aigateway", "models-monitoring", "appliance",
)  # fmt: skip
IN_S, LLM_S, AI_S, TTFT_S, MO_MS = (
    inference_gateway.EDGES_S, llm_gateway.DURATION_EDGES_S, aigateway.EDGES_S, llm_gateway.TTFT_EDGES_S, model.EDGES_MS,
)  # fmt: skip

SHOWN = (
    Shown(IN, "Request Rate", 0, "", summed(every()), in_window),
    Shown(IN, "Success Rate", 0, "", percent(lambda one: one.step.status == 200, always)),
    Shown(IN, "P95 Latency", 0, "", quantile(0.95, IN_S, always)),
    Shown(IN, "Total Cost", 0, "", since_the_start),
    Shown(IN, "Request Rate by Route", 0, "route", summed(every("route")), in_window),
    Shown(IN, "Request Rate by Backend", 0, "backend", summed(every("backend")), in_window),
    Shown(IN, "Latency Percentiles by Backend", 0, "backend", quantile(0.5, IN_S, always, "backend")),
    Shown(IN, "Latency Percentiles by Backend", 1, "backend", quantile(0.95, IN_S, always, "backend")),
    Shown(IN, "Latency Percentiles by Backend", 2, "backend", quantile(0.99, IN_S, always, "backend")),
    Shown(IN, "Active Requests by Backend", 0, "backend", fixed(dict.fromkeys(HEALTH, 0.0))),
    Shown(IN, "Errors by Backend", 0, "backend, error_type",
          summed(where(every("backend", "fault"), lambda one: one.step.fault)), in_window),
    Shown(IN, "Backend Health Status", 0, "backend", fixed(HEALTH)),
    Shown(IN, "Fallback Activations", 0, "from_backend, to_backend", summed(fallbacks), in_window),
    Shown(IN, "Cost Rate by Backend", 0, "backend", summed(usd("backend")), hourly),
    Shown(IN, "Token Rate by Backend", 0, "backend, type",
          summed(where(tokens("backend"), lambda one: one.backend == "claude")), in_window, some=True),
    Shown(IN, "Experiment Assignments", 0, "experiment, variant",
          summed(where(every("experiment", "variant"), lambda one: one.step.experiment)), in_window, some=True),
    Shown(IN, "Rate Limit Hits by Route", 0, "route",
          summed(where(every("route"), lambda one: one.step.limit == "requests")), in_window),
    Shown(OV, "Request Rate", 0, "", summed(REACHED), in_window),
    Shown(OV, "Error Rate", 0, "", percent(is_error, is_reached)),
    Shown(OV, "P95 Latency", 0, "", quantile(0.95, LLM_S, is_reached)),
    Shown(OV, "Active Requests", 0, "", fixed({(): 0.0})),
    Shown(OV, "Healthy Provider Count", 0, "", fixed({(): 5.0})),
    Shown(OV, "Healthy Provider Count", 1, "", fixed({(): 6.0})),
    Shown(OV, "Request Rate by Provider/Model", 0, "provider, model", summed(reached("provider", "model")), in_window),
    Shown(OV, "Requests by Outcome", 0, "status, streaming", summed(reached("llm", "streaming")), in_window),
    Shown(OV, "Latency Percentiles (p50, p95, p99)", 0, "", quantile(0.5, LLM_S, is_reached)),
    Shown(OV, "Time to First Token (TTFT)", 0, "", quantile(0.5, TTFT_S, begun_streams, **FIRST)),
    Shown(OV, "Time to First Token (TTFT)", 1, "", quantile(0.95, TTFT_S, begun_streams, **FIRST)),
    Shown(OV, "Provider Health", 0, "provider", fixed(HEALTH)),
    Shown(OV, "Circuit Breaker State", 0, "provider", fixed(OF_LLM)),
    Shown(OV, "Error Rate by Provider", 0, "provider", percent(is_error, is_reached, "provider")),
    Shown(OV, "Errors by Provider and Type", 0, "provider, error_type", summed(attempts), in_window),
    Shown(OV, "Cache Operations", 0, "result", summed(where(every("result"), lambda one: one.step.cache)), in_window),
    Shown(OV, "Rate Limit Hits", 0, "tenant, limit_type", summed(where(every("tenant", "limit"), lambda one: one.step.limit)), in_window),
    Shown(PR, "Circuit Breaker State", 0, "provider", fixed(OF_LLM)),
    Shown(PR, "Error Rate by Model", 0, "provider, model", percent(is_error, is_reached, "provider", "model")),
    Shown(PR, "Latency by Model", 0, "model", quantile(0.5, LLM_S, is_reached, "model")),
    Shown(PR, "Latency by Model", 1, "model", quantile(0.95, LLM_S, is_reached, "model")),
    Shown(PR, "Time to First Token by Model", 1, "model", quantile(0.95, TTFT_S, begun_streams, "model", **FIRST)),
    Shown(PR, "Tokens per Request by Model", 0, "model, type", per_request, some=True),
    Shown(AI, "Request Rate", 0, "", summed(every()), in_five_minutes),
    Shown(AI, "P95 Latency", 0, "", quantile(0.95, AI_S, always)),
    Shown(AI, "Total Cost", 0, "", since_the_start),
    Shown(AI, "Active Streams", 0, "", fixed({(): 0.0})),
    Shown(AI, "Request Rate by Provider", 0, "provider", summed(every("provider")), in_five_minutes),
    Shown(AI, "Latency by Provider", 1, "provider", quantile(0.95, AI_S, always, "provider")),
    Shown(AI, "Cost per Hour by Tenant", 0, "tenant_id", summed(usd("tenant")), whole),
    Shown(AI, "Cache Hit Ratio", 0, "", fixed({(): 0.75})),
    Shown(AI, "Rate Limit Hits", 0, "tenant_id",
          summed(where(every("tenant"), lambda one: one.step.limit == "requests")), in_five_minutes),
    Shown(AI, "Circuit Breaker State", 0, "provider", fixed(OF_AI)),
    Shown(AI, "Provider Errors", 0, "provider, error_type", summed(upstream_faults), in_five_minutes),
    Shown(AI, "Budget Usage", 0, "tenant_id", fixed(BUDGETS)),
    Shown(MO, "Model Request Throughput", 0, "model", summed(reached("model")), in_five_minutes),
    Shown(MO, "Model Average Latency", 0, "model", average_ms),
    Shown(MO, "Model Error Rate", 0, "model", percent(spoilt, is_reached, "model")),
    Shown(MO, "Model Token Usage Rate", 0, "model", summed(lambda one: [(key[:1], amount) for key, amount in tokens("model")(one)]),
          in_five_minutes, some=True),
    Shown(MO, "Claude Models %", 0, "", family("claude")),
    Shown(MO, "GPT Models %", 0, "", family("gpt")),
    Shown(MO, "Gemini Models %", 0, "", family("gemini")),
    Shown(MO, "Llama Models %", 0, "", family("llama")),
    Shown(MO, "Mistral Models %", 0, "", family("mistral")),
    Shown(MO, "Hourly Request Distribution", 0, "model", summed(reached("model")), whole),
    Shown(MO, "Model Availability", 0, "model", percent(lambda one: not spoilt(one), is_reached, "model")),
    Shown(AP, "Failing", 0, "", percent(spoilt, always)),
    Shown(AP, "Budget Burn, 1 h", 0, "", burnt),
    Shown(AP, "Backends Down", 0, "", fixed({(): 1.0})),
    Shown(AP, "Breakers Open", 0, "", fixed({(): 1.0})),
    Shown(AP, "Breakers", 0, "provider", fixed(OF_AI)),
    Shown(AP, "Budgets Above 80 %", 0, "", fixed({(): 2.0})),
    Shown(AP, "Errors by Blame", 0, "", summed(where(every(), lambda one: one.step.fault == "server_error")), in_window),
    Shown(AP, "Errors by Blame", 1, "", summed(where(every(), lambda one: one.step.fault == "no_backend")), in_window),
    Shown(AP, "Errors by Blame", 2, "",
          summed(where(every(), lambda one: one.step.fault not in ("", "server_error", "no_backend"))), in_window),
    Shown(AP, "Cache Hits", 0, "", fixed({(): 75.0})),
    Shown(AP, "Draining", 0, "", fixed({(): 0.0})),
    Shown(AP, "Restarts", 0, "", fixed({(): 0.0})),
    Shown(AP, "Configuration Reloads", 0, "result", fixed({("ok",): 1.0, ("failed",): 1.0}), whole),
    Shown(AP, "Spend by Tenant", 0, "tenant_id", summed(usd("tenant")), hourly),
    Shown(AP, "Shadow Copies", 0, "experiment, result", fixed({("copied", "success"): 3.0}), in_window, some=True),
    Shown(AP, "Hedges", 0, "route", fixed({("hedged",): 3.0}), in_window),
)  # fmt: skip

DOCUMENTED_VALUES: dict[str, tuple[str, Callable[["Watched"], Expected], float | None]] = {
    "requests of the AI gateway": ("", summed(every()), FIVE_MINUTES_S),
    "error rate of the AI gateway": ("", lambda run: {(): sum(bool(one.step.fault) for one in run.seen) / len(run.seen)}, None),
    "p99 of the AI gateway": ("", quantile(0.99, AI_S, always), None),
    "cost per hour": ("", summed(usd()), 1.0),
    "cache hit ratio": ("", fixed({(): 0.75}), None),
    "high error rate": ("", summed(lambda one: [((), len(list(upstream_faults(one))))]), FIVE_MINUTES_S),
    "availability by model": ("model", percent(lambda one: not spoilt(one), is_reached, "model"), None),
    "share of Claude": ("", family("claude"), None),
    "a model's requests": ("model", since_the_start_of("gpt-4o-mini"), None),
    "a model's errors": ("model", fixed({("gpt-4o-mini",): 0.0}), None),
}
"""Documented query → its labels, what it must say, and the seconds by which it is multiplied first where it is a rate."""
