"""countTokens: its requests and answers as pure functions. Source: ai.google.dev/api/tokens."""

from collections.abc import Mapping
from typing import Any

from appliance.core.conversation import Conversation
from appliance.core.fault import Fault, FaultKind
from appliance.dialects.codec import Target, Written
from appliance.dialects.fields import Unfit
from appliance.dialects.gemini_error import error_in_answer
from appliance.dialects.gemini_json import dump, message, parse, plain
from appliance.dialects.gemini_request import read_request, request_fields


def read_count(fields: Mapping[str, Any]) -> Conversation | Fault:
    """The body of :countTokens: `contents` alone, or a whole request under `generateContentRequest`, which then counts alone. Vertex has
    systemInstruction and tools beside the contents, which are read as well."""
    fields = plain(fields)
    whole = fields.get("generateContentRequest")
    if whole is None:
        return read_request(fields)
    try:
        return read_request(message(whole, "generateContentRequest"))
    except Unfit as unfit:
        return unfit.fault()


def write_count(conversation: Conversation, target: Target) -> Written | Fault:
    """The body to send; as request_fields, within what the method wants around it."""
    try:
        request, dropped = request_fields(conversation, target)
    except Unfit as unfit:
        return unfit.fault()
    model = f"models/{target.model.removeprefix('models/')}"
    return Written(dump({"generateContentRequest": {"model": model, **request}}), tuple(dropped))


def write_count_answer(total_tokens: int, cached_tokens: int = 0) -> bytes:
    out: dict[str, Any] = {"totalTokens": total_tokens}
    if cached_tokens:
        out["cachedContentTokenCount"] = cached_tokens
    return dump(out)


def read_count_answer(body: bytes) -> int | Fault:
    """`totalTokens`; PROTOCOL where there is none. Google leaves out a count of 0, as protobuf's JSON does."""
    try:
        answer = parse(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        return Fault(FaultKind.PROTOCOL, "the backend sent an answer that is not a JSON object")
    fault = error_in_answer(answer, "")
    if fault is not None:
        return fault
    total = answer.get("totalTokens", 0)
    if type(total) is not int or total < 0:
        return Fault(FaultKind.PROTOCOL, "the backend sent an answer without a count of tokens")
    return total
