"""How long an upload takes is the caller's time: it neither starts a keep-alive nor eats the time for retries, nor is it our overhead."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from rig import KEY, Gateway, Simulator, call, chat, one_backend, running

SOON_S = 2.0
"""A keep-alive and the end of the time for retries. An upload takes longer; an answer nothing like it."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uploads")
    simulator = Simulator(folder)
    route = f'keepalive_s = {SOON_S}\nretry = {{ attempts = 2, budget_s = {SOON_S}, backoff_s = 0.01 }}\non_disconnect = "cancel"'
    gate = Gateway(folder, one_backend(simulator, route))
    with running(simulator, gate):
        yield gate


def upload_slowly(gateway: Gateway, body: bytes) -> tuple[int, bytes]:
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
        f"x-request-id: slow-{time.monotonic_ns()}\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as sock:
        sock.sendall(head.encode() + body[:10])
        time.sleep(SOON_S * 1.2)
        sock.sendall(body[10:])
        answer = b""
        while data := sock.recv(65536):
            answer += data
    return int(answer.split(b" ", 2)[1]), answer


def test_a_fault_right_after_a_slow_upload_keeps_its_status(gateway):
    body = json.dumps(chat("sim+400", stream=True)).encode()
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: upload_slowly(gateway, body), range(30)))
    assert {status for status, _ in answers} == {400}
    assert "Traceback" not in gateway.log


def test_a_slow_upload_leaves_the_whole_time_for_retries(gateway):
    body = json.dumps(chat("sim+500;first=1")).encode()
    status, answer = upload_slowly(gateway, body)
    assert status == 200, answer


def test_a_slow_upload_is_no_overhead_of_the_gateway(gateway):
    status, answer = upload_slowly(gateway, json.dumps(chat("sim")).encode())
    assert status == 200
    overhead_ms = float(answer.lower().split(b"x-gateway-overhead-ms: ")[1].split(b"\r\n")[0])
    assert overhead_ms < SOON_S * 1000 / 2


def test_after_a_pause_the_breaker_has_its_say_and_the_callers_hear_of_the_real_fault(tmp_path):
    simulator = Simulator(tmp_path)
    backend = "breaker = { consecutive_failures = 3, open_s = 60 }"
    gate = Gateway(tmp_path, one_backend(simulator, "retry = { attempts = 3, backoff_s = 0.2 }", backend))
    with running(simulator, gate):
        simulator.fault("*", "500")
        with ThreadPoolExecutor(5) as pool:
            answers = list(pool.map(lambda _: call(f"{gate.url}/v1/chat/completions", chat("sim")), range(5)))
        assert [status for status, _, _ in answers] == [502] * 5
