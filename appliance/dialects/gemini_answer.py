"""Whole answers of generateContent, read from a backend and written for a caller.

The rule: a call's arguments are an object in this language. Where a model of another wrote none, the call is not said at all: the answer
ends with MALFORMED_FUNCTION_CALL, as Gemini's own do, and tells what was written; a tool run with made-up arguments would do harm.
Source: ai.google.dev/api/generate-content#v1beta.GenerateContentResponse.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from appliance.core.completion import Candidate, Completion
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Foreign, Media, Part, Reasoning, Refusal, Text, ToolCall
from appliance.core.tool_forms import arguments_of, flat_name
from appliance.core.tool_ids import made_id
from appliance.dialects.codec import Reply
from appliance.dialects.fields import Unfit, mapping, needed, optional, text
from appliance.dialects.gemini_citations import read_citations, write_citations
from appliance.dialects.gemini_error import error_in_answer
from appliance.dialects.gemini_finish import WRITTEN, read_finish
from appliance.dialects.gemini_json import dump, fragment, message, messages, parse, plain
from appliance.dialects.gemini_logprobs import read_logprobs, write_logprobs
from appliance.dialects.gemini_parts import (
    kind_of,
    own_seal,
    read_foreign,
    read_media,
    read_sealed,
    read_text,
    settled,
    write_media,
    write_text,
)
from appliance.dialects.gemini_seal import OWN, written_seal
from appliance.dialects.gemini_usage import read_usage, write_usage

LAST_SECOND = 253_402_300_799
"""The last one of the year 9999, in seconds since the epoch: RFC 3339 knows no later ones."""

MALFORMED_MAX_CHARS = 2_000
"""Of broken arguments that `finishMessage` repeats."""


def read_answer(body: bytes) -> Completion | Fault:
    """A backend's answer; PROTOCOL where it is none, and the fault that it names where it holds an error."""
    try:
        answer = parse(body)
    except ValueError:
        return Fault(FaultKind.PROTOCOL, "the backend sent an answer that is not JSON")
    if not isinstance(answer, dict):
        return Fault(FaultKind.PROTOCOL, "the backend sent an answer that is not a JSON object")
    fault = error_in_answer(answer, "")
    if fault is not None:
        return fault
    try:
        return _read(plain(answer))
    except Unfit as unfit:
        return odd_answer(unfit)


def odd_answer(unfit: Unfit) -> Fault:
    return Fault(FaultKind.PROTOCOL, "the backend sent an answer that cannot be read: try again", detail=f"{unfit.path} {unfit.message}")


def _read(answer: Mapping[str, Any]) -> Completion:
    if not any(answer.get(name) is not None for name in ("candidates", "promptFeedback", "usageMetadata")):
        raise Unfit("candidates", "is missing")
    seed = id_seed(answer)
    found: list[tuple[int, Candidate]] = []
    for place, one in enumerate(messages(answer.get("candidates") or [], "candidates")):
        index = one.get("index")
        number = index if type(index) is int else place
        found.append((number, _read_candidate(one, f"candidates[{place}]", candidate_seed(seed, number))))
    candidates = tuple(candidate for _, candidate in sorted(found, key=lambda one: one[0]))
    if not candidates:
        candidates = (Candidate((), "content_filter" if is_blocked(answer) else "other"),)
    return Completion(
        id=optional(text, answer, "responseId") or "",
        model=optional(text, answer, "modelVersion") or "",
        candidates=candidates,
        usage=read_usage(answer.get("usageMetadata")),
        created=created_at(answer.get("createTime")),
    )


def is_blocked(answer: Mapping[str, Any]) -> bool:
    """Whether the prompt itself was refused, so that there is no candidate at all."""
    feedback = answer.get("promptFeedback")
    return isinstance(feedback, dict) and feedback.get("blockReason") is not None


def id_seed(answer: Mapping[str, Any]) -> str:
    """What tells this answer from the others of a conversation: its id, else when it was made, else how long the conversation was."""
    usage = answer.get("usageMetadata")
    prompt = usage.get("promptTokenCount") if isinstance(usage, dict) else None
    return str(answer.get("responseId") or answer.get("createTime") or prompt or "")


def candidate_seed(seed: str, number: int) -> str:
    return f"{seed}#{number}" if number else seed


def created_at(value: object) -> int:
    """Vertex's `createTime` (RFC 3339) in seconds since the epoch; 0 for none."""
    try:
        return max(0, int(datetime.fromisoformat(value).timestamp())) if isinstance(value, str) else 0
    except (ValueError, OverflowError, OSError):
        return 0


def _read_candidate(candidate: Mapping[str, Any], path: str, seed: str) -> Candidate:
    content = optional(message, candidate, "content", path) or {}
    parts: list[Part] = []
    calls = 0
    for place, fields in enumerate(messages(content.get("parts") or [], f"{path}.content.parts")):
        part = read_answer_part(fields, f"{path}.content.parts[{place}]", seed, calls)
        calls += isinstance(part, ToolCall)
        if isinstance(part, tuple):
            parts += part
        elif part is not None:
            parts.append(part)
    texts = {number: part.text for number, part in enumerate(parts) if isinstance(part, Text)}
    _cite(parts, read_citations(candidate, texts))
    finish = read_finish(candidate.get("finishReason"), calls > 0)
    return Candidate(tuple(parts), finish, "", read_logprobs(candidate.get("logprobsResult")))


def read_answer_part(part: Mapping[str, Any], path: str, seed: str, calls: int) -> Part | tuple[Part, ...] | None:
    """None for a part that says nothing; a picture with a signature is two, as media have no place for one."""
    kind = kind_of(part)
    if kind == "text":
        words = settled(read_text(part, path, own_seal))
        assert isinstance(words, Text | Reasoning)
        return words if words.text or words.seal is not None else None
    if kind in ("inlineData", "fileData"):
        media, seal = read_media(part, path), read_sealed(part, path, own_seal)[0]
        return media if seal is None else (media, Text(seal=seal))
    if kind == "functionCall":
        fields = message(part[kind], f"{path}.{kind}")
        args = optional(mapping, fields, "args", f"{path}.{kind}")
        call_id = optional(text, fields, "id", f"{path}.{kind}") or made_id(seed, calls)
        name = needed(text, fields, "name", f"{path}.{kind}")
        return ToolCall(call_id, name, dump(args).decode() if args else "", seal=read_sealed(part, path, own_seal)[0])
    return read_foreign(part, kind)


def _cite(parts: list[Part], cited: list[tuple[int, Citation]]) -> None:
    """Hand each citation to its text; those of no text in particular to the last, for which there is one made where there is none."""
    if not cited:
        return
    texts = [number for number, part in enumerate(parts) if isinstance(part, Text)]
    if not texts:
        parts.append(Text())
        texts = [len(parts) - 1]
    by_part: dict[int, list[Citation]] = {}
    for number, citation in cited:
        by_part.setdefault(number if number in texts else texts[-1], []).append(citation)
    for number, citations in by_part.items():
        part = parts[number]
        assert isinstance(part, Text)
        parts[number] = attrs.evolve(part, citations=(*part.citations, *citations))


def write_answer(answer: Completion, reply: Reply) -> bytes:
    out: dict[str, Any] = {"candidates": [write_candidate(one, number) for number, one in enumerate(answer.candidates)]}
    if answer.usage is not None:
        out["usageMetadata"] = write_usage(answer.usage)
    out["modelVersion"] = reply.model
    if answer.created:
        out["createTime"] = written_time(answer.created)
    out["responseId"] = answer.id or reply.id
    return dump(out)


def written_time(created: int) -> str:
    """RFC 3339, as `createTime` is written; a vendor's nonsense beyond the year 9999 ends there."""
    created = min(created, LAST_SECOND)
    return datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_candidate(candidate: Candidate, number: int) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    cited: list[tuple[int, str, Citation]] = []
    malformed = ""
    for part in candidate.parts:
        if isinstance(part, ToolCall) and (malformed := malformed or broken_call(part)):
            continue
        if isinstance(part, Text):
            cited += [(len(parts), part.text, citation) for citation in part.citations]
        written = write_answer_part(part)
        if written is None:
            continue
        if written.keys() == {"text", "thoughtSignature"} and not written["text"] and parts and "inlineData" in parts[-1]:
            parts[-1].setdefault("thoughtSignature", written["thoughtSignature"])
        else:
            parts.append(written)
    out: dict[str, Any] = {"content": {"parts": parts or [{"text": ""}], "role": "model"}}
    out |= write_ending(candidate, malformed) | {"index": number} | write_citations(cited)
    if candidate.logprobs:
        out["logprobsResult"] = write_logprobs(candidate.logprobs)
    return out


def write_ending(candidate: Candidate, malformed: str) -> dict[str, Any]:
    if malformed:
        return {"finishReason": WRITTEN["malformed_tool_call"], "finishMessage": malformed}
    return {"finishReason": WRITTEN[candidate.finish]}


def broken_call(call: ToolCall) -> str:
    """What is told of a call whose arguments are no object; "" for a good one."""
    if call.custom or fragment(call.arguments) is not None:
        return ""
    return f"Malformed function call: {call.name} {call.arguments}"[:MALFORMED_MAX_CHARS]


def write_answer_part(part: Part) -> dict[str, Any] | None:
    """One of the language's parts for a caller; None for what it cannot say, and for nothing."""
    if isinstance(part, Text):
        return write_text(part, written_seal(part.seal) if part.seal else "") if part.text or part.seal else None
    if isinstance(part, Reasoning):
        return write_text(part, written_seal(part.seal, part.hidden) if part.seal else "") if part.text or part.seal else None
    if isinstance(part, ToolCall):
        args = fragment(arguments_of(part.arguments) if part.custom else part.arguments)
        out: dict[str, Any] = {"functionCall": {"id": part.id, "name": flat_name(part.name, part.namespace), "args": args}}
        return {**out, "thoughtSignature": written_seal(part.seal)} if part.seal else out
    if isinstance(part, Media):
        return write_media(part)
    if isinstance(part, Refusal):
        return {"text": part.text} if part.text else None
    return dict(part.raw) if isinstance(part, Foreign) and part.family == OWN else None
