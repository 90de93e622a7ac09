"""One run of the scripted workload under Prometheus' eyes: simulator, gateway, Prometheus, two rounds, and when what happened.

Prometheus starts between the rounds. So every counter of the first round stands still before it moves, and no first increment is lost.
"""

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import attrs
import httpx
from dashboard_queries import FILLED
from prometheus_server import Prometheus, prometheus
from rig import Gateway, Simulator, call, eventually, running
from scripted_workload import (
    BREAKING,
    LEFT,
    OPEN,
    PATIENCE_S,
    RESTING,
    STEPS,
    TRIED,
    Callers,
    Seen,
    body_of,
    events_of,
    headers_of,
    says_something,
)  # fmt: skip
from watched_gateway import config

NONSENSE = b"GET / HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n"
RELOADS = {"ok": 1, "failed": 1}
REFUSALS = 2
SETTLED_S = 1.5
"""For what is on its way when nothing waits any more: the last spans, the budget's warning."""
WAITING = ("appliance_in_flight_requests", "appliance_trace_queued_requests", "appliance_ledger_queued_rows")


@attrs.frozen
class Watched:
    """What is left of a run, with everything still up.

    Attributes:
        since, until: Prometheus' clock at the first scrape it has and at the one that saw everything.
        warm, seen: the requests of the first round, and those in between.
        streaming_at: when a stream was held open, and a scrape had seen it.
        simulated: the simulator's own counts of the requests in between, by the model's name as it was asked.
    """

    gateway: Gateway
    prometheus: Prometheus
    warm: tuple[Seen, ...]
    seen: tuple[Seen, ...]
    since: float
    until: float
    streaming_at: float
    simulated: dict[str, int]

    @property
    def filled(self) -> dict[str, str]:
        """Grafana's variables; a rate is over the whole run."""
        return {**FILLED, "__rate_interval": f"{self.window_s}s", "__interval": "1s"}

    @staticmethod
    def on_this_scrape(expr: str) -> str:
        """A subquery's step is the dashboards' scrape of fifteen seconds; here it must be finer than ours."""
        return expr.replace(":15s]", ":250ms]")

    @property
    def slack(self) -> float:
        """How much too high a rate over the whole run may be: Prometheus adds half a scrape before the first one, a whole one at most."""
        (scrapes,) = self.table(f"count_over_time(appliance_start_time_seconds[{self.window_s}s])", "").values()
        return 1.1 / (scrapes - 1)

    @property
    def window_s(self) -> int:
        """A range that holds every scrape of the run."""
        return int(self.until - self.since) + 2

    def growth(self, metric: str, by: str = "") -> dict[tuple[str, ...], float]:
        """How much a counter grew from the first scrape to the last one, exactly; label values in the order of `by`."""
        before = self.table(f"sum by ({by}) ({metric} @ {self.since:.3f})", by)
        return {key: value - before.get(key, 0.0) for key, value in self.table(f"sum by ({by}) ({metric})", by).items()}

    def table(self, expr: str, by: str, at: float | None = None) -> dict[tuple[str, ...], float]:
        """An expression's series by these labels of theirs, which must tell them apart; at the end unless told otherwise."""
        series = self.prometheus.ask(expr, at or self.until)
        names = [name.strip() for name in by.split(",") if name]
        found = {tuple(dict(one.labels).get(name, "") for name in names): one.value for one in series}
        assert len(found) == len(series), f"{by} does not tell the series of {expr} apart"
        return found


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    simulator = Simulator(folder)
    with running(simulator), taking_everything() as sink:
        gateway = Gateway(folder, config(simulator.url, sink))
        with running(gateway), httpx.Client(base_url=gateway.url, timeout=PATIENCE_S, trust_env=False) as client:
            warm = first_round(Callers(client), gateway)
            settle(gateway)
            before = asked_of(simulator)
            with prometheus(folder, f"127.0.0.1:{gateway.admin_port}") as eyes:
                since = eyes.scraped_after(time.time())
                seen, streaming_at = watched_round(Callers(client), gateway, eyes)
                settle(gateway)
                until = eyes.scraped_after(time.time())
                asked = {name: times - before.get(name, 0) for name, times in asked_of(simulator).items()}
                yield Watched(gateway, eyes, warm, seen, since, until, streaming_at, asked)


def settle(gateway: Gateway) -> None:
    """Waits for what is written a moment after an answer: its record, its row, its spans."""
    eventually(lambda: not any(gateway.metric(name) for name in WAITING), PATIENCE_S)
    time.sleep(SETTLED_S)


def first_round(callers: Callers, gateway: Gateway) -> tuple[Seen, ...]:
    """So that every series is there."""
    gateway.admin("/admin/config")  # callers are served a moment before shadow copies are
    seen = [one for step in (*STEPS, TRIED, BREAKING, OPEN, RESTING) for one in callers.run(step, step.warm)]
    seen += leave(callers, gateway, LEFT.warm, lambda: None)
    refused_by_the_engine(gateway, 1)
    eventually(lambda: copied(gateway) == sum(one.step.name == "shadowed" for one in seen))
    call(f"{gateway.admin_url}/admin/backends/broken/reset-breaker", {})
    eventually(lambda: gateway.provider("resting")["breaker"] == "half_open")
    return tuple(seen)


def watched_round(callers: Callers, gateway: Gateway, eyes: Prometheus) -> tuple[tuple[Seen, ...], float]:
    """And when a stream was seen by a scrape."""
    before = copied(gateway)
    seen = [one for step in (*STEPS, TRIED, BREAKING, OPEN) for one in callers.run(step, step.times)]
    eventually(lambda: copied(gateway) == before + sum(one.step.name == "shadowed" for one in seen))
    held: list[float] = []
    seen += leave(callers, gateway, LEFT.times, lambda: held.append(eyes.scraped_after(time.time())))
    refused_by_the_engine(gateway, REFUSALS)
    reload_twice(gateway)
    return tuple(seen), held[-1]


def leave(callers: Callers, gateway: Gateway, times: int, meanwhile: Callable[[], None]) -> list[Seen]:
    """Streams whose callers hang up: the first few words came, `meanwhile` went on, then the connection is closed. It is over when the
    gateway has nothing under way any more."""
    seen = []
    for _ in range(times):
        begun = time.monotonic()
        with callers.client.stream("POST", LEFT.path, json=body_of(LEFT), headers=headers_of(LEFT.key)) as answer:
            assert answer.status_code == 200
            events = events_of(answer.iter_lines())  # httpx closes the connection when nobody holds this any more
            assert any(map(says_something, events))
            arrived = time.monotonic() - begun
            meanwhile()
        eventually(lambda: gateway.metric("appliance_in_flight_requests") == 0)
        seen.append(Seen(LEFT, "", LEFT.backend, "", 0, 0, time.monotonic() - begun, arrived))
    return seen


def refused_by_the_engine(gateway: Gateway, times: int) -> None:
    for _ in range(times):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE_S) as one:
            one.sendall(NONSENSE)
            assert one.recv(65536).startswith(b"HTTP/1.1 400")


def reload_twice(gateway: Gateway) -> None:
    """Once with a mistake in the file, once without."""
    good = gateway.config_path.read_text()
    for text, result in ((good + "\n[mistake]\n", "failed"), (good + "\n# a remark\n", "ok")):
        series = f'appliance_config_reloads_total{{result="{result}"}}'
        before = gateway.metric(series)
        gateway.config_path.write_text(text)
        gateway.signal(signal.SIGHUP)
        eventually(lambda: gateway.metric(series) == before + 1)  # noqa: B023


def copied(gateway: Gateway) -> int:
    return sum(one["success"] for one in gateway.admin("/admin/experiments")["copies"])


def asked_of(simulator: Simulator) -> dict[str, int]:
    """Requests by the name of the model as the simulator was asked for it."""
    return {name: counts["requests"] for name, counts in simulator.stats()["models"].items()}


@contextlib.contextmanager
def taking_everything() -> Iterator[str]:
    """The URL of a server that says 200 to whatever is posted: where traces and budget warnings go."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/taken"
    finally:
        server.shutdown()
        server.server_close()
