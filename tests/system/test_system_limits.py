"""Limits over real sockets, by both engines: what passes at once, what a refused request consumed, what callers are told, and reloads.

Each test has a tenant of its own for each engine, since all listeners of a gateway count together.
"""

import hashlib
import json
import math
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from raw_client import RawClient
from raw_upstream import RawUpstream
from rig import Gateway, Simulator, call, chat, eventually, running

CHAT = "/v1/chat/completions"
ENGINES = ("builtin", "hypercorn")

TENANTS = {
    "edge": "rpm = 2",
    "tokens": "tpm = 1000",
    "left": "tpm = 600",
    "room": "concurrency = 3",
    "both": "rpm = 3\nconcurrency = 2",
    "whole": "rpm = 100\ntpm = 100000",
    "told": "rpm = 1",
    "sdk": "rpm = 30\ntpm = 1000000",
    "lists": "rpm = 3\ntpm = 50",
    "failed": "rpm = 3\ntpm = 600",
    "upload": "rpm = 1\ntpm = 100000",
    "free": "",
}
"""Their limits; each has one key, named as it is, for each engine. What comes back with time comes slowly: a test must not see it come."""


USAGE_OF_HELD = 20
HELD_BODY = b'{"id":"c","object":"chat.completion","created":1,"model":"held","choices":[],"usage":' + (
    b'{"prompt_tokens":15,"completion_tokens":5,"total_tokens":%d}}' % USAGE_OF_HELD
)


class Holding(RawUpstream):
    """Answers nobody until the test lets it."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.go = threading.Event()

    def _answer(self, sock: socket.socket) -> None:
        self.go.wait(60)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(HELD_BODY)
        sock.sendall(head + HELD_BODY)


def key_of(name: str, engine: str) -> str:
    return f"sk-{name}-{engine}"


def tenants(limits: dict[str, str]) -> str:
    text = ""
    for name, lines in limits.items():
        for engine in ENGINES:
            digest = hashlib.sha256(key_of(name, engine).encode()).hexdigest()
            text += f'[tenants.{name}-{engine}]\n{lines}\nkeys = [ {{ id = "{name}-{engine}", sha256 = "{digest}" }} ]\n'
    return text


def config(simulator: Simulator, limits: dict[str, str], holding: str = "http://127.0.0.1:9") -> str:
    return f"""
[limits]
answer_tokens_max = 300
[backends.sim]
provider = "custom"
base_url = "{simulator.url}/v1"
breaker = {{ consecutive_failures = 0, failure_ratio = 0 }}
[backends.down]
provider = "custom"
base_url = "http://127.0.0.1:9/v1"
[backends.holding]
provider = "custom"
base_url = "{holding}/v1"
[[routes]]
name = "held"
models = ["held"]
targets = [ {{ backend = "holding" }} ]
[[routes]]
name = "users"
models = ["users-*"]
targets = [ {{ backend = "sim" }} ]
limits = {{ rpm = 2, per = "user" }}
[[routes]]
name = "narrow"
models = ["narrow"]
targets = [ {{ backend = "sim" }} ]
limits = {{ rpm = 2 }}
[backends.idle]
provider = "custom"
base_url = "{simulator.url}/v1"
[[routes]]
name = "idle"
models = ["idle"]
targets = [ {{ backend = "idle" }} ]
[[routes]]
name = "down"
models = ["down"]
targets = [ {{ backend = "down" }} ]
retry = {{ attempts = 1 }}
[[routes]]
name = "once"
models = ["once+*"]
targets = [ {{ backend = "sim" }} ]
retry = {{ attempts = 1 }}
[[routes]]
name = "all"
targets = [ {{ backend = "sim" }} ]
{tenants(limits)}
"""


@pytest.fixture(scope="module")
def holding() -> Iterator[Holding]:
    with Holding() as one:
        yield one


@pytest.fixture(scope="module")
def gateway(simulator: Simulator, holding: Holding, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    one = Gateway(tmp_path_factory.mktemp("limits"), config(simulator, TENANTS, holding.url))
    with running(one):
        call(one.admin_url + "/admin/backends/idle/drain", {})
        yield one
        assert "Traceback" not in one.log


class Caller:
    """A tenant of its own."""

    def __init__(self, gateway: Gateway, engine: str, name: str) -> None:
        self.gateway, self.name, self.key = gateway, f"{name}-{engine}", key_of(name, engine)
        self.url = gateway.url if engine == "builtin" else gateway.hypercorn_url

    def ask(self, body: Any, path: str = CHAT, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return call(self.url + path, body, authorization=f"Bearer {self.key}", **headers)

    def at_once(self, count: int, body: Any) -> list[tuple[int, dict[str, str], bytes]]:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(self.ask, [body] * count))

    def open_stream(self, body: Any) -> RawClient:
        """A stream whose first event has come."""
        client = RawClient(self.url)
        client.ask(body, CHAT, authorization=f"Bearer {self.key}")
        status, _ = client.read_head()
        if status != 200:
            client.sock.close()
        assert status == 200
        client.read_until(b"data: ")
        return client


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def limits_of(headers: dict[str, str]) -> dict[str, int]:
    return {name.removeprefix("x-ratelimit-"): int(value) for name, value in headers.items() if name.startswith("x-ratelimit-")}


def test_of_many_requests_at_once_exactly_the_limit_passes_and_no_backend_sees_the_others(
    gateway: Gateway, engine: str, simulator: Simulator
) -> None:
    simulator.reset()
    answers = Caller(gateway, engine, "edge").at_once(40, chat("sim@ttft=300ms"))
    statuses = [status for status, _, _ in answers]
    assert (statuses.count(200), statuses.count(429)) == (2, 38)
    assert simulator.stats()["requests"] == 2
    for status, headers, body in answers:
        if status == 429:
            told = re.search(rb"try again in (\d+) s", body)
            assert told is not None
            assert int(told[1]) == int(headers["retry-after"]) <= 30
            assert json.loads(body)["error"]["code"] == "rate_limit_exceeded"


def test_tokens_at_once_pass_as_far_as_the_limit_goes_and_come_back_as_far_as_they_were_not_used(
    gateway: Gateway, engine: str, holding: Holding
) -> None:
    one = Caller(gateway, engine, "tokens")
    holding.go.clear()
    body = chat("held", "Hello there! " * 4, max_tokens=184)  # 13 tokens as they are estimated, and 187 of an answer
    with ThreadPoolExecutor(20) as pool:
        try:
            asked = [pool.submit(one.ask, body) for _ in range(20)]
            refused = eventually(lambda: len(told := [job.result() for job in asked if job.done()]) == 15 and told, 60)
            assert {status for status, _, _ in refused} == {429}
            assert all(b"the limit of 1000 tokens per minute" in body for _, _, body in refused)
        finally:
            holding.go.set()
        passed = [job.result()[0] for job in asked].count(200)
    assert passed == 5
    gateway.settle()
    status, headers, _ = one.ask(chat("sim", "[[tokens=5]]", max_tokens=5))
    assert status == 200
    assert limits_of(headers)["remaining-tokens"] >= 1000 - passed * USAGE_OF_HELD - 15


@pytest.mark.parametrize("stream", [False, True])
def test_every_answer_of_a_limited_caller_says_how_the_limits_stand(gateway: Gateway, engine: str, *, stream: bool) -> None:
    one = Caller(gateway, engine, "whole")
    status, headers, _ = one.ask(chat("sim", max_tokens=200, stream=stream))
    limits = limits_of(headers)
    assert status == 200
    assert set(limits) == {f"{what}-{kind}" for what in ("limit", "remaining", "reset") for kind in ("requests", "tokens")}
    assert (limits["limit-requests"], limits["limit-tokens"]) == (100, 100_000)
    assert 80 < limits["remaining-requests"] < 100, "no test asks for this tenant so often that it would be less"
    assert 100_000 - 2_000 < limits["remaining-tokens"] < 100_000 - 200
    assert limits["reset-requests"] == math.ceil(limits["reset-requests"])
    assert 0 < limits["reset-tokens"] <= 60
    for body, why in ((chat("sim+400"), 400), ({"model": "sim"}, 400), (b"{", 400), (chat("once+500"), 502)):
        status, headers, _ = one.ask(body)
        assert (status, limits_of(headers)["limit-requests"]) == (why, 100), body
    assert not limits_of(call(one.url + CHAT, chat("sim"), authorization="Bearer nobody")[1])


def test_a_backends_own_figures_reach_only_callers_without_a_limit(gateway: Gateway, engine: str) -> None:
    theirs = Caller(gateway, engine, "free").ask(chat("sim"))[1]
    assert theirs["x-ratelimit-limit-requests"] == "10000"
    ours = Caller(gateway, engine, "room").ask(chat("sim"))[1]
    assert not limits_of(ours)


def test_each_user_has_a_limit_of_their_own_and_the_route_one_for_all(gateway: Gateway, engine: str) -> None:
    one = Caller(gateway, engine, "free")
    got = [one.ask(chat("users-x"), x_user_id=f"{engine}-{name}")[0] for name in ("ann", "bob", "ann", "bob", "ann", "bob", "cid")]
    assert got == [200, 200, 200, 200, 429, 429, 200]
    got = [one.ask(chat("users-x", user=f"{engine}-dan"))[0] for _ in range(3)]
    assert got == [200, 200, 429]
    status, headers, body = one.ask(chat("users-x"), x_user_id=f"{engine}-ann")
    assert (status, b"each user of the route 'users'" in body) == (429, True)
    assert 0 < int(headers["retry-after"]) <= 30
    if engine == ENGINES[0]:
        assert [Caller(gateway, name, "free").ask(chat("narrow"))[0] for name in (*ENGINES, *ENGINES)] == [200, 200, 429, 429]


def test_places_of_slow_streams_are_free_again_when_clients_leave_and_when_streams_end(gateway: Gateway, engine: str) -> None:
    one = Caller(gateway, engine, "room")
    clients = [one.open_stream(chat("sim@tps=5+endless", stream=True)) for _ in range(3)]
    status, headers, body = one.ask(chat("sim"))
    assert (status, headers["retry-after"]) == (429, "1")
    assert b"the limit of 3 requests at once" in body
    clients[0].sock.close()
    eventually(lambda: one.ask(chat("sim"))[0] == 200)
    clients[0] = eventually(lambda: one.open_stream(chat("sim@tps=5+endless", stream=True)))
    assert one.ask(chat("sim"))[0] == 429
    for client in clients:
        client.sock.close()
    gateway.settle()
    for _ in range(8):
        assert one.ask(chat("sim", stream=True))[0] == 200
    for fault in ("500", "cut=2", "error_event=1", "reset"):
        one.ask(chat(f"once+{fault}", stream=True))
    gateway.settle()
    assert [status for status, _, _ in one.at_once(3, chat("sim@ttft=300ms"))] == [200] * 3


def test_who_is_refused_for_want_of_a_place_has_used_no_request(gateway: Gateway, engine: str) -> None:
    one = Caller(gateway, engine, "both")
    clients = [one.open_stream(chat("sim@tps=5+endless", stream=True)) for _ in range(2)]
    statuses = [one.ask(chat("sim"))[0] for _ in range(10)]
    assert statuses == [429] * 10
    for client in clients:
        client.sock.close()
    gateway.settle()
    assert [one.ask(chat("sim"))[0] for _ in range(2)] == [200, 429]


def test_what_can_never_pass_says_so_to_people_and_to_their_client(gateway: Gateway, engine: str) -> None:
    one = Caller(gateway, engine, "tokens")
    status, headers, body = one.ask(chat("sim", "word " * 2000))
    assert (status, headers["x-should-retry"]) == (429, "false")
    assert b"can never" in body
    assert int(headers["retry-after"]) > 0


DIALECTS = [
    (CHAT, chat("sim"), lambda told: told["error"]["type"] == "rate_limit_error"),
    ("/v1/messages", {**chat("sim"), "max_tokens": 9}, lambda told: told["error"]["type"] == "rate_limit_error"),
    (
        "/v1beta/models/sim:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
        lambda told: told["error"]["status"] == "RESOURCE_EXHAUSTED" and "retryDelay" in json.dumps(told),
    ),
    ("/v1/responses", {"model": "sim", "input": "Hi"}, lambda told: told["error"]["code"] == "rate_limit_exceeded"),
]


def test_a_refusal_is_told_in_the_callers_own_language_counted_and_remembered(gateway: Gateway, engine: str) -> None:
    one = Caller(gateway, engine, "told")
    assert one.ask(chat("sim"))[0] == 200
    for path, body, right in DIALECTS:
        status, headers, answer = one.ask(body, path, anthropic_version="2023-06-01")
        assert status == 429, path
        assert "retry-after" in headers
        assert limits_of(headers)["remaining-requests"] == 0
        assert right(json.loads(answer)), answer
        assert b"1 requests per minute for the tenant 'told-" in answer
        assert gateway.record(headers["x-request-id"])["error_type"] == "rate_limit_exceeded"
    counted = [
        f'aigateway_rate_limit_hits_total{{tenant_id="{one.name}"}}',
        f'llm_gateway_llm_gateway_rate_limit_hits_total{{tenant="{one.name}",limit_type="requests"}}',
    ]
    for series in counted:
        assert gateway.metric(series) == len(DIALECTS), gateway.metrics_text()
    assert gateway.metric('inference_gateway_rate_limit_hits_total{route="all",user="none"}') >= len(DIALECTS)


def test_model_lists_count_as_requests_and_counts_of_tokens_as_no_tokens(gateway: Gateway, engine: str) -> None:
    one = Caller(gateway, engine, "lists")
    counted = {**chat("sim", "word " * 500)}
    status, headers, _ = one.ask(counted, "/v1/messages/count_tokens", anthropic_version="2023-06-01")
    assert (status, limits_of(headers)["remaining-tokens"]) == (200, 50)
    client = openai.OpenAI(base_url=one.url + "/v1", api_key=one.key, max_retries=0)
    raw = client.models.with_raw_response.list()
    assert raw.headers["x-ratelimit-remaining-requests"] == "1"
    client.models.retrieve("narrow")
    with pytest.raises(openai.RateLimitError) as refused:
        client.models.list()
    assert int(refused.value.response.headers["retry-after"]) > 0


def test_a_failed_request_counts_as_one_and_uses_no_tokens_and_one_that_no_backend_saw_counts_as_none(
    gateway: Gateway, engine: str
) -> None:
    one = Caller(gateway, engine, "failed")
    for _ in range(6):
        assert one.ask(chat("no-such-model" * 40))[0] != 200
        assert one.ask({"model": "sim"})[0] == 400
        assert one.ask(chat("free+"), x_provider="nobody")[0] == 400
        assert one.ask(chat("idle", max_tokens=300))[0] == 503
        gateway.settle()  # only then its tokens are back
    status, headers, _ = one.ask(chat("once+500", max_tokens=300))
    assert (status, limits_of(headers)["remaining-requests"]) == (502, 2)
    gateway.settle()
    status, headers, _ = one.ask(chat("down", max_tokens=300))
    assert (status, limits_of(headers)["remaining-requests"]) == (502, 1)
    gateway.settle()
    status, headers, _ = one.ask(chat("sim", "[[tokens=5]]", max_tokens=300))
    assert status == 200
    assert limits_of(headers)["remaining-tokens"] > 290
    assert one.ask(chat("sim"))[0] == 429


def test_a_stream_that_is_left_used_what_had_come_of_it(gateway: Gateway, engine: str) -> None:
    """Ten tokens of the limit come back in a second and five come of the answer: ten seconds change nothing of what is told here."""
    one = Caller(gateway, engine, "left")
    client = one.open_stream(chat("sim@tps=5+endless", "word " * 160, max_tokens=300, stream=True))  # 200 of the prompt
    other = chat("sim", "word " * 200, max_tokens=5)  # 255
    assert one.ask(other)[0] == 429
    client.sock.close()
    _, headers, _ = eventually(lambda: (answer := one.ask(other))[0] == 200 and answer)
    kept = 600 - 200 - 255
    assert kept - 5 * 10 < limits_of(headers)["remaining-tokens"] < kept + 10 * 10


def test_a_form_counts_before_it_is_sent_on(gateway: Gateway, engine: str) -> None:
    one = Caller(gateway, engine, "upload")
    client = openai.OpenAI(base_url=one.url + "/v1", api_key=one.key, max_retries=0)
    raw = client.audio.transcriptions.with_raw_response.create(model="gpt-4o-transcribe", file=("a.wav", b"x" * 500_000))
    assert raw.headers["x-ratelimit-limit-requests"] == "1"
    with pytest.raises(openai.RateLimitError):
        client.audio.transcriptions.create(model="gpt-4o-transcribe", file=("a.wav", b"x" * 500_000))
    with pytest.raises(openai.RateLimitError):
        client.audio.speech.create(model="tts-1", voice="alloy", input="Hello")


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_the_official_sdks_come_back_after_the_told_time_and_pass(gateway: Gateway, engine: str, vendor: str) -> None:
    one = Caller(gateway, engine, "sdk")
    answers = one.at_once(40, chat("sim", max_tokens=2))
    assert any(status == 429 for status, _, _ in answers)
    wait_s = max(int(headers.get("retry-after", 0)) for _, headers, _ in answers)
    begun = time.monotonic()
    if vendor == "openai":
        said = openai.OpenAI(base_url=one.url + "/v1", api_key=one.key, max_retries=1).chat.completions.create(
            model="sim", messages=[{"role": "user", "content": "Hello"}], max_tokens=2
        )
        assert said.usage is not None
    else:
        anthropic.Anthropic(base_url=one.url, api_key=one.key, max_retries=1).messages.create(
            model="sim", messages=[{"role": "user", "content": "Hello"}], max_tokens=2
        )
    assert time.monotonic() - begun < wait_s + 10


def test_a_reload_changes_limits_and_what_was_used_stays_used(simulator: Simulator, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, config(simulator, {"edge": "rpm = 2", "room": "concurrency = 2"}))

    def reload(limits: dict[str, str]) -> None:
        known = len([one for one in gateway.events() if one.get("event") == "reloaded"])
        gateway.write_config(config(simulator, limits))
        gateway.signal(signal.SIGHUP)
        eventually(lambda: len([one for one in gateway.events() if one.get("event") == "reloaded"]) > known)

    with running(gateway):
        edge, room = Caller(gateway, "builtin", "edge"), Caller(gateway, "builtin", "room")
        streams = [room.open_stream(chat("sim@tps=5+endless", stream=True)) for _ in range(2)]
        assert edge.ask(chat("sim"))[0] == 200
        reload({"edge": "rpm = 3", "room": "concurrency = 3"})
        assert [edge.ask(chat("sim"))[0] for _ in range(3)] == [200, 200, 429]
        streams.append(room.open_stream(chat("sim@tps=5+endless", stream=True)))
        assert room.ask(chat("sim"))[0] == 429
        reload({"edge": "rpm = 1", "room": "concurrency = 1"})
        status, headers, _ = edge.ask(chat("sim"))
        assert (status, limits_of(headers)["limit-requests"]) == (429, 1)
        assert 60 < int(headers["retry-after"]) <= 120  # a bucket may be overdrawn by a whole one
        streams[0].sock.close()
        eventually(lambda: gateway.metric("appliance_in_flight_requests") == 2)
        assert room.ask(chat("sim"))[0] == 429
        reload({"edge": "", "room": ""})
        assert [edge.ask(chat("sim"))[0] for _ in range(5)] == [200] * 5
        assert room.ask(chat("sim"))[0] == 200
        for client in streams:
            client.sock.close()
