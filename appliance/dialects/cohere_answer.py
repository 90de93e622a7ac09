"""Whole answers of Cohere's v2 chat, its reasons to finish, its citations and its two ways of counting tokens.

The rule: parts come in the order in which the model made them: thoughts and words, the plan for tools, the calls.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from appliance.core.completion import Candidate, Completion, Finish, TokenLogprob
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Foreign, Part, Reasoning, Text, ToolCall
from appliance.core.usage import Usage
from appliance.dialects.cohere_messages import FAMILY
from appliance.dialects.upstream_json import parse

TOKENS_MAX = 1_000_000_000_000
"""Above it a count is a mistake, and would spoil every sum it is added to."""

NO_ARGUMENTS = "null"
"""What some models write where a call has no arguments."""

_FINISHES: dict[str, Finish] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop_sequence",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_use",
    "ERROR_TOXIC": "content_filter",
    "ERROR_LIMIT": "context_length",
}

_BROKEN = frozenset({"ERROR", "TIMEOUT"})
"""Ends that are no answer: the generation failed."""

_CALLS_PREVAIL = frozenset({"stop", "stop_sequence", "other", "tool_use", ""})
"""Ends that depend on whether a call is there. Not `length` and the like: the last call may be cut, and must not be run."""


@attrs.frozen
class Billed:
    """What Cohere charges for, which is not what the model read: its own preamble and templates are free of charge
    (docs.cohere.com/docs/how-does-cohere-pricing-work). A price belongs to these figures, a context window to the true tokens."""

    input_tokens: int = 0
    output_tokens: int = 0
    search_units: int = 0


def read_answer(body: bytes) -> Completion | Fault:
    """A whole answer. It does not name its model."""
    try:
        answer = parse(body)
    except ValueError:
        return Fault(FaultKind.PROTOCOL, "the backend sent an answer that is not JSON")
    if not isinstance(answer, dict):
        return Fault(FaultKind.PROTOCOL, "the backend sent an answer that is not a JSON object")
    message = answer.get("message")
    if not isinstance(message, dict):
        kind = FaultKind.STREAM_ERROR if isinstance(message, str) else FaultKind.PROTOCOL
        return Fault(kind, "the backend sent an answer without a message")
    if failed(answer.get("finish_reason")):
        return Fault(FaultKind.STREAM_ERROR, "the backend reported an error in its answer: try again")
    parts = _parts(message)
    finish = read_finish(answer.get("finish_reason"), any(isinstance(part, ToolCall) for part in parts))
    logprobs = answer.get("logprobs")
    items = tuple(one for item in logprobs if (one := logprob_of(item)) is not None) if isinstance(logprobs, list) else ()
    return Completion(text_of(answer.get("id")), "", (Candidate(parts, finish, "", items),), read_usage(answer.get("usage")))


def _parts(message: Mapping[str, Any]) -> tuple[Part, ...]:
    content, plan, calls = message.get("content"), message.get("tool_plan"), message.get("tool_calls")
    parts: list[Part] = []
    if isinstance(content, str) and content:
        parts.append(Text(content))
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict):
            parts.append(_part(block))
    _cite(parts, message.get("citations"))
    if isinstance(plan, str) and plan:
        parts.append(Text(plan))
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, dict) and (found := call_of(call)) is not None:
            parts.append(found)
    return tuple(parts)


def _part(block: Mapping[str, Any]) -> Part:
    if isinstance(text := block.get("text"), str):
        return Text(text)
    if isinstance(thinking := block.get("thinking"), str):
        return Reasoning(thinking)
    return Foreign(FAMILY, text_of(block.get("type")) or "block", block)


def _cite(parts: list[Part], citations: object) -> None:
    """Each citation goes to the block it names, else to the first one of words."""
    for raw in citations if isinstance(citations, list) else ():
        if not isinstance(raw, dict):
            continue
        place = raw.get("content_index")
        if type(place) is not int or not 0 <= place < len(parts) or not isinstance(parts[place], Text):
            place = next((number for number, part in enumerate(parts) if isinstance(part, Text)), -1)
        part = parts[place] if place >= 0 else None
        if isinstance(part, Text) and cites_words(raw):
            parts[place] = attrs.evolve(part, citations=(*part.citations, citation_of(raw)))


def cites_words(raw: Mapping[str, Any]) -> bool:
    """Whether a citation is one of the answer's words, not of a plan or a thought."""
    return raw.get("type") in (None, "TEXT_CONTENT")


def citation_of(raw: Mapping[str, Any]) -> Citation:
    """A citation by its first source; all of them are in `raw`."""
    sources = raw.get("sources")
    source = next((one for one in sources if isinstance(one, dict)), {}) if isinstance(sources, list) else {}
    held = source.get("document") if isinstance(source.get("document"), dict) else source.get("tool_output")
    document: Mapping[str, Any] = held if isinstance(held, dict) else {}
    start, end = raw.get("start"), raw.get("end")
    return Citation(
        text_of(document.get("title")) or text_of(source.get("id")),
        text_of(document.get("url")),
        text_of(document.get("text")) or text_of(document.get("snippet")),
        start if type(start) is int else -1,
        end if type(end) is int else -1,
        raw,
    )


def call_of(call: Mapping[str, Any]) -> ToolCall | None:
    """A tool call, in a whole answer and at its start in a stream."""
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(name := function.get("name"), str):
        return None
    arguments = text_of(function.get("arguments"))
    return ToolCall(text_of(call.get("id")), name, "" if arguments.strip() == NO_ARGUMENTS else arguments)


def logprob_of(item: object) -> TokenLogprob | None:
    """A piece of text with the probability of all its tokens together: Cohere does not tell which letters are whose."""
    if not isinstance(item, dict) or not isinstance(values := item.get("logprobs"), list):
        return None
    numbers = [float(one) for one in values if isinstance(one, int | float) and not isinstance(one, bool)]
    return TokenLogprob(text_of(item.get("text")), sum(numbers)) if numbers else None


def read_finish(reason: object, has_call: bool) -> Finish:
    finish: Finish = _FINISHES.get(reason, "other") if isinstance(reason, str) else ""
    if finish in _CALLS_PREVAIL:
        return "tool_use" if has_call else "stop" if finish in ("tool_use", "") else finish
    return finish


def failed(reason: object) -> bool:
    """Whether a reason to finish says that the generation broke off."""
    return isinstance(reason, str) and reason in _BROKEN


def read_usage(usage: object) -> Usage | None:
    """The tokens that the model read and wrote (`tokens`), not those that are charged (`read_billed`); the latter only where a server tells
    nothing else. Cached ones are part of the input."""
    if not isinstance(usage, Mapping):
        return None
    counts = next((one for one in (usage.get("tokens"), usage.get("billed_units")) if isinstance(one, dict) and _has_counts(one)), None)
    if counts is None:
        return None
    read = _count(counts, "input_tokens")
    return Usage(read, _count(counts, "output_tokens"), min(_count(usage, "cached_tokens"), read))


def read_billed(usage: object) -> Billed | None:
    """What is charged; None when it is not told. usage: of a chat, or the `meta` of embeddings and rankings."""
    units = usage.get("billed_units") if isinstance(usage, Mapping) else None
    if not isinstance(units, dict):
        return None
    return Billed(_count(units, "input_tokens"), _count(units, "output_tokens"), _count(units, "search_units"))


def _has_counts(counts: Mapping[str, Any]) -> bool:
    return any(isinstance(counts.get(name), int | float) for name in ("input_tokens", "output_tokens"))


def _count(counts: Mapping[str, Any], name: str) -> int:
    """Whole floats are counts, too: the API's own description calls them doubles."""
    value = counts.get(name)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= TOKENS_MAX else 0


def text_of(value: object) -> str:
    return value if isinstance(value, str) else ""
