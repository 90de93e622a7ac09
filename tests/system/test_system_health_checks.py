"""Active health checks: a backend that is down is routed around and comes back by itself; a checker that dies is started again."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import trio
from rig import Gateway, Simulator, call, chat, eventually, free_port, running

from appliance.composition import build_supervisor
from appliance.config.loader import Loaded, load_text
from appliance.providers import PROVIDERS

CHAT = "/v1/chat/completions"

CONFIG = """
[backends.watched]
provider = "custom"
base_url = "{one.url}/v1"
health = {{ mode = "active", path = "{path}", interval_s = 0.1, timeout_s = 1, failures = 2 }}
[backends.spare]
provider = "custom"
base_url = "{two.url}/v1"
[[routes]]
name = "all"
models = ["sim*"]
strategy = "priority"
targets = [ {{ backend = "watched" }}, {{ backend = "spare" }} ]
"""


@pytest.fixture(scope="module")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Simulator, Simulator]]:
    folder = tmp_path_factory.mktemp("health")
    pair = Simulator(folder, "one"), Simulator(folder, "two")
    with running(*pair):
        yield pair


@pytest.fixture
def gateway(simulators: tuple[Simulator, Simulator], tmp_path: Path) -> Iterator[Gateway]:
    one, two = simulators
    gateway = Gateway(tmp_path, CONFIG.format(one=one, two=two, path="/models"))
    with running(gateway):
        eventually(lambda: gateway.provider("watched")["last_probe"] == "ok")
        yield gateway


def served_by(gateway: Gateway) -> str:
    status, headers, body = call(gateway.url + CHAT, chat("sim"))
    assert status == 200, body
    return headers["x-served-by"]


def health(gateway: Gateway) -> float:
    return gateway.metric('llm_gateway_llm_gateway_provider_health{provider="watched"}')


def test_a_backend_that_is_down_is_routed_around_and_comes_back(gateway: Gateway, simulators: tuple[Simulator, Simulator]) -> None:
    one, _ = simulators
    assert (served_by(gateway), health(gateway)) == ("watched", 1)
    asked = one.stats()["models"]["sim"]["requests"]
    call(f"{one.url}/sim/faults", {"path": "/v1/models*", "fault": "503"})
    eventually(lambda: health(gateway) == 0)
    assert gateway.provider("watched")["last_probe"] == "answered 503"
    assert [served_by(gateway) for _ in range(5)] == ["spare"] * 5
    assert one.stats()["models"]["sim"]["requests"] == asked, "a caller's request was spent on a backend known to be down"
    call(f"{one.url}/sim/faults", {"path": "/v1/models*"})
    eventually(lambda: health(gateway) == 1)
    assert served_by(gateway) == "watched"
    assert gateway.metric('llm_gateway_llm_gateway_errors_total{provider="watched",error_type="server_error"}') == 0


def test_a_backend_that_froze_is_noticed_within_the_probes_timeout(gateway: Gateway, simulators: tuple[Simulator, Simulator]) -> None:
    one, _ = simulators
    one.signal(signal.SIGSTOP)
    try:
        at = time.monotonic()
        eventually(lambda: health(gateway) == 0)
        print(f"down after {time.monotonic() - at:.2f} s")
        assert "no answer within 1 s" in gateway.provider("watched")["last_probe"]
        assert served_by(gateway) == "spare"
    finally:
        one.signal(signal.SIGCONT)
    eventually(lambda: health(gateway) == 1)
    assert served_by(gateway) == "watched"


def test_probes_cost_nothing_and_carry_the_key(gateway: Gateway, simulators: tuple[Simulator, Simulator]) -> None:
    one, _ = simulators
    one.reset()
    eventually(lambda: one.stats()["requests"] >= 3)
    assert {(seen["method"], seen["path"]) for seen in one.stats()["last"]} == {("GET", "/v1/models")}
    assert one.stats()["billed"] in ({}, 0, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0})


def test_a_bare_connect_is_a_probe_too(simulators: tuple[Simulator, Simulator], tmp_path: Path) -> None:
    one, two = simulators
    one.reset()
    nobody = free_port()
    text = CONFIG.format(one=one, two=two, path="")
    gateway = Gateway(tmp_path, text + f'[backends.nobody]\nprovider = "custom"\nbase_url = "http://127.0.0.1:{nobody}/v1"\n'
                      'health = { mode = "active", path = "", interval_s = 0.1, failures = 2 }\n')  # fmt: skip
    with running(gateway):
        eventually(lambda: gateway.provider("watched")["last_probe"] == "ok")
        eventually(lambda: not gateway.provider("nobody")["healthy"])
        assert "cannot connect" in gateway.provider("nobody")["last_probe"]
        assert one.stats()["requests"] == 0


class Flaky:
    """Chance that fails at its first draw: the health checker draws after each probe, so it dies of this, as it would of a bug."""

    def __init__(self) -> None:
        self.draws = 0

    def __call__(self) -> float:
        self.draws += 1
        if self.draws == 1:
            raise RuntimeError("killed for the test")
        return 0.5


async def test_a_killed_health_checker_is_started_again_and_counted(simulators: tuple[Simulator, Simulator], tmp_path: Path) -> None:
    one, two = simulators
    public, admin = free_port(), free_port()
    text = f'[server]\nlisten = ["127.0.0.1:{public}"]\n[admin]\nlisten = "127.0.0.1:{admin}"\n'
    providers = {name: provider.base_url for name, provider in PROVIDERS.items()}
    loaded = load_text(text + CONFIG.format(one=one, two=two, path="/models"), env={}, providers=providers)
    assert isinstance(loaded, Loaded)
    with (tmp_path / "log").open("wb") as log:
        supervisor = build_supervisor(loaded, None, log_fd=log.fileno())
        supervisor.gateway.proxy.draw = Flaky()
        try:
            with supervisor.sink:
                async with trio.open_nursery() as nursery:
                    await nursery.start(supervisor.run)
                    await _until(lambda: supervisor.gateway.live.restarts["health:watched"] == 1)
                    state = supervisor.gateway.plan.upstreams["watched"].state
                    state.last_probe = ""
                    await _until(lambda: state.last_probe == "ok")  # it probes again
                    text = await trio.to_thread.run_sync(_metrics, admin)
                    assert 'appliance_service_restarts_total{service="health:watched"} 1' in text
                    assert 'appliance_service_restarts_total{service="breakers"} 0' in text
                    supervisor.stop()
        finally:
            structlog.reset_defaults()
    said = (tmp_path / "log").read_text()
    assert "service_failed" in said
    assert "killed for the test" in said


async def _until(look) -> None:
    with trio.fail_after(10):
        while not look():  # noqa: ASYNC110 - it looks at the plain state of another task
            await trio.sleep(0.02)


def _metrics(port: int) -> str:
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read().decode().replace("} 1.0", "} 1").replace("} 0.0", "} 0")
