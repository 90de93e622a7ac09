"""The chat answer in OpenAI's bytes: one document, or role chunk, deltas, finish chunk, usage chunk and [DONE]. Pure.

Field order, nulls and the `obfuscation` padding follow recorded answers of api.openai.com; `reasoning_content`, which that service does not
send, follows DeepSeek's.
"""

from collections.abc import Iterator
from typing import Any

from appliance.simulator.answer import Answer, Headers, Piece, streamed, whole
from appliance.simulator.chat_answer import CallMade, ChatAnswer, Choice, Delta, letters, made_id
from appliance.simulator.framing import DATA
from appliance.simulator.languages.openai_chat_request import OpenAIChat
from appliance.simulator.languages.openai_logprobs import token_logprob
from appliance.simulator.prose import seed_of
from appliance.simulator.settings import Speed

DONE = b"data: [DONE]\n\n"
TIERS = {"auto": "default", None: "default", "fast": "priority"}


def chat_to_wire(answer: ChatAnswer, request: OpenAIChat, speed: Speed, headers: Headers) -> Answer:
    if request.stream:
        return streamed(stream_pieces(answer, request, speed), DATA, headers, prompt_tokens=answer.prompt_tokens)
    return whole(
        document(answer, request),
        due_s=speed.due_s(answer.longest),
        tokens=answer.completion_tokens,
        prompt_tokens=answer.prompt_tokens,
        headers=headers,
    )


def fingerprint(model: str) -> str:
    return "fp_" + seed_of(model).hex()[:10]


def tier(request: OpenAIChat) -> Any:
    asked = request.service_tier
    return TIERS.get(asked, asked) if isinstance(asked, str | None) else asked


def usage(answer: ChatAnswer, request: OpenAIChat) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": request.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": answer.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def document(answer: ChatAnswer, request: OpenAIChat) -> dict[str, Any]:
    return {
        "id": answer_id(answer),
        "object": "chat.completion",
        "created": answer.created,
        "model": answer.model,
        "choices": [whole_choice(choice, answer, request) for choice in answer.choices],
        "usage": usage(answer, request),
        "service_tier": tier(request),
        "system_fingerprint": fingerprint(answer.model),
    }


def told_logprobs(tokens: list[dict[str, Any]], choice: Choice) -> dict[str, Any]:
    return {"content": None, "refusal": tokens} if choice.refused else {"content": tokens, "refusal": None}


def answer_id(answer: ChatAnswer) -> str:
    return "chatcmpl-" + letters(answer.seed, 29)


def whole_choice(choice: Choice, answer: ChatAnswer, request: OpenAIChat) -> dict[str, Any]:
    text, reasoning, calls = choice.joined("content"), choice.joined("reasoning"), choice.calls
    content = None if choice.refused or (calls and not text) else text
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if reasoning:
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = [wire_call(answer, choice.index, call) for call in calls]
    message |= {"refusal": text if choice.refused else None, "annotations": []}
    logprobs = None
    if request.logprobs is not None:
        tokens = [token_logprob(d.text, request.logprobs) for d in choice.deltas if d.part == "content"]
        logprobs = told_logprobs(tokens, choice)
    return {"index": choice.index, "message": message, "logprobs": logprobs, "finish_reason": choice.finish}


def wire_call(answer: ChatAnswer, choice: int, call: CallMade) -> dict[str, Any]:
    """A custom tool's call has free text where a function's has JSON."""
    call_id = "call_" + made_id(answer, 24, choice, call.number)
    if call.custom:
        return {"id": call_id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    return {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def stream_pieces(answer: ChatAnswer, request: OpenAIChat, speed: Speed) -> Iterator[Piece]:
    """The choices of `n` take turns, token by token, as the service interleaves them."""
    head = {
        "id": answer_id(answer),
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
        return DATA.event(body)

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
                logprobs = told_logprobs([token_logprob(delta.text, request.logprobs)], choice)
            shape = one_choice(choice, wire_delta(delta, choice, answer), logprobs, None)
            yield Piece(due_s, event([shape], length=len(delta.text)), delta.tokens)
    end_s = speed.due_s(max(used))
    for choice in answer.choices:
        yield Piece(end_s, event([one_choice(choice, {}, None, choice.finish)]))
    if request.include_usage:
        yield Piece(end_s, event([], usage(answer, request)))
    yield Piece(end_s, DONE, end=True)


def opening(choice: Choice) -> str | None:
    """The role chunk's content: null when the answer is tool calls only, or a refusal."""
    parts = {d.part for d in choice.deltas}
    return None if choice.refused or ("call" in parts and "content" not in parts) else ""


def one_choice(choice: Choice, delta: dict[str, Any], logprobs: Any, finish: str | None) -> dict[str, Any]:
    return {"index": choice.index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}


def wire_delta(delta: Delta, choice: Choice, answer: ChatAnswer) -> dict[str, Any]:
    if delta.part == "content":
        return {"refusal": delta.text} if choice.refused else {"content": delta.text}
    if delta.part == "reasoning":
        return {"reasoning_content": delta.text}
    if delta.part == "call":
        opened = wire_call(answer, choice.index, CallMade(delta.call, delta.text, "", delta.custom))
        return {"tool_calls": [{"index": delta.call, **opened}]}
    more = {"custom": {"input": delta.text}} if delta.custom else {"function": {"arguments": delta.text}}
    return {"tool_calls": [{"index": delta.call, **more}]}
