"""Cohere's refusals are told by status, then by words."""

import orjson
import pytest

from appliance.core.fault import FaultKind
from appliance.dialects.cohere import COHERE


@pytest.mark.parametrize(("status", "message", "kind"), [
    (400, "invalid request: list of documents must not be empty", FaultKind.INVALID_REQUEST),
    (400, "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4292.", FaultKind.CONTEXT_LENGTH),
    (400, "too many tokens: max tokens must be less than or equal to 4096, the maximum output for this model - received 8192.",
     FaultKind.INVALID_REQUEST),
    (422, "unprocessable", FaultKind.INVALID_REQUEST), (401, "invalid api token", FaultKind.AUTHENTICATION),
    (498, "invalid token", FaultKind.AUTHENTICATION), (403, "forbidden", FaultKind.AUTHENTICATION),
    (402, "Please add or update your payment method", FaultKind.QUOTA),
    (404, "model 'x' not found, make sure the correct model ID was used", FaultKind.UPSTREAM_NOT_FOUND),
    (429, "trial token rate limit exceeded, limit is 100000 tokens per minute", FaultKind.UPSTREAM_RATE_LIMITED),
    (429, "You are using a Trial key, which is limited to 1000 API calls / month.", FaultKind.QUOTA),
    (499, "request cancelled", FaultKind.SERVER_ERROR), (500, "internal server error", FaultKind.SERVER_ERROR),
    (503, "busy", FaultKind.OVERLOADED), (504, "timeout", FaultKind.SERVER_ERROR),
])  # fmt: skip
def test_status_then_words(status, message, kind):
    body = orjson.dumps({"id": "x", "message": message})
    fault = COHERE.classify(status, [(b"content-type", b"application/json")], body, backend="co", now=0.0)
    assert fault.kind is kind
    assert fault.upstream_status == status
    if kind in (FaultKind.INVALID_REQUEST, FaultKind.CONTEXT_LENGTH):
        assert fault.message == message
        assert fault.body == body


def test_a_key_in_the_body_never_passes():
    body = orjson.dumps({"message": "invalid request: token co-secret-1 is odd"})
    fault = COHERE.classify(400, [], body, backend="co", now=0.0, secrets=[b"co-secret-1"])
    assert "co-secret-1" not in fault.message + fault.detail
    assert fault.body is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"message":5}', b"\xff", b"{" * 2_000])
def test_odd_bodies_are_no_trouble(body):
    assert COHERE.classify(500, [], body, backend="co", now=0.0).kind is FaultKind.SERVER_ERROR
