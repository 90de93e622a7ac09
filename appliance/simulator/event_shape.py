"""Looking into the events of a planned stream, and making more of their kind. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from appliance.simulator.answer import DONE, Piece


def is_done(piece: Piece) -> bool:
    return piece.data.rstrip() == DONE.rstrip()


def after_events(pieces: Iterable[Piece], events: int) -> Iterator[Piece]:
    """The first `events` events; an answer that has fewer is given whole but for [DONE]."""
    for number, piece in enumerate(pieces):
        if number >= events or is_done(piece):
            return
        yield piece


def document_json(data: bytes) -> dict[str, Any]:
    """The object that a whole body is, {} when it is none."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def event_json(data: bytes) -> dict[str, Any]:
    """The object in an event's data line, {} when there is none."""
    for line in data.splitlines():
        if line.startswith(b"data:"):
            return document_json(line[5:])
    return {}


def like_event(data: bytes, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    """A chat chunk with this delta, otherwise like the given event, or like nothing in particular."""
    known = event_json(data)
    chunk = {"id": "chatcmpl-simulated", "object": "chat.completion.chunk", "created": 0, "model": "sim"}
    chunk |= {name: known[name] for name in ("id", "object", "created", "model", "service_tier", "system_fingerprint") if name in known}
    if chunk["object"] == "text_completion":
        return {**chunk, "choices": [{"index": 0, "text": delta.get("content", ""), "logprobs": None, "finish_reason": finish}]}
    return {**chunk, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}
