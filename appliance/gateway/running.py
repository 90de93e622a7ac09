"""One attempt under way: what the steps of it share, and its deadlines.

A stream's first byte, its silences and its whole each have their bound; a whole answer has one. The deadline is a number on the call that
the proxy's watch compares with the clock, so moving it costs nothing.
"""

from typing import TYPE_CHECKING, Any

import attrs

from appliance.core.breaker import Permit
from appliance.core.fault import Fault, FaultKind
from appliance.core.record import AttemptRecord
from appliance.dialects.language import Language
from appliance.gateway.call import Call
from appliance.gateway.faults import STALLED, timeout_fault
from appliance.gateway.plan import TargetPlan

if TYPE_CHECKING:
    from appliance.gateway.upload_attempt import UploadSource


@attrs.define(eq=False)
class Batches:
    """A request that goes in several calls, one after another. rest: bodies still to be sent; answers: to those before, as they were
    read. size: inputs in each call but the last."""

    size: int
    rest: list[bytes] = attrs.field(repr=False)
    answers: list[Any] = attrs.field(factory=list, repr=False)


@attrs.define(eq=False)
class Running:
    """One attempt under way.

    Attributes:
        language: the one its backend is spoken to in. operation: what it is asked for, empty where it has no such thing.
        translates: the request and the answer go by way of canonical values.
        slot: it has one of its backend's, to be given back.
        batches: of a request that one call of the backend's does not hold.
        uploading: a form that is still on its way; sent_at: when its last byte was given out, 0.0 of other bodies.
    """

    call: Call
    target: TargetPlan
    record: AttemptRecord
    permit: Permit
    language: Language
    operation: str
    translates: bool
    first_byte: bool = False
    uploading: "UploadSource | None" = None
    sent_at: float = 0.0
    slot: bool = False
    batches: Batches | None = None

    def start_clock(self, now: float) -> None:
        """The first phase: to the first byte of a stream, to the end of a whole answer."""
        call = self.call
        timeouts = self.target.upstream.settings.timeouts
        bound_s = timeouts.total_s
        if call.parsed.stream and timeouts.first_byte_s < bound_s:
            bound_s = timeouts.first_byte_s
        call.deadline = now + bound_s

    def stream_arrived(self) -> None:
        """The first byte of a stream's body is here: from now on its silences count, and the whole attempt's time."""
        self.first_byte = True
        timeouts = self.target.upstream.settings.timeouts
        self.call.deadline = self.record.started_at + timeouts.total_s
        self.call.idle_s = timeouts.idle_s

    def out_of_time(self) -> Fault:
        """The deadline has passed: of which phase, and through whose fault."""
        if self.call.outlet.sending and not self.call.outlet.gone:
            return STALLED
        if self.uploading is not None:
            return self.uploading.out_of_time()
        timeouts = self.target.upstream.settings.timeouts
        if self.call.parsed.stream and not self.first_byte and timeouts.first_byte_s < timeouts.total_s:
            return timeout_fault(FaultKind.FIRST_BYTE_TIMEOUT, self.record.backend, timeouts.first_byte_s)
        return timeout_fault(FaultKind.TOTAL_TIMEOUT, self.record.backend, timeouts.total_s)
