"""What a cache and an experiment on every route cost who gains nothing by them: CPU per request and per streamed chunk, beside a gateway
without them.

    make bench-judged        (or: .venv/bin/python tests/benchmarks/judged.py [--rounds 15] [--seconds 2] [--streams 256@0.05])

Three gateways run at once and are asked in turn, round by round: one without, the same once more, and one with both. What differs between
the first two is noise, which tells what a difference of the third is worth. Nothing that is asked may come from the cache: its temperature
is not 0. Needs what `measure.py` needs.
"""

import argparse
import signal
import statistics
import sys

from measure import ADMIN, CHUNKS_SENT, GATE, Bench, cpu_s

CACHE_AND_EXPERIMENT = """cache = {{ ttl_s = 600 }}
[[experiments]]
name = "{name}-trial"
route = "{name}"
control = {{ backend = "{name}", model = "{model}" }}
treatment = {{ backend = "{name}", model = "{model}" }}
percent = 50
"""
GATEWAYS = {"without": "", "without, again": "", "with both": CACHE_AND_EXPERIMENT}
BASE = "without"
PORTS_APART = 10


def start(bench):
    """Name -> (port, process)."""
    found = {}
    for place, (name, route) in enumerate(GATEWAYS.items()):
        gate = GATE + place * PORTS_APART
        found[name] = gate, bench.gateway({}, name.replace(", ", "-").replace(" ", "-"), gate, ADMIN + place * PORTS_APART, route)
    return found


def rounds_of(gateways, rounds, ask):
    """CPU in µs of each gateway in each round, by turns that change from round to round; `ask(port)` says how many units that was. The
    first round warms up."""
    spent = {name: [] for name in gateways}
    names = list(gateways)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            port, process = gateways[name]
            before = cpu_s(process.pid)
            units = ask(port)
            if number:
                spent[name].append((cpu_s(process.pid) - before) * 1e6 / units)
    return spent


def told(what, spent):
    base = spent[BASE]
    print(f"{what}: {statistics.median(base):.1f} us without")
    for name, seen in spent.items():
        if name == BASE:
            continue
        ratios = sorted(ours / theirs for ours, theirs in zip(seen, base, strict=True))
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"  {name:<15} x {middle:.3f}, half of the rounds between {low:.3f} and {high:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=int, default=2, help="of one turn of requests")
    parser.add_argument("--streams", default="256@0.05", help="how many at once @ seconds between chunks")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that what was started is stopped too
    streams, pace = asked.streams.split("@")

    def ask_streams(port):
        failed = bench.streams(port, int(streams), pace)["failed"]
        if failed:
            raise SystemExit(f"{failed} streams failed")
        return int(streams) * CHUNKS_SENT

    bench = Bench(asked.python)
    try:
        bench.upstreams()
        gateways = start(bench)
        told("one request", rounds_of(gateways, asked.rounds, lambda port: bench.wrk(port, 32, asked.seconds)["requests"]))
        told("one chunk", rounds_of(gateways, asked.rounds, ask_streams))
    finally:
        bench.stop()


main()
