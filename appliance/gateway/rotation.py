"""Which of a backend's keys an attempt is made with, and what its answer means for that key. For backends that have several alone.

The rule: whether a request may be tried once more is the retry policy's to say (core.step); this says only that another key is there.
"""

import trio

from appliance.core.fault import Blame, Fault
from appliance.core.key_ring import KeyRing
from appliance.core.record import AttemptRecord, RequestRecord
from appliance.core.step import Tried
from appliance.gateway.plan import TargetPlan


def next_key(ring: KeyRing, request: RequestRecord, attempt: AttemptRecord) -> int:
    """The number of the key for an attempt that begins."""
    return ring.take(attempt.started_at, _tried(request, attempt.backend))


def settle_key(ring: KeyRing, attempt: AttemptRecord, fault: Fault | None) -> None:
    """The attempt is over. One that was broken off, or never reached the backend, tells nothing of its key."""
    if fault is None and (attempt.outcome != "success" or not attempt.status):
        return
    if fault is None or fault.row.blame is Blame.UPSTREAM:
        ring.settle(attempt.key, fault, attempt.started_at, attempt.ended_at)


def tried_of(request: RequestRecord, target: TargetPlan, candidate: int, fault: Fault) -> Tried:
    """An attempt that failed, and whether the same backend is worth another try at once, with another of its keys."""
    upstream = target.upstream
    another = upstream.ring is not None and upstream.ring.another(fault, trio.current_time(), _tried(request, upstream.name))
    return Tried(candidate, fault, another)


def _tried(request: RequestRecord, backend: str) -> set[int]:
    return {one.key for one in request.attempts if one.backend == backend}
