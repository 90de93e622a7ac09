"""The pump: moves an answer from the upstream to the caller, reading along.

Nothing goes out before the first good event of a stream (see streaming.py) or the whole of a small body: that is the commit point, and a
fault up to there can be retried elsewhere.
"""

import re

from appliance.core.fault import Fault
from appliance.dialects.answer_summary import summary_of
from appliance.dialects.protocol import FORWARDED, SHARED, Answer
from appliance.gateway.answer_head import JSON, Head, is_json, read_head, response_headers
from appliance.gateway.call import HeaderList
from appliance.gateway.counting import ESTIMATED
from appliance.gateway.decoding import Decoder, decoder, read_decoded
from appliance.gateway.faults import CLIENT_GONE, protocol_fault, wire_fault
from appliance.gateway.pricing import usd_text
from appliance.gateway.running import Running
from appliance.gateway.streaming import stream
from appliance.gateway.uncounted import note_size
from appliance.http1.transport import Exchange, Failure

HOLD_MAX_BYTES = 1_048_576
"""A whole answer up to this size is held until it is complete, so that a cut or broken one can be retried. Longer ones (embeddings) pass
through.
"""

STREAM_TYPES = frozenset({b"text/event-stream", b"application/vnd.amazon.eventstream"})

_ID_FIRST = re.compile(rb'\s*\{\s*"id"\s*:\s*"([!#-\[\]-~]+)"')
"""An answer that is too long to be held still begins with its id."""

TAIL_BYTES = 65_536
"""Of an answer that passes through, kept to find the usage at its end."""


async def forward(running: Running, answer: Exchange) -> Fault | None:
    """Pass a successful answer on. None when the caller has it all; a fault otherwise (in-band or not is the proxy's affair)."""
    head = read_head(answer)
    undo: Decoder | None = None
    if head.encoding and head.encoding != b"identity":
        undo = decoder(head.encoding)
        if undo is None:
            return protocol_fault(running.record.backend, "used a content encoding that was not asked for")
    if head.content_type != JSON:
        if head.content_type.partition(b";")[0].strip().lower() in STREAM_TYPES:
            if running.operation in SHARED:
                return protocol_fault(running.record.backend, "answered with a stream that was not asked for")
            return await stream(running, answer, undo, head)
        if running.operation in FORWARDED and not is_json(head.content_type):
            return await pass_through(running, answer, undo, head)
    body = answer.whole() if undo is None else None
    if body is None:
        gathered = await _gathered(running, answer, undo)
        if isinstance(gathered, Fault):
            return gathered
        body = gathered
    said: Answer | None = None
    if running.translates:
        translated = _translated(running, head, body)
        if translated is None or isinstance(translated, Fault):
            return translated
        body = translated
    elif len(body) > HOLD_MAX_BYTES:
        return await _large(running, answer, undo, head, body)
    else:
        judged = _judged(running, body)
        if isinstance(judged, Fault):
            return judged
        said = judged
    if running.call.outlet.started:
        # A stream was asked for and kept alive, but this backend answered whole: what can be told in-band is that it failed.
        return protocol_fault(running.record.backend, "answered whole where a stream was asked for")
    call = running.call
    if call.race is not None:
        await call.race.claim(running)
    headers = _whole_headers(running, head, body, said)
    outlet = call.outlet
    outlet.modelled = True
    at = running.record.head_at
    if not outlet.push_answer(head.status, headers, body, at):
        await outlet.answer(head.status, headers, body, at)
    return None


async def _gathered(running: Running, answer: Exchange, undo: Decoder | None) -> bytes | Fault:
    """The whole body; or more than HOLD_MAX_BYTES of it, and the rest is still to be read."""
    pieces: list[bytes] = []
    running.pieces = pieces
    size = 0
    most = running.target.upstream.settings.limits.response_max_bytes if running.translates else HOLD_MAX_BYTES
    while size <= most:
        piece = await (answer.read() if undo is None else read_decoded(answer, undo))
        if not piece or isinstance(piece, Failure):
            if piece or undo is not None:  # else it is a plain end
                fault = _end_fault(running, piece, undo)
                if fault is not None:
                    return fault
            break
        pieces.append(piece)
        size += len(piece)
    else:
        if running.translates:
            return protocol_fault(running.record.backend, f"answered with more than {most} bytes")
    body = b"".join(pieces)
    pieces.clear()  # else a long answer would be held twice while its caller reads it
    return body


def _judged(running: Running, body: bytes) -> Answer | Fault:
    """What a whole answer that passes as it is says of itself; or what is wrong with it."""
    verbatim = running.language.verbatim
    assert verbatim is not None  # it is the caller's own language
    hidden = verbatim.hidden(body, running.record.backend, running.target.upstream.secrets)
    return verbatim.answer(body, running.operation) if hidden is None else hidden


def _whole_headers(running: Running, head: Head, body: bytes, said: Answer | None) -> HeaderList:
    """The head for a whole answer, which is noted: the caller is about to get it."""
    call, record = running.call, running.record
    if said is not None:
        record.usage, record.response_model, record.finish_reason = said.usage, said.model, said.finish_reason
        if call.responses is not None:
            call.note_response(said.id)
    headers, length = response_headers(running, head), (b"content-length", b"%d" % len(body))
    if record.usage is None:
        headers.append(length)
        if not running.translates:  # else it was done while its values were there
            note_size(running, body)
    else:
        call.pricing.charge(running.target, record, call.record)
        headers += ((b"x-gateway-cost-usd", usd_text(call.record.cost_nusd)), length)
    return headers


def _translated(running: Running, head: Head, body: bytes) -> bytes | Fault | None:
    """The whole answer in the caller's language; what it says of itself is noted. None where it is part of one."""
    from appliance.gateway.translation import read_whole, written_whole  # imported already, with the request

    head.content_type = b"application/json"
    if running.operation in SHARED:
        return _translated_operation(running, head, body)
    answer = read_whole(running, body)
    if isinstance(answer, Fault):
        return answer
    _note_whole(running, summary_of(answer))
    if answer.usage is None:
        note_size(running, answer)
    return written_whole(running, answer)


def _translated_operation(running: Running, head: Head, body: bytes) -> bytes | Fault | None:
    from appliance.gateway.operation_translation import translated_answer  # imported already, with the request

    translated = translated_answer(running, body)
    if isinstance(translated, Fault):
        return translated
    _note_whole(running, translated.said)
    if translated.said.usage is not None and translated.said.usage.source == "estimated":
        head.passed.append(ESTIMATED)
    return translated.body


def _end_fault(running: Running, last: bytes | Failure, undo: Decoder | None) -> Fault | None:
    """What is wrong with the end of a whole answer, as it was read (and decoded)."""
    if isinstance(last, Failure):
        return wire_fault(last, running.record.backend, streaming=running.call.outlet.modelled)
    if undo is not None and undo.end() is None:
        return protocol_fault(running.record.backend, "sent a compressed answer that cannot be read")
    return None


async def pass_through(running: Running, answer: Exchange, undo: Decoder | None, head: Head) -> Fault | None:
    """An answer that nobody here can judge (audio, subtitles): its first bytes are the commit point, and each piece leaves as it comes."""
    first = await (answer.read() if undo is None else read_decoded(answer, undo))
    if isinstance(first, Failure) or not first:
        fault = _end_fault(running, first, undo)
        if fault is not None:
            return fault
        first = b""
    return await _large(running, answer, undo, head, first)


async def _large(running: Running, answer: Exchange, undo: Decoder | None, head: Head, begun: bytes) -> Fault | None:
    """A long whole answer: committed now, passed on as it comes."""
    call, record = running.call, running.record
    limit = running.target.upstream.settings.limits.response_max_bytes
    if call.outlet.started:
        return protocol_fault(record.backend, "answered whole where a stream was asked for")
    if call.race is not None:
        await call.race.claim(running)
    headers = response_headers(running, head)
    length = dict(answer.headers).get(b"content-length")
    if length and undo is None:
        headers.append((b"content-length", length))
    if (named := _ID_FIRST.match(begun)) is not None:
        call.note_response(named.group(1).decode())
    await call.outlet.start(head.status, headers)
    call.outlet.modelled = True
    tail, total = begun[-TAIL_BYTES:], len(begun)
    running.passed_bytes = total
    piece = begun
    while True:
        await call.outlet.write(piece)
        if call.outlet.gone and not call.outlives:
            return CLIENT_GONE
        following = await (answer.read() if undo is None else read_decoded(answer, undo))
        if not following or isinstance(following, Failure):
            fault = _end_fault(running, following, undo)
            if fault is not None:
                return fault
            break
        piece = following
        total += len(piece)
        running.passed_bytes = total
        if total > limit:
            return protocol_fault(record.backend, f"answered with more than {limit} bytes")
        tail = (tail + piece)[-TAIL_BYTES:]
    verbatim = running.language.verbatim
    said = verbatim.answer(tail, running.operation) if verbatim is not None else None
    if isinstance(said, Answer):
        _note_whole(running, said)
    await call.outlet.write(b"", more=False)
    return None


def _note_whole(running: Running, said: Answer) -> None:
    record = running.record
    record.usage, record.response_model, record.finish_reason = said.usage, said.model, said.finish_reason
