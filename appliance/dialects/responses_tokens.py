"""POST /responses/input_tokens, on both sides: the input of a Responses request counted.

Source: openai-python, types/responses/input_token_count_params.py; platform.openai.com/docs/api-reference/responses/input-tokens.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from appliance.core.conversation import Conversation
from appliance.core.fault import Fault, FaultKind
from appliance.dialects.codec import Target, Written
from appliance.dialects.responses_request_writer import write_request
from appliance.dialects.upstream_error import error_in_answer
from appliance.dialects.upstream_json import parse

_COUNTED = (
    "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text", "truncation",
    "previous_response_id",
)  # fmt: skip
"""What the call takes; more is refused as an unknown parameter."""


def write_count(conversation: Conversation, target: Target) -> Written | Fault:
    written = write_request(conversation, target)
    if isinstance(written, Fault):
        return written
    body: Mapping[str, Any] = orjson.loads(written.body)
    return Written(orjson.dumps({name: body[name] for name in _COUNTED if name in body}), written.dropped)


def write_count_answer(input_tokens: int) -> bytes:
    return orjson.dumps({"object": "response.input_tokens", "input_tokens": input_tokens})


def read_count_answer(body: bytes) -> int | Fault:
    """PROTOCOL where it is no count; an error in a 200 is the fault that it names."""
    try:
        answer = parse(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        return Fault(FaultKind.PROTOCOL, "the backend sent a count of tokens that is not a JSON object")
    fault = error_in_answer(answer, "")
    if fault is not None:
        return fault
    count = answer.get("input_tokens")
    if type(count) is not int or count < 0:
        return Fault(FaultKind.PROTOCOL, "the backend sent an answer without a count of tokens")
    return count
