"""What Cohere's errors mean: by status, then by words. Their body is `{"message": "...", "id": "..."}`
(docs.cohere.com/v2/reference/errors). The rule: statuses of Cohere's own come before what they mean elsewhere.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from appliance.core.fault import Fault, FaultKind
from appliance.dialects.error_body import Said, read_error, read_error_body
from appliance.dialects.error_kind import kind_by_words, kind_of
from appliance.dialects.upstream_error import fault_of

INVALID_TOKEN = 498
"""Cohere's own: the key was revoked or has expired."""

_MONTHLY = re.compile(r"/ ?month|per month|monthly", re.IGNORECASE)
_OUTPUT_BOUND = re.compile(r"max tokens must be", re.IGNORECASE)
_BLOCKED = re.compile(r"content (?:was )?(?:flagged|blocked)|toxic|safety", re.IGNORECASE)


def classify(
    status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, backend: str, now: float, secrets: Sequence[bytes] = ()
) -> Fault:
    """The fault behind an answer that is not the expected 200; arguments as upstream_error.classify has them."""
    said = read_error_body(body, secrets)
    return fault_of(_kind(status, said), said, status, headers, body, backend=backend, now=now, secrets=secrets)


def stream_fault(event: Mapping[str, Any], backend: str) -> Fault:
    """The fault that an event tells which is no event of an answer: an error object in its place, or the `error` of message-end."""
    said = read_error({"message": event.get("error") or event.get("message")}, event)
    kind = kind_by_words(said)
    usual = kind if kind in (FaultKind.CONTEXT_LENGTH, FaultKind.CONTENT_FILTERED, FaultKind.UPSTREAM_RATE_LIMITED) else None
    return attrs.evolve(fault_of(usual or FaultKind.STREAM_ERROR, said, 0, (), b"", backend=backend, now=0.0), upstream_status=None)


def _kind(status: int, said: Said) -> FaultKind:
    if status == INVALID_TOKEN:
        return FaultKind.AUTHENTICATION
    if status == 429 and _MONTHLY.search(said.message):  # a trial key's calls are used up
        return FaultKind.QUOTA
    kind = kind_of(status, said)
    if kind is FaultKind.CONTEXT_LENGTH and _OUTPUT_BOUND.search(said.message):
        return FaultKind.INVALID_REQUEST  # "too many tokens: max tokens must be less than or equal to 4096"
    if kind is FaultKind.INVALID_REQUEST and _BLOCKED.search(said.message):
        return FaultKind.CONTENT_FILTERED
    return kind
