"""What the gateway itself says to a caller of the OpenAI dialect: errors, the in-band error of a stream, keep-alives, model lists.

Error types are the ones that OpenAI's SDKs and their users match on; the SDK picks its exception class by HTTP status alone.
"""

from collections.abc import Iterable

import orjson

from appliance.core.fault import Blame, Fault, FaultKind

_TYPES_BY_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    499: "client_gone",
    500: "server_error",
    502: "server_error",
    503: "server_error",
    504: "timeout_error",
}

_CODES = {
    FaultKind.UNAUTHORIZED: "invalid_api_key",
    FaultKind.UNKNOWN_MODEL: "model_not_found",
    FaultKind.UPSTREAM_NOT_FOUND: "model_not_found",
    FaultKind.CONTEXT_LENGTH: "context_length_exceeded",
    FaultKind.CONTENT_FILTERED: "content_filter",
    FaultKind.UPSTREAM_RATE_LIMITED: "rate_limit_exceeded",
}
"""Codes that OpenAI's own API uses for the same thing; every other kind is its own code."""


class OpenAICaller:
    """The side that faces a caller of the OpenAI dialect."""

    name = "openai_chat"

    def error(self, fault: Fault, request_id: str) -> bytes:
        """`{"error":{message,type,param,code}}`, with the request id beside it where one is known."""
        status = fault.surface_status
        kind = "invalid_request_error" if fault.row.blame is Blame.CALLER else "server_error"
        error = {
            "message": fault.message,
            "type": _TYPES_BY_STATUS.get(status, kind),
            "param": fault.param,
            "code": fault.code or _CODES.get(fault.kind, fault.kind.value),
        }
        return orjson.dumps({"error": error, "request_id": request_id} if request_id else {"error": error})

    def stream_error(self, fault: Fault, request_id: str) -> bytes:
        """One event with the same envelope. No `[DONE]` follows: openai-python raises APIError on `error`, and a reader that overlooks it
        must not take the stream for a finished one."""
        return b"data: " + self.error(fault, request_id) + b"\n\n"

    def keepalive(self) -> bytes:
        """A comment, which every event-stream reader skips (WHATWG HTML §9.2.6)."""
        return b": keep-alive\n\n"


def models_list(ids: Iterable[str], created: int, owned_by: str) -> bytes:
    """The body of GET /v1/models. `created` is in Unix seconds."""
    return orjson.dumps({"object": "list", "data": [_model(one, created, owned_by) for one in ids]})


def model_one(model: str, created: int, owned_by: str) -> bytes:
    """The body of GET /v1/models/{id}."""
    return orjson.dumps(_model(model, created, owned_by))


def _model(model: str, created: int, owned_by: str) -> dict[str, object]:
    return {"id": model, "object": "model", "created": created, "owned_by": owned_by}
