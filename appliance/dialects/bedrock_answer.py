"""Whole answers of Bedrock's Converse, its reasons to stop and its way of counting tokens.

The rule: a block that has no canonical form is carried as it is (`Foreign`), so nothing of an answer is lost. Shapes are those of
docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from appliance.core.completion import Candidate, Completion, Finish
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Foreign, Media, Part, Reasoning, Text, ToolCall
from appliance.core.seal import Seal
from appliance.core.usage import Usage
from appliance.dialects.bedrock_error import answer_fault
from appliance.dialects.upstream_json import parse, written

FAMILY = "bedrock"

JSON_TOOL = "gateway_json_answer"
"""The tool that a model without structured output is made to answer through; its input is read back as the answer's text."""

TOKENS_MAX = 1_000_000_000_000
"""Above it a count is a mistake, and would spoil every sum it is added to."""

_FINISHES: dict[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "max_tokens": "length",
    "tool_use": "tool_use",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "malformed_tool_use": "malformed_tool_call",
    "malformed_model_output": "other",
    "model_context_window_exceeded": "context_length",
    "refusal": "refusal",
    "pause_turn": "pause",
}

_CALLS_PREVAIL = frozenset({"stop", "stop_sequence", "pause", "other", "tool_use", ""})
"""Ends that depend on whether a client's call is there. Not `length` and the like: the last call may be cut, and must not be run."""


def read_answer(body: bytes) -> Completion | Fault:
    """A whole answer. It has no id and names no model, unless a prompt router chose one."""
    try:
        answer = parse(body)
    except ValueError:
        return Fault(FaultKind.PROTOCOL, "the backend sent an answer that is not JSON")
    if not isinstance(answer, dict):
        return Fault(FaultKind.PROTOCOL, "the backend sent an answer that is not a JSON object")
    content = _mapping(_mapping(answer.get("output")).get("message")).get("content")
    if not isinstance(content, list):
        return answer_fault(answer, body) or Fault(FaultKind.PROTOCOL, "the backend sent an answer without a message")
    parts = tuple(part for block in content if isinstance(block, dict) and (part := part_of(block)) is not None)
    finish, stop_sequence = read_finish(answer, holds_call(parts))
    router = _mapping(_mapping(answer.get("trace")).get("promptRouter"))
    return Completion(
        "",
        _text(router.get("invokedModelId")),
        (Candidate(parts, finish, stop_sequence),),
        read_usage(answer.get("usage")),
        service_tier=_text(_mapping(answer.get("serviceTier")).get("type")),
    )


def part_of(block: Mapping[str, Any]) -> Part | None:
    """One content block; None for an empty one. Blocks are told apart by their only member (`type` stands beside it in some answers)."""
    kind = next((name for name in block if name != "type"), "")
    inner = block.get(kind)
    if kind == "text" and isinstance(inner, str):
        return Text(inner)
    if not isinstance(inner, dict):
        return Foreign(FAMILY, kind, block) if kind else None
    if kind == "toolUse":
        return _call(inner) or Foreign(FAMILY, _text(inner.get("type")) or kind, block)
    if kind == "reasoningContent":
        return _reasoning(inner) or Foreign(FAMILY, kind, block)
    if kind == "citationsContent":
        pieces = inner.get("content")
        words = "".join(_text(one.get("text")) for one in pieces if isinstance(one, dict)) if isinstance(pieces, list) else ""
        cited = inner.get("citations")
        return Text(words, tuple(citation_of(one) for one in cited if isinstance(one, dict)) if isinstance(cited, list) else ())
    if kind == "image":
        data = _mapping(inner.get("source")).get("bytes")
        if isinstance(data, str) and data:
            return Media("image", f"image/{_text(inner.get('format')) or 'png'}", data)
    return Foreign(FAMILY, kind, block)


def _call(use: Mapping[str, Any]) -> ToolCall | Text | None:
    """A client's tool call. Its input is an object; text where an object should be is what a model wrote, and is handed on as it is."""
    name, given = use.get("name"), use.get("input")
    if use.get("type") or not isinstance(name, str):
        return None
    arguments = given if isinstance(given, str) else "" if given is None else (written(given) or b"").decode()
    if name == JSON_TOOL:
        return Text(arguments or "{}")
    return ToolCall(_text(use.get("toolUseId")), name, arguments)


def _reasoning(content: Mapping[str, Any]) -> Reasoning | None:
    told, redacted = content.get("reasoningText"), content.get("redactedContent")
    if isinstance(told, dict):
        signature = told.get("signature")
        return Reasoning(_text(told.get("text")), seal=Seal(FAMILY, signature) if isinstance(signature, str) and signature else None)
    return Reasoning(seal=Seal(FAMILY, redacted), hidden=True) if isinstance(redacted, str) else None


def citation_of(raw: Mapping[str, Any]) -> Citation:
    """A citation. Its places are in the source, not in the answer, so `start` and `end` are unknown."""
    title, source, cited = _text(raw.get("title")), _text(raw.get("source")), raw.get("sourceContent")
    web = _mapping(_mapping(raw.get("location")).get("web"))
    url = _text(web.get("url")) or (source if source.startswith(("http://", "https://")) else "")
    words = "".join(_text(one.get("text")) for one in cited if isinstance(one, dict)) if isinstance(cited, list) else ""
    return Citation(title or _text(web.get("domain")) or ("" if url else source), url, words, raw=raw)


def holds_call(parts: Iterable[Part]) -> bool:
    return any(isinstance(part, ToolCall) for part in parts)


def read_finish(end: Mapping[str, Any], has_call: bool) -> tuple[Finish, str]:
    """Why the answer ended, and the stop sequence where it was asked for. end: the whole answer, or the stream's messageStop.

    Returns:
        "tool_use" when and only when a client's call is there, but for ends that may have cut it.
    """
    reason = end.get("stopReason")
    finish: Finish = _FINISHES.get(reason, "other") if isinstance(reason, str) else ""
    if finish in _CALLS_PREVAIL:
        finish = "tool_use" if has_call else "stop" if finish in ("tool_use", "") else finish
    more = _mapping(end.get("additionalModelResponseFields"))
    stop = more.get("stop_sequence") or _mapping(more.get("delta")).get("stop_sequence")
    return finish, _text(stop) if finish == "stop_sequence" else ""


def read_usage(usage: object) -> Usage | None:
    """One usage object; None when it has no counts at all.

    "The inputTokens field represents only the non-cached input tokens" (docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html),
    so reads and writes of the cache are added. Reasoning is within outputTokens and not told apart.
    """
    if not isinstance(usage, Mapping) or not (_is_count(usage.get("inputTokens")) or _is_count(usage.get("outputTokens"))):
        return None
    plain, output, total = _count(usage, "inputTokens"), _count(usage, "outputTokens"), _count(usage, "totalTokens")
    read, wrote = _count(usage, "cacheReadInputTokens"), _count(usage, "cacheWriteInputTokens")
    if read + wrote and plain >= read + wrote and total == plain + output:  # a model whose input counts the cache in
        return Usage(plain, output, read, wrote, cache_write_1h_tokens=min(_kept_1h(usage), wrote))
    return Usage(plain + read + wrote, output, read, wrote, cache_write_1h_tokens=min(_kept_1h(usage), wrote))


def _kept_1h(usage: Mapping[str, Any]) -> int:
    """What was written to the cache for an hour; `cacheDetails` is a list of {ttl, inputTokens} (botocore's TokenUsage)."""
    details = usage.get("cacheDetails")
    kept = [one for one in details if isinstance(one, Mapping) and one.get("ttl") == "1h"] if isinstance(details, list) else []
    return sum(_count(one, "inputTokens") for one in kept)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= TOKENS_MAX


def _count(counts: Mapping[str, Any], name: str) -> int:
    value = counts.get(name)
    return int(value) if value is not None and _is_count(value) else 0


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
