"""Shadow experiments: the treatment gets a copy of a request, and its caller notices nothing, whatever becomes of it."""

import contextlib
import hashlib
import json
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig import KEY, Gateway, Process, Simulator, call, chat, eventually, running

BRIEF = "[[tokens=2]]"
MOST = 3
OTHER_KEY = "sk-test-of-a-bounded-tenant"
SOON_S = 5.0
"""Ten times what an answer takes here when much else runs; copies that hang do so for longer."""

CONFIG = """
[prices.models.old]
input_usd_per_mtok = 1
output_usd_per_mtok = 1
[prices.models.new]
input_usd_per_mtok = 10
output_usd_per_mtok = 10
[backends.sim]
provider = "custom"
base_url = "{sim}/v1"
breaker = { consecutive_failures = 3 }
max_concurrency = 20
[backends.speaking]
provider = "openai"
base_url = "{sim}/v1"
api_key = "sk-speaking-0123456789"
[[routes]]
name = "chat"
models = ["chat"]
targets = [ { backend = "sim" } ]
retry = { attempts = 1 }
[[routes]]
name = "respond"
models = ["respond"]
targets = [ { backend = "speaking" } ]
[[experiments]]
name = "trial"
route = "chat"
control = { backend = "sim", model = "old" }
treatment = { backend = "sim", model = "new" }
percent = 100
shadow = true
[[experiments]]
name = "stateful"
route = "respond"
control = { backend = "speaking", model = "old" }
treatment = { backend = "speaking", model = "new" }
percent = 100
shadow = true
"""


@pytest.fixture
def place(simulator: Simulator, tmp_path: Path) -> Iterator[Gateway]:
    simulator.reset()
    gateway = Gateway(tmp_path, CONFIG.replace("{sim}", simulator.url), head=f"shadows_max = {MOST}")
    with running(gateway):
        gateway.admin("/admin/config")  # callers are served a moment before copies are
        yield gateway


def copies(gateway: Gateway, experiment: str = "trial") -> dict[str, Any]:
    found = gateway.admin("/admin/experiments")["copies"]
    return next(dict(one) for one in found if one["experiment"] == experiment)


def ask(gateway: Gateway, key: str = KEY, **fields: Any) -> float:
    """A caller's request, and how long it took (s)."""
    begun = time.monotonic()
    body = chat("chat", BRIEF, **fields)
    status, headers, answer = call(gateway.url + "/v1/chat/completions", body, authorization=f"Bearer {key}")
    assert status == 200, answer
    assert (headers["x-experiment"], headers["x-variant"], headers["x-gateway-attempts"]) == ("trial", "control", "1")
    return time.monotonic() - begun


def usage(gateway: Gateway, by: str) -> dict[tuple[str, ...], dict[str, Any]]:
    rows = gateway.admin(f"/admin/usage?by={by}")["rows"]
    return {tuple(row[name] for name in by.split(",")): row for row in rows}


@pytest.mark.parametrize("stream", [False, True])
def test_a_copy_goes_to_the_treatment_and_only_its_cost_and_outcome_stay(place: Gateway, simulator: Simulator, stream: bool) -> None:
    for number in range(4):
        ask(place, stream=stream)
        eventually(lambda: copies(place)["success"] == number + 1)  # noqa: B023
    asked = [one["model"] for one in simulator.stats()["last"]]
    assert (asked.count("old"), asked.count("new")) == (4, 4)
    eventually(lambda: [one["requests"] for one in usage(place, "tenant,key").values()] == [4, 4])
    mine, theirs = usage(place, "tenant,key")["test", "test"], usage(place, "tenant,key")["shadow", "trial"]
    assert (mine["requests"], theirs["requests"]) == (4, 4)
    assert theirs["cost_usd"] == pytest.approx(10 * mine["cost_usd"]) == copies(place)["cost_usd"]
    seen = get_with_key(place, "/v1/usage?by=model")
    assert [(row["model"], row["requests"]) for row in seen["rows"]] == [("old", 4)]
    (trial, _) = place.admin("/admin/experiments")["experiments"]
    assert trial["state"] == "shadow"
    assert {name: one["requests"] for name, one in trial["variants"].items()} == {"control": 4, "treatment": 4}
    assert trial["variants"]["treatment"]["latency_ms"]["count"] == 4
    assert trial["variants"]["treatment"]["ttft_ms"]["count"] == (4 if stream else 0)
    text = place.metrics_text()
    assert 'appliance_experiment_copies_total{experiment="trial",result="success"} 4' in text
    assert 'inference_gateway_experiment_assignments_total{experiment="trial",variant="control"} 4' in text
    assert 'inference_gateway_experiment_assignments_total{experiment="trial",variant="treatment"} 0' in text
    assert 'inference_gateway_requests_total{route="chat",backend="sim",status="200"} 4' in text
    assert 'model="new"' not in "\n".join(line for line in text.splitlines() if line.startswith("gen_ai"))


def get_with_key(gateway: Gateway, path: str, key: str = KEY) -> dict[str, Any]:
    request = urllib.request.Request(gateway.url + path, headers={"authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def test_a_treatment_that_hangs_delays_nobody_and_copies_are_bounded(place: Gateway, simulator: Simulator) -> None:
    simulator.fault("new", "hang")
    assert all(ask(place) < SOON_S for _ in range(MOST + 4))
    assert copies(place)["skipped"] == 4
    eventually(lambda: sum(one["model"] == "new" for one in simulator.stats()["last"]) == MOST)
    eventually(lambda: place.provider("sim")["in_flight"] == 0)  # a copy is in no caller's way


def test_a_treatment_that_fails_harms_neither_callers_nor_the_backend_they_share(place: Gateway, simulator: Simulator) -> None:
    simulator.fault("new", "503")
    for number in range(6):
        ask(place)
        eventually(lambda: sum(copies(place)[name] for name in ("error", "skipped")) == number + 1)  # noqa: B023
    found = copies(place)
    assert (found["error"], found["skipped"]) == (3, 3), "its own breaker has opened"
    assert found["last_error"].startswith("overloaded: status 503"), found
    provider = place.provider("sim")
    assert (provider["healthy"], provider["breaker"], provider["errors"], provider["requests"]) == (True, "closed", 0, 6)
    (trial, _) = eventually(lambda: look_at_errors(place))
    assert trial["variants"]["control"]["errors"] == 0


def test_a_reload_that_leaves_a_treatment_as_it_is_leaves_what_is_known_of_it(place: Gateway, simulator: Simulator) -> None:
    simulator.fault("new", "503")
    config = CONFIG.replace("{sim}", simulator.url)
    for number in range(4):
        ask(place)
        eventually(lambda: sum(copies(place)[name] for name in ("error", "skipped")) == number + 1)  # noqa: B023
    assert (copies(place)["error"], copies(place)["skipped"]) == (3, 1)
    place.write_config('[aliases]\nother = "chat"\n' + config)
    assert call(place.admin_url + "/admin/reload", {})[0] == 200
    ask(place)
    eventually(lambda: (copies(place)["error"], copies(place)["skipped"]) == (3, 2))
    place.write_config(config.replace('model = "new"', 'model = "newer"'))
    assert call(place.admin_url + "/admin/reload", {})[0] == 200
    ask(place)
    eventually(lambda: copies(place)["success"] == 1)


def look_at_errors(gateway: Gateway) -> Any:
    found = gateway.admin("/admin/experiments")["experiments"]
    assert found[0]["variants"]["treatment"]["errors"] == 3
    return found


def test_a_backend_that_an_operator_took_out_gets_no_copies(place: Gateway, simulator: Simulator) -> None:
    config = CONFIG.replace("{sim}", simulator.url).replace('treatment = { backend = "sim"', 'treatment = { backend = "speaking"')
    place.write_config(config)
    assert call(place.admin_url + "/admin/reload", {})[0] == 200
    assert call(place.admin_url + "/admin/backends/speaking/drain", {})[0] == 200
    ask(place)
    assert copies(place)["skipped"] == 1
    assert call(place.admin_url + "/admin/backends/speaking/resume", {})[0] == 200
    ask(place)
    eventually(lambda: copies(place)["success"] == 1)


def test_what_a_copy_uses_counts_against_no_limit_and_no_budget(simulator: Simulator, tmp_path: Path) -> None:
    simulator.reset()
    bounded = f"""
[tenants.bounded]
rpm = 6
budget = {{ usd = 1, period = "total" }}
keys = [ {{ id = "bounded", sha256 = "{hashlib.sha256(OTHER_KEY.encode()).hexdigest()}" }} ]
"""
    gateway = Gateway(tmp_path, bounded + CONFIG.replace("{sim}", simulator.url))
    with running(gateway):
        gateway.admin("/admin/config")
        for _ in range(6):
            ask(gateway, key=OTHER_KEY)
        status, headers, _ = call(gateway.url + "/v1/chat/completions", chat("chat", BRIEF), authorization=f"Bearer {OTHER_KEY}")
        assert (status, headers["x-variant"]) == (429, "control")
        eventually(lambda: copies(gateway)["success"] == 6)
        spent = get_with_key(gateway, "/v1/usage", OTHER_KEY)["spent_usd"]
        assert spent > 0
        eventually(lambda: usage(gateway, "tenant")["shadow",]["cost_usd"] == pytest.approx(10 * spent))
        assert copies(gateway)["success"] == 6, "of what is refused there is no copy"


class Again:
    """The same gateway, started once more on the file that is there."""

    def __init__(self, before: Gateway) -> None:
        self.gateway = before
        Process.__init__(before, ["serve", "-c", str(before.config_path)], before.log_path)
        for port in (before.port, before.admin_port):
            before.wait_port(port)


def test_requests_that_change_what_a_provider_keeps_are_not_copied(place: Gateway, simulator: Simulator) -> None:
    def respond(**fields: Any) -> dict[str, Any]:
        status, _, body = call(place.url + "/v1/responses", {"model": "respond", "input": "hello", **fields})
        found: dict[str, Any] = json.loads(body)
        return found if status == 200 else {"id": ""}

    first = respond()
    eventually(lambda: copies(place, "stateful")["success"] == 1)
    respond(previous_response_id=first["id"])
    respond(conversation="conv_1")
    assert copies(place, "stateful")["unsuitable"] == 2
    assert copies(place, "stateful")["success"] == 1
    assert sum(one["model"] == "new" for one in simulator.stats()["last"]) == 1


@pytest.mark.parametrize("fields", [
    {"mcp_servers": [{"type": "url", "url": "http://127.0.0.1:1", "name": "ledger"}]}, {"container": "container_1"},
    {"tools": [{"type": "mcp", "server_label": "ledger", "server_url": "http://127.0.0.1:1"}]},
])  # fmt: skip
def test_requests_whose_backend_acts_by_itself_are_not_copied(place: Gateway, simulator: Simulator, fields: dict[str, Any]) -> None:
    call(place.url + "/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": "hello"}], **fields})
    assert (copies(place)["unsuitable"], copies(place)["success"]) == (1, 0)
    assert not any(one["model"] == "new" for one in simulator.stats()["last"])


def test_a_count_of_tokens_is_not_copied(place: Gateway, simulator: Simulator) -> None:
    body = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
    assert call(place.url + "/v1/messages/count_tokens", body)[0] == 200
    assert (copies(place)["unsuitable"], copies(place)["success"]) == (1, 0)
    assert not any(one["model"] == "new" for one in simulator.stats()["last"])


def test_a_caller_that_leaves_takes_no_copy_along(place: Gateway, simulator: Simulator) -> None:
    simulator.fault("old", "hang")
    with contextlib.suppress(TimeoutError, OSError):
        request = urllib.request.Request(
            place.url + "/v1/chat/completions", data=b'{"model":"chat","messages":[{"role":"user","content":"[[tokens=2]]"}]}',
            headers={"authorization": f"Bearer {KEY}", "content-type": "application/json"},
        )  # fmt: skip
        urllib.request.urlopen(request, timeout=0.5)
    eventually(lambda: copies(place)["success"] == 1)


def test_copies_end_with_the_drain_and_say_nothing_of_the_treatment(place: Gateway, simulator: Simulator) -> None:
    simulator.fault("new", "hang")
    ask(place)
    eventually(lambda: sum(one["model"] == "new" for one in simulator.stats()["last"]) == 1)
    begun = time.monotonic()
    place.signal(signal.SIGTERM)
    place.popen.wait(20)
    assert place.popen.returncode == 0
    assert time.monotonic() - begun < 10, "it does not wait for what nobody waits for"
    assert "Traceback" not in place.log
    with running(Again(place).gateway):
        rows = usage(place, "tenant")
        assert rows["shadow",]["requests"] == 1, "it may have been billed"
        (trial, _) = place.admin("/admin/experiments")["experiments"]
        assert {name: one["requests"] for name, one in trial["variants"].items()} == {"control": 1, "treatment": 0}
    eventually(lambda: simulator.connections() == 0)
