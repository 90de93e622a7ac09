"""Writes whole chat completions for callers, and what whole and streamed ones have in common.

The rule: what OpenAI's own SDK declares is always there and of its type; what it does not know (reasoning, pictures, thought signatures)
stands in the fields where clients of other vendors look for it.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

import orjson

from appliance.core.completion import Candidate, Completion, TokenLogprob
from appliance.core.message import Citation, Media, Part, Reasoning, Refusal, Text, ToolCall, text_of
from appliance.core.tool_forms import flat_name, restored
from appliance.core.tool_ids import made_id
from appliance.core.usage import Usage
from appliance.dialects.chat_answer_parts import LOGPROB_LEAST, mended
from appliance.dialects.chat_request import SERVICE_TIERS
from appliance.dialects.chat_seal import details_for_caller, write_extra
from appliance.dialects.codec import Reply

FINISHES = {"length": "length", "context_length": "length", "content_filter": "content_filter", "refusal": "content_filter"}
"""Everything else is "stop": OpenAI's clients know no other words. A refusal that comes in words is one, too, as OpenAI does it."""

REASONING_JOINT = "\n\n"
"""Between thoughts that were apart, in the one string that `reasoning_content` is."""

AUDIO_EXPIRES_S = 3600
"""OpenAI's own audio can be named again for an hour; ours cannot, but SDKs want a time."""


def write_answer(answer: Completion, reply: Reply) -> bytes:
    made = answer.id or reply.id
    created = answer.created or reply.created
    body: dict[str, Any] = {
        "id": made,
        "object": "chat.completion",
        "created": created,
        "model": reply.model,
        "choices": [_choice(one, place, made, created, reply) for place, one in enumerate(answer.candidates)],
    }
    if answer.usage is not None:
        body["usage"] = written_usage(answer.usage)
    if answer.service_tier in SERVICE_TIERS:
        body["service_tier"] = answer.service_tier
    body["system_fingerprint"] = answer.fingerprint or None
    return dumped(body)


def dumped(value: Any) -> bytes:
    """JSON, of anything that readers of any language let through: lone halves of surrogate pairs and long numbers, too."""
    try:
        return orjson.dumps(value)
    except (orjson.JSONEncodeError, RecursionError):
        return json.dumps(mended(value), default=str).encode()


def _choice(candidate: Candidate, index: int, made: str, created: int, reply: Reply) -> dict[str, Any]:
    parts = candidate.parts
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    words = [part for part in parts if isinstance(part, Text)]
    if any(part.text for part in words):
        message["content"] = text_of(tuple(words))
    refusals = [part.text for part in parts if isinstance(part, Refusal)]
    if refusals:
        message["refusal"] = "".join(refusals)
    message |= _thoughts(parts)
    notes = annotations(words)
    if notes:
        message["annotations"] = notes
    seals = [part.seal for part in words if part.seal is not None]
    if seals:
        message["extra_content"] = write_extra(seals[-1])
    message |= _media(parts, made, created)
    calls = [restored(part, reply.conversation.tools) for part in parts if isinstance(part, ToolCall)]
    if reply.conversation.single_call:
        message |= {"function_call": _function(calls[0])} if calls else {}
    elif calls:
        message["tool_calls"] = [written_call(call, place, made) for place, call in enumerate(calls)]
    if message["content"] is None and not (calls or refusals):
        message["content"] = ""
    choice = {
        "index": index,
        "message": message,
        "logprobs": written_logprobs(candidate.logprobs) if candidate.logprobs else None,
        "finish_reason": finish_reason(candidate.finish, bool(calls), bool(refusals), reply),
    }
    return {**choice, "stop_reason": candidate.stop_sequence} if candidate.stop_sequence else choice


def _thoughts(parts: Sequence[Part]) -> dict[str, Any]:
    words = [part.text for part in parts if isinstance(part, Reasoning) and part.text]
    details = details_for_caller(parts)
    said: dict[str, Any] = {"reasoning_content": REASONING_JOINT.join(words)} if words else {}
    return {**said, "reasoning_details": details} if details else said


def _media(parts: Sequence[Part], made: str, created: int) -> dict[str, Any]:
    media = [part for part in parts if isinstance(part, Media)]
    images = [written_image(part, place) for place, part in enumerate(one for one in media if one.kind == "image")]
    sounds = [written_audio(part, made, created) for part in media if part.kind == "audio" and part.data]
    return {**({"images": images} if images else {}), **({"audio": sounds[0]} if sounds else {})}


def written_image(part: Media, index: int) -> dict[str, Any]:
    """As OpenRouter has it. `index` lets SDKs add up streamed lists."""
    return {"index": index, "type": "image_url", "image_url": {"url": part.url or f"data:{part.media_type};base64,{part.data}"}}


def written_audio(part: Media, made: str, created: int) -> dict[str, Any]:
    return {"id": f"audio_{made}", "data": part.data, "transcript": "", "expires_at": created + AUDIO_EXPIRES_S}


def written_call(call: ToolCall, place: int, made: str) -> dict[str, Any]:
    """A whole call. Clients parse the arguments of a function without looking, so that none are `{}`."""
    named: dict[str, Any] = {"id": call.id or made_id(made, place)}
    if call.custom:
        return {**named, "type": "custom", "custom": {"name": flat_name(call.name, call.namespace), "input": call.arguments}}
    written = {**named, "type": "function", "function": _function(call)}
    return written if call.seal is None else {**written, "extra_content": write_extra(call.seal)}


def _function(call: ToolCall) -> dict[str, str]:
    return {"name": flat_name(call.name, call.namespace), "arguments": call.arguments or "{}"}


def annotations(texts: Sequence[Text]) -> list[dict[str, Any]]:
    """The citations of texts that become one: places count from its beginning."""
    found: list[dict[str, Any]] = []
    before = 0
    for part in texts:
        found += [annotation(one, before, len(found) + place) for place, one in enumerate(part.citations)]
        before += len(part.text)
    return found


def annotation(cited: Citation, before: int, index: int) -> dict[str, Any]:
    """One citation in the only form that there is for it; a source without a URL (a document) has an empty one."""
    start, end = (cited.start + before, cited.end + before) if cited.start >= 0 else (0, 0)
    source: dict[str, Any] = {"url": cited.url, "title": cited.title, "start_index": start, "end_index": max(start, end)}
    if cited.cited:
        source["content"] = cited.cited
    return {"index": index, "type": "url_citation", "url_citation": source}


def written_logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    return {"content": [{**_token(one), "top_logprobs": [_token(other) for other in one.top]} for one in tokens], "refusal": None}


def _token(one: TokenLogprob) -> dict[str, Any]:
    data = None if one.raw_bytes is None else list(one.raw_bytes)
    return {"token": one.token, "logprob": one.logprob if math.isfinite(one.logprob) else LOGPROB_LEAST, "bytes": data}


def finish_reason(finish: str, calls: bool, refused: bool, reply: Reply) -> str:
    if calls and finish not in ("length", "content_filter", "context_length"):
        return "function_call" if reply.conversation.single_call else "tool_calls"
    if finish == "tool_use" or (refused and finish == "refusal"):
        return "stop"
    return FINISHES.get(finish, "stop")


def written_usage(usage: Usage) -> dict[str, Any]:
    of_prompt = {"cached_tokens": usage.cached_input_tokens, "audio_tokens": usage.input_audio_tokens}
    if usage.cache_write_tokens:
        of_prompt["cache_write_tokens"] = usage.cache_write_tokens
    of_completion = {
        "reasoning_tokens": usage.reasoning_tokens,
        "audio_tokens": usage.output_audio_tokens,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    }
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": of_prompt,
        "completion_tokens_details": of_completion,
    }
