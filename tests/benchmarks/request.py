"""One whole request through the gateway without sockets: its time alone, and its bytecodes by part, which no other load changes.

    make bench-request        (or: .venv/bin/python tests/benchmarks/request.py [--bare] [--judged] [--top 20])

The caller is known, limited and has a budget (`--bare`: none of these); the answer is whole and passes verbatim. With `--judged` the route
has a cache and an experiment, as in `judged.py`, and the request gains nothing by them: its count less that of a run without is
what they cost. The engine and the upstream's connection are stand-ins that cost next to nothing. Bytecodes are those that the interpreter
executes, counted by tracing; what C code does between them is in the time alone. `measure.py` has the figures that count, with everything
around it.
"""

import argparse
import gc
import hashlib
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import trio

from appliance.composition import build_supervisor
from appliance.config.loader import load
from appliance.http1.head_memory import HeadMemory
from appliance.http1.scope import request_scope
from appliance.http1.server_limits import ServerLimits
from appliance.providers import PROVIDERS
from appliance.server.public import PublicApp
from appliance.store.spending import Spending

KEY = "sk-bench-0123456789"
JSON = b"application/json"
ASKED = json.dumps({
    "model": "gpt-4o-mini", "max_tokens": 100, "temperature": 0.7,
    "messages": [{"role": "system", "content": "You are a helpful assistant."},
                 {"role": "user", "content": "Hello, how are you? Please answer in a few words and tell me about the weather."}],
}).encode()  # fmt: skip
ANSWER = json.dumps({
    "id": "chatcmpl-123", "object": "chat.completion", "created": 1700000000, "model": "gpt-4o-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello! How can I help you today?"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 19, "completion_tokens": 21, "total_tokens": 40},
}, separators=(",", ":")).encode()  # fmt: skip
HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/json\r\n"
    b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n" % (KEY.encode(), len(ASKED))
)
CONFIG = """
[server]
listen = ["unix:{folder}/public"]
[admin]
listen = "127.0.0.1:0"
[store]
path = "{folder}/ledger.db"
journal_segment_bytes = 268435456
[backends.sim]
provider = "openai"
base_url = "http://127.0.0.1:9/v1"
api_key = "x"
[[routes]]
name = "chat"
models = ["gpt-4o-mini"]
targets = [ {{ backend = "sim", model = "gpt-4o-mini" }} ]
{judged}
[tenants.bench]
{limits}
keys = [ {{ id = "bench", sha256 = "{sha256}" }} ]
"""
LIMITS = """rpm = 1000000000
tpm = 1000000000000
concurrency = 100000
budget = { usd = 1000000000, period = "month" }"""
JUDGED = """cache = { ttl_s = 600 }
[[experiments]]
name = "chat-trial"
route = "chat"
control = { backend = "sim", model = "gpt-4o-mini" }
treatment = { backend = "sim", model = "gpt-4o-mini" }
percent = 50"""
PARTS = {
    "accounts": ("gateway/a", "gateway/limits", "gateway/budget", "gateway/foreseen", "gateway/ledger", "gateway/pric", "core/b",
                 "core/claim", "core/price", "store/", "prices/"),
    "telemetry": ("telemetry/",), "languages": ("dialects/",), "engine": ("http1/",), "door": ("server/",), "trio": ("trio/",),
}  # fmt: skip
PROXY = ("gateway/attempt", "gateway/answer_head", "core/breaker")
"""Of the proxy, though the patterns of `accounts` fit."""


class Engine:
    end_reason, ends_with_connection = None, False

    def __init__(self, remembered):
        self.remembered, self.status = remembered, 0

    def whole_body(self):
        return ASKED

    def push_whole(self, status, headers, body):
        self.status = status
        return True


class Answer:
    status, reused, connect_s = 200, True, 0.0

    def __init__(self):
        self.headers = [(b"content-type", JSON), (b"content-length", b"%d" % len(ANSWER)), (b"connection", b"keep-alive")]
        self.head_at = trio.current_time()

    def whole(self):
        return ANSWER

    def close(self):
        pass


class Transport:
    holds = True

    async def send(self, request, hold=None):
        return Answer()


def gateway_of(folder, *, bare, judged):
    limits, sha256 = "" if bare else LIMITS, hashlib.sha256(KEY.encode()).hexdigest()
    text = CONFIG.format(folder=folder, limits=limits, judged=JUDGED if judged else "", sha256=sha256)
    path = Path(folder) / "config.toml"
    path.write_text(text)
    gateway = build_supervisor(load(path, env={}, providers=PROVIDERS), None, log_fd=os.open(os.devnull, os.O_WRONLY)).gateway
    unknown = tuple(gateway.accounts.budgets.unknown.values())
    gateway.accounts.budgets.take(unknown, Spending(dict.fromkeys((one.terms.scope for one in unknown), 0), (), frozenset()))
    for upstream in gateway.plan.upstreams.values():
        upstream.transport = Transport()
    return gateway


def part_of(file):
    if not file.startswith(PROXY):
        for part, starts in PARTS.items():
            if file.startswith(starts):
                return part
    return "proxy"


async def measure(folder, asked):
    gateway = gateway_of(folder, bare=asked.bare, judged=asked.judged)
    app, memory, remembered = PublicApp(gateway, None, None, True), HeadMemory(ServerLimits()), {}
    memory.read(HEAD)

    async def request():
        engine = Engine(remembered)
        scope = request_scope(memory.read(HEAD), engine, ("127.0.0.1", 5), ("127.0.0.1", 6), None)
        await app(scope, None, None)
        assert engine.status == 200

    for _ in range(200):
        await request()
    gc.collect()
    gc.freeze()
    best = float("inf")
    for _ in range(asked.rounds):  # short rounds, many of them: some find the machine quiet
        at = time.thread_time()
        for _ in range(200):
            await request()
        best = min(best, time.thread_time() - at)
    print(f"{best / 200 * 1e6:.1f} us")
    counts = Counter()

    def trace(frame, event, _):
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            file = frame.f_code.co_filename
            if not file.endswith("benchmarks/request.py"):
                counts[file.rpartition("/appliance/")[2].rpartition("site-packages/")[2], frame.f_code.co_qualname] += 1
        return trace

    sys.settrace(trace)
    for _ in range(10):
        await request()
    sys.settrace(None)
    parts = Counter()
    for (file, _), number in counts.items():
        parts[part_of(file)] += number
    print(f"{sum(counts.values()) / 10:.0f} bytecodes: " + ", ".join(f"{name} {number / 10:.0f}" for name, number in parts.most_common()))
    for (file, name), number in counts.most_common(asked.top):
        print(f"{number / 10:8.0f}  {name} ({file})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bare", action="store_true", help="without limits and budget")
    parser.add_argument("--judged", action="store_true", help="with a cache and an experiment on the route")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--top", type=int, default=20, help="functions that are listed")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trio.run(measure, folder, asked)


main()
