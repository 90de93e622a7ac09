"""Amazon Bedrock's Converse as a language: its errors, headers and credentials, and its events as faults change them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs
import orjson

from appliance.simulator.answer import Headers
from appliance.simulator.api_error import ApiError
from appliance.simulator.framing import Framing, aws_frame
from appliance.simulator.language import Fields, Named
from appliance.simulator.languages.aws_signature import ALGORITHM, signature_problem
from appliance.simulator.languages.bedrock_errors import (
    CONTENT_FILTER,
    CONTEXT_LENGTH,
    IN_STREAM,
    NO_KEY,
    QUOTA,
    WRONG_KEY,
    bad_signature,
    error_for,
    name_of,
)
from appliance.simulator.prose import seed_of
from appliance.simulator.request import Request

FINISHES = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "content_filtered"}
NAMESPACE = ":http://internal.amazon.com/coral/com.amazon.bedrock/"  # what the service puts behind an error's name


@attrs.frozen
class Bedrock:
    """bedrock-runtime.REGION.amazonaws.com."""

    id_header: bytes = b"x-amzn-requestid"
    code_field: Literal["code", "type"] = "type"
    broken: bytes = b'{"contentBlockIndex":0,"delta":{"text":"oh'

    def usual_headers(self, request: Request) -> Headers:
        digits = seed_of(request.body.hex(), request.path).hex()
        request_id = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"
        return ((b"x-amzn-requestid", request_id.encode()),)

    def key_error(self, request: Request, required: str) -> ApiError | None:
        """A bearer key, or a signature by an access key whose secret is `required`."""
        given = request.header(b"authorization")
        if given.startswith(ALGORITHM):
            problem = signature_problem(request, required)
            return bad_signature(problem) if problem is not None else None
        scheme, _, key = given.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            return NO_KEY
        return None if key.strip() == required else WRONG_KEY

    def envelope(self, error: ApiError, request_id: str) -> Fields:
        del request_id
        return {"message": error.message}

    def error_headers(self, error: ApiError) -> Headers:
        return ((b"x-amzn-errortype", (name_of(error) + NAMESPACE).encode()),)

    def error_for(self, status: int) -> ApiError:
        return error_for(status)

    def named_error(self, kind: Named) -> ApiError:
        return {"context_length": CONTEXT_LENGTH, "quota": QUOTA, "content_filter": CONTENT_FILTER}[kind]

    def error_event(self, error: ApiError, framing: Framing, before: Sequence[bytes], style: str, request_id: str) -> bytes:
        """A frame of message type exception."""
        del framing, before, style, request_id
        name = IN_STREAM.get(error.status, "internalServerException")
        return aws_frame(name, orjson.dumps({"message": error.message}), b"exception", b":exception-type")

    def without_usage(self, value: Fields, *, stream: bool) -> Fields | None:
        if stream:
            return None if "metadata" in value else value
        return {name: content for name, content in value.items() if name != "usage"}

    def with_finish(self, value: Fields, reason: str, *, stream: bool) -> Fields | None:
        """OpenAI's reasons in Bedrock's words; any other as it is."""
        told = FINISHES.get(reason, reason)
        if stream:
            return {"messageStop": {**value["messageStop"], "stopReason": told}} if "messageStop" in value else None
        return {**value, "stopReason": told} if "stopReason" in value else None

    def stretched(self, event: Fields, size: int) -> Fields | None:
        delta: Mapping[str, Any] = event.get("contentBlockDelta") or {}
        if "text" not in (delta.get("delta") or {}):
            return None
        return {"contentBlockDelta": {**delta, "delta": {"text": "x" * size}}}


BEDROCK = Bedrock()
