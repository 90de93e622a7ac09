"""Retry, fallback, breaker, bounds and shares, seen from both ends: what the caller gets and what the providers were asked."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from doors import Door, Site, site
from rig import KEY, Process, call, chat, eventually, free_port, get_json, running

QUICK = "ttft=0,tps=0"
NO_BREAKER = "breaker = { consecutive_failures = 0, failure_ratio = 0 }"
CONFIG = f"""
[backends.a]
provider = "custom"
base_url = "{{sim}}"
{NO_BREAKER}
[backends.b]
provider = "custom"
base_url = "{{sim}}"
{NO_BREAKER}
[backends.c]
provider = "custom"
base_url = "{{sim}}"
{NO_BREAKER}
[backends.dead]
provider = "custom"
base_url = "http://127.0.0.1:{{dead}}/v1"
{NO_BREAKER}
[backends.single]
provider = "custom"
base_url = "{{sim}}"
max_concurrency = 1
limits = {{ queue_max = 1, queue_s = 5 }}
{NO_BREAKER}
[backends.impatient]
provider = "custom"
base_url = "{{sim}}"
max_concurrency = 1
limits = {{ queue_max = 4, queue_s = 0.2 }}
{NO_BREAKER}
[backends.fragile]
provider = "custom"
base_url = "{{sim}}"
breaker = {{ consecutive_failures = 3, failure_ratio = 0, open_s = 0.4, half_open_max = 1, successes_to_close = 2 }}
[backends.unprobed]
provider = "custom"
base_url = "{{sim}}"
breaker = {{ consecutive_failures = 3, failure_ratio = 0, open_s = 2, half_open_max = 1, successes_to_close = 2 }}
health = {{ mode = "off" }}
[backends.patchy]
provider = "custom"
base_url = "{{sim}}"
breaker = {{ consecutive_failures = 0, failure_ratio = 0.5, min_requests = 6, window_s = 60, open_s = 30 }}

[[routes]]
name = "one"
models = ["one*"]
targets = [ {{ backend = "a" }} ]
retry = {{ attempts = 3, backoff_s = 0.05, backoff_max_s = 0.2, budget_s = 4 }}
[[routes]]
name = "four"
models = ["four*"]
strategy = "priority"
targets = [ {{ backend = "a" }}, {{ backend = "b" }}, {{ backend = "c" }} ]
fallback = [ {{ backend = "dead" }}, {{ backend = "a", model = "saviour@{QUICK}" }} ]
retry = {{ attempts = 3, backoff_s = 0.01 }}
[[routes]]
name = "brief"
models = ["brief*"]
targets = [ {{ backend = "a" }} ]
retry = {{ attempts = 20, backoff_s = 0.3, backoff_max_s = 0.3, budget_s = 1 }}
[[routes]]
name = "dead"
models = ["dead*"]
targets = [ {{ backend = "dead" }} ]
fallback = [ {{ backend = "b" }} ]
retry = {{ attempts = 2 }}
[[routes]]
name = "weighted"
models = ["weighted"]
strategy = "weighted"
targets = [
  {{ backend = "a", model = "three@{QUICK}", weight = 3 }}, {{ backend = "b", model = "one@{QUICK}", weight = 1 }},
  {{ backend = "c", model = "none@{QUICK}", weight = 0 }},
]
[[routes]]
name = "turns"
models = ["turns"]
strategy = "round_robin"
targets = [ {{ backend = "a", model = "x@{QUICK}" }}, {{ backend = "b", model = "y@{QUICK}" }}, {{ backend = "c", model = "z@{QUICK}" }} ]
[[routes]]
name = "priority"
models = ["priority"]
strategy = "priority"
targets = [ {{ backend = "b", model = "best@{QUICK}" }}, {{ backend = "a", model = "spare@{QUICK}" }} ]
[[routes]]
name = "single"
models = ["single*"]
targets = [ {{ backend = "single" }} ]
retry = {{ attempts = 1 }}
[[routes]]
name = "impatient"
models = ["impatient*"]
targets = [ {{ backend = "impatient" }} ]
retry = {{ attempts = 1 }}
[[routes]]
name = "spill"
models = ["spill*"]
targets = [ {{ backend = "impatient" }} ]
fallback = [ {{ backend = "b", model = "spilled@{QUICK}" }} ]
retry = {{ attempts = 2 }}
[[routes]]
name = "fragile"
models = ["fragile*"]
targets = [ {{ backend = "fragile" }} ]
retry = {{ attempts = 1 }}
[[routes]]
name = "unprobed"
models = ["unprobed*"]
targets = [ {{ backend = "unprobed" }} ]
retry = {{ attempts = 1 }}
[[routes]]
name = "patchy"
models = ["patchy*"]
targets = [ {{ backend = "patchy" }} ]
fallback = [ {{ backend = "b", model = "patched@{QUICK}" }} ]
retry = {{ attempts = 2 }}
"""


@pytest.fixture(scope="module")
def dead_port() -> int:
    """Of a backend that is there only while a test starts it."""
    return free_port()


@pytest.fixture(scope="module")
def place(dead_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("place"), CONFIG.replace("{dead}", str(dead_port))) as both:
        yield both


@pytest.fixture(autouse=True)
def clean(place: Site) -> None:
    place.sim.reset()


def seen(place: Site) -> list[dict[str, Any]]:
    """The calls that came. A probe of a backend whose breaker an earlier test has opened may come at any time."""
    return [one for one in place.sim.stats(1000)["last"] if one["method"] == "POST"]


def asked(place: Site) -> list[str]:
    return [one["model"] for one in seen(place)]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_passing_fault_is_retried_until_it_passes(place: Site, door: Door, stream: bool) -> None:
    answer = door.chat(chat(f"one-{door.name}-{stream}@{QUICK}+503;first=2", stream=stream))
    assert answer.status_code == 200
    assert answer.headers["x-gateway-attempts"] == "3"
    assert len(asked(place)) == 3
    record = door.record(answer)
    assert [one["status"] for one in record["attempts"]] == [503, 503, 200]
    assert record["fallbacks"] == []
    bodies = {one["body_sha256"] for one in seen(place)}
    assert len(bodies) == 1, "every attempt sends the same bytes"


def test_the_budget_of_attempts_holds_over_retries_and_fallbacks(place: Site, door: Door) -> None:
    assert door.chat(chat("one+500")).status_code == 502
    assert len(asked(place)) == 3
    place.sim.reset()
    answer = door.chat(chat("four+500"))
    assert answer.status_code == 502
    assert asked(place) == ["four"] * 3
    assert [one["backend"] for one in door.record(answer)["attempts"]] == ["a", "b", "c"]


def test_the_budget_of_time_ends_the_retries(place: Site, door: Door) -> None:
    begun = time.monotonic()
    answer = door.chat(chat("brief+500"))
    took = time.monotonic() - begun
    assert answer.status_code == 502
    assert 2 <= len(asked(place)) <= 8
    assert took < 5


@pytest.mark.parametrize(
    ("form", "least_s"),
    # A date has whole seconds: it may be up to a second nearer than what it stands for.
    [("429=1s", 1.0), ("503=400ms", 0.4), ("429=400ms;retry_as=ms", 0.4), ("429=2s;retry_as=date", 1.0)],
)
def test_the_wait_that_a_provider_asks_for_is_kept(place: Site, door: Door, form: str, least_s: float) -> None:
    answer = door.chat(chat(f"one-{door.name}@{QUICK}+{form};first=1"))
    assert answer.status_code == 200
    first, second = seen(place)
    waited = second["started_monotonic_s"] - first["started_monotonic_s"]
    assert least_s <= waited < 10


def test_a_wait_beyond_the_budget_is_the_callers_to_keep(place: Site, door: Door) -> None:
    begun = time.monotonic()
    answer = door.chat(chat("one+429=60s"))
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "60"
    assert time.monotonic() - begun < 4
    assert len(asked(place)) == 1


def test_another_backend_is_asked_without_waiting(place: Site, door: Door) -> None:
    answer = door.chat(chat(f"four-{door.name}@{QUICK}+429=60s;first=1"))
    assert answer.status_code == 200
    first, second = seen(place)
    assert second["started_monotonic_s"] - first["started_monotonic_s"] < 5
    assert answer.headers["x-served-by"] == "b"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_backend_that_is_not_there_costs_one_attempt(place: Site, door: Door, stream: bool) -> None:
    answer = door.chat(chat(f"dead@{QUICK}", stream=stream))
    assert answer.status_code == 200
    assert answer.headers["x-served-by"] == "b"
    record = door.record(answer)
    assert [one["error_type"] for one in record["attempts"]] == ["connection", ""]
    assert record["fallbacks"] == [["dead", "b"]]
    assert place.gateway.metric('inference_gateway_fallbacks_total{route="dead",from_backend="dead",to_backend="b"}') >= 1
    alone = door.chat(chat("dead/x"))
    assert alone.status_code == 200  # the route takes every name that begins with "dead"


def test_nobody_left_to_ask_is_a_502_with_the_last_fault(place: Site, door: Door) -> None:
    answer = door.chat(chat("one"), headers={"x-provider": "dead"})
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "connect"
    assert "127.0.0.1" not in answer.text


def test_weights_are_shares(place: Site, door: Door) -> None:
    with door.http(headers={"authorization": f"Bearer {KEY}"}) as client:
        for _ in range(200):
            assert client.post("/v1/chat/completions", json=chat("weighted")).status_code == 200
    counts = Counter(asked(place))
    # 200 draws at 3 to 1: mean 150, standard deviation 6.1; six of them either way happen once in a thousand million runs.
    assert 113 <= counts["three"] <= 187
    assert counts["three"] + counts["one"] == 200


def test_round_robin_takes_turns(place: Site, door: Door) -> None:
    for _ in range(9):
        assert door.chat(chat("turns")).status_code == 200
    models = asked(place)
    assert sorted(models[:3]) == ["x", "y", "z"]
    assert models == models[:3] * 3


def test_priority_takes_the_first_that_works(place: Site, door: Door) -> None:
    for _ in range(3):
        door.chat(chat("priority"))
    assert asked(place) == ["best"] * 3
    place.sim.fault("best*", "503")
    answer = door.chat(chat("priority"))
    assert answer.status_code == 200
    assert answer.headers["x-served-by"] == "a"


def killed_while(folder: Path, port: int, door: Door, model: str, when: int) -> tuple[httpx.Response, bytes]:
    """An answer of backend `dead`, whose real process is killed after `when` bytes of it have come; of none, once it has been asked."""
    doomed, url = Process(["simulate", "--listen", f"127.0.0.1:{port}"], folder / "doomed.log"), f"http://127.0.0.1:{port}"

    def kill_once_asked() -> None:
        eventually(lambda: get_json(f"{url}/sim/stats")["in_flight"] == 1)
        doomed.popen.kill()

    with running(doomed), ThreadPoolExecutor(1) as beside:
        doomed.wait_port(port)
        body, got = chat(model, stream=True), b""
        if not when:
            call(f"{url}/sim/faults", {"model": "*", "fault": "stall=0;for=60s"})
            beside.submit(kill_once_asked)
        key = {"authorization": f"Bearer {KEY}"}
        with door.http() as client, client.stream("POST", "/v1/chat/completions", json=body, headers=key) as answer:
            for piece in answer.iter_raw():
                got += piece
                if when and len(got) >= when and doomed.popen.poll() is None:
                    doomed.popen.kill()
                    doomed.popen.wait()
    return answer, got


def test_a_provider_killed_before_its_first_word_is_replaced(tmp_path: Path, dead_port: int, place: Site, door: Door) -> None:
    answer, got = killed_while(tmp_path, dead_port, door, f"dead@{QUICK}", 0)
    assert answer.status_code == 200
    assert answer.headers["x-served-by"] == "b"
    assert got.endswith(b"data: [DONE]\n\n")
    record = place.gateway.record(answer.headers["x-request-id"])
    assert record["attempts"][0]["backend"] == "dead"
    assert record["attempts"][0]["status"] in (0, 200)


def test_a_provider_killed_in_the_middle_is_told_in_band(tmp_path: Path, dead_port: int, place: Site, door: Door) -> None:
    answer, got = killed_while(tmp_path, dead_port, door, "dead@tps=10+endless", 1000)
    assert answer.status_code == 200
    assert answer.headers["x-served-by"] == "dead"
    *passed, last = [event for event in got.split(b"\n\n") if event]
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "stream_cut"
    assert passed
    assert b"[DONE]" not in got
    assert asked(place) == []


def together(place: Site, door: Door, backend: str, *models: str) -> list[httpx.Response]:
    """Requests at the same time, in this order: each begins once those before it have a slot at `backend`, wait for one, or are over."""
    with ThreadPoolExecutor(len(models)) as pool:
        waiting = [pool.submit(door.chat, chat(models[0]))]
        for number, model in enumerate(models[1:], 1):
            eventually(lambda number=number: waiting[-1].done() or place.gateway.provider(backend)["in_flight"] == number)
            waiting.append(pool.submit(door.chat, chat(model)))
        return [one.result() for one in waiting]


def test_a_full_backend_makes_the_next_request_wait_its_turn(place: Site, door: Door) -> None:
    first, second = together(place, door, "single", "single@ttft=1500ms,tps=0", f"single@{QUICK}")
    assert (first.status_code, second.status_code) == (200, 200)
    one, other = seen(place)
    assert other["started_monotonic_s"] >= one["ended_monotonic_s"]
    assert door.record(second)["attempts"][0]["waited_ms"] > 100


def test_a_full_queue_refuses_at_once(place: Site, door: Door) -> None:
    answers = together(place, door, "single", "single@ttft=2s,tps=0", f"single@{QUICK}", f"single@{QUICK}")
    assert [answer.status_code for answer in answers] == [200, 200, 503]
    refused = answers[2]
    assert refused.json()["error"]["code"] == "backend_busy"
    assert int(refused.headers["retry-after"]) >= 1
    assert door.record(refused)["duration_ms"] < 500
    assert len(asked(place)) == 2


def test_the_wait_for_a_full_backend_is_bounded_and_may_end_elsewhere(place: Site, door: Door) -> None:
    slow, refused, spilled = together(place, door, "impatient", "impatient@ttft=3s,tps=0", f"impatient@{QUICK}", f"spill@{QUICK}")
    assert (slow.status_code, refused.status_code, spilled.status_code) == (200, 503, 200)
    assert spilled.headers["x-served-by"] == "b"
    assert 150 < door.record(refused)["attempts"][0]["waited_ms"] < 2000
    assert place.gateway.provider("impatient")["healthy"], "our own bound is no fault of the backend's"


def breaker(place: Site, name: str) -> str:
    """As the requests that were answered have left it."""
    place.gateway.settle()
    return str(place.gateway.provider(name)["breaker"])


def fail_probes(place: Site) -> None:
    call(f"{place.sim.url}/sim/faults", {"path": "/v1/models*", "fault": "500"})


def reset_breaker(place: Site, name: str) -> None:
    call(f"{place.gateway.admin_url}/admin/backends/{name}/reset-breaker", {})


def gauges(place: Site, name: str) -> tuple[float, float, float]:
    gateway = place.gateway
    return (
        gateway.metric(f'llm_gateway_llm_gateway_circuit_breaker_state{{provider="{name}"}}'),
        gateway.metric(f'aigateway_circuit_breaker_state{{provider="{name}"}}'),
        gateway.metric(f'inference_gateway_backend_health{{backend="{name}",namespace="default"}}'),
    )


def test_a_breaker_opens_probes_for_free_half_opens_and_closes(place: Site, door: Door) -> None:
    reset_breaker(place, "fragile")
    assert gauges(place, "fragile") == (0, 0, 1)
    fail_probes(place)
    for _ in range(3):
        assert door.chat(chat("fragile+500")).status_code == 502
    assert breaker(place, "fragile") == "open"
    assert gauges(place, "fragile") == (1, 2, 0)
    refused = door.chat(chat(f"fragile@{QUICK}"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_backend")
    assert door.record(refused)["attempts"] == []
    # A failing probe keeps it open, and only probes reach the provider.
    eventually(lambda: place.gateway.provider("fragile")["last_probe"] == "answered 500")
    assert breaker(place, "fragile") == "open"
    assert asked(place) == ["fragile"] * 3
    place.sim.reset()
    eventually(lambda: breaker(place, "fragile") == "half_open")
    assert gauges(place, "fragile") == (2, 1, 1)
    assert asked(place) == [], "recovery was found out without a completion"
    assert door.chat(chat(f"fragile@{QUICK}")).status_code == 200
    assert breaker(place, "fragile") == "half_open"
    assert door.chat(chat(f"fragile@{QUICK}")).status_code == 200
    assert breaker(place, "fragile") == "closed"
    assert gauges(place, "fragile") == (0, 0, 1)


def test_a_half_open_breaker_opens_again_at_the_first_failure(place: Site, door: Door) -> None:
    reset_breaker(place, "fragile")
    opened = place.gateway.provider("fragile")["breaker_opened_total"]
    for _ in range(3):
        door.chat(chat("fragile+500"))
    eventually(lambda: breaker(place, "fragile") == "half_open")
    assert door.chat(chat("fragile+500")).status_code == 502
    place.gateway.settle()
    assert place.gateway.provider("fragile")["breaker_opened_total"] == opened + 2


def test_a_half_open_breaker_lets_only_as_many_through_as_configured(place: Site, door: Door) -> None:
    reset_breaker(place, "fragile")
    for _ in range(3):
        door.chat(chat("fragile+500"))
    eventually(lambda: breaker(place, "fragile") == "half_open")
    first, second = together(place, door, "fragile", "fragile@ttft=1500ms,tps=0", f"fragile@{QUICK}")
    assert (first.status_code, second.status_code) == (200, 503)


def test_without_probes_a_callers_request_finds_out(place: Site, door: Door) -> None:
    reset_breaker(place, "unprobed")
    for _ in range(3):
        door.chat(chat("unprobed+500"))
    assert door.chat(chat(f"unprobed@{QUICK}")).status_code == 503
    eventually(lambda: door.chat(chat(f"unprobed@{QUICK}")).status_code == 200)
    assert place.gateway.provider("unprobed")["last_probe"] == ""


def test_a_breaker_opens_by_ratio_and_traffic_goes_elsewhere(place: Site, door: Door) -> None:
    reset_breaker(place, "patchy")
    for _ in range(3):
        assert door.chat(chat(f"patchy@{QUICK}")).headers["x-served-by"] == "patchy"
        assert door.chat(chat(f"patchy@{QUICK}+500")).headers["x-served-by"] == "b"
    assert breaker(place, "patchy") == "open"
    place.sim.reset()
    answer = door.chat(chat(f"patchy@{QUICK}"))
    assert answer.headers["x-gateway-attempts"] == "1"
    assert asked(place) == ["patched"]


def test_the_callers_mistakes_never_open_a_breaker(place: Site, door: Door) -> None:
    reset_breaker(place, "fragile")
    for fault in ("400", "422", "context_length", "404", "401", "429", "400", "413"):
        door.chat(chat(f"fragile+{fault}"))
    assert breaker(place, "fragile") == "closed"
    assert place.gateway.provider("fragile")["healthy"]
