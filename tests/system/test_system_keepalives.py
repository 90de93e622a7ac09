"""A silent stream is kept alive: after keepalive_s comes the head with a comment, then comments; and it may still fall back until the first
model event. A comment never stands inside an event.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from raw_client import RawClient, events
from raw_upstream import STREAM_HEAD, RawUpstream, delta, event
from rig import Gateway, Simulator, chat, running

KEEPALIVE_S = 0.1
STREAM_S = 30.0
"""No stream of these tests takes so long, whatever the machine does beside it; one that is kept alive for ever does."""

CONFIG = """
[backends.sim]
provider = "custom"
base_url = "{url}/v1"
[backends.hasty]
provider = "custom"
base_url = "{url}/v1"
timeouts = {{ first_byte_s = 1.0, idle_s = 1.0 }}
breaker = {{ consecutive_failures = 0, failure_ratio = 0.0 }}
[backends.late]
provider = "custom"
base_url = "{late}/v1"
[backends.resting]
provider = "custom"
base_url = "{resting}/v1"
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
targets = [ {{ backend = "sim", model = "sim+latency=1s+400" }} ]
keepalive_s = {keepalive_s}
[[routes]]
name = "dies"
models = ["dies"]
targets = [ {{ backend = "hasty", model = "sim@tps=0+hang=3" }} ]
keepalive_s = {keepalive_s}
[[routes]]
name = "late"
models = ["late"]
targets = [ {{ backend = "late" }} ]
keepalive_s = {keepalive_s}
[[routes]]
name = "resting"
models = ["resting"]
targets = [ {{ backend = "resting" }} ]
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
"""

HALF = delta("one two three")
END = event(delta("", "stop")) + event(b"[DONE]")
WHOLE = b'{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"content":"whole"},"finish_reason":"stop"}]}'
WHOLE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(WHOLE)


class Silent(RawUpstream):
    """Says the first part of its answer, is silent until the test lets it go on, and says the rest."""

    def __init__(self, first: bytes, rest: bytes) -> None:
        super().__init__(self._answer)
        self._first, self._rest = first, rest
        self.go = threading.Event()

    def _answer(self, sock: socket.socket) -> None:
        sock.sendall(self._first)
        self.go.wait(STREAM_S)
        sock.sendall(self._rest)


SILENT = {
    "late": (b"", STREAM_HEAD + event(delta("zero")) + event(HALF) + END),
    "resting": (STREAM_HEAD + event(delta("zero")) + event(delta("half")), event(HALF) + END),
    "halting": (STREAM_HEAD + event(delta("zero")) + b"data: " + HALF[:90], HALF[90:] + b"\n\n" + END),  # in the middle of a word
    "unasked": (b"", WHOLE_HEAD + WHOLE),  # of what was asked for as a stream
}
"""Where each of them is silent."""


@pytest.fixture(scope="module")
def silent() -> Iterator[dict[str, Silent]]:
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(Silent(*said)) for name, said in SILENT.items()}


@pytest.fixture(scope="module")
def gateway(simulator: Simulator, silent: dict[str, Silent], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    config = CONFIG.format(url=simulator.url, keepalive_s=KEEPALIVE_S, **{name: one.url for name, one in silent.items()})
    one = Gateway(tmp_path_factory.mktemp("keepalives"), config)
    with running(one):
        yield one


def stream(url: str, model: str, upstream: Silent | None = None, kept: int = 0) -> tuple[dict[str, str], bytes, float]:
    """Headers, the whole body, and how many seconds the head took.

    upstream: it goes on when so many comments were `kept` since the last event, and no sooner.
    """
    if upstream is not None:
        upstream.go.clear()
    with RawClient(url) as client:
        at = time.monotonic()
        client.ask(chat(model, stream=True), x_request_id=f"{model}-{url[-5:]}")
        status, headers = client.read_head()
        head_s = time.monotonic() - at
        assert status == 200
        body = b""
        while chunk := client.read_chunk():
            body += chunk
            assert time.monotonic() - at < STREAM_S, body[-1000:]
            if upstream is not None and len(comments(body.rpartition(b"data: ")[2])) >= kept:
                upstream.go.set()
        assert len(comments(body)) * KEEPALIVE_S <= time.monotonic() - at, "more often than it was asked for"
        return headers, body, head_s


def comments(body: bytes) -> list[bytes]:
    return [part for part in body.split(b"\n\n") if part.startswith(b":")]


def test_a_slow_first_token_gets_a_head_and_comments_before_it(silent: dict[str, Silent], url: str) -> None:
    headers, body, head_s = stream(url, "late", silent["late"], kept=3)
    assert head_s > KEEPALIVE_S * 0.9
    assert headers["content-type"].startswith("text/event-stream")
    before, _, after = body.partition(b"data: ")
    assert len(comments(before)) >= 3
    assert not comments(after), "nothing is said while events flow"
    assert events(body)[-1] == "[DONE]"


def test_without_keepalives_the_head_waits_for_the_first_event(url: str) -> None:
    headers, body, head_s = stream(url, "silent")
    assert head_s > 0.6
    assert headers["x-served-by"] == "sim"
    assert not comments(body)


def test_a_timeout_after_a_keepalive_still_falls_back(gateway: Gateway, url: str) -> None:
    _, body, _ = stream(url, "falls-back")
    assert comments(body.partition(b"data: ")[0])
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


def test_a_whole_answer_after_a_keepalive_is_told_in_band_to_be_none(gateway: Gateway, silent: dict[str, Silent], url: str) -> None:
    _, body, _ = stream(url, "unasked", silent["unasked"], kept=1)
    (said,) = events(body)
    assert said["error"]["code"] == "protocol"
    assert comments(body)
    assert gateway.record(f"unasked-{url[-5:]}")["error_type"] == "protocol"


def test_a_refusal_after_a_keepalive_is_told_in_band(url: str) -> None:
    said = events(stream(url, "refuses")[1])
    assert len(said) == 1
    assert said[0]["error"]["type"] == "invalid_request_error"


def test_silence_in_the_middle_gets_comments_between_events(silent: dict[str, Silent], url: str) -> None:
    _, body, _ = stream(url, "resting", silent["resting"], kept=3)
    before, last, after = body.partition(event(delta("half")))
    assert last
    assert events(before)
    between = after.partition(b"data: ")[0]
    assert len(comments(between)) >= 3
    assert all(part.startswith((b"data: ", b":")) for part in body.split(b"\n\n")[:-1])
    assert events(body)[-1] == "[DONE]"


def test_a_comment_never_stands_inside_an_event(silent: dict[str, Silent], url: str) -> None:
    """The upstream halts in the middle of an event's bytes: half of it must not leave, or the comment would break it."""
    _, body, _ = stream(url, "halting", silent["halting"], kept=3)
    assert len(comments(body)) >= 3
    assert b"data: " + HALF + b"\n\n" in body
    assert events(body)[-1] == "[DONE]"


def test_keepalives_do_not_hide_a_dead_upstream(url: str) -> None:
    """They are ours, not the backend's: its silence counts on."""
    _, body, _ = stream(url, "dies")
    said = events(body)
    assert said[-1]["error"]["code"] == "idle_timeout"
    assert comments(body)
