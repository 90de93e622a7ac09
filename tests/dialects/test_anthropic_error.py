"""Errors in Anthropic's envelope, with the type that its SDKs know for the status, and what its own errors mean."""

import json

import pytest

from appliance.core.fault import FAULTS, Blame, Fault, FaultKind
from appliance.dialects.anthropic import ANTHROPIC

KNOWN = {
    "invalid_request_error", "authentication_error", "billing_error", "permission_error", "not_found_error", "request_too_large",
    "rate_limit_error", "timeout_error", "api_error", "overloaded_error",
}  # fmt: skip

TYPES = [
    (FaultKind.BAD_REQUEST, "invalid_request_error"),
    (FaultKind.UNAUTHORIZED, "authentication_error"),
    (FaultKind.BUDGET_EXCEEDED, "billing_error"),
    (FaultKind.MODEL_FORBIDDEN, "permission_error"),
    (FaultKind.UNKNOWN_MODEL, "not_found_error"),
    (FaultKind.UPSTREAM_NOT_FOUND, "not_found_error"),
    (FaultKind.METHOD_NOT_ALLOWED, "invalid_request_error"),
    (FaultKind.REQUEST_TIMEOUT, "timeout_error"),
    (FaultKind.BODY_TOO_LARGE, "request_too_large"),
    (FaultKind.RATE_LIMITED, "rate_limit_error"),
    (FaultKind.CONTEXT_LENGTH, "invalid_request_error"),
    (FaultKind.AUTHENTICATION, "api_error"),
    (FaultKind.QUOTA, "api_error"),
    (FaultKind.UPSTREAM_RATE_LIMITED, "rate_limit_error"),
    (FaultKind.SERVER_ERROR, "api_error"),
    (FaultKind.OVERLOADED, "overloaded_error"),
    (FaultKind.IDLE_TIMEOUT, "timeout_error"),
    (FaultKind.STREAM_CUT, "api_error"),
    (FaultKind.DRAINING, "overloaded_error"),
    (FaultKind.INTERNAL, "api_error"),
]


@pytest.mark.parametrize(("kind", "said"), TYPES)
def test_the_type_of_a_fault(kind, said):
    body = json.loads(ANTHROPIC.error(Fault(kind, "what and why"), "req_1"))
    message = "prompt is too long: what and why" if kind is FaultKind.CONTEXT_LENGTH else "what and why"
    assert body == {"type": "error", "error": {"type": said, "message": message}, "request_id": "req_1"}


@pytest.mark.parametrize("words", ["Prompt is too long: 5 tokens > 4", "input length and `max_tokens` exceed context limit: 5 + 4 > 8"])
def test_words_that_agents_know_already_stay_as_they_are(words):
    assert json.loads(ANTHROPIC.error(Fault(FaultKind.CONTEXT_LENGTH, words), ""))["error"]["message"] == words


def test_every_fault_has_a_type_that_sdks_know():
    for kind in FAULTS:
        assert json.loads(ANTHROPIC.error(Fault(kind, "x"), ""))["error"]["type"] in KNOWN
    for status in (405, 409, 415, 422):
        fault = Fault(FaultKind.INVALID_REQUEST, "x", upstream_status=status)
        assert json.loads(ANTHROPIC.error(fault, ""))["error"]["type"] == "invalid_request_error"
    assert json.loads(ANTHROPIC.error(Fault(FaultKind.INTERNAL, "x\ud800"), ""))["request_id"] is None


def test_an_error_before_a_streams_first_event():
    name, data = ANTHROPIC.stream_error(Fault(FaultKind.OVERLOADED, "x"), "r").decode().split("\n")[:2]
    assert name == "event: error"
    assert json.loads(data.removeprefix("data: "))["error"]["type"] == "overloaded_error"


def classified(status, kind, message, headers=()):
    body = json.dumps({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_9"}).encode()
    return ANTHROPIC.classify(status, headers, body, backend="b", now=0.0, secrets=(b"sk-ant-secret",)), body


REFUSALS = [
    (400, "invalid_request_error", "messages.0: text content blocks must be non-empty", FaultKind.INVALID_REQUEST),
    (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", FaultKind.CONTEXT_LENGTH),
    (400, "invalid_request_error", "input length and `max_tokens` exceed context limit: 199000 + 4096 > 200000", FaultKind.CONTEXT_LENGTH),
    (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API", FaultKind.QUOTA),
    (400, "invalid_request_error", "Output blocked by content filtering policy", FaultKind.CONTENT_FILTERED),
    (401, "authentication_error", "invalid x-api-key", FaultKind.AUTHENTICATION),
    (402, "billing_error", "pay", FaultKind.QUOTA),
    (403, "permission_error", "not yours", FaultKind.AUTHENTICATION),
    (404, "not_found_error", "model: claude-x", FaultKind.UPSTREAM_NOT_FOUND),
    (413, "request_too_large", "Request exceeds the maximum size", FaultKind.INVALID_REQUEST),
    (429, "rate_limit_error", "This request would exceed your rate limit", FaultKind.UPSTREAM_RATE_LIMITED),
    (500, "api_error", "Internal server error", FaultKind.SERVER_ERROR),
    (504, "timeout_error", "Request timed out", FaultKind.SERVER_ERROR),
    (529, "overloaded_error", "Overloaded", FaultKind.OVERLOADED),
]


@pytest.mark.parametrize(("status", "kind", "message", "fault"), REFUSALS)
def test_what_a_refusal_means_and_who_hears_of_it(status, kind, message, fault):
    found, body = classified(status, kind, message, [(b"retry-after", b"7")])
    assert (found.kind, found.upstream_status, found.retry_after_s) == (fault, status, 7.0)
    if FAULTS[fault].blame is Blame.CALLER:
        assert (found.body, found.message) == (body, message)
    else:
        assert found.body is None
        assert message not in found.message


def test_a_key_in_a_refusal_does_not_pass():
    found, _ = classified(400, "invalid_request_error", "bad key sk-ant-secret")
    assert found.body is None
    assert "sk-ant-secret" not in found.message
