"""Anthropic's Messages as a language: its envelope, headers and credentials, and its events as faults change them."""

from collections.abc import Sequence
from typing import Any, Literal

import attrs

from appliance.simulator.answer import Headers
from appliance.simulator.api_error import ApiError
from appliance.simulator.chat_answer import letters
from appliance.simulator.framing import Framing
from appliance.simulator.language import Fields, Named
from appliance.simulator.languages.anthropic_errors import NAMED, NO_KEY, WRONG_KEY, envelope, error_for
from appliance.simulator.prose import seed_of
from appliance.simulator.request import Request

# Of a generous account; they do not count down, so that answers repeat. Resets are RFC 3339 times, long ago.
LIMIT_HEADERS: Headers = tuple(
    (f"anthropic-ratelimit-{what}-{name}".encode(), value)
    for what, limit, left in (
        ("requests", b"4000", b"3999"),
        ("tokens", b"4800000", b"4799000"),
        ("input-tokens", b"4000000", b"3999000"),
        ("output-tokens", b"800000", b"799000"),
    )
    for name, value in (("limit", limit), ("remaining", left), ("reset", b"2026-01-01T00:00:00Z"))
)
GROWING: dict[str, tuple[str, str]] = {  # delta type → its text field, what it may grow by without changing what it says
    "text_delta": ("text", "x"),
    "thinking_delta": ("thinking", "x"),
    "input_json_delta": ("partial_json", " "),
}


@attrs.frozen
class Anthropic:
    """api.anthropic.com."""

    id_header: bytes = b"request-id"
    code_field: Literal["code", "type"] = "type"
    broken: bytes = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"oh'

    def usual_headers(self, request: Request) -> Headers:
        return (
            (b"request-id", b"req_011" + letters(seed_of(request.body.hex()), 21).encode()),
            (b"anthropic-organization-id", b"00000000-0000-4000-8000-000000000000"),
            *LIMIT_HEADERS,
        )

    def key_error(self, request: Request, required: str) -> ApiError | None:
        """`x-api-key`, or a bearer token as OAuth clients send it."""
        scheme, _, bearer = request.header(b"authorization").partition(" ")
        key = request.header(b"x-api-key") or (bearer.strip() if scheme.lower() == "bearer" else "")
        if not key:
            return NO_KEY
        return None if key == required else WRONG_KEY

    def envelope(self, error: ApiError, request_id: str) -> Fields:
        return envelope(error, request_id)

    def error_headers(self, error: ApiError) -> Headers:
        del error
        return ()

    def error_for(self, status: int) -> ApiError:
        return error_for(status)

    def named_error(self, kind: Named) -> ApiError:
        return NAMED[kind]

    def error_event(self, error: ApiError, framing: Framing, before: Sequence[bytes], style: str, request_id: str) -> bytes:
        del before, style
        return framing.event(envelope(error, request_id))

    def without_usage(self, value: Fields, *, stream: bool) -> Fields | None:
        """Of a stream, message_start and message_delta have counts."""
        bare: dict[str, Any] = {name: content for name, content in value.items() if name != "usage"}
        if stream and isinstance(value.get("message"), dict):
            bare["message"] = {name: content for name, content in value["message"].items() if name != "usage"}
        return bare

    def with_finish(self, value: Fields, reason: str, *, stream: bool) -> Fields | None:
        if not stream:
            return {**value, "stop_reason": reason} if value.get("stop_reason") else None
        if value.get("type") != "message_delta":
            return None
        return {**value, "delta": {**value["delta"], "stop_reason": reason}}

    def stretched(self, event: Fields, size: int) -> Fields | None:
        delta = event.get("delta") if event.get("type") == "content_block_delta" else None
        if not isinstance(delta, dict) or delta.get("type") not in GROWING:
            return None
        field, filler = GROWING[delta["type"]]
        return {**event, "delta": {**delta, field: filler * size}}


ANTHROPIC = Anthropic()
