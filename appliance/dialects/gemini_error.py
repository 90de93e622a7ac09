"""Google's errors: the envelope for callers, and what a backend's mean.

The rule: the status decides as for every vendor, then Google's own words: a key that is not valid comes with 400, so does a location that
is not served, and both are the operator's; how long to wait is in the body (google.rpc.RetryInfo). Sources: google.aip.dev/193,
ai.google.dev/gemini-api/docs/troubleshooting, cloud.google.com/apis/design/errors.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from appliance.core.fault import Blame, Fault, FaultKind
from appliance.dialects import upstream_error
from appliance.dialects.error_body import ERROR_PARSE_MAX_BYTES, read_error_body
from appliance.dialects.error_kind import kind_of
from appliance.dialects.gemini_json import dump, parse
from appliance.dialects.retry_after import RETRY_AFTER_MAX_S

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""google.rpc.Code's names by HTTP status (google/rpc/code.proto). What callers' SDKs raise depends on the number alone."""

_TYPES = "type.googleapis.com/google.rpc."

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
"""protobuf's Duration in JSON."""

_KEY_REASONS = frozenset({
    "API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_SERVICE_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED", "API_KEY_IP_ADDRESS_BLOCKED",
    "ACCESS_TOKEN_EXPIRED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "CREDENTIALS_MISSING", "SERVICE_DISABLED", "CONSUMER_INVALID",
})  # fmt: skip
"""google.rpc.ErrorInfo reasons that are about who asks (googleapis: google/api/error_reason.proto)."""

_BILLING_REASONS = frozenset({"BILLING_DISABLED", "CONSUMER_SUSPENDED"})

_KEY_WORDS = re.compile(r"api key (?:expired|not valid|not found|was reported)|location is not supported", re.IGNORECASE)
_BILLING_WORDS = re.compile(r"enable billing|credits? (?:are|is|have been|has been) depleted|billing account|spending cap", re.IGNORECASE)


def write_error(fault: Fault, request_id: str) -> bytes:
    """`{"error":{"code","message","status","details"}}`."""
    return dump(error_fields(fault, request_id))


def error_fields(fault: Fault, request_id: str) -> dict[str, Any]:
    """`error` comes first: google-genai tells an error within a stream by how its text begins."""
    status = fault.surface_status
    code = fault.code or fault.kind.value
    details: list[dict[str, Any]] = [{"@type": f"{_TYPES}ErrorInfo", "reason": _reason(fault, code), "domain": "gateway"}]
    if fault.param:
        details.append({"@type": f"{_TYPES}BadRequest", "fieldViolations": [{"field": fault.param, "description": fault.message}]})
    if fault.retry_after_s is not None:
        details.append({"@type": f"{_TYPES}RetryInfo", "retryDelay": f"{fault.retry_after_s:.3f}".rstrip("0").rstrip(".") + "s"})
    if request_id:
        details.append({"@type": f"{_TYPES}RequestInfo", "requestId": request_id})
    fallback = "INVALID_ARGUMENT" if fault.row.blame is Blame.CALLER else "INTERNAL"
    return {"error": {"code": status, "message": fault.message, "status": STATUSES.get(status, fallback), "details": details}}


def _reason(fault: Fault, code: str) -> str:
    return "API_KEY_INVALID" if fault.kind is FaultKind.UNAUTHORIZED else re.sub(r"[^A-Z0-9]+", "_", code.upper()).strip("_")[:63]


def classify(
    status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, backend: str, now: float, secrets: Sequence[bytes] = ()
) -> Fault:
    """The fault behind a backend's answer that is not the expected 200; arguments as upstream_error.classify's."""
    said = read_error_body(body, secrets)
    error = _error_of(body)
    kind = _refined(kind_of(status, said), error)
    fault = upstream_error.fault_of(kind, said, status, headers, body, backend=backend, now=now, secrets=secrets)
    return _waiting(fault, error)


def error_in_answer(answer: Mapping[str, Any], backend: str, secrets: Sequence[bytes] = ()) -> Fault | None:
    """The fault inside an object that came with status 200, whole or in a stream; None when it is a good one."""
    error = answer.get("error")
    if not error:
        return None
    fault = upstream_error.error_in_answer(answer, backend, named_error=True, secrets=secrets)
    if fault is None or not isinstance(error, dict):
        return fault
    kind = _refined(fault.kind, error)
    if kind is not fault.kind:
        body = dump({"error": error})
        status = fault.upstream_status or 400
        fault = upstream_error.fault_of(kind, read_error_body(body, secrets), status, (), body, backend=backend, now=0.0, secrets=secrets)
    return _waiting(fault, error)


def _error_of(body: bytes) -> Mapping[str, Any]:
    """The error object of a body, {} for none. The array form of a stream wraps it in a list."""
    if len(body) > ERROR_PARSE_MAX_BYTES:
        return {}
    try:
        found = parse(body)
    except ValueError:
        return {}
    if isinstance(found, list) and found:
        found = found[0]
    error = found.get("error") if isinstance(found, dict) else None
    return error if isinstance(error, dict) else {}


def _refined(kind: FaultKind, error: Mapping[str, Any]) -> FaultKind:
    """Google's own words for what is the operator's to mend, though its status says that the request is wrong."""
    if kind not in (FaultKind.INVALID_REQUEST, FaultKind.AUTHENTICATION, FaultKind.UPSTREAM_RATE_LIMITED, FaultKind.STREAM_ERROR):
        return kind
    reasons = {one["reason"] for one in _details(error) if isinstance(one.get("reason"), str)}
    message = error.get("message")
    words = message if isinstance(message, str) else ""
    if reasons & _BILLING_REASONS or (_BILLING_WORDS.search(words) and kind is not FaultKind.AUTHENTICATION):
        return FaultKind.QUOTA
    if kind is FaultKind.INVALID_REQUEST and (reasons & _KEY_REASONS or _KEY_WORDS.search(words)):
        return FaultKind.AUTHENTICATION
    return kind


def _details(error: Mapping[str, Any]) -> list[dict[str, Any]]:
    details = error.get("details")
    return [one for one in details if isinstance(one, dict)] if isinstance(details, list) else []


def _waiting(fault: Fault, error: Mapping[str, Any]) -> Fault:
    """With the delay that the body asks for, where no header did."""
    if fault.retry_after_s is not None:
        return fault
    for one in _details(error):
        delay = one.get("retryDelay")
        found = _DURATION.fullmatch(delay) if isinstance(delay, str) else None
        if found is not None:
            return attrs.evolve(fault, retry_after_s=min(float(found[1]), RETRY_AFTER_MAX_S))
    return fault
