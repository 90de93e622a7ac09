"""on_disconnect = "drain": after the client has left the upstream is read to its usage, so that what was paid for is counted; within bounds
of time and number.
"""

import time
from collections.abc import Iterator

import pytest
from raw_client import RawClient, events
from rig import Gateway, Simulator, call, chat, eventually, running

CONFIG = """
[backends.sim]
provider = "custom"
base_url = "{url}/v1"
breaker = {{ consecutive_failures = 1 }}
[[routes]]
name = "brief"
models = ["brief"]
targets = [ {{ backend = "sim", model = "sim@tps=50+endless" }} ]
on_disconnect = "drain"
drain_max_s = 0.6
[[routes]]
name = "deaf"
models = ["deaf"]
targets = [ {{ backend = "sim", model = "sim+hang=6" }} ]
on_disconnect = "drain"
drain_max_s = 0.6
[[routes]]
name = "all"
targets = [ {{ backend = "sim" }} ]
on_disconnect = "drain"
drain_max_s = 20
"""

LONG = "[[tokens=100]]"


@pytest.fixture(scope="module")
def gateway(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    one = Gateway(tmp_path_factory.mktemp("draining"), CONFIG.format(url=simulator.url), head="drains_max = 2")
    with running(one):
        yield one


@pytest.fixture(autouse=True)
def _nothing_left(gateway: Gateway, simulator: Simulator) -> Iterator[None]:
    simulator.reset()
    yield
    eventually(lambda: gateway.metric("appliance_in_flight_requests") == 0)
    assert gateway.metric("aigateway_active_streams") == 0
    pool = gateway.provider("sim")["connections"]
    assert pool["open"] == pool["idle"]
    assert gateway.provider("sim")["breaker"] == "closed"
    assert "Traceback" not in gateway.log


def last_of(simulator: Simulator) -> dict[str, object]:
    return simulator.stats(1)["last"][0]


def ask_and_leave(url: str, model: str, request_id: str, how: str = "close") -> None:
    with RawClient(url) as client:
        client.ask(chat(model, LONG, stream=True), x_request_id=request_id)
        for _ in range(3):  # the first is empty: the role
            client.read_until(b'"content":"')
        client.leave(how)


@pytest.mark.parametrize("how", ["close", "rst"])
def test_a_stream_is_read_to_its_usage(gateway: Gateway, simulator: Simulator, url: str, how: str) -> None:
    ask_and_leave(url, "sim@tps=50", f"drained-{how}-{url[-5:]}", how)
    record = gateway.record(f"drained-{how}-{url[-5:]}")
    seen = last_of(simulator)
    assert seen["outcome"] == "complete"
    assert (record["status"], record["error_type"]) == (499, "client_gone")
    usage = record["usage"]
    assert usage["source"] == "drained"
    assert (usage["input_tokens"], usage["output_tokens"]) == (seen["prompt_tokens"], seen["completion_tokens"])
    assert record["attempts"][0]["outcome"] == "success"
    assert record["attempts"][0]["finish_reason"] == "stop"


def test_a_whole_answer_is_read_to_its_usage(gateway: Gateway, simulator: Simulator, url: str) -> None:
    with RawClient(url) as client:
        client.ask(chat("sim@ttft=2s,tps=0"), x_request_id=f"whole-{url[-5:]}")
        eventually(lambda: simulator.stats()["in_flight"] == 1)
        client.leave()
    record = gateway.record(f"whole-{url[-5:]}")
    seen = last_of(simulator)
    assert seen["outcome"] == "complete"
    assert record["status"] == 499
    assert record["usage"]["source"] == "drained"
    assert record["usage"]["output_tokens"] == seen["completion_tokens"]


def test_a_client_that_stays_gets_everything_and_nothing_is_called_drained(gateway: Gateway, url: str) -> None:
    for stream in (True, False):
        request_id = f"stays-{stream}-{url[-5:]}"
        status, _, body = call(f"{url}/v1/chat/completions", chat("sim@tps=0", stream=stream), x_request_id=request_id)
        assert status == 200
        if stream:
            assert events(body)[-1] == "[DONE]"
        record = gateway.record(request_id)
        assert (record["status"], record["error_type"]) == (200, "")
        assert record["usage"]["source"] == "provider"


@pytest.mark.parametrize("model", ["brief", "deaf"])
def test_reading_on_is_bounded_in_time(gateway: Gateway, simulator: Simulator, url: str, model: str) -> None:
    at = time.monotonic()
    ask_and_leave(url, model, f"{model}-{url[-5:]}")
    record = gateway.record(f"{model}-{url[-5:]}")
    assert 0.5 < time.monotonic() - at < 10
    eventually(lambda: last_of(simulator)["outcome"] == "client_gone")
    assert (record["status"], record["error_type"]) == (499, "client_gone")
    assert record["usage"]["source"] == "estimated"
    assert record["attempts"][0]["outcome"] == "cancelled"


def test_reading_on_is_bounded_in_number(gateway: Gateway, simulator: Simulator, url: str) -> None:
    for number in range(4):
        ask_and_leave(url, "sim@tps=20", f"crowd-{number}-{url[-5:]}")
    eventually(lambda: simulator.stats()["in_flight"] == 2)
    records = [gateway.record(f"crowd-{number}-{url[-5:]}") for number in range(4)]
    assert sorted(record["usage"]["source"] for record in records) == ["drained", "drained", "estimated", "estimated"]
    # Their places are free again.
    ask_and_leave(url, "sim@tps=50", f"after-{url[-5:]}")
    assert gateway.record(f"after-{url[-5:]}")["usage"]["source"] == "drained"
