"""The stack's own configurations in real programs: a Prometheus that reads a gateway with a token from a file, and an alert on its way from
the gateway's counters to whoever carries the pager.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
from alert_rules import rules, tool
from rig import Gateway, Process, Simulator, call, chat, eventually, free_port, one_backend, running
from stack_files import command, lay_out
from tool_process import Running, started

TOKEN = "metrics-token-0123456789"
PAGER_TOKEN = "pager-token-0123456789"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SCRAPED_S = 60.0  # a scrape a second; a busy machine may take many times as long


Heard = list[tuple[str, dict[str, str], Any]]
"""(path, headers, JSON) of everything that was posted."""


@contextlib.contextmanager
def paging() -> Iterator[tuple[str, Heard]]:
    """A server that takes whatever is posted: its URL, and what it heard so far."""
    heard: Heard = []

    class Pager(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            heard.append((self.path, dict(self.headers), body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Pager) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", heard
        server.shutdown()


@attrs.frozen
class Stack:
    gateway: Gateway
    sim: Simulator
    prometheus: Running
    alertmanager: Running
    heard: Heard
    root: Path

    def target(self) -> dict[str, Any]:
        found = self.prometheus.get("/api/v1/targets")["data"]["activeTargets"]
        return next(one for one in found if one["labels"]["job"] == "aigateway")

    def say(self, token: str) -> None:
        """Put a token where Prometheus reads it."""
        (self.root / "run/secrets/gateway_token").write_text(token + "\n")


@pytest.fixture(scope="module")
def stack(tmp_path_factory) -> Iterator[Stack]:
    programs = {name: tool(name) for name in ("prometheus", "prometheus-alertmanager")}
    folder = tmp_path_factory.mktemp("stack")
    token = folder / "token"
    token.write_text(TOKEN + "\n")
    sim = Simulator(folder)
    traces = f'[telemetry]\ntraces = {{ endpoint = "http://127.0.0.1:{free_port()}/v1/traces", sample = 0 }}\n'
    once = one_backend(sim, route="retry = { attempts = 1 }")
    with running(sim), paging() as (pager_url, heard):
        gateway = Gateway(folder, traces + once, admin=f'metrics_token = {{ file = "{token}" }}')
        with (
            running(gateway),
            alertmanager_of(folder, programs, pager_url) as alertmanager,
            prometheus_of(folder, programs, gateway, alertmanager) as prometheus,
        ):
            yield Stack(gateway, sim, prometheus, alertmanager, heard, folder / "prometheus")


@pytest.fixture
def fed(stack: Stack) -> Stack:
    """The stack while Prometheus may read the gateway."""
    stack.say(TOKEN)
    stack.sim.reset()
    eventually(lambda: stack.target()["health"] == "up", SCRAPED_S)
    return stack


def alertmanager_of(folder: Path, programs: dict[str, str], pager_url: str):
    """Alertmanager as the compose file starts it; only addresses and how long it waits are changed."""
    secrets = {"slack_url": f"{pager_url}/slack", "smtp_password": "a-password", "webhook_token": PAGER_TOKEN}
    changes = {"http://pager.example.com/alerts": f"{pager_url}/alerts", "group_wait: 10s": "group_wait: 100ms"}
    root = lay_out("alertmanager", folder / "alertmanager", secrets, changes)
    port = free_port()
    flags = [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    arguments = [programs["prometheus-alertmanager"], *command("alertmanager", root), *flags]
    return started(arguments, f"http://127.0.0.1:{port}", folder / "alertmanager.log")


def prometheus_of(folder: Path, programs: dict[str, str], gateway: Gateway, alertmanager: Running):
    """Prometheus as the compose file starts it; addresses and intervals are changed."""
    port = free_port()
    changes = {
        "host.docker.internal:8080": f"127.0.0.1:{gateway.port}",
        "alertmanager:9093": alertmanager.url.removeprefix("http://"),
        "localhost:9090": f"127.0.0.1:{port}",
        "scrape_interval: 15s": "scrape_interval: 1s",
        "scrape_timeout: 10s": "scrape_timeout: 1s",
        "evaluation_interval: 15s": "evaluation_interval: 1s",
    }
    root = lay_out("prometheus", folder / "prometheus", {"gateway_token": TOKEN}, changes)
    arguments = [programs["prometheus"], *command("prometheus", root), f"--web.listen-address=127.0.0.1:{port}"]
    env = {**os.environ, "HOME": str(folder)}
    return started(arguments, f"http://127.0.0.1:{port}", folder / "prometheus.log", env)


def test_a_wrong_token_is_told_and_the_right_one_is_taken_from_its_file_without_a_restart(stack: Stack) -> None:
    stack.say("a-wrong-token")
    refused = eventually(lambda: (one := stack.target())["health"] == "down" and one, SCRAPED_S)
    assert "401" in refused["lastError"]
    stack.say(TOKEN)
    eventually(lambda: stack.target()["health"] == "up", SCRAPED_S)
    eventually(lambda: stack.prometheus.value('up{job="aigateway", cluster="local"}') == 1)  # stored a moment after the target is up


def test_prometheus_has_loaded_every_rule_and_each_can_be_evaluated(fed: Stack) -> None:
    def all_well() -> bool:
        loaded = [rule for group in fed.prometheus.get("/api/v1/rules")["data"]["groups"] for rule in group["rules"]]
        assert len(loaded) == len(rules())
        assert not [rule["name"] for rule in loaded if rule["health"] == "err"]
        return all(rule["health"] == "ok" for rule in loaded)

    eventually(all_well, 2 * SCRAPED_S)


def test_requests_of_the_gateway_are_counted_in_prometheus_with_the_targets_cluster(fed: Stack) -> None:
    before = fed.prometheus.value('sum(model_requests_total{cluster="local"})') or 0.0
    for _ in range(5):
        assert call(fed.gateway.url + "/v1/chat/completions", chat("gpt-4o"))[0] == 200
    eventually(lambda: fed.prometheus.value('sum(model_requests_total{cluster="local", model="gpt-4o"})') == before + 5, SCRAPED_S)


def test_an_exemplar_leads_from_a_latency_to_its_trace(fed: Stack) -> None:
    parent = f"00-{TRACE_ID}-b7ad6b7169203331-01"
    assert call(fed.gateway.url + "/v1/chat/completions", chat("gpt-4o"), traceparent=parent)[0] == 200

    def traces() -> set[str]:
        asked = {"query": "inference_gateway_request_duration_seconds_bucket", "start": "0", "end": "9999999999"}
        found = fed.prometheus.get("/api/v1/query_exemplars", **asked)["data"]
        return {one["labels"]["trace_id"] for series in found for one in series["exemplars"]}

    eventually(lambda: TRACE_ID in traces(), SCRAPED_S)


def test_prometheus_has_found_alertmanager_and_watches_it(fed: Stack) -> None:
    active = fed.prometheus.get("/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
    assert [one["url"] for one in active] == [f"{fed.alertmanager.url}/api/v2/alerts"]
    eventually(lambda: fed.prometheus.value('up{job="alertmanager"}') == 1, SCRAPED_S)
    eventually(lambda: fed.prometheus.value('up{job="prometheus"}') == 1, SCRAPED_S)


def test_a_provider_that_refuses_our_key_wakes_somebody(fed: Stack) -> None:
    """From a fault of the simulator to the pager and to Slack, by the alert as it is committed."""
    fed.sim.fault("gpt-4o", "401")

    def heard(path: str) -> Any:
        call(fed.gateway.url + "/v1/chat/completions", chat("gpt-4o"))
        return next((one for one in fed.heard if one[0] == path and "LLMGatewayAuthenticationErrors" in json.dumps(one[2])), None)

    _, headers, body = eventually(lambda: heard("/alerts"), 2 * SCRAPED_S)
    assert headers["Authorization"] == f"Bearer {PAGER_TOKEN}"
    assert body["receiver"] == "on-call"
    (alert,) = [one for one in body["alerts"] if one["labels"]["alertname"] == "LLMGatewayAuthenticationErrors"]
    assert {"job": "aigateway", "cluster": "local", "provider": "sim", "severity": "critical"}.items() <= alert["labels"].items()
    assert alert["annotations"]["runbook_url"] == "observability/runbooks/LLMGatewayAuthenticationErrors.md"
    _, _, message = eventually(lambda: heard("/slack"), SCRAPED_S)
    assert message["channel"] == "#llm-gateway"
    words = message["attachments"][0]
    assert words["title"] == "CRITICAL: LLMGatewayAuthenticationErrors"
    assert "sim refuses the gateway's credentials" in words["text"]
    assert "Runbook: observability/runbooks/LLMGatewayAuthenticationErrors.md" in words["text"]


def test_the_stacks_own_gateway_starts_with_its_configuration_takes_keys_and_shows_prometheus_its_metrics(tmp_path: Path) -> None:
    port, admin = free_port(), free_port()
    changes = {"0.0.0.0:8080": f"0.0.0.0:{port}", "[admin]": f'[admin]\nlisten = "127.0.0.1:{admin}"', "/var/lib/appliance": str(tmp_path)}
    root = lay_out("gateway", tmp_path, {"gateway_token": TOKEN}, changes)
    env = {"APPLIANCE_CONFIG": str(root / "etc/appliance/config.toml"), "OPENAI_API_KEY": "sk-none"}
    gateway = Process(["serve"], tmp_path / "gateway.log", env)
    url = f"http://127.0.0.1:{port}"
    with running(gateway):
        gateway.wait_port(port)
        made = subprocess.run(
            [sys.executable, "-m", "appliance", "key", "create", "--tenant", "team", "--id", "first"],
            env={**os.environ, **env}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        eventually(lambda: status(url + "/v1/models", made.stdout.strip()) == 200)
        assert status(url + "/metrics", None) == 401
        assert status(url + "/metrics", "a-wrong-token") == 401
        assert status(url + "/metrics", TOKEN) == 200


def status(url: str, token: str | None) -> int:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return httpx.get(url, headers=headers, trust_env=False).status_code
