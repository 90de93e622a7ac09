"""Reads a backend's whole chat completion, and what whole and streamed ones have in common.

The rule: thoughts, words, refusal, calls, in this order, as a chat message does not say how they were interleaved; and what is odd is
read as far as it goes, for an answer that was paid for is never refused for a detail.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import orjson

from appliance.core.completion import Candidate, Completion, Finish
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Part, Refusal, Text, ToolCall
from appliance.dialects.chat_answer_parts import (
    COUNT_MAX,
    audio_of,
    calls_of,
    citations_of,
    images_of,
    links_of,
    logprobs_of,
    mended,
    read_json,
    read_said,
)
from appliance.dialects.chat_message import read_thoughts
from appliance.dialects.chat_seal import read_extra
from appliance.dialects.openai_usage import text_of, usage_of
from appliance.dialects.upstream_error import error_in_answer

CHOICES_MAX = 128
"""OpenAI's bound on `n`; a choice beyond it is a mistake of the vendor's."""

FINISHES: dict[str, Finish] = {
    "stop": "stop", "eos": "stop", "eos_token": "stop", "end_turn": "stop", "complete": "stop",
    "stop_sequence": "stop_sequence",
    "length": "length", "max_tokens": "length", "max_output_tokens": "length",
    "tool_calls": "tool_use", "function_call": "tool_use", "tool_use": "tool_use", "tool_call": "tool_use",
    "content_filter": "content_filter", "safety": "content_filter", "sensitive": "content_filter", "recitation": "content_filter",
    "content_filtered": "content_filter", "prohibited_content": "content_filter",
    "refusal": "refusal", "pause_turn": "pause",
    "model_length": "context_length", "model_context_window_exceeded": "context_length",
    "malformed_function_call": "malformed_tool_call",
}  # fmt: skip
"""In lower case. OpenAI's five; Together's eos; Mistral's model_length; Z.ai's sensitive and model_context_window_exceeded; Google's
compatible endpoint and gateways pass their vendors' own. Whatever else there is (DeepSeek's insufficient_system_resource) is `other`."""

CUT_SHORT: frozenset[Finish] = frozenset({"length", "content_filter", "context_length", "malformed_tool_call"})


def read_answer(body: bytes) -> Completion | Fault:
    try:
        answer, lax = read_json(body)
        answer = mended(answer) if lax else answer
    except (ValueError, RecursionError):
        return _broken("an answer that is not JSON")
    if not isinstance(answer, dict):
        return _broken("an answer that is not a JSON object")
    return answer_of(answer)


def answer_of(answer: Mapping[str, Any], backend: str = "") -> Completion | Fault:
    fault = error_in_answer(answer, backend)
    if fault is not None:
        return fault
    choices = answer.get("choices")
    found = [one for one in choices if isinstance(one, dict)][:CHOICES_MAX] if isinstance(choices, list) else []
    if not found:
        return _broken("an answer without choices")
    name = text_of(answer.get("id"))
    candidates = [_read_choice(one, f"{name}.{place}" if place else name) for place, one in enumerate(found)]
    links = links_of(answer)
    if links:
        candidates[0] = attrs.evolve(candidates[0], parts=_cited(candidates[0].parts, links))
    return Completion(
        name, text_of(answer.get("model")), tuple(candidates), usage_of(answer), created_of(answer),
        text_of(answer.get("system_fingerprint")), text_of(answer.get("service_tier")),
    )  # fmt: skip


def _broken(what: str) -> Fault:
    return Fault(FaultKind.PROTOCOL, f"the backend sent {what}")


def created_of(answer: Mapping[str, Any]) -> int:
    value = answer.get("created")
    return int(value) if isinstance(value, int | float) and 0 <= value < COUNT_MAX else 0


def _read_choice(choice: Mapping[str, Any], seed: str) -> Candidate:
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    parts: list[Part] = list(read_thoughts(message))
    parts += read_said(message.get("content"))
    seal = read_extra(message.get("extra_content"), of_caller=False)
    cites = citations_of(message.get("annotations"))
    if seal is not None or cites:
        place = next((at for at in range(len(parts) - 1, -1, -1) if isinstance(parts[at], Text)), len(parts))
        text = parts[place] if place < len(parts) else Text()
        if isinstance(text, Text):
            parts[place : place + 1] = [Text(text.text, (*text.citations, *cites), "", seal)]
    parts += images_of(message.get("images"))
    parts += audio_of(message.get("audio"))
    refusal = message.get("refusal")
    parts += [Refusal(refusal)] if isinstance(refusal, str) and refusal else []
    calls = calls_of(message, seed)
    parts += calls
    stopped = choice.get("stop_reason")  # vLLM: the text that ended it (docs.vllm.ai, CompletionOutput.stop_reason)
    finish = finish_of(choice.get("finish_reason"), calls, refused=any(isinstance(part, Refusal) for part in parts))
    if finish == "stop" and isinstance(stopped, str) and stopped:
        return Candidate(tuple(parts), "stop_sequence", stopped, logprobs_of(choice.get("logprobs")))
    return Candidate(tuple(parts), finish, "", logprobs_of(choice.get("logprobs")))


def finish_of(reason: object, calls: Sequence[ToolCall], *, refused: bool = False) -> Finish:
    """Why it ended. With a call it is tool use, whatever the vendor said, unless the last call's arguments are cut off in the middle; with
    the words of a refusal a `stop` is one (OpenAI says no other)."""
    finish = FINISHES.get(reason.lower(), "other") if isinstance(reason, str) and reason else ""
    if calls:
        return finish if finish in CUT_SHORT and not is_whole(calls[-1]) else "tool_use"
    if finish in ("tool_use", "stop"):
        return "refusal" if refused else "stop"
    return finish


def is_whole(call: ToolCall) -> bool:
    if call.custom or not call.arguments:
        return call.custom
    try:
        orjson.loads(call.arguments)
    except orjson.JSONDecodeError:
        return False
    return True


def _cited(parts: tuple[Part, ...], links: tuple[Citation, ...]) -> tuple[Part, ...]:
    place = next((at for at in range(len(parts) - 1, -1, -1) if isinstance(parts[at], Text)), -1)
    text = parts[place] if place >= 0 else None
    if not isinstance(text, Text) or text.citations:
        return parts
    return (*parts[:place], Text(text.text, links, "", text.seal), *parts[place + 1 :])
