"""500 clients that leave at random moments leave nothing behind: no upstream socket in use, no request, no descriptor, no memory."""

import contextlib
import random
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from raw_client import RawClient, request_bytes
from rig import Gateway, Simulator, call, chat, eventually, one_backend, running

CLIENTS = 500
AT_ONCE = 16
RSS_GROWTH_MAX_KB = 2 * 1024
"""Typically 600 kB. A leaked request keeps 7 kB at the least, so 500 of them show."""

ROUNDS_MAX = 5
"""A leak grows in every round; the allocator's moods do not."""

SETTLED_S = 60.0
"""How long it may take until all of them are noticed to be gone."""

MODELS = (
    "sim@tps=200+endless", "sim@ttft=200ms", "sim+hang", "sim+hang=3", "sim+early_head=1s", "sim@tps=0", "sim+503", "sim+stall=3;for=1s",
)  # fmt: skip


@pytest.fixture
def gateway(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    # Refusing to open the breaker keeps every request on its way to the upstream; few records kept, so that memory is flat at once.
    config = one_backend(simulator, backend="breaker = { consecutive_failures = 0, failure_ratio = 0.0 }\nmax_concurrency = 32")
    one = Gateway(tmp_path_factory.mktemp("many"), config + "[telemetry]\nrecent_max = 50\n")
    with running(one):
        yield one


def leave_somewhere(url: str, chance: random.Random, *, builtin: bool) -> None:
    """One client: asks for something, reads a little or nothing, and goes."""
    body = chat(chance.choice(MODELS), user=uuid.uuid4().hex, stream=chance.random() < 0.6)
    data = request_bytes(body)
    if chance.random() < 0.15:
        data = data[: chance.randrange(1, len(data))]
    if builtin and chance.random() < 0.1:  # behind pipelined bytes Hypercorn hears of a departure only when it next writes
        data += request_bytes(body)[: chance.randrange(600)]
    with RawClient(url) as client, contextlib.suppress(ConnectionError, TimeoutError):
        client.send(data)
        end = time.monotonic() + chance.random() * 0.15
        while (left := end - time.monotonic()) > 0:
            client.sock.settimeout(left)
            if not client.sock.recv(chance.choice((1, 100, 65536))):
                break
        client.leave(chance.choice(("close", "fin", "rst")))


def disconnects(gateway: Gateway, seed: int) -> None:
    chance = random.Random(seed)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = []
        for _ in range(CLIENTS):
            builtin = chance.random() < 0.8
            url = gateway.url if builtin else gateway.hypercorn_url
            jobs.append(pool.submit(leave_somewhere, url, random.Random(chance.random()), builtin=builtin))
        for job in jobs:
            job.result()
    eventually(lambda: gateway.metric("appliance_in_flight_requests") == 0, SETTLED_S)


def in_use(gateway: Gateway) -> int:
    pool = gateway.provider("sim")["connections"]
    return int(pool["open"]) - int(pool["idle"])


def test_500_disconnects_leave_nothing_behind(gateway: Gateway, simulator: Simulator) -> None:
    disconnects(gateway, seed=1)  # as many to warm up: pools, caches, the allocator's arenas
    growths_kb = []
    while not growths_kb or (growths_kb[-1] > RSS_GROWTH_MAX_KB and len(growths_kb) < ROUNDS_MAX):
        eventually(lambda: in_use(gateway) == 0, SETTLED_S)
        rss_kb = gateway.rss_kb()
        disconnects(gateway, seed=2 + len(growths_kb))
        growths_kb.append(gateway.rss_kb() - rss_kb)
    print(f"resident memory grew by {growths_kb} kB to {gateway.rss_kb()} kB")
    assert growths_kb[-1] <= RSS_GROWTH_MAX_KB
    eventually(lambda: gateway.metric("appliance_client_connections") == 0, SETTLED_S)  # a late one may have asked something, too
    eventually(lambda: in_use(gateway) == 0, SETTLED_S)
    eventually(lambda: simulator.stats()["in_flight"] == 0, SETTLED_S)
    eventually(lambda: simulator.connections() <= gateway.provider("sim")["connections"]["idle"])
    eventually(lambda: gateway.metric("aigateway_active_streams") == 0)
    eventually(lambda: gateway.provider("sim")["in_flight"] == gateway.provider("sim")["waiting"] == 0)
    # Three listeners, event loop, log and so on: some twenty. Beside them only pooled upstream connections and the one that asks.
    fds = gateway.open_fds() - gateway.provider("sim")["connections"]["idle"]
    assert fds < 40, f"{fds} descriptors are open"
    status, _, _ = call(f"{gateway.url}/v1/chat/completions", chat("sim"))
    assert status == 200
    gateway.stop()
    assert '"level":"error"' not in gateway.log
    assert "Traceback" not in gateway.log


@pytest.mark.parametrize("engine", ["builtin", "hypercorn"])
def test_connections_that_ask_nothing_hold_no_descriptor_once_they_are_gone(gateway: Gateway, engine: str) -> None:
    """What a balancer's TCP check does, all day long."""
    url = gateway.url if engine == "builtin" else gateway.hypercorn_url

    def knock(number: int) -> None:
        with RawClient(url) as client:
            client.leave("rst" if number % 3 == 0 else "close")

    # The admin door opens last: every descriptor is there now.
    eventually(lambda: gateway.metric("appliance_client_connections") == 0, SETTLED_S)
    fds = gateway.open_fds()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(knock, range(400)))
    eventually(lambda: gateway.open_fds() <= fds + 4, SETTLED_S)
    eventually(lambda: gateway.metric("appliance_client_connections") == 0, SETTLED_S)
