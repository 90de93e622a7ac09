"""Google's errors: the envelope for callers by status, and whose a backend's are."""

import json

import pytest

from appliance.core.fault import FAULTS, Blame, Fault, FaultKind
from appliance.dialects.gemini import GEMINI, GEMINI_ARRAY


def error(code, message, status, *details):
    return json.dumps({"error": {"code": code, "message": message, "status": status, "details": list(details)}}).encode()


def reason(word):
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": word, "domain": "googleapis.com"}


CASES = [
    (400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT", (reason("API_KEY_INVALID"),), FaultKind.AUTHENTICATION),
    (400, "API key expired. Please renew the API key.", "INVALID_ARGUMENT", (reason("API_KEY_INVALID"),), FaultKind.AUTHENTICATION),
    (400, "User location is not supported for the API use.", "FAILED_PRECONDITION", (), FaultKind.AUTHENTICATION),
    (400, "Free tier is not available in your country. Please enable billing.", "FAILED_PRECONDITION", (), FaultKind.QUOTA),
    (400, "The input token count (2551556) exceeds the maximum number of tokens allowed (1048576).", "INVALID_ARGUMENT", (),
     FaultKind.CONTEXT_LENGTH),
    (400, "Invalid JSON payload received. Unknown name", "INVALID_ARGUMENT", (), FaultKind.INVALID_REQUEST),
    (401, "Request had invalid authentication credentials.", "UNAUTHENTICATED", (), FaultKind.AUTHENTICATION),
    (403, "Your API key was reported as leaked.", "PERMISSION_DENIED", (), FaultKind.AUTHENTICATION),
    (403, "This API method requires billing", "PERMISSION_DENIED", (reason("BILLING_DISABLED"),), FaultKind.QUOTA),
    (404, "models/x is not found for API version v1beta", "NOT_FOUND", (), FaultKind.UPSTREAM_NOT_FOUND),
    (429, "Resource has been exhausted (e.g. check quota).", "RESOURCE_EXHAUSTED", (), FaultKind.UPSTREAM_RATE_LIMITED),
    (429, "You exceeded your current quota, please check your plan and billing details.", "RESOURCE_EXHAUSTED", (),
     FaultKind.UPSTREAM_RATE_LIMITED),
    (429, "Your prepayment credits are depleted.", "RESOURCE_EXHAUSTED", (), FaultKind.QUOTA),
    (500, "An internal error has occurred.", "INTERNAL", (), FaultKind.SERVER_ERROR),
    (503, "The model is overloaded. Please try again later.", "UNAVAILABLE", (), FaultKind.OVERLOADED),
    (504, "Deadline expired before operation could complete.", "DEADLINE_EXCEEDED", (), FaultKind.SERVER_ERROR),
]  # fmt: skip


@pytest.mark.parametrize(("status", "message", "word", "details", "kind"), CASES)
@pytest.mark.parametrize("form", ["object", "array"])
def test_whose_fault_a_backends_error_is(status, message, word, details, kind, form):
    body = error(status, message, word, *details)
    fault = GEMINI.classify(status, [], b"[%b]" % body if form == "array" else body, backend="g", now=0.0)
    assert (fault.kind, fault.upstream_status) == (kind, status)
    if FAULTS[kind].blame is Blame.UPSTREAM:
        assert message not in fault.message
        assert fault.body is None


@pytest.mark.parametrize(("status", "message", "word", "details", "kind"), CASES)
def test_the_same_error_in_an_answer_of_status_200_is_the_same_fault(status, message, word, details, kind):
    fault = GEMINI.read_answer(error(status, message, word, *details))
    assert isinstance(fault, Fault)
    assert fault.kind is (FaultKind.AUTHENTICATION if kind is FaultKind.QUOTA and status == 403 and not details else kind)


@pytest.mark.parametrize(("delay", "headers", "wait"), [
    ("34.4s", [], 34.4), ("3600s", [], 3600.0), ("999999999s", [], 86_400.0), ("1m", [], None), (7, [], None),
    ("34.4s", [(b"retry-after", b"5")], 5.0),
])  # fmt: skip
def test_the_body_says_how_long_to_wait_where_no_header_does(delay, headers, wait):
    body = error(429, "quota", "RESOURCE_EXHAUSTED", {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    assert GEMINI.classify(429, headers, body, backend="g", now=0.0).retry_after_s == wait


def test_keys_do_not_pass():
    body = error(400, "Unknown name my-secret-key-of-google", "INVALID_ARGUMENT")
    fault = GEMINI.classify(400, [], body, backend="g", now=0.0, secrets=[b"my-secret-key-of-google"])
    assert "my-secret" not in repr(fault)
    assert fault.body is None


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"[7]", b'{"error":"text"}', b'{"error":{"details":[7,{"retryDelay":[]}]}}', b"\xff"]
)
def test_any_body_is_classified(body):
    assert GEMINI.classify(500, [], body, backend="g", now=0.0).kind is FaultKind.SERVER_ERROR
    assert GEMINI.classify(400, [], body, backend="g", now=0.0).kind is FaultKind.INVALID_REQUEST


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_fault_has_an_envelope_with_its_status(kind: FaultKind):
    fault = Fault(kind, "What went wrong.", param="contents", retry_after_s=30.0)
    said = json.loads(GEMINI.error(fault, "req_1"))["error"]
    assert said["code"] == fault.surface_status
    assert said["message"] == "What went wrong."
    assert said["status"].isupper()
    by_type = {one["@type"].rpartition(".")[2]: one for one in said["details"]}
    assert by_type["BadRequest"]["fieldViolations"] == [{"field": "contents", "description": "What went wrong."}]
    assert by_type["RetryInfo"]["retryDelay"] == "30s"
    assert by_type["RequestInfo"]["requestId"] == "req_1"


def test_an_unknown_key_is_said_as_google_says_it():
    said = json.loads(GEMINI.error(Fault(FaultKind.UNAUTHORIZED, "unknown key"), ""))["error"]
    assert (said["code"], said["status"], said["details"][0]["reason"]) == (401, "UNAUTHENTICATED", "API_KEY_INVALID")


def test_an_error_of_a_verbatim_stream_stands_by_itself():
    fault = Fault(FaultKind.STREAM_CUT, "cut")
    assert GEMINI.stream_error(fault, "").startswith(b'data: {"error":')
    assert json.loads(GEMINI_ARRAY.stream_error(fault, ""))[0]["error"]["code"] == 502
    assert GEMINI.keepalive() == b"\n"
