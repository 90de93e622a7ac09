"""The written table: what every counter must have grown by, counted from the script and from what callers saw.

One row is one family: its labels and a function from one request to what it adds, as pairs of label values and an amount.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import attrs
from scripted_workload import COUNTED_OUT, Seen

from appliance.telemetry.verdict import OF_GATEWAY, OF_UPSTREAM

Key = tuple[str, ...]
Adds = Iterable[tuple[Key, float]]
AIGATEWAY_STATUS = {
    "": "success", "server_error": "provider_error", "context_length": "bad_request", "unauthorized": "unauthorized",
    "unknown_model": "no_provider", "no_backend": "no_provider", "rate_limit_exceeded": "rate_limited",
    "budget_exceeded": "budget_exceeded", "client_gone": "client_gone",
}  # fmt: skip
LLM = "llm_gateway_llm_gateway_"


@attrs.frozen
class Row:
    """metric{by} grows by the sum of what `adds` says of each request."""

    metric: str
    by: str
    adds: Callable[[Seen], Adds]

    def expected(self, seen: Iterable[Seen]) -> dict[Key, float]:
        return {key: amount for key, amount in total(seen, self.adds).items() if amount}


def total(seen: Iterable[Seen], adds: Callable[[Seen], Adds]) -> defaultdict[Key, float]:
    """What requests add up to."""
    found: defaultdict[Key, float] = defaultdict(float)
    for one in seen:
        for key, amount in adds(one):
            found[key] += amount
    return found


def every(*names: str) -> Callable[[Seen], Adds]:
    """Each request counts once."""
    return lambda one: [(key_of(one, names), 1)]


def reached(*names: str) -> Callable[[Seen], Adds]:
    """Each request that reached a backend counts once."""
    return lambda one: [(key_of(one, names), 1)] if one.step.reached else []


def usd(*names: str) -> Callable[[Seen], Adds]:
    return lambda one: [(key_of(one, names), one.usd)]


def tokens(*names: str) -> Callable[[Seen], Adds]:
    """By type, the last label; not of routes whose tokens no caller can count."""

    def adds(one: Seen) -> Adds:
        if one.step.route in COUNTED_OUT:
            return []
        return [((*key_of(one, names), "input"), one.input_tokens), ((*key_of(one, names), "output"), one.output_tokens)]

    return adds


def key_of(one: Seen, names: Iterable[str]) -> Key:
    step = one.step
    values = {
        "route": step.route, "backend": one.backend, "provider": one.backend, "model": one.model, "tenant": step.tenant,
        "http": str(step.status), "fault": step.fault, "user": step.user, "limit": step.limit, "variant": one.variant,
        "experiment": step.experiment, "streaming": str(step.stream).lower(), "result": step.cache,
        "aigateway": AIGATEWAY_STATUS[step.fault],
        "llm": {"": "success", "client_gone": "cancelled"}.get(step.fault, "error"),
    }  # fmt: skip
    return tuple(values[name] for name in names)


def where(adds: Callable[[Seen], Adds], holds: Callable[[Seen], object]) -> Callable[[Seen], Adds]:
    return lambda one: adds(one) if holds(one) else []


def attempts(one: Seen, blamed: Callable[[str], bool] = bool) -> Iterator[tuple[Key, float]]:
    """Failed ones, by backend and error type. Who was overtaken or left did not fail."""
    for backend, fault in one.step.attempts:
        if fault not in ("", "cancelled", "client_gone") and blamed(fault):
            yield (backend, fault), 1


def fallbacks(one: Seen) -> Iterator[tuple[Key, float]]:
    for (source, fault), (target, _) in zip(one.step.attempts, one.step.attempts[1:], strict=False):
        if fault != "cancelled":
            yield (source, target), 1


def to_alpha(one: Seen) -> Adds:
    return [((), sum(backend == "alpha" for backend, _ in one.step.attempts) if one.variant != "treatment" else 0)]


def spoilt(one: Seen) -> bool:
    """A fault of a provider or of the gateway."""
    return one.step.fault in OF_UPSTREAM | OF_GATEWAY


def begun_streams(one: Seen) -> bool:
    return one.step.reached and one.first_token_s is not None


TABLE = (
    Row("inference_gateway_requests_total", "route, backend, status", every("route", "backend", "http")),
    Row("inference_gateway_request_duration_seconds_count", "route, backend", every("route", "backend")),
    Row("inference_gateway_request_errors_total", "route, backend, error_type",
        where(every("route", "backend", "fault"), lambda one: one.step.fault)),
    Row("inference_gateway_rate_limit_hits_total", "route, user", where(every("route", "user"), lambda one: one.step.limit == "requests")),
    Row("inference_gateway_experiment_assignments_total{experiment=\"trial\"}", "experiment, variant",
        where(every("experiment", "variant"), lambda one: one.step.experiment)),
    Row("inference_gateway_cost_total", "route, backend", usd("route", "backend")),
    Row("inference_gateway_tokens_total{route!~\"left|hedged\"}", "route, backend, type", tokens("route", "backend")),
    Row("inference_gateway_fallbacks_total", "from_backend, to_backend", fallbacks),
    Row(f"{LLM}requests_total", "model, provider, status, streaming", reached("model", "provider", "llm", "streaming")),
    Row(f"{LLM}request_duration_seconds_count", "model, provider, streaming", reached("model", "provider", "streaming")),
    Row(f"{LLM}tokens_total{{model!~\"left|hedged\"}}", "model, provider, type", tokens("model", "provider")),
    Row(f"{LLM}errors_total", "provider, error_type", attempts),
    Row(f"{LLM}rate_limit_hits_total", "tenant, limit_type", where(every("tenant", "limit"), lambda one: one.step.limit)),
    Row(f"{LLM}cache_operations_total{{operation=\"get\"}}", "result", where(every("result"), lambda one: one.step.cache)),
    Row(f"{LLM}ttft_seconds_count", "model, provider", where(every("model", "provider"), begun_streams)),
    Row("aigateway_requests_total", "tenant_id, provider, model, status", every("tenant", "provider", "model", "aigateway")),
    Row("aigateway_request_duration_seconds_count", "tenant_id, provider, model", every("tenant", "provider", "model")),
    Row("aigateway_tokens_total{model!~\"left|hedged\"}", "tenant_id, provider, model, type", tokens("tenant", "provider", "model")),
    Row("aigateway_cost_usd_total", "tenant_id, provider, model", usd("tenant", "provider", "model")),
    Row("aigateway_cache_hits_total", "tenant_id", where(every("tenant"), lambda one: one.step.cache == "hit")),
    Row("aigateway_cache_misses_total", "tenant_id", where(every("tenant"), lambda one: one.step.cache == "miss")),
    Row("aigateway_provider_errors_total", "provider, error_type", lambda one: attempts(one, OF_UPSTREAM.__contains__)),
    Row("aigateway_rate_limit_hits_total", "tenant_id", where(every("tenant"), lambda one: one.step.limit == "requests")),
    Row("model_requests_total", "model", reached("model")),
    Row("model_errors_total", "model", where(reached("model"), spoilt)),
    Row("model_latency_ms_count", "model", reached("model")),
    Row("model_tokens_used_total{model!~\"left|hedged\"}", "model",
        lambda one: [(key[:1], amount) for key, amount in tokens("model")(one)]),
    Row("gen_ai_server_request_duration_seconds_count", "gen_ai_request_model", reached("model")),
    Row("gen_ai_server_time_to_first_token_seconds_count", "gen_ai_request_model",
        where(every("model"), lambda one: begun_streams(one) and not one.step.fault)),
    Row("appliance_unpriced_requests_total", "model", where(every("model"), lambda one: one.model == "house")),
    Row("appliance_experiment_copies_total", "experiment, result",
        where(lambda _: [(("copied", "success"), 1)], lambda one: one.step.route == "shadowed")),
    Row("appliance_hedges_sent_total", "route", where(every("route"), lambda one: one.step.route == "hedged")),
    Row("appliance_hedges_won_total", "route", where(every("route"), lambda one: one.step.route == "hedged")),
    Row("appliance_upstream_key_requests_total", "", to_alpha),
)  # fmt: skip
