"""OpenAI's Responses as a language: the service's envelope and headers, and its events as faults change them."""

from collections.abc import Sequence
from typing import Any

import attrs

from appliance.simulator.api_error import ApiError
from appliance.simulator.framing import Framing
from appliance.simulator.language import Fields
from appliance.simulator.languages.openai import OpenAI
from appliance.simulator.languages.openai_errors import envelope

GROWING = {  # delta events → what they may grow by without changing what they say
    "response.output_text.delta": "x",
    "response.refusal.delta": "x",
    "response.reasoning_summary_text.delta": "x",
    "response.custom_tool_call_input.delta": "x",
    "response.function_call_arguments.delta": " ",
}


@attrs.frozen
class Responses(OpenAI):
    """api.openai.com's /v1/responses."""

    broken: bytes = b'{"type":"response.output_text.delta","sequence_number":9,"output_index":0,"content_index":0,"delta":"oh'

    def error_event(self, error: ApiError, framing: Framing, before: Sequence[bytes], style: str, request_id: str) -> bytes:
        """Two events: the error, and the response failed (where a response had begun)."""
        del style, request_id
        told = envelope(error)["error"]
        number = framing.json(before[-1]).get("sequence_number", -1) + 1 if before else 0
        data = framing.event({"type": "error", "sequence_number": number, "error": told})
        begun = framing.json(before[0]).get("response") if before else None
        if isinstance(begun, dict):
            failed = {**begun, "status": "failed", "error": {"code": error.code or error.type, "message": error.message}}
            data += framing.event({"type": "response.failed", "sequence_number": number + 1, "response": failed})
        return data

    def without_usage(self, value: Fields, *, stream: bool) -> Fields | None:
        if not stream:
            return {name: content for name, content in value.items() if name != "usage"}
        inner = value.get("response")
        return {**value, "response": {**inner, "usage": None}} if isinstance(inner, dict) else value

    def with_finish(self, value: Fields, reason: str, *, stream: bool) -> Fields | None:
        """The response is incomplete for that reason."""
        if not stream:
            return incomplete(value, reason) if value.get("object") == "response" else None
        inner = value.get("response")
        if value.get("type") not in ("response.completed", "response.incomplete") or not isinstance(inner, dict):
            return None
        return {**value, "type": "response.incomplete", "response": incomplete(inner, reason)}

    def stretched(self, event: Fields, size: int) -> Fields | None:
        filler = GROWING.get(str(event.get("type")))
        return None if filler is None else {**event, "delta": filler * size}


def incomplete(response: Fields, reason: str) -> dict[str, Any]:
    return {**response, "status": "incomplete", "completed_at": None, "incomplete_details": {"reason": reason}}


RESPONSES = Responses()
