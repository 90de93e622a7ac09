"""Which trace a request belongs to, whether it is recorded, and what its attempts tell their backends about it.

The rule: a caller's own decision holds for the caller's trace, since half of a trace is worth little; what begins here is drawn by the
trace's id. Who was let in by no key decides nothing.
"""

from collections.abc import Callable
from typing import Final

import attrs

from appliance.core.fault import Blame, Fault
from appliance.core.record import RequestRecord
from appliance.core.trace_context import Trace, header_lines
from appliance.gateway.running import Running

RANDOM_BITS: Final = 56
"""Of a trace id, those that samplers compare with their share (OpenTelemetry, "TraceState: Probability Sampling")."""


@attrs.frozen
class Tracer:
    """Begins traces.

    Attributes:
        sample: share of the traces begun here that are recorded. faults: whether failures are recorded all the same.
        bits: the source of chance: a number of so many random bits.
    """

    sample: float
    faults: bool
    bits: Callable[[int], int]
    _least: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_least", round((1 - self.sample) * (1 << RANDOM_BITS)))

    def begin(self, given: Trace | None) -> Trace:
        """The place in a trace of a request that begins now. given: its caller's."""
        span_id = f"{self.bits(64) or 1:016x}"
        if given is not None:
            return Trace(given.trace_id, span_id, given.span_id, given.sampled, given.state, True, given.sampled)
        number = self.bits(128) or 1
        chosen = number & ((1 << RANDOM_BITS) - 1) >= self._least
        return Trace(f"{number:032x}", span_id, "", chosen, "", True, chosen)

    def keeps(self, record: RequestRecord, trace: Trace) -> bool:
        """Whether a finished request's spans are sent; `trace.kept` says so from then on."""
        if record.tenant == "none" and trace.parent_id:
            trace.kept = False  # anybody can send a header
        elif self.faults and not trace.kept:
            trace.kept = _failed(record.fault) or any(_failed(one.fault) for one in record.attempts)
        return trace.kept


def forwarded(running: Running) -> bytes:
    """The header lines that an attempt sends for its caller; in a trace of ours the attempt itself is the parent of what comes."""
    call = running.call
    trace = call.record.trace
    if trace is None or not trace.ours:
        return call.forwarded
    place = next(place for place, one in enumerate(call.record.attempts) if one is running.record)
    return call.forwarded + header_lines(trace, place)


def _failed(fault: Fault | None) -> bool:
    return fault is not None and fault.row.blame is not Blame.CALLER
