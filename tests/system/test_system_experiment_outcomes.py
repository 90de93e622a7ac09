"""What became of experiments, as an operator asks for it: over the admin listener and the command line, after a restart too."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rig import Gateway, Simulator, call, chat, eventually, running

REQUESTS = 40
CONFIG = """
[prices.models.old]
input_usd_per_mtok = 10
output_usd_per_mtok = 10
[prices.models.new]
input_usd_per_mtok = 1
output_usd_per_mtok = 1
[backends.sim]
provider = "custom"
base_url = "{sim}/v1"
breaker = { consecutive_failures = 1000, failure_ratio = 1.0, min_requests = 1000 }
[[routes]]
name = "chat"
models = ["chat"]
targets = [ { backend = "sim" } ]
retry = { attempts = 1 }
[[routes]]
name = "other"
models = ["other"]
targets = [ { backend = "sim" } ]
[[experiments]]
name = "trial"
route = "chat"
control = { backend = "sim", model = "old" }
treatment = { backend = "sim", model = "new" }
percent = 50
[[experiments]]
name = "idle"
route = "other"
control = { backend = "sim", model = "old" }
treatment = { backend = "sim", model = "new" }
"""


class Traffic:
    """A gateway, and requests of many users to its experiment until both variants have enough of them."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.count = {"control": 0, "treatment": 0}
        self.failed = {"control": 0, "treatment": 0}
        number = 0
        while min(self.count.values()) < REQUESTS:
            number += 1
            stream = number % 2 == 0
            body = chat("chat", "[[tokens=3]]", stream=stream)
            status, headers, _ = call(gateway.url + "/v1/chat/completions", body, X_User_Id=f"u{number}")
            variant = headers["x-variant"]
            self.count[variant] += 1
            self.failed[variant] += status != 200

    def view(self) -> dict[str, Any]:
        """What the admin listener says, once the ledger has everything."""

        def look() -> dict[str, Any]:
            found: dict[str, Any] = self.gateway.admin("/admin/experiments")
            (trial, _) = found["experiments"]
            assert {name: one["requests"] for name, one in trial["variants"].items()} == self.count
            return found

        view: dict[str, Any] = eventually(look)
        return view


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outcomes")


@pytest.fixture(scope="module")
def traffic(folder: Path, simulator: Simulator) -> Iterator[Traffic]:
    simulator.reset()
    simulator.fault("new", "latency=150ms")
    gateway = Gateway(folder, CONFIG.replace("{sim}", simulator.url))
    with running(gateway):
        yield Traffic(gateway)


def appliance(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "appliance", *arguments], capture_output=True, text=True, timeout=60, env=environment, check=False
    )  # fmt: skip


def test_the_admin_listener_tells_them_apart(traffic: Traffic) -> None:
    trial, idle = traffic.view()["experiments"]
    assert (trial["name"], trial["state"], trial["route"], trial["percent"]) == ("trial", "running", "chat", 50)
    for variant in ("control", "treatment"):
        figures = trial["variants"][variant]
        assert figures["errors"] == traffic.failed[variant] == 0
        assert figures["latency_ms"]["count"] == traffic.count[variant]
        assert 0 < figures["ttft_ms"]["count"] < traffic.count[variant]
        assert figures["latency_ms"]["low"] < figures["latency_ms"]["mean"] < figures["latency_ms"]["high"]
        assert figures["latency_ms"]["p50"] <= figures["latency_ms"]["p95"]
        assert figures["output_tokens"]["total"] == 3 * traffic.count[variant]
    assert trial["variants"]["treatment"]["latency_ms"]["mean"] > trial["variants"]["control"]["latency_ms"]["mean"] + 50
    assert trial["differences"]["latency_ms"]["verdict"] == "treatment is slower"
    assert trial["differences"]["cost_usd"]["verdict"] == "treatment costs less"
    assert trial["differences"]["cost_usd"]["percent"] == pytest.approx(-90, abs=0.1)
    assert "treatment is slower; " in trial["verdict"]
    assert idle["verdict"] == "not enough data"


def compare(schema: dict[str, Any], value: Any, at: str) -> None:
    """Every member is described, every required one is there, and everything is of its type."""
    for one in schema.get("anyOf", ()):
        if one != {"type": "null"} and value is not None:
            compare(one, value, at)
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}
    if "type" in schema:
        assert isinstance(value, kinds[schema["type"]]), at
    assert value in schema.get("enum", [value]), at
    if isinstance(value, dict) and "properties" in schema:
        assert set(schema.get("required", ())) <= set(value) <= set(schema["properties"]), at
        for name, inner in value.items():
            compare(schema["properties"][name], inner, f"{at}.{name}")
    for place, inner in enumerate(value if isinstance(value, list) else ()):
        compare(schema["items"], inner, f"{at}[{place}]")


def test_the_answer_is_what_its_description_says(traffic: Traffic) -> None:
    document = traffic.gateway.admin("/admin/openapi.json")
    schema = document["paths"]["/admin/experiments"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    compare(schema, traffic.view(), "")


def test_one_can_be_asked_for_and_what_is_wrong_with_a_question_is_said(traffic: Traffic) -> None:
    url = traffic.gateway.admin_url
    assert [one["name"] for one in traffic.gateway.admin("/admin/experiments?name=idle&since=1d")["experiments"]] == ["idle"]
    for query, words in (("name=trail", "did you mean"), ("since=soon", "since"), ("colour=red", "colour")):
        done = subprocess.run(["curl", "-s", f"{url}/admin/experiments?{query}"], capture_output=True, check=True, timeout=20)
        assert words.partition(" ")[0] in json.loads(done.stdout)["error"] or words in str(json.loads(done.stdout)), done.stdout


def test_the_command_says_the_same_with_the_gateway_up_and_down(traffic: Traffic, folder: Path) -> None:
    view, config = traffic.view(), str(traffic.gateway.config_path)
    told = appliance("experiments", "--json", "-c", config)
    assert (told.returncode, told.stderr) == (0, "")
    assert json.loads(told.stdout)["experiments"] == view["experiments"]
    shown = appliance("experiments", "trial", "-c", config)
    assert shown.returncode == 0
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("trial: route chat, 50 % get the treatment, ")
    assert lines[1] == "control sim old; treatment sim new"
    assert lines[-1] == f"verdict: {view['experiments'][0]['verdict']}"
    requests = next(line for line in lines if line.startswith("requests"))
    assert requests.split()[1:] == [str(traffic.count["control"]), str(traffic.count["treatment"])]
    unknown = appliance("experiments", "trail", "-c", config)
    assert (unknown.returncode, unknown.stdout) == (64, "")
    assert 'did you mean "trial"?' in unknown.stderr
    assert "Traceback" not in unknown.stderr


def all_written(gateway: Gateway) -> bool:
    return len(gateway.admin("/admin/requests")["requests"]) == 5


def test_they_survive_a_restart(simulator: Simulator, tmp_path: Path) -> None:
    config = CONFIG.replace("{sim}", simulator.url)
    before: dict[str, Any] = {}
    for turn in range(2):
        gateway = Gateway(tmp_path, config)
        with running(gateway):
            if not turn:
                for number in range(5):
                    call(gateway.url + "/v1/chat/completions", chat("chat", "[[tokens=3]]"), X_User_Id=f"u{number}")
                # An answer is with its caller a moment before its end is written down; killed between, it would be recovered as nobody's.
                eventually(partial(all_written, gateway))
                gateway.popen.kill()
                gateway.popen.wait()
                continue
            trial = gateway.admin("/admin/experiments")["experiments"][0]
            before = {name: one["requests"] for name, one in trial["variants"].items()}
    assert sum(before.values()) == 5
