"""The Gemini API as a language: its errors, headers and credentials, and its events as faults change them."""

from collections.abc import Sequence
from typing import Any, Literal

import attrs

from appliance.simulator.answer import Headers
from appliance.simulator.api_error import ApiError
from appliance.simulator.framing import ARRAY, Framing
from appliance.simulator.language import Fields, Named
from appliance.simulator.languages.gemini_errors import BLOCKED, CONTEXT_LENGTH, NO_KEY, QUOTA, WRONG_KEY, envelope, error_for
from appliance.simulator.request import Request

USAGE = "usageMetadata"
ARRAY_END = b"\r\n]\r\n"
FINISHES = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}


@attrs.frozen
class Gemini:
    """generativelanguage.googleapis.com. `array`: of a stream that is a JSON array, in which an error is one too."""

    array: bool = False
    id_header: bytes = b"x-gemini-service-request"
    code_field: Literal["code", "type"] = "type"
    broken: bytes = b'{"candidates": [{"content": {"parts": [{"text": "oh'

    def usual_headers(self, request: Request) -> Headers:
        del request
        return (
            (b"vary", b"Origin, X-Origin, Referer"),
            (b"server", b"scaffolding on HTTPServer2"),
            (b"server-timing", b"gfet4t7; dur=10"),
        )

    def key_error(self, request: Request, required: str) -> ApiError | None:
        """As a header, in the query, or as a bearer token, which is how Vertex is asked."""
        scheme, _, token = request.header(b"authorization").partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else ""
        given = request.header(b"x-goog-api-key") or request.parameter("key") or bearer
        if not given:
            return NO_KEY
        return None if given == required else WRONG_KEY

    def envelope(self, error: ApiError, request_id: str) -> object:
        del request_id
        return [envelope(error)] if self.array and error.status >= 400 else envelope(error)

    def error_headers(self, error: ApiError) -> Headers:
        del error
        return ()

    def error_for(self, status: int) -> ApiError:
        return error_for(status)

    def named_error(self, kind: Named) -> ApiError:
        return {"context_length": CONTEXT_LENGTH, "quota": QUOTA, "content_filter": BLOCKED}[kind]

    def error_event(self, error: ApiError, framing: Framing, before: Sequence[bytes], style: str, request_id: str) -> bytes:
        del style, request_id
        return framing.event(envelope(error), first=not before) + (ARRAY_END if framing is ARRAY else b"")

    def without_usage(self, value: Fields, *, stream: bool) -> Fields | None:
        del stream
        return {name: content for name, content in value.items() if name != USAGE}

    def with_finish(self, value: Fields, reason: str, *, stream: bool) -> Fields | None:
        """OpenAI's reasons in Gemini's words; any other as it is."""
        del stream
        candidates = value.get("candidates") or []
        if not any(candidate.get("finishReason") for candidate in candidates):
            return None
        return {**value, "candidates": [{**candidate, "finishReason": FINISHES.get(reason, reason)} for candidate in candidates]}

    def stretched(self, event: Fields, size: int) -> Fields | None:
        part: dict[str, Any] = {"text": "x" * size}
        return {**event, "candidates": [{"content": {"parts": [part], "role": "model"}, "index": 0}]}


GEMINI, GEMINI_ARRAY = Gemini(), Gemini(array=True)
