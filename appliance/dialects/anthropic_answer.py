"""Whole answers of Anthropic's Messages API, read from a backend and written for a caller.

The rule: reading takes what it can from what a backend wrote and refuses only what is no answer at all; writing says only what the API's
own types have, but for pictures, which it has in requests alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from appliance.core.completion import Candidate, Completion
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Foreign, Part, Reasoning, Refusal, Text, ToolCall
from appliance.core.seal import UNSIGNED, Seal
from appliance.dialects.anthropic_answer_blocks import AnswerBlocks, stop_details
from appliance.dialects.anthropic_blocks import FAMILY, read_citation, read_content
from appliance.dialects.anthropic_error import error_in_answer
from appliance.dialects.anthropic_finish import holds_call, holds_refusal, read_finish, stopped_by, write_finish
from appliance.dialects.anthropic_json import dump, dump_text, parse
from appliance.dialects.anthropic_usage import SERVED_TIERS, read_usage, tier_of, write_usage
from appliance.dialects.codec import Reply
from appliance.dialects.fields import Unfit


def read_answer(body: bytes) -> Completion | Fault:
    """A Message object. An error in its place is the fault that it names."""
    try:
        answer = parse(body)
    except ValueError:
        return _broken("an answer that is not JSON")
    if not isinstance(answer, dict):
        return _broken("an answer that is not a JSON object")
    fault = error_in_answer(answer, "")
    if fault is not None:
        return fault
    content = answer.get("content")
    if not isinstance(content, list):
        return _broken("an answer without content")
    parts = [part for block in content if isinstance(block, dict) and (part := read_block(block)) is not None]
    parts += refusal_of(answer.get("stop_details"))
    finish = read_finish(answer.get("stop_reason"), holds_call(parts))
    candidate = Candidate(tuple(parts), finish, text_of(answer.get("stop_sequence")))
    usage = answer.get("usage")
    return Completion(text_of(answer.get("id")), text_of(answer.get("model")), (candidate,), read_usage(usage), service_tier=tier_of(usage))


def write_answer(answer: Completion, reply: Reply) -> bytes:
    """A Message object of the first candidate: callers of this API cannot ask for more."""
    candidate = answer.candidates[0] if answer.candidates else Candidate()
    parts = candidate.parts
    usage = write_usage(answer.usage)
    if answer.service_tier in SERVED_TIERS:
        usage["service_tier"] = answer.service_tier
    refusal = "".join(part.text for part in parts if isinstance(part, Refusal))
    message = {
        "id": answer.id or reply.id,
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": _content(parts, reply),
        "stop_reason": write_finish(candidate.finish, holds_call(parts), holds_refusal(parts)),
        "stop_sequence": stopped_by(candidate.finish, candidate.stop_sequence, reply.conversation.sampling.stop),
        "usage": usage,
    }
    return dump(message | stop_details(refusal))


def read_count_answer(body: bytes) -> int | Fault:
    """`{"input_tokens": n}`."""
    try:
        answer = parse(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        return _broken("a count of tokens that is not a JSON object")
    fault = error_in_answer(answer, "")
    if fault is not None:
        return fault
    count = answer.get("input_tokens")
    return count if type(count) is int and count >= 0 else _broken("a count of tokens without a number")


def write_count_answer(input_tokens: int) -> bytes:
    return dump({"input_tokens": input_tokens})


def read_block(block: Mapping[str, Any]) -> Part | None:
    """A block of an answer; None for one that says nothing."""
    kind = block.get("type")
    if kind == "text":
        citations = block.get("citations")
        found = citations if isinstance(citations, list) else ()
        return Text(text_of(block.get("text")), tuple(read_citation(one) for one in found if isinstance(one, dict)))
    if kind == "thinking":
        signature = text_of(block.get("signature"))
        return Reasoning(text_of(block.get("thinking")), seal=Seal(FAMILY, signature) if signature and signature != UNSIGNED else None)
    if kind == "redacted_thinking":
        data = text_of(block.get("data"))
        return Reasoning(seal=Seal(FAMILY, data), hidden=True) if data else None
    if kind == "tool_use":
        return ToolCall(text_of(block.get("id")), text_of(block.get("name")), input_text(block.get("input")))
    if kind in ("image", "document"):  # only a gateway's: see AnswerBlocks
        return _shown(block)
    return Foreign(FAMILY, kind, block) if isinstance(kind, str) and kind else None


def input_text(value: object) -> str:
    """A tool's input as arguments. Some servers write text in its place, which passes as it is."""
    if isinstance(value, str):
        return value
    return dump_text(value) if value is not None else "{}"


def refusal_of(details: object) -> list[Part]:
    """The words of a refusal, which stand beside the content (`stop_details`); none when Anthropic gives none."""
    explanation = text_of(details.get("explanation")) if isinstance(details, Mapping) and details.get("type") == "refusal" else ""
    return [Refusal(explanation)] if explanation else []


def text_of(value: object) -> str:
    return value if isinstance(value, str) else ""


def _content(parts: Sequence[Part], reply: Reply) -> list[Any]:
    writer = AnswerBlocks(reply)
    blocks = [block for part in parts for block in writer.whole(part)]
    writer.end()
    return blocks


def _shown(block: Mapping[str, Any]) -> Part:
    try:
        return read_content([block], "content", {})[0]
    except (Unfit, IndexError):
        return Foreign(FAMILY, str(block["type"]), block)


def _broken(what: str) -> Fault:
    return Fault(FaultKind.PROTOCOL, f"the backend sent {what}")
