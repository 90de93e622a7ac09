"""Errors in Anthropic's words: the envelope for callers, and what a backend's refusals mean.

The SDKs pick their exception by HTTP status, and by `error.type` inside a stream (platform.claude.com/docs/en/api/errors).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import orjson

from appliance.core.fault import Blame, Fault, FaultKind
from appliance.core.step import FOREIGN_SEAL
from appliance.dialects import upstream_error
from appliance.dialects.anthropic_json import dump
from appliance.dialects.anthropic_seals import signature_refused

_TYPES_BY_KIND = {
    FaultKind.OVERLOADED: "overloaded_error",
    FaultKind.BACKEND_BUSY: "overloaded_error",
    FaultKind.DRAINING: "overloaded_error",
    FaultKind.NO_BACKEND: "overloaded_error",
    FaultKind.UPSTREAM_NOT_FOUND: "not_found_error",
}

_TYPES_BY_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}

_CONTEXT_WORDS = re.compile(r"exceed(?:s|ed)? (?:the )?context|context limit", re.IGNORECASE)
"""As in "input length and `max_tokens` exceed context limit: 199000 + 4096 > 200000"."""

_TOO_LONG = "prompt is too long"

_BILLING = "insufficient_quota"
"""A code that stands for Anthropic's `billing_error` where faults are told apart by their words alone."""


def error(fault: Fault, request_id: str) -> bytes:
    """`{"type":"error","error":{type,message},"request_id"}`."""
    envelope = {"type": "error", "error": {"type": error_type(fault), "message": _message(fault)}, "request_id": request_id or None}
    return dump(envelope)


def _message(fault: Fault) -> str:
    """Agents tell a conversation that has to be compacted by Anthropic's own words, since its error type says no more than "invalid"."""
    if fault.kind is not FaultKind.CONTEXT_LENGTH or _TOO_LONG in fault.message.lower() or _CONTEXT_WORDS.search(fault.message):
        return fault.message
    return f"{_TOO_LONG}: {fault.message}"


def error_type(fault: Fault) -> str:
    kind = "invalid_request_error" if fault.row.blame is Blame.CALLER else "api_error"
    return _TYPES_BY_KIND.get(fault.kind) or _TYPES_BY_STATUS.get(fault.surface_status, kind)


def classify(
    status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, backend: str, now: float, secrets: Sequence[bytes] = ()
) -> Fault:
    """As upstream_error.classify, with the words that only Anthropic uses."""
    return _refined(upstream_error.classify(status, headers, body, backend=backend, now=now, secrets=secrets))


def error_in_answer(answer: Mapping[str, Any], backend: str, *, named_error: bool = False, secrets: Sequence[bytes] = ()) -> Fault | None:
    """The fault inside a JSON object that came with status 200, whole or as an event; None when it is a good one."""
    told = answer.get("error")
    if isinstance(told, Mapping) and told.get("type") == "billing_error":
        answer = {**answer, "error": {**told, "code": _BILLING}}
    fault = upstream_error.error_in_answer(answer, backend, named_error=named_error, secrets=secrets)
    if fault is None:
        return None
    if fault.body is not None:
        fault = attrs.evolve(fault, body=_enveloped(fault.body))
    return _refined(fault)


def _refined(fault: Fault) -> Fault:
    if signature_refused(fault):
        return attrs.evolve(fault, code=FOREIGN_SEAL)
    if fault.kind is FaultKind.INVALID_REQUEST and _CONTEXT_WORDS.search(fault.message):
        return attrs.evolve(fault, kind=FaultKind.CONTEXT_LENGTH)
    return fault


def _enveloped(body: bytes) -> bytes:
    """The error object in this language's envelope: what upstream_error hands on is OpenAI's."""
    return orjson.dumps({"type": "error", **orjson.loads(body)})
