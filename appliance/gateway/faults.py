"""Failures of the wire as faults of the table, with words a caller may read: the backend's name, never its address or key."""

from collections.abc import Sequence

import attrs

from appliance.core.fault import Fault, FaultKind
from appliance.dialects.redaction import REDACTED, holds_key, masked
from appliance.http1.transport import Failure

_KINDS: dict[str, tuple[FaultKind, str]] = {
    "connect": (FaultKind.CONNECT, "could not be reached"),
    "tls": (FaultKind.CONNECT, "could not be reached securely: its TLS handshake failed"),
    "connect_timeout": (FaultKind.CONNECT_TIMEOUT, "took too long to accept a connection"),
    "queue_full": (FaultKind.BACKEND_BUSY, "has no free connection and too many requests wait already"),
    "queue_timeout": (FaultKind.BACKEND_BUSY, "had no free connection in time"),
    "closed": (FaultKind.CONNECTION_LOST, "closed the connection before its answer was complete"),
    "protocol": (FaultKind.PROTOCOL, "answered with something that is not valid HTTP"),
    "too_large": (FaultKind.PROTOCOL, "answered with more than the configured limit"),
    "write": (FaultKind.CONNECTION_LOST, "closed the connection while the request was being sent"),
}


def wire_fault(failure: Failure, backend: str, *, streaming: bool = False) -> Fault:
    """The fault for a failed exchange. `streaming`: the head had come and a stream was under way."""
    kind, words = _KINDS[failure.kind]
    if streaming and kind is FaultKind.CONNECTION_LOST:
        kind, words = FaultKind.STREAM_CUT, "ended its stream before it was complete"
    return Fault(kind, f"the backend {backend} {words}", detail=failure.detail)


def without_secrets(fault: Fault, secrets: Sequence[bytes]) -> Fault:
    """A fault found in an answer, with nothing in it of what was sent to prove who asks; whichever language told it, and wherever."""
    message, detail = masked(fault.message, secrets), masked(fault.detail, secrets)
    param = None if fault.param is None else masked(fault.param, secrets)
    code = None if fault.code is None else masked(fault.code, secrets)
    spoilt = fault.body is not None and (REDACTED in message or holds_key(fault.body, secrets))
    return attrs.evolve(fault, message=message, detail=detail, param=param, code=code, body=None if spoilt else fault.body)


def timeout_fault(kind: FaultKind, backend: str, seconds: float) -> Fault:
    words = {
        FaultKind.FIRST_BYTE_TIMEOUT: "sent no first byte",
        FaultKind.IDLE_TIMEOUT: "fell silent in the middle of its stream",
        FaultKind.TOTAL_TIMEOUT: "did not finish its answer",
    }[kind]
    return Fault(kind, f"the backend {backend} {words} within {seconds:g} s")


def protocol_fault(backend: str, words: str) -> Fault:
    return Fault(FaultKind.PROTOCOL, f"the backend {backend} {words}")


DRAINING = Fault(FaultKind.DRAINING, "the gateway is shutting down; please try again", retry_after_s=1)
STALLED = Fault(FaultKind.CLIENT_GONE, "the client did not read its answer in time")
CLIENT_GONE = Fault(FaultKind.CLIENT_GONE, "the client left before the answer was complete")
