"""Errors of the Responses API on both sides.

The rule: callers get OpenAI's envelope, and in a stream an `error` event that every reader of the API knows: its members stand at the top,
as the reference has them, and under `error`, as OpenAI sends them and as openai-python needs them to raise.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from appliance.core.fault import Fault, FaultKind
from appliance.dialects.openai_envelope import OpenAICaller
from appliance.dialects.sse_reader import written
from appliance.dialects.upstream_error import error_in_answer

_CODES = {
    FaultKind.CONTEXT_LENGTH: "context_length_exceeded",
    FaultKind.CONTENT_FILTERED: "invalid_prompt",
    FaultKind.INVALID_REQUEST: "invalid_prompt",
    FaultKind.RATE_LIMITED: "rate_limit_exceeded",
    FaultKind.UPSTREAM_RATE_LIMITED: "rate_limit_exceeded",
}
"""`error.code` of a failed response. Agents act on them (the first makes them shorten the conversation); all else is server_error."""

_POLICIES = ("_policy", "_policy_violation")


class ResponsesCaller:
    """The side that faces a caller, as far as errors and keep-alives go (`protocol.CallerDialect`)."""

    name = "openai_responses"

    def __init__(self) -> None:
        self._envelope = OpenAICaller()

    def error(self, fault: Fault, request_id: str) -> bytes:
        return self._envelope.error(fault, request_id)

    def stream_error(self, fault: Fault, request_id: str) -> bytes:
        """For a stream whose bytes pass as they came: nobody has counted its events. A number is required, and 0 claims nothing."""
        return self.error_event(fault, request_id, 0)

    def error_event(self, fault: Fault, request_id: str, sequence_number: int) -> bytes:
        error = orjson.loads(self._envelope.error(fault, request_id))["error"]
        event = {"type": "error", "sequence_number": sequence_number, "code": error["code"], "message": error["message"]}
        return written(b"error", orjson.dumps({**event, "param": error["param"], "error": error}))

    def keepalive(self) -> bytes:
        return self._envelope.keepalive()


def failure(fault: Fault) -> dict[str, str]:
    """`error` of a failed response."""
    return {"code": _CODES.get(fault.kind, "server_error"), "message": fault.message}


def fault_in(error: object, backend: str) -> Fault:
    """The fault that a failed response or an `error` event names."""
    told = dict(error) if isinstance(error, Mapping) else {"message": error if isinstance(error, str) else ""}
    code = told.get("code")
    if isinstance(code, str) and told.get("type") in (None, "error"):
        told["type"] = _type_of(code)
    named: dict[str, Any] = {"error": told}
    found = error_in_answer(named, backend, named_error=True)
    return found if found is not None else Fault(FaultKind.STREAM_ERROR, "the backend reported an error in its answer: try again")


def _type_of(code: str) -> str | None:
    """What kind of error a code is that only this API has: about the caller's image, or against a policy."""
    if code.endswith(_POLICIES):
        return "content_policy_violation"
    return "invalid_request_error" if "image" in code else None
