"""How the events of a stream are framed on the wire, in both directions, so that a fault can change an event of any language. Pure.

| framing | an event | used by |
|---|---|---|
| DATA | `data: JSON` | OpenAI chat |
| NAMED | `event: TYPE` and `data: JSON`, TYPE as in the JSON | Anthropic, OpenAI Responses, Cohere |
| CRLF | `data: JSON` with CR LF | Gemini with alt=sse |
| ARRAY | elements of one JSON array | Gemini without it |
| AWS | a binary frame: `{"NAME": {…}}` is event NAME | Bedrock |
"""

import re
import struct
from collections.abc import Callable, Mapping
from typing import Any
from zlib import crc32

import attrs
import orjson

JSON_TYPE = b"application/json"
STREAM_TYPE = b"text/event-stream; charset=utf-8"
AWS_TYPE = b"application/vnd.amazon.eventstream"
STRING_HEADER = 7  # type number of a string in an AWS event stream header
AWS_PRELUDE_BYTES = 12
TYPE = re.compile(rb'"type": ?"([\w.]{1,100})"')

Event = Mapping[str, Any]


@attrs.frozen
class Framing:
    """One way to frame.

    Attributes:
        write: an event's bytes, from its JSON text; `first` where no event came before it (an array opens with it).
        read: the JSON text in such bytes, b"" where there is none.
        content_type: of such a stream.
        comment: bytes that mean nothing between events; b"" where nothing does.
        text: made of lines, whose ends a fault may change.
    """

    write: Callable[[bytes, bool], bytes]
    read: Callable[[bytes], bytes]
    content_type: bytes = STREAM_TYPE
    comment: bytes = b": PROCESSING\n\n"  # what OpenRouter sends while it waits, less its name
    text: bool = True

    def event(self, value: Event, *, first: bool = False) -> bytes:
        return self.write(orjson.dumps(value), first)

    def json(self, data: bytes) -> dict[str, Any]:
        """The object that an event is, {} where it is none."""
        return document_json(self.read(data))


def document_json(data: bytes) -> dict[str, Any]:
    """The object that a whole body is, {} when it is none."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def data_line(data: bytes) -> bytes:
    """What an event's data line holds."""
    return next((line[5:].strip() for line in data.splitlines() if line.startswith(b"data:")), b"")


def named(text: bytes, first: bool) -> bytes:
    """The name is the JSON's `type`; of broken JSON the first one in it."""
    del first
    looked = TYPE.search(text)
    name = str(document_json(text).get("type") or "").encode() or (looked[1] if looked is not None else b"message")
    return b"event: %b\ndata: %b\n\n" % (name, text)


def array_element(data: bytes) -> bytes:
    return data.strip().removeprefix(b"[").removeprefix(b",").removesuffix(b"]").strip()


def aws_event(text: bytes, first: bool) -> bytes:
    del first
    value = document_json(text)
    name = next(iter(value), "message")
    return aws_frame(name, orjson.dumps(value[name]) if value else text)


def aws_frame(event: str, payload: bytes, message_type: bytes = b"event", name_header: bytes = b":event-type") -> bytes:
    """Total length, length of the headers, CRC of both; headers; payload; CRC of everything before.

    https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html describes the encoding. An error is message type
    b"exception" under the name header b":exception-type".
    """
    headers = b"".join(
        struct.pack(f">B{len(n)}sBH{len(v)}s", len(n), n, STRING_HEADER, len(v), v)
        for n, v in ((name_header, event.encode()), (b":content-type", b"application/json"), (b":message-type", message_type))
    )
    prelude = struct.pack(">II", AWS_PRELUDE_BYTES + len(headers) + len(payload) + 4, len(headers))
    message = prelude + struct.pack(">I", crc32(prelude)) + headers + payload
    return message + struct.pack(">I", crc32(message))


def aws_json(data: bytes) -> bytes:
    """`{"NAME": payload}` of one of our own frames, whose first header is the name."""
    if len(data) < AWS_PRELUDE_BYTES + 4:
        return b""
    headers = struct.unpack(">I", data[4:8])[0]
    name_at = AWS_PRELUDE_BYTES + 1 + data[AWS_PRELUDE_BYTES] + 1
    size = struct.unpack(">H", data[name_at : name_at + 2])[0]
    name = data[name_at + 2 : name_at + 2 + size]
    return b'{"%b":%b}' % (name, data[AWS_PRELUDE_BYTES + headers : -4])


DATA = Framing(lambda text, _: b"data: %b\n\n" % text, data_line)
NAMED = Framing(named, data_line)
CRLF = Framing(lambda text, _: b"data: %b\r\n\r\n" % text, data_line)
ARRAY = Framing(
    lambda text, first: (b"[%b" if first else b",\r\n%b") % text, array_element, content_type=JSON_TYPE, comment=b"\n", text=False
)
AWS = Framing(aws_event, aws_json, content_type=AWS_TYPE, comment=b"", text=False)
