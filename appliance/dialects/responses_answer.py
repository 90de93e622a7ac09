"""Reads a backend's Responses answer, and the pieces that streams of it share with whole ones.

The rule: nothing but the shape of the whole is demanded; an item of a kind that is not known travels as it is. Vendors differ in what they
leave out (recorded: OpenAI, Azure, xAI, LM Studio, GitHub).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs

from appliance.core.completion import Candidate, Completion, Finish, TokenLogprob
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Foreign, Part, Reasoning, Refusal, Text, ToolCall
from appliance.core.seal import Seal
from appliance.core.tool_ids import made_id
from appliance.dialects.openai_usage import read_usage, tiered
from appliance.dialects.responses_content import FAMILY, read_citation, read_logprobs
from appliance.dialects.responses_error import fault_in
from appliance.dialects.responses_input import OWN
from appliance.dialects.upstream_error import error_in_answer
from appliance.dialects.upstream_json import parse

CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
"""Items that are a client's tool call, and the member that holds what it is called with."""

_FINISHES: dict[str, Finish] = {"max_output_tokens": "length", "max_tokens": "length", "content_filter": "content_filter"}


def read_answer(body: bytes) -> Completion | Fault:
    try:
        answer = parse(body)
    except ValueError:
        return Fault(FaultKind.PROTOCOL, "the backend sent an answer that is not JSON")
    if not isinstance(answer, dict):
        return Fault(FaultKind.PROTOCOL, "the backend sent an answer that is not a JSON object")
    if answer.get("status") == "failed" or ("output" in answer and answer.get("error")):
        return fault_in(answer.get("error"), "")
    output = answer.get("output")
    if not isinstance(output, list):
        return error_in_answer(answer, "") or Fault(FaultKind.PROTOCOL, "the backend sent an answer without output")
    if answer.get("status") in ("queued", "in_progress", "cancelled"):
        return Fault(FaultKind.PROTOCOL, "the backend sent an answer that is not complete")
    started = start_of(answer)
    items = [item for item in output if isinstance(item, dict)]
    parts: list[Part] = []
    for item in items:
        parts += parts_of(item, made_id(started.id, len(parts)))
    logprobs = tuple(one for item in items for one in logprobs_of(item))
    finish = finish_of(answer, {type(part) for part in parts}, items[-1:])
    usage = tiered(read_usage(answer.get("usage")), answer)
    return Completion(started.id, started.model, (Candidate(tuple(parts), finish, "", logprobs),), usage, started.created, "", started.tier)


@attrs.frozen
class Start:
    """What an answer says of itself."""

    id: str = ""
    model: str = ""
    created: int = 0
    tier: str = ""


def start_of(response: Mapping[str, Any]) -> Start:
    created = response.get("created_at")
    seconds = int(created) if isinstance(created, int | float) and 0 <= created < 1 << 53 else 0
    return Start(_text(response, "id"), _text(response, "model"), seconds, _text(response, "service_tier"))


def parts_of(item: Mapping[str, Any], made: str) -> list[Part]:
    """One whole item's parts. made: the id for a call that has none."""
    kind = _text(item, "type")
    match kind:
        case "message":
            return [part for piece in pieces_of(item, "content") if (part := part_of(piece)) is not None]
        case "reasoning":
            return _thoughts_of(item)
        case "function_call" | "custom_tool_call":
            return [attrs.evolve(call_of(item, made), arguments=_text(item, CALLS[kind]))]
        case "":
            return []
    return [Foreign(FAMILY, kind, dict(item))]


def part_of(piece: Mapping[str, Any]) -> Part | None:
    """Of a message; None for a piece that has nothing to read in it."""
    if piece.get("type") == "refusal":
        return Refusal(_text(piece, "refusal"))
    if not isinstance(piece.get("text"), str):
        return None
    return Text(piece["text"], tuple(read_citation(one) for one in pieces_of(piece, "annotations")))


def call_of(item: Mapping[str, Any], made: str) -> ToolCall:
    """A call before its arguments."""
    call_id = _text(item, "call_id") or _text(item, "id") or made
    return ToolCall(call_id, _text(item, "name"), "", _text(item, "namespace"), custom=item.get("type") == "custom_tool_call")


def _thoughts_of(item: Mapping[str, Any]) -> list[Part]:
    """Raw thoughts, then summaries; a seal of all of them goes with the last."""
    thoughts = [Reasoning(_text(piece, "text")) for piece in pieces_of(item, "content")]
    thoughts += [Reasoning(_text(piece, "text"), summary=True) for piece in pieces_of(item, "summary")]
    sealed = seal_of(item)
    if sealed is not None:
        last = attrs.evolve(thoughts.pop(), seal=sealed) if thoughts else Reasoning(seal=sealed, hidden=True)
        thoughts.append(last)
    return list(thoughts)


def seal_of(item: Mapping[str, Any]) -> Seal | None:
    sealed = item.get("encrypted_content")
    return Seal(OWN, sealed) if isinstance(sealed, str) and sealed else None


def logprobs_of(item: Mapping[str, Any]) -> tuple[TokenLogprob, ...]:
    if item.get("type") != "message":
        return ()
    return tuple(one for piece in pieces_of(item, "content") for one in read_logprobs(piece.get("logprobs")))


def finish_of(response: Mapping[str, Any], kinds: Collection[type], last: Sequence[Mapping[str, Any]]) -> Finish:
    """Why the answer ended. kinds: of its parts; last: its last item, if any. A call that the answer broke off in is none to make."""
    if response.get("status") == "incomplete":
        details = response.get("incomplete_details")
        finish = _FINISHES.get(_text(details, "reason") if isinstance(details, dict) else "", "other")
        broken = bool(last) and isinstance(last[0].get("type"), str) and last[0]["type"] in CALLS and last[0].get("status") == "incomplete"
        return "tool_use" if ToolCall in kinds and not broken else finish
    return "tool_use" if ToolCall in kinds else "refusal" if Refusal in kinds else "stop"


def pieces_of(item: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    pieces = item.get(name)
    return [piece for piece in pieces if isinstance(piece, dict)] if isinstance(pieces, list) else []


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    return value if isinstance(value, str) else ""
