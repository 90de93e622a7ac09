"""A chat answer in Converse's bytes: one document, or the binary frames of its stream. Pure.

Shapes and their order follow recorded answers of the service: text and thoughts open without an event, a call without arguments has one
empty piece of input, and usage comes behind the end of the message. Each event is padded (`p`), as the service pads it.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from appliance.simulator.answer import Answer, Headers, Piece, streamed, whole
from appliance.simulator.chat_answer import ID_LETTERS, ChatAnswer, Choice, Delta, made_id
from appliance.simulator.framing import AWS
from appliance.simulator.languages.bedrock_request import Converse
from appliance.simulator.languages.bedrock_turns import ISSUER
from appliance.simulator.prose import seed_of
from appliance.simulator.seal import sign
from appliance.simulator.settings import Speed

REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
NO_ARGUMENTS = "{}"


def conversed(answer: ChatAnswer, request: Converse, speed: Speed, headers: Headers) -> Answer:
    latency_s = speed.due_s(answer.longest)
    return whole(
        document(answer, request, latency_s),
        due_s=latency_s,
        tokens=answer.completion_tokens,
        prompt_tokens=answer.prompt_tokens,
        headers=headers,
    )


def conversed_stream(answer: ChatAnswer, request: Converse, speed: Speed, headers: Headers) -> Answer:
    return streamed(stream_pieces(answer, request, speed), AWS, headers, prompt_tokens=answer.prompt_tokens)


def document(answer: ChatAnswer, request: Converse, latency_s: float) -> dict[str, Any]:
    choice = answer.choices[0]
    thoughts, text = choice.joined("reasoning"), choice.joined("content")
    content: list[dict[str, Any]] = []
    if thoughts:
        content.append({"reasoningContent": {"reasoningText": {"text": thoughts, "signature": signature(answer, thoughts)}}})
    if text:
        content.append({"text": text})
    for call in choice.calls:
        made = {"toolUseId": tool_use_id(answer, call.number), "name": call.name, "input": arguments(call.arguments)}
        content.append({"toolUse": made})
    made = {
        "metrics": {"latencyMs": round(latency_s * 1000)},
        "output": {"message": {"content": content, "role": "assistant"}},
        "stopReason": stop_reason(choice),
        "usage": usage(answer, request, cached=True),
    }
    return {**made, "additionalModelResponseFields": {"stop_sequence": choice.stop}} if request.tells_stop[0] else made


def arguments(text: str) -> Any:
    """Of a call that the token limit cut: what there is of them cannot be an object."""
    try:
        return orjson.loads(text or NO_ARGUMENTS)
    except orjson.JSONDecodeError:
        return {}


def stop_reason(choice: Choice) -> str:
    if choice.ends_refused:
        return "content_filtered"
    return "stop_sequence" if choice.stop is not None else REASONS[choice.finish]


def signature(answer: ChatAnswer, thoughts: str) -> str:
    return sign(ISSUER, thoughts, answer.seed)


def tool_use_id(answer: ChatAnswer, number: int) -> str:
    return "tooluse_" + made_id(answer, 22, "call", number)


def usage(answer: ChatAnswer, request: Converse, *, cached: bool) -> dict[str, Any]:
    """Input is what was neither read from the cache nor written to it. `cached`: tell that even where it is nothing."""
    prompt, completion = answer.prompt_tokens, answer.completion_tokens
    figures: dict[str, Any] = {
        "inputTokens": prompt - request.read - request.written,
        "outputTokens": completion,
        "totalTokens": prompt + completion,
        "serverToolUsage": {},
    }
    if cached or request.read or request.written:
        figures |= {"cacheReadInputTokens": request.read, "cacheWriteInputTokens": request.written}
        figures |= {"cacheReadInputTokenCount": request.read, "cacheWriteInputTokenCount": request.written}
    if request.written:
        figures["cacheDetails"] = [{"ttl": "1h" if request.hour else "5m", "inputTokens": request.written}]
    return figures


def stream_pieces(answer: ChatAnswer, request: Converse, speed: Speed) -> Iterator[Piece]:
    choice = answer.choices[0]
    yield Piece(speed.due_s(0), event("messageStart", {"role": "assistant"}))
    blocks = Blocks(answer)
    used = 0
    for delta in choice.deltas:
        due_s = speed.due_s(used)
        used += delta.tokens
        events = blocks.events(delta)
        for data in events[:-1]:
            yield Piece(due_s, data)
        yield Piece(due_s, events[-1], delta.tokens)
    end_s = speed.due_s(used)
    for data in blocks.close():
        yield Piece(end_s, data)
    told: dict[str, Any] = {"stopReason": stop_reason(choice)}
    if request.tells_stop[1]:
        told["additionalModelResponseFields"] = {"delta": {"stop_sequence": choice.stop}}
    yield Piece(end_s, event("messageStop", told), end=True)
    metrics = {"latencyMs": round(end_s * 1000)}
    yield Piece(end_s, event("metadata", {"metrics": metrics, "usage": usage(answer, request, cached=False)}), end=True)


def event(name: str, value: dict[str, Any]) -> bytes:
    padding = 1 + seed_of(name, value)[0] % len(ID_LETTERS)
    return AWS.event({name: {**value, "p": ID_LETTERS[:padding]}})


class Blocks:
    """Which content block of a stream is open: a thought, words or a call."""

    def __init__(self, answer: ChatAnswer) -> None:
        self._answer = answer
        self._index = 0
        self._open: tuple[str, int] | None = None
        self._thoughts = ""
        self._empty = {call.number for call in answer.choices[0].calls if call.arguments == NO_ARGUMENTS}

    def events(self, delta: Delta) -> list[bytes]:
        """What this delta is told by, the event that carries it last."""
        key = ("toolUse", delta.call) if delta.part in ("call", "arguments") else (delta.part, 0)
        before = [] if self._open in (None, key) else self.close()
        self._open = key
        match delta.part:
            case "reasoning":
                self._thoughts += delta.text
                return [*before, self._delta({"reasoningContent": {"text": delta.text}})]
            case "content":
                return [*before, self._delta({"text": delta.text})]
            case "call":
                start = {"toolUse": {"toolUseId": tool_use_id(self._answer, delta.call), "name": delta.text}}
                return [*before, event("contentBlockStart", {"contentBlockIndex": self._index, "start": start})]
            case _:
                return [*before, self._delta({"toolUse": {"input": "" if delta.call in self._empty else delta.text}})]

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return event("contentBlockDelta", {"contentBlockIndex": self._index, "delta": delta})

    def close(self) -> list[bytes]:
        """A thought ends with its signature."""
        if self._open is None:
            return []
        signed = self._open[0] == "reasoning"
        events = [self._delta({"reasoningContent": {"signature": signature(self._answer, self._thoughts)}})] if signed else []
        events.append(event("contentBlockStop", {"contentBlockIndex": self._index}))
        self._index += 1
        self._open = None
        return events
