"""Several keys of one backend: taken in turn, resting singly when they are refused, and never shown."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from keyed_upstream import KeyedUpstream, refusal
from rig import Gateway, Process, call, chat, eventually, running

A, B, C = "sk-first-0123456789abcdef", "sk-second-0123456789abcdef", "sk-third-0123456789abcdef"
REST_S = 5.0
CONFIG = f"""
[backends.many]
provider = "custom"
base_url = "URL/v1"
api_key = "{A}"
api_keys = [ {{ env = "SECOND_KEY" }}, {{ file = "third.key" }} ]
limits = {{ key_rest_max_s = {REST_S}, key_refused_s = 600 }}
[backends.spare]
provider = "custom"
base_url = "URL/v1"
api_key = "sk-spare-0123456789abcdef"
[[routes]]
name = "alone"
models = ["alone"]
targets = [ {{ backend = "many" }} ]
[[routes]]
name = "once"
models = ["once"]
targets = [ {{ backend = "many" }} ]
retry = {{ attempts = 1 }}
[[routes]]
name = "spared"
models = ["spared"]
targets = [ {{ backend = "many" }} ]
fallback = [ {{ backend = "spare" }} ]
retry = {{ attempts = 4 }}
"""


@pytest.fixture
def upstream() -> Iterator[KeyedUpstream]:
    with KeyedUpstream() as one:
        yield one


@pytest.fixture
def gateway(upstream: KeyedUpstream, tmp_path: Path) -> Iterator[Gateway]:
    (tmp_path / "third.key").write_text(C + "\n")
    one = Gateway(tmp_path, CONFIG.replace("URL", upstream.url), env={"SECOND_KEY": B})
    with running(one):
        yield one


def ask(gateway: Gateway, model: str = "alone", **fields: Any) -> tuple[int, dict[str, str], bytes]:
    return call(gateway.url + "/v1/chat/completions", chat(model, **fields))


def keys(gateway: Gateway) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.provider("many")["keys"]
    return found


def test_keys_are_taken_in_turn(gateway: Gateway, upstream: KeyedUpstream) -> None:
    assert [ask(gateway)[0] for _ in range(7)] == [200] * 7
    assert upstream.asked == [A, B, C, A, B, C, A]
    assert [one["requests"] for one in keys(gateway)] == [3, 2, 2]
    assert gateway.provider("spare")["keys"] == []


@pytest.mark.parametrize(
    "said", [refusal(401), refusal(429, "insufficient_quota"), refusal(402), refusal(400, "invalid_api_key")], ids=lambda said: str(said[0])
)
def test_a_key_that_is_refused_rests_and_callers_do_not_notice(gateway: Gateway, upstream: KeyedUpstream, said: Any) -> None:
    upstream.says[B] = said
    answers = [ask(gateway) for _ in range(12)]
    assert [status for status, _, _ in answers] == [200] * 12
    assert Counter(upstream.asked)[B] == 1
    assert Counter(headers["x-gateway-attempts"] for _, headers, _ in answers) == {"1": 11, "2": 1}
    shown = gateway.provider("many")
    assert (shown["breaker"], shown["healthy"]) == ("closed", True)
    assert [one["rests_s"] > 500 for one in shown["keys"]] == [False, True, False]
    assert sum(shown["keys"][1]["refusals"].values()) == 1
    assert gateway.metric('appliance_upstream_key_resting{backend="many",key="2"}') == 1
    assert gateway.metric('appliance_upstream_key_resting{backend="many",key="1"}') == 0
    assert gateway.metric('appliance_upstream_key_requests_total{backend="many",key="2"}') == 1


def test_a_key_at_its_limit_rests_as_long_as_it_is_told_within_the_bound_and_comes_back(gateway: Gateway, upstream: KeyedUpstream) -> None:
    upstream.says[A] = refusal(429, retry_after="3600")
    assert [ask(gateway)[0] for _ in range(6)] == [200] * 6
    assert Counter(upstream.asked)[A] == 1
    assert 0 < keys(gateway)[0]["rests_s"] <= REST_S
    assert gateway.metric('appliance_upstream_key_refusals_total{backend="many",key="1",error_type="rate_limited"}') == 1
    assert gateway.metric('appliance_upstream_key_refusals_total{backend="many",key="1",error_type="quota"}') == 0
    del upstream.says[A]
    eventually(lambda: ask(gateway)[0] == 200 and Counter(upstream.asked)[A] == 2)
    assert keys(gateway)[0]["rests_s"] == 0


def test_the_record_tells_which_key_it_was_by_its_number(gateway: Gateway, upstream: KeyedUpstream) -> None:
    upstream.says[A] = refusal(401)
    _, headers, _ = ask(gateway)
    record = gateway.record(headers["x-request-id"])
    assert [(one["backend"], one["key"], one["outcome"]) for one in record["attempts"]] == [("many", 1, "error"), ("many", 2, "success")]
    assert record["fallbacks"] == []


def test_when_all_are_refused_the_fallback_is_next_and_else_the_last_fault_is_told(gateway: Gateway, upstream: KeyedUpstream) -> None:
    upstream.says |= {A: refusal(401), B: refusal(401), C: refusal(401)}
    status, headers, _ = ask(gateway, "spared")
    assert (status, headers["x-served-by"], headers["x-gateway-attempts"]) == (200, "spare", "4")
    status, _, body = ask(gateway)
    assert status == 502
    assert json.loads(body)["error"]["code"] == "upstream_authentication"
    asked = len(upstream.asked)
    upstream.says.clear()  # the operator has mended the account: nobody waits for the end of a rest
    assert [ask(gateway)[0] for _ in range(3)] == [200] * 3
    assert asked == 5


def test_every_try_counts_as_an_attempt(gateway: Gateway, upstream: KeyedUpstream) -> None:
    upstream.says[A] = refusal(429, retry_after="2")
    status, headers, _ = ask(gateway, "once")
    assert (status, headers["retry-after"], upstream.asked) == (429, "2", [A])


def test_what_one_account_does_not_have_another_may(gateway: Gateway, upstream: KeyedUpstream) -> None:
    upstream.says[A] = refusal(400, "previous_response_not_found")
    assert ask(gateway)[0] == 200
    assert upstream.asked == [A, B]
    assert [one["rests_s"] for one in keys(gateway)] == [0, 0, 0]


def test_a_fault_of_the_request_or_of_the_server_lets_no_key_rest(gateway: Gateway, upstream: KeyedUpstream) -> None:
    upstream.says |= {A: refusal(400, "bad"), B: refusal(500)}
    assert ask(gateway)[0] == 400
    assert ask(gateway)[0] == 200
    assert [one["rests_s"] for one in keys(gateway)] == [0, 0, 0]


def test_no_key_is_shown_anywhere(gateway: Gateway, upstream: KeyedUpstream) -> None:
    upstream.says[B] = (401, {}, {"error": {"message": f"Incorrect API key provided: {B}", "type": "x", "code": "invalid_api_key"}})
    upstream.says[C] = (400, {}, {"error": {"message": f"you sent {C}", "type": "x", "code": "odd"}})
    bodies = [ask(gateway)[2].decode() for _ in range(4)]
    eventually(lambda: len(gateway.requests()) == 4)
    shown = [gateway.admin(path) for path in ("/admin/providers", "/admin/config", "/admin/requests")]
    text = json.dumps([*bodies, *shown]) + gateway.metrics_text() + gateway.log
    assert "many" in text
    for key in (A, B, C):
        assert key not in text
    assert {one["value"] for one in keys(gateway)} == {"********"}


def test_a_reload_that_leaves_the_keys_alone_leaves_their_rest_alone(gateway: Gateway, upstream: KeyedUpstream) -> None:
    upstream.says[A] = refusal(401)
    ask(gateway)
    gateway.write_config(CONFIG.replace("URL", upstream.url) + "[aliases]\nfast = \"alone\"\n")
    call(gateway.admin_url + "/admin/reload", {})
    eventually(lambda: ask(gateway, "fast")[0] == 200)
    assert keys(gateway)[0]["rests_s"] > 500


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (f'api_key = "{A}"\napi_keys = ["{A}"]', "the same as one before it"),
        ('api_keys = ["a", ""]', "is empty"),
        ('api_keys = ["a b"]', "white space"),
        (f'api_keys = ["a", "b"]\nheaders = {{ authorization = "Bearer {A}" }}', "would not be sent"),
        (f"api_keys = {json.dumps([f'k{place}' for place in range(65)])}", "at most 64"),
    ],
)
def test_keys_that_cannot_work_are_refused_without_being_shown(tmp_path: Path, lines: str, words: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(f'[store]\npath = "s.db"\n[backends.many]\nprovider = "custom"\nbase_url = "http://127.0.0.1:9/v1"\n{lines}\n')
    process = Process(["check", "-c", str(path)], tmp_path / "check.log")
    assert process.popen.wait(20) == 78, process.log
    assert words in process.log
    assert A not in process.log
