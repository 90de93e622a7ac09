"""From a finished record to its spans: one of kind server for the request, and one of kind client below it for each attempt.

The rule: what callers and models said never enters; names, counts, times and verdicts do. Names of attributes are OpenTelemetry's semantic
conventions' (GenAI 1.40, HTTP 1.37, error) where they have one, else begin with `appliance.`; the README lists ours. What a caller, an
upstream or an operator chose freely is cut to TEXT_MAX_CHARS.
"""

from collections.abc import Callable
from typing import Final

from appliance.core.fault import Blame
from appliance.core.record import AttemptRecord, RequestRecord
from appliance.core.trace_context import Trace, attempt_span_id
from appliance.core.usage import Usage
from appliance.telemetry.otlp import CLIENT, SERVER, Span, Value
from appliance.telemetry.verdict import CLIENT_GONE
from appliance.telemetry.vocabularies.gen_ai import PROVIDERS

TEXT_MAX_CHARS: Final = 256
NS: Final = 1_000_000_000

Where = Callable[[str], tuple[str, int] | None]
"""From a backend's name to its address and port; port 0 for a unix socket, None for one that is not known any more."""


def request_spans(record: RequestRecord, trace: Trace, ahead_s: float, where: Where) -> list[Span]:
    """All spans of one request, its own first.

    Args:
        ahead_s: what to add to the record's times to get seconds since the epoch.
    """
    own = Span(
        trace.trace_id, trace.span_id, trace.parent_id, _name(record.operation, record.requested_model, known=record.model != "unknown"),
        SERVER, _ns(record.started_at, ahead_s), _ns(record.ended_at, ahead_s), _request_attributes(record),
        trace.sampled, remote=bool(trace.parent_id), state=trace.state,
        error=record.fault is not None and record.fault.row.blame is not Blame.CALLER,
    )  # fmt: skip
    # By the places that they had when they were sent, which is what their backends were told: see gateway.tracer.
    return [own, *[_attempt_span(record, one, trace, place, ahead_s, where) for place, one in enumerate(record.in_time)]]


def _attempt_span(record: RequestRecord, one: AttemptRecord, trace: Trace, place: int, ahead_s: float, where: Where) -> Span:
    return Span(
        trace.trace_id, attempt_span_id(trace, place), trace.span_id, _name(record.operation, one.model), CLIENT,
        _ns(one.started_at, ahead_s), _ns(one.ended_at, ahead_s), _attempt_attributes(record, one, place, where(one.backend)),
        trace.sampled, state=trace.state, error=one.outcome == "error",
    )  # fmt: skip


def _request_attributes(record: RequestRecord) -> dict[str, Value]:
    found: dict[str, Value | None] = {
        "gen_ai.operation.name": record.operation,
        "gen_ai.provider.name": _provider(record.attempts[-1]) if record.attempts else None,
        "gen_ai.request.model": record.requested_model,
        "gen_ai.request.stream": record.stream,
        "gen_ai.response.model": record.attempts[-1].response_model if record.attempts else None,
        "gen_ai.response.finish_reasons": _reasons(record.attempts[-1]) if record.attempts else None,
        **_first_token(record.first_token_at, record.started_at),
        **_usage(record.usage),
        "http.request.method": record.method,
        "url.path": record.path.partition("?")[0],  # where Gemini callers put their key
        "http.response.status_code": record.status or None,
        "client.address": record.client,
        "error.type": record.error_type,
        "appliance.id": record.id,
        "appliance.request_id": record.request_id,
        "appliance.tenant": record.tenant,
        "appliance.key": record.key,
        "appliance.route": record.route,
        "appliance.dialect": record.dialect,
        "appliance.model": record.model,
        "appliance.attempts": len(record.attempts),
        "appliance.fallbacks": len(record.fallbacks) or None,
        "appliance.cost_usd": record.cost_usd,
        "appliance.overhead_s": record.overhead_s,
        "appliance.limit": record.limit_type,
        "appliance.cache": record.cache,
        "appliance.experiment": record.experiment,
        "appliance.variant": record.variant,
    }
    return _said(found)


def _attempt_attributes(record: RequestRecord, one: AttemptRecord, place: int, address: tuple[str, int] | None) -> dict[str, Value]:
    found: dict[str, Value | None] = {
        "gen_ai.operation.name": record.operation,
        "gen_ai.provider.name": _provider(one),
        "gen_ai.request.model": one.model,
        "gen_ai.request.stream": record.stream,
        "gen_ai.response.model": one.response_model,
        "gen_ai.response.finish_reasons": _reasons(one),
        **_first_token(one.first_token_at, one.started_at),
        **_usage(one.usage),
        "server.address": address[0] if address is not None else None,
        "server.port": address[1] or None if address is not None else None,
        "http.request.resend_count": place or None,
        "http.response.status_code": one.status or None,
        "error.type": one.error_type or _unsaid(record, one),
        "appliance.backend": one.backend,
        "appliance.outcome": one.outcome,
        "appliance.cost_usd": one.cost_nusd / 1e9,
        "appliance.waited_s": one.waited_s or None,
        "appliance.connection_reused": one.reused,
        "appliance.breaker_probe": one.half_open or None,
        "appliance.hedge": one.hedge,
    }
    return _said(found)


def _said(attributes: dict[str, Value | None]) -> dict[str, Value]:
    """Without what is not known, and bounded."""
    return {
        name: value[:TEXT_MAX_CHARS] if isinstance(value, str) else value
        for name, value in attributes.items()
        if value is not None and value != "" and value != ()
    }


def _name(operation: str, model: str, *, known: bool = True) -> str:
    """`chat gpt-4o`; the operation alone where any caller could make up a name."""
    return f"{operation} {model[:TEXT_MAX_CHARS]}" if model and known else operation


def _provider(one: AttemptRecord) -> str:
    return PROVIDERS.get(one.vendor, one.vendor)


def _unsaid(record: RequestRecord, one: AttemptRecord) -> str:
    """Why an attempt without a fault did not succeed: its caller left, or another attempt was quicker."""
    if one.outcome != "cancelled":
        return ""
    return CLIENT_GONE if record.error_type == CLIENT_GONE and not one.lost else "cancelled"


def _reasons(one: AttemptRecord) -> tuple[str, ...]:
    return (one.finish_reason[:TEXT_MAX_CHARS],) if one.finish_reason else ()


def _first_token(at: float, since: float) -> dict[str, Value | None]:
    """Of a stream: seconds until the model's first word."""
    return {"gen_ai.response.time_to_first_chunk": at - since} if at else {}


def _usage(usage: Usage | None) -> dict[str, Value | None]:
    """Tokens as billed; `appliance.usage.source` says whose count it is."""
    if usage is None:
        return {}
    return {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_input_tokens or None,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens or None,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens or None,
        "appliance.usage.source": usage.source,
    }


def _ns(at: float, ahead_s: float) -> int:
    return max(0, round((at + ahead_s) * NS))
