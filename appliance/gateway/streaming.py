"""A streamed answer on its way from the upstream to the caller, read along as it passes.

Nothing goes out before the first good event (the commit point), so that a fault up to there can be retried elsewhere. After it, events go
out as they come, one `send` per read. While the caller reads as fast as the model speaks nobody waits for that send; once they do not, the
await of it is the back-pressure.
"""

from typing import cast

import attrs
import trio

from appliance.core.fault import Fault, FaultKind
from appliance.core.record import AttemptRecord
from appliance.dialects.language import TapWish
from appliance.dialects.protocol import InBand, StreamTap
from appliance.gateway.answer_head import Head, response_headers
from appliance.gateway.call import Call
from appliance.gateway.decoding import Decoder, read_decoded
from appliance.gateway.faults import CLIENT_GONE, protocol_fault, wire_fault
from appliance.gateway.running import Running
from appliance.http1.transport import Exchange, Failure

END_WAIT_S = 0.25
"""How long the end of an upstream's message may take after [DONE] before its connection is given up. It mostly comes in the same packet."""


async def stream(running: Running, answer: Exchange, undo: Decoder | None, head: Head) -> Fault | None:
    record, parsed = running.record, running.call.parsed
    limits = running.target.upstream.settings.limits
    tap: StreamTap
    if running.translates:
        from appliance.gateway.translation import stream_type, translating_tap  # imported already, with the request

        tap = translating_tap(running, limits.event_max_bytes)
        head.content_type = stream_type(running.call)
    else:
        verbatim = running.language.verbatim
        assert verbatim is not None  # it is the caller's own language
        tap = verbatim.tap(TapWish(not parsed.wants_usage, limits.event_max_bytes, record.backend, running.target.upstream.secrets))
        if verbatim.framed:
            head.content_type = verbatim.framed
            running.speak(cast(InBand, tap))
    try:
        data = await _until_committed(running, answer, undo, head, tap)
        if isinstance(data, Fault):
            return data
        return await _Passage(running, running.call, record, answer, undo, tap, data).run()
    finally:
        _note(running, tap)


async def _until_committed(running: Running, answer: Exchange, undo: Decoder | None, head: Head, tap: StreamTap) -> bytes | Fault:
    """Read up to the first good event and start the answer. What is to be forwarded first, or why it never came to that."""
    call, outlet = running.call, running.call.outlet
    while True:
        data = await (answer.read() if undo is None else read_decoded(answer, undo))
        if isinstance(data, Failure):
            return tap.fault or wire_fault(data, running.record.backend, streaming=True)
        running.read_at = trio.current_time()
        if not running.first_byte:
            running.stream_arrived()
        out = tap.feed(data) if data else _ended(tap, undo)
        if tap.committed:
            if running.pace is not None:
                running.note_pace(running.read_at)
            if call.race is not None:
                await call.race.claim(running)
            if call.responses is not None and not running.translates:
                call.note_response(tap.answer().id)  # before it leaves: the next request may come as soon as the last event has
            if not outlet.started:
                await outlet.start(head.status, response_headers(running, head))
            outlet.modelled = True
            return out
        if tap.fault is not None:
            return tap.fault
        if not data:
            return protocol_fault(running.record.backend, "ended its stream without a single event")


@attrs.define(eq=False)
class _Passage:
    """The rest of a committed stream.

    Attributes:
        out: what is to be sent next; taken: it comes from `take`, which has fed the tap already.
        ended: the caller's answer is over with `out`. noted: deltas whose time is written down.
    """

    running: Running
    call: Call
    record: AttemptRecord
    answer: Exchange
    undo: Decoder | None
    tap: StreamTap
    out: bytes
    taken: bool = False
    ended: bool = False
    noted: int = 0
    _left_at: int = -1

    async def run(self) -> Fault | None:
        """Event by event, to the end. What flows steadily goes through `take`; this loop sees the rest."""
        running, call, tap, outlet = self.running, self.call, self.tap, self.call.outlet
        data: bytes | Failure = self.out
        while True:
            self._note_token(running.read_at)
            if outlet.owing:
                await outlet.settle()
            if self.out or self.ended:
                # [DONE] ends the caller's answer, whenever the upstream ends its own; but a CR may still have its LF to come.
                self.ended = self.ended or (tap.finished and self.out[-1:] != b"\r")
                await outlet.write(self.out, more=not self.ended or tap.fault is not None, now=running.read_at)
            if outlet.gone and not call.outlives:
                return None if self.ended or (tap.complete and tap.fault is None) else CLIENT_GONE
            if self.ended or tap.fault is not None:
                if data and tap.fault is None:
                    await _read_off(self.answer)
                return tap.fault
            if call.drained and self._drained_enough():
                return CLIENT_GONE
            data = await self._next()
            if isinstance(data, Failure):
                if not tap.complete or tap.fault is not None:
                    return tap.fault or wire_fault(data, self.record.backend, streaming=True)
                data = b""  # the answer was whole; how its connection ends is nobody's loss
            if self.taken:
                self.taken = False
                continue
            running.read_at = trio.current_time()
            self.ended = not data
            self.out = tap.feed(data) if data else _ended(tap, self.undo)

    async def _next(self) -> bytes | Failure:
        if self.undo is not None:
            return await read_decoded(self.answer, self.undo)
        if self.call.outlet.pushes:
            return await self.answer.pass_on(self.take)
        return await self.answer.read()

    def _drained_enough(self) -> bool:
        """Whether as much was read on as may be, since the caller left."""
        if self._left_at < 0:
            self._left_at = self.tap.deltas
        return self.tap.deltas - self._left_at >= self.call.drain_max_tokens

    def take(self, data: bytes) -> bool:
        """One piece of a stream that flows steadily: read along and sent on the spot. False when the loop has to go on with it. This runs
        once a chunk: everything in it is paid thousands of times a second.
        """
        tap = self.tap
        at = self.running.read_at = trio.current_time()
        out = tap.feed(data)
        if (deltas := tap.deltas) > self.noted:  # as in _note_token
            self.noted = deltas
            self.record.last_token_at = at
            if not self.record.first_token_at:
                self.record.first_token_at = at
        if out and not tap.finished and tap.fault is None:
            if self.call.outlet.push(out, at):
                return True
            out = b""  # the outlet has it
        self.out = out
        self.taken = True
        return False

    def _note_token(self, at: float) -> None:
        deltas = self.tap.deltas
        if deltas > self.noted:
            self.noted = deltas
            record = self.record
            record.last_token_at = at
            if not record.first_token_at:
                record.first_token_at = at


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
    running.deltas, running.size = tap.deltas, tap.size
    if record.first_token_at and not running.call.record.first_token_at:
        running.call.record.first_token_at = record.first_token_at
