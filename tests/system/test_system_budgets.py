"""Budgets over real sockets, by both engines: who is refused with what words, what passes, what is warned of and where, and what a restart
and a reload keep.

Each test has a tenant of its own for each engine. A token of an answer costs a thousandth of a dollar, a prompt nothing.
"""

import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from ledger_reader import ledger_rows, reading, store_of
from rig import Gateway, Simulator, call, chat, eventually, running

CHAT = "/v1/chat/completions"
ENGINES = ("builtin", "hypercorn")

TENANTS = {
    "edge": "budget = { usd = 0.2 }",
    "dialects": "budget = { usd = 0.001 }",
    "free": "budget = { usd = 0.001 }",
    "warns": 'budget = { usd = 0.01, on_exceeded = "warn" }',
    "given": "rpm = 1\nbudget = { usd = 0.02 }",
    "drawn": "budget = { usd = 0.05 }",
    "failed": "budget = { usd = 0.05 }",
    "told": 'budget = { usd = 0.1, period = "day", timezone = "Asia/Tokyo" }',
    "whole": "budget = { usd = 100 }",
}


def key_of(name: str, engine: str) -> str:
    return f"sk-{name}-{engine}"


def tenants(budgets: dict[str, str], key_lines: str = "") -> str:
    text = ""
    for name, lines in budgets.items():
        for engine in ENGINES:
            digest = hashlib.sha256(key_of(name, engine).encode()).hexdigest()
            text += f'[tenants.{name}-{engine}]\n{lines}\nkeys = [ {{ id = "{name}-{engine}", sha256 = "{digest}"{key_lines} }} ]\n'
    return text


def config(simulator: Simulator, budgets: dict[str, str], more: str = "", key_lines: str = "") -> str:
    return f"""
[budgets]
answer_tokens_max = 100
[prices.models.drawn]
request_usd = 0.04
[prices.models.house]
output_usd_per_mtok = 1000
[prices.models."house@ttft=2s"]
output_usd_per_mtok = 1000
[prices.models."house@ttft=6s"]
output_usd_per_mtok = 1000
[prices.models."house+500"]
output_usd_per_mtok = 1000
[prices.models.given-away]
[backends.sim]
provider = "custom"
base_url = "{simulator.url}/v1"
breaker = {{ consecutive_failures = 0, failure_ratio = 0 }}
[[routes]]
name = "all"
targets = [ {{ backend = "sim" }} ]
retry = {{ attempts = 1 }}
{more}
{tenants(budgets, key_lines)}
"""


class Webhook:
    """A receiver that fails as often as it is told to, and keeps what it took."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.tries = 0
        self.failures = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.tries += 1
                if outer.tries <= outer.failures:
                    self.send_response(500)
                else:
                    outer.taken.append({**json.loads(body), "path": self.path, "idempotency": self.headers["idempotency-key"]})
                    self.send_response(204)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook/s3cret-token"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def of(self, tenant: str) -> list[dict[str, Any]]:
        return [one for one in self.taken if one["tenant"] == tenant]


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    one = Webhook()
    yield one
    one.server.shutdown()


def events(gateway: Gateway, name: str) -> list[dict[str, Any]]:
    return [line for line in gateway.events() if line.get("event") == name]


def delivered(gateway: Gateway, count: int) -> None:
    """Wait until so many warnings are known to be delivered, in the store too: a restart repeats none of them."""
    with reading(store_of(gateway)) as connection:
        wanted = "SELECT count(*) FROM budget_warnings WHERE delivered_at IS NOT NULL"
        eventually(lambda: connection.execute(wanted).fetchone()[0] == count)


def hooked(webhook: Webhook) -> str:
    return f'[alerts]\nwebhook = {{ url = "{webhook.url}" }}\n'


@pytest.fixture(scope="module")
def gateway(simulator: Simulator, webhook: Webhook, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    one = Gateway(tmp_path_factory.mktemp("budgets"), config(simulator, TENANTS, hooked(webhook)))
    with running(one):
        yield one
        assert "Traceback" not in one.log
        assert "s3cret-token" not in one.log


class Caller:
    """A tenant of its own."""

    def __init__(self, gateway: Gateway, engine: str, name: str) -> None:
        self.gateway, self.name, self.key = gateway, f"{name}-{engine}", key_of(name, engine)
        self.url = gateway.url if engine == "builtin" else gateway.hypercorn_url

    def ask(self, body: Any, path: str = CHAT, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return call(self.url + path, body, authorization=f"Bearer {self.key}", **headers)

    def spend(self, tokens: int, model: str = "house") -> int:
        """Ask for an answer of so many tokens, at a thousandth of a dollar each, and wait until that is booked."""
        status = self.ask(chat(model, f"[[tokens={tokens}]]", max_tokens=tokens))[0]
        self.gateway.settle()
        return status

    @property
    def ratio(self) -> float:
        return self.gateway.metric(f'aigateway_budget_usage_ratio{{tenant_id="{self.name}"}}')


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_of_many_requests_at_once_exactly_those_that_fit_pass_and_no_backend_sees_the_others(
    gateway: Gateway, engine: str, simulator: Simulator
) -> None:
    simulator.reset()
    one = Caller(gateway, engine, "edge")
    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda _: one.ask(chat("house", "[[tokens=40]]", max_tokens=40))[0], range(20)))
    gateway.settle()
    assert sorted(statuses) == [200] * 5 + [402] * 15
    assert simulator.stats()["requests"] == 5
    assert one.ratio == 1.0
    eventually(lambda: sum(line["tenant"] == one.name and line["status"] == 402 for line in gateway.requests()) == 15)
    assert gateway.metric(f'llm_gateway_llm_gateway_rate_limit_hits_total{{tenant="{one.name}",limit_type="budget"}}') == 15


def test_a_refusal_names_whose_budget_it_is_how_much_is_spent_and_when_it_starts_anew(gateway: Gateway, engine: str) -> None:
    one = Caller(gateway, engine, "told")
    assert one.spend(20) == 200
    status, headers, body = one.ask(chat("house", max_tokens=90))
    error = json.loads(body)["error"]
    assert (status, error["type"], error["code"]) == (402, "insufficient_quota", "budget_exceeded")
    for words in (f"the tenant '{one.name}'", "$0.1 a day", "$0.02 is spent", "may cost $0.09", "starts anew at 20", "T00:00:00+09:00"):
        assert words in error["message"]
    assert "x-served-by" not in headers


def test_the_official_sdks_know_the_refusal_in_their_own_language(gateway: Gateway, engine: str) -> None:
    one = Caller(gateway, engine, "dialects")
    asked: Any = [{"role": "user", "content": "Hello"}]
    with pytest.raises(openai.APIStatusError) as chats:
        openai.OpenAI(base_url=one.url + "/v1", api_key=one.key, max_retries=0).chat.completions.create(model="house", messages=asked)
    assert (chats.value.status_code, chats.value.code) == (402, "budget_exceeded")
    with pytest.raises(openai.APIStatusError) as streams:
        openai.OpenAI(base_url=one.url + "/v1", api_key=one.key, max_retries=0).responses.create(model="house", input="Hello", stream=True)
    assert streams.value.status_code == 402
    with pytest.raises(anthropic.APIStatusError) as messages:
        anthropic.Anthropic(base_url=one.url, api_key=one.key, max_retries=0).messages.create(model="house", messages=asked, max_tokens=50)
    assert messages.value.status_code == 402
    assert json.loads(messages.value.response.content)["error"]["type"] == "billing_error"
    client = genai.Client(api_key=one.key, http_options={"base_url": one.url})
    with pytest.raises(genai_errors.ClientError) as contents:
        client.models.generate_content(model="house", contents="Hello")
    assert (contents.value.code, contents.value.status) == (402, "RESOURCE_EXHAUSTED")


def test_a_model_that_costs_nothing_passes_a_budget_that_is_used_up(gateway: Gateway, engine: str) -> None:
    one = Caller(gateway, engine, "free")
    assert one.spend(1) == 200
    assert one.spend(1) == 402
    assert one.spend(50, "given-away") == 200
    assert one.spend(50, "nobody-knows-it") == 200  # prices.unknown_model is zero
    assert one.ask({"model": "house", "messages": [{"role": "user", "content": "x"}]}, "/v1/messages/count_tokens")[0] == 200


def test_a_budget_that_only_warns_lets_everything_pass(gateway: Gateway, engine: str, webhook: Webhook) -> None:
    one = Caller(gateway, engine, "warns")
    assert [one.spend(8) for _ in range(4)] == [200] * 4
    assert one.ratio == 3.2
    assert gateway.metric(f'appliance_budget_warnings_total{{tenant="{one.name}",scope="tenant",percent="100"}}') == 1
    eventually(lambda: len(webhook.of(one.name)) == 4)
    assert {said["on_exceeded"] for said in webhook.of(one.name)} == {"warn"}


def test_a_refused_request_gives_its_limits_back(gateway: Gateway, engine: str) -> None:
    one = Caller(gateway, engine, "given")
    for _ in range(3):
        status, headers, _ = one.ask(chat("house", max_tokens=50))
        assert (status, headers["x-ratelimit-remaining-requests"]) == (402, "1")
    assert one.spend(20) == 200


def test_pictures_and_sound_count_by_what_is_known_of_their_price(gateway: Gateway, engine: str) -> None:
    one = Caller(gateway, engine, "drawn")
    drawing = {"model": "drawn", "prompt": "a sheep"}
    assert [one.ask(drawing, "/v1/images/generations")[0] for _ in range(2)] == [200, 402]
    form = openai.OpenAI(base_url=one.url + "/v1", api_key=one.key, max_retries=0)
    with pytest.raises(openai.APIStatusError) as refused:
        form.audio.transcriptions.create(model="drawn", file=("a.wav", b"x" * 100_000))
    assert refused.value.status_code == 402
    gateway.settle()
    assert one.ratio == 0.8


def test_what_a_failed_request_held_is_free_again(gateway: Gateway, engine: str) -> None:
    one = Caller(gateway, engine, "failed")
    assert [one.spend(50, "house+500") for _ in range(3)] == [502] * 3
    assert one.ratio == 0
    assert one.spend(50) == 200


def test_a_request_without_a_bound_holds_what_the_operator_says_and_costs_what_it_does(gateway: Gateway, engine: str) -> None:
    one = Caller(gateway, engine, "whole")
    before = one.ratio
    assert one.ask(chat("house", "[[tokens=7]]"))[0] == 200
    gateway.settle()
    assert one.ratio == pytest.approx(before + 0.00007)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(one.ask, chat("house@ttft=2s", "[[tokens=3]]"))
        eventually(lambda: one.ratio == pytest.approx(before + 0.00107))
        slow.result()
    gateway.settle()
    assert one.ratio == pytest.approx(before + 0.0001)


def test_each_threshold_reaches_the_webhook_once_through_failures_restarts_and_reloads(simulator: Simulator, tmp_path: Path) -> None:
    webhook = Webhook()
    webhook.failures = 2
    text = config(simulator, {"hook": "budget = { usd = 0.1 }"}, hooked(webhook), ", budget = { usd = 1, period = 'total' }")
    gateway = Gateway(tmp_path, text)
    with running(gateway):
        one = Caller(gateway, "builtin", "hook")
        assert [one.spend(tokens) for tokens in (40, 20, 10)] == [200] * 3
        delivered(gateway, 1)
        assert webhook.tries == 3
        said = webhook.taken[0]
        assert (said["event"], said["tenant"], said["key"], said["threshold_percent"]) == ("budget_threshold", one.name, None, 50)
        assert (said["budget_usd"], said["spent_usd"], said["period"], said["timezone"]) == (0.1, 0.06, "month", "UTC")
        assert said["period_start"].endswith("T00:00:00+00:00")
        assert said["idempotency"] == said["id"]
        assert said["path"] == "/hook/s3cret-token"
        failed = eventually(lambda: len(found := events(gateway, "budget_webhook_failed")) == 2 and found)
        assert [line["problem"] for line in failed] == ["500", "500"]
        assert gateway.metric('appliance_budget_webhooks_total{result="sent"}') == 1
        eventually(lambda: len(ledger_rows(store_of(gateway))) == 3)
    gateway = Gateway(tmp_path, text)
    with running(gateway):
        one = Caller(gateway, "builtin", "hook")
        assert one.spend(26) == 200
        assert one.spend(5) == 402
        eventually(lambda: len(webhook.taken) == 4)
        gateway.signal(signal.SIGHUP)
        eventually(lambda: events(gateway, "reloaded"))
        assert one.spend(5) == 402
        assert [line["threshold_percent"] for line in webhook.taken] == [50, 80, 95, 100]
        assert [line["threshold_percent"] for line in events(gateway, "budget_threshold")] == [80, 95, 100]
        assert "s3cret-token" not in gateway.log
    webhook.server.shutdown()


def test_a_warning_that_could_not_be_delivered_is_delivered_after_the_next_start(simulator: Simulator, tmp_path: Path) -> None:
    webhook = Webhook()
    webhook.failures = 10**6
    text = config(simulator, {"late": "budget = { usd = 0.1 }"}, hooked(webhook))
    gateway = Gateway(tmp_path, text)
    with running(gateway):
        assert Caller(gateway, "builtin", "late").spend(60) == 200
        eventually(lambda: webhook.tries)
    webhook.failures = 0
    gateway = Gateway(tmp_path, text)
    with running(gateway):
        eventually(lambda: webhook.taken)
        assert [(one["threshold_percent"], one["spent_usd"]) for one in webhook.taken] == [(50, 0.06)]
        delivered(gateway, 1)
    assert not events(gateway, "budget_threshold")
    webhook.server.shutdown()


def test_a_restart_and_a_reload_keep_what_was_spent_and_a_new_budget_knows_what_its_period_has_cost(
    simulator: Simulator, tmp_path: Path
) -> None:
    def reload(budget: str) -> None:
        known = len(events(gateway, "reloaded"))
        gateway.write_config(config(simulator, {"kept": budget}))
        gateway.signal(signal.SIGHUP)
        eventually(lambda: len(events(gateway, "reloaded")) > known)

    gateway = Gateway(tmp_path, config(simulator, {"kept": ""}))
    with running(gateway):
        one = Caller(gateway, "builtin", "kept")
        assert [one.spend(10) for _ in range(3)] == [200] * 3
        assert one.ratio == 0
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(one.ask, chat("house@ttft=6s", "[[tokens=10]]"))  # admitted without a budget, ends under one
            eventually(lambda: simulator.stats()["in_flight"] == 1)
            reload("budget = { usd = 0.1, period = 'month' }")
            assert eventually(lambda: one.ratio) == pytest.approx(0.3)
            slow.result()
        gateway.settle()
        assert one.ratio == pytest.approx(0.4)
        reload("budget = { usd = 0.2, period = 'month' }")
        assert one.ratio == pytest.approx(0.2)
        reload("budget = { usd = 0.4, period = 'week', timezone = 'Pacific/Auckland' }")
        eventually(lambda: one.ratio == pytest.approx(0.1))
        assert one.spend(10) == 200
        reload("budget = { usd = 0.1, period = 'total' }")
        eventually(lambda: one.ratio == pytest.approx(0.5))
        gateway.popen.kill()
        gateway.popen.wait()
    gateway = Gateway(tmp_path, config(simulator, {"kept": "budget = { usd = 0.1, period = 'total' }"}))
    with running(gateway):
        one = Caller(gateway, "builtin", "kept")
        assert eventually(lambda: one.ratio) == pytest.approx(0.5)
        assert (one.spend(51), one.spend(50)) == (402, 200)


def test_the_first_request_after_a_start_finds_the_budget_as_it_was(simulator: Simulator, tmp_path: Path) -> None:
    text = config(simulator, {"first": "budget = { usd = 0.05 }"}, key_lines=", budget = { usd = 0.01, period = 'total' }")
    gateway = Gateway(tmp_path, text)
    with running(gateway):
        assert Caller(gateway, "builtin", "first").spend(10) == 200
    gateway = Gateway(tmp_path, text)
    with running(gateway):
        one = Caller(gateway, "builtin", "first")
        status, _, body = one.ask(chat("house", max_tokens=1))
        assert status == 402
        assert f"the key '{one.name}'" in json.loads(body)["error"]["message"]


def test_a_budget_set_at_run_time_holds_within_a_second_and_knows_what_was_spent(simulator: Simulator, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, config(simulator, {}))

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "appliance", *arguments, "-c", str(gateway.config_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    with running(gateway):
        run("tenant", "create", "late")
        key = run("key", "create", "--tenant", "late", "--id", "k")

        def spend(tokens: int) -> int:
            return call(gateway.url + CHAT, chat("house", f"[[tokens={tokens}]]", max_tokens=tokens), authorization=f"Bearer {key}")[0]

        eventually(lambda: spend(30) == 200)
        run("tenant", "set", "late", "--budget", "0.1/total")
        eventually(lambda: gateway.metric('aigateway_budget_usage_ratio{tenant_id="late"}') == pytest.approx(0.3))
        assert [spend(60), spend(20)] == [200, 402]
        run("tenant", "set", "late", "--budget", "none")
        eventually(lambda: spend(20) == 200)
        run("tenant", "set", "late", "--budget", "0.1/total")
        eventually(lambda: spend(20) == 402)
        assert gateway.metric('aigateway_budget_usage_ratio{tenant_id="late"}') >= 1.1


def test_while_the_store_is_locked_a_budget_lets_pass_if_it_may_and_counts_later(simulator: Simulator, tmp_path: Path) -> None:
    text = config(simulator, {"later": "budget = { usd = 0.1 }"})
    serve = 'on_failure = "serve"'
    gateway = Gateway(tmp_path, text, store=serve)
    with running(gateway):
        assert Caller(gateway, "builtin", "later").spend(10) == 200
    locking = sqlite3.connect(store_of(gateway), isolation_level=None)
    locking.execute("BEGIN EXCLUSIVE")
    gateway = Gateway(tmp_path, text, store=serve)
    with running(gateway):
        one = Caller(gateway, "builtin", "later")
        assert one.spend(80) == 200
        eventually(lambda: events(gateway, "budgets_unknown"), 60)
        begun = time.monotonic()
        assert one.spend(30) == 200
        assert time.monotonic() - begun < 2
        locking.close()
        eventually(lambda: one.ratio == pytest.approx(1.2), 60)
        assert one.spend(1) == 402
        assert len(events(gateway, "budgets_unknown")) == 1
