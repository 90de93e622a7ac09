"""What requests cost, end to end: each wire language, streamed or not, by the table or the operator's own prices; and models without a
price under each policy."""

import json
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rig import Gateway, Simulator, call, chat, eventually, running

from appliance.core.price import cost_nusd
from appliance.core.usage import Usage
from appliance.prices.table import PriceTable

BACKENDS = """
[backends.{name}]
provider = "{name}"
base_url = "{url}{below}"
api_key = "test-key-0123456789"
[[routes]]
name = "{name}"
models = ["{models}"]
retry = {{ attempts = 1 }}
targets = [ {{ backend = "{name}" }} ]
"""
OWN = """
[prices]
unknown_model = "{policy}"
[prices.models."house-model"]
input_usd_per_mtok = 1.1
output_usd_per_mtok = 2.2
[prices.models."drawn"]
request_usd = 0.04
[backends.house]
provider = "custom"
base_url = "{url}/v1"
[[routes]]
name = "house"
models = ["house-*", "nobody-*", "drawn"]
targets = [ {{ backend = "house" }} ]
[[routes]]
name = "mixed"
models = ["mixed"]
strategy = "priority"
targets = [ {{ backend = "house", model = "nobody-knows" }}, {{ backend = "house", model = "house-model" }} ]
"""
VENDORS = (("openai", "/v1", "gpt-*"), ("anthropic", "", "claude-*"), ("gemini", "", "gemini-*"), ("cohere", "", "command-*"))
MESSAGES = [{"role": "user", "content": "Count the sheep."}]


def config(url: str, policy: str) -> str:
    vendors = "".join(BACKENDS.format(name=name, url=url, below=below, models=models) for name, below, models in VENDORS)
    return OWN.format(url=url, policy=policy) + vendors


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    one = Simulator(tmp_path_factory.mktemp("prices-sim"))
    with running(one):
        yield one


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, simulator: Simulator) -> Iterator[Gateway]:
    one = Gateway(tmp_path_factory.mktemp("prices"), config(simulator.url, "zero"))
    with running(one):
        yield one


def policy(gateway: Gateway, simulator: Simulator, wanted: str) -> None:
    """Put another policy in force."""
    before = sum(event.get("event") == "reloaded" for event in gateway.events())
    gateway.write_config(config(simulator.url, wanted))
    gateway.signal(signal.SIGHUP)
    eventually(lambda: sum(event.get("event") == "reloaded" for event in gateway.events()) > before)


def by_the_table(vendor: str, model: str, usage: dict[str, Any]) -> float:
    listed = PriceTable().find(vendor, model)
    assert listed is not None
    price = listed.price(time.time(), usage["tier"])
    assert price is not None
    cost = cost_nusd(price, Usage(**usage)) / 1e9
    assert cost > 0
    return cost


@pytest.mark.parametrize(
    ("vendor", "path", "model", "body"),
    [
        ("openai", "/v1/chat/completions", "gpt-4o-mini", {"messages": MESSAGES}),
        ("openai", "/v1/responses", "gpt-4.1", {"input": "Count the sheep."}),
        ("openai", "/v1/embeddings", "gpt-4o-mini", {"input": "Count the sheep."}),
        ("openai", "/v1/completions", "gpt-3.5-turbo-instruct", {"prompt": "Count the sheep."}),
        ("anthropic", "/v1/messages", "claude-haiku-4-5", {"messages": MESSAGES, "max_tokens": 50}),
        ("anthropic", "/v1/chat/completions", "claude-haiku-4-5", {"messages": MESSAGES}),
        ("google", "/v1beta/models/gemini-2.5-flash:generateContent", "gemini-2.5-flash", {"contents": [{"parts": [{"text": "Hi"}]}]}),
        ("cohere", "/v1/chat/completions", "command-a-03-2025", {"messages": MESSAGES}),
    ],
)
def test_a_whole_answer_tells_its_cost_and_the_record_has_the_same(gateway: Gateway, vendor, path, model, body):
    status, headers, answer = call(gateway.url + path, body if "gemini" in path else {"model": model, **body})
    assert status == 200, answer
    record = gateway.record(headers["x-request-id"])
    cost = by_the_table(vendor, model, record["usage"])
    assert record["cost_usd"] == float(headers["x-gateway-cost-usd"]) == record["attempts"][0]["cost_usd"] == cost
    assert record["attempts"][0]["price"] == "table"


def test_a_stream_costs_what_a_whole_answer_does_and_metrics_and_log_have_it(gateway: Gateway):
    name = 'inference_gateway_cost_total{route="openai",backend="openai"}'
    other = 'aigateway_cost_usd_total{tenant_id="test",provider="openai",model="gpt-4o"}'
    before = gateway.metric(name)
    status, headers, _ = call(gateway.url + "/v1/chat/completions", chat("gpt-4o", stream=True))
    assert (status, "x-gateway-cost-usd" in headers) == (200, False)
    record = gateway.record(headers["x-request-id"])
    cost = by_the_table("openai", "gpt-4o", record["usage"])
    assert record["cost_usd"] == cost
    assert gateway.metric(name) - before == pytest.approx(cost, rel=1e-6)
    assert gateway.metric(other) == pytest.approx(cost, rel=1e-6)
    line = eventually(lambda: [one for one in gateway.requests() if one["request_id"] == headers["x-request-id"]])[0]
    assert line["cost_usd"] == cost


@pytest.mark.parametrize(("path", "body"), [
    ("/v1/chat/completions", {"messages": MESSAGES}), ("/v1/chat/completions", {"messages": MESSAGES, "stream": True}),
    ("/v1/responses", {"input": "Count the sheep."}), ("/v1/responses", {"input": "Count the sheep.", "stream": True}),
])  # fmt: skip
def test_a_faster_answer_costs_what_it_says_it_was(gateway: Gateway, path: str, body: dict[str, Any]):
    costs = {}
    for tier in ("default", "priority"):
        status, headers, answer = call(gateway.url + path, {"model": "gpt-5", "service_tier": tier, **body})
        assert status == 200, answer
        record = gateway.record(headers["x-request-id"])
        assert record["usage"]["tier"] == ("" if tier == "default" else tier)
        costs[tier] = record["cost_usd"]
        assert costs[tier] == by_the_table("openai", "gpt-5", record["usage"])
    assert costs["priority"] > costs["default"]


def test_what_the_cache_holds_for_an_hour_costs_more(gateway: Gateway):
    long = {"type": "text", "text": "word " * 3_000}
    costs = {}
    for ttl in ("5m", "1h"):
        kept = {**long, "text": long["text"] + ttl, "cache_control": {"type": "ephemeral", "ttl": ttl}}
        body = {"model": "claude-haiku-4-5", "max_tokens": 5, "messages": [{"role": "user", "content": [kept]}]}
        _, headers, answer = call(gateway.url + "/v1/messages", body)
        usage = gateway.record(headers["x-request-id"])["usage"]
        assert usage["cache_write_tokens"] > 1_000, answer
        assert usage["cache_write_1h_tokens"] == (usage["cache_write_tokens"] if ttl == "1h" else 0)
        costs[ttl] = float(headers["x-gateway-cost-usd"])
        assert costs[ttl] == by_the_table("anthropic", "claude-haiku-4-5", usage)
    assert costs["1h"] > costs["5m"]


def test_the_operators_own_price_holds_to_the_last_digit(gateway: Gateway):
    _, headers, answer = call(gateway.url + "/v1/chat/completions", chat("house-model"))
    usage = json.loads(answer)["usage"]
    nusd = usage["prompt_tokens"] * 1_100 + usage["completion_tokens"] * 2_200
    assert float(headers["x-gateway-cost-usd"]) == nusd / 1e9
    assert gateway.record(headers["x-request-id"])["attempts"][0]["price"] == "own"


def test_an_answer_without_tokens_costs_what_a_request_does(gateway: Gateway):
    status, headers, answer = call(gateway.url + "/v1/moderations", {"model": "drawn", "input": "x"})
    assert status == 200, answer
    assert gateway.record(headers["x-request-id"])["cost_usd"] == 0.04


def test_a_count_of_tokens_and_a_refused_request_cost_nothing(gateway: Gateway):
    counted = {"model": "claude-haiku-4-5", "messages": MESSAGES}
    for path, body in (("/v1/messages/count_tokens", counted), ("/v1/chat/completions", chat("gpt-4o-mini", n="many"))):
        _, headers, _ = call(gateway.url + path, body)
        assert gateway.record(headers["x-request-id"])["cost_usd"] == 0


def test_a_model_without_a_price_is_free_and_told_of_once(gateway: Gateway, simulator: Simulator):
    policy(gateway, simulator, "zero")
    for _ in range(3):
        status, headers, _ = call(gateway.url + "/v1/chat/completions", chat("nobody-zero"))
        assert (status, headers["x-gateway-cost-usd"]) == (200, "0")
    assert gateway.metric('appliance_unpriced_requests_total{model="nobody-zero",policy="zero"}') == 3
    # What was said before their own lines is written, too.
    eventually(lambda: [one for one in gateway.requests() if one["model"] == "nobody-zero"][2:])
    told = [one for one in gateway.events() if one.get("event") == "model_without_price" and one["model"] == "nobody-zero"]
    assert [(one["level"], one["backend"], one["requests"]) for one in told] == [("warning", "house", "counted as free")]


def test_a_model_without_a_price_is_refused_before_any_backend_hears_of_it(gateway: Gateway, simulator: Simulator):
    policy(gateway, simulator, "refuse")
    before = simulator.stats()["requests"]
    drawn = {"model": "nobody-refused", "prompt": "x"}
    for path, body in (("/v1/chat/completions", chat("nobody-refused")), ("/v1/images/generations", drawn)):
        status, _, answer = call(gateway.url + path, body)
        error = json.loads(answer)["error"]
        assert (status, error["code"], error["param"]) == (403, "model_not_priced", "model")
        assert 'prices.models."nobody-refused"' in error["message"]
        assert "prices.unknown_model" in error["message"]
    assert simulator.stats()["requests"] == before
    assert call(gateway.url + "/v1/chat/completions", chat("house-model"))[0] == 200
    assert call(gateway.url + "/v1/messages/count_tokens", {"model": "nobody-refused", "messages": MESSAGES})[0] == 200


def test_a_route_goes_past_its_targets_without_a_price(gateway: Gateway, simulator: Simulator):
    policy(gateway, simulator, "refuse")
    status, headers, _ = call(gateway.url + "/v1/chat/completions", chat("mixed"))
    assert (status, headers["x-gateway-model"]) == (200, "house-model")
    policy(gateway, simulator, "zero")
    assert call(gateway.url + "/v1/chat/completions", chat("mixed"))[1]["x-gateway-model"] == "nobody-knows"


def test_a_model_without_a_price_is_counted_at_its_vendors_median(gateway: Gateway, simulator: Simulator):
    policy(gateway, simulator, "estimate")
    _, headers, _ = call(gateway.url + "/v1/chat/completions", chat("gpt-99-unheard-of"))
    record = gateway.record(headers["x-request-id"])
    typical = PriceTable().typical("openai", time.time())
    assert typical is not None
    assert record["cost_usd"] == cost_nusd(typical, Usage(**record["usage"])) / 1e9 > 0
    assert record["attempts"][0]["price"] == "estimate"
    assert gateway.metric('appliance_unpriced_requests_total{model="gpt-99-unheard-of",policy="estimate"}') == 1
