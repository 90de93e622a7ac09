"""Bedrock's refusals are told by status, name and words, and give nothing of the operator's account away."""

import orjson
import pytest

from appliance.core.fault import FaultKind
from appliance.dialects.bedrock import BEDROCK

NAMED = b"x-amzn-errortype"


def classify(status: int, name: str = "", message: str = "m", body: bytes | None = None, headers: tuple = (),
    secrets: tuple[bytes, ...] = ()):
    said = [(NAMED, name.encode())] if name else []
    raw = orjson.dumps({"message": message}) if body is None else body
    return BEDROCK.classify(status, [*said, *headers], raw, backend="aws", now=0.0, secrets=secrets)


@pytest.mark.parametrize(("status", "name", "message", "kind"), [
    (429, "ThrottlingException", "Too many requests, please wait before trying again.", FaultKind.UPSTREAM_RATE_LIMITED),
    (429, "ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/", "slow", FaultKind.UPSTREAM_RATE_LIMITED),
    (429, "ThrottlingException", "Too many tokens per day, please wait before trying again.", FaultKind.QUOTA),
    (429, "ModelNotReadyException", "m", FaultKind.OVERLOADED),
    (429, "", "m", FaultKind.UPSTREAM_RATE_LIMITED),
    (400, "ValidationException", "messages: roles must alternate", FaultKind.INVALID_REQUEST),
    (400, "ValidationException", "Input is too long for requested model.", FaultKind.CONTEXT_LENGTH),
    (400, "ValidationException", "The model returned the following errors: prompt is too long: 210000 tokens > 200000 maximum",
     FaultKind.CONTEXT_LENGTH),
    (400, "ValidationException", "The provided model identifier is invalid.", FaultKind.UPSTREAM_NOT_FOUND),
    (400, "ValidationException", "Invocation of model ID x with on-demand throughput isn’t supported.", FaultKind.UPSTREAM_NOT_FOUND),
    (400, "ValidationException", "Operation not allowed", FaultKind.AUTHENTICATION),
    (400, "ValidationException", "Output blocked by content filtering policy", FaultKind.CONTENT_FILTERED),
    (400, "ServiceQuotaExceededException", "m", FaultKind.QUOTA),
    (400, "IncompleteSignature", "m", FaultKind.AUTHENTICATION),
    (403, "AccessDeniedException", "m", FaultKind.AUTHENTICATION), (403, "ExpiredTokenException", "m", FaultKind.AUTHENTICATION),
    (403, "", "Forbidden", FaultKind.AUTHENTICATION), (404, "ResourceNotFoundException", "m", FaultKind.UPSTREAM_NOT_FOUND),
    (404, "", "m", FaultKind.UPSTREAM_NOT_FOUND), (408, "ModelTimeoutException", "m", FaultKind.SERVER_ERROR),
    (424, "ModelErrorException", "m", FaultKind.SERVER_ERROR), (424, "", "m", FaultKind.SERVER_ERROR),
    (500, "InternalServerException", "m", FaultKind.SERVER_ERROR), (503, "ServiceUnavailableException", "m", FaultKind.OVERLOADED),
    (413, "", "m", FaultKind.INVALID_REQUEST), (302, "", "m", FaultKind.PROTOCOL),
])  # fmt: skip
def test_status_then_name_then_words(status, name, message, kind):
    fault = classify(status, name, message)
    assert fault.kind is kind
    assert fault.upstream_status == status


@pytest.mark.parametrize("body", [
    b'{"__type":"com.amazon.coral.service#ThrottlingException","message":"slow"}', b'{"__type":"ThrottlingException","Message":"slow"}',
])  # fmt: skip
def test_the_name_may_come_in_the_body(body):
    assert classify(400, body=body).kind is FaultKind.UPSTREAM_RATE_LIMITED


def test_the_callers_faults_say_what_amazon_said_and_pass():
    fault = classify(400, "ValidationException", "max tokens too large", headers=((b"content-type", b"application/json"),
        (b"retry-after", b"3")))
    assert fault.message == "max tokens too large"
    assert fault.body == b'{"message":"max tokens too large"}'
    assert fault.retry_after_s == 3


def test_no_arn_and_no_key_passes():
    fault = classify(404, "ResourceNotFoundException", "no arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.x here")
    assert "123456789012" not in fault.message + fault.detail
    assert fault.body is None
    fault = classify(403, "AccessDeniedException", "User: arn:aws:iam::123456789012:user/x is not authorized")
    assert "123456789012" not in fault.message + fault.detail
    fault = classify(400, "ValidationException", "key AKIDEXAMPLE is odd", secrets=(b"AKIDEXAMPLE",))
    assert "AKIDEXAMPLE" not in fault.message + fault.detail
    assert fault.body is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"message":5}', b"\xff\xfe", b'"text"', b"{" * 2_000])
def test_odd_bodies_are_no_trouble(body):
    assert classify(500, body=body).kind is FaultKind.SERVER_ERROR
    assert classify(400, body=body).kind is FaultKind.INVALID_REQUEST
