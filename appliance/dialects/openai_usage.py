"""Reads token counts out of OpenAI-dialect answers, in every spelling that vendors use, and what a whole answer says about itself.

The rule: nothing here refuses an answer for a missing or odd count; a figure that cannot be read is 0, and no figures at all are None.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

from appliance.core.fault import Fault, FaultKind
from appliance.core.usage import Usage
from appliance.dialects.protocol import Answer

PARSE_MAX_BYTES = 262_144
"""A longer answer (embeddings, images) is not parsed whole: 1 MB of floats takes 10 ms, in which no stream moves."""

TOKENS_MAX = 1_000_000_000_000
"""Above it a count is a mistake of the vendor's, and would spoil every sum it is added to."""

PLAIN = frozenset({"prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"})
"""Members of OpenAI's own usage object (platform.openai.com/docs/api-reference/chat/object)."""

TIERS = frozenset({"priority", "flex", "fast"})
"""Values of an answer's `service_tier` with prices of their own (platform.openai.com/docs/pricing)."""

_FINISH = re.compile(rb'"finish_reason"\s*+:\s*+"([a-z_A-Z]{1,64})"')
_MODEL = re.compile(rb'"model"\s*+:\s*+"([^"\\]{1,256})"')


def parse_json(text: bytes) -> Any:
    """Parse an upstream's JSON; raises ValueError. Laxer than orjson: chunks may cut a surrogate pair, log probabilities be -Infinity."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return json.loads(text)
        except RecursionError:
            raise ValueError("nested too deeply") from None


def usage_of(answer: Mapping[str, Any]) -> Usage | None:
    """The usage of an answer or of a stream's chunk.

    OpenAI: `usage`. Groq streams: `x_groq.usage` (console.groq.com/docs/api-reference). Moonshot streams: inside the last choice
    (platform.moonshot.ai/docs/api/chat).
    """
    found = read_usage(answer.get("usage"))
    if found is not None:
        return tiered(found, answer) if "service_tier" in answer else found
    groq = answer.get("x_groq")
    if isinstance(groq, dict):
        found = read_usage(groq.get("usage"))
        if found is not None:
            return found
    choices = answer.get("choices")
    if isinstance(choices, list):
        for choice in choices[:1]:
            if isinstance(choice, dict):
                return read_usage(choice.get("usage"))
    return None


def tiered(usage: Usage | None, answer: Mapping[str, Any]) -> Usage | None:
    """The same, with what the answer says beside it of how it was served."""
    tier = answer.get("service_tier")
    if usage is not None and tier and isinstance(tier, str) and tier in TIERS:
        usage.tier = tier
    return usage


def read_usage(usage: object) -> Usage | None:
    """One usage object; None when it has no counts at all (null, empty, not an object)."""
    if not isinstance(usage, dict):
        return None
    if usage.keys() <= PLAIN:
        found = _plain(usage)
        if found is not None:
            return found
    prompt = _count(usage, "prompt_tokens", "input_tokens")
    completion = _count(usage, "completion_tokens", "output_tokens")
    total = _count(usage, "total_tokens")
    if prompt is None and completion is None:
        if total is None:
            return None
        prompt = total  # embeddings of some vendors tell the total alone
    prompt, completion = prompt or 0, completion or 0
    of_prompt = _details(usage, "prompt_tokens_details", "input_tokens_details", "input_token_details")
    of_completion = _details(usage, "completion_tokens_details", "output_tokens_details", "output_token_details")
    reasoning = _count(of_completion, "reasoning_tokens") or _count(usage, "reasoning_tokens") or 0
    written = _count(of_prompt, "cache_write_tokens", "cache_creation_tokens") or _count(usage, "cache_creation_input_tokens") or 0
    cached = _count(of_prompt, "cached_tokens")
    if not cached:
        cached = _count(usage, "prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens", "cache_read_input_tokens") or 0
    return Usage(
        input_tokens=prompt,
        output_tokens=_with_reasoning(prompt, completion, reasoning, total),
        cached_input_tokens=min(cached, prompt),
        cache_write_tokens=min(written, prompt),
        reasoning_tokens=reasoning,
        input_audio_tokens=_count(of_prompt, "audio_tokens") or 0,
        output_audio_tokens=_count(of_completion, "audio_tokens") or 0,
        cached_audio_tokens=_count(_details(of_prompt, "cached_tokens_details"), "audio_tokens") or 0,
        input_image_tokens=_count(of_prompt, "image_tokens") or 0,
        output_image_tokens=_count(of_completion, "image_tokens") or 0,
    )


def _plain(usage: Mapping[str, Any]) -> Usage | None:
    """OpenAI's own members with nothing unusual in them, the case of almost every answer, at a tenth of the work of looking for all
    spellings; None when it is not that case."""
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if type(prompt) is not int or type(completion) is not int or not 0 <= prompt <= TOKENS_MAX or not 0 <= completion <= TOKENS_MAX:
        return None
    of_prompt, of_completion = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    if not of_prompt and not of_completion:
        return Usage(prompt, completion)
    if type(of_prompt) is not dict or type(of_completion) is not dict or "cache_write_tokens" in of_prompt:
        return None
    if "image_tokens" in of_prompt or "image_tokens" in of_completion:
        return None
    cached, reasoning = of_prompt.get("cached_tokens") or 0, of_completion.get("reasoning_tokens") or 0
    heard, spoken = of_prompt.get("audio_tokens") or 0, of_completion.get("audio_tokens") or 0
    for count in (cached, reasoning, heard, spoken):
        if type(count) is not int or not 0 <= count <= TOKENS_MAX:
            return None
    odd = (reasoning and reasoning >= completion) or usage.get("total_tokens") != prompt + completion
    if odd or "cache_creation_tokens" in of_prompt:
        return None
    return Usage(prompt, completion, min(cached, prompt), 0, reasoning, heard, spoken)


def _with_reasoning(prompt: int, completion: int, reasoning: int, total: int | None) -> int:
    """Output tokens, reasoning included.

    OpenAI counts reasoning within completion tokens; xAI counts it beside them (seen: prompt 12, completion 1, reasoning 290, total 303),
    and so must any vendor whose reasoning exceeds its completion.
    """
    beside = reasoning > completion or (reasoning > 0 and total == prompt + completion + reasoning)
    return completion + reasoning if beside else completion


def _details(usage: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        found = usage.get(name)
        if isinstance(found, dict):
            return found
    return {}


def _count(counts: Mapping[str, Any], *names: str) -> int | None:
    """The first of the named counts that is one; null, negative and absurd ones are none. Whole floats pass: some servers write 12.0."""
    for name in names:
        value = counts.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        if 0 <= value <= TOKENS_MAX:
            return int(value)
    return None


def read_answer(body: bytes, operation: str = "") -> Answer | Fault:
    """What a whole answer (chat, completion, embeddings) says about itself; a PROTOCOL fault when it is not a JSON object. Whatever the
    operation, it stands in the same places.

    Of a long answer only the end is read; `body` may then also be just the last part of one.
    """
    del operation
    if len(body) > PARSE_MAX_BYTES:
        return _from_end(body)
    try:
        answer = parse_json(body)
    except ValueError:
        found = _from_end(body)
        return found if found.usage is not None else _broken("an answer that is not JSON")
    if not isinstance(answer, dict):
        return _broken("an answer that is not a JSON object")
    model = answer.get("model")
    return Answer(usage_of(answer), model if isinstance(model, str) else "", finish_reason_of(answer))


def _broken(what: str) -> Fault:
    return Fault(FaultKind.PROTOCOL, f"the backend sent {what}")


def finish_reason_of(answer: Mapping[str, Any]) -> str:
    """Of the first choice that has one."""
    choices = answer.get("choices")
    if isinstance(choices, list):
        for choice in choices:
            if isinstance(choice, dict):
                reason = choice.get("finish_reason")
                if reason and isinstance(reason, str):
                    return reason
    return ""


def text_of(value: object) -> str:
    return value if isinstance(value, str) else ""


def _from_end(body: bytes) -> Answer:
    """Read the members at the end of a long answer.

    What follows the start of a top-level member, with an opening brace before it, is a JSON object again; from inside a nested object it
    would have a brace too many. So the usage found this way is the answer's own, not something that a model wrote.
    """
    fields: dict[str, Any] = {}
    place = body.rfind(b'"usage"')
    if place >= 0 and len(body) - place <= PARSE_MAX_BYTES:
        try:
            parsed = parse_json(b"{" + body[place:])
        except ValueError:
            parsed = None
        fields = parsed if isinstance(parsed, dict) else {}
    usage = tiered(read_usage(fields.get("usage")), fields)
    model = text_of(fields.get("model"))
    if not model:
        named = _MODEL.search(body[:PARSE_MAX_BYTES]) or _MODEL.search(body[-PARSE_MAX_BYTES:])
        model = named.group(1).decode("utf-8", "replace") if named else ""
    place = body.rfind(b'"finish_reason"')
    finish = _FINISH.match(body, place) if place >= 0 else None
    return Answer(usage, model, finish.group(1).decode() if finish else "")
