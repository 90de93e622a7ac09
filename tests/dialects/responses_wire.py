"""Recorded Responses traffic, streams as bytes, and what OpenAI's own SDK makes of what was written."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
from openai import OpenAI
from openai.types.responses import Response, ResponseStreamEvent

from appliance.core.conversation import Conversation
from appliance.core.delta import Delta
from appliance.core.message import Message, Text
from appliance.dialects.codec import Reply
from appliance.dialects.responses import RESPONSES
from appliance.dialects.responses_stream_reader import ResponsesStreamReader

WIRE = Path(__file__).parents[3] / "shared" / "recordings" / "wire"
ASKED = Conversation("gpt", (Message("user", (Text("hello"),)),), family="openai_responses")
_EVENTS = {get_args(one.model_fields["type"].annotation)[0]: one for one in get_args(get_args(ResponseStreamEvent)[0])}
"""The SDK's class of each event: a union of all of them takes long to say no."""


def reply_to(conversation: Conversation = ASKED) -> Reply:
    return Reply(conversation, "the-model", "gw0123", 1_700_000_000)


def whole_recordings() -> list[Path]:
    """Responses answers, good ones."""
    found = [*WIRE.glob("*/responses-*.json"), *WIRE.glob("azure/*.json")]
    return sorted(path for path in found if "output" in json.loads(path.read_text()))


def recorded_streams() -> list[tuple[str, list[dict[str, Any]]]]:
    """Each stream of each file: several hold a loop of turns, and some lines are broken off (they are not JSON)."""
    streams: list[tuple[str, list[dict[str, Any]]]] = []
    for path in sorted([*WIRE.glob("*/responses-*.chunks.txt"), *WIRE.glob("azure/*.chunks.txt")]):
        events: list[dict[str, Any]] = []
        for line in filter(str.strip, path.read_text().splitlines()):
            event = mended(line)
            if event["type"] == "response.created" and events:
                streams.append((f"{path.parent.name}/{path.name}#{len(streams)}", events))
                events = []
            events.append(event)
        streams.append((f"{path.parent.name}/{path.name}#{len(streams)}", events))
    return [(name, events) for name, events in streams if events[0]["type"] == "response.created"]


def mended(line: str) -> dict[str, Any]:
    """One recorded event; a recording by hand lacks closing braces."""
    for missing in ("", "}", "}}"):
        try:
            return json.loads(line + missing)
        except ValueError:
            continue
    return {"type": None}


def as_stream(events: list[dict[str, Any]]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (str(one["type"]).encode(), json.dumps(one).encode()) for one in events)


def read_stream(data: bytes, piece_bytes: int = 0, event_max_bytes: int = 4_000_000) -> tuple[list[Delta], ResponsesStreamReader]:
    reader = RESPONSES.stream_reader(event_max_bytes, "b")
    assert isinstance(reader, ResponsesStreamReader)
    pieces = [data[start : start + piece_bytes] for start in range(0, len(data), piece_bytes)] if piece_bytes else [data]
    deltas = [delta for piece in pieces for delta in reader.feed(piece)]
    return [*deltas, *reader.end()], reader


def write_stream(deltas: list[Delta], reply: Reply, at_once: bool = False) -> bytes:
    writer = RESPONSES.stream_writer(reply)
    body = writer.write(deltas) if at_once else b"".join(writer.write([delta]) for delta in deltas)
    return body + writer.end()


def events_of(stream: bytes) -> Iterator[dict[str, Any]]:
    for block in stream.split(b"\n\n")[:-1]:
        name, _, data = block.partition(b"\n")
        event = json.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        yield event


def validated(stream: bytes) -> list[dict[str, Any]]:
    """The events, each one that the SDK's types call valid, numbered without a gap."""
    events = list(events_of(stream))
    for event in events:
        _EVENTS[event["type"]].model_validate(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def validated_answer(body: bytes) -> dict[str, Any]:
    Response.model_validate_json(body)
    return json.loads(body)


def sdk_response(stream: bytes) -> Response:
    """What the SDK's accumulating stream helper gives in the end."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, headers={"content-type": "text/event-stream"}, content=stream))
    client = OpenAI(api_key="k", base_url="http://gateway.test/v1", http_client=httpx.Client(transport=transport), max_retries=0)
    with client.responses.stream(model="m", input="hello") as events:
        for _ in events:
            pass
        return events.get_final_response()


