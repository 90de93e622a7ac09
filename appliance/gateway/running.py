"""One attempt under way: what the steps of it share, and its deadlines.

A stream's first byte, its silences and its whole each have their bound; a whole answer has one. The scope's deadline is moved once, when
the first byte arrives; silences are watched by the request's ticker.
"""

import attrs
import trio

from appliance.core.breaker import Permit
from appliance.core.fault import Fault, FaultKind
from appliance.core.record import AttemptRecord
from appliance.gateway.call import Call
from appliance.gateway.faults import STALLED, timeout_fault
from appliance.gateway.plan import TargetPlan


def first_bound_s(call: Call, target: TargetPlan) -> float:
    """How long the first phase may take: to the first byte of a stream, to the end of a whole answer."""
    timeouts = target.upstream.settings.timeouts
    return min(timeouts.first_byte_s, timeouts.total_s) if call.parsed.stream else timeouts.total_s


@attrs.define(eq=False)
class Running:
    """One attempt under way."""

    call: Call
    target: TargetPlan
    record: AttemptRecord
    permit: Permit
    scope: trio.CancelScope
    first_byte: bool = False

    def slot_taken(self, now: float) -> None:
        """The wait for a slot is over: the clock of the phase before the first byte starts anew."""
        self.scope.deadline = now + first_bound_s(self.call, self.target)

    def stream_arrived(self) -> None:
        """The first byte of a stream's body is here: from now on its silences count, and the whole attempt's time."""
        self.first_byte = True
        timeouts = self.target.upstream.settings.timeouts
        self.scope.deadline = self.record.started_at + timeouts.total_s
        self.call.idle_s = timeouts.idle_s

    def expired(self) -> Fault:
        """Why the scope ended: somebody cut the call, or a phase ran out of time."""
        cut = self.call.cut_fault
        if cut is not None:
            if cut.kind is FaultKind.IDLE_TIMEOUT:
                self.call.cut_fault = None  # this attempt's own silence; the next one starts afresh
            return cut
        if self.call.outlet.sending:
            return STALLED
        timeouts = self.target.upstream.settings.timeouts
        if self.call.parsed.stream and not self.first_byte and timeouts.first_byte_s < timeouts.total_s:
            return timeout_fault(FaultKind.FIRST_BYTE_TIMEOUT, self.record.backend, timeouts.first_byte_s)
        return timeout_fault(FaultKind.TOTAL_TIMEOUT, self.record.backend, timeouts.total_s)
