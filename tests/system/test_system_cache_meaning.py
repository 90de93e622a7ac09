"""The semantic cache: what means the same is answered the same, within a tenant and where all else is equal; what goes wrong is a miss."""

import hashlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rig import Gateway, call, eventually, get_json, running
from telling_upstream import TellingUpstream

CHAT = "/v1/chat/completions"
TENANTS = ("acme", "globex", "spent")


def key_of(tenant: str) -> str:
    return f"sk-meaning-{tenant}"


def config(url: str) -> str:
    tenants = "".join(
        f'[tenants.{name}]\n{"rpm = 1000" if name != "spent" else "budget = { usd = 0.000001 }"}\n'
        f'keys = [ {{ id = "{name}", sha256 = "{hashlib.sha256(key_of(name).encode()).hexdigest()}" }} ]\n'
        for name in TENANTS
    )
    return f"""
[cache]
compared_max = 3
[prices.models.embedder]
input_usd_per_mtok = 1
[prices.models.m]
input_usd_per_mtok = 10
output_usd_per_mtok = 10
[backends.up]
provider = "custom"
base_url = "{url}/v1"
[backends.meaning]
provider = "custom"
base_url = "{url}/v1"
breaker = {{ consecutive_failures = 0, failure_ratio = 0 }}
[[routes]]
name = "hasty"
models = ["hasty"]
targets = [ {{ backend = "up" }} ]
cache = {{ ttl_s = 300, semantic = {{ backend = "meaning", model = "embedder", threshold = 0.9, timeout_s = 0.4 }} }}
[[routes]]
name = "all"
targets = [ {{ backend = "up" }} ]
cache = {{ ttl_s = 300, semantic = {{ backend = "meaning", model = "embedder", threshold = 0.9, timeout_s = 60 }} }}
{tenants}
"""


@pytest.fixture(scope="module")
def up() -> Iterator[TellingUpstream]:
    with TellingUpstream() as one:
        yield one


@pytest.fixture(scope="module")
def gateway(up: TellingUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    one = Gateway(tmp_path_factory.mktemp("meaning"), config(up.url))
    with running(one):
        yield one
        assert "Traceback" not in one.log


@pytest.fixture(autouse=True)
def _empty(gateway: Gateway, up: TellingUpstream) -> None:
    call(gateway.admin_url + "/admin/cache/flush", {})
    up.embed_s, up.embed_status = 0.0, 200


def ask(gateway: Gateway, url: str, text: str, tenant: str = "acme", system: str = "", **fields: Any) -> tuple[int, dict[str, str], bytes]:
    """Ask, and wait until what was answered is kept."""
    messages = [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": text}]
    body = {"model": "m", "temperature": 0, "messages": messages, "max_tokens": 20, **fields}
    answer = call(url + CHAT, body, authorization=f"Bearer {key_of(tenant)}")
    gateway.settle()
    return answer


@pytest.mark.parametrize("stream", [False, True])
def test_a_question_that_means_the_same_has_the_same_answer(gateway: Gateway, url: str, up: TellingUpstream, stream: bool) -> None:
    first, chats = ask(gateway, url, "what does a cat eat", stream=stream), up.chats
    second = ask(gateway, url, "what does a feline eat?", stream=stream)
    assert (first[1]["x-cache"], second[1]["x-cache"]) == ("MISS", "HIT")
    assert first[2] == second[2]
    assert second[1]["x-served-by"] == "cache"
    assert up.chats == chats
    asked = up.embeddings
    assert ask(gateway, url, "what does a feline eat?", stream=stream)[1]["x-cache"] == "HIT"
    assert up.embeddings == asked  # the very same question again costs nothing


def test_another_question_is_asked(gateway: Gateway, url: str) -> None:
    assert ask(gateway, url, "what does a cat eat")[1]["x-cache"] == "MISS"
    assert ask(gateway, url, "what does a dog eat")[1]["x-cache"] == "MISS"


@pytest.mark.parametrize("other", [{"system": "Be brief."}, {"max_tokens": 21}, {"model": "n"}, {"stream": True}, {"tenant": "globex"}])
def test_all_else_must_be_the_same(gateway: Gateway, url: str, other: dict[str, Any]) -> None:
    assert ask(gateway, url, "what does a cat eat")[1]["x-cache"] == "MISS"
    assert ask(gateway, url, "what does a feline eat", **other)[1]["x-cache"] == "MISS"
    assert ask(gateway, url, "what does a feline eat")[1]["x-cache"] == "HIT"


def test_an_embedding_that_fails_or_is_late_is_a_miss(url: str, gateway: Gateway, up: TellingUpstream) -> None:
    assert ask(gateway, url, "what does a cat eat")[1]["x-cache"] == "MISS"
    up.embed_status = 500
    status, headers, _ = ask(gateway, url, "what does a feline eat")
    assert (status, headers["x-cache"]) == (200, "MISS")
    lookup = gateway.record(headers["x-request-id"])["lookup"]
    assert (lookup["backend"], lookup["outcome"], lookup["cost_usd"]) == ("meaning", "error", 0)
    up.embed_status, up.embed_s = 200, 5.0
    status, headers, _ = ask(gateway, url, "what does a feline eat now", model="hasty")
    assert (status, headers["x-cache"]) == (200, "MISS")
    lookup = gateway.record(headers["x-request-id"])["lookup"]
    assert (lookup["error_type"], lookup["usage_source"]) == ("timeout", "estimated")
    assert lookup["duration_ms"] < 4000


def test_what_a_comparison_costs_is_in_the_requests_cost_and_nowhere_a_request_to_a_backend(up: TellingUpstream, tmp_path: Path) -> None:
    one = Gateway(tmp_path, config(up.url))
    with running(one):
        miss, hit = ask(one, one.url, "what does a cat eat"), ask(one, one.url, "what does a feline eat")
        assert (miss[1]["x-cache"], hit[1]["x-cache"]) == ("MISS", "HIT")
        assert (miss[1]["x-gateway-cost-usd"], hit[1]["x-gateway-cost-usd"]) == ("0.0012", "0.001")
        record = one.record(hit[1]["x-request-id"])
        assert (record["cost_usd"], record["attempts"], record["lookup"]["cost_usd"]) == (0.001, [], 0.001)
        assert record["plan"]["cached"]["had_cost_usd"] == 0.0012
        explained = subprocess.run(
            [sys.executable, "-m", "appliance", "explain", hit[1]["x-request-id"], "-c", str(one.config_path)],
            capture_output=True, text=True, check=True, timeout=30,
        ).stdout  # fmt: skip
        assert "by an embedding of meaning: success" in explained
        assert "answered 200 from the cache" in explained
        assert one.metric('aigateway_requests_total{tenant_id="acme",provider="cache",model="m",status="success"}') == 1
        assert one.metric('model_requests_total{model="m"}') == 1
        assert one.metric('model_requests_total{model="embedder"}') == 0
        assert 'gen_ai_operation_name="embeddings"' in one.metrics_text()
        rows = eventually(lambda: _rows(one))
        assert rows["cache"]["cost_usd"] == pytest.approx(0.001)
        assert rows["up"]["cost_usd"] == pytest.approx(0.0012)
        assert (rows["cache"]["input_tokens"], rows["up"]["input_tokens"]) == (0, 10)


def _rows(gateway: Gateway) -> Any:
    rows = {row["backend"]: row for row in get_json(gateway.admin_url + "/admin/usage?by=backend")["rows"]}
    return rows if {"cache", "up"} <= rows.keys() else None


def test_who_has_no_budget_left_has_no_comparison_either(gateway: Gateway, url: str, up: TellingUpstream) -> None:
    asked = up.embeddings
    assert ask(gateway, url, "what does a cat eat", tenant="spent")[0] == 402
    assert up.embeddings == asked


def test_no_more_questions_are_compared_than_the_bound(url: str, gateway: Gateway) -> None:
    for words in ("cat", "dog", "tea", "price"):
        assert ask(gateway, url, f"tell me of {words}")[1]["x-cache"] == "MISS"
    assert gateway.admin("/admin/cache")["entries"] == 3
    assert ask(gateway, url, "tell me all of price")[1]["x-cache"] == "HIT"
    assert ask(gateway, url, "tell me all of cat")[1]["x-cache"] == "MISS"


def test_vectors_of_another_embedding_backend_are_not_compared(up: TellingUpstream, tmp_path: Path) -> None:
    one = Gateway(tmp_path, config(up.url))
    with running(one):
        assert ask(one, one.url, "what does a cat eat")[1]["x-cache"] == "MISS"
        one.write_config(config(up.url).replace("[backends.meaning]", '[backends.meaning]\nheaders = { x-model-version = "2" }'))
        before = one.metric('appliance_config_reloads_total{result="ok"}')
        one.signal(signal.SIGHUP)
        eventually(lambda: one.metric('appliance_config_reloads_total{result="ok"}') > before)
        assert ask(one, one.url, "what does a feline eat")[1]["x-cache"] == "MISS"
        assert ask(one, one.url, "what does a feline eat now")[1]["x-cache"] == "HIT"


def test_a_drain_reaches_those_who_wait_for_an_embedding(up: TellingUpstream, tmp_path: Path) -> None:
    one = Gateway(tmp_path, config(up.url), head="drain_s = 1")
    with running(one), ThreadPoolExecutor(1) as pool:
        up.embed_s, asked = 60.0, up.embeddings
        body = {"model": "m", "temperature": 0, "messages": [{"role": "user", "content": "what does a cat eat"}]}
        waiting = pool.submit(call, one.url + CHAT, body, authorization=f"Bearer {key_of('acme')}")
        eventually(lambda: up.embeddings > asked)
        one.signal(signal.SIGTERM)
        assert waiting.result(20)[0] == 503
        assert one.popen.wait(20) == 0
