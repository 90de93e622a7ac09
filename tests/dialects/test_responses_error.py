"""Errors of the Responses API: the caller's envelope, the event of a stream, and what an upstream's refusal means."""

import json
from typing import Any

import orjson
import pytest
from openai.types.responses import ResponseErrorEvent

from appliance.core.fault import Fault, FaultKind
from appliance.core.seal import Seal, wrap
from appliance.dialects.responses import RESPONSES, unsealed
from appliance.dialects.responses_error import failure, fault_in


def test_the_envelope_is_openais():
    body = json.loads(RESPONSES.error(Fault(FaultKind.BAD_REQUEST, "input[0] is wrong", param="input[0]"), "req_1"))
    assert body["error"]["param"] == "input[0]"
    assert body["error"]["type"] == "invalid_request_error"


def test_the_event_is_what_every_reader_knows():
    event = RESPONSES.stream_error(Fault(FaultKind.UPSTREAM_RATE_LIMITED, "slow down"), "req_1")
    name, data = event.removesuffix(b"\n\n").split(b"\n")
    assert name == b"event: error"
    read = ResponseErrorEvent.model_validate_json(data.removeprefix(b"data: "))
    assert (read.message, read.code) == ("slow down", "rate_limit_exceeded")
    assert json.loads(data.removeprefix(b"data: "))["error"]["message"] == "slow down"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (FaultKind.CONTEXT_LENGTH, "context_length_exceeded"), (FaultKind.UPSTREAM_RATE_LIMITED, "rate_limit_exceeded"),
        (FaultKind.CONTENT_FILTERED, "invalid_prompt"), (FaultKind.QUOTA, "server_error"), (FaultKind.STREAM_CUT, "server_error"),
    ],
)  # fmt: skip
def test_a_failed_response_says_what_agents_act_on_and_nothing_of_the_operators_account(kind: FaultKind, code: str):
    assert failure(Fault(kind, "m")) == {"code": code, "message": "m"}


@pytest.mark.parametrize("error", [None, {}, [], 3, "boom", {"message": None}, {"code": 3, "message": {"a": 1}}])
def test_errors_of_any_shape_are_faults(error: object):
    assert isinstance(fault_in(error, "b"), Fault)


def test_a_refused_key_is_not_the_callers():
    fault = RESPONSES.classify(401, [], b'{"error":{"message":"bad key sk-abcdefghijk"}}', backend="b", now=0.0)
    assert fault.kind is FaultKind.AUTHENTICATION
    assert "sk-abc" not in repr(fault)


def test_thoughts_of_others_are_left_out_of_a_request_that_passes_verbatim():
    own = {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"}
    foreign = {**own, "encrypted_content": wrap(Seal("anthropic", "s"), "openai")}
    carried = {**own, "encrypted_content": "prev." + wrap(Seal("gemini", "s"), "openai")}
    hello = {"role": "user", "content": "hello"}
    call = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"}
    coming = {**carried, "encrypted_content": "next." + wrap(Seal("gemini", "s"), "openai")}
    items = [hello, foreign, own, carried, "odd", call, coming]
    others = tuple(f"input[{place}]: sealed reasoning of {maker}" for place, maker in ((1, "anthropic"), (3, "gemini"), (6, "gemini")))
    assert unsealed({"input": items}, False) == ({"input": [hello, own, "odd", call]}, others)
    nameless = {name: value for name, value in call.items() if name != "id"}
    everybodys = (others[0], "input[2]: sealed reasoning of openai", *others[1:])
    assert unsealed({"input": items}, True) == ({"input": [hello, "odd", nameless]}, everybodys)
    assert unsealed({"input": [hello, own]}, False) is None
    assert unsealed({"input": [hello, call, {"type": "reasoning", "summary": []}]}, True) is None
    assert unsealed({"input": "hello"}, True) is None


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        ({"message": "The encrypted content gAAA...Za4= could not be verified.", "code": "invalid_encrypted_content"}, True),
        ({"message": "The encrypted content for item rs_09 could not be verified.", "code": None}, True),
        ({"message": "The encrypted content for item rs_09 could not be decrypted or parsed", "code": None}, True),
        ({"message": "The image could not be verified.", "code": "invalid_image"}, False),
    ],
)
def test_a_backend_that_cannot_read_sealed_thoughts_says_so(error: dict[str, Any], refused: bool):
    body = orjson.dumps({"error": {**error, "type": "invalid_request_error", "param": None}})
    fault = RESPONSES.classify(400, [(b"content-type", b"application/json")], body, backend="b", now=0.0)
    assert (fault.code == "invalid_encrypted_content") == refused
    assert fault.body == body
