"""Traces, from a caller's traceparent over the gateway's spans to what a backend is told, over real sockets and by both engines; that no
collector, however it fails, is felt by a request; and that no word and no key of anybody is in them.
"""

import hashlib
import json
import os
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
from collector import Collector, Seen, collecting
from raw_client import RawClient
from rig import KEY, Gateway, Simulator, call, chat, eventually, free_port, get_json, one_backend, running

PARENT_SPAN = "b7ad6b7169203331"
BACKEND_KEY = "sk-backend-9876543210"
COLLECTOR_KEY = "collector-key-0123456789"
PROMPT, ANSWER = "a prompt that nobody else may read", "an answer that nobody else may read"
ENGINES = ("builtin", "hypercorn")

CONFIG = f"""
[telemetry]
traces = {{ endpoint = "COLLECTOR", headers = {{ x-key = "{COLLECTOR_KEY}" }}, sample = 0, interval_s = 0.05 }}
[backends.a]
provider = "custom"
base_url = "SIM/v1"
api_key = "{BACKEND_KEY}"
breaker = {{ consecutive_failures = 0, failure_ratio = 0 }}
[backends.b]
provider = "custom"
base_url = "SIM/v1"
breaker = {{ consecutive_failures = 0, failure_ratio = 0 }}
[backends.claude]
provider = "anthropic"
base_url = "SIM"
api_key = "{BACKEND_KEY}"
[[routes]]
name = "fallback"
models = ["falls"]
targets = [ {{ backend = "a", model = "sim+503" }} ]
fallback = [ {{ backend = "b", model = "sim" }} ]
retry = {{ attempts = 3, backoff_s = 0.01, budget_s = 30 }}
[[routes]]
name = "claude"
models = ["claude"]
targets = [ {{ backend = "claude", model = "claude-haiku-4-5" }} ]
[[routes]]
name = "kept"
models = ["kept-*"]
targets = [ {{ backend = "a", model = "sim" }} ]
cache = {{ ttl_s = 60 }}
[[routes]]
name = "beside"
models = ["beside-*"]
strategy = "priority"
targets = [ {{ backend = "a" }}, {{ backend = "b", model = "sim+hang" }} ]
hedge = {{ after_s = 0.1, max_percent = 100 }}
[[routes]]
name = "all"
targets = [ {{ backend = "a" }} ]
retry = {{ attempts = 3, backoff_s = 0.01 }}
"""


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as one:
        yield one


@attrs.frozen
class Place:
    """A gateway that traces, and the provider behind it."""

    sim: Simulator
    gateway: Gateway


@pytest.fixture(scope="module")
def place(collector: Collector, simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    gateway = Gateway(tmp_path_factory.mktemp("traces"), CONFIG.replace("COLLECTOR", collector.url).replace("SIM", simulator.url))
    with running(gateway):
        yield Place(simulator, gateway)


@pytest.fixture(params=ENGINES)
def url(place: Place, request: pytest.FixtureRequest) -> str:
    return place.gateway.url if request.param == "builtin" else place.gateway.hypercorn_url


def new_trace() -> str:
    return uuid.uuid4().hex


def parent(trace_id: str, flags: str = "01") -> str:
    return f"00-{trace_id}-{PARENT_SPAN}-{flags}"


def arrived(collector: Collector, trace_id: str) -> list[Seen]:
    return eventually(lambda: collector.trace(trace_id), 20)


def asked(sim: Simulator, trace_id: str) -> list[dict[str, str]]:
    """The headers of the simulator's requests in a trace, in order."""
    seen = [one["headers"] for one in sim.stats(200)["last"] if any(trace_id in value for _, value in one["headers"])]
    assert all(len(dict(headers)) == len(headers) for headers in seen), "a header twice"
    return [dict(headers) for headers in seen]


def test_a_request_and_its_attempt_are_spans_of_the_callers_trace(place: Place, collector: Collector, url: str) -> None:
    trace_id = new_trace()
    status, headers, _ = call(url + "/v1/chat/completions", chat("sim"), traceparent=parent(trace_id), tracestate="a=1, b=2")
    assert status == 200
    own, attempt = arrived(collector, trace_id)
    assert (own.kind, own.name, own.parent_id, own.state) == ("server", "chat sim", PARENT_SPAN, "a=1,b=2")
    assert (attempt.kind, attempt.name, attempt.parent_id, attempt.state) == ("client", "chat sim", own.span_id, "a=1,b=2")
    assert own.flags == 0x301
    assert attempt.flags == 0x101
    assert own.start_ns <= attempt.start_ns < attempt.end_ns <= own.end_ns <= time.time_ns()
    assert (own.of["appliance.tenant"], own.of["appliance.key"], own.of["appliance.route"]) == ("test", "test", "all")
    assert own.of["appliance.request_id"] == headers["x-request-id"]
    assert own.of["gen_ai.usage.output_tokens"] == attempt.of["gen_ai.usage.output_tokens"] > 0
    assert (attempt.of["server.address"], attempt.of["server.port"]) == ("127.0.0.1", place.sim.port)
    (told,) = asked(place.sim, trace_id)
    assert told["traceparent"] == f"00-{trace_id}-{attempt.span_id}-01"
    assert told["tracestate"] == "a=1,b=2"


def test_every_attempt_is_a_span_and_the_parent_of_what_it_asks(place: Place, collector: Collector, url: str) -> None:
    trace_id = new_trace()
    assert call(url + "/v1/chat/completions", chat("falls"), traceparent=parent(trace_id))[0] == 200
    own, *attempts = arrived(collector, trace_id)
    assert [one.of["appliance.backend"] for one in attempts] == ["a", "a", "b"][-len(attempts) :]
    assert len(attempts) >= 2
    assert {one.parent_id for one in attempts} == {own.span_id}
    assert [one.error for one in attempts] == [True] * (len(attempts) - 1) + [False]
    assert [one.of["http.response.status_code"] for one in attempts] == [503] * (len(attempts) - 1) + [200]
    assert not own.error
    assert own.of["appliance.fallbacks"] == 1
    assert [one["traceparent"] for one in asked(place.sim, trace_id)] == [f"00-{trace_id}-{one.span_id}-01" for one in attempts]


def test_where_two_are_asked_at_once_each_is_told_of_its_own_span(place: Place, collector: Collector, url: str) -> None:
    trace_id, first = new_trace(), "beside-sim@ttft=1s,tps=0"
    call(url + "/v1/chat/completions", chat(first), traceparent=parent(trace_id))
    _, *attempts = arrived(collector, trace_id)
    assert [(one.of["appliance.backend"], one.of["gen_ai.request.model"]) for one in attempts] == [("a", first), ("b", "sim+hang")]
    sent = [(json.loads(one["body"])["model"], dict(one["headers"])["traceparent"]) for one in place.sim.stats(200)["last"]
            if any(trace_id in value for _, value in one["headers"])]  # fmt: skip
    assert sent == [(one.of["gen_ai.request.model"], f"00-{trace_id}-{one.span_id}-01") for one in attempts]


@pytest.mark.parametrize("model", ["sim", "claude"])
def test_a_stream_is_a_span_until_its_last_byte(place: Place, collector: Collector, url: str, model: str) -> None:
    trace_id = new_trace()
    headers = {"authorization": f"Bearer {KEY}", "traceparent": parent(trace_id)}
    with httpx.stream("POST", url + "/v1/chat/completions", json=chat(model, stream=True), headers=headers, trust_env=False) as answer:
        list(answer.iter_bytes())
    own, attempt = arrived(collector, trace_id)
    assert own.of["gen_ai.request.stream"] is attempt.of["gen_ai.request.stream"] is True
    assert 0 < attempt.of["gen_ai.response.time_to_first_chunk"] <= (attempt.end_ns - attempt.start_ns) / 1e9
    assert own.of["gen_ai.response.finish_reasons"] in (("stop",), ("end_turn",))
    assert attempt.of["gen_ai.provider.name"] == ("anthropic" if model == "claude" else "custom")
    assert asked(place.sim, trace_id)[0]["traceparent"] == f"00-{trace_id}-{attempt.span_id}-01"


def test_a_caller_who_leaves_ends_the_spans_and_is_nobodys_error(place: Place, collector: Collector, url: str) -> None:
    trace_id = new_trace()
    with RawClient(url) as client:
        client.ask(chat("sim+hang"), traceparent=parent(trace_id))
        eventually(lambda: asked(place.sim, trace_id))
        client.leave()
    own, attempt = arrived(collector, trace_id)
    assert (own.error, attempt.error) == (False, False)
    assert own.of["error.type"] == attempt.of["error.type"] == "client_gone"
    assert own.of["http.response.status_code"] == 499
    assert attempt.of["appliance.outcome"] == "cancelled"


def test_what_was_not_sampled_is_told_on_but_not_sent_unless_it_failed(place: Place, collector: Collector, url: str) -> None:
    quiet, failed = new_trace(), new_trace()
    assert call(url + "/v1/chat/completions", chat("sim"), traceparent=parent(quiet, "00"))[0] == 200
    assert call(url + "/v1/chat/completions", chat("sim+503"), traceparent=parent(failed, "00"))[0] == 502
    own, *attempts = arrived(collector, failed)
    assert own.error
    assert own.of["error.type"] in ("overloaded", "server_error")
    assert own.flags & 1 == 0
    assert len(attempts) == 3
    (told,) = asked(place.sim, quiet)
    assert told["traceparent"].endswith("-00")
    assert PARENT_SPAN not in told["traceparent"]
    assert collector.trace(quiet) == []


def test_without_a_valid_parent_a_trace_begins_here(place: Place, collector: Collector, url: str) -> None:
    for given in ({}, {"traceparent": parent("0" * 32)}, {"traceparent": "nonsense"}):
        name = uuid.uuid4().hex
        assert call(url + "/v1/chat/completions", chat("sim+503"), X_Request_Id=name, tracestate="a=1", **given)[0] == 502
        own, *attempts = eventually(lambda name=name: collector.of_request(name), 20)
        assert (own.parent_id, own.state) == ("", "")
        told = asked(place.sim, own.trace_id)
        assert [one["traceparent"] for one in told] == [f"00-{own.trace_id}-{one.span_id}-00" for one in attempts]
        assert all("tracestate" not in one for one in told)


def test_a_refused_stranger_has_no_trace_and_a_refused_tenant_has(place: Place, collector: Collector, url: str) -> None:
    strange, refused = new_trace(), new_trace()
    assert call(url + "/v1/chat/completions", chat("sim"), traceparent=parent(strange), authorization="Bearer sk-wrong")[0] == 401
    assert call(url + "/v1/chat/completions", b"{", traceparent=parent(refused))[0] == 400
    (own,) = arrived(collector, refused)
    assert (own.of["error.type"], own.of["http.response.status_code"], own.error) == ("invalid_request", 400, False)
    assert "gen_ai.provider.name" not in own.of
    assert collector.trace(strange) == []


def test_log_lines_records_and_exemplars_lead_to_the_trace(place: Place, collector: Collector, url: str) -> None:
    trace_id = new_trace()
    _, headers, _ = call(url + "/v1/chat/completions", chat("sim"), traceparent=parent(trace_id))
    own, _ = arrived(collector, trace_id)
    (line,) = eventually(lambda: [one for one in place.gateway.requests() if one["request_id"] == headers["x-request-id"]])
    assert (line["trace_id"], line["span_id"]) == (trace_id, own.span_id)
    assert place.gateway.record(headers["x-request-id"])["trace_id"] == trace_id
    asking = httpx.get(place.gateway.admin_url + "/metrics", headers={"accept": "application/openmetrics-text"}, trust_env=False)
    assert f'# {{trace_id="{trace_id}",request_id="{own.of["appliance.id"]}"}}' in asking.text


def test_an_answer_from_the_cache_is_a_span_without_attempts(place: Place, collector: Collector, url: str) -> None:
    first, second = new_trace(), new_trace()
    body = chat("kept-" + first, temperature=0)
    for trace_id in (first, second):
        assert call(url + "/v1/chat/completions", body, traceparent=parent(trace_id))[0] == 200
    own, _ = arrived(collector, first)
    assert own.of["appliance.cache"] == "miss"
    (own,) = arrived(collector, second)
    assert (own.of["appliance.cache"], own.of["http.response.status_code"], own.error) == ("hit", 200, False)
    assert asked(place.sim, second) == []


def test_forms_are_traced_like_any_request(place: Place, collector: Collector, url: str) -> None:
    trace_id = new_trace()
    headers = {"authorization": f"Bearer {KEY}", "traceparent": parent(trace_id)}
    files = {"file": ("a.wav", b"RIFF" + b"\0" * 100, "audio/wav")}
    sent = httpx.post(url + "/v1/audio/transcriptions", data={"model": "sim-whisper"}, files=files, headers=headers, trust_env=False)
    assert sent.status_code == 200, sent.text
    own, attempt = arrived(collector, trace_id)
    assert own.name == "transcription sim-whisper"
    assert asked(place.sim, trace_id)[0]["traceparent"] == f"00-{trace_id}-{attempt.span_id}-01"


def test_no_word_and_no_key_of_anybody_is_in_any_span(place: Place, collector: Collector, url: str) -> None:
    traces = [new_trace() for _ in range(6)]
    said = f"{PROMPT} [[say={ANSWER}]]"
    path = url + "/v1/chat/completions"
    call(path, chat("sim", said, user="the-user"), traceparent=parent(traces[0]), X_User_ID="the-user")
    call(path, chat("sim", said, stream=True), traceparent=parent(traces[1]))
    call(path, chat("sim+400", said), traceparent=parent(traces[2]))
    call(path, chat("sim+503", said), traceparent=parent(traces[3]))
    tool = {"type": "function", "function": {"name": "the_tool", "parameters": {}}}
    call(path, chat("sim", said, tools=[tool]), traceparent=parent(traces[4]))
    call(f"{url}/v1beta/models/sim:generateContent?key={KEY}", {"contents": [{"parts": [{"text": said}]}]}, traceparent=parent(traces[5]))
    for trace_id in traces:
        arrived(collector, trace_id)
    everything = b"".join(collector.bodies)
    assert traces[0].encode() not in everything  # ids are bytes
    assert bytes.fromhex(traces[0]) in everything
    for secret in (PROMPT, ANSWER, "nobody else", "the-user", "the_tool", KEY, BACKEND_KEY, COLLECTOR_KEY):
        assert secret.encode() not in everything, secret
        assert hashlib.sha256(secret.encode()).hexdigest().encode() not in everything
    assert COLLECTOR_KEY not in place.gateway.log + json.dumps(get_json(place.gateway.admin_url + "/admin/config"))
    assert {post[0]["x-key"] for post in collector.posts} == {COLLECTOR_KEY}


def test_without_traces_a_callers_lines_pass_as_they_are(simulator: Simulator, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, one_backend(simulator))
    with running(gateway):
        for url in (gateway.url, gateway.hypercorn_url):
            trace_id = new_trace()
            given = {"traceparent": parent(trace_id, "01"), "tracestate": "a=1 , b=2"}
            _, headers, _ = call(url + "/v1/chat/completions", chat("sim"), **given)
            (told,) = asked(simulator, trace_id)
            assert {name: told[name] for name in given} == given
            (line,) = eventually(lambda shown=headers["x-request-id"]: [one for one in gateway.requests() if one["request_id"] == shown])
            assert (line["trace_id"], line["span_id"]) == (trace_id, PARENT_SPAN)
            call(url + "/v1/chat/completions", chat("sim"), X_Request_Id="plain-" + trace_id)
            (line,) = eventually(lambda shown="plain-" + trace_id: [one for one in gateway.requests() if one["request_id"] == shown])
            assert "trace_id" not in line
            assert "traceparent" not in dict(simulator.stats(1)["last"][-1]["headers"])


def traced(endpoint: str, simulator: Simulator, **more: Any) -> str:
    lines = "".join(f", {name} = {value}" for name, value in more.items())
    return one_backend(simulator).replace("\n[backends", f'\n[telemetry]\ntraces = {{ endpoint = "{endpoint}"{lines} }}\n[backends', 1)


@pytest.mark.parametrize("failing", ["away", "silent", "busy"])
def test_no_request_feels_a_collector_that_fails(simulator: Simulator, tmp_path: Path, failing: str) -> None:
    with collecting() as collector:
        if failing == "silent":
            collector.hold.clear()
        collector.script = [(429, {"retry-after": "30"})] * 100 if failing == "busy" else []
        endpoint = f"http://127.0.0.1:{free_port()}/v1/traces" if failing == "away" else collector.url
        gateway = Gateway(tmp_path, traced(endpoint, simulator, sample=1, queue_max=5, interval_s=0.01, flush_s=0.1))
        with running(gateway):
            slowest = 0.0
            for _ in range(30):
                begun = time.monotonic()
                assert call(gateway.url + "/v1/chat/completions", chat("sim@ttft=0,tps=0"))[0] == 200
                slowest = max(slowest, time.monotonic() - begun)
            assert slowest < 3
            dropped = eventually(lambda: gateway.metric('appliance_trace_spans_total{result="dropped"}'))
            assert gateway.metric('appliance_trace_spans_total{result="sent"}') == 0
            assert dropped >= 10
            assert gateway.metric("appliance_trace_queued_requests") <= 5
        assert gateway.popen.returncode == 0
        assert any(event.get("event") == "traces_lost" for event in gateway.events())


def test_the_end_of_the_process_sends_what_is_left(simulator: Simulator, tmp_path: Path) -> None:
    with collecting() as collector:
        gateway = Gateway(tmp_path, traced(collector.url, simulator, sample=1, interval_s=300))
        with running(gateway):
            for _ in range(7):
                assert call(gateway.url + "/v1/chat/completions", chat("sim"))[0] == 200
            eventually(lambda: gateway.metric("appliance_trace_queued_requests") == 7)
            assert collector.spans == []
        assert len(collector.spans) == 14


def test_a_reload_turns_traces_on_moves_them_and_turns_them_off(simulator: Simulator, tmp_path: Path) -> None:
    with collecting() as first, collecting() as second:
        gateway = Gateway(tmp_path, one_backend(simulator))
        with running(gateway):

            def reload(config: str) -> None:
                before = len([one for one in gateway.events() if one.get("event") == "reloaded"])
                gateway.write_config(config)
                os.kill(gateway.pid, signal.SIGHUP)
                eventually(lambda: len([one for one in gateway.events() if one.get("event") == "reloaded"]) > before)

            def ask() -> str:
                shown = uuid.uuid4().hex
                assert call(gateway.url + "/v1/chat/completions", chat("sim"), X_Request_Id=shown)[0] == 200
                return shown

            ask()
            reload(traced(first.url, simulator, sample=1, interval_s=0.05))
            shown = ask()
            eventually(lambda: first.of_request(shown))
            reload(traced(second.url, simulator, sample=1, interval_s=0.05))
            shown = ask()
            eventually(lambda: second.of_request(shown))
            reload(one_backend(simulator))
            ask()
            reload(traced(first.url, simulator, sample=1, interval_s=0.05))
            shown = ask()
            eventually(lambda: first.of_request(shown))
            assert (len(first.spans), len(second.spans)) == (4, 2)
            assert gateway.metric('appliance_service_restarts_total{service="traces"}') == 0
