"""The chat answer in Anthropic's bytes: one message, or message_start, blocks, message_delta and message_stop. Pure.

Field order, the place of `ping`, and counts in both message_start and message_delta follow recorded answers of api.anthropic.com.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import attrs
import orjson

from appliance.simulator.answer import Answer, Headers, Piece, streamed, whole
from appliance.simulator.chat_answer import ChatAnswer, Choice, Delta, made_id
from appliance.simulator.framing import NAMED, Event
from appliance.simulator.languages.anthropic_request import Messages
from appliance.simulator.languages.anthropic_turns import ISSUER
from appliance.simulator.prose import seed_of
from appliance.simulator.seal import seal, sign
from appliance.simulator.settings import Speed

START_TOKENS = 1  # what message_start counts as put out
REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
NO_ARGUMENTS = "{}"  # sent as no JSON at all, as recorded


@attrs.frozen
class Block:
    """One content block: the deltas of one part, or of one call."""

    index: int
    kind: str
    deltas: tuple[Delta, ...]

    @property
    def text(self) -> str:
        return "".join(d.text for d in self.deltas if d.part != "call")


def blocks_of(choice: Choice) -> tuple[Block, ...]:
    kinds = {"reasoning": "thinking", "content": "text", "call": "tool_use", "arguments": "tool_use"}
    grouped = groupby(choice.deltas, key=lambda d: (kinds[d.part], d.call))
    return tuple(Block(i, kind, tuple(deltas)) for i, ((kind, _), deltas) in enumerate(grouped))


def messages_to_wire(answer: ChatAnswer, request: Messages, speed: Speed, headers: Headers) -> Answer:
    if request.refused:
        answer = attrs.evolve(answer, choices=(Choice(0, (), "stop", refused=True),))
    if request.stream:
        return streamed(pieces(answer, request, speed), NAMED, headers, prompt_tokens=answer.prompt_tokens)
    return whole(
        document(answer, request),
        due_s=speed.due_s(answer.longest),
        tokens=answer.completion_tokens,
        prompt_tokens=answer.prompt_tokens,
        headers=headers,
    )


def document(answer: ChatAnswer, request: Messages) -> dict[str, Any]:
    blocks = [whole_block(block, answer, request) for block in blocks_of(answer.choices[0])]
    return {**head(answer), "content": blocks, **ending(answer), "usage": usage(answer, request, answer.completion_tokens)}


def head(answer: ChatAnswer) -> dict[str, Any]:
    return {"model": answer.model, "id": "msg_01" + made_id(answer, 22, "message"), "type": "message", "role": "assistant"}


def ending(answer: ChatAnswer) -> dict[str, Any]:
    choice = answer.choices[0]
    if choice.ends_refused:
        return {"stop_reason": "refusal", "stop_sequence": None, "stop_details": {"type": "refusal", "category": None, "explanation": None}}
    return {"stop_reason": "stop_sequence" if choice.stop is not None else REASONS[choice.finish], "stop_sequence": choice.stop}


def usage(answer: ChatAnswer, request: Messages, output_tokens: int) -> dict[str, Any]:
    """Input is what was neither read from the cache nor written to it."""
    caching = request.caching
    return {
        "input_tokens": answer.prompt_tokens - caching.read - caching.created,
        "cache_creation_input_tokens": caching.created,
        "cache_read_input_tokens": caching.read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": 0 if caching.hour else caching.created,
            "ephemeral_1h_input_tokens": caching.created if caching.hour else 0,
        },
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def whole_block(block: Block, answer: ChatAnswer, request: Messages) -> dict[str, Any]:
    if block.kind == "thinking":
        return thought(block, answer, request)
    if block.kind == "text":
        return {"type": "text", "text": block.text}
    return {**opened_call(block, answer), "input": arguments(block)}


def thought(block: Block, answer: ChatAnswer, request: Messages) -> dict[str, Any]:
    seed = seed_of(answer.seed.hex(), "thinking", block.index)
    if request.redacted:
        return {"type": "redacted_thinking", "data": seal(ISSUER, block.text, seed)}
    shown = "" if request.omitted else block.text
    return {"type": "thinking", "thinking": shown, "signature": sign(ISSUER, shown, seed)}


def opened_call(block: Block, answer: ChatAnswer) -> dict[str, Any]:
    call = block.deltas[0]
    return {"type": "tool_use", "id": "toolu_01" + made_id(answer, 22, "call", call.call), "name": call.text, "input": {}}


def arguments(block: Block) -> Any:
    """{} where max_tokens cut them."""
    try:
        return orjson.loads(block.text)
    except orjson.JSONDecodeError:
        return {}


def pieces(answer: ChatAnswer, request: Messages, speed: Speed) -> Iterator[Piece]:
    """A ping follows the first block's start, or the message's where there is no block."""
    start_s = speed.due_s(0)
    message = {**head(answer), "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage(answer, request, START_TOKENS)}
    yield event(start_s, {"type": "message_start", "message": message})
    blocks = blocks_of(answer.choices[0])
    used = 0
    for block in blocks:
        opening = {"type": "content_block_start", "index": block.index, "content_block": empty_block(block, answer, request)}
        sealed = sum(d.tokens for d in block.deltas) if request.redacted and block.kind == "thinking" else 0
        yield event(speed.due_s(used), opening, sealed)
        used += sealed
        if block.index == 0:
            yield event(start_s, {"type": "ping"})
        for delta in block_deltas(block, answer, request):
            yield event(speed.due_s(used), {"type": "content_block_delta", "index": block.index, "delta": delta.shape}, delta.tokens)
            used += delta.tokens
        yield event(speed.due_s(used), {"type": "content_block_stop", "index": block.index})
    if not blocks:
        yield event(start_s, {"type": "ping"})
    end_s = speed.due_s(used)
    figures = {name: figure for name, figure in usage(answer, request, answer.completion_tokens).items() if isinstance(figure, int)}
    yield event(end_s, {"type": "message_delta", "delta": ending(answer), "usage": figures})
    yield event(end_s, {"type": "message_stop"})._replace(end=True)


def event(due_s: float, value: Event, tokens: int = 0) -> Piece:
    return Piece(due_s, NAMED.event(value), tokens)


def empty_block(block: Block, answer: ChatAnswer, request: Messages) -> dict[str, Any]:
    """What content_block_start shows: sealed thinking comes whole, anything else empty."""
    match block.kind:
        case "thinking":
            return thought(block, answer, request) if request.redacted else {"type": "thinking", "thinking": "", "signature": ""}
        case "text":
            return {"type": "text", "text": ""}
    return opened_call(block, answer)


@attrs.frozen
class BlockDelta:
    """A delta as the wire shows it, and the tokens it bills."""

    shape: dict[str, Any]
    tokens: int


def block_deltas(block: Block, answer: ChatAnswer, request: Messages) -> Iterator[BlockDelta]:
    match block.kind:
        case "thinking":
            if request.redacted:
                return
            hidden = request.omitted
            for delta in () if hidden else block.deltas:
                yield BlockDelta({"type": "thinking_delta", "thinking": delta.text}, delta.tokens)
            signature = thought(block, answer, request)["signature"]
            yield BlockDelta({"type": "signature_delta", "signature": signature}, sum(d.tokens for d in block.deltas) if hidden else 0)
        case "text":
            for delta in block.deltas:
                yield BlockDelta({"type": "text_delta", "text": delta.text}, delta.tokens)
        case _:
            name, *rest = block.deltas
            if block.text == NO_ARGUMENTS:
                yield BlockDelta({"type": "input_json_delta", "partial_json": ""}, name.tokens + sum(d.tokens for d in rest))
                return
            yield BlockDelta({"type": "input_json_delta", "partial_json": ""}, name.tokens)
            for delta in rest:
                yield BlockDelta({"type": "input_json_delta", "partial_json": delta.text}, delta.tokens)
