"""The gateway against the floor, in one run: CPU per request and per streamed chunk (verbatim, translated), latency, memory, start.

    make bench        (or: .venv/bin/python tests/benchmarks/measure.py [--rounds 3] [--streams 64@0.02,256@0.05] [--json OUT])

Needs wrk and nginx (Debian: wrk, nginx-light) and taskset, and two cores that nothing else uses. The gateway runs as an operator runs it,
with keys, the access log and every metric vocabulary on. The floor (floor.py) is the least that a trio proxy can do. Ratios carry from
machine to machine, absolute figures do not.
"""

import argparse
import hashlib
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEY = "sk-bench-0123456789"
JSON_UP, SSE_UP, FLOOR, FLOOR_SSE, GATE, ADMIN = 9100, 9110, 9200, 9210, 9280, 9281
CHUNKS = 64
# The role chunk, the finish and the usage pass through as well.
CHUNKS_SENT = CHUNKS + 3
GATEWAY_CPU, LOAD_CPU = "0", "1"
# Who asks, and for a model of which backend: the verbatim pair each other one is held against, then the translated ones.
VERBATIM = ("chat", "gpt-4o")
TRANSLATED = (("messages", "llama"), ("responses", "llama"), ("gemini", "llama"), ("chat", "claude"), ("chat", "gemini"))
TRANSLATED_STREAMS, TRANSLATED_PACE = 64, "0.02"
START_S = 30

ANSWER = json.dumps(
    {
        "id": "chatcmpl-123", "object": "chat.completion", "created": 1700000000, "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello! How can I help you today? I am a simulated model "
                     "and I will reply with a few tokens."}, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 19, "completion_tokens": 21, "total_tokens": 40},
    }, separators=(",", ":"),
)  # fmt: skip
ASKED = json.dumps(
    {
        "model": "gpt-4o-mini", "max_tokens": 100, "temperature": 0.7,
        "messages": [{"role": "system", "content": "You are a helpful assistant."},
                     {"role": "user", "content": "Hello, how are you? Please answer in a few words and tell me about the weather."}],
    }
)  # fmt: skip
LUA = f"""wrk.method="POST"
wrk.headers["Content-Type"]="application/json"
wrk.headers["Authorization"]="Bearer {KEY}"
wrk.body='{ASKED}'
"""
BACKEND = """
[backends.{name}]
provider = "{provider}"
base_url = "http://127.0.0.1:{port}{prefix}"
api_key = "x"
max_concurrency = 4096
[[routes]]
name = "{name}"
models = ["{model}"]
targets = [ {{ backend = "{name}", model = "{model}" }} ]
"""
CONFIG = """
[server]
listen = ["127.0.0.1:{gate}"]
[admin]
listen = "127.0.0.1:{admin}"
[store]
path = "{state}/appliance.db"
[tenants.bench]
rpm = 1000000000
tpm = 1000000000000
concurrency = 100000
budget = {{ usd = 1000000000, period = "month" }}
keys = [ {{ id = "bench", sha256 = "{sha256}" }} ]
"""
BACKENDS = (
    ("json", "openai", JSON_UP, "/v1", "gpt-4o-mini"), ("sse", "openai", SSE_UP, "/v1", "gpt-4o"),
    ("llama", "vllm", SSE_UP, "/v1", "llama"), ("claude", "anthropic", SSE_UP, "", "claude"), ("gemini", "gemini", SSE_UP, "", "gemini"),
)  # fmt: skip
NGINX = """worker_processes 1; daemon off; pid {work}/nginx.pid; error_log {work}/nginx.err;
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {work}; proxy_temp_path {work}; fastcgi_temp_path {work};
uwsgi_temp_path {work}; scgi_temp_path {work};
server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ default_type application/json; return 200 '{answer}'; }} }} }}"""


class Bench:
    """The processes of one run."""

    def __init__(self, python):
        self.python = python
        self.work = Path(tempfile.mkdtemp(prefix="measure-"))
        self.started = []
        self.lua = self.work / "post.lua"
        self.lua.write_text(LUA)

    def start(self, name, cpu, *command):
        with (self.work / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                ["taskset", "-c", cpu, *command], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.started.append(process)
        return process

    def stop(self):
        for process in self.started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def upstreams(self):
        conf = self.work / "nginx.conf"
        conf.write_text(NGINX.format(work=self.work, port=JSON_UP, answer=ANSWER))
        self.start("nginx", LOAD_CPU, "nginx", "-c", str(conf), "-p", str(self.work))
        self.start("sse", LOAD_CPU, self.python, str(HERE / "sse_upstream.py"), str(SSE_UP), str(CHUNKS))
        for port in (JSON_UP, SSE_UP):
            wait_port(port)

    def floor(self, port, upstream, *kind):
        process = self.start(f"floor{port}", GATEWAY_CPU, self.python, str(HERE / "floor.py"), str(port), str(upstream), *kind)
        wait_port(port)
        return process

    def gateway(self, result, name="gateway", gate=GATE, admin=ADMIN, route=""):
        """Start one, `route` behind each of its routes, and see that it answers before anything is measured."""
        state = self.work / name
        state.mkdir()
        head = CONFIG.format(gate=gate, admin=admin, state=state, sha256=hashlib.sha256(KEY.encode()).hexdigest())
        (state / "config.toml").write_text(head + "".join(
            (BACKEND + route).format(name=backend, provider=provider, port=port, prefix=prefix, model=model)
            for backend, provider, port, prefix, model in BACKENDS
        ))  # fmt: skip
        begin = time.monotonic()
        process = self.start(name, GATEWAY_CPU, self.python, "-m", "appliance", "serve", "-c", str(state / "config.toml"))
        wait_port(gate)
        result["start_s"] = round(time.monotonic() - begin, 2)
        request = urllib.request.Request(
            f"http://127.0.0.1:{gate}/v1/chat/completions", method="POST", data=ASKED.encode(),
            headers={"authorization": f"Bearer {KEY}", "content-type": "application/json"},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert json.load(answer)["usage"]["total_tokens"] == 40
        result["rss_idle_mb"] = rss_mb(process.pid)
        return process

    def wrk(self, port, connections, seconds):
        out = subprocess.run(
            ["taskset", "-c", LOAD_CPU, "wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", "-s", str(self.lua),
             f"http://127.0.0.1:{port}/v1/chat/completions"], capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip
        found = re.search(r"(\d+) requests in", out)
        if not found:
            raise SystemExit(f"wrk said: {out}")
        errors = sum(int(n) for n in re.findall(r"(?:Non-2xx or 3xx responses: |connect |read |write |timeout )(\d+)", out))
        # Anchored at the line's start: the figures of "Thread Stats" can end in 50% or 99%, too.
        quantiles = {share: milliseconds(re.search(rf"^\s+{share}%\s+(\S+)", out, re.M)[1]) for share in ("50", "99")}
        return {"requests": int(found[1]), "errors": errors, "p50_ms": quantiles["50"], "p99_ms": quantiles["99"]}

    def streams(self, port, streams, pace, language="chat", model="gpt-4o"):
        out = subprocess.run(
            ["taskset", "-c", LOAD_CPU, self.python, str(HERE / "sse_load.py"), str(port), str(streams), str(CHUNKS), pace, KEY,
             language, model],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return json.loads(out.stdout) if out.stdout else {"failed": streams, "why": [out.stderr[-300:]]}


def milliseconds(text):
    return float(re.match(r"[\d.]+", text)[0]) * {"us": 0.001, "ms": 1, "s": 1000}[re.search(r"[a-z]+$", text)[0]]


def wait_port(port):
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on {port} after {START_S} s")


def cpu_s(pid):
    """User and system seconds of a process, ended threads too, to the nanosecond: /proc/PID/stat counts in steps of 10 ms, and 64 streams
    take ten of them. The clock is the one that clock_getcpuclockid(3) names (Linux: CPUCLOCK_SCHED of that process)."""
    return time.clock_gettime(((~pid) << 3) | 2)


def rss_mb(pid):
    return round(int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024, 1)


def measure_whole(bench, subjects, rounds, seconds, result):
    """32 connections for CPU per request, then one connection for added latency."""
    rows = {name: [] for name in subjects}
    for port, _ in subjects.values():
        bench.wrk(port, 32, 1)
    for _ in range(rounds):
        for name, (port, process) in subjects.items():
            before = cpu_s(process.pid)
            row = bench.wrk(port, 32, seconds)
            row["cpu_us"] = (cpu_s(process.pid) - before) * 1e6 / row["requests"]
            rows[name].append(row)
    for name, seen in rows.items():
        result[name] = {key: round(statistics.median(row[key] for row in seen), 2) for key in ("p50_ms", "p99_ms", "cpu_us")}
        result[name]["errors"] = sum(row["errors"] for row in seen)
    one = {name: [] for name in ("direct", *subjects)}
    for _ in range(rounds):
        for name in one:
            one[name].append(bench.wrk(JSON_UP if name == "direct" else subjects[name][0], 1, 2)["p50_ms"])
    median = {name: statistics.median(values) for name, values in one.items()}
    result["one_connection_p50_ms"] = {name: round(value, 3) for name, value in median.items()}
    result["added_ms_p50"] = round(median["gateway"] - median["direct"], 3)
    ratios = [ours["cpu_us"] / floors["cpu_us"] for ours, floors in zip(rows["gateway"], rows["floor"], strict=True)]
    result["cpu_ratio_json"] = round(statistics.median(ratios), 2)


def measure_streams(bench, subjects, plan, rounds, result):
    """CPU per chunk, floor and gateway in turn; the ratio is the median of the rounds, which stand beside it, lowest first."""
    result["sse"] = []
    for streams, pace in (one.split("@") for one in plan.split(",")):
        seen = {name: [] for name in subjects}
        for warm_up_first in range(rounds + 1):
            for name, (port, process) in subjects.items():
                before = cpu_s(process.pid)
                row = bench.streams(port, int(streams), pace)
                row["cpu_us_chunk"] = (cpu_s(process.pid) - before) * 1e6 / (int(streams) * CHUNKS_SENT)
                if warm_up_first:
                    seen[name].append(row)
        ratios = sorted(
            ours["cpu_us_chunk"] / floors["cpu_us_chunk"] for ours, floors in zip(seen["gateway"], seen["floor"], strict=True)
        )
        result["sse"].append({
            "streams": int(streams), "pace_s": float(pace), **{name: of_rounds(rows) for name, rows in seen.items()},
            "cpu_ratio": round(statistics.median(ratios), 2), "cpu_ratios": [round(one, 2) for one in ratios],
        })  # fmt: skip


def of_rounds(rows):
    """The median of each figure over the rounds; failures are added up."""
    numbers = [key for key, value in rows[0].items() if isinstance(value, int | float) and key not in ("failed", "streams")]
    why = [one for row in rows for one in row.get("why", [])]
    told = {key: round(statistics.median(row[key] for row in rows if key in row), 2) for key in numbers}
    return {**told, "failed": sum(row["failed"] for row in rows), **({"why": why[:3]} if why else {})}


def measure_translated(bench, gateway, rounds, result):
    """CPU per chunk that is translated, against one that passes verbatim, round by round."""
    spent = {pair: [] for pair in (VERBATIM, *TRANSLATED)}
    failed = dict.fromkeys(spent, 0)
    for warm_up_first in range(rounds + 1):
        for pair in spent:
            before = cpu_s(gateway.pid)
            failed[pair] += bench.streams(GATE, TRANSLATED_STREAMS, TRANSLATED_PACE, *pair)["failed"]
            if warm_up_first:
                spent[pair].append((cpu_s(gateway.pid) - before) * 1e6 / (TRANSLATED_STREAMS * CHUNKS_SENT))
    rows = {}
    for pair, seen in spent.items():
        ratio = statistics.median(ours / base for ours, base in zip(seen, spent[VERBATIM], strict=True))
        rows[" to ".join(pair)] = {"cpu_us_chunk": round(statistics.median(seen), 1), "ratio": round(ratio, 2), "failed": failed[pair]}
    result["translated"] = rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--streams", default="64@0.02,256@0.05", help="how many at once @ seconds between chunks")
    parser.add_argument("--only", choices=["json", "sse", "translated"])
    parser.add_argument("--json", help="also write the result to this file")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that what was started is stopped too
    result = {}
    bench = Bench(asked.python)
    try:
        bench.upstreams()
        floor, floor_sse = bench.floor(FLOOR, JSON_UP), bench.floor(FLOOR_SSE, SSE_UP, "sse")
        gateway = bench.gateway(result)
        if asked.only in (None, "json"):
            measure_whole(bench, {"floor": (FLOOR, floor), "gateway": (GATE, gateway)}, asked.rounds, asked.seconds, result)
        if asked.only in (None, "sse"):
            measure_streams(bench, {"floor": (FLOOR_SSE, floor_sse), "gateway": (GATE, gateway)}, asked.streams, asked.rounds, result)
        if asked.only in (None, "translated"):
            measure_translated(bench, gateway, asked.rounds, result)
        result["rss_after_mb"] = rss_mb(gateway.pid)
    finally:
        bench.stop()
    print(json.dumps(result, indent=1))
    if asked.json:
        Path(asked.json).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
