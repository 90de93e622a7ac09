"""Answers whose backend counts no tokens are booked by what the model wrote, whatever stands around it, however it comes and wherever it
breaks off. The backends are sockets that say what no vendor would say twice.
"""

import hashlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ledger_reader import ledger_row
from raw_upstream import STREAM_HEAD, RawUpstream, event
from rig import KEY, Gateway, call, chat, running

TEXT = "It was a bright cold day in April, and the clocks were striking thirteen. " * 8
TOKENS = -(-len(TEXT) // 4)
HALF = len(TEXT) // 2
LONG_BYTES = 1_500_000
LOGPROBS = {"content": [{"token": one, "logprob": -0.25, "bytes": list(one.encode()), "top_logprobs": []} for one in TEXT.split()]}
NUMBERS = itertools.count(1)
RESERVED = 300
PAYING = "sk-paying-0123456789"

CONFIG = """
[budgets]
answer_tokens_max = {reserved}
[tenants.paying]
budget = {{ usd = 1000, period = "total" }}
keys = [ {{ id = "paying", sha256 = "{paying}" }} ]
[backends.raw]
provider = "custom"
base_url = "{url}/v1"
breaker = {{ consecutive_failures = 0, failure_ratio = 0 }}
[backends.hasty]
provider = "custom"
base_url = "{url}/v1"
breaker = {{ consecutive_failures = 0, failure_ratio = 0 }}
timeouts = {{ total_s = 3 }}
[backends.claude]
provider = "anthropic"
base_url = "{url}"
api_key = "sk-unused"
breaker = {{ consecutive_failures = 0, failure_ratio = 0 }}
[backends.late]
provider = "custom"
base_url = "{other}/v1"
[[routes]]
name = "hedged"
models = ["stalls-hedged"]
strategy = "priority"
targets = [ {{ backend = "raw" }}, {{ backend = "late" }} ]
hedge = {{ after_s = 0.2, max_percent = 100 }}
[[routes]]
name = "hasty"
models = ["stalls"]
retry = {{ attempts = 1 }}
targets = [ {{ backend = "hasty" }} ]
[[routes]]
name = "claude"
models = ["head", "begun", "told"]
retry = {{ attempts = 1 }}
targets = [ {{ backend = "claude" }} ]
[[routes]]
name = "all"
models = ["*"]
retry = {{ attempts = 1 }}
targets = [ {{ backend = "raw" }} ]
"""


def whole(**more: Any) -> bytes:
    message = {"role": "assistant", "content": TEXT}
    answer = {"id": "chatcmpl-0123456789", "object": "chat.completion", "created": 1, "model": "m",
              "choices": [{"index": 0, "message": message, "finish_reason": "stop", **more}]}  # fmt: skip
    return json.dumps(answer, separators=(",", ":")).encode()


def streamed(pieces: list[str]) -> bytes:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": one} for one in pieces)]
    chunks = [{"id": "c", "model": "m", "choices": [{"index": 0, "delta": one, "finish_reason": None}]} for one in deltas]
    chunks.append({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return b"".join(event(json.dumps(one, separators=(",", ":")).encode()) for one in chunks) + event(b"[DONE]")


def said(body: bytes, length: int = -1) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (
        len(body) if length < 0 else length, body,
    )  # fmt: skip


BEGUN = whole()[: whole().index(TEXT.encode()) + HALF]
HEAD = b'{"id":"msg_0123456789","type":"message","role":"assistant","model":"m","note":"%b"' % (b"x" * 2_000)
ANSWERS = {
    "head": said(HEAD[:-40], 9_000),
    "begun": said(HEAD + b',"content":[{"type":"text","text":"' + TEXT[:HALF].encode(), 9_000),
    "told": said(b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded' + b"!" * 400, 9_000),
    "whole": said(whole()),
    "logprobs": said(whole(logprobs=LOGPROBS)),
    "zeroless": said(whole().replace(b'"object"', b'"usage":{"prompt_tokens":"many"},"object"')),
    "words": STREAM_HEAD + streamed([word + " " for word in TEXT.split()]),
    "chunks": STREAM_HEAD + streamed([TEXT[place : place + 100] for place in range(0, len(TEXT), 100)]),
    "long": said(whole(logprobs={"padding": "x" * LONG_BYTES})),
    "cut": said(BEGUN, len(whole())),
    "stalls": said(BEGUN, len(whole())),
    "nonsense": said(b"No JSON at all. " * 100, 9_000),
    "refuses": said(b'{"error":{"message":"%b","code":503}}' % (b"busy " * 100)),
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    stalled = threading.Event()

    def script(sock: socket.socket) -> None:
        model = json.loads(upstream.received[-1].partition(b"\r\n\r\n")[2])["model"].partition("-")[0]
        sock.sendall(ANSWERS[model])
        if model == "stalls":
            stalled.set()
            sock.recv(1)  # until the gateway has had enough of it

    def late(sock: socket.socket) -> None:
        stalled.wait(10)
        time.sleep(1)  # what the other one has sent is read by then, a thousand times over
        sock.sendall(ANSWERS["whole"])

    with RawUpstream(script) as upstream, RawUpstream(late) as other:
        paying = hashlib.sha256(PAYING.encode()).hexdigest()
        config = CONFIG.format(url=upstream.url, other=other.url, paying=paying, reserved=RESERVED)
        one = Gateway(tmp_path_factory.mktemp("uncounted"), config)
        with running(one):
            yield one


def ask(gateway: Gateway, model: str, key: str = KEY, **fields: Any) -> dict[str, Any]:
    """The row of one request."""
    request_id = f"uncounted-{next(NUMBERS)}"
    call(f"{gateway.url}/v1/chat/completions", chat(model, **fields), x_request_id=request_id, authorization=f"Bearer {key}")
    return ledger_row(gateway, request_id)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", ["whole", "logprobs", "zeroless", "words", "chunks"])
def test_only_what_the_model_wrote_is_booked_however_it_was_asked_for_and_comes(gateway, model, stream):
    row = ask(gateway, model, stream=stream)
    assert (row["status"], row["error_type"], row["usage_source"]) == (200, "", "estimated")
    assert TOKENS <= row["output_tokens"] <= TOKENS + 1  # words end with a space each


def test_a_caller_of_another_language_costs_the_same(gateway):
    request_id = f"uncounted-{next(NUMBERS)}"
    asked = {"model": "logprobs", "max_tokens": 1000, "messages": [{"role": "user", "content": "Hello!"}]}
    assert call(f"{gateway.url}/v1/messages", asked, x_request_id=request_id)[0] == 200
    row = ledger_row(gateway, request_id)
    assert (row["output_tokens"], row["usage_source"]) == (TOKENS, "estimated")


def test_an_answer_too_long_to_be_held_counts_by_its_length_but_as_no_more_than_it_may_be(gateway):
    row = ask(gateway, "long")
    assert row["output_tokens"] >= LONG_BYTES // 4
    assert ask(gateway, "long", max_tokens=50, n=2)["output_tokens"] == 100
    assert ask(gateway, "long", PAYING)["output_tokens"] == RESERVED


@pytest.mark.parametrize(("model", "error_type"), [("cut", "connection"), ("stalls", "timeout")])
def test_of_a_whole_answer_that_breaks_off_what_had_come_is_booked(gateway, model, error_type):
    row = ask(gateway, model)
    assert (row["error_type"], row["usage_source"], row["output_tokens"]) == (error_type, "estimated", -(-HALF // 4))


def test_what_came_and_cannot_be_read_counts_with_all_of_its_bytes_but_as_no_more_than_it_may_be(gateway):
    assert ask(gateway, "nonsense")["output_tokens"] == 400
    assert ask(gateway, "nonsense", max_tokens=50)["output_tokens"] == 50


@pytest.mark.parametrize("path", ["messages", "chat/completions"])
@pytest.mark.parametrize(("model", "tokens"), [("head", 0), ("begun", -(-HALF // 4)), ("told", 0)])
def test_what_stands_before_the_models_words_is_none_of_them_when_an_answer_breaks_off(gateway, model, tokens, path):
    request_id = f"uncounted-{next(NUMBERS)}"
    asked = {"model": model, "max_tokens": 1000, "messages": [{"role": "user", "content": "Hello!"}]}
    call(f"{gateway.url}/v1/{path}", asked, x_request_id=request_id)
    row = ledger_row(gateway, request_id)
    assert (row["error_type"], row["usage_source"], row["output_tokens"]) == ("connection", "estimated", tokens)


def test_an_error_that_was_told_as_an_answer_costs_nothing(gateway):
    row = ask(gateway, "refuses")
    assert (row["usage_source"], row["output_tokens"], row["cost_nusd"]) == ("none", 0, 0)


def test_a_loser_is_booked_by_what_had_come_of_its_answer(gateway):
    row = ask(gateway, "stalls-hedged")
    assert (row["status"], row["backend"]) == (200, "late")
    lost, won = json.loads(row["attempts"])
    assert (lost[0], lost[2], lost[-2:]) == ("raw", "cancelled", [-(-HALF // 4), "estimated"])
    assert (won[0], won[2], won[-2:]) == ("late", "success", [TOKENS, "estimated"])
    assert row["output_tokens"] == -(-HALF // 4) + TOKENS
