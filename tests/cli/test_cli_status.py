"""`appliance status`: a table that fits a hundred columns and says why a backend is down, from wherever the gateway is."""

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cli.test_cli import refused, run
from rig import Gateway, Process, Simulator, call, chat, eventually, free_port, running

from appliance.cli.status import COLUMNS_MAX, table

PROVIDER = {
    "name": "alpha", "provider": "custom", "healthy": True, "drained": False, "breaker": "closed", "in_flight": 3, "max_concurrency": 100,
    "waiting": 0, "requests": 12, "errors": 1, "latency_ms": {"p50": 80.4, "p95": 2310.0, "attempts": 9}, "down_because": "",
    "last_error": "", "last_error_s_ago": None, "credentials": None,
}  # fmt: skip


def shown(**changes: Any) -> list[str]:
    return table([{**PROVIDER, **changes}]).splitlines()


def test_a_backend_is_a_line_under_its_heading() -> None:
    heading, line = shown()
    assert heading.split() == ["backend", "provider", "health", "breaker", "in", "flight", "requests", "errors", "p50", "p95"]
    assert line.split() == ["alpha", "custom", "up", "closed", "3/100", "12", "1", "80", "ms", "2.3", "s"]
    assert line.index("up") == heading.index("health")
    assert line.index("80 ms") + 5 == heading.index("p50") + 3 == len(heading) - len("  p95") - 2


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"healthy": False, "down_because": "breaker open for 3.0 s"}, "  down: breaker open for 3.0 s"),
        ({"waiting": 4}, "  4 requests wait for a place (max_concurrency)"),
        ({"last_error": "timeout: slow", "last_error_s_ago": 45.2}, "  last error 45 s ago: timeout: slow"),
        ({"last_error": "timeout: slow", "last_error_s_ago": 7300}, "  last error 2 h ago: timeout: slow"),
        (
            {"keys": [{"key": 1, "rests_s": 0.0, "last_refusal": "429"}, {"key": 2, "rests_s": 31.0, "last_refusal": "429"}]},
            "  keys that rest: 2 (429, 31 s more)",
        ),
        ({"credentials": {"problem": "no key file"}}, "  credentials: no key file"),
    ],
)
def test_what_is_wrong_stands_below_it(changes: dict[str, Any], line: str) -> None:
    assert shown(**changes)[2:] == [line]


def test_a_reason_that_names_the_last_error_is_not_told_twice() -> None:
    lines = shown(healthy=False, down_because="breaker open for 1 s, after timeout: slow", last_error="timeout: slow", last_error_s_ago=1)
    assert len(lines) == 3


def test_nothing_makes_a_line_longer_than_a_hundred_columns_or_moves_the_cursor() -> None:
    lines = shown(
        name="a-name-of-a-backend-that-goes-on-and-on-" * 3, provider="p" * 60, healthy=False, breaker="half_open", in_flight=10**9,
        max_concurrency=10**9, requests=10**12, errors=10**11, latency_ms={"p50": 599_000.0, "p95": 599_999.0, "attempts": 1},
        down_because="breaker open, after \x1b[2J" + "word " * 100, waiting=10**9, last_error="x\ny" * 200, last_error_s_ago=1e7,
    )  # fmt: skip
    assert max(map(len, lines)) <= COLUMNS_MAX
    assert len(lines) == 5
    assert "\x1b" not in "".join(lines)
    assert "DOWN" in lines[1]


def test_one_without_an_answer_lately_has_dashes() -> None:
    assert shown(latency_ms=None)[1].split()[-2:] == ["-", "-"]


def test_the_colour_of_one_that_is_down_is_only_for_terminals() -> None:
    down = {**PROVIDER, "healthy": False}
    assert "\x1b[31m" in table([down], colours=True)
    assert "\x1b" not in table([down])
    assert "\x1b" not in table([PROVIDER], colours=True)


CONFIG = """
[backends.sim]
provider = "custom"
base_url = "{sim}/v1"
breaker = {{ consecutive_failures = 2, open_s = 60 }}
[backends.spare]
provider = "custom"
base_url = "{sim}/v1"
[[routes]]
name = "main"
targets = [ {{ backend = "sim" }} ]
fallback = [ {{ backend = "spare", model = "rescue" }} ]
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("status")
    sim = Simulator(folder)
    with running(sim):
        one = Gateway(folder, CONFIG.format(sim=sim.url), admin='token = { env = "THE_TOKEN" }', env={"THE_TOKEN": "right-token"})
        with running(one):
            yield one


def status(gateway: Gateway, *more: str, token: str = "right-token") -> subprocess.CompletedProcess[str]:
    return run("status", "-c", str(gateway.config_path), *more, THE_TOKEN=token)


def providers(gateway: Gateway) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(status(gateway, "--json").stdout)}


def test_latency_errors_and_the_reason_come_from_what_was_served(gateway: Gateway) -> None:
    for model in ("sim", "sim", "sim+503", "sim+503"):
        assert call(f"{gateway.url}/v1/chat/completions", chat(model))[0] == 200
    found = eventually(lambda: (now := providers(gateway))["spare"]["latency_ms"]["attempts"] == 2 and now)
    assert found["sim"]["latency_ms"]["attempts"] == 2
    assert 0 < found["sim"]["latency_ms"]["p50"] <= found["sim"]["latency_ms"]["p95"]
    assert (found["sim"]["requests"], found["sim"]["errors"], found["sim"]["healthy"]) == (4, 2, False)
    assert found["sim"]["down_because"].startswith("breaker open for ")
    assert found["spare"]["down_because"] == ""
    done = status(gateway)
    assert done.returncode == 1
    assert "down: breaker open for" in done.stdout
    assert "overloaded" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= COLUMNS_MAX
    assert "\x1b" not in done.stdout


def test_a_wrong_token_and_none_at_all_are_one_line_each(gateway: Gateway) -> None:
    for done, words in (
        (status(gateway, token="wrong-token"), "does not take the admin token"),
        (run("status", "--admin", gateway.admin_url), "wants the admin token"),
    ):
        refused(done, 1, words, "APPLIANCE_ADMIN_TOKEN")
        assert len(done.stderr.splitlines()) == 1
        assert "right-token" not in done.stderr
        assert "wrong-token" not in done.stderr


class Other(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'["something", "else"]')

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_another_programs_answer_is_said_to_be_none_of_ours() -> None:
    with HTTPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        done = run("status", "--admin", f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
        thread.join()
    refused(done, 1, "is no gateway's admin listener")


def test_watching_looks_again_outlives_a_gateway_that_does_not_answer_and_ends_at_ctrl_c(gateway: Gateway, tmp_path: Path) -> None:
    watch = Process(
        ["status", "-c", str(gateway.config_path), "--watch", "0.2"],
        tmp_path / "watch.log",
        {"THE_TOKEN": "right-token", "PYTHONUNBUFFERED": "1"},
    )
    with running(watch):
        eventually(lambda: watch.log.count("backend  ") >= 3, 60)
        watch.signal(signal.SIGINT)
        assert watch.popen.wait(60) in (0, 1)
    assert "Traceback" not in watch.log
    assert "\x1b" not in watch.log
    nobody = f"http://127.0.0.1:{free_port()}"
    deaf = Process(["status", "--admin", nobody, "--watch", "0.2"], tmp_path / "deaf.log", {"PYTHONUNBUFFERED": "1"})
    with running(deaf):
        eventually(lambda: deaf.log.count("no gateway answers") >= 2, 60)
        deaf.signal(signal.SIGINT)
        assert deaf.popen.wait(60) == 1


def test_a_watch_that_never_rests_is_a_wrong_use() -> None:
    for seconds in ("0", "0.1", "nan"):
        refused(run("status", "--admin", f"http://127.0.0.1:{free_port()}", "--watch", seconds), 64, "--watch")
