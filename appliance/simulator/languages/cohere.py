"""The Cohere API as a language: its errors, headers and credentials, and its events as faults change them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from appliance.simulator.answer import Headers
from appliance.simulator.api_error import ApiError
from appliance.simulator.framing import Framing
from appliance.simulator.language import Fields, Named
from appliance.simulator.languages.cohere_errors import CONTENT_FILTER, CONTEXT_LENGTH, NO_KEY, QUOTA, WRONG_KEY, error_for
from appliance.simulator.prose import seed_of
from appliance.simulator.request import Request

FINISHES = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL", "content_filter": "ERROR"}


@attrs.frozen
class Cohere:
    """api.cohere.com."""

    id_header: bytes = b"x-debug-trace-id"
    code_field: Literal["code", "type"] = "code"
    broken: bytes = b'{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"oh'

    def usual_headers(self, request: Request) -> Headers:
        trace = seed_of(request.body.hex(), "trace").hex()[:32].encode()
        return (
            (b"x-debug-trace-id", trace),
            (b"x-endpoint-monthly-call-limit", b"1000"),
            (b"x-trial-endpoint-call-limit", b"20"),
            (b"x-trial-endpoint-call-remaining", b"19"),
        )

    def key_error(self, request: Request, required: str) -> ApiError | None:
        scheme, _, key = request.header(b"authorization").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            return NO_KEY
        return None if key.strip() == required else WRONG_KEY

    def envelope(self, error: ApiError, request_id: str) -> Fields:
        return {"id": request_id, "message": error.message} if request_id else {"message": error.message}

    def error_headers(self, error: ApiError) -> Headers:
        del error
        return ()

    def error_for(self, status: int) -> ApiError:
        return error_for(status)

    def named_error(self, kind: Named) -> ApiError:
        return {"context_length": CONTEXT_LENGTH, "quota": QUOTA, "content_filter": CONTENT_FILTER}[kind]

    def error_event(self, error: ApiError, framing: Framing, before: Sequence[bytes], style: str, request_id: str) -> bytes:
        """The last event, with reason ERROR; with style `event` an error object of its own."""
        del before
        if style == "event":
            return framing.event({"type": "error", **self.envelope(error, request_id)})
        return framing.event({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": error.message}})

    def without_usage(self, value: Fields, *, stream: bool) -> Fields | None:
        if not stream:
            return without(without(value, "usage"), "meta")
        return {**value, "delta": without(value["delta"], "usage")} if value.get("type") == "message-end" else value

    def with_finish(self, value: Fields, reason: str, *, stream: bool) -> Fields | None:
        """OpenAI's reasons in Cohere's words; any other as it is."""
        told = FINISHES.get(reason, reason)
        if stream:
            return {**value, "delta": {**value["delta"], "finish_reason": told}} if value.get("type") == "message-end" else None
        return {**value, "finish_reason": told} if "finish_reason" in value else None

    def stretched(self, event: Fields, size: int) -> Fields | None:
        if event.get("type") != "content-delta":
            return None
        (field,) = event["delta"]["message"]["content"]
        return {**event, "delta": {"message": {"content": {field: "x" * size}}}}


def without(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: content for key, content in value.items() if key != name}


COHERE = Cohere()
