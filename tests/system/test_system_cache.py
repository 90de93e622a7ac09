"""The response cache over real sockets, by both engines: what is given again and to whom, in every language, whole and streamed.

The simulator answers the same request with the same bytes; whether it was asked is what its count of requests says.
"""

import hashlib
import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from raw_client import RawClient
from rig import Gateway, Simulator, call, chat, eventually, get_json, running

CHAT = "/v1/chat/completions"
ENGINES = ("builtin", "hypercorn")
TENANTS = {
    "acme": "",
    "globex": "",
    "tight": "rpm = 3\ntpm = 100000",
    "poor": "budget = { usd = 0.3 }",
    "once": "rpm = 1",
    "steady": "rpm = 60",
    "few": "concurrency = 3",
    "two": "concurrency = 2",
}
PATIENCE_S = 20.0
SHORT_S = 1.0


def key_of(tenant: str) -> str:
    return f"sk-cache-{tenant}"


def tenants() -> str:
    return "".join(
        f'[tenants.{name}]\n{lines}\nkeys = [ {{ id = "{name}", sha256 = "{hashlib.sha256(key_of(name).encode()).hexdigest()}" }} ]\n'
        for name, lines in TENANTS.items()
    )


def config(simulator: Simulator, target: str = "") -> str:
    return f"""
[cache]
size_max_bytes = 4194304
entry_max_bytes = 65536
[budgets]
answer_tokens_max = 50
[prices.models.priced]
input_usd_per_mtok = 1000
output_usd_per_mtok = 1000
[backends.sim]
provider = "custom"
base_url = "{simulator.url}/v1"
breaker = {{ consecutive_failures = 0, failure_ratio = 0 }}
[backends.openai]
provider = "openai"
base_url = "{simulator.url}/v1"
api_key = "test-key"
[backends.claude]
provider = "anthropic"
base_url = "{simulator.url}"
api_key = "test-key"
[backends.gemini]
provider = "gemini"
base_url = "{simulator.url}"
api_key = "test-key"
[[routes]]
name = "always"
models = ["always*"]
targets = [ {{ backend = "sim" }} ]
cache = {{ ttl_s = 60, when = "always" }}
[[routes]]
name = "short"
models = ["short"]
targets = [ {{ backend = "sim" }} ]
cache = {{ ttl_s = {SHORT_S} }}
[[routes]]
name = "off"
models = ["off"]
targets = [ {{ backend = "sim" }} ]
[[routes]]
name = "claude"
models = ["claude*"]
targets = [ {{ backend = "claude" }} ]
cache = {{ ttl_s = 60 }}
[[routes]]
name = "gemini"
models = ["gemini*"]
targets = [ {{ backend = "gemini" }} ]
cache = {{ ttl_s = 60 }}
[[routes]]
name = "responses"
models = ["gpt*"]
targets = [ {{ backend = "openai" }} ]
cache = {{ ttl_s = 60 }}
[[routes]]
name = "all"
targets = [ {{ backend = "sim"{target} }} ]
retry = {{ attempts = 1 }}
cache = {{ ttl_s = 60 }}
{tenants()}
"""


@pytest.fixture(scope="module")
def gateway(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    one = Gateway(tmp_path_factory.mktemp("cache"), config(simulator))
    with running(one):
        yield one
        assert "Traceback" not in one.log


@pytest.fixture(autouse=True)
def _empty(gateway: Gateway, simulator: Simulator) -> None:
    gateway.settle()
    call(gateway.admin_url + "/admin/cache/flush", {})
    simulator.reset()


def ask(url: str, body: Any, path: str = CHAT, tenant: str = "acme", **headers: str) -> tuple[int, dict[str, str], bytes]:
    return call(url + path, body, authorization=f"Bearer {key_of(tenant)}", **headers)


def cold(text: str = "Hello!", model: str = "sim", **fields: Any) -> dict[str, Any]:
    return chat(model, text, temperature=0, **fields)


MESSAGES = {"max_tokens": 50, "temperature": 0, "messages": [{"role": "user", "content": "Hello"}]}
RESPONSES = {"temperature": 0, "store": False, "input": "Hello"}
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}], "generationConfig": {"temperature": 0}}

LANGUAGES = {
    "chat": (CHAT, cold()),
    "chat at Anthropic's": (CHAT, cold(model="claude-x")),
    "completion": ("/v1/completions", {"model": "sim", "prompt": "Hello", "seed": 7}),
    "Responses": ("/v1/responses", {"model": "gpt-x", **RESPONSES}),
    "Responses at a chat's": ("/v1/responses", {"model": "sim", **RESPONSES}),
    "Messages": ("/v1/messages", {"model": "claude-x", **MESSAGES}),
    "Messages at a chat's": ("/v1/messages", {"model": "sim", **MESSAGES}),
    "Gemini": ("/v1beta/models/gemini-x:generateContent", GEMINI),
    "Gemini at a chat's": ("/v1beta/models/sim:generateContent", GEMINI),
    "embeddings": ("/v1/embeddings", {"model": "sim", "input": "Hello"}),
    "rerank": ("/v1/rerank", {"model": "sim", "query": "q", "documents": ["a", "b"]}),
    "moderations": ("/v1/moderations", {"model": "gpt-x", "input": "Hello"}),
    "count": ("/v1/messages/count_tokens", {"model": "claude-x", "messages": [{"role": "user", "content": "Hello"}]}),
}
STREAMS = {
    "chat": (CHAT, cold(stream=True)),
    "chat at Anthropic's": (CHAT, cold(model="claude-x", stream=True)),
    "completion": ("/v1/completions", {"model": "sim", "prompt": "Hello", "seed": 7, "stream": True}),
    "Responses": ("/v1/responses", {"model": "gpt-x", **RESPONSES, "stream": True}),
    "Responses at a chat's": ("/v1/responses", {"model": "sim", **RESPONSES, "stream": True}),
    "Messages": ("/v1/messages", {"model": "claude-x", **MESSAGES, "stream": True}),
    "Messages at a chat's": ("/v1/messages", {"model": "sim", **MESSAGES, "stream": True}),
    "Gemini": ("/v1beta/models/gemini-x:streamGenerateContent?alt=sse", GEMINI),
    "Gemini as an array": ("/v1beta/models/gemini-x:streamGenerateContent", GEMINI),
    "Gemini at a chat's": ("/v1beta/models/sim:streamGenerateContent?alt=sse", GEMINI),
}


@pytest.mark.parametrize("name", LANGUAGES)
def test_the_same_request_has_the_same_whole_answer_again(url: str, simulator: Simulator, name: str) -> None:
    path, body = LANGUAGES[name]
    first, second = ask(url, body, path), ask(url, body, path)
    assert (first[0], second[0]) == (200, 200), first
    assert (first[1]["x-cache"], second[1]["x-cache"]) == ("MISS", "HIT")
    assert first[2] == second[2]
    assert first[1]["content-type"] == second[1]["content-type"]
    assert first[1]["x-request-id"] != second[1]["x-request-id"]
    assert second[1]["x-served-by"] == "cache"
    assert second[1]["x-gateway-cost-usd"] == "0"
    assert simulator.stats()["requests"] == 1


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_given_again_as_the_same_stream(url: str, simulator: Simulator, name: str) -> None:
    path, body = STREAMS[name]
    first, second = ask(url, body, path), ask(url, body, path)
    assert (first[0], second[0]) == (200, 200), first
    assert (first[1]["x-cache"], second[1]["x-cache"]) == ("MISS", "HIT")
    assert first[2] == second[2]
    assert len(first[2]) > 100
    assert first[1]["content-type"] == second[1]["content-type"]
    assert "content-length" not in second[1]
    assert simulator.stats()["requests"] == 1


def test_a_whole_request_is_not_answered_with_a_stream(url: str) -> None:
    assert ask(url, cold(stream=True))[1]["x-cache"] == "MISS"
    _, headers, body = ask(url, cold())
    assert headers["x-cache"] == "MISS"
    assert json.loads(body)["object"] == "chat.completion"


def test_one_tenant_never_gets_the_answer_of_another(url: str, simulator: Simulator) -> None:
    assert ask(url, cold())[1]["x-cache"] == "MISS"
    assert ask(url, cold(), tenant="globex")[1]["x-cache"] == "MISS"
    mine, theirs = ask(url, cold()), ask(url, cold(), tenant="globex")
    assert (mine[1]["x-cache"], theirs[1]["x-cache"]) == ("HIT", "HIT")
    assert simulator.stats()["requests"] == 2


def test_order_of_members_means_nothing_and_numbers_do(url: str) -> None:
    one = b'{"model":"sim","temperature":0,"max_tokens":40,"messages":[{"role":"user","content":"x"}]}'
    same = b'{ "messages": [ {"content": "\\u0078", "role": "user"} ], "max_tokens": 40, "temperature": 0, "user": "u", "model": "sim" }'
    other = one.replace(b"40", b"41")
    twice = one.replace(b'"role":"user",', b'"role":"user","role":"user",')
    assert [ask(url, body)[1].get("x-cache") for body in (one, same, other, twice)] == ["MISS", "HIT", "MISS", None]


UNREPEATABLE = {
    "warm": (CHAT, chat("sim", temperature=0.5)),
    "no temperature": (CHAT, chat("sim")),
    "true is no number": (CHAT, chat("sim", seed=True)),
    "stored": (CHAT, cold(store=True)),
    "a search in it": (CHAT, cold(web_search_options={"x": 1})),
    "Responses that are kept": ("/v1/responses", {"model": "sim", "temperature": 0, "input": "Hi"}),
    "going on": ("/v1/responses", {"model": "gpt-x", **RESPONSES, "previous_response_id": "resp_1"}),
    "no cache": (CHAT, cold(model="off")),
    "pictures": ("/v1/images/generations", {"model": "gpt-x", "prompt": "a cat"}),
}


@pytest.mark.parametrize("name", UNREPEATABLE)
def test_what_has_chance_or_state_in_it_is_not_looked_up(url: str, gateway: Gateway, name: str) -> None:
    path, body = UNREPEATABLE[name]
    for _ in range(2):
        assert "x-cache" not in ask(url, body, path)[1]
    assert gateway.admin("/admin/cache")["entries"] == 0


def test_a_route_may_say_that_chance_does_not_matter(url: str) -> None:
    assert [ask(url, chat("always"))[1]["x-cache"] for _ in range(2)] == ["MISS", "HIT"]


BAD = {
    "an error": cold(model="sim+500"),
    "a filtered answer": cold(model="sim+content_filter"),
    "a stream that breaks off": cold(model="sim+cut=5", stream=True),
    "a stream with an error in it": cold(model="sim+error_event=3", stream=True),
    "a body that is cut": cold(model="sim+truncate=2"),
    "a refusal": cold("[[refuse=No.]]", model="claude-x"),
}


@pytest.mark.parametrize("name", BAD)
def test_only_whole_good_answers_are_kept(url: str, gateway: Gateway, name: str) -> None:
    path, body = ("/v1/messages", {**BAD[name], "max_tokens": 99}) if name == "a refusal" else (CHAT, BAD[name])
    for _ in range(2):
        assert ask(url, body, path)[1]["x-cache"] == "MISS"
        gateway.settle()
    assert gateway.admin("/admin/cache")["entries"] == 0


def test_a_longer_answer_than_may_be_kept_passes_and_is_forgotten(url: str, gateway: Gateway) -> None:
    body = cold(f"[[tokens={30000}]]", model="sim@ttft=1ms,tps=0")
    assert [ask(url, {**body, "stream": stream})[1]["x-cache"] for stream in (False, True, False, True)] == ["MISS"] * 4
    gateway.settle()
    assert gateway.admin("/admin/cache")["entries"] == 0


def test_tool_calls_are_kept(url: str) -> None:
    tool = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}
    answers = [ask(url, cold("get_time now", tools=[tool])) for _ in range(2)]
    assert [headers["x-cache"] for _, headers, _ in answers] == ["MISS", "HIT"]
    assert json.loads(answers[1][2])["choices"][0]["finish_reason"] == "tool_calls"


def test_an_answer_ages_out(url: str, simulator: Simulator) -> None:
    begun = time.monotonic()
    assert ask(url, cold(model="short"))[1]["x-cache"] == "MISS"
    if ask(url, cold(model="short"))[1]["x-cache"] == "MISS":
        assert time.monotonic() - begun > SHORT_S
    time.sleep(SHORT_S + 0.1)
    asked = simulator.stats()["requests"]
    assert ask(url, cold(model="short"))[1]["x-cache"] == "MISS"
    assert simulator.stats()["requests"] == asked + 1


def test_skipping_the_cache_asks_the_backend_and_keeps_what_it_says(url: str, simulator: Simulator, gateway: Gateway) -> None:
    for number in (1, 2):
        _, headers, _ = ask(url, cold(), x_skip_cache="true")
        assert "x-cache" not in headers
        assert headers["x-served-by"] == "sim"
        assert simulator.stats()["requests"] == number
    gateway.settle()
    assert ask(url, cold(), x_skip_cache="no")[1]["x-cache"] == "HIT"


def test_a_hit_counts_as_a_request_and_as_no_tokens(url: str, gateway: Gateway) -> None:
    gateway_name = "tight"
    body = cold(f"hit counts {url}")
    answers = [ask(url, body, tenant=gateway_name) for _ in range(5)]
    limited = [status for status, _, _ in answers]
    assert 429 in limited
    assert limited.index(429) <= 3
    left = [int(headers["x-ratelimit-remaining-tokens"]) for status, headers, _ in answers if status == 200]
    assert left == sorted(left)  # no later one took any
    assert answers[-1][1]["retry-after"]


def test_a_hit_passes_a_budget_that_is_spent(simulator: Simulator, tmp_path: Path) -> None:
    text = config(simulator)
    one = Gateway(tmp_path, text)
    with running(one):
        body = cold(model="priced", max_tokens=50)
        first = ask(one.url, body, tenant="poor")
        assert first[0] == 200, first
        for number in range(20):
            if ask(one.url, cold(f"spend {number}", model="priced", max_tokens=50), tenant="poor")[0] == 402:
                break
        else:
            raise AssertionError("the budget never ran out")
        hit = ask(one.url, body, tenant="poor")
        assert (hit[0], hit[1]["x-cache"], hit[2]) == (200, "HIT", first[2])


def test_a_hit_is_in_the_ledger_and_in_every_vocabulary_as_the_caches_own(simulator: Simulator, tmp_path: Path) -> None:
    one = Gateway(tmp_path, config(simulator))
    with running(one):
        for tenant in ("acme", "globex"):  # from the start
            assert f'aigateway_cache_hits_total{{tenant_id="{tenant}"}} 0' in one.metrics_text()
            assert f'aigateway_cache_misses_total{{tenant_id="{tenant}"}} 0' in one.metrics_text()
        answers = [ask(one.url, cold(stream=stream)) for stream in (False, False, True, True)]
        one.settle()
        record = one.record(answers[1][1]["x-request-id"])
        assert (record["cache"], record["cost_usd"], record["attempts"], record["model"]) == ("hit", 0, [], "sim")
        prefix = "llm_gateway_llm_gateway_"
        assert one.metric(f'{prefix}cache_operations_total{{operation="get",result="hit"}}') == 2
        assert one.metric(f'{prefix}cache_operations_total{{operation="get",result="miss"}}') == 2
        assert one.metric('aigateway_cache_hits_total{tenant_id="acme"}') == 2
        assert one.metric('aigateway_requests_total{tenant_id="acme",provider="cache",model="sim",status="success"}') == 2
        assert one.metric('aigateway_requests_total{tenant_id="acme",provider="sim",model="sim",status="success"}') == 2
        assert one.metric('inference_gateway_requests_total{route="all",backend="cache",status="200"}') == 2
        assert one.metric('model_requests_total{model="sim"}') == 2
        assert one.metric(f'{prefix}requests_total{{model="sim",provider="sim",status="success",streaming="false"}}') == 1
        assert 'provider="cache",status' not in one.metrics_text()
        usage = eventually(lambda: _rows(one, 2))
        assert (usage["requests"], usage["cost_usd"], usage["input_tokens"], usage["output_tokens"]) == (2, 0, 0, 0)


def _rows(gateway: Gateway, count: int) -> Any:
    rows = get_json(gateway.admin_url + "/admin/usage?by=backend")["rows"]
    found = [row for row in rows if row["backend"] == "cache"]
    return found[0] if found and found[0]["requests"] == count else None


def test_of_many_at_once_one_asks_the_backend(url: str, simulator: Simulator, gateway: Gateway) -> None:
    for stream in (False, True):
        body = cold("at once", model="sim@ttft=400ms", stream=stream)
        simulator.reset()
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _, body=body: ask(url, body), range(12)))
        assert {status for status, _, _ in answers} == {200}
        assert len({body for _, _, body in answers}) == 1
        assert sorted(headers["x-cache"] for _, headers, _ in answers) == ["HIT"] * 11 + ["MISS"]
        assert simulator.stats()["requests"] == 1


LEAVING = {
    "before anything came": ("sim+hang;first=1", False, b""),
    "before the first event": ("sim+hang;first=1", True, b""),
    "in the middle of a stream": ("sim+hang=3;first=1", True, b"data: "),
}
"""What the leader waits for in vain, and the next one gets."""


@pytest.mark.parametrize("name", LEAVING)
def test_a_leader_that_leaves_does_not_take_the_others_with_it(url: str, simulator: Simulator, gateway: Gateway, name: str) -> None:
    model, stream, seen = LEAVING[name]
    body = cold("leader", model=model, stream=stream)
    with RawClient(url) as leader, ThreadPoolExecutor(6) as pool:
        leader.ask(body, authorization=f"Bearer {key_of('acme')}")
        eventually(lambda: simulator.stats()["requests"] == 1)
        others = [pool.submit(ask, url, body) for _ in range(6)]
        if seen:
            leader.read_until(seen)
        eventually(lambda: gateway.metric("appliance_cache_waiting_requests") == 6)
        leader.sock.close()
        answers = [one.result(PATIENCE_S) for one in others]
    assert {status for status, _, _ in answers} == {200}
    assert len({body for _, _, body in answers}) == 1
    assert sorted(headers["x-cache"] for _, headers, _ in answers) == ["HIT"] * 5 + ["MISS"]
    assert simulator.stats()["requests"] == 2
    assert gateway.metric("appliance_cache_waiting_requests") == 0


def test_a_leader_that_fails_leaves_the_next_one_to_try(url: str, simulator: Simulator) -> None:
    body = cold("fails", model="sim@ttft=300ms+latency=300ms+500;first=1")
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: ask(url, body), range(5)))
    statuses = sorted(status for status, _, _ in answers)
    assert statuses == [200] * 4 + [500] or statuses == [200] * 4 + [502]
    assert simulator.stats()["requests"] == 2


def test_who_has_waited_in_vain_has_the_limits_of_the_moment_that_it_asks_a_backend(url: str, simulator: Simulator) -> None:
    """One request comes back each second, and three seconds pass."""
    while ask(url, cold("quick"), tenant="steady")[0] != 429:
        pass
    time.sleep(1.2)
    body = cold("waited", model="sim@ttft=3000ms+latency=3000ms+500;first=1")
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: ask(url, body, tenant="steady"), range(2)))
    assert sorted(status for status, _, _ in answers) in ([200, 500], [200, 502])


def test_who_waits_for_anothers_answer_is_one_of_the_requests_at_once(url: str, simulator: Simulator, gateway: Gateway) -> None:
    def waiting() -> float:
        return gateway.metric("appliance_cache_waiting_requests")

    body = cold("places", model="sim@ttft=60s")
    with RawClient(url) as leader, RawClient(url) as other, RawClient(url) as leaving:
        for number, client in enumerate((leader, other, leaving)):
            client.ask(body, authorization=f"Bearer {key_of('few')}")
            eventually(lambda number=number: (simulator.stats()["requests"], waiting()) == (1, number))
        for one_more in (body, cold("another")):
            status, headers, said = ask(url, one_more, tenant="few")
            assert (status, headers["retry-after"]) == (429, "1")
            assert b"3 requests at once for the tenant 'few'" in said
        assert gateway.record(headers["x-request-id"])["verdict"]["limit_type"] == "concurrency"
        leaving.sock.close()
        eventually(lambda: gateway.metric("appliance_in_flight_requests") == 2)
        assert waiting() == 1
        assert ask(url, cold("another"), tenant="few")[0] == 200, "who has left has no place"
        assert simulator.stats()["requests"] == 2
    gateway.settle()


def test_who_has_waited_gives_its_place_back(url: str, simulator: Simulator, gateway: Gateway) -> None:
    """For an answer, and for one that came to nothing; as often as it may be."""
    for number in range(3):
        for model, asked in (("sim@ttft=300ms", 1), ("sim@ttft=200ms+latency=200ms+500;first=1", 2)):
            gateway.settle()
            simulator.reset()
            body = cold(f"back {number}", model=model)
            with ThreadPoolExecutor(2) as pool:
                answers = list(pool.map(lambda _, body=body: ask(url, body, tenant="two"), range(2)))
            assert 200 in [status for status, _, _ in answers]
            assert 429 not in [status for status, _, _ in answers]
            assert simulator.stats()["requests"] == asked


def test_a_stream_waits_for_another_no_longer_than_for_its_keep_alive(simulator: Simulator, tmp_path: Path) -> None:
    """Then it goes by itself, in the place that it had while it waited: its limit lets two pass at once."""
    text = config(simulator).replace('name = "all"', 'name = "all"\nkeepalive_s = 0.3')
    one = Gateway(tmp_path, text)
    with running(one), ThreadPoolExecutor(2) as pool:
        body = cold("slow", model="sim@ttft=3000ms", stream=True)
        answers = list(pool.map(lambda _: ask(one.url, body, tenant="two"), range(2)))
        assert [headers["x-cache"] for _, headers, _ in answers] == ["MISS", "MISS"]
        first, second = simulator.stats()["last"]
        assert second["started_monotonic_s"] < first["ended_monotonic_s"]


def test_what_a_reload_changes_is_not_answered_with_what_was_kept_before(simulator: Simulator, tmp_path: Path) -> None:
    one = Gateway(tmp_path, config(simulator))
    with running(one):
        first = ask(one.url, cold())
        one.write_config(config(simulator))
        _reload(one)
        assert ask(one.url, cold())[2] == first[2]  # nothing that matters has changed
        one.write_config(config(simulator, ', model = "another"'))
        _reload(one)
        other = ask(one.url, cold())
        assert (other[1]["x-cache"], other[1]["x-gateway-model"]) == ("MISS", "another")
        one.write_config(config(simulator).replace("[tenants.globex]", "[tenants.gone]"))
        _reload(one)
        assert "globex" not in one.admin("/admin/cache")["tenants"]


def _reload(gateway: Gateway) -> None:
    before = gateway.metric('appliance_config_reloads_total{result="ok"}')
    gateway.signal(signal.SIGHUP)
    eventually(lambda: gateway.metric('appliance_config_reloads_total{result="ok"}') > before)


def test_an_operator_sees_the_cache_and_empties_it(url: str, gateway: Gateway) -> None:
    for tenant in ("acme", "globex"):
        ask(url, cold(), tenant=tenant)
    gateway.settle()
    shown = gateway.admin("/admin/cache")
    assert shown["entries"] == 2
    assert shown["tenants"]["acme"]["entries"] == 1
    assert 0 < shown["size_bytes"] < shown["size_max_bytes"]
    assert gateway.metric("appliance_cache_entries") == 2
    assert gateway.metric("appliance_cache_bytes") == shown["size_bytes"]
    status, _, told = call(gateway.admin_url + "/admin/cache/flush?tenant=acme", {})
    assert (status, json.loads(told)) == (200, {"entries": 1})
    assert ask(url, cold())[1]["x-cache"] == "MISS"
    assert ask(url, cold(), tenant="globex")[1]["x-cache"] == "HIT"
    status, _, told = call(gateway.admin_url + "/admin/cache/flush?tennant=acme", {})
    assert status == 400
    assert "tennant" in json.loads(told)["error"]


def test_a_drain_reaches_those_who_wait_for_anothers_answer(simulator: Simulator, tmp_path: Path) -> None:
    one = Gateway(tmp_path, config(simulator), head="drain_s = 1")
    with running(one), ThreadPoolExecutor(3) as pool:
        body = cold("slow", model="sim@ttft=60s")
        waiting = [pool.submit(ask, one.url, body) for _ in range(3)]
        eventually(lambda: one.metric("appliance_cache_waiting_requests") == 2)
        one.signal(signal.SIGTERM)
        assert {future.result(PATIENCE_S)[0] for future in waiting} == {503}
        assert one.popen.wait(PATIENCE_S) == 0
        assert "Traceback" not in one.log
