"""systemd is told what becomes of the gateway: ready only when it serves, reloading, stopping, and its state in one line."""

import contextlib
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from notify_socket import NotifySocket
from raw_client import RawClient
from rig import Gateway, Process, Simulator, call, chat, eventually, get_json, one_backend, running

Start = Callable[..., Gateway]


@pytest.fixture
def told(tmp_path: Path) -> Iterator[NotifySocket]:
    with NotifySocket(tmp_path) as one:
        yield one


@pytest.fixture
def start(simulator: Simulator, tmp_path: Path, told: NotifySocket) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def start_one(head: str = "", **env: str) -> Gateway:
            gateway = Gateway(tmp_path, one_backend(simulator), head=head, env={**told.env, **env})
            stack.enter_context(running(gateway))
            return gateway

        yield start_one


def test_ready_is_said_once_and_every_listener_answers_then(start: Start, told: NotifySocket) -> None:
    gateway = start()
    first = told.wait("READY")
    for url in (gateway.url, gateway.hypercorn_url, gateway.admin_url):
        with urllib.request.urlopen(f"{url}/livez", timeout=20) as answer:
            assert answer.status == 200
    assert call(f"{gateway.url}/v1/chat/completions", chat("sim"))[0] == 200
    assert first["STATUS"] == "serving 1 backend, 1 healthy; 0 requests in flight"
    assert told.values("READY") == ["1"]
    assert told.messages[0][1]["READY"] == "1", "and nothing before it"


def test_one_that_cannot_take_its_store_or_its_port_is_never_ready(start: Start, told: NotifySocket, tmp_path: Path) -> None:
    gateway = start()
    told.wait("READY")
    (tmp_path / "second").mkdir()
    with NotifySocket(tmp_path / "second") as other:
        second = Process(["serve", "-c", str(gateway.config_path)], tmp_path / "second.log", other.env)
        assert second.popen.wait(20) == 1
        assert other.messages == []
    assert "Traceback" not in second.log


def test_the_state_line_counts_backends_and_requests_and_changes_with_them(start: Start, told: NotifySocket) -> None:
    gateway = start()
    told.wait("READY")
    with RawClient(gateway.url) as client:
        client.ask(chat("sim@tps=20+endless", stream=True))
        client.read_head()
        told.wait_status("serving 1 backend, 1 healthy; 1 request in flight")
    call(f"{gateway.admin_url}/admin/backends/sim/drain", {})
    told.wait_status("serving 1 backend, 0 healthy; 0 requests in flight")
    said = told.values("STATUS")
    time.sleep(2.5)  # a look, at which nothing has changed
    assert told.values("STATUS") == said


def test_a_reload_is_announced_and_over_and_a_refused_one_stays_in_the_state_line(start: Start, told: NotifySocket) -> None:
    gateway = start()
    told.wait("READY")
    before = time.monotonic()
    gateway.signal(signal.SIGHUP)
    announced = told.wait("RELOADING")
    assert before * 1e6 <= int(announced["MONOTONIC_USEC"]) <= time.monotonic() * 1e6
    assert told.wait("READY", 2)["STATUS"].startswith("serving 1 backend")
    good = gateway.config_path.read_text()
    gateway.config_path.write_text(good + "[server2]\n")
    gateway.signal(signal.SIGHUP)
    refused = told.wait("READY", 3)["STATUS"]
    assert refused.startswith("serving 1 backend, 1 healthy; ")
    assert "reload refused: " in refused
    assert "server2" in refused
    assert "\n" not in refused
    gateway.config_path.write_text(good)
    gateway.signal(signal.SIGHUP)
    assert "refused" not in told.wait("READY", 4)["STATUS"]
    assert [next(iter(fields)) for _, fields in told.messages if "READY" in fields or "RELOADING" in fields] == [
        "READY", *("RELOADING", "READY") * 3
    ]  # fmt: skip


def test_stopping_is_said_at_once_with_the_time_that_it_may_take_and_with_what_is_left(start: Start, told: NotifySocket) -> None:
    gateway = start("drain_s = 300\nnotice_s = 0.5")
    told.wait("READY")
    with RawClient(gateway.url) as one, RawClient(gateway.hypercorn_url) as two, RawClient(gateway.url) as whole:
        for client in (one, two):
            client.ask(chat("sim@tps=10", "[[tokens=60]]", stream=True))
            client.headers = client.read_head()[1]
        whole.ask(chat("sim@ttft=3000ms"))
        eventually(lambda: gateway.metric("appliance_in_flight_requests") == 3)
        gateway.signal(signal.SIGTERM)
        stopping = told.wait("STOPPING")
        assert stopping["STATUS"] == "draining: 2 streams left, 1 other request"
        assert 300.5e6 < int(stopping["EXTEND_TIMEOUT_USEC"]) < 330e6
        gateway.signal(signal.SIGHUP)  # is too late, and must not say that it is ready again
        whole.read_body(whole.read_head()[1])
        told.wait_status("draining: ")
        for client in (one, two):
            client.read_body(client.headers)
    assert gateway.popen.wait(20) == 0
    assert told.values("READY") == ["1"]
    assert told.values("RELOADING") == []


def test_a_watchdog_is_pinged_in_half_its_time_and_only_where_this_process_is_meant(start: Start, told: NotifySocket) -> None:
    gateway = start(WATCHDOG_USEC="1000000")
    told.wait("WATCHDOG", 5)
    times = told.times("WATCHDOG")
    mean_s = (times[-1] - times[0]) / (len(times) - 1)
    assert 0.05 < mean_s < 5  # half a second, as far as a busy machine can be asked
    assert gateway.stop() == 0
    told.catch_up()
    pings = len(told.values("WATCHDOG"))
    start(WATCHDOG_USEC="1000000", WATCHDOG_PID=str(os.getpid()))
    told.wait("READY", 2)
    time.sleep(1.2)
    assert len(told.values("WATCHDOG")) == pings


def test_a_socket_that_is_gone_or_of_no_kind_harms_nothing(simulator: Simulator, tmp_path: Path) -> None:
    for number, path in enumerate(["/nowhere/notify", "vsock:2:9", "@nobody-listens-here", "@"]):
        gateway = Gateway(tmp_path, one_backend(simulator), f"g{number}", env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "100000"})
        with running(gateway):
            assert call(f"{gateway.url}/v1/chat/completions", chat("sim"))[0] == 200
            gateway.signal(signal.SIGHUP)
            eventually(lambda gateway=gateway: get_json(f"{gateway.admin_url}/admin/stats") and '"reloaded"' in gateway.log)
            time.sleep(0.3)
            assert gateway.stop() == 0
        assert [event["event"] for event in gateway.events()].count("notify_failed") == 1, gateway.log
        assert "Traceback" not in gateway.log


def test_an_abstract_socket_is_told_too(simulator: Simulator, tmp_path: Path) -> None:
    with NotifySocket(tmp_path, abstract=True) as told:
        gateway = Gateway(tmp_path, one_backend(simulator), env=told.env)
        with running(gateway):
            told.wait("READY")
        told.wait("STOPPING")
