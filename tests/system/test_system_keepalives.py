"""A silent stream is kept alive: after keepalive_s comes the head with a comment, then comments; and it may still fall back until the first
model event. A comment never stands inside an event.
"""

import time
from collections.abc import Iterator

import pytest
from raw_client import RawClient, events
from raw_upstream import STREAM_HEAD, RawUpstream, delta, event
from rig import Gateway, Simulator, chat, running

KEEPALIVE_S = 0.2

CONFIG = """
[backends.sim]
provider = "custom"
base_url = "{url}/v1"
timeouts = {{ first_byte_s = 3, idle_s = 0.7 }}
[backends.hasty]
provider = "custom"
base_url = "{url}/v1"
timeouts = {{ first_byte_s = 0.7, idle_s = 0.7 }}
breaker = {{ consecutive_failures = 0, failure_ratio = 0.0 }}
[backends.halting]
provider = "custom"
base_url = "{halting}/v1"
[backends.unasked]
provider = "custom"
base_url = "{unasked}/v1"
[[routes]]
name = "falls-back"
models = ["falls-back"]
targets = [ {{ backend = "hasty", model = "sim+hang" }} ]
fallback = [ {{ backend = "sim", model = "sim" }} ]
keepalive_s = {keepalive_s}
[[routes]]
name = "falls-deep"
models = ["falls-deep"]
targets = [ {{ backend = "hasty", model = "sim+early_head=500ms+error_event" }} ]
fallback = [ {{ backend = "hasty", model = "sim+latency=400ms+503" }}, {{ backend = "sim", model = "sim" }} ]
keepalive_s = {keepalive_s}
[[routes]]
name = "fails"
models = ["fails"]
targets = [ {{ backend = "hasty", model = "sim+hang" }} ]
retry = {{ attempts = 1 }}
keepalive_s = {keepalive_s}
[[routes]]
name = "refuses"
models = ["refuses"]
targets = [ {{ backend = "sim", model = "sim+latency=500ms+400" }} ]
keepalive_s = {keepalive_s}
[[routes]]
name = "halting"
models = ["halting"]
targets = [ {{ backend = "halting" }} ]
keepalive_s = {keepalive_s}
[[routes]]
name = "unasked"
models = ["unasked"]
targets = [ {{ backend = "unasked" }} ]
retry = {{ attempts = 1 }}
keepalive_s = {keepalive_s}
[[routes]]
name = "silent"
models = ["silent"]
targets = [ {{ backend = "sim", model = "sim@ttft=700ms" }} ]
keepalive_s = 0
[[routes]]
name = "all"
targets = [ {{ backend = "sim" }} ]
keepalive_s = {keepalive_s}
"""

HALF = delta("one two three")


def halt(sock) -> None:
    """An event in two halves with a long silence between them, in the middle of a word."""
    sock.sendall(STREAM_HEAD + event(delta("zero")) + b"data: " + HALF[:90])
    time.sleep(1.0)
    sock.sendall(HALF[90:] + b"\n\n" + event(delta("", "stop")) + event(b"[DONE]"))


def answer_whole(sock) -> None:
    """What was asked for as a stream, late and in one piece."""
    time.sleep(3 * KEEPALIVE_S)
    body = b'{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"content":"whole"},"finish_reason":"stop"}]}'
    sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body)


@pytest.fixture(scope="module")
def gateway(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with RawUpstream(halt) as halting, RawUpstream(answer_whole) as unasked:
        config = CONFIG.format(url=simulator.url, halting=halting.url, unasked=unasked.url, keepalive_s=KEEPALIVE_S)
        one = Gateway(tmp_path_factory.mktemp("keepalives"), config)
        with running(one):
            yield one


def stream(url: str, model: str) -> tuple[dict[str, str], bytes, float]:
    """Headers, the whole body, and how many seconds the head took."""
    with RawClient(url) as client:
        at = time.monotonic()
        client.ask(chat(model, stream=True), x_request_id=f"{model}-{url[-5:]}")
        status, headers = client.read_head()
        head_s = time.monotonic() - at
        assert status == 200
        return headers, client.read_body(headers), head_s


def comments(body: bytes) -> list[bytes]:
    return [part for part in body.split(b"\n\n") if part.startswith(b":")]


def test_a_slow_first_token_gets_a_head_and_comments_before_it(url: str) -> None:
    headers, body, head_s = stream(url, "sim@ttft=900ms")
    assert KEEPALIVE_S * 0.9 < head_s < 0.8
    assert headers["content-type"].startswith("text/event-stream")
    before, _, after = body.partition(b"data: ")
    assert 2 <= len(comments(before)) <= 4, body[:300]
    assert not comments(after), "nothing is said while events flow"
    assert events(body)[-1] == "[DONE]"


def test_without_keepalives_the_head_waits_for_the_first_event(url: str) -> None:
    headers, body, head_s = stream(url, "silent")
    assert head_s > 0.6
    assert headers["x-served-by"] == "sim"
    assert not comments(body)


def test_a_timeout_after_a_keepalive_still_falls_back(gateway: Gateway, url: str) -> None:
    _, body, head_s = stream(url, "falls-back")
    assert head_s < 0.6
    said = events(body)
    assert said[-1] == "[DONE]"
    assert not [one for one in said[:-1] if "error" in one]
    assert sum("role" in one["choices"][0]["delta"] for one in said[:-1] if one["choices"]) == 1, "one answer, told once"
    record = gateway.record(f"falls-back-{url[-5:]}")
    assert (record["status"], record["error_type"]) == (200, "")
    assert [one["error_type"] for one in record["attempts"]] == ["timeout", ""]


def test_faults_of_several_kinds_after_a_keepalive_still_fall_back(gateway: Gateway, url: str) -> None:
    _, body, _ = stream(url, "falls-deep")
    assert events(body)[-1] == "[DONE]"
    assert b'"error"' not in body
    record = gateway.record(f"falls-deep-{url[-5:]}")
    assert [one["outcome"] for one in record["attempts"]] == ["error", "error", "success"]


def test_the_last_fault_after_a_keepalive_is_told_in_band(gateway: Gateway, url: str) -> None:
    _, body, _ = stream(url, "fails")
    said = events(body)
    assert len(said) == 1
    assert said[0]["error"]["code"] == "first_byte_timeout"
    assert comments(body)
    record = gateway.record(f"fails-{url[-5:]}")
    assert (record["status"], record["error_type"]) == (200, "timeout")


def test_a_whole_answer_after_a_keepalive_is_told_in_band_to_be_none(gateway: Gateway, url: str) -> None:
    _, body, _ = stream(url, "unasked")
    (said,) = events(body)
    assert said["error"]["code"] == "protocol"
    assert comments(body)
    assert gateway.record(f"unasked-{url[-5:]}")["error_type"] == "protocol"


def test_a_refusal_after_a_keepalive_is_told_in_band(url: str) -> None:
    said = events(stream(url, "refuses")[1])
    assert len(said) == 1
    assert said[0]["error"]["type"] == "invalid_request_error"


def test_silence_in_the_middle_gets_comments_between_events(url: str) -> None:
    _, body, _ = stream(url, "sim@tps=0+stall=3;for=650ms")
    kept = comments(body)
    assert 2 <= len(kept) <= 4
    parts = body.split(b"\n\n")
    places = [index for index, part in enumerate(parts) if part.startswith(b":")]
    assert places == list(range(places[0], places[0] + len(kept)))
    assert places[0] >= 3
    assert all(part.startswith((b"data: ", b":")) for part in parts[:-1])
    assert events(body)[-1] == "[DONE]"


def test_a_comment_never_stands_inside_an_event(url: str) -> None:
    """The upstream halts in the middle of an event's bytes: half of it must not leave, or the comment would break it."""
    _, body, _ = stream(url, "halting")
    assert len(comments(body)) >= 3
    assert b"data: " + HALF + b"\n\n" in body
    assert events(body)[-1] == "[DONE]"


def test_keepalives_do_not_hide_a_dead_upstream(gateway: Gateway, url: str) -> None:
    """They are ours, not the backend's: its silence counts on."""
    at = time.monotonic()
    _, body, _ = stream(url, "sim@tps=0+hang=3")
    assert 0.6 < time.monotonic() - at < 3
    said = events(body)
    assert said[-1]["error"]["code"] == "idle_timeout"
    assert comments(body)
