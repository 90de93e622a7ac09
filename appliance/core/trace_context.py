"""Which trace a request belongs to: the two headers of W3C Trace Context, read strictly and written plainly.

The rule (https://www.w3.org/TR/trace-context/): a `traceparent` that is wrong in any way begins a new trace, and its `tracestate` is not
looked at; a wrong `tracestate` costs only itself. Of the flags only `sampled` means something here; the others are sent on as zero.
"""

import re
from collections.abc import Iterable
from typing import Final

import attrs

PARENT_MAX_BYTES: Final = 512
"""A later version of traceparent may be longer than the 55 bytes of ours, not prohibitively so."""

STATE_MEMBERS_MAX: Final = 32
STATE_MAX_CHARS: Final = 512
"""The least that everybody must pass on is the most that we do; what is longer loses its longest members first, then its last ones."""

LONG_MEMBER_CHARS: Final = 128
"""Members longer than this go first, as the recommendation has it."""

SAMPLED: Final = 1

_PARENT = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")
# A key may begin with a digit and hold several `@`, as Level 2 allows: a stricter reader would lose what others may send.
_MEMBER = re.compile(r"([a-z0-9][a-z0-9_*/@-]{0,255})=[ -+\--<>-~]{0,255}[!-+\--<>-~]")

_SPAN_MASK: Final = (1 << 64) - 1
_STEP: Final = 0x9E3779B97F4A7C15
"""Odd, so that its multiples reach every number of 64 bits once; 2^64 over the golden ratio, so that they lie far apart."""


@attrs.define
class Trace:
    """Where one request stands in its trace. Ids are lower-case hex, 32 and 16 digits.

    Attributes:
        span_id: the request's own span where `ours`, else the caller's, which then is the nearest that is known.
        parent_id: the caller's span; empty where the trace begins here.
        sampled: whether the trace is recorded, as the caller said or the gateway drew; sent on.
        state: the caller's tracestate, checked and bounded.
        ours: the gateway makes spans of its own.
        kept: whether somebody can look the trace up: it is sampled, or its request failed and is exported for that.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    sampled: bool = False
    state: str = ""
    ours: bool = False
    kept: bool = False


def read_trace(headers: Iterable[tuple[bytes, bytes]]) -> Trace | None:
    """The caller's place in a trace; None when no valid one was given. Two traceparents are none, for they name two parents."""
    parents, states = [], []
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value)
        elif name == b"tracestate":
            states.append(value)
    if len(parents) != 1 or len(parents[0]) > PARENT_MAX_BYTES:
        return None
    found = _PARENT.fullmatch(parents[0].strip(b" \t"))
    if found is None or (found[1] == b"00" and found[5] is not None):
        return None
    sampled = int(found[4], 16) & SAMPLED == SAMPLED
    state = read_state(b",".join(states)) if states else ""
    return Trace(found[2].decode(), found[3].decode(), sampled=sampled, state=state, kept=sampled)


def read_state(value: bytes) -> str:
    """A tracestate within bounds, without empty members and spaces; empty where it is invalid."""
    members = [member.strip(" \t") for member in value.decode("latin-1").split(",")]
    members = [member for member in members if member]
    if len(members) > STATE_MEMBERS_MAX:
        return ""
    matches = [_MEMBER.fullmatch(member) for member in members]
    keys = {found[1] for found in matches if found is not None}
    if len(keys) != len(members):  # one that matches nothing, or one key twice
        return ""
    if _length(members) > STATE_MAX_CHARS:
        members = [member for member in members if len(member) <= LONG_MEMBER_CHARS]
    while _length(members) > STATE_MAX_CHARS:
        members.pop()
    return ",".join(members)


def attempt_span_id(trace: Trace, place: int) -> str:
    """The span of a request's attempt, the first one's place being 0: different from the request's own and from each other's.

    It follows from the request's span, so that nothing need be drawn or kept for an attempt.
    """
    return f"{(int(trace.span_id, 16) + (place + 1) * _STEP) & _SPAN_MASK or 1:016x}"


def header_lines(trace: Trace, place: int) -> bytes:
    """What an attempt tells its backend: header lines, the state last."""
    flags = "01" if trace.sampled else "00"
    parent = f"traceparent: 00-{trace.trace_id}-{attempt_span_id(trace, place)}-{flags}\r\n"
    return (f"{parent}tracestate: {trace.state}\r\n" if trace.state else parent).encode("ascii")


def _length(members: list[str]) -> int:
    """As they stand joined by commas."""
    return sum(map(len, members)) + max(0, len(members) - 1)
