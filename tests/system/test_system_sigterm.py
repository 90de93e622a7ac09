"""SIGTERM: readiness turns 503 at once, what runs finishes whole, new connections are refused, what outlasts drain_s is told so, exit 0."""

import contextlib
import errno
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from doors import site
from ledger_reader import ledger_rows, store_of
from raw_client import RawClient, events
from rig import KEY, Gateway, Simulator, chat, eventually, one_backend, running

from appliance.http1.departures import LEAVING_MAX_BYTES

ENGINES = ("builtin", "hypercorn")
SMALLEST_BUFFER = 1  # the kernel makes its minimum of it, 4,608 bytes
HELD_BYTES = 14_000  # more than two such sockets hold, and what a client takes who looks for the head of an answer
Start = Callable[[str], Gateway]


@pytest.fixture
def start(simulator: Simulator, tmp_path: Path) -> Iterator[Start]:
    """Starts a gateway with these settings under [server]."""
    with contextlib.ExitStack() as stack:

        def start_one(head: str = "") -> Gateway:
            gateway = Gateway(tmp_path, one_backend(simulator), head=head)
            stack.enter_context(running(gateway))
            return gateway

        yield start_one


@contextlib.contextmanager
def streams(gateway: Gateway, model: str, text: str = "Hello!") -> Iterator[dict[str, RawClient]]:
    """One stream on each engine, begun."""
    with RawClient(gateway.url) as builtin, RawClient(gateway.hypercorn_url) as hypercorn:
        clients = {"builtin": builtin, "hypercorn": hypercorn}
        for engine, client in clients.items():
            client.ask(chat(model, text, stream=True), x_request_id=f"stream-{engine}")
            client.headers = client.read_head()[1]
            client.first = client.read_chunk()
        yield clients


def rest_of(client: RawClient) -> list[object]:
    return events(client.first + client.read_body(client.headers))


def exit_status(gateway: Gateway, seconds: float) -> int:
    return gateway.popen.wait(seconds)


def readiness(url: str) -> int:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return int(error.code)


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def test_running_streams_finish_whole(start: Start) -> None:
    """Each takes four seconds, in which the others are begun and the signal is sent."""
    gateway = start("")
    with RawClient(gateway.url) as whole, streams(gateway, "sim@tps=20", "[[tokens=80]]") as clients:
        whole.ask(chat("sim@ttft=4s"))
        eventually(lambda: gateway.metric("appliance_in_flight_requests") == 3)
        gateway.signal(signal.SIGTERM)
        for port in (gateway.port, gateway.hypercorn_port):
            eventually(lambda port=port: refuses(port))
        assert gateway.popen.poll() is None
        for client in clients.values():
            said = rest_of(client)
            assert said[-1] == "[DONE]"
            assert said[-2]["choices"][0]["finish_reason"] == "stop"
        status, headers = whole.read_head()
        assert (status, headers["connection"]) == (200, "close")
        assert b'"finish_reason"' in whole.read_body(headers)
    assert exit_status(gateway, 10) == 0
    assert {one["request_id"]: one["status"] for one in gateway.requests() if one["request_id"].startswith("stream-")} == {
        "stream-builtin": 200, "stream-hypercorn": 200
    }  # fmt: skip


def test_a_running_stream_over_http2_finishes_whole(tmp_path: Path) -> None:
    routes = '[backends.sim]\nprovider = "custom"\nbase_url = "{sim}"\n[[routes]]\nname = "all"\ntargets = [{ backend = "sim" }]\n'
    body = chat("sim@tps=20", "[[tokens=40]]", stream=True)
    with site(tmp_path, routes) as place, place.door("h2").http(headers={"authorization": f"Bearer {KEY}"}) as client:
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
            pieces = answer.iter_bytes()
            said = next(pieces)
            place.gateway.signal(signal.SIGTERM)
            said += b"".join(pieces)  # raises where the stream's own end is missing
        assert events(said)[-1] == "[DONE]"
        assert exit_status(place.gateway, 10) == 0


def test_readiness_says_draining_during_the_notice_and_requests_are_still_served(start: Start) -> None:
    gateway = start("notice_s = 60")
    urls = (gateway.url, gateway.hypercorn_url, gateway.admin_url)
    assert [readiness(url) for url in urls] == [200, 200, 200]
    gateway.signal(signal.SIGTERM)
    for url in urls:
        eventually(lambda url=url: readiness(url) == 503)
    for url in urls[:2]:
        with RawClient(url) as client:
            client.ask(chat("sim"))
            assert client.read_head()[0] == 200
    assert gateway.metric("appliance_draining") == 1
    gateway.signal(signal.SIGTERM)
    assert exit_status(gateway, 20) == 0


def test_listeners_close_when_the_notice_is_over_and_not_before(start: Start) -> None:
    gateway = start("notice_s = 1.2")
    assert readiness(gateway.url) == 200, "before it serves, the signal would just end it"
    at = time.monotonic()
    gateway.signal(signal.SIGTERM)
    for port in (gateway.port, gateway.hypercorn_port):
        eventually(lambda port=port: refuses(port))
    assert time.monotonic() - at > 1.1
    assert exit_status(gateway, 10) == 0


def test_streams_beyond_the_drain_end_with_an_error_event(start: Start, simulator: Simulator) -> None:
    gateway = start("drain_s = 0.5")
    with streams(gateway, "sim@tps=20+endless") as clients, RawClient(gateway.url) as waiting:
        waiting.ask(chat("sim+hang"), x_request_id="waiting")
        eventually(lambda: gateway.metric("appliance_in_flight_requests") == 3)
        at = time.monotonic()
        gateway.signal(signal.SIGTERM)
        for client in clients.values():
            said = rest_of(client)  # EOFError if the stream were cut instead of ended
            assert said[-1]["error"]["code"] == "draining"
            assert "[DONE]" not in said
        status, headers = waiting.read_head()
        assert status == 503
        assert b"shutting down" in waiting.read_body(headers)
        assert 0.4 < time.monotonic() - at < 5
    assert exit_status(gateway, 5) == 0
    eventually(lambda: simulator.stats()["in_flight"] == 0)
    records = {one["request_id"]: one["error_type"] for one in gateway.requests()}
    assert records == {"stream-builtin": "draining", "stream-hypercorn": "draining", "waiting": "draining"}
    assert "Traceback" not in gateway.log
    rows = {row["request_id"]: row for row in ledger_rows(store_of(gateway))}
    assert {name: row["usage_source"] for name, row in rows.items()} == dict.fromkeys(records, "estimated"), "the provider bills them"
    assert rows["stream-builtin"]["output_tokens"] > 0


def test_of_fifty_streams_those_that_end_in_time_are_whole_and_the_others_are_told_and_each_is_in_the_ledger_once(start: Start) -> None:
    gateway = start("drain_s = 10")
    with contextlib.ExitStack() as stack:
        clients: dict[str, RawClient] = {}
        for number in range(50):
            client = stack.enter_context(RawClient(gateway.url if number % 2 else gateway.hypercorn_url))
            kind = "endless" if number % 5 == 4 else "ending"
            body = chat("sim@tps=5+endless", stream=True) if kind == "endless" else chat("sim@tps=10", "[[tokens=25]]", stream=True)
            client.ask(body, x_request_id=f"{kind}-{number}")
            clients[f"{kind}-{number}"] = client
        for client in clients.values():
            client.headers = client.read_head()[1]
            client.first = client.read_chunk()
        eventually(lambda: gateway.metric("appliance_in_flight_requests") >= 10)
        running_then = gateway.metric("appliance_in_flight_requests")
        at = time.monotonic()
        gateway.signal(signal.SIGTERM)
        said = {name: rest_of(client) for name, client in sorted(clients.items(), key=lambda item: item[0].startswith("endless"))}
        took_s = time.monotonic() - at
    assert exit_status(gateway, 10) == 0
    print(f"{running_then:.0f} ran at SIGTERM; all ended after {took_s:.1f} s, of which the drain has 10")
    for name, heard in said.items():
        if name.startswith("ending"):
            assert heard[-1] == "[DONE]", name
            assert heard[-2]["choices"][0]["finish_reason"] == "stop", name
        else:
            assert heard[-1]["error"]["code"] == "draining", name
    assert 9 < took_s < 50
    rows = {row["request_id"]: (row["usage_source"], row["error_type"]) for row in ledger_rows(store_of(gateway))}
    assert len(ledger_rows(store_of(gateway))) == 50
    assert rows == {name: ("estimated", "draining") if name.startswith("endless") else ("provider", "") for name in clients}
    assert "Traceback" not in gateway.log


@pytest.mark.parametrize("settings", ["notice_s = 60", "drain_s = 60"])
def test_a_second_signal_cuts_at_once(start: Start, simulator: Simulator, settings: str) -> None:
    gateway = start(settings)
    with streams(gateway, "sim@tps=20+endless") as clients:
        gateway.signal(signal.SIGTERM)
        eventually(lambda: gateway.metric("appliance_draining") == 1)
        time.sleep(0.2)
        assert gateway.popen.poll() is None
        at = time.monotonic()
        gateway.signal(signal.SIGINT)
        for client in clients.values():
            assert b"[DONE]" not in client.read_to_end()
        assert exit_status(gateway, 20) == 0
        took_s = time.monotonic() - at
    print(f"cut and gone after {took_s:.2f} s")
    assert took_s < 30
    eventually(lambda: simulator.stats()["in_flight"] == 0)
    assert "Traceback" not in gateway.log


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stalled_reader_does_not_hold_up_the_end(start: Start, engine: str) -> None:
    gateway = start("drain_s = 0.3")
    with RawClient(gateway.url if engine == "builtin" else gateway.hypercorn_url, receive_buffer_bytes=4096) as client:
        client.ask(chat("sim@tps=0+burst", "[[tokens=50000]]", stream=True))
        client.read_head()
        time.sleep(0.5)
        gateway.signal(signal.SIGTERM)
        assert exit_status(gateway, 10) == 0
    assert "Traceback" not in gateway.log


def test_who_reads_slowly_has_the_time_of_the_drain_for_what_is_left_of_his_answer(simulator: Simulator, tmp_path: Path) -> None:
    """His request is over and written down: small answers leave behind it, as far as the socket takes them."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST_BUFFER)
        gateway = Gateway(tmp_path, one_backend(simulator), door=door)
        with running(gateway), RawClient(f"http://127.0.0.1:{door.getsockname()[1]}", receive_buffer_bytes=2048) as client:
            client.ask(chat("sim", "[[tokens=2350]]"), x_request_id="slow")
            status, headers = client.read_head()
            size = int(headers["content-length"])
            assert (status, HELD_BYTES < size < LEAVING_MAX_BYTES - 1000) == (200, True), size
            gateway.record("slow")
            door.close()
            gateway.signal(signal.SIGTERM)
            for _ in range(10):  # longer than any grace that is not the drain's
                time.sleep(0.4)
                client.seen += client.sock.recv(20)
            assert gateway.popen.poll() is None
            assert len(client.read_body(headers)) == size
            assert exit_status(gateway, 5) == 0
    assert '"drain_time_over"' not in gateway.log


def test_who_reads_nothing_of_what_is_left_of_his_answer_is_cut_when_the_drain_is_over(simulator: Simulator, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST_BUFFER)
        gateway = Gateway(tmp_path, one_backend(simulator), head="drain_s = 0.5", door=door)
        with running(gateway), RawClient(f"http://127.0.0.1:{door.getsockname()[1]}", receive_buffer_bytes=2048) as client:
            client.ask(chat("sim", "[[tokens=2350]]"), x_request_id="stalled")
            gateway.record("stalled")
            door.close()
            gateway.signal(signal.SIGTERM)
            assert exit_status(gateway, 10) == 0
    (over,) = (one for one in gateway.events() if one["event"] == "drain_time_over")
    assert (over["requests"], over["leaving"]) == (0, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_gateway_ends_quickly(start: Start, number: signal.Signals) -> None:
    gateway = start("")
    with RawClient(gateway.url) as kept, RawClient(gateway.hypercorn_url) as kept_too:
        for client in (kept, kept_too):
            client.ask(chat("sim"))
            client.read_body(client.read_head()[1])
        at = time.monotonic()
        gateway.signal(number)
        assert exit_status(gateway, 10) == 0
        took_s = time.monotonic() - at
        print(f"gone after {took_s:.2f} s")
        assert took_s < 10
        assert kept.read_to_end() == kept_too.read_to_end() == b""
    assert '"stopped"' in gateway.log
    assert "Traceback" not in gateway.log
