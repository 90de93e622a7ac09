"""Upstreams that are slow or hang: each phase has its bound and its kind of fault, a 504 before the commit and in-band after it; and each
time the upstream's connection is closed.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from raw_client import RawClient, events
from raw_upstream import STREAM_HEAD, RawUpstream, delta, event, full_backlog
from rig import Gateway, Simulator, chat, eventually, running

CONFIG = """
[backends.first]
provider = "custom"
base_url = "{url}/v1"
timeouts = {{ first_byte_s = 0.4 }}
[backends.idle]
provider = "custom"
base_url = "{url}/v1"
timeouts = {{ idle_s = 1.0 }}
[backends.total]
provider = "custom"
base_url = "{url}/v1"
timeouts = {{ total_s = 0.6 }}
[backends.patient]
provider = "custom"
base_url = "{url}/v1"
timeouts = {{ total_s = 5.0 }}
[backends.steady]
provider = "custom"
base_url = "{url}/v1"
timeouts = {{ idle_s = 3.0 }}
[backends.connect]
provider = "custom"
base_url = "http://127.0.0.1:{full}/v1"
timeouts = {{ connect_s = 0.4 }}
[backends.open]
provider = "custom"
base_url = "{endless}/v1"
timeouts = {{ total_s = 0.6, idle_s = 0.4 }}
[[routes]]
name = "any"
models = ["falls-back"]
strategy = "priority"
targets = [ {{ backend = "connect", model = "sim" }}, {{ backend = "first", model = "sim+hang" }} ]
fallback = [ {{ backend = "idle", model = "sim" }} ]
"""


def trickle_for_ever(sock) -> None:
    """An answer whose end only the connection's end could show, and which never ends."""
    sock.sendall(STREAM_HEAD + event(delta("hello")))
    while True:
        time.sleep(0.02)
        sock.sendall(b": still here\n\n")


@pytest.fixture(scope="module")
def gateway(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with full_backlog() as full, RawUpstream(trickle_for_ever) as endless:
        one = Gateway(tmp_path_factory.mktemp("timeouts"), config_of(simulator.url, full, endless.url))
        with running(one):
            yield one


def config_of(url: str, full: int, endless: str) -> str:
    """Without breakers and retries: each test sees its one fault."""
    text = CONFIG.format(url=url, full=full, endless=endless)
    text = text.replace('provider = "custom"\n', 'provider = "custom"\nbreaker = { consecutive_failures = 0, failure_ratio = 0.0 }\n')
    routes = "".join(
        f'[[routes]]\nname = "{name}-alone"\nmodels = ["{name}/*"]\ntargets = [ {{ backend = "{name}" }} ]\nretry = {{ attempts = 1 }}\n'
        for name in ("connect", "first", "idle", "steady", "total", "open")
    )
    return text + routes


@pytest.fixture(autouse=True)
def _upstream_closed(gateway: Gateway, simulator: Simulator) -> Iterator[None]:
    simulator.reset()
    yield
    eventually(lambda: simulator.stats()["in_flight"] == 0)
    eventually(lambda: not [one for one in gateway.admin("/admin/providers")["providers"] if in_use(one)])
    assert "Traceback" not in gateway.log


def in_use(provider: dict[str, Any]) -> bool:
    return bool(provider["in_flight"] or provider["connections"]["open"] > provider["connections"]["idle"])


def ask(url: str, model: str, *, stream: bool) -> tuple[int, bytes, float]:
    """Status, body and seconds."""
    with RawClient(url) as client:
        at = time.monotonic()
        client.ask(chat(model, stream=stream), x_request_id=f"r-{model.replace('/', '-')}-{stream}-{url[-5:]}"[:100])
        status, headers = client.read_head()
        body = client.read_body(headers)
        return status, body, time.monotonic() - at


def error_code(body: bytes) -> str:
    return json.loads(body)["error"]["code"]


def check_504(answer: tuple[int, bytes, float], code: str, at_least_s: float) -> None:
    status, body, took_s = answer
    assert (status, error_code(body)) == (504, code)
    assert at_least_s * 0.9 < took_s < at_least_s * 10


@pytest.mark.parametrize("stream", [True, False])
def test_a_connection_that_is_never_accepted(gateway: Gateway, url: str, stream: bool) -> None:
    check_504(ask(url, "connect/x", stream=stream), "connect_timeout", 0.4)
    assert "connect" in gateway.provider("connect")["last_error"] or "accept" in gateway.provider("connect")["last_error"]


@pytest.mark.parametrize("fault", ["hang", "early_head=5s"])
def test_a_stream_whose_first_byte_does_not_come(simulator: Simulator, url: str, fault: str) -> None:
    """A head alone is no byte of a stream: some providers send it before they have a place for the request."""
    simulator.fault("*", fault)
    check_504(ask(url, "first/sim", stream=True), "first_byte_timeout", 0.4)
    eventually(lambda: simulator.stats(1)["last"][0]["outcome"] == "client_gone")


def test_a_whole_answer_may_take_longer_than_a_streams_first_byte(url: str) -> None:
    status, _, took_s = ask(url, "first/sim@ttft=800ms", stream=False)
    assert status == 200
    assert took_s > 0.7


@pytest.mark.parametrize("fault", ["trickle=20ms"])
def test_a_whole_answer_that_takes_too_long(simulator: Simulator, url: str, fault: str) -> None:
    simulator.fault("*", fault)
    check_504(ask(url, "total/sim", stream=False), "total_timeout", 0.6)
    eventually(lambda: simulator.stats(1)["last"][0]["outcome"] == "client_gone")


def test_a_stream_that_falls_silent(gateway: Gateway, simulator: Simulator, url: str) -> None:
    simulator.fault("*", "hang=4")
    status, body, took_s = ask(url, "idle/sim", stream=True)
    said = events(body)
    assert status == 200
    assert said[-1]["error"]["code"] == "idle_timeout"
    assert len(said) == 5, "the four events that came, and the error"
    assert 0.9 < took_s < 10
    eventually(lambda: simulator.stats(1)["last"][0]["outcome"] == "client_gone")
    record = gateway.record(f"r-idle-sim-True-{url[-5:]}")
    assert (record["status"], record["error_type"]) == (200, "timeout")


def test_pauses_shorter_than_the_bound_are_no_silence(simulator: Simulator, url: str) -> None:
    """However many: the bound is on each silence, not on their sum."""
    status, body, took_s = ask(url, "idle/sim@tps=25", stream=True)
    assert (status, events(body)[-1]) == (200, "[DONE]")
    assert took_s > 0.5


def test_what_came_while_the_gateway_stood_still_is_read_before_anybody_is_blamed(gateway: Gateway, simulator: Simulator) -> None:
    """As in a virtual machine that is moved: longer than the bounds on a silence and on a whole answer, and the backends answered."""
    with RawClient(gateway.url) as streamed, RawClient(gateway.url) as whole:
        streamed.ask(chat("steady/sim@tps=4", "[[tokens=20]]", stream=True))
        whole.ask(chat("patient/sim@ttft=1s,tps=0"))
        eventually(lambda: simulator.stats()["in_flight"] == 2)
        os.kill(gateway.popen.pid, signal.SIGSTOP)
        time.sleep(7)
        os.kill(gateway.popen.pid, signal.SIGCONT)
        status, headers = whole.read_head()
        assert (status, "choices" in json.loads(whole.read_body(headers))) == (200, True)
        assert events(streamed.read_body(streamed.read_head()[1]))[-1] == "[DONE]"


def test_a_stream_that_goes_on_too_long(simulator: Simulator, url: str) -> None:
    status, body, took_s = ask(url, "total/sim@tps=100+endless", stream=True)
    said = events(body)
    assert status == 200
    assert said[-1]["error"]["code"] == "total_timeout"
    assert len(said) > 5
    assert 0.55 < took_s < 6
    eventually(lambda: simulator.stats(1)["last"][0]["outcome"] == "client_gone")


def test_a_stream_without_an_end_is_not_taken_for_whole_when_its_time_is_up(gateway: Gateway, url: str) -> None:
    """The end of such a stream is the end of its connection; ours of it must not count."""
    status, body, _ = ask(url, "open/x", stream=True)
    assert status == 200
    assert events(body)[-1]["error"]["code"] == "total_timeout"


def test_slow_backends_are_passed_over_in_turn(gateway: Gateway, url: str) -> None:
    status, body, took_s = ask(url, "falls-back", stream=True)
    assert (status, events(body)[-1]) == (200, "[DONE]")
    assert 0.7 < took_s < 8
    attempts = gateway.record(f"r-falls-back-True-{url[-5:]}")["attempts"]
    assert [(one["backend"], one["error_type"]) for one in attempts] == [("connect", "timeout"), ("first", "timeout"), ("idle", "")]


def test_a_timeout_counts_against_the_backend_and_a_client_that_does_not_read_does_not(gateway: Gateway, simulator: Simulator) -> None:
    errors = gateway.provider("total")["errors"]
    ask(gateway.url, "total/sim+hang", stream=False)
    eventually(lambda: gateway.provider("total")["errors"] == errors + 1)
    with RawClient(gateway.url, receive_buffer_bytes=4096) as client:
        client.ask(chat("patient/sim@tps=0+burst", "[[tokens=100000]]", stream=True), x_request_id="does-not-read")
        headers = client.read_head()[1]
        eventually(lambda: simulator.stats(1)["last"][0]["outcome"] == "client_gone", 20)
        assert events(client.read_body(headers))[-1]["error"]["code"] == "client_gone"
    assert gateway.record("does-not-read")["error_type"] == "client_gone"
    assert gateway.provider("patient")["errors"] == 0
