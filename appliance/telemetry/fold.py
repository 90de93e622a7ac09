"""From one finished record to the counts. `fold` runs once per request, in `finally`, and is the only writer of `Cells`.

It runs on the hot path of every request: no call that can be avoided, no allocation but the keys, nothing per vocabulary.
"""

from bisect import bisect_left

from appliance.core.fault import FaultKind
from appliance.core.record import AttemptRecord, RequestRecord
from appliance.telemetry.cells import (
    ATTEMPT_EDGES_S,
    DURATION_EDGES_S,
    TIME_PER_TOKEN_EDGES_S,
    TOKEN_EDGES,
    TTFT_EDGES_S,
    AttemptCell,
    Cells,
    Rate,
    RequestCell,
)
from appliance.telemetry.histogram import Histogram
from appliance.telemetry.verdict import CLIENT_GONE

# Every status as the text its label shows; making it anew costs more than looking it up.
STATUS_TEXT = {status: str(status) for status in range(100, 600)}
STATUS_GONE = "499"

# Which limit refused a request whose record does not say.
DEFAULT_LIMIT = {"rate_limit_exceeded": "requests", "budget_exceeded": "budget"}


def fold(record: RequestRecord, cells: Cells) -> None:
    """Counts one finished request with all its attempts."""
    fault = record.fault
    error_type = "" if fault is None else fault.row.label
    attempts = record.attempts
    model = cells.models.label(record.model)
    if attempts:
        for attempt in attempts:
            _fold_attempt(attempt, record, cells)
        last = attempts[-1]
        backend, vendor, response_model, reached = last.backend, last.vendor, cells.response_models.label(last.response_model), True
        cells.overhead.observe(record.overhead_s)
    else:
        backend, vendor, response_model, reached = "cache" if record.cache == "hit" else "none", "", "", False
    if error_type == CLIENT_GONE:
        status = STATUS_GONE
    else:
        status = STATUS_TEXT.get(record.status) or _odd_status(record)
    key = (
        record.tenant, record.route, backend, vendor, model, response_model, record.operation, status, error_type, record.stream, reached,
    )  # fmt: skip
    cell = cells.requests.get(key)
    if cell is None:
        cell = cells.open_request(key)
    cell.count += 1
    duration_s = record.ended_at - record.started_at
    histogram = cell.duration
    histogram.counts[bisect_left(DURATION_EDGES_S, duration_s)] += 1
    histogram.sum += duration_s if duration_s > 0 else 0.0
    cell.cost_usd += record.cost_usd
    usage = record.usage
    if usage is not None:
        cell.input_tokens += usage.input_tokens
        cell.output_tokens += usage.output_tokens
        if reached and usage.output_tokens > 1 and usage.source != "estimated":
            _fold_speed(record, cells, cell, (model, backend))
    if reached and record.stream and record.first_token_at:
        if cell.ttft is None:
            cell.ttft = Histogram(TTFT_EDGES_S)
        cell.ttft.observe(record.first_token_at - record.started_at)
    if record.limit_type or record.fallbacks or record.experiment or record.cache or error_type in DEFAULT_LIMIT:
        _fold_rare(record, cells, error_type)


def _fold_attempt(attempt: AttemptRecord, record: RequestRecord, cells: Cells) -> None:
    outcome = attempt.outcome
    fault = attempt.fault
    if fault is not None:
        error_type = fault.row.label
    elif outcome == "success":
        error_type = ""
    else:
        error_type = _unsaid(outcome, record)
    if outcome == "error" and error_type == CLIENT_GONE:
        outcome = "cancelled"  # a client that left is never its backend's error
    key = (
        attempt.backend, attempt.vendor, cells.models.label(attempt.served_model), cells.response_models.label(attempt.response_model),
        record.operation, outcome, error_type,
    )  # fmt: skip
    cell = cells.attempts.get(key)
    if cell is None:
        cell = cells.open_attempt(key)
    cell.count += 1
    duration_s = attempt.ended_at - attempt.started_at
    histogram = cell.duration
    histogram.counts[bisect_left(ATTEMPT_EDGES_S, duration_s)] += 1
    histogram.sum += duration_s if duration_s > 0 else 0.0
    if attempt.usage is not None:
        _fold_tokens(attempt, cell)


def _fold_tokens(attempt: AttemptRecord, cell: AttemptCell) -> None:
    """The conventions want counted tokens, never guessed ones; and a zero here may be a figure that the provider left out."""
    usage = attempt.usage
    if usage is None or usage.source == "estimated":
        return
    if usage.input_tokens:
        if cell.input_tokens is None:
            cell.input_tokens = Histogram(TOKEN_EDGES)
        cell.input_tokens.observe(usage.input_tokens)
    if usage.output_tokens:
        if cell.output_tokens is None:
            cell.output_tokens = Histogram(TOKEN_EDGES)
        cell.output_tokens.observe(usage.output_tokens)


def _fold_speed(record: RequestRecord, cells: Cells, cell: RequestCell, key: tuple[str, str]) -> None:
    """Tokens per second, and time per token after the first, of a generation of two tokens or more.

    A stream's speed is taken between its first and last token; a whole answer's over the attempt that gave it: nothing finer is known.
    """
    last = record.attempts[-1]
    tokens = record.usage.output_tokens if record.usage is not None else 0
    if record.stream:
        span_s = last.last_token_at - last.first_token_at if last.first_token_at else 0.0
        tokens -= 1
        if record.first_token_at:
            if cell.time_per_token is None:
                cell.time_per_token = Histogram(TIME_PER_TOKEN_EDGES_S)
            cell.time_per_token.observe(max(0.0, record.ended_at - record.first_token_at) / tokens)
    else:
        span_s = last.ended_at - last.started_at
    if span_s > 0:
        cells.rates[key] = Rate(tokens / span_s, record.ended_at)


def _fold_rare(record: RequestRecord, cells: Cells, error_type: str) -> None:
    limit_type = record.limit_type or DEFAULT_LIMIT.get(error_type, "")
    if limit_type:
        user = cells.users.label(record.user) or "none"
        cells.count(cells.limits, (record.tenant, record.route, user, limit_type), limit_type)
    for from_backend, to_backend in record.fallbacks:
        cells.count(cells.fallbacks, (record.route, from_backend, to_backend))
    if record.experiment:
        cells.count(cells.experiments, (record.experiment, record.variant), record.variant)
    if record.cache:
        cells.count(cells.lookups, (record.tenant, "get", record.cache), record.cache)


def _unsaid(outcome: str, record: RequestRecord) -> str:
    """The error type of an attempt that did not succeed and names no fault: it lost its client, or a hedge; else it is a bug of ours."""
    if outcome == "error":
        return "internal"
    return CLIENT_GONE if record.fault is not None and record.fault.kind is FaultKind.CLIENT_GONE else "cancelled"


def _odd_status(record: RequestRecord) -> str:
    """No status was sent, or a strange one: the fault's own, else 0, so that odd numbers make no series of their own."""
    return str(record.fault.surface_status) if record.fault is not None and not record.status else "0"
