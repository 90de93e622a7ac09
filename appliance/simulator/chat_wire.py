"""The chat answer in OpenAI's bytes: one document, or role chunk, deltas, finish chunk, usage chunk and [DONE]. Pure.

Field order, nulls and the `obfuscation` padding follow recorded answers of api.openai.com; `reasoning_content`, which that service does not
send, follows DeepSeek's.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from appliance.simulator.answer import DONE, STREAM_TYPE, Answer, Headers, Piece, whole
from appliance.simulator.chat_answer import ChatAnswer, Choice, Delta, letters
from appliance.simulator.chat_request import ChatRequest
from appliance.simulator.logprobs import token_logprob
from appliance.simulator.prose import seed_of
from appliance.simulator.settings import Speed

TIERS = {"auto": "default", None: "default", "fast": "priority"}


def chat_to_wire(answer: ChatAnswer, request: ChatRequest, speed: Speed, headers: Headers) -> Answer:
    if request.stream:
        return Answer(
            200,
            ((b"content-type", STREAM_TYPE), *headers),
            stream_pieces(answer, request, speed),
            stream=True,
            prompt_tokens=answer.prompt_tokens,
        )
    longest = max(choice.tokens for choice in answer.choices)
    return whole(
        document(answer, request),
        due_s=speed.due_s(longest),
        tokens=answer.completion_tokens,
        prompt_tokens=answer.prompt_tokens,
        headers=headers,
    )


def fingerprint(model: str) -> str:
    return "fp_" + seed_of(model).hex()[:10]


def tier(request: ChatRequest) -> Any:
    asked = request.fields.get("service_tier")
    return TIERS.get(asked, asked)


def usage(answer: ChatAnswer) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": answer.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def document(answer: ChatAnswer, request: ChatRequest) -> dict[str, Any]:
    return {
        "id": answer.id,
        "object": "chat.completion",
        "created": answer.created,
        "model": answer.model,
        "choices": [whole_choice(choice, answer, request) for choice in answer.choices],
        "usage": usage(answer),
        "service_tier": tier(request),
        "system_fingerprint": fingerprint(answer.model),
    }


def whole_choice(choice: Choice, answer: ChatAnswer, request: ChatRequest) -> dict[str, Any]:
    texts = {part: "".join(d.text for d in choice.deltas if d.part == part) for part in ("reasoning", "content")}
    calls: list[dict[str, Any]] = []
    for delta in choice.deltas:
        if delta.part == "call":
            calls.append(call_opening(answer, choice.index, delta))
        elif delta.part == "arguments":
            calls[-1]["function"]["arguments"] += delta.text
    message: dict[str, Any] = {"role": "assistant", "content": None if calls else texts["content"]}
    if texts["reasoning"]:
        message["reasoning_content"] = texts["reasoning"]
    if calls:
        message["tool_calls"] = calls
    message |= {"refusal": None, "annotations": []}
    logprobs = None
    if request.logprobs is not None:
        content = [token_logprob(d.text, request.logprobs) for d in choice.deltas if d.part == "content"]
        logprobs = {"content": content, "refusal": None}
    return {"index": choice.index, "message": message, "logprobs": logprobs, "finish_reason": choice.finish}


def call_opening(answer: ChatAnswer, choice: int, delta: Delta) -> dict[str, Any]:
    call_id = "call_" + letters(seed_of(answer.seed.hex(), choice, delta.call), 24)
    return {"id": call_id, "type": "function", "function": {"name": delta.text, "arguments": ""}}


def stream_pieces(answer: ChatAnswer, request: ChatRequest, speed: Speed) -> Iterator[Piece]:
    """The choices of `n` take turns, token by token, as the service interleaves them."""
    head = {
        "id": answer.id,
        "object": "chat.completion.chunk",
        "created": answer.created,
        "model": answer.model,
        "service_tier": tier(request),
        "system_fingerprint": fingerprint(answer.model),
    }
    padding = letters(answer.seed, 32)

    def event(choices: list[dict[str, Any]], figures: dict[str, Any] | None = None, length: int = 0) -> bytes:
        body: dict[str, Any] = {**head, "choices": choices}
        if request.include_usage:
            body["usage"] = figures
        if request.include_obfuscation:
            body["obfuscation"] = padding[: 16 - length % 16]  # evens out the sizes of events, which is what it is for
        return b"data: %b\n\n" % orjson.dumps(body)

    start_s = speed.due_s(0)
    for choice in answer.choices:
        yield Piece(start_s, event([one_choice(choice, {"role": "assistant", "content": opening(choice), "refusal": None}, None, None)]))
    used = [0] * len(answer.choices)
    for turn in range(max(len(choice.deltas) for choice in answer.choices)):
        for choice in answer.choices:
            if turn >= len(choice.deltas):
                continue
            delta = choice.deltas[turn]
            due_s = speed.due_s(used[choice.index])
            used[choice.index] += delta.tokens
            logprobs = None
            if request.logprobs is not None and delta.part == "content":
                logprobs = {"content": [token_logprob(delta.text, request.logprobs)], "refusal": None}
            shape = one_choice(choice, wire_delta(delta, choice, answer), logprobs, None)
            yield Piece(due_s, event([shape], length=len(delta.text)), delta.tokens)
    end_s = speed.due_s(max(used))
    for choice in answer.choices:
        yield Piece(end_s, event([one_choice(choice, {}, None, choice.finish)]))
    if request.include_usage:
        yield Piece(end_s, event([], usage(answer)))
    yield Piece(end_s, DONE)


def opening(choice: Choice) -> str | None:
    """The role chunk's content: null when the answer is tool calls only."""
    return None if any(d.part == "call" for d in choice.deltas) else ""


def one_choice(choice: Choice, delta: dict[str, Any], logprobs: Any, finish: str | None) -> dict[str, Any]:
    return {"index": choice.index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}


def wire_delta(delta: Delta, choice: Choice, answer: ChatAnswer) -> dict[str, Any]:
    if delta.part == "content":
        return {"content": delta.text}
    if delta.part == "reasoning":
        return {"reasoning_content": delta.text}
    if delta.part == "call":
        return {"tool_calls": [{"index": delta.call, **call_opening(answer, choice.index, delta)}]}
    return {"tool_calls": [{"index": delta.call, "function": {"arguments": delta.text}}]}
