"""The official SDK turns what the gateway says into the right exceptions."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import openai
import pytest

from appliance.core.fault import FAULTS, Fault, FaultKind
from appliance.dialects.openai_chat import OPENAI, model_one, models_list


@contextmanager
def _serving(status: int, content_type: str, body: bytes) -> Iterator[openai.OpenAI]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        with openai.OpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="k", max_retries=0) as client:
            yield client
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


EXCEPTIONS = {
    400: openai.BadRequestError, 401: openai.AuthenticationError, 402: openai.APIStatusError, 403: openai.PermissionDeniedError,
    404: openai.NotFoundError, 405: openai.APIStatusError, 408: openai.APIStatusError, 413: openai.APIStatusError,
    415: openai.APIStatusError, 429: openai.RateLimitError, 499: openai.APIStatusError, 500: openai.InternalServerError,
    502: openai.InternalServerError, 503: openai.InternalServerError, 504: openai.InternalServerError,
}  # fmt: skip


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_fault_has_the_envelope(kind: FaultKind) -> None:
    told = json.loads(OPENAI.error(Fault(kind, "words", param="model"), "req-1"))
    assert set(told["error"]) == {"message", "type", "param", "code"}
    assert told["error"]["message"] == "words"
    assert told["error"]["param"] == "model"
    assert isinstance(told["error"]["type"], str)
    assert isinstance(told["error"]["code"], str)
    assert told["request_id"] == "req-1"
    assert "request_id" not in json.loads(OPENAI.error(Fault(kind, "words"), ""))
    assert FAULTS[kind].status in EXCEPTIONS


@pytest.mark.parametrize(
    ("kind", "type_", "code"),
    [
        (FaultKind.BAD_REQUEST, "invalid_request_error", "bad_request"),
        (FaultKind.UNAUTHORIZED, "authentication_error", "invalid_api_key"),
        (FaultKind.BUDGET_EXCEEDED, "insufficient_quota", "budget_exceeded"),
        (FaultKind.MODEL_FORBIDDEN, "permission_error", "model_forbidden"),
        (FaultKind.UNKNOWN_MODEL, "not_found_error", "model_not_found"),
        (FaultKind.RATE_LIMITED, "rate_limit_error", "rate_limit_exceeded"),
        (FaultKind.AUTHENTICATION, "server_error", "upstream_authentication"),
        (FaultKind.QUOTA, "server_error", "upstream_quota"),
        (FaultKind.FIRST_BYTE_TIMEOUT, "timeout_error", "first_byte_timeout"),
        (FaultKind.STREAM_CUT, "server_error", "stream_cut"),
    ],
)
def test_types_and_codes_are_those_that_callers_match_on(kind: FaultKind, type_: str, code: str) -> None:
    error = json.loads(OPENAI.error(Fault(kind, "m"), ""))["error"]
    assert (error["type"], error["code"]) == (type_, code)


@pytest.mark.parametrize("kind", ["bad_request", "unauthorized", "model_forbidden", "unknown_model", "rate_limit_exceeded", "overloaded"])
def test_the_sdk_raises_the_class_that_belongs_to_the_status(kind: str) -> None:
    fault = Fault(FaultKind(kind), "what was wrong", param="model")
    with _serving(fault.surface_status, "application/json", OPENAI.error(fault, "r")) as client:
        with pytest.raises(EXCEPTIONS[fault.surface_status], match="what was wrong") as caught:
            client.chat.completions.create(model="m", messages=[])
        assert caught.value.param == "model"


def test_the_sdk_raises_on_the_in_band_error_and_skips_keep_alives() -> None:
    choice = b'{"index":0,"delta":{"content":"hi"}}'
    chunk = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[' + choice + b"]}\n\n"
    body = OPENAI.keepalive() + chunk + OPENAI.keepalive() + OPENAI.stream_error(Fault(FaultKind.STREAM_CUT, "it was cut"), "r")
    said = []
    with _serving(200, "text/event-stream", body) as client:
        stream = client.chat.completions.create(model="m", messages=[], stream=True)
        with pytest.raises(openai.APIError, match="it was cut"):
            said.extend(part.choices[0].delta.content for part in stream)
    assert said == ["hi"]


def test_the_sdk_reads_the_model_lists() -> None:
    with _serving(200, "application/json", models_list(["gpt-4o", "openai/x"], 17, "me")) as client:
        assert [(one.id, one.created, one.owned_by, one.object) for one in client.models.list()] == [
            ("gpt-4o", 17, "me", "model"), ("openai/x", 17, "me", "model"),
        ]  # fmt: skip
    with _serving(200, "application/json", model_one("a/b", 17, "me")) as client:
        assert client.models.retrieve("a/b").id == "a/b"


def test_a_message_is_never_cut_out_of_its_event() -> None:
    event = OPENAI.stream_error(Fault(FaultKind.STREAM_ERROR, "line one\n\ndata: [DONE]\r\rline two"), "r")
    assert event.count(b"\n\n") == 1
    assert b"\r" not in event
    assert json.loads(event.removeprefix(b"data: "))["error"]["message"].startswith("line one")
