"""What an upstream refuses with becomes the right fault, and nothing of the operator's key ever reaches a caller."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.fault import Blame, Fault, FaultKind
from appliance.dialects.openai_chat import OPENAI, classify, hidden_error
from appliance.dialects.retry_after import RETRY_AFTER_MAX_S

K = FaultKind
NOW = 1_790_000_000.0
JSON = [(b"content-type", b"application/json; charset=utf-8")]


def _classify(status: int, body: Any = b"", headers: list[tuple[bytes, bytes]] = JSON) -> Fault:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify(status, headers, raw, backend="east", now=NOW)


def _error(message: str = "m", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, _error("bad", type="invalid_request_error", param="temperature"), K.INVALID_REQUEST),
        (400, b"", K.INVALID_REQUEST),
        (400, _error("x", code="context_length_exceeded"), K.CONTEXT_LENGTH),
        (400, _error("This model's maximum context length is 4096 tokens.", type="BadRequestError"), K.CONTEXT_LENGTH),
        (400, _error("the request exceeds the available context size", type="exceed_context_size_error", code=400), K.CONTEXT_LENGTH),
        (400, _error("Please reduce the length of the messages or completion."), K.CONTEXT_LENGTH),
        (400, _error("Invalid request: Your request exceeded model token limit: 262144"), K.CONTEXT_LENGTH),
        (400, _error("Prompt exceeds max length", code="1261"), K.CONTEXT_LENGTH),
        (400, _error("Range of input length should be [1, 98304]"), K.CONTEXT_LENGTH),
        (400, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193"}, K.CONTEXT_LENGTH),
        (400, {"object": "error", "message": "The input is longer than the model's context length", "code": 400}, K.CONTEXT_LENGTH),
        (400, _error("The prompt is too long: 200000, model maximum context length: 131071"), K.CONTEXT_LENGTH),
        (400, {"code": "Client specified an invalid argument", "error": "This model's maximum prompt length is 131072"}, K.CONTEXT_LENGTH),
        (413, _error("Request too large for model, tokens per minute (TPM)", type="tokens", code="rate_limit_exceeded"), K.INVALID_REQUEST),
        (413, b"<html>413</html>", K.INVALID_REQUEST),
        (422, {"object": "error", "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "x"]}]}}, K.INVALID_REQUEST),
        (422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, K.INVALID_REQUEST),
        (400, _error("filtered", code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"}), K.CONTENT_FILTERED),
        (400, _error("filtered due to the prompt triggering Azure OpenAI's content management policy"), K.CONTENT_FILTERED),
        (400, _error("Content Exists Risk", type="invalid_request_error"), K.CONTENT_FILTERED),
        (403, _error("flagged", code=403, metadata={"reasons": ["violence"], "flagged_input": "..."}), K.CONTENT_FILTERED),
        (451, b"", K.CONTENT_FILTERED),
        (400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xa***yz."}, K.AUTHENTICATION),
        (400, [_error("API key not valid. Please pass a valid API key.", status="INVALID_ARGUMENT", code=400)], K.AUTHENTICATION),
        (400, _error("You hit your limit", code="billing_hard_limit_reached"), K.QUOTA),
        (400, _error("Your credit balance is too low"), K.QUOTA),
        (401, _error("Incorrect API key provided: sk-abc"), K.AUTHENTICATION),
        (403, b"<html>blocked</html>", K.AUTHENTICATION),
        (403, _error("Key limit exceeded (monthly limit)", code=403), K.QUOTA),
        (402, _error("Insufficient Balance", type="unknown_error"), K.QUOTA),
        (404, _error("The model `x` does not exist", code="model_not_found"), K.UPSTREAM_NOT_FOUND),
        (404, b"404 page not found", K.UPSTREAM_NOT_FOUND),
        (410, b"", K.UPSTREAM_NOT_FOUND),
        (400, _error("unknown model", code="model_not_found"), K.UPSTREAM_NOT_FOUND),
        (405, b"", K.PROTOCOL),
        (408, b"", K.SERVER_ERROR),
        (409, b"", K.SERVER_ERROR),
        (418, b"", K.INVALID_REQUEST),
        (429, _error("Rate limit reached", type="requests", code="rate_limit_exceeded"), K.UPSTREAM_RATE_LIMITED),
        (429, b"slow down", K.UPSTREAM_RATE_LIMITED),
        (429, _error("You exceeded your current quota", type="insufficient_quota", code="insufficient_quota"), K.QUOTA),
        (498, b"", K.OVERLOADED),
        (500, _error("context length"), K.SERVER_ERROR),
        (500, b"", K.SERVER_ERROR),
        (502, b"<html>", K.SERVER_ERROR),
        (503, {"error": "Model is currently loading", "estimated_time": 20.0}, K.OVERLOADED),
        (504, b"", K.SERVER_ERROR),
        (520, b"", K.SERVER_ERROR),
        (529, _error("Overloaded", type="overloaded_error"), K.OVERLOADED),
        (301, b"", K.PROTOCOL),
        (204, b"", K.PROTOCOL),
    ],
)
def test_the_table_of_refusals(status: int, body: Any, kind: FaultKind) -> None:
    fault = _classify(status, body)
    assert fault.kind is kind
    assert fault.upstream_status == status
    assert fault.message
    if fault.row.blame is Blame.UPSTREAM:
        assert "east" in fault.message
        assert fault.body is None
        assert fault.surface_status >= 429


def test_a_callers_fault_passes_with_the_upstreams_own_bytes() -> None:
    raw = b'{ "error": {"message":"bad temperature", "param":"temperature","code":null, "x":1} }\n'
    fault = _classify(400, raw)
    assert (fault.body, fault.content_type) == (raw, b"application/json; charset=utf-8")
    assert (fault.message, fault.param, fault.code, fault.surface_status) == ("bad temperature", "temperature", None, 400)
    assert _classify(422, raw).surface_status == 422
    assert _classify(404, raw).surface_status == 404


def test_a_code_that_only_repeats_the_status_gives_way_to_the_callers_word_for_the_kind() -> None:
    text = "The input token count (9) exceeds the maximum number of tokens allowed (8)."
    fault = _classify(400, _error(text, code=400, status="INVALID_ARGUMENT"))
    assert (fault.kind, fault.code) == (K.CONTEXT_LENGTH, None)
    assert _classify(400, _error("x", code="string_above_max_length")).code == "string_above_max_length"


def test_a_page_that_is_no_json_does_not_pass_as_an_answer_of_the_api() -> None:
    fault = _classify(404, b"<html>nginx</html>", [(b"content-type", b"text/html")])
    assert (fault.body, fault.content_type) == (None, None)
    assert "nginx" not in fault.message
    assert "404" in fault.message


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 503])
@pytest.mark.parametrize("key", ["sk-proj-abcd1234efgh", "sk-ab*********yz12", "gsk_live0123456789", "xai-0123456789abc", "Bearer abc.def"])
def test_a_key_in_the_upstreams_words_never_leaves(status: int, key: str) -> None:
    fault = _classify(status, _error(f"Incorrect key {key}, see the dashboard", code="oops", param=None))
    told = OPENAI.error(fault, "r").decode() + (fault.body or b"").decode() + fault.detail + repr(fault)
    assert key not in told
    hidden = hidden_error(json.dumps(_error(f"bad {key}", type="invalid_request_error")).encode())
    assert hidden is not None
    assert key not in OPENAI.error(hidden, "r").decode() + (hidden.body or b"").decode() + hidden.detail


def test_a_redirect_points_at_the_base_url() -> None:
    assert "base_url" in _classify(308, b"", [(b"location", b"https://elsewhere.example/secret")]).message
    assert "elsewhere" not in _classify(308, b"", [(b"location", b"https://elsewhere.example/secret")]).message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        ([(b"retry-after", b"7")], 7.0),
        ([(b"retry-after", b"0.5")], 0.5),
        ([(b"retry-after", b"-3")], 0.0),
        ([(b"retry-after", b"99999999")], RETRY_AFTER_MAX_S),
        ([(b"retry-after", b"nan")], None),
        ([(b"retry-after", b"inf")], None),
        ([(b"retry-after", b"soon")], None),
        ([(b"retry-after", b"\xff")], None),
        ([(b"retry-after", b"2"), (b"retry-after-ms", b"1500")], 1.5),
        ([(b"retry-after-ms", b"x"), (b"retry-after", b"2")], 2.0),
        ([(b"retry-after", b"Mon, 21 Sep 2026 14:13:30 GMT")], 10.0),
        ([(b"retry-after", b"Mon, 21 Sep 2020 14:13:30 GMT")], 0.0),
        ([(b"retry-after", b"Mon, 99 Sep 2026 14:13:30 GMT")], None),
    ],
)
def test_the_wait_that_was_asked_for_is_read_and_bounded(headers: list[tuple[bytes, bytes]], seconds: float | None) -> None:
    assert classify(429, headers, b"", backend="b", now=NOW).retry_after_s == seconds


def test_a_hidden_error_is_found_in_a_whole_answer() -> None:
    for body, kind in [
        (_error("x", type="server_error"), K.SERVER_ERROR),
        ({"error": {"message": "x", "code": 429}}, K.UPSTREAM_RATE_LIMITED),
        ({"choices": [{"error": {"code": 502, "message": "x"}, "message": {"content": ""}}]}, K.SERVER_ERROR),
        ({"object": "error", "message": "x", "type": "NotFoundError", "code": 404}, K.UPSTREAM_NOT_FOUND),
        ({"detail": "not today"}, K.STREAM_ERROR),
    ]:
        fault = hidden_error(json.dumps(body).encode(), "east")
        assert fault is not None
        assert fault.kind is kind


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices":[{"message":{"content":"\\"error\\": 1"}}],"error":null}',
        b'{"object":"list","data":[]}',
        b'{"id":"x","object":"chat.completion","choices":[]}',
        b"not json",
        b"[]",
        b"",
    ],
)
def test_a_good_answer_hides_no_error(body: bytes) -> None:
    assert hidden_error(body) is None


@settings(max_examples=400, deadline=None)
@given(
    st.integers(200, 599),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["error", "message", "code", "type", "detail", "metadata", "innererror", "choices"]), inner)
        ),
        max_leaves=10,
    ),
    st.integers(0, 5),
)
def test_any_body_is_classified(status: int, body: Any, cut: int) -> None:
    raw = json.dumps(body).encode()
    for one in (raw, raw[: len(raw) - cut]):
        fault = _classify(status, one)
        assert fault.message
        assert len(fault.message) < 5_000
        hidden_error(one)


SECRETS = (b"5f2c9e0a77b14d6c8e21f0a4b3d9c6e5", b'odd/"key"+value==')
SPELLINGS = [
    lambda secret: json.dumps(secret)[1:-1],
    lambda secret: "".join(f"\\u{ord(letter):04x}" for letter in secret),
    lambda secret: json.dumps(secret)[1:-1].replace("/", "\\/"),
    lambda secret: json.dumps(json.dumps({"key": secret}))[1:-1],
]


def _everything(fault: Fault) -> str:
    return json.dumps([fault.message, fault.detail, fault.param, fault.code]) + (fault.body or b"").decode("utf-8", "replace")


@pytest.mark.parametrize("spelt", SPELLINGS, ids=["plain", "as code points", "slashes escaped", "JSON in a text"])
@pytest.mark.parametrize("secret", [secret.decode() for secret in SECRETS])
@pytest.mark.parametrize("status", [400, 404, 422, 429, 500, 503])
def test_a_backends_own_credentials_never_pass_whatever_they_look_like(status: int, secret: str, spelt: Any) -> None:
    body = f'{{"error":{{"message":"you sent {spelt(secret)} to us","type":"t","code":"c"}}}}'.encode()
    fault = classify(status, JSON, body, backend="east", now=NOW, secrets=SECRETS)
    assert fault.body is None or fault.body == b""
    assert "[redacted]" in fault.detail
    assert secret not in _everything(fault)
    assert json.dumps(secret)[1:-1] not in fault.message + fault.detail
    harmless = body.replace(spelt(secret).encode(), b"something")
    unmasked = classify(status, JSON, harmless, backend="east", now=NOW, secrets=SECRETS)
    assert "something" in unmasked.detail
    assert (unmasked.body == harmless) is (status < 429)


@pytest.mark.parametrize("place", ["type", "code", "param"])
def test_credentials_are_masked_in_every_member_of_an_error(place: str) -> None:
    secret = SECRETS[0].decode()
    fault = classify(400, JSON, json.dumps(_error("no", **{place: secret})).encode(), backend="east", now=NOW, secrets=SECRETS)
    assert not fault.body
    assert secret not in _everything(fault)


def test_no_part_of_a_credential_is_left_where_a_text_is_cut() -> None:
    secret = SECRETS[0].decode()
    for before in range(1960, 2010):
        text = "x" * before + secret + "y" * 50
        for body in (text.encode(), json.dumps(_error(text)).encode()):
            fault = classify(400, JSON, body, backend="east", now=NOW, secrets=SECRETS)
            assert secret[:4] not in _everything(fault)


def test_an_error_hidden_in_a_200_does_not_repeat_credentials() -> None:
    secret = SECRETS[0].decode()
    for error in (f"bad key {secret}", {"message": f"bad key {secret}", "code": 400}, {"message": "m", "code": 400, "metadata": [secret]}):
        fault = hidden_error(json.dumps({"error": error}).encode(), "east", SECRETS)
        assert fault is not None
        assert secret not in _everything(fault)


def test_an_error_that_cannot_be_written_again_is_told_in_our_words() -> None:
    """Half a surrogate pair, or more levels than the writer has: no exception, and text that can be sent."""
    deep = b'{"error":{"message":"m","code":400,"more":' + b"[" * 400 + b"]" * 400 + b"}}"
    for body in (b'{"error":{"message":"half \\ud83d of a pair","code":400}}', deep):
        for fault in (hidden_error(body, "east"), _classify(400, body)):
            assert fault is not None
            assert json.loads(OPENAI.error(fault, "r"))["error"]["message"]
