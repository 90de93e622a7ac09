"""Hedging: a second attempt beside a slow first one. Who begins first serves the request, alone; the other's connection is closed within
100 ms, it is in the record and in the ledger, and it is nobody's fault.

The first backend is asked for what the test wants of it, the second always for the same model; each answers a question always the same.
"""

import json
import signal
import statistics
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ledger_reader import ledger_row, ledger_rows, store_of
from raw_client import RawClient, events
from rig import Gateway, Simulator, call, chat, eventually, get_json, running

PROMISE_S = 0.1
EACH_S = 1.0
AFTER_S = 0.2
LATER_S = 1.0
"""After which a second attempt is made where the first is to answer in time."""
TIMES = 5

BACKENDS = """
[prices.models."quick"]
input_usd_per_mtok = 1000
output_usd_per_mtok = 1000
[prices.models."first"]
input_usd_per_mtok = 1000
output_usd_per_mtok = 1000
[backends.slow]
provider = "custom"
base_url = "{url}/v1"
[backends.fast]
provider = "custom"
base_url = "{url}/v1"
[backends.claude]
provider = "anthropic"
base_url = "{url}"
api_key = "sk-ant-operator-0123456789"
[backends.broken]
provider = "custom"
base_url = "{url}/v1"
breaker = {{ consecutive_failures = 0, failure_ratio = 0 }}
[backends.hasty]
provider = "custom"
base_url = "{url}/v1"
timeouts = {{ first_byte_s = 1, total_s = 1 }}
breaker = {{ consecutive_failures = 0, failure_ratio = 0 }}
[backends.third]
provider = "custom"
base_url = "{url}/v1"
"""


def route(
    name: str, more: str = "", *, first: str = "slow", other: str = "fast", model: str = "quick", percent: int = 100,
    after_s: float = AFTER_S,
) -> str:  # fmt: skip
    """One that hedges; a caller's model begins with its name."""
    return f"""
[[routes]]
name = "{name}"
models = ["{"*" if name == "quick" else name + "-*"}"]
strategy = "priority"
targets = [ {{ backend = "{first}", label = "first" }}, {{ backend = "{other}", model = "{model}", label = "quick" }} ]
hedge = {{ after_s = {after_s}, max_percent = {percent} }}
{more}
"""


FAILING = 'retry = { attempts = 3, backoff_s = 0.01 }\nfallback = [ { backend = "third", model = "sim" } ]'
ROUTES = "".join((
    route("fails", FAILING, first="broken", model="quick+500"),
    route("both", "retry = { attempts = 2 }", first="broken", model="quick+500"),
    route("late", "retry = { attempts = 2 }", first="hasty", other="broken", model="quick+500"),
    route("hangs", model="quick+hang"),
    route("estimates", 'on_disconnect = "estimate"'),
    route("drains", 'on_disconnect = "drain"\ndrain_max_s = 0.5', model="quick+hang"),
    route("left", 'on_disconnect = "drain"\ndrain_max_s = 20', model="quick+hang", after_s=LATER_S),
    route("timely", after_s=LATER_S),
    route("claude", other="claude"),
    route("alive", "keepalive_s = 0.1", other="claude", model="quick@ttft=1500ms"),
    route("close", model="quick@tps=1000"),
    route("rare", percent=20),
    route("quick"),
))  # fmt: skip


@pytest.fixture(scope="module")
def gateway(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    one = Gateway(tmp_path_factory.mktemp("hedging"), BACKENDS.format(url=simulator.url) + ROUTES)
    with running(one):
        yield one


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test does: nobody is blamed for losing, and nothing is left running or held."""
    yield
    if "gateway" not in request.fixturenames:
        return
    gateway: Gateway = request.getfixturevalue("gateway")
    eventually(lambda: gateway.metric("appliance_in_flight_requests") == 0)
    for name in ("slow", "claude", "third"):
        provider = gateway.provider(name)
        assert (provider["breaker"], provider["healthy"], provider["in_flight"]) == ("closed", True, 0)
        assert provider["connections"]["open"] == provider["connections"]["idle"]
    assert "Traceback" not in gateway.log


def upstream(simulator: Simulator, mark: str, count: int) -> list[dict[str, Any]]:
    """What the simulator knows of the calls whose user field is `mark`, in the order in which they came, once they have ended."""

    def look() -> list[dict[str, Any]] | None:
        found = [one for one in simulator.stats()["last"] if mark in (one["body"] or "")]
        return found if len(found) >= count and all(one["outcome"] != "running" for one in found) else None

    found = eventually(look)
    assert len(found) == count, found
    return list(found)


def answer_of(simulator: Simulator, model: str, body: dict[str, Any]) -> str:
    """What a model says to a question."""
    asked = {name: value for name, value in body.items() if name != "user"}
    return text_of(call(f"{simulator.url}/v1/chat/completions", {**asked, "model": model})[2], stream=bool(body.get("stream")))


def text_of(body: bytes, *, stream: bool) -> str:
    if not stream:
        return str(json.loads(body)["choices"][0]["message"]["content"])
    found = events(body)
    assert found[-1] == "[DONE]"
    assert len({one["id"] for one in found[:-1]}) == 1, "events of two answers"
    return "".join(one["choices"][0]["delta"].get("content") or "" for one in found[:-1] if one["choices"])


def attempts_of(record: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(one["backend"], one["outcome"], one["hedge"]) for one in record["attempts"]]


WON = [("slow", "cancelled", ""), ("fast", "success", "won")]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", ["hang", "hang=0", "latency=20s", "early_head=20s", "stall=0;for=20s"])
def test_who_begins_first_serves_and_the_other_is_closed_at_once(
    gateway: Gateway, simulator: Simulator, url: str, fault: str, stream: bool
) -> None:
    lags = []
    for _ in range(TIMES):
        mark = uuid.uuid4().hex
        body = chat(f"sim+{fault}", user=mark, stream=stream)
        with RawClient(url) as client:
            client.ask(body, x_request_id=mark)
            status, headers = client.read_head()
            came_at = time.monotonic()
            said = text_of(client.read_body(headers), stream=stream)
        assert (status, headers["x-served-by"], headers["x-gateway-attempts"], headers["x-gateway-model"]) == (200, "fast", "2", "quick")
        assert said == answer_of(simulator, "quick", body)
        record = gateway.record(mark)
        assert attempts_of(record) == WON
        assert [one["lost"] for one in record["attempts"]] == [True, False]
        assert (record["model"], record["fallbacks"], record["error_type"]) == ("quick", [], "")
        first, second = record["attempts"]
        assert first["started_ms"] < second["started_ms"] < first["started_ms"] + first["duration_ms"], "they overlap"
        assert second["started_ms"] - first["started_ms"] >= AFTER_S * 1000
        lost = upstream(simulator, mark, 2)[0]
        assert lost["outcome"] == "client_gone", lost
        lags.append(lost["disconnected_monotonic_s"] - came_at)
    print(f"loser closed after the answer began (ms): median {statistics.median(lags) * 1000:.1f}, worst {max(lags) * 1000:.1f}")
    assert statistics.median(lags) <= PROMISE_S, lags
    assert max(lags) < EACH_S, lags


def test_a_second_attempt_that_is_slower_is_closed(gateway: Gateway, simulator: Simulator, url: str) -> None:
    for stream in (True, False):
        mark = uuid.uuid4().hex
        model = "hangs-sim@ttft=1500ms,tps=0"
        status, headers, body = call(f"{url}/v1/chat/completions", chat(model, user=mark, stream=stream), x_request_id=mark)
        assert (status, headers["x-served-by"], headers["x-gateway-attempts"], headers["x-gateway-model"]) == (200, "slow", "2", model)
        assert text_of(body, stream=stream)
        record = gateway.record(mark)
        assert attempts_of(record) == [("slow", "success", ""), ("fast", "cancelled", "sent")]
        assert (record["model"], record["fallbacks"]) == ("first", [])
        assert [one["outcome"] for one in upstream(simulator, mark, 2)] == ["complete", "client_gone"]
        assert ledger_row(gateway, mark)["backend"] == "slow"


def test_a_request_that_is_answered_in_time_is_asked_once(gateway: Gateway, simulator: Simulator, url: str) -> None:
    for stream in (True, False):
        mark = uuid.uuid4().hex
        call(f"{url}/v1/chat/completions", chat("timely-sim@tps=0", user=mark, stream=stream), x_request_id=mark)
        assert attempts_of(gateway.record(mark)) == [("slow", "success", "")]
        upstream(simulator, mark, 1)


def test_a_stream_that_has_begun_is_not_asked_twice_however_slow_it_is(gateway: Gateway, simulator: Simulator, url: str) -> None:
    mark = uuid.uuid4().hex
    call(f"{url}/v1/chat/completions", chat("timely-sim@tps=40", "[[tokens=60]]", user=mark, stream=True), x_request_id=mark)
    record = gateway.record(mark)
    assert record["duration_ms"] > LATER_S * 1000
    assert attempts_of(record) == [("slow", "success", "")]


def test_answers_that_begin_at_the_same_time_are_never_mixed(gateway: Gateway, simulator: Simulator, url: str) -> None:
    """The first begins about when the second does: either may win, and which bytes come is all of one answer."""
    winners = set()
    for number in range(30):
        body = chat(f"close-sim@ttft={205 + number}ms,tps=1000", f"Question {number}", stream=number % 2 == 0)
        status, headers, raw = call(f"{url}/v1/chat/completions", body)
        assert status == 200
        winners.add(headers["x-served-by"])
        model = body["model"] if headers["x-served-by"] == "slow" else "quick@tps=1000"
        assert text_of(raw, stream=bool(body["stream"])) == answer_of(simulator, model, body)
    print("served by", winners)


@pytest.mark.parametrize("how", ["close", "rst"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_while_two_are_asked_closes_both(
    gateway: Gateway, simulator: Simulator, url: str, how: str, stream: bool
) -> None:
    lags = []
    for _ in range(TIMES):
        mark = uuid.uuid4().hex
        with RawClient(url) as client:
            client.ask(chat("hangs-sim+hang", user=mark, stream=stream), x_request_id=mark)
            eventually(lambda mark=mark: len([one for one in simulator.stats()["last"] if mark in (one["body"] or "")]) == 2)
            left_at = client.leave(how)
        seen = upstream(simulator, mark, 2)
        assert [one["outcome"] for one in seen] == ["client_gone", "client_gone"]
        lags += [one["disconnected_monotonic_s"] - left_at for one in seen]
        record = gateway.record(mark)
        assert (record["status"], record["error_type"]) == (499, "client_gone")
        assert attempts_of(record) == [("slow", "cancelled", ""), ("fast", "cancelled", "sent")]
        assert not any(one["lost"] for one in record["attempts"])
    assert statistics.median(lags) <= PROMISE_S, lags
    assert max(lags) < EACH_S, lags


def test_a_client_that_left_is_not_asked_for_twice(gateway: Gateway, simulator: Simulator, url: str) -> None:
    """With on_disconnect = drain the answer is waited for, which one backend can do alone."""
    mark = uuid.uuid4().hex
    with RawClient(url) as client:
        client.ask(chat("left-sim@ttft=2500ms,tps=0", user=mark, stream=True), x_request_id=mark)
        eventually(lambda: [one for one in simulator.stats()["last"] if mark in (one["body"] or "")])
        client.leave()
    record = gateway.record(mark)
    assert attempts_of(record) == [("slow", "success", "")]
    assert record["usage"]["source"] == "drained"


def test_a_client_that_leaves_while_two_are_asked_is_drained_within_its_bounds(gateway: Gateway, simulator: Simulator, url: str) -> None:
    mark = uuid.uuid4().hex
    with RawClient(url) as client:
        client.ask(chat("drains-sim+hang", user=mark, stream=True), x_request_id=mark)
        eventually(lambda: len([one for one in simulator.stats()["last"] if mark in (one["body"] or "")]) == 2)
        client.leave()
    assert [one["outcome"] for one in upstream(simulator, mark, 2)] == ["client_gone", "client_gone"]
    record = gateway.record(mark)
    assert (record["status"], record["error_type"]) == (499, "client_gone")
    assert record["duration_ms"] < 10_000


@pytest.mark.parametrize("engine", ["builtin", "hypercorn"])
def test_a_shutdown_while_two_are_asked_tells_the_caller_and_closes_both(simulator: Simulator, tmp_path: Path, engine: str) -> None:
    gateway = Gateway(tmp_path, BACKENDS.format(url=simulator.url) + ROUTES, head="drain_s = 0.3")
    mark = uuid.uuid4().hex
    with running(gateway), RawClient(gateway.url if engine == "builtin" else gateway.hypercorn_url) as client:
        client.ask(chat("hangs-sim+hang", user=mark, stream=True), x_request_id=mark)
        eventually(lambda: len([one for one in simulator.stats()["last"] if mark in (one["body"] or "")]) == 2)
        gateway.signal(signal.SIGTERM)
        status, headers = client.read_head()
        assert status == 503
        assert b"draining" in client.read_body(headers)
        assert gateway.popen.wait(20) == 0
        (line,) = [one for one in gateway.requests() if one["request_id"] == mark]
        assert (line["status"], line["error_type"], line["attempts"]) == (503, "draining", 2)
    assert [one["outcome"] for one in upstream(simulator, mark, 2)] == ["client_gone", "client_gone"]
    (row,) = ledger_rows(store_of(gateway), mark)
    assert (row["status"], row["usage_source"]) == (503, "estimated")


def test_where_both_fail_the_policy_goes_on_with_both_in_its_history(gateway: Gateway, simulator: Simulator, url: str) -> None:
    mark = uuid.uuid4().hex
    status, headers, _ = call(
        f"{url}/v1/chat/completions", chat("fails-sim+latency=1500ms+500", user=mark, stream=True), x_request_id=mark
    )
    assert (status, headers["x-served-by"], headers["x-gateway-attempts"]) == (200, "third", "3")
    record = gateway.record(mark)
    assert [(one["backend"], one["outcome"], one["hedge"]) for one in record["attempts"]] == [
        ("broken", "error", ""), ("fast", "error", "sent"), ("third", "success", "")
    ]  # fmt: skip
    assert record["fallbacks"] == [["broken", "third"]], "a hedge is no fallback"


@pytest.mark.parametrize("stream", [False, True])
def test_a_first_attempt_still_has_its_time_after_the_second_has_failed(gateway: Gateway, url: str, stream: bool) -> None:
    mark = uuid.uuid4().hex
    status, _, _ = call(f"{url}/v1/chat/completions", chat("late-sim+hang", user=mark, stream=stream), x_request_id=mark)
    assert status == 504
    assert {(backend, outcome) for backend, outcome, _ in attempts_of(gateway.record(mark))} == {("hasty", "error"), ("broken", "error")}


def test_the_second_attempt_counts_against_the_budget_of_attempts(gateway: Gateway, simulator: Simulator, url: str) -> None:
    mark = uuid.uuid4().hex
    status, headers, _ = call(f"{url}/v1/chat/completions", chat("both-sim+latency=1500ms+503", user=mark), x_request_id=mark)
    assert (status, headers["x-gateway-attempts"]) == (502, "2")
    upstream(simulator, mark, 2)


def test_a_fault_of_the_callers_own_is_told_at_once(gateway: Gateway, simulator: Simulator, url: str) -> None:
    mark = uuid.uuid4().hex
    at = time.monotonic()
    status, _, body = call(
        f"{url}/v1/chat/completions", chat("hangs-sim+latency=1500ms+context_length", user=mark), x_request_id=mark
    )
    assert time.monotonic() - at < 15
    assert status == 400
    assert b"context_length_exceeded" in body
    assert attempts_of(gateway.record(mark)) == [("slow", "error", ""), ("fast", "cancelled", "sent")]
    assert [one["outcome"] for one in upstream(simulator, mark, 2)][1] == "client_gone"


def test_a_fault_after_the_answer_began_is_told_in_the_stream(gateway: Gateway, url: str) -> None:
    mark = uuid.uuid4().hex
    _, headers, body = call(f"{url}/v1/chat/completions", chat("hangs-sim@ttft=1500ms+cut=3", user=mark, stream=True), x_request_id=mark)
    assert headers["x-served-by"] == "slow"
    assert "error" in events(body)[-1]
    record = gateway.record(mark)
    assert (record["error_type"], attempts_of(record)) == ("stream_cut", [("slow", "error", ""), ("fast", "cancelled", "sent")])


def test_what_both_cost_is_booked(gateway: Gateway, url: str) -> None:
    """The loser may have worked on the prompt; with on_disconnect = estimate it is taken to have answered in full, as a backend that goes
    on after its connection has closed."""
    for name, least in (("quick", 0), ("estimates", 40)):
        mark = uuid.uuid4().hex
        model = "sim+hang" if name == "quick" else "estimates-sim+hang"
        _, headers, _ = call(f"{url}/v1/chat/completions", chat(model, user=mark, max_tokens=40), x_request_id=mark)
        record, row = gateway.record(mark), ledger_row(gateway, mark)
        lost, won = record["attempts"]
        assert lost["usage_source"] == "estimated"
        assert lost["cost_usd"] > least / 1000
        assert won["cost_usd"] > 0
        assert record["cost_usd"] == pytest.approx(lost["cost_usd"] + won["cost_usd"])
        assert float(headers["x-gateway-cost-usd"]) == pytest.approx(record["cost_usd"]), "told before the loser has ended"
        assert record["usage"]["source"] == "provider", "of the answer that the caller got"
        assert (row["backend"], row["model"], row["usage_source"], row["status"]) == ("fast", "quick", "estimated", 200)
        assert row["cost_nusd"] == pytest.approx(record["cost_usd"] * 1e9)
        assert row["input_tokens"] > record["usage"]["input_tokens"]
        assert "cancelled" in row["attempts"]


def test_an_answer_in_another_language_wins_as_itself(gateway: Gateway, simulator: Simulator, url: str) -> None:
    """The first speaks the caller's own language, the second another: what is told of the request is told of the one that answers."""
    for stream in (True, False):
        mark = uuid.uuid4().hex
        body = chat("claude-sim+hang=0", user=mark, stream=stream, seed=7, max_tokens=50)
        status, headers, raw = call(f"{url}/v1/chat/completions", body, x_request_id=mark)
        assert (status, headers["x-served-by"], headers["x-gateway-dropped"]) == (200, "claude", "sampling.seed")
        assert text_of(raw, stream=stream)
        assert gateway.record(mark)["dropped_fields"] == ["sampling.seed"]
    mark = uuid.uuid4().hex
    status, headers, raw = call(
        f"{url}/v1/chat/completions", chat("alive-sim@ttft=1s", user=mark, stream=True, seed=7, max_tokens=50), x_request_id=mark
    )
    record = gateway.record(mark)
    assert text_of(raw, stream=True)
    assert b": " in raw, "it was kept alive while two were asked"
    assert len(record["attempts"]) == 2
    winner = next(one for one in record["attempts"] if one["outcome"] == "success")
    assert record["dropped_fields"] == (["sampling.seed"] if winner["backend"] == "claude" else [])


def test_metrics_count_attempts_and_hedges_and_no_fallback(gateway: Gateway, url: str) -> None:
    names = {
        "sent": 'appliance_hedges_sent_total{route="quick"}',
        "won": 'appliance_hedges_won_total{route="quick"}',
        "requests": 'llm_gateway_llm_gateway_requests_total{model="quick",provider="fast",status="success",streaming="false"}',
    }
    call(f"{url}/v1/chat/completions", chat("sim+hang"))
    gateway.settle()
    before = {key: gateway.metric(name) for key, name in names.items()}
    mark = uuid.uuid4().hex
    call(f"{url}/v1/chat/completions", chat("sim+hang", user=mark), x_request_id=mark)
    gateway.record(mark)
    after = {key: gateway.metric(name) for key, name in names.items()}
    assert {key: after[key] - before[key] for key in names} == {"sent": 1, "won": 1, "requests": 1}
    text = gateway.metrics_text()
    assert 'inference_gateway_fallbacks_total{from_backend="slow",route="quick"' not in text
    errors = [line for line in text.splitlines() if line.startswith("llm_gateway_llm_gateway_errors_total") and 'provider="slow"' in line]
    assert all("cancelled" not in line and "client_gone" not in line for line in errors), errors
    assert 'appliance_hedges_sent_total{route="hangs"}' in text, "from the start"


def test_no_more_than_the_share_is_asked_twice(gateway: Gateway, simulator: Simulator, url: str) -> None:
    """With max_percent = 20 every fifth slow request is asked twice, the others wait for their one backend."""
    withheld = gateway.metric('appliance_hedges_withheld_total{route="rare"}')
    served = [call(f"{url}/v1/chat/completions", chat("rare-sim@ttft=800ms,tps=0"))[1]["x-served-by"] for _ in range(10)]
    assert served.count("fast") == 2, served
    assert gateway.metric('appliance_hedges_withheld_total{route="rare"}') - withheld == 8


def test_requests_that_go_on_from_another_are_asked_once(gateway: Gateway, simulator: Simulator, url: str) -> None:
    for body in (
        {"model": "sim@ttft=400ms", "input": "Hello!", "conversation": "conv_1"},
        {"model": "sim@ttft=400ms", "input": "Hello!", "tools": [{"type": "mcp", "server_label": "x", "server_url": "https://x"}]},
    ):
        mark = uuid.uuid4().hex
        call(f"{url}/v1/responses", body, x_request_id=mark)
        assert all(not one["hedge"] for one in gateway.record(mark)["attempts"])


def test_explain_tells_of_both(gateway: Gateway, url: str) -> None:
    mark = uuid.uuid4().hex
    call(f"{url}/v1/chat/completions", chat("sim+hang", stream=True), x_request_id=mark)
    gateway.record(mark)
    from appliance.cli.story import story

    told = story(get_json(f"{gateway.admin_url}/admin/requests/{mark}"))
    print(told)
    assert "beside the one before (hedge)" in told
    assert "another answered first" in told
