"""1,000 malformed requests, many at once, leave the process healthy: it answers, no descriptor stays open, nothing was raised, memory is
flat.
"""

import contextlib
import json
import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from raw_client import WAIT_S, RawClient, request_bytes
from rig import Gateway, Simulator, call, chat, eventually, one_backend, running

REQUESTS = 1000
AT_ONCE = 24
ANSWER_S = 0.2
"""How long a client waits for the answer to its nonsense before it says that there is no more. A truncated one gets none then."""

FLOOD = 150
FLOOD_CPU_S = 5.0
"""What the gateway may compute for a flood of nonsense and the good requests beside it; typically a tenth of it."""

RSS_GROWTH_MAX_KB = 4 * 1024
ROUNDS_MAX = 5
"""A leak grows in every round; the allocator's moods do not."""


@pytest.fixture
def gateway(simulator: Simulator, tmp_path: Path) -> Iterator[Gateway]:
    one = Gateway(tmp_path, one_backend(simulator) + "[telemetry]\nrecent_max = 50\n")
    with running(one):
        yield one


def garbage(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice((1, 20, 300, 5000)))


def truncated(chance: random.Random) -> bytes:
    whole = request_bytes(chat("sim"))
    return whole[: chance.randrange(1, len(whole) - 1)]


def bit_flips(chance: random.Random) -> bytes:
    whole = bytearray(request_bytes(chat("sim", stream=chance.random() < 0.5)))
    for _ in range(chance.choice((1, 3, 20))):
        whole[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
    return bytes(whole)


def head(lines: str) -> bytes:
    return f"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer x\r\n{lines}\r\n".encode("latin-1")


def bad_framing(chance: random.Random) -> bytes:
    body = json.dumps(chat("sim")).encode()
    return chance.choice([
        head("content-length: 10\r\ncontent-length: 11\r\n") + body,
        head("content-length: -5\r\n") + body,
        head("content-length: 99999999999999999999999\r\n") + body,
        head(f"content-length: {len(body)}\r\ntransfer-encoding: chunked\r\n") + body,
        head("transfer-encoding: gzip, chunked\r\n") + body,
        head("transfer-encoding: chunked\r\n") + b"zz\r\n" + body,
        head("transfer-encoding: chunked\r\n") + b"5\r\nhelloworld\r\n0\r\n\r\n",
        head("transfer-encoding: chunked\r\n") + b"ffffffffffffffffff\r\n" + body,
        head("transfer-encoding: chunked\r\n") + b"3\r\n{\"m\r\n0\r\ntrailer\x00: x\r\n\r\n",
        head("host: another\r\n") + body,
        head("x : y\r\n") + body,
        head("x: y\r\n folded\r\n") + body,
        head("x: \x00\r\n") + body,
        head("x: " + "y" * 70_000 + "\r\n") + body,
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n\r\n",
        b"GET " + b"/" * 20_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + garbage(chance),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + garbage(chance),  # a TLS hello at a cleartext door
    ])  # fmt: skip


def bad_body(chance: random.Random) -> bytes:
    body = chance.choice([
        b"", b"{", b"null", b"[]", b'"text"', b"{" * 50_000, b"[" * 50_000, b'{"model": "sim", "model": "other", "messages": []}',
        b'{"model": 5, "messages": []}', b'{"messages": []}', b'{"model": "sim"', b'{"model": "sim", "stream": "yes", "messages": []}',
        b'{"model": "' + b"x" * 100_000 + b'"}', b'{"model": "\\ud800", "messages": []}', b"\xff\xfe{}", b'{"model": "sim\x00"}',
        json.dumps({"model": "sim", "messages": [{"role": "user", "content": "\u0000" * 100}]}).encode(), b'{"model": 1e999}',
        json.dumps(chat("no/such\r\nmodel")).encode(), garbage(chance),
    ])  # fmt: skip
    path = chance.choice(["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/../x", "/v1/embeddings?key=%zz", "/%ff%00"])
    data = request_bytes(body, path, content_type=chance.choice(["application/json", "text/plain", "multipart/form-data", "\xe4"]))
    return data.replace(b"Bearer", chance.choice([b"Bearer", b"bearer", b"Basic", b"Bearer \xff"]))


KINDS: list[Callable[[random.Random], bytes]] = [garbage, truncated, bit_flips, bad_framing, bad_body]


def send_one(url: str, seed: int) -> str:
    """Sends one, perhaps in pieces; the status line of what came back, or how it ended."""
    chance = random.Random(seed)
    data = KINDS[seed % len(KINDS)](chance)
    with contextlib.suppress(OSError), RawClient(url) as client:
        if chance.random() < 0.3:
            middle = chance.randrange(len(data)) if data else 0
            client.send(data[:middle])
            time.sleep(chance.random() * 0.02)
            client.send(data[middle:])
        else:
            client.send(data)
        if chance.random() < 0.3:
            client.sock.shutdown(socket.SHUT_WR)
        try:
            client.sock.settimeout(ANSWER_S)
            answer = client.sock.recv(65536)
        except TimeoutError:
            with contextlib.suppress(OSError):  # done already, or the other side is gone
                client.sock.shutdown(socket.SHUT_WR)
            client.sock.settimeout(WAIT_S)
            answer = client.sock.recv(65536)
        return answer.split(b"\r\n")[0].decode("latin-1") if answer else "closed"
    return "reset"


def batch(gateway: Gateway, first: int) -> Counter[str]:
    """A thousand, a fifth of them through Hypercorn."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [
            pool.submit(send_one, gateway.hypercorn_url if seed // len(KINDS) % 5 == 4 else gateway.url, seed)
            for seed in range(first, first + REQUESTS)
        ]
        return Counter(job.result() for job in jobs)


def test_1000_malformed_requests_leave_the_process_healthy(gateway: Gateway) -> None:
    batch(gateway, 1_000_000)
    answers: Counter[str] = Counter()
    growths_kb: list[int] = []
    while not growths_kb or (growths_kb[-1] > RSS_GROWTH_MAX_KB and len(growths_kb) < ROUNDS_MAX):
        rss_kb = gateway.rss_kb()
        answers += batch(gateway, len(growths_kb) * REQUESTS)
        growths_kb.append(gateway.rss_kb() - rss_kb)
    print(dict(answers.most_common()), f"resident memory grew by {growths_kb} kB")
    assert growths_kb[-1] <= RSS_GROWTH_MAX_KB
    assert sum(count for answer, count in answers.items() if " 4" in answer) > REQUESTS / 4
    assert not [answer for answer in answers if " 500" in answer], answers
    eventually(lambda: gateway.metric("appliance_client_connections") == 0, 60)
    gateway.settle()
    # Beside those that it has from the start, only pooled upstream connections and the one that asks.
    fds = gateway.open_fds() - gateway.provider("sim")["connections"]["open"]
    assert fds < 40, f"{fds} descriptors are open"
    for url in (gateway.url, gateway.hypercorn_url):
        assert call(f"{url}/v1/chat/completions", chat("sim"))[0] == 200
    gateway.stop()
    assert "Traceback" not in gateway.log
    assert '"level":"error"' not in gateway.log


def test_a_flood_of_nonsense_does_not_keep_others_waiting(gateway: Gateway) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(send_one, gateway.url, seed) for seed in range(FLOOD)]
        slowest, good, cpu_s = 0.0, 0, gateway.cpu_s()
        while not all(job.done() for job in jobs):
            at = time.monotonic()
            assert call(f"{gateway.url}/v1/chat/completions", chat("sim@tps=0"))[0] == 200
            slowest, good = max(slowest, time.monotonic() - at), good + 1
    cpu_s = gateway.cpu_s() - cpu_s
    print(f"slowest of {good} good answers meanwhile {slowest * 1000:.0f} ms; {cpu_s * 1000:.0f} ms of the gateway's CPU")
    assert cpu_s < FLOOD_CPU_S, "not in seconds that pass: a busy machine makes everybody wait"
