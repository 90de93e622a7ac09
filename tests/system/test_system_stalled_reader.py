"""A client that stops reading: its upstream is paused (nothing piles up here), and after write_stall_s it is cut. A slow one is served.

The built-in engine cuts it itself; under Hypercorn, which shields what it sends, the kernel does (TCP_USER_TIMEOUT).
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from raw_client import RawClient
from rig import Gateway, Simulator, chat, eventually, running

STALL_S = 2.0
BUFFER_BYTES = 4096
LONG = "[[tokens=50000]]"
"""14 MB of events."""
EVENT_BYTES = 280


RSS_GROWTH_MAX_KB = 8 * 1024


def endless() -> str:
    """More than all socket buffers on the way may hold, however far the kernel lets them grow, and 14 MB beside that."""
    grown = [int(Path(f"/proc/sys/net/ipv4/tcp_{way}").read_text().split()[2]) for way in ("rmem", "wmem")]
    return f"[[tokens={50_000 + 2 * sum(grown) // EVENT_BYTES}]]"


CONFIG = """
[backends.sim]
provider = "custom"
base_url = "{url}/v1"
[backends.impatient]
provider = "custom"
base_url = "{url}/v1"
timeouts = {{ idle_s = 1 }}
[[routes]]
name = "impatient"
models = ["impatient*"]
targets = [ {{ backend = "impatient", model = "sim@tps=0+burst" }} ]
[[routes]]
name = "all"
targets = [ {{ backend = "sim" }} ]
"""


@pytest.fixture(scope="module")
def gateway(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    one = Gateway(
        tmp_path_factory.mktemp("stalled"), CONFIG.format(url=simulator.url), head=f"[server.limits]\nwrite_stall_s = {STALL_S}"
    )
    with running(one):
        yield one


@pytest.fixture(scope="module")
def patient(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """With the usual write_stall_s, ten times what it takes to fill every buffer on the way, or a slow reader rests."""
    one = Gateway(tmp_path_factory.mktemp("patient"), CONFIG.format(url=simulator.url))
    with running(one):
        yield one


def last_of(simulator: Simulator) -> dict[str, object]:
    return simulator.stats(1)["last"][0]


@pytest.mark.parametrize("engine", ["builtin", "hypercorn"])
def test_a_reader_that_stalls_is_cut_and_its_upstream_with_it(gateway: Gateway, simulator: Simulator, engine: str) -> None:
    simulator.reset()
    rss_kb = gateway.rss_kb()
    with RawClient(gateway.url if engine == "builtin" else gateway.hypercorn_url, BUFFER_BYTES) as client:
        client.ask(chat("sim@tps=0+burst", endless(), stream=True), x_request_id=f"stalled-{engine}")
        client.read_until(b'"content":"')
        begun = time.monotonic()
        seen = eventually(lambda: (one := last_of(simulator)) and one["outcome"] == "client_gone" and one, 60)
        took_s = seen["disconnected_monotonic_s"] - begun
        print(f"cut after {took_s:.2f} s")
        assert took_s > STALL_S * 0.8
        assert client.read_to_end().count(b"[DONE]") == 0, "a cut stream must not look finished"
    record = gateway.record(f"stalled-{engine}")
    assert (record["status"], record["error_type"]) == (499, "client_gone")
    assert record["attempts"][0]["outcome"] == "cancelled"
    assert gateway.provider("sim")["errors"] == 0
    assert gateway.rss_kb() - rss_kb < RSS_GROWTH_MAX_KB


@pytest.mark.parametrize("engine", ["builtin", "hypercorn"])
def test_an_upstream_is_paused_while_its_client_does_not_read(patient: Gateway, simulator: Simulator, engine: str) -> None:
    simulator.reset()
    rss_kb = patient.rss_kb()
    with RawClient(patient.url if engine == "builtin" else patient.hypercorn_url, BUFFER_BYTES) as client:
        client.ask(chat("sim@tps=0", endless(), stream=True), x_request_id=f"paused-{engine}")
        client.read_until(b'"content":"')

        def still() -> bool:
            before = last_of(simulator)["bytes_sent"]
            time.sleep(0.15)
            return before == last_of(simulator)["bytes_sent"]

        eventually(still, 60)
        assert last_of(simulator)["outcome"] == "running"
        print(f"paused after {last_of(simulator)['bytes_sent'] / 1e6:.1f} MB")
        assert patient.rss_kb() - rss_kb < RSS_GROWTH_MAX_KB
        client.leave("rst")
        eventually(lambda: last_of(simulator)["outcome"] == "client_gone")
    eventually(lambda: patient.record(f"paused-{engine}")["status"] == 499)


@pytest.mark.parametrize("engine", ["builtin", "hypercorn"])
def test_a_slow_reader_gets_its_stream_whole_and_no_backend_is_blamed(patient: Gateway, engine: str) -> None:
    """It pauses for longer than the upstream may fall silent: that silence is the reader's own."""
    with RawClient(patient.url if engine == "builtin" else patient.hypercorn_url, BUFFER_BYTES) as client:
        client.ask(chat("impatient", LONG, stream=True), x_request_id=f"slow-{engine}")
        assert client.read_head()[0] == 200
        for _ in range(2):
            time.sleep(1.5)
            for _ in range(20):
                client.read_chunk()
        last = b""
        while chunk := client.read_chunk():
            last = chunk
        assert last.endswith(b"data: [DONE]\n\n")
    record = patient.record(f"slow-{engine}")
    assert (record["status"], record["error_type"]) == (200, ""), record
    assert patient.provider("impatient")["errors"] == 0
