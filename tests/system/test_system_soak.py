"""A busy gateway that nobody leaves alone: three of ten callers hang up, backends fail in every way, the file changes all the time. Nothing
grows (memory, descriptors, threads), nothing is said above a warning that is not explained, and the ledger has each request once.

Half a minute here; `make soak` is the same for ten minutes (`SOAK_S`), with a tighter bound, and prints its figures.
"""

import os
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from ledger_reader import ledger_rows, store_of
from rig import Gateway, Simulator, eventually, running
from soak_callers import Callers, every

SOAK_S = float(os.environ.get("SOAK_S", "30"))
SEED = int(os.environ.get("SOAK_SEED", str(random.randrange(2**31))))
AT_ONCE = 10
SAMPLE_S = 0.5
RELOAD_S = 2.0
FAULT_S = 3.0
LONG_S = 300.0
"""From here on a run counts as long: warm in the first half, many requests in the second."""
GROWTH_MAX_KB = 3 * 1024 if SOAK_S >= LONG_S else 8 * 1024
"""Of resident memory over the second half, by its slope (least squares). A request that left its record behind would leave 7 kB: 20 MB and
more in half of the short run. In the short run tables that are bounded are still being filled, and the allocator settles. The long run's
bound was set before it was first run, and is not met yet (README, "Not there yet"): it is not for the figure to set it."""
VENDORS = ("claude", "gemini", "cohere", "bedrock")
BACKENDS = {"one": "custom", "two": "custom", "claude": "anthropic", "gemini": "gemini", "cohere": "cohere", "bedrock": "bedrock"}
PRICED = ("mixed", "hedged", "cached", "trial", "shadowed", "drained", "estimated", *VENDORS)
EXPLAINED = {"reload_refused"}
"""Events above a warning that the soak itself asks for: every fourth file is none."""


def config(sim: Simulator, number: int = 0) -> str:
    """Everything at once. `number` is of the reload: weights, limits and settings of backends and routes move with it."""
    if number % 4 == 3:
        return "this is no TOML ["
    common = """
max_concurrency = 200
timeouts = { connect_s = 2, first_byte_s = 1.5, idle_s = 1.5, total_s = 6 }
breaker = { open_s = 1 }
api_key = "test-key"
"""
    backends = "".join(
        f'[backends.{name}]\nprovider = "{vendor}"\nbase_url = "{sim.url}{"/v1" if vendor == "custom" else ""}"\n{common}'
        for name, vendor in BACKENDS.items()
    ).replace("max_concurrency = 200", f"max_concurrency = {200 + number % 3}", 1)
    retry = "retry = { attempts = 3, backoff_s = 0.01, backoff_max_s = 0.1, budget_s = 4 }\nkeepalive_s = 1\n"

    def route(name: str, targets: str, more: str = "") -> str:
        return f'[[routes]]\nname = "{name}"\nmodels = ["{name}*"]\ntargets = [ {targets} ]\n{retry}{more}\n'

    one, two = f'{{ backend = "one", weight = {50 + number % 5} }}', '{ backend = "two", weight = 50 }'
    return f"""
rpm = 1000000
tpm = 1000000000
budget = {{ usd = 1000000, period = "day" }}
[telemetry]
recent_max = 200
[cache]
size_max_bytes = 1048576
{"".join(f'[prices.models."{name}-sim"]{chr(10)}input_usd_per_mtok = 1{chr(10)}output_usd_per_mtok = 2{chr(10)}' for name in PRICED)}
{backends}
{route("mixed", f"{one}, {two}", 'fallback = [ { backend = "claude" }, { backend = "gemini" } ]')}
{route("hedged", f"{one}, {two}", "hedge = { after_s = 0.1, max_percent = 50 }")}
{route("cached", one, f'cache = {{ ttl_s = {60 + number % 2}, when = "always" }}')}
{route("trial", one)}
{route("shadowed", one)}
{route("drained", one, 'on_disconnect = "drain"')}
{route("estimated", two, 'on_disconnect = "estimate"')}
{"".join(route(name, f'{{ backend = "{name}" }}', 'fallback = [ { backend = "two" } ]') for name in VENDORS)}
[[experiments]]
name = "soak-trial"
route = "trial"
control = {{ backend = "one" }}
treatment = {{ backend = "claude" }}
percent = 30
[[experiments]]
name = "soak-shadow"
route = "shadowed"
control = {{ backend = "one" }}
treatment = {{ backend = "two" }}
percent = 50
shadow = true
"""


@attrs.frozen
class Sample:
    """What the process has, some time after its start, and how many requests were over by then."""

    at_s: float
    requests: int
    rss_kb: int
    fds: int
    threads: int


def sample(gateway: Gateway, callers: Callers, began: float) -> Sample:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{gateway.pid}/status").read_text().splitlines())
    rss_kb, threads = int(status["VmRSS"].split()[0]), int(status["Threads"])
    return Sample(time.monotonic() - began, callers.answered, rss_kb, gateway.open_fds(), threads)


def slope(pairs: list[tuple[float, float]]) -> float:
    """Least squares: how much y grows for each x."""
    count = len(pairs)
    mean_x, mean_y = sum(x for x, _ in pairs) / count, sum(y for _, y in pairs) / count
    return sum((x - mean_x) * (y - mean_y) for x, y in pairs) / sum((x - mean_x) ** 2 for x, _ in pairs)


@attrs.define
class Soak:
    """A run that is over: its samples and its callers."""

    sim: Simulator
    gateway: Gateway
    callers: Callers
    samples: list[Sample] = attrs.field(factory=list)
    reloads: int = 0
    idle_fds: int = 0
    idle_threads: int = 0

    def run(self) -> None:
        draw, over = random.Random(SEED), threading.Event()
        self._settle()
        self.idle_fds, self.idle_threads = self.gateway.open_fds(), sample(self.gateway, self.callers, 0).threads
        began = time.monotonic()
        self.callers.start()
        work = [
            every(SAMPLE_S, over, lambda _: self.samples.append(sample(self.gateway, self.callers, began))),
            every(RELOAD_S, over, self._reload),
            every(FAULT_S, over, lambda _: self._bad_day(draw)),
        ]
        time.sleep(SOAK_S)
        over.set()
        for thread in work:
            thread.join()
        self.callers.stop()
        self.sim.reset()
        self.gateway.write_config(config(self.sim))
        self.gateway.signal(signal.SIGHUP)
        self._settle()

    def _reload(self, number: int) -> None:
        self.gateway.write_config(config(self.sim, number))
        self.gateway.signal(signal.SIGHUP)
        self.reloads += 1

    def _bad_day(self, draw: random.Random) -> None:
        """One of the routes' models fails for some calls, whatever is asked of it."""
        model, fault = draw.choice(("mixed", "claude", "cached", "gemini")), draw.choice(("503", "cut=3", "hang", "reset", "429=1s"))
        self.sim.fault(f"{model}*", fault, count=8)

    def _settle(self) -> None:
        """Nobody asks, nothing is under way, and what is done a moment after is done."""
        try:
            eventually(lambda: self.gateway.metric("appliance_in_flight_requests") == 0, 30)
        except AssertionError:
            told = {event["request_id"] for event in self.gateway.requests()}
            backends = [(one["name"], one["in_flight"], one["connections"]) for one in self.gateway.admin("/admin/providers")["providers"]]
            still = {one: self.callers.asked[one] for one in self.callers.asked.keys() - told}
            raise AssertionError(f"under way for 30 s: {still}; backends: {backends}; log in {self.gateway.log_path}") from None
        eventually(lambda: self.sim.stats()["in_flight"] == 0, 30)
        eventually(lambda: self.gateway.metric("appliance_client_connections") <= 1, 30)
        eventually(lambda: self.gateway.metric("appliance_ledger_queued_rows") == 0, 30)
        time.sleep(1.5)

    def second_half(self) -> list[Sample]:
        return [one for one in self.samples if one.at_s > SOAK_S / 2]


@pytest.fixture(scope="module")
def soak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Soak]:
    print(f"SOAK_SEED={SEED}")
    folder = tmp_path_factory.mktemp("soak")
    sim = Simulator(folder)
    with running(sim):
        gateway = Gateway(folder, config(sim), head='forward_headers = ["x-sim-fault", "x-sim-speed"]')
        with running(gateway):
            one = Soak(sim, gateway, Callers(gateway, SEED, AT_ONCE))
            one.run()
            yield one


def test_the_soak_was_one(soak: Soak) -> None:
    statuses = soak.callers.statuses
    print(f"{soak.callers.answered} requests in {SOAK_S:.0f} s, {soak.reloads} reloads: {dict(statuses.most_common())}")
    print(dict(Counter(event["event"] + "/" + event["level"] for event in soak.gateway.events()).most_common()))
    assert soak.callers.wrong == []
    assert soak.callers.answered > SOAK_S * 10
    assert 0.2 < statuses["left"] / soak.callers.answered < 0.4
    assert statuses[200] > soak.callers.answered * 0.3
    assert statuses[502] > 0
    assert soak.reloads >= SOAK_S / RELOAD_S / 2
    ok, failed = (soak.gateway.metric(f'appliance_config_reloads_total{{result="{result}"}}') for result in ("ok", "failed"))
    assert ok > failed > 0
    metrics = soak.gateway.metrics_text()
    for name in ("appliance_hedges_sent_total", "appliance_experiment_copies_total"):
        assert any(line.startswith(name) and not line.endswith(" 0.0") for line in metrics.split("\n")), name


def test_memory_does_not_grow(soak: Soak) -> None:
    half = soak.second_half()
    kb_s = slope([(one.at_s, float(one.rss_kb)) for one in half])
    bytes_each = slope([(float(one.requests), one.rss_kb * 1024.0) for one in half])
    growth_kb = kb_s * (half[-1].at_s - half[0].at_s)
    print(f"resident: {soak.samples[0].rss_kb} kB at first, {half[0].rss_kb} kB half way, {half[-1].rss_kb} kB at the end; "
          f"slope of the second half {kb_s * 60:+.0f} kB/min, {bytes_each:+.0f} bytes a request, {growth_kb:+.0f} kB in all")  # fmt: skip
    print("each tenth:", [one.rss_kb for one in soak.samples[:: max(1, len(soak.samples) // 10)]])
    assert growth_kb < GROWTH_MAX_KB


def test_no_descriptor_and_no_thread_stays(soak: Soak) -> None:
    pools = soak.gateway.admin("/admin/providers")["providers"]
    idle = sum(int(one["connections"]["idle"]) for one in pools)
    assert sum(int(one["connections"]["open"]) for one in pools) == idle
    half = soak.second_half()
    fds, threads = soak.gateway.open_fds() - idle, sample(soak.gateway, soak.callers, 0).threads
    print(f"descriptors: {soak.idle_fds} before, {max(one.fds for one in half)} at most, {fds} after ({idle} pooled apart); "
          f"threads: {soak.idle_threads} before, {max(one.threads for one in half)} at most, {threads} after")  # fmt: skip
    assert fds <= soak.idle_fds + 4
    # trio's worker threads end when they had nothing to do for a while; there are no more of them late in the run than early
    assert max(one.threads for one in half) <= max(one.threads for one in soak.samples if one not in half) + 2


def test_nothing_is_said_above_a_warning_but_what_was_asked_for(soak: Soak) -> None:
    loud = [event for event in soak.gateway.events() if event["level"] not in ("debug", "info", "warning")]
    assert [event for event in loud if event["event"] not in EXPLAINED] == []
    assert {event["event"] for event in loud} == EXPLAINED
    assert "Traceback" not in soak.gateway.log


def reached_a_backend(line: dict[str, Any]) -> bool:
    """By its line in the log. Asked of a vendor who has no such thing (an experiment's, which is not passed over), nobody is reached."""
    return bool(line["attempts"] or line["backend"] == "cache") and not re.fullmatch(r"the backend \w+ has no .*", line["error"])


def test_every_request_that_reached_a_backend_is_in_the_ledger_once(soak: Soak) -> None:
    lines = {event["request_id"]: event for event in soak.gateway.requests()}
    rows = [row for row in ledger_rows(store_of(soak.gateway)) if row["tenant"] != "shadow"]
    times = Counter(row["request_id"] for row in rows)
    assert [one for one, count in times.items() if count > 1] == []
    expected = {one for one, line in lines.items() if reached_a_backend(line)}
    print(f"{len(rows)} rows of {len(lines)} requests in the log; {Counter(row['usage_source'] for row in rows)}")
    assert set(times) == expected
    counted_here = {one for one, line in lines.items() if line["path"].endswith("/count_tokens") and not line["attempts"]}
    assert soak.callers.served - counted_here <= expected
    by_status: dict[str, Any] = {row["request_id"]: row["status"] for row in rows}
    assert {one: by_status[one] for one in soak.callers.served & expected if by_status[one] != 200} == {}


def test_it_ends_as_any_other(soak: Soak) -> None:
    assert soak.gateway.stop() == 0
