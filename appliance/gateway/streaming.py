"""A streamed answer on its way from the upstream to the caller, read along as it passes.

Nothing goes out before the first good event (the commit point), so that a fault up to there can be retried elsewhere. After it, events go
out as they come, one `send` per read; the await of that send is the back-pressure.
"""

from functools import partial

import trio

from appliance.core.fault import Fault, FaultKind
from appliance.dialects.openai_chat import OpenAIStreamTap
from appliance.dialects.protocol import StreamTap
from appliance.gateway.answer_head import Head, response_headers
from appliance.gateway.decoding import Decoder, read_decoded
from appliance.gateway.faults import CLIENT_GONE, protocol_fault, wire_fault
from appliance.gateway.running import Running
from appliance.http1.transport import Exchange, Failure

END_WAIT_S = 0.25
"""How long the end of an upstream's message may take after [DONE] before its connection is given up. It mostly comes in the same packet."""


async def stream(running: Running, answer: Exchange, undo: Decoder | None, head: Head) -> Fault | None:
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
