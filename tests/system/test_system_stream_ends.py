"""A stream that says its end, its error or nonsense is over for the caller at once, whatever the upstream's connection does after that."""

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest
from raw_client import RawClient
from raw_upstream import STREAM_HEAD, RawUpstream, Script, delta, event
from rig import Gateway, chat, eventually, running

LINGER_S = 15.0
"""The upstream keeps its connection open for so long after its last word."""

STEADY = 20
ERROR = b'{"error":{"message":"the model fell over","type":"server_error","code":500}}'


def then(last: bytes, pause_s: float = 0.005) -> Script:
    """Steady deltas, each in a packet of its own; then `last`; then silence on an open connection."""

    def script(sock: socket.socket) -> None:
        sock.sendall(STREAM_HEAD)
        for number in range(STEADY):
            sock.sendall(event(delta(f"word{number} ")))
            time.sleep(pause_s)
        sock.sendall(last)
        sock.settimeout(LINGER_S)
        sock.recv(1)

    return script


USAGE = b'{"id":"c","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":21}}'
LASTS = {
    "done": event(delta("", "stop")) + event(USAGE) + event(b"[DONE]"),
    "done-apart": event(b"[DONE]"),
    "error": event(ERROR),
    "garbage": event(b"no json at all"),
}

def at_once(first: bytes) -> Script:
    """`first`, a moment later everything else in one piece."""

    def script(sock: socket.socket) -> None:
        sock.sendall(STREAM_HEAD + first)
        time.sleep(0.02)
        sock.sendall(event(delta("one ")) + event(delta("two")) + LASTS["done"])

    return script


BACKEND = """
[backends.{name}]
provider = "custom"
base_url = "{url}/v1"
[[routes]]
name = "{name}"
models = ["{name}"]
targets = [ {{ backend = "{name}" }} ]
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with contextlib.ExitStack() as stack:
        scripts = {name: then(last) for name, last in LASTS.items()}
        scripts |= {"speed": then(LASTS["done"], 0.05), "at-once": at_once(b""), "role-first": at_once(event(delta("")))}
        ups = {name: stack.enter_context(RawUpstream(script)) for name, script in scripts.items()}
        one = Gateway(tmp_path_factory.mktemp("ends"), "".join(BACKEND.format(name=name, url=up.url) for name, up in ups.items()))
        stack.enter_context(running(one))
        yield one


@pytest.mark.parametrize("engine", ["builtin", "hypercorn"])
@pytest.mark.parametrize("name", LASTS)
def test_the_last_word_is_passed_on_at_once(gateway: Gateway, name: str, engine: str) -> None:
    with RawClient(gateway.url if engine == "builtin" else gateway.hypercorn_url) as client:
        begun = time.monotonic()
        client.ask(chat(name, stream=True), x_request_id=f"{name}-{engine}")
        status, headers = client.read_head()
        body = client.read_body(headers)
        took_s = time.monotonic() - begun
    assert status == 200
    assert all(f"word{number} ".encode() in body for number in range(STEADY))
    assert took_s < LINGER_S / 3
    assert (b"[DONE]" in body) == name.startswith("done")
    assert (b'"error"' in body) == (name in ("error", "garbage"))
    record = eventually(lambda: gateway.record(f"{name}-{engine}"))
    assert (record["attempts"][0]["outcome"] == "success") == name.startswith("done")
    assert record["ttft_ms"] > 0


@pytest.mark.parametrize("name", ["at-once", "role-first"])
@pytest.mark.parametrize("engine", ["builtin", "hypercorn"])
def test_a_token_that_comes_with_the_end_has_its_time(gateway: Gateway, name: str, engine: str) -> None:
    """Short and cached answers, and proxies that buffer, send everything in one piece."""
    with RawClient(gateway.url if engine == "builtin" else gateway.hypercorn_url) as client:
        client.ask(chat(name, stream=True), x_request_id=f"{name}-{engine}")
        client.read_body(client.read_head()[1])
    assert gateway.record(f"{name}-{engine}")["ttft_ms"] > 0


def test_the_speed_of_a_steady_stream_is_that_of_its_tokens(gateway: Gateway) -> None:
    """20 tokens, one every 50 ms or a little more: 20 a second at most, and one noticed late makes little of it. Were only the ends of it
    noticed, it would seem a hundred times as fast."""
    with RawClient(gateway.url) as client:
        client.ask(chat("speed", stream=True), x_request_id="speed")
        client.read_body(client.read_head()[1])
    gateway.record("speed")
    speeds = [
        float(line.rsplit(" ", 1)[1])
        for line in gateway.metrics_text().splitlines()
        if "tokens_per_second{" in line and "speed" in line
    ]
    assert len(speeds) == 1
    assert 2 < speeds[0] < 200
