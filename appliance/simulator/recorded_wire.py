"""A recording as the provider would have sent it: the framing that its language uses, told by the look of its first event. Pure.

| first event | framing |
|---|---|
| OpenAI chat or completion chunk | `data:` lines, then `[DONE]` |
| an object with `type` (Anthropic, Responses, Cohere) | `event: TYPE` and `data:` |
| Gemini (`candidates`) | `data:` with CR LF, no end mark |
| Bedrock (one key that names the event) | AWS event stream frames, binary |
"""

import struct
from collections.abc import Iterator
from zlib import crc32

import orjson

from appliance.simulator.answer import DONE, STREAM_TYPE, Answer, Headers, Piece, whole
from appliance.simulator.event_shape import document_json
from appliance.simulator.recordings import Recording
from appliance.simulator.settings import Speed

AWS_TYPE = b"application/vnd.amazon.eventstream"
STRING_HEADER = 7  # type number of a string in an AWS event stream header


def recording_to_wire(recording: Recording, speed: Speed, headers: Headers) -> Answer:
    """Paced as if every event were one token; tokens are billed as none, since the recording says what they were."""
    if recording.whole is not None:
        return whole(recording.whole, recorded_status(recording.whole), headers, due_s=speed.first_token_s)
    if recording.events is not None:
        aws = framing(recording.events[0]) == "aws" if recording.events else False
        content_type = AWS_TYPE if aws else STREAM_TYPE
        return Answer(200, ((b"content-type", content_type), *headers), event_pieces(recording.events, speed), stream=True)
    return Answer(200, ((b"content-type", STREAM_TYPE), *headers), raw_pieces(recording.stream or b"", speed), stream=True)


def recorded_status(body: bytes) -> int:
    """The recordings have no status: an error object's own number where it has one (Gemini), else 400."""
    error = document_json(body).get("error")
    if not error:
        return 200
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code <= 599 else 400


def framing(event: bytes) -> str:
    value = document_json(event)
    if "type" in value:
        return "named"
    if "candidates" in value or "usageMetadata" in value:
        return "crlf"
    if len(value) == 1 and isinstance(next(iter(value.values())), dict):
        return "aws"
    return "data"


def event_pieces(events: tuple[bytes, ...], speed: Speed) -> Iterator[Piece]:
    kind = framing(events[0]) if events else "data"
    for number, event in enumerate(events):
        yield Piece(speed.due_s(number), framed(event, kind))
    if kind == "data":
        yield Piece(speed.due_s(len(events)), DONE)


def framed(event: bytes, kind: str) -> bytes:
    match kind:
        case "named":
            name = str(document_json(event).get("type", "message")).encode()
            return b"event: %b\ndata: %b\n\n" % (name, event)
        case "crlf":
            return b"data: %b\r\n\r\n" % event
        case "aws":
            (name_text, body), *_ = document_json(event).items()
            return aws_frame(name_text, orjson.dumps(body))
        case _:
            return b"data: %b\n\n" % event


def aws_frame(event: str, payload: bytes) -> bytes:
    """Total length, length of the headers, CRC of both; headers; payload; CRC of everything before.

    https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html describes the encoding.
    """
    headers = b"".join(
        struct.pack(f">B{len(n)}sBH{len(v)}s", len(n), n, STRING_HEADER, len(v), v)
        for n, v in ((b":event-type", event.encode()), (b":content-type", b"application/json"), (b":message-type", b"event"))
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", crc32(prelude)) + headers + payload
    return message + struct.pack(">I", crc32(message))


def raw_pieces(stream: bytes, speed: Speed) -> Iterator[Piece]:
    for number, event in enumerate(part for part in stream.split(b"\n\n") if part.strip()):
        yield Piece(speed.due_s(number), event + b"\n\n")
