"""Why an answer ended: Anthropic's `stop_reason` and the canonical word, both ways, as two tables."""

from collections.abc import Iterable, Sequence

from appliance.core.completion import Finish
from appliance.core.message import Part, Refusal, ToolCall

READ: dict[str, Finish] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_use",
    "pause_turn": "pause",
    "compaction": "pause",  # beta: the caller is to send the compacted turn back
    "refusal": "refusal",
    "model_context_window_exceeded": "context_length",
}

WRITTEN: dict[Finish, str] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tool_use": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
    "pause": "pause_turn",
    "context_length": "model_context_window_exceeded",
    "malformed_tool_call": "end_turn",
    "other": "end_turn",
    "": "end_turn",
}

_CALLS_PREVAIL = frozenset({"stop", "stop_sequence", "pause", "other", ""})
"""Ends that a client's tool call turns into tool use. Not `length` and the like: the last call may be cut, and must not be run."""


def read_finish(reason: object, has_call: bool) -> Finish:
    """stop_reason as a peer wrote it; "" for none."""
    finish: Finish = "" if reason is None else READ.get(reason, "other") if isinstance(reason, str) else "other"
    return "tool_use" if has_call and finish in _CALLS_PREVAIL else finish


def write_finish(finish: Finish, has_call: bool, has_refusal: bool) -> str:
    if has_call and finish in _CALLS_PREVAIL:
        return "tool_use"
    if has_refusal and finish in ("stop", "other", ""):  # OpenAI ends a refusal with `stop`
        return "refusal"
    return WRITTEN[finish]


def stopped_by(finish: Finish, told: str, stops: Sequence[str]) -> str | None:
    """The text that ended the answer. Some vendors tell only that one did: it is known where the caller gave no other."""
    if not told and finish == "stop_sequence" and len(stops) == 1:
        return stops[0]
    return told or None


def holds_call(parts: Iterable[Part]) -> bool:
    return any(isinstance(part, ToolCall) for part in parts)


def holds_refusal(parts: Iterable[Part]) -> bool:
    return any(isinstance(part, Refusal) and part.text for part in parts)
