"""A chat answer in Cohere's bytes: one document, or the events of its v2 stream. Pure.

Shapes and their order follow recorded answers of the service. Words beside calls are the plan that leads to them.
"""

from collections.abc import Iterator
from typing import Any

from appliance.simulator.answer import Answer, Headers, Piece, streamed, whole
from appliance.simulator.chat_answer import ChatAnswer, Choice, Delta, made_id
from appliance.simulator.chat_request import TOKENS_PER_MESSAGE, TOKENS_TO_OPEN
from appliance.simulator.framing import NAMED
from appliance.simulator.languages.cohere_request import CohereChat
from appliance.simulator.languages.openai_logprobs import logprob
from appliance.simulator.prose import seed_of
from appliance.simulator.settings import Speed

TOKEN_ID_MAX = 255_029


def chat_to_wire(answer: ChatAnswer, request: CohereChat, speed: Speed, headers: Headers) -> Answer:
    if request.stream:
        return streamed(stream_pieces(answer, request, speed), NAMED, headers, prompt_tokens=answer.prompt_tokens)
    return whole(
        document(answer, request),
        due_s=speed.due_s(answer.longest),
        tokens=answer.completion_tokens,
        prompt_tokens=answer.prompt_tokens,
        headers=headers,
    )


def uuid(answer: ChatAnswer) -> str:
    digits = seed_of(answer.seed.hex(), "id").hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"


def finish_reason(choice: Choice) -> str:
    if choice.stop is not None:
        return "STOP_SEQUENCE"
    return {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL"}[choice.finish]


def usage(answer: ChatAnswer, request: CohereChat) -> dict[str, Any]:
    """`tokens` is what the model read and wrote; what is billed leaves out the framing of messages."""
    framing = TOKENS_TO_OPEN + TOKENS_PER_MESSAGE * len(request.asked.messages)
    return {
        "billed_units": {"input_tokens": answer.prompt_tokens - framing, "output_tokens": answer.completion_tokens},
        "tokens": {"input_tokens": answer.prompt_tokens, "output_tokens": answer.completion_tokens},
        "cached_tokens": request.cached_tokens,
    }


def document(answer: ChatAnswer, request: CohereChat) -> dict[str, Any]:
    choice = answer.choices[0]
    message: dict[str, Any] = {"role": "assistant"}
    thoughts, text = choice.joined("reasoning"), choice.joined("content")
    content: list[dict[str, Any]] = [{"type": "thinking", "thinking": thoughts}] if thoughts else []
    calls = [
        {"id": call_id(answer, call.number, call.name), "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in choice.calls
    ]
    if calls:
        message |= {"tool_plan": text, "tool_calls": calls} if text else {"tool_calls": calls}
    else:
        content.append({"type": "text", "text": text})
    if content:
        message["content"] = content
    made: dict[str, Any] = {"id": uuid(answer), "message": message, "finish_reason": finish_reason(choice), "usage": usage(answer, request)}
    if request.logprobs:
        made["logprobs"] = [logprobs([d.text for d in choice.deltas if d.part == "content"])]
    return made


def call_id(answer: ChatAnswer, number: int, name: str) -> str:
    return f"{name}_{made_id(answer, 12, 'call', number).lower()}"


def logprobs(tokens: list[str]) -> dict[str, Any]:
    return {
        "text": "".join(tokens),
        "token_ids": [int.from_bytes(seed_of(token)[:4], "big") % TOKEN_ID_MAX for token in tokens],
        "logprobs": [logprob(token, 0) for token in tokens],
    }


def stream_pieces(answer: ChatAnswer, request: CohereChat, speed: Speed) -> Iterator[Piece]:
    choice = answer.choices[0]
    opening = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield Piece(speed.due_s(0), NAMED.event({"id": uuid(answer), "type": "message-start", "delta": {"message": opening}}))
    stream = Blocks(answer, request, planned=bool(choice.calls))
    used = 0
    for delta in choice.deltas:
        due_s = speed.due_s(used)
        used += delta.tokens
        for event in stream.before(delta):
            yield Piece(due_s, NAMED.event(event))
        yield Piece(due_s, NAMED.event(stream.event(delta)), delta.tokens)
    end_s = speed.due_s(used)
    for event in stream.close():
        yield Piece(end_s, NAMED.event(event))
    last = {"finish_reason": finish_reason(choice), "usage": usage(answer, request)}
    yield Piece(end_s, NAMED.event({"type": "message-end", "delta": last}), end=True)


class Blocks:
    """Which block of a stream is open: thinking, text or a tool call. Contents and calls are numbered apart."""

    def __init__(self, answer: ChatAnswer, request: CohereChat, *, planned: bool) -> None:
        self._answer = answer
        self._logprobs = request.logprobs
        self._planned = planned
        self._open: tuple[str, int] | None = None
        self._contents = 0

    def before(self, delta: Delta) -> list[dict[str, Any]]:
        """The end of the block before, and the start of this one's; a plan has neither, and a call's start is its own event."""
        if delta.part == "content" and self._planned:
            return self.close()
        kind, index = ("call", delta.call) if delta.part in ("call", "arguments") else (delta.part, self._contents)
        if self._open is not None and (self._open[0] == kind == "call" and self._open[1] == index):
            return []
        if self._open is not None and self._open[0] == kind != "call":
            return []
        events = self.close()
        if kind == "call":
            self._open = (kind, index)
            return events
        self._open = (kind, self._contents)
        field = "thinking" if kind == "reasoning" else "text"
        start = {"type": "content-start", "index": self._contents, "delta": {"message": {"content": {"type": field, field: ""}}}}
        return [*events, start]

    def event(self, delta: Delta) -> dict[str, Any]:
        index = self._open[1] if self._open is not None else 0
        match delta.part:
            case "reasoning":
                return {"type": "content-delta", "index": index, "delta": {"message": {"content": {"thinking": delta.text}}}}
            case "content" if self._planned:
                return {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": delta.text}}}
            case "content":
                event = {"type": "content-delta", "index": index, "delta": {"message": {"content": {"text": delta.text}}}}
                return {**event, "logprobs": logprobs([delta.text])} if self._logprobs else event
            case "call":
                made = {"id": call_id(self._answer, delta.call, delta.text), "type": "function"}
                call = {**made, "function": {"name": delta.text, "arguments": ""}}
                return {"type": "tool-call-start", "index": delta.call, "delta": {"message": {"tool_calls": call}}}
            case _:
                call = {"function": {"arguments": delta.text}}
                return {"type": "tool-call-delta", "index": delta.call, "delta": {"message": {"tool_calls": call}}}

    def close(self) -> list[dict[str, Any]]:
        if self._open is None:
            return []
        kind, index = self._open
        self._open = None
        if kind == "call":
            return [{"type": "tool-call-end", "index": index}]
        self._contents += 1
        return [{"type": "content-end", "index": index}]
