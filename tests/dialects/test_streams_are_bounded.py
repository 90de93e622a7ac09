"""What a reader holds of a stream is bounded, whatever a backend sends: each feed here would go on for ever.

The measure is the size of the reader itself when it is written down (pickled), while the stream grows to many times the bound: either it
gave up with a fault, or it held no more than it is allowed to.
"""

import io
import json
import pickle
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import pytest
from recorded_streams import SPOKEN

from appliance.core.fault import FaultKind
from appliance.dialects.aws_eventstream import write_event

EVENT_MAX_BYTES = 16_384
HELD_MAX_BYTES = 4 * EVENT_MAX_BYTES + 500_000
"""Some copies of an event, and every count of things at its bound: a thousand calls, parts or choices of some hundred bytes."""

FED_BYTES = 3_000_000
PIECE_BYTES = 16_000


def sse(event: Any, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(event)}\n\n".encode()


def chat(delta: Any, **more: Any) -> bytes:
    return sse({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": delta, **more}]})


def named(event: Any) -> bytes:
    return sse(event, event["type"])


def gemini(*parts: Any, **more: Any) -> Any:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, "index": 0, **more}], "responseId": "r"}


def block(number: int, kind: str, **more: Any) -> bytes:
    return named({"type": "content_block_start", "index": number, "content_block": {"type": kind, **more}})


START = named({"type": "message_start", "message": {"id": "m", "model": "m", "content": [], "usage": {"input_tokens": 1}}})
CREATED = named({"type": "response.created", "response": {"id": "r", "model": "m", "status": "in_progress", "output": []}})
FILLER = "x" * 4_000

ENDLESS: dict[str, tuple[str, bytes, Any]] = {
    # name: form, how it begins, what comes again and again (bytes, or a function of its number)
    **{f"{family}: a line without end": (family, b"data: ", b"x" * 1_000) for family in SPOKEN if family != "bedrock"},
    **{f"{family}: an event without end": (family, b"data: {}\n", b"data: x\n") for family in SPOKEN if family != "bedrock"},
    **{f"{family}: comments": (family, b"", b": " + b"x" * 500 + b"\n\n") for family in SPOKEN if family != "bedrock"},
    **{f"{family}: a page": (family, b"<html>", b"<p>" + b"x" * 500 + b"</p>\n\n") for family in SPOKEN if family != "bedrock"},
    "chat: words": ("chat", b"", chat({"content": FILLER})),
    "chat: calls by their numbers": ("chat", b"", lambda n: chat({"tool_calls": [{"index": n, "id": f"c{n}", "function": {"name": "f"}}]})),
    "chat: calls without a name": ("chat", b"", lambda n: chat({"tool_calls": [{"index": n, "function": {"arguments": FILLER}}]})),
    "chat: a call whose name never comes": ("chat", b"", chat({"tool_calls": [{"index": 0, "function": {"arguments": FILLER}}]})),
    "chat: a call whose name never ends": ("chat", b"", chat({"tool_calls": [{"index": 0, "function": {"name": FILLER}}]})),
    "chat: choices": ("chat", b"", lambda n: sse({"choices": [{"index": n, "delta": {"content": "x"}}]})),
    "chat: thoughts": ("chat", b"", chat({"reasoning_content": FILLER})),
    "chat: details": ("chat", b"", lambda n: chat({"reasoning_details": [{"type": "reasoning.text", "index": n, "signature": FILLER}]})),
    "chat: one detail": ("chat", b"", chat({"reasoning_details": [{"type": "reasoning.encrypted", "index": 0, "data": FILLER}]})),
    "chat: sound": ("chat", b"", chat({"audio": {"data": "QUJD" * 1_000}})),
    "anthropic: blocks": ("anthropic", START, lambda n: block(n, "text", text="")),
    "anthropic: unknown blocks": ("anthropic", START, lambda n: block(n, "odd", some=FILLER)),
    "anthropic: a server tool's input": ("anthropic", START + block(0, "server_tool_use", name="f", input={}), named({
        "type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": FILLER},
    })),
    "anthropic: starts": ("anthropic", b"", START),
    "responses: items": ("responses", CREATED, lambda n: named({
        "type": "response.output_item.added", "output_index": n, "item": {"type": "function_call", "id": f"f{n}", "call_id": f"c{n}"},
    })),
    "responses: pieces": ("responses", CREATED, lambda n: named({
        "type": "response.content_part.added", "output_index": 0, "content_index": n, "item_id": "m", "part": {"type": "output_text"},
    })),
    "responses: words of nothing": ("responses", CREATED, lambda n: named({
        "type": "response.output_text.delta", "output_index": n, "content_index": 0, "item_id": f"m{n}", "delta": "x",
    })),
    "responses: words": ("responses", CREATED, named({
        "type": "response.output_text.delta", "output_index": 0, "content_index": 0, "item_id": "m", "delta": FILLER,
    })),
    "responses: code": ("responses", CREATED, named({
        "type": "response.code_interpreter_call_code.delta", "output_index": 0, "item_id": "ci", "delta": FILLER,
    })),
    "gemini: calls": ("gemini", b"", lambda n: sse(gemini({"functionCall": {"name": f"f{n}", "args": {}}}))),
    "gemini: candidates": ("gemini", b"", lambda n: sse(gemini({"text": "x"}, index=n))),
    "gemini: arguments": ("gemini", sse(gemini({"functionCall": {"name": "f", "willContinue": True}})), lambda n: sse(gemini({
        "functionCall": {"partialArgs": [{"jsonPath": f"$.a{n}", "stringValue": FILLER}], "willContinue": True},
    }))),
    "gemini: an array": ("gemini", b"[", json.dumps(gemini({"text": FILLER})).encode() + b",\r\n"),
    "gemini: an array's object without end": ("gemini", b'[{"a": [', b"1, " * 400),
    "gemini: an array's string without end": ("gemini", b'[{"a": "', b"x" * 1_000),
    "gemini: brackets": ("gemini", b"[", b"[" * 1_000),
    "gemini: blanks": ("gemini", b"[", b" " * 1_000),
    "gemini: sources": ("gemini", b"", lambda n: sse(gemini({"text": "x"}, groundingMetadata={
        "groundingChunks": [{"web": {"uri": f"https://x.test/{n}", "title": FILLER}}],
        "groundingSupports": [{"segment": {"endIndex": 1, "text": "x"}, "groundingChunkIndices": [0]}],
    }))),
    "bedrock: a message without end": ("bedrock", (10_000_000).to_bytes(4, "big"), b"\0" * 1_000),
    "bedrock: blocks": ("bedrock", b"", lambda n: write_event("contentBlockStart", json.dumps({
        "contentBlockIndex": n, "start": {"toolUse": {"toolUseId": f"t{n}", "name": "f"}},
    }).encode())),
    "bedrock: a server tool's input": ("bedrock", write_event("contentBlockStart", json.dumps({
        "contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "t", "name": "f", "type": "server_tool_use"}},
    }).encode()), write_event("contentBlockDelta", json.dumps({"contentBlockIndex": 0, "delta": {"toolUse": {"input": FILLER}}}).encode())),
    "bedrock: event types": ("bedrock", b"", lambda n: write_event(f"event{n}", b"{}")),
    "cohere: calls": ("cohere", b"", lambda n: named({"type": "tool-call-start", "index": n, "delta": {"message": {"tool_calls": {
        "id": f"t{n}", "function": {"name": "f", "arguments": ""},
    }}}})),
    "cohere: blanks for arguments": ("cohere", named({"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": {
        "id": "t", "function": {"name": "f", "arguments": ""},
    }}}}), named({"type": "tool-call-delta", "index": 0, "delta": {"message": {"tool_calls": {"function": {"arguments": " " * 4_000}}}}})),
}  # fmt: skip


def pieces(begin: bytes, again: Any) -> Iterator[bytes]:
    """Each a fresh object of the size of a read."""
    held, fed, number = bytearray(begin), 0, 0
    while fed < FED_BYTES:
        while len(held) < PIECE_BYTES:
            held += again(number) if callable(again) else again
            number += 1
        fed += len(held)
        yield bytes(held)
        held.clear()


class Scales(pickle.Pickler):
    """Read-only views are weighed as what they view."""

    def reducer_override(self, value: Any) -> Any:
        return (dict, (dict(value),)) if isinstance(value, MappingProxyType) else NotImplemented


def weight_bytes(reader: Any) -> int:
    out = io.BytesIO()
    Scales(out).dump(reader)
    return len(out.getvalue())


@pytest.mark.parametrize("name", sorted(ENDLESS))
def test_an_endless_stream_is_held_within_a_bound(name: str) -> None:
    form, begin, again = ENDLESS[name]
    reader = SPOKEN[form].stream_reader(EVENT_MAX_BYTES, "b")
    for number, piece in enumerate(pieces(begin, again)):
        reader.feed(piece)
        if number % 40 == 39 or reader.fault is not None:
            assert weight_bytes(reader) < HELD_MAX_BYTES
        if reader.fault is not None:
            assert reader.fault.kind is FaultKind.PROTOCOL
            break
