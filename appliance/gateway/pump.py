"""The pump: moves an answer from the upstream to the caller, reading along.

Nothing goes out before the first good event of a stream or the whole of a small body (the commit point), so that a fault up to there can be
retried elsewhere. After it, events go out as they come, one `send` per read; the await of that send is the back-pressure.
"""

import re
from functools import partial

import attrs
import trio

from appliance.core.fault import Fault, FaultKind
from appliance.dialects.openai_chat import OpenAIStreamTap, hidden_error, read_answer
from appliance.dialects.protocol import Answer, StreamTap
from appliance.gateway.decoding import Decoder, decoder, read_decoded
from appliance.gateway.faults import CLIENT_GONE, protocol_fault, wire_fault
from appliance.gateway.running import Running
from appliance.http1.transport import Exchange, Failure

HOLD_MAX_BYTES = 1_048_576
"""A whole answer up to this size is held until it is complete, so that a cut or broken one can be retried. Longer ones (embeddings) pass
through.
"""

END_WAIT_S = 0.25
"""How long the end of an upstream's message may take after [DONE] before its connection is given up. It mostly comes in the same packet."""

TAIL_BYTES = 65_536
"""Of an answer that passes through, kept to find the usage at its end."""

PASSED_HEADERS = frozenset({b"content-type", b"content-length", b"content-encoding", b"retry-after", b"request-id", b"content-language"})
PASSED_PREFIXES = (b"openai-", b"anthropic-", b"x-ratelimit-")
"""Upstream response headers that clients use, under their own names."""


_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


@attrs.define(eq=False)
class Head:
    """What the pump needs of an upstream's response head, read in one pass."""

    status: int
    content_type: bytes = b""
    encoding: bytes = b""
    length: bytes = b""
    passed: list[tuple[bytes, bytes]] = attrs.field(factory=list)


def read_head(answer: Exchange) -> Head:
    head = Head(answer.status)
    for pair in answer.headers:
        name = pair[0]
        if name in PASSED_HEADERS:
            if name == b"content-type":
                head.content_type = pair[1]
            elif name == b"content-length":
                head.length = pair[1]
            elif name == b"content-encoding":
                head.encoding = pair[1].strip().lower()
            else:
                head.passed.append(pair)
        elif name.startswith(PASSED_PREFIXES):
            head.passed.append(pair)
    return head


async def forward(running: Running, answer: Exchange) -> Fault | None:
    """Pass a successful answer on. None when the caller has it all; a fault otherwise (in-band or not is the proxy's affair)."""
    head = read_head(answer)
    undo: Decoder | None = None
    if head.encoding and head.encoding != b"identity":
        undo = decoder(head.encoding)
        if undo is None:
            return protocol_fault(running.record.backend, "used a content encoding that was not asked for")
    if head.content_type[:17].lower() == b"text/event-stream":
        return await _stream(running, answer, undo, head)
    return await _whole(running, answer, undo, head)


async def _stream(running: Running, answer: Exchange, undo: Decoder | None, head: Head) -> Fault | None:
    record, parsed = running.record, running.call.parsed
    limits = running.target.upstream.settings.limits
    tap: StreamTap = OpenAIStreamTap(
        hide_usage=not parsed.wants_usage, event_max_bytes=limits.event_max_bytes, backend=record.backend,
        secrets=running.target.upstream.secrets,
    )  # fmt: skip
    try:
        data = await _until_committed(running, answer, undo, head, tap)
        if isinstance(data, Fault):
            return data
        return await _until_ended(running, answer, undo, tap, data)
    finally:
        _note(running, tap)


async def _until_committed(running: Running, answer: Exchange, undo: Decoder | None, head: Head, tap: StreamTap) -> bytes | Fault:
    """Read up to the first good event and start the answer. What is to be forwarded first, or why it never came to that."""
    call, outlet = running.call, running.call.outlet
    while True:
        data = await (answer.read() if undo is None else read_decoded(answer, undo))
        if isinstance(data, Failure):
            return tap.fault or wire_fault(data, running.record.backend, streaming=True)
        call.read_at = trio.current_time()
        if not running.first_byte:
            running.stream_arrived()
        out = tap.feed(data) if data else _ended(tap, undo)
        if tap.committed:
            if not outlet.started:
                await outlet.start(head.status, response_headers(running, head))
            outlet.modelled = True
            return out
        if tap.fault is not None:
            return tap.fault
        if not data:
            return protocol_fault(running.record.backend, "ended its stream without a single event")


async def _until_ended(running: Running, answer: Exchange, undo: Decoder | None, tap: StreamTap, out: bytes) -> Fault | None:
    """The rest of a stream, event by event. This loop runs once a chunk: everything in it is paid thousands of times a second."""
    call, record = running.call, running.record
    outlet, now, read, feed, write = call.outlet, trio.current_time, answer.read, tap.feed, call.outlet.write
    if undo is not None:
        read = partial(read_decoded, answer, undo)
    at = call.read_at
    ended = False
    data: bytes | Failure = out
    while True:
        if tap.token_seen and not tap.finished:
            record.last_token_at = at
            if not record.first_token_at:
                record.first_token_at = at
        if out or ended:
            # [DONE] ends the caller's answer, whenever the upstream ends its own; but a CR may still have its LF to come.
            ended = ended or (tap.finished and out[-1:] != b"\r")
            await write(out, more=not ended or tap.fault is not None, now=at)
            if outlet.gone and not call.outlives:
                return None if ended else CLIENT_GONE
        if ended or tap.fault is not None:
            if data and tap.fault is None:
                await _read_off(answer)
            return tap.fault
        data = await read()
        if isinstance(data, Failure):
            if not tap.finished or tap.fault is not None:
                return tap.fault or wire_fault(data, record.backend, streaming=True)
            data = b""  # the answer was whole; how its connection ends is nobody's loss
        at = call.read_at = now()
        if data:
            out = feed(data)
        else:
            ended = True
            out = _ended(tap, undo)


async def _read_off(answer: Exchange) -> None:
    """After [DONE] only the end of the message should come: read it, so that the connection can be used again, but not for long."""
    with trio.move_on_after(END_WAIT_S):
        while True:
            data = await answer.read()
            if not data or isinstance(data, Failure):
                return


def _ended(tap: StreamTap, undo: Decoder | None) -> bytes:
    """The upstream's body is over; a compressed one must have reached its own end, too."""
    if undo is not None and undo.end() is None and tap.fault is None:
        if undo.broken:
            tap.fault = Fault(FaultKind.PROTOCOL, "the backend sent a compressed stream that cannot be read")
        else:
            tap.fault = Fault(FaultKind.STREAM_CUT, "the backend ended its stream before it was complete")
    return tap.end()


def _note(running: Running, tap: StreamTap) -> None:
    """Write down what the stream said about itself, however it ended."""
    record = running.record
    said = tap.answer()
    record.usage, record.response_model, record.finish_reason = said.usage, said.model, said.finish_reason
    running.call.deltas = tap.deltas
    if record.first_token_at and not running.call.record.first_token_at:
        running.call.record.first_token_at = record.first_token_at


async def _whole(running: Running, answer: Exchange, undo: Decoder | None, head: Head) -> Fault | None:
    call, record = running.call, running.record
    pieces: list[bytes] = []
    size = 0
    while True:
        piece = await _piece(running, answer, undo)
        if isinstance(piece, Fault):
            return piece
        if not piece:
            break
        pieces.append(piece)
        size += len(piece)
        if size > HOLD_MAX_BYTES:
            return await _large(running, answer, undo, head, b"".join(pieces))
    body = b"".join(pieces)
    hidden = hidden_error(body, record.backend, running.target.upstream.secrets)
    if hidden is not None:
        return hidden
    said = read_answer(body)
    if isinstance(said, Fault):
        return said
    _note_whole(running, said)
    headers = response_headers(running, head)
    headers.append((b"content-length", b"%d" % len(body)))
    if call.outlet.started:
        # A stream was asked for and kept alive, but this backend answered whole: what can be told in-band is that it failed.
        return protocol_fault(record.backend, "answered whole where a stream was asked for")
    await call.outlet.start(head.status, headers)
    call.outlet.modelled = True
    await call.outlet.write(body, more=False, now=record.head_at)
    return None


async def _piece(running: Running, answer: Exchange, undo: Decoder | None) -> bytes | Fault:
    """The next bytes of a whole answer, decoded; empty at its end."""
    backend = running.record.backend
    data = await (answer.read() if undo is None else read_decoded(answer, undo))
    if isinstance(data, Failure):
        return wire_fault(data, backend, streaming=running.call.outlet.modelled)
    if not data and undo is not None and undo.end() is None:
        return protocol_fault(backend, "sent a compressed answer that cannot be read")
    return data


async def _large(running: Running, answer: Exchange, undo: Decoder | None, head: Head, begun: bytes) -> Fault | None:
    """A long whole answer: committed now, passed on as it comes."""
    call, record = running.call, running.record
    limit = running.target.upstream.settings.limits.response_max_bytes
    if call.outlet.started:
        return protocol_fault(record.backend, "answered whole where a stream was asked for")
    headers = response_headers(running, head)
    if head.length and undo is None:
        headers.append((b"content-length", head.length))
    await call.outlet.start(head.status, headers)
    call.outlet.modelled = True
    tail, total = begun[-TAIL_BYTES:], len(begun)
    piece = begun
    while piece:
        await call.outlet.write(piece)
        if call.outlet.gone and not call.outlives:
            return CLIENT_GONE
        following = await _piece(running, answer, undo)
        if isinstance(following, Fault):
            return following
        piece = following
        total += len(piece)
        if total > limit:
            return protocol_fault(record.backend, f"answered with more than {limit} bytes")
        tail = (tail + piece)[-TAIL_BYTES:]
    said = read_answer(tail)
    if isinstance(said, Answer):
        _note_whole(running, said)
    await call.outlet.write(b"", more=False)
    return None


def _note_whole(running: Running, said: Answer) -> None:
    record = running.record
    record.usage, record.response_model, record.finish_reason = said.usage, said.model, said.finish_reason


def response_headers(running: Running, head: Head) -> list[tuple[bytes, bytes]]:
    """The head that the caller gets with a backend's answer: who served it, how often it was tried, what the gateway itself took."""
    record, request = running.record, running.call.record
    attempts = request.attempts
    overhead_s = record.started_at - request.started_at
    if len(attempts) > 1:
        overhead_s -= sum(one.ended_at - one.started_at for one in attempts[:-1])
    headers = [
        (b"x-request-id", request.request_id.encode()),
        running.target.upstream.served_by,
        (b"x-gateway-model", header_text(record.model)),
        (b"x-gateway-attempts", b"%d" % len(attempts)),
        (b"x-gateway-overhead-ms", b"%.3f" % (overhead_s * 1000)),
    ]
    if head.content_type:
        headers.append((b"content-type", head.content_type))
    headers += head.passed
    return headers


def header_text(text: str) -> bytes:
    """A text as the value of a header: whatever it holds, one line of printable ASCII (RFC 9110 §5.5)."""
    if not (text.isascii() and text.isprintable()):
        text = _UNPRINTABLE.sub("?", text)
    return text.strip().encode()


def decoded(body: bytes, headers: list[tuple[bytes, bytes]], max_bytes: int) -> bytes:
    """A short body with its content encoding undone, cut at `max_bytes`; empty when that cannot be done."""
    for name, value in headers:
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            undo = decoder(value)
            return b"" if undo is None else undo.feed(body, max_bytes) or b""
    return body
