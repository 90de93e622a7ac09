"""From one finished record to the counts. `fold` runs once per request, in `finally`, and is the only writer of `Cells`.

It runs on the hot path of every request: no call that can be avoided, no allocation but the keys, nothing per vocabulary. Nearly every
request has one attempt and no fault; where such a one is counted is found by a single look-up in `Cells.shapes`.
"""

from bisect import bisect_left
from collections.abc import Iterable

from appliance.core.fault import FaultKind
from appliance.core.record import AttemptRecord, RequestRecord
from appliance.telemetry.cells import (
    ATTEMPT_EDGES_S,
    DURATION_EDGES_S,
    OVERHEAD_EDGES_S,
    SHAPES_MAX,
    TIME_PER_TOKEN_EDGES_S,
    TOKEN_EDGES,
    TTFT_EDGES_S,
    AttemptCell,
    Cells,
    Places,
    Rate,
    RequestCell,
    Shape,
)
from appliance.telemetry.histogram import Exemplar, Histogram
from appliance.telemetry.labels import VALUE_MAX_CHARS
from appliance.telemetry.verdict import CLIENT_GONE

# Every status as the text its label shows; making it anew costs more than looking it up.
STATUS_TEXT = {status: str(status) for status in range(100, 600)}
STATUS_GONE = "499"

# Which limit refused a request whose record does not say.
DEFAULT_LIMIT = {"rate_limit_exceeded": "requests", "budget_exceeded": "budget"}


def fold(record: RequestRecord, cells: Cells) -> None:
    """Counts one finished request with all its attempts."""
    attempts = record.attempts
    if record.fault is not None or len(attempts) != 1 or attempts[0].fault is not None:
        _fold_unusual(record, cells)
        return
    attempt = attempts[0]
    shape = (
        record.tenant, record.route, record.model, record.operation, record.status, record.stream,
        attempt.backend, attempt.vendor, attempt.served_model, attempt.response_model, attempt.outcome,
    )  # fmt: skip
    cell, attempt_cell, rate = cells.shapes.get(shape) or _find_places(record, attempt, shape, cells)
    duration_s = record.ended_at - record.started_at
    histogram = cell.duration
    histogram.counts[bisect_left(DURATION_EDGES_S, duration_s)] += 1
    histogram.sum += duration_s if duration_s > 0 else 0.0
    attempt_s = attempt.ended_at - attempt.started_at
    histogram = attempt_cell.duration
    histogram.counts[bisect_left(ATTEMPT_EDGES_S, attempt_s)] += 1
    histogram.sum += attempt_s if attempt_s > 0 else 0.0
    overhead_s = duration_s - attempt_s
    histogram = cells.overhead
    histogram.counts[bisect_left(OVERHEAD_EDGES_S, overhead_s)] += 1
    histogram.sum += overhead_s if overhead_s > 0 else 0.0
    cell.cost_usd += record.cost_usd
    usage = record.usage
    if usage is not None:
        output_tokens = usage.output_tokens
        cell.input_tokens += usage.input_tokens
        cell.output_tokens += output_tokens
        if output_tokens > 1 and attempt_s > 0 and not record.stream and usage.source != "estimated":
            rate.tokens_per_s, rate.at = output_tokens / attempt_s, record.ended_at
    usage = attempt.usage
    if usage is not None and usage.source != "estimated":
        if tokens := usage.input_tokens:
            histogram = attempt_cell.input_tokens or attempt_cell.begin_input()
            histogram.counts[bisect_left(TOKEN_EDGES, tokens)] += 1
            histogram.sum += tokens
        if tokens := usage.output_tokens:
            histogram = attempt_cell.output_tokens or attempt_cell.begin_output()
            histogram.counts[bisect_left(TOKEN_EDGES, tokens)] += 1
            histogram.sum += tokens
    if record.stream:
        _fold_speed(record, attempt, cell, rate)
    if record.experiment:
        _count_assignment(record, cells)
    if record.cache or record.limit_type or record.fallbacks:
        _fold_rare(record, cells, "")
    trace = record.trace
    if trace is not None and trace.kept:
        _exemplify(record, trace.trace_id, cell, (attempt_cell,), cells)


def _fold_unusual(record: RequestRecord, cells: Cells) -> None:
    """The same of any request: one that failed, or was tried more than once, or reached no backend."""
    error_type = "" if record.fault is None else record.fault.row.label
    model = cells.models.label(record.model)
    attempt_cells = _count_attempts(record, cells)
    cell, rate = _request_cell(record, model, error_type, cells)
    cell.duration.observe(max(0.0, record.duration_s))
    cell.cost_usd += record.cost_usd
    usage = record.usage
    if usage is not None:
        cell.input_tokens += usage.input_tokens
        cell.output_tokens += usage.output_tokens
    if record.attempts:
        cells.overhead.observe(record.overhead_s)
        _fold_speed(record, record.attempts[-1], cell, rate)
    if record.experiment:
        _count_assignment(record, cells)
    _fold_rare(record, cells, error_type)
    if record.trace is not None and record.trace.kept:
        _exemplify(record, record.trace.trace_id, cell, attempt_cells, cells)


def _count_attempts(record: RequestRecord, cells: Cells) -> list[AttemptCell]:
    """Counts all of a request's attempts, however many and however they ended; gives where."""
    attempt_cells = [_attempt_cell(attempt, record, record.operation, cells) for attempt in record.attempts]
    for attempt, attempt_cell in zip(record.attempts, attempt_cells, strict=True):
        _count_attempt(attempt, attempt_cell)
        if attempt.hedge:
            _count_hedge(record.route, attempt.hedge, cells)
    return attempt_cells


def _count_attempt(attempt: AttemptRecord, cell: AttemptCell) -> None:
    """The conventions want counted tokens, never guessed ones; and a zero here may be a figure that the provider left out."""
    cell.duration.observe(max(0.0, attempt.ended_at - attempt.started_at))
    usage = attempt.usage
    if usage is not None and usage.source != "estimated":
        if usage.input_tokens:
            (cell.input_tokens or cell.begin_input()).observe(usage.input_tokens)
        if usage.output_tokens:
            (cell.output_tokens or cell.begin_output()).observe(usage.output_tokens)


def _find_places(record: RequestRecord, attempt: AttemptRecord, shape: Shape, cells: Cells) -> Places:
    """Where a request of one attempt and no fault is counted; remembered, unless a value became `other` or is too long to be kept.

    What became `other` counts as dropped each time, and may find room after a reload.
    """
    dropped = cells.dropped
    model = cells.models.label(record.model)
    attempt_cell = _attempt_cell(attempt, record, record.operation, cells)
    cell, rate = _request_cell(record, model, "", cells)
    places = (cell, attempt_cell, rate)
    longest = max(len(record.model), len(attempt.served_model), len(attempt.response_model))
    if longest <= VALUE_MAX_CHARS and cells.dropped == dropped:
        if len(cells.shapes) >= SHAPES_MAX:
            cells.shapes.clear()
        cells.shapes[shape] = places
    return places


def _request_cell(record: RequestRecord, model: str, error_type: str, cells: Cells) -> tuple[RequestCell, Rate]:
    """A request's cell, and its speed."""
    if record.attempts:
        last = record.attempts[-1]
        backend, vendor, response_model, reached = last.backend, last.vendor, cells.response_models.label(last.response_model), True
    else:
        backend, vendor, response_model, reached = "cache" if record.cache == "hit" else "none", "", "", False
    if error_type == CLIENT_GONE:
        status = STATUS_GONE
    else:
        status = STATUS_TEXT.get(record.status) or _odd_status(record)
    key = (
        record.tenant, record.route, backend, vendor, model, response_model, record.operation, status, error_type, record.stream, reached,
    )  # fmt: skip
    rate = cells.rates.get((model, backend))
    if rate is None:
        rate = cells.rates[model, backend] = Rate()
    return cells.requests.get(key) or cells.open_request(key), rate


def _attempt_cell(attempt: AttemptRecord, record: RequestRecord, operation: str, cells: Cells) -> AttemptCell:
    outcome = attempt.outcome
    fault = attempt.fault
    if fault is not None:
        error_type = fault.row.label
    elif outcome == "success":
        error_type = ""
    else:
        error_type = _unsaid(attempt, record)
    if outcome == "error" and error_type == CLIENT_GONE:
        outcome = "cancelled"  # a client that left is never its backend's error
    key = (
        attempt.backend, attempt.vendor, cells.models.label(attempt.served_model), cells.response_models.label(attempt.response_model),
        operation, outcome, error_type,
    )  # fmt: skip
    return cells.attempts.get(key) or cells.open_attempt(key)


def _fold_speed(record: RequestRecord, last: AttemptRecord, cell: RequestCell, rate: Rate) -> None:
    """How soon the first token came and how quickly the others did, of a generation that is counted and has two tokens or more.

    A stream's speed is taken between its first and last token; a whole answer's over the attempt that gave it: nothing finer is known.
    """
    usage, first_token_at = record.usage, record.first_token_at
    counted = usage.output_tokens if usage is not None and usage.source != "estimated" else 0
    if not record.stream:
        span_s = last.ended_at - last.started_at
        if counted > 1 and span_s > 0:
            rate.tokens_per_s, rate.at = counted / span_s, record.ended_at
        return
    if first_token_at:
        if cell.ttft is None:
            cell.ttft = Histogram(TTFT_EDGES_S)
        cell.ttft.observe(first_token_at - record.started_at)
    if counted > 1:
        if first_token_at:
            if cell.time_per_token is None:
                cell.time_per_token = Histogram(TIME_PER_TOKEN_EDGES_S)
            cell.time_per_token.observe(max(0.0, record.ended_at - first_token_at) / (counted - 1))
        span_s = last.last_token_at - last.first_token_at if last.first_token_at else 0.0
        if span_s > 0:
            rate.tokens_per_s, rate.at = (counted - 1) / span_s, record.ended_at


def _count_assignment(record: RequestRecord, cells: Cells) -> None:
    assignment = (record.experiment, record.variant)
    if assignment in cells.experiments:
        cells.experiments[assignment] += 1
    else:
        cells.count(cells.experiments, assignment, record.variant)


def _fold_rare(record: RequestRecord, cells: Cells, error_type: str) -> None:
    limit_type = record.limit_type or DEFAULT_LIMIT.get(error_type, "")
    if limit_type:
        user = cells.users.label(record.user) or "none"
        cells.count(cells.limits, (record.tenant, record.route, user, limit_type), limit_type)
    for from_backend, to_backend in record.fallbacks:
        cells.count(cells.fallbacks, (record.route, from_backend, to_backend))
    if record.cache:
        if record.lookup is not None:
            _count_attempt(record.lookup, _attempt_cell(record.lookup, record, "embeddings", cells))
        cells.count(cells.lookups, (record.tenant, "get", record.cache), record.cache)


def _exemplify(record: RequestRecord, trace_id: str, cell: RequestCell, attempt_cells: Iterable[AttemptCell], cells: Cells) -> None:
    """What was just counted of a request whose trace is recorded is the exemplar of its buckets."""
    duration_s = max(0.0, record.duration_s)
    at = record.wall_time + duration_s

    def keep(histogram: Histogram, seconds: float) -> None:
        cells.exemplify(histogram, Exemplar(trace_id, record.id, max(0.0, seconds), at))

    keep(cell.duration, duration_s)
    if record.stream and record.first_token_at and cell.ttft is not None:
        keep(cell.ttft, record.first_token_at - record.started_at)
    for attempt, attempt_cell in zip(record.attempts, attempt_cells, strict=True):
        keep(attempt_cell.duration, attempt.ended_at - attempt.started_at)
    if record.attempts:
        keep(cells.overhead, record.overhead_s)


def _count_hedge(route: str, hedge: str, cells: Cells) -> None:
    """Every second attempt was sent, whether it won or not."""
    cells.count(cells.hedges, (route, "sent"), "sent")
    if hedge == "won":
        cells.count(cells.hedges, (route, "won"), "won")


def _unsaid(attempt: AttemptRecord, record: RequestRecord) -> str:
    """The error type of an attempt that did not succeed and names no fault: it lost its client, or a hedge; else it is a bug of ours."""
    if attempt.outcome == "error":
        return "internal"
    return CLIENT_GONE if not attempt.lost and record.fault is not None and record.fault.kind is FaultKind.CLIENT_GONE else "cancelled"


def _odd_status(record: RequestRecord) -> str:
    """No status was sent, or a strange one: the fault's own, else 0, so that odd numbers make no series of their own."""
    return str(record.fault.surface_status) if record.fault is not None and not record.status else "0"
