"""Every kind of fault in one table: what it may be given, what it does to an answer, and when among others. Pure.

The order of application is the table's `phase`, not the order of writing: an answer is first replaced, then its events are changed, then
how it ends, then its bytes, then its head and timing. So `gzip+cut=3` and `cut=3+gzip` are the same.
"""

from collections.abc import Callable, Mapping

import attrs

from appliance.simulator import fault_bytes, fault_endings, fault_errors
from appliance.simulator.answer import Answer
from appliance.simulator.fault_context import FaultContext
from appliance.simulator.fault_grammar import (
    Clause,
    ParseValue,
    Shape,
    one_of,
    parse_count,
    parse_size,
    parse_text,
)
from appliance.simulator.model_name import parse_duration

REPLACE, EVENTS, ENDING, BYTES, HEAD = range(5)
HUGE_LINE_BYTES = 1_048_576
COMMENTS = 3
TRICKLE_GAP_S = 0.001

Apply = Callable[[Answer, Clause, FaultContext], Answer]


def parse_error_status(text: str) -> int | None:
    status = parse_count(text)
    return status if status is not None and 400 <= status <= 599 else None


@attrs.frozen
class Kind:
    """`apply(answer, clause, context)` gives the changed answer."""

    apply: Apply
    phase: int
    shape: Shape = attrs.field(factory=Shape)


RETRY: Mapping[str, ParseValue] = {
    "retry_as": one_of("seconds", "ms", "date"),
    "should_retry": one_of("true", "false"),
    "body": one_of("json", "html", "empty"),
    "code": parse_text,
}
ERROR: Mapping[str, ParseValue] = {"status": parse_error_status, "style": one_of("openai", "openrouter", "event")}
REFUSES = Shape(parse_duration, options=RETRY)
AFTER_EVENTS = Shape(parse_count)
FROM_FIRST = Shape(parse_count, default=0)

KINDS: Mapping[str, Kind] = {
    "status": Kind(fault_errors.status, REPLACE, REFUSES),
    "context_length": Kind(fault_errors.status, REPLACE, REFUSES),
    "content_filter": Kind(fault_errors.status, REPLACE, REFUSES),
    "quota": Kind(fault_errors.status, REPLACE, REFUSES),
    "error_200": Kind(fault_errors.error_200, REPLACE, Shape(options={"status": parse_error_status})),
    "no_usage": Kind(fault_bytes.no_usage, EVENTS),
    "finish": Kind(fault_bytes.finish, EVENTS, Shape(parse_text, required=True)),
    "no_done": Kind(fault_endings.no_done, EVENTS),
    "huge_line": Kind(fault_bytes.huge_line, EVENTS, Shape(parse_size, default=HUGE_LINE_BYTES)),
    "garbage_json": Kind(fault_bytes.garbage, EVENTS, FROM_FIRST),
    "garbage_sse": Kind(fault_bytes.garbage, EVENTS, FROM_FIRST),
    "error_event": Kind(fault_errors.error_event, EVENTS, Shape(parse_count, default=0, options=ERROR)),
    "empty": Kind(fault_bytes.empty, EVENTS),
    "endless": Kind(fault_endings.endless, EVENTS),
    "stall": Kind(fault_endings.stall, EVENTS, Shape(parse_count, default=0, options={"for": parse_duration})),
    "truncate": Kind(fault_endings.truncate, ENDING, FROM_FIRST),
    "hang": Kind(fault_endings.ends, ENDING, AFTER_EVENTS),
    "reset": Kind(fault_endings.ends, ENDING, AFTER_EVENTS),
    "cut": Kind(fault_endings.ends, ENDING, AFTER_EVENTS),
    "drop": Kind(fault_endings.drop, ENDING, Shape(parse_duration, default=0.0)),
    "comments": Kind(fault_bytes.comments, BYTES, Shape(parse_count, default=COMMENTS, options={"every": parse_duration})),
    "crlf": Kind(fault_bytes.crlf, BYTES),
    "burst": Kind(fault_bytes.burst, BYTES),
    "gzip": Kind(fault_bytes.gzip, BYTES),
    "trickle": Kind(fault_bytes.trickle, BYTES, Shape(parse_duration, default=TRICKLE_GAP_S)),
    "content_type": Kind(fault_bytes.content_type, HEAD, Shape(parse_text, required=True)),
    "latency": Kind(fault_bytes.latency, HEAD, Shape(parse_duration, required=True)),
    "early_head": Kind(fault_bytes.early_head, HEAD, Shape(parse_duration, default=1.0)),
}
SHAPES: Mapping[str, Shape] = {name: kind.shape for name, kind in KINDS.items()}
ORDER = {name: (kind.phase, at) for at, (name, kind) in enumerate(KINDS.items())}


def apply_faults(answer: Answer, clauses: tuple[Clause, ...], context: FaultContext) -> Answer:
    for clause in sorted(clauses, key=lambda c: ORDER[c.kind]):
        answer = KINDS[clause.kind].apply(answer, clause, context)
    return answer
