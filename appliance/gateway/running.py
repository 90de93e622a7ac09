"""One attempt under way: what the steps of it share, and its deadlines.

A stream's first byte, its silences and its whole each have their bound; a whole answer has one. The deadline is a number that the proxy's
watch compares with the clock, so moving it costs nothing.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import trio

from appliance.core.breaker import Permit
from appliance.core.fault import Blame, Fault, FaultKind
from appliance.core.pace import Pace
from appliance.core.record import AttemptRecord
from appliance.core.usage import Usage
from appliance.dialects.protocol import InBand
from appliance.gateway.call import Call
from appliance.gateway.faults import STALLED, timeout_fault
from appliance.gateway.plan import TargetPlan
from appliance.gateway.way import Way
from appliance.http1.transport import Hold

if TYPE_CHECKING:
    from appliance.gateway.upload_attempt import UploadSource

STALL_MIN_S = 0.5
"""What has been on its way to the caller for less is just leaving. Some engines take several turns of the event loop for a piece, so that a
busy stream is nearly always sending, and its caller would be blamed for a backend that takes too long."""


@attrs.define(eq=False)
class Batches:
    """A request that goes in several calls, one after another. rest: bodies still to be sent; answers: to those before, as they were
    read. size: inputs in each call but the last."""

    size: int
    rest: list[bytes] = attrs.field(repr=False)
    answers: list[Any] = attrs.field(factory=list, repr=False)


class Running:
    """One attempt under way. What most attempts never come to say stands in the class.

    Attributes:
        way: how its backend is asked. language: the one it is spoken to in.
        operation: what it is asked for, empty where it has no such thing.
        translates: the request and the answer go by way of canonical values.
        slot: it has one of its backend's, to be given back.
        batches: of a request that one call of the backend's does not hold.
        hold: ends it at its upstream; scope: ends it while it waits for a slot, or where the transport knows no holds. cut_fault: why.
        deadline: when the running phase is over time.
        read_at: when upstream last gave a byte; idle_s: how long it may be silent now, 0 for no bound.
        deltas: content events; size: bytes that the model wrote, the basis of an estimate when no usage came.
        pieces: of a whole answer, as they come; passed_bytes: of one that is not held, as they pass.
        pace: where it is kept how quickly this model answers, None where no strategy asks for it; paced: its first byte is noted there.
        lead: it speaks for the request: not a second attempt that is made beside the first, until its answer begins first.
        dropped: what its backend's language could not say. writer: what speaks within a stream that is translated or framed anew.
        owed: what it is billed for since another answered first.
        uploading: a form that is still on its way; sent_at: when its last byte was given out, 0.0 of other bodies.
    """

    hold: Hold | None = None
    scope: trio.CancelScope | None = None
    idle_s: float = 0.0
    deltas: int = 0
    size: int = 0
    pieces: Sequence[bytes] = ()
    passed_bytes: int = 0
    lead: bool = True
    writer: InBand | None = None
    owed: Usage | None = None
    first_byte: bool = False
    uploading: "UploadSource | None" = None
    sent_at: float = 0.0
    slot: bool = False
    batches: Batches | None = None
    pace: Pace | None = None
    paced: bool = False

    def __init__(
        self, call: Call, target: TargetPlan, record: AttemptRecord, permit: Permit, way: Way, translates: bool, now: float
    ) -> None:  # fmt: skip
        self.call, self.target, self.record, self.permit, self.way = call, target, record, permit, way
        self.language = way.language or call.language
        self.operation = way.operation
        self.translates = translates
        self.read_at = now
        self.deadline = now + way.first_phase_s
        self.cut_fault: Fault | None = call.cut_fault
        self.dropped: list[str] = []

    def start_clock(self, now: float) -> None:
        """The first phase: to the first byte of a stream, to the end of a whole answer."""
        self.deadline = now + self.way.first_phase_s

    def stream_arrived(self) -> None:
        """The first byte of a stream's body is here: from now on its silences count, and the whole attempt's time."""
        self.first_byte = True
        timeouts = self.target.upstream.settings.timeouts
        self.deadline = self.record.started_at + timeouts.total_s
        self.idle_s = timeouts.idle_s

    def cut(self, fault: Fault) -> None:
        """End it: the caller, or the next attempt, hears `fault`."""
        self.cut_fault = fault
        self.deadline = math.inf
        if self.hold is not None:
            self.hold.end()
        if self.scope is not None:
            self.scope.cancel()

    def note_pace(self, now: float) -> None:
        """The first good event of a stream is here."""
        if self.pace is not None and not self.paced:
            self.paced = True
            self.pace.answered(self.record.started_at, now)

    def settle_pace(self, pace: Pace, fault: Fault | None) -> None:
        """The attempt is over: what it tells of how well this backend answers. A fault of the caller's tells nothing of it, but that a
        model is not there is the target's."""
        record = self.record
        good: bool | None = record.outcome == "success"
        if record.outcome == "cancelled" or (
            fault is not None and fault.row.blame is not Blame.UPSTREAM and fault.kind is not FaultKind.UPSTREAM_NOT_FOUND
        ):
            good = None
        usage = record.usage if good else None
        pace.end(record.started_at, record.ended_at, answered=self.paced, good=good, tokens=usage.output_tokens if usage else 0)

    def drop(self, names: list[str]) -> None:
        """Note what cannot be said to its backend."""
        self.dropped = names
        if self.lead:
            self.call.record.dropped_fields = names

    def speak(self, writer: InBand) -> None:
        """From here on what is said in the answer is said by `writer`, if this attempt's answer it is."""
        self.writer = writer
        if self.lead:
            self.call.writer = writer

    def take_lead(self) -> None:
        """The caller gets this attempt's answer, or its fault: the request's record says so, where it comes last."""
        self.lead = True
        call, record = self.call, self.call.record
        call.writer, record.dropped_fields, record.model = self.writer, self.dropped, self.record.served_model
        record.attempts.remove(self.record)
        record.attempts.append(self.record)

    def out_of_time(self) -> Fault:
        """The deadline has passed: of which phase, and through whose fault."""
        if self._unread_s() >= STALL_MIN_S:
            return STALLED
        if self.uploading is not None:
            return self.uploading.out_of_time()
        timeouts = self.target.upstream.settings.timeouts
        if self.call.parsed.stream and not self.first_byte and timeouts.first_byte_s < timeouts.total_s:
            return timeout_fault(FaultKind.FIRST_BYTE_TIMEOUT, self.record.backend, timeouts.first_byte_s)
        return timeout_fault(FaultKind.TOTAL_TIMEOUT, self.record.backend, timeouts.total_s)

    def _unread_s(self) -> float:
        """How long what is on its way to the caller has waited for them."""
        outlet = self.call.outlet
        if outlet.gone or not outlet.sending:
            return 0.0
        return trio.current_time() - max(self.read_at, outlet.heard_at)
