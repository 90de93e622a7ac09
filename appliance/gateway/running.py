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
from appliance.gateway.faults import timeout_fault
from appliance.gateway.plan import TargetPlan


@attrs.define(eq=False)
class Running:
    """One attempt under way."""

    call: Call
    target: TargetPlan
    record: AttemptRecord
    permit: Permit
    scope: trio.CancelScope
    first_byte: bool = False

    def begin_time(self, now: float) -> None:
        """Start the clock of the phase before the first byte."""
        timeouts = self.target.upstream.settings.timeouts
        bound_s = min(timeouts.first_byte_s, timeouts.total_s) if self.call.parsed.stream else timeouts.total_s
        self.scope.deadline = now + bound_s

    def arrived(self, now: float) -> None:
        """A byte of the answer's body is here; from the first one on the whole attempt's time counts."""
        self.call.read_at = now
        if not self.first_byte:
            self.first_byte = True
            if self.call.parsed.stream:
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
        timeouts = self.target.upstream.settings.timeouts
        if self.call.parsed.stream and not self.first_byte and timeouts.first_byte_s < timeouts.total_s:
            return timeout_fault(FaultKind.FIRST_BYTE_TIMEOUT, self.record.backend, timeouts.first_byte_s)
        return timeout_fault(FaultKind.TOTAL_TIMEOUT, self.record.backend, timeouts.total_s)
