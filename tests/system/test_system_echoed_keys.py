"""A provider that repeats the operator's credentials: neither the caller nor the operator's own screens and logs ever show them.

The credentials here look like no vendor's: they can only be known for what was sent.
"""

import contextlib
import gzip
import json
import socket
from collections.abc import Iterator

import pytest
from raw_upstream import STREAM_HEAD, RawUpstream, Script, delta, event
from rig import Gateway, call, chat, running

KEY = "5f2c9e0a77b14d6c8e21f0a4b3d9c6e5"
TOKEN = "team/blue+4711"
SAID = f"you sent {KEY} and {TOKEN}"
ERROR = json.dumps({"error": {"message": SAID, "type": "invalid_request_error", "param": KEY, "code": "odd"}}).encode()


def answer(status: int, body: bytes, more: str = "") -> Script:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{more}content-length: {len(body)}\r\nconnection: close\r\n\r\n"

    def script(sock: socket.socket) -> None:
        sock.sendall(head.encode() + body)

    return script


def stream(sock: socket.socket) -> None:
    sock.sendall(STREAM_HEAD + event(ERROR))


def stream_late(sock: socket.socket) -> None:
    sock.sendall(STREAM_HEAD + event(delta("Hello")) + event(ERROR))


SCRIPTS: dict[str, Script] = {
    "refused": answer(400, ERROR),
    "refused-packed": answer(400, gzip.compress(ERROR), "content-encoding: gzip\r\n"),
    "failed": answer(500, ERROR),
    "failed-text": answer(500, SAID.encode()),
    "hidden": answer(200, ERROR),
    "streamed": stream,
    "streamed-late": stream_late,
}

BACKEND = """
[backends.{name}]
provider = "custom"
base_url = "{url}"
api_key = "{key}"
headers = {{ x-team = "Token {token}" }}
[[routes]]
name = "{name}"
models = ["{name}"]
targets = [ {{ backend = "{name}" }} ]
retry = {{ attempts = 1 }}
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with contextlib.ExitStack() as stack:
        ups = {name: stack.enter_context(RawUpstream(script)) for name, script in SCRIPTS.items()}
        config = "".join(BACKEND.format(name=name, url=up.url, key=KEY, token=TOKEN) for name, up in ups.items())
        one = Gateway(tmp_path_factory.mktemp("echoed"), config)
        with running(one):
            yield one
        assert one.requests(), "now the log is whole"
        assert KEY not in one.log
        assert TOKEN not in one.log


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_provider_repeats_of_the_operators_credentials_is_shown_to_nobody(gateway: Gateway, name: str, path: str) -> None:
    ask, request_id = chat(name, stream="streamed" in name, max_tokens=5), f"echo-{name}-{path.rpartition('/')[2]}"
    status, headers, body = call(gateway.url + path, ask, x_request_id=request_id)
    assert status >= 400 or name == "streamed-late"
    record = gateway.record(request_id)
    provider = gateway.provider(name)
    shown = {"caller": f"{headers} {body.decode()}", "record": json.dumps(record), "provider": json.dumps(provider)}
    for place, text in shown.items():
        assert KEY not in text, place
        assert TOKEN not in text, place
    assert "[redacted]" in shown["caller"] + shown["record"] + shown["provider"]  # the words were read, not lost


@pytest.mark.parametrize("engine", ["builtin", "hypercorn"])
def test_a_model_with_a_line_break_is_refused(gateway: Gateway, engine: str) -> None:
    url = gateway.url if engine == "builtin" else gateway.hypercorn_url
    status, headers, body = call(url + "/v1/chat/completions", chat("refused\r\nset-cookie: x=1"))
    assert (status, json.loads(body)["error"]["param"]) == (400, "model")
    assert "set-cookie" not in headers
