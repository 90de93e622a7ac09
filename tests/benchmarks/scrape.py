"""What a scrape of 20,000 series costs the streams that run meanwhile: the latest chunk of 64 streams, without and with scrapes.

    make bench-scrape     (or: .venv/bin/python tests/benchmarks/scrape.py [--rounds 5] [--series 20000] [--streams 64] [--pace 0.02])

Needs two cores that nothing else uses, and taskset. Every chunk carries the time it was written; its lag is what passed until its caller
had it. Rounds without and with scrapes take turns; what is added is the difference of their medians. A round's latest chunk is one of four
thousand, so that anything else on the machine shows in it: look at the plain rounds first. Both formats are scraped, one after the other,
all the time: a real Prometheus does so every fifteen seconds.
"""

import argparse
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEY = "sk-bench-0123456789"
CHUNKS = 64
GATEWAY_CPU, LOAD_CPU = "0", "1"
START_S = 30
TENANTS = 400
"""At most, and so many series each; as many are made as it takes."""
FORMATS = ("text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0")
CONFIG = """
[server]
listen = ["127.0.0.1:{gate}"]
[admin]
listen = "127.0.0.1:{admin}"
[store]
path = "bench.db"
[backends.up]
provider = "openai"
base_url = "http://127.0.0.1:{up}/v1"
api_key = "x"
max_concurrency = 4096
[[routes]]
name = "all"
models = ["*"]
targets = [ {{ backend = "up" }} ]
"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Site:
    """Upstream, gateway and load of one run, each on its own core as far as two go."""

    def __init__(self, folder):
        self.folder, self.started = Path(folder), []
        self.up, self.gate, self.admin = free_port(), free_port(), free_port()
        keys = [KEY, *(f"{KEY}-{number}" for number in range(TENANTS))]
        text = CONFIG.format(gate=self.gate, admin=self.admin, up=self.up) + "".join(
            f'[tenants.t{number}]\nkeys = [ {{ id = "k{number}", sha256 = "{hashlib.sha256(key.encode()).hexdigest()}" }} ]\n'
            for number, key in enumerate(keys)
        )
        (self.folder / "config.toml").write_text(text)

    def start(self, name, cpu, *command):
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(["taskset", "-c", cpu, *command], stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        self.started.append(process)

    def up_and_running(self):
        self.start("sse", LOAD_CPU, sys.executable, str(HERE / "sse_upstream.py"), str(self.up), str(CHUNKS))
        self.start("gateway", GATEWAY_CPU, sys.executable, "-m", "appliance", "serve", "-c", str(self.folder / "config.toml"))
        for port, name in ((self.up, "sse"), (self.gate, "gateway"), (self.admin, "gateway")):
            wait_port(port, self.folder / f"{name}.log")

    def stop(self):
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)

    def streams(self, count, pace, key=KEY, model="gpt-4o"):
        out = subprocess.run(
            ["taskset", "-c", LOAD_CPU, sys.executable, str(HERE / "sse_load.py"), str(self.gate), str(count), str(CHUNKS), pace, key,
             "chat", model],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        found = json.loads(out)
        if found["failed"]:
            raise SystemExit(f"streams failed: {found['why']}")
        return found

    def scrape(self, accept=FORMATS[0]):
        """Series of a scrape, and how long it took (s)."""
        begun = time.monotonic()
        client = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=60)
        client.request("GET", "/metrics", headers={"accept": accept})
        text = client.getresponse().read()
        client.close()
        return len(re.findall(rb"^[a-z]", text, re.M)), time.monotonic() - begun

    def fill(self, series):
        """Streams of ever more tenants and models until a scrape has so many series."""
        client = http.client.HTTPConnection("127.0.0.1", self.gate, timeout=60)
        for number in range(TENANTS):
            if number % 10 == 0 and self.scrape()[0] >= series:
                client.close()
                return
            headers = {"authorization": f"Bearer {KEY}-{number}", "content-type": "application/json"}
            asked = {"model": f"gpt-{number % 90}", "stream": True, "user": "0.0001", "messages": [{"role": "user", "content": "Hello"}]}
            client.request("POST", "/v1/chat/completions", json.dumps(asked), headers)
            answer = client.getresponse()
            if answer.status != 200 or b"[DONE]" not in answer.read():
                raise SystemExit(f"a stream failed: {answer.status}")
        raise SystemExit(f"{TENANTS} tenants make no {series} series")


class Scraper(threading.Thread):
    """Scrapes without a pause, formats in turn."""

    def __init__(self, site):
        super().__init__(daemon=True)
        self.site, self.done, self.took = site, threading.Event(), []

    def run(self):
        os.sched_setaffinity(0, {int(LOAD_CPU)})
        while not self.done.is_set():
            self.took.append(self.site.scrape(FORMATS[len(self.took) % 2])[1])


def wait_port(port, log):
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on {port} after {START_S} s: {log.read_text()[-1000:]}")


def measure(site, rounds, streams, pace):
    plain, scraped, took = [], [], []
    site.streams(streams, pace)
    for _ in range(rounds):
        plain.append(site.streams(streams, pace))
        scraper = Scraper(site)
        scraper.start()
        scraped.append(site.streams(streams, pace))
        scraper.done.set()
        scraper.join()
        took += scraper.took
    result = {"scrapes": len(took), "scrape_s_median": round(statistics.median(took), 3)}
    for name in ("lag_ms_p50", "lag_ms_p99", "lag_ms_max"):
        without, under = ([one[name] for one in rows] for rows in (plain, scraped))
        added = round(statistics.median(under) - statistics.median(without), 2)
        result[name] = {"without": without, "scraped": under, "added_ms": added}
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--series", type=int, default=20_000)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--pace", default="0.02", help="seconds between a stream's chunks")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that what was started is stopped too
    with tempfile.TemporaryDirectory() as folder:
        site = Site(folder)
        try:
            site.up_and_running()
            site.fill(asked.series)
            series, _ = site.scrape()
            print(json.dumps({"series": series, **measure(site, asked.rounds, asked.streams, asked.pace)}, indent=1))
        finally:
            site.stop()


main()
