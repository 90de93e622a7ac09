"""The pure functions on the path of every request and every streamed chunk, each alone, in microseconds a call (best of seven).

    make bench-hot

No sockets, no event loop: what moves here moved because of its own code. Compare figures of one run on one machine only.
"""

import tempfile
import timeit
from datetime import UTC
from itertools import count

import attrs
import trio

from appliance.config.schema import Price, Store
from appliance.core.budget import Terms
from appliance.core.choice import weighted_order
from appliance.core.claim import Claim, limit_headers
from appliance.core.fault import Fault, FaultKind
from appliance.core.record import AttemptRecord, RequestRecord
from appliance.core.step import RetryPolicy, Tried, next_step
from appliance.core.usage import Usage
from appliance.dialects.openai_chat import OpenAIStreamTap, read_answer, read_request, rewrite
from appliance.dialects.protocol import Rewrite
from appliance.gateway.accounts import Accounts
from appliance.gateway.allowance import Allowances
from appliance.gateway.budgets import Budgets
from appliance.gateway.call import Call
from appliance.gateway.ledger_row import opened_of, row_of
from appliance.gateway.limits import EmbeddedLimiter, Grant
from appliance.gateway.plan import KeyPlan, Resolved
from appliance.gateway.pricing import Pricing, Unpriced, own_price
from appliance.http1.answer import frame_answer
from appliance.http1.head_memory import HeadMemory
from appliance.http1.request_head import read_head
from appliance.http1.server_limits import ServerLimits
from appliance.prices.table import PriceTable
from appliance.providers import PROVIDERS
from appliance.store.embedded import EmbeddedLedger
from appliance.store.spending import Spending
from appliance.telemetry.access import access_line, json_bytes
from appliance.telemetry.cells import Cells
from appliance.telemetry.fold import fold

REQUEST = (
    b'{"model":"gpt-4o-mini","messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":"Hello, how '
    b'are you? Please answer in a few words and tell me about the weather."}],"max_tokens":100,"temperature":0.7,"stream":true}'
)
ANSWER = (
    b'{"id":"chatcmpl-123","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":'
    b'"assistant","content":"Hello! How can I help you today?"},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,'
    b'"completion_tokens":21,"total_tokens":40}}'
)
CHUNK = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o","choices":[{"index":0,"delta":'
    b'{"content":"token "},"finish_reason":null}]}\n\n'
)
HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAuthorization: Bearer sk-012345\r\nContent-Type: application/json\r\n"
    b"Content-Length: 254\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
)
RESPONSE_HEADERS = [
    (b"x-request-id", b"5f3a-1"), (b"x-served-by", b"openai"), (b"x-gateway-model", b"gpt-4o-mini"), (b"x-gateway-attempts", b"1"),
    (b"x-gateway-overhead-ms", b"0.210"), (b"content-type", b"application/json"), (b"content-length", b"312"),
]  # fmt: skip
POLICY = RetryPolicy()
FAILED = [Tried(0, Fault(FaultKind.SERVER_ERROR, "x", upstream_status=500))]


def record():
    attempt = AttemptRecord("openai", "openai", "gpt-4o-mini", "gpt-4o-mini", 1.0, 1.4, "success", 200, usage=Usage(19, 21))
    return RequestRecord(
        "5f3a1", "5f3a1", 1.0, 1.7e9, "POST", "/v1/chat/completions", tenant="acme", key="ci", route="chat",
        requested_model="gpt-4o-mini",
        model="gpt-4o-mini", attempts=[attempt], status=200, ended_at=1.41, usage=Usage(19, 21),
    )  # fmt: skip


def framed():
    return frame_answer(
        200, RESPONSE_HEADERS, method=b"POST", http11=True, keep_alive=True, date_line=b"date: x\r\n", whole_bytes=312
    )


def limited(*claims):
    """A request of a limited caller: let in, told of, settled with fewer tokens than were taken."""
    seconds = count()
    limiter = EmbeddedLimiter(100, lambda: 1.0)

    def request():
        admitting = limiter.admit(claims, "", 150, 0, next(seconds) * 1e-4)
        try:
            admitting.send(None)
        except StopIteration as ended:
            granted = ended.value
        assert isinstance(granted, Grant)
        limit_headers(granted.requests, granted.tokens)
        granted.settle(40)

    return request


class Route:
    name = "chat"


def ledgered(folder, finished):
    """A request's two entries in the journal: made, framed, written. The writer's share is measured by `make bench-ledger`."""
    settings = Store(path=f"{folder}/bench.db", journal_segment_bytes=1 << 28)
    ledger = EmbeddedLedger(settings, lambda: 1.7e9, lambda *_, **__: None)
    assert ledger.start() is None
    resolved = Resolved(Route, "gpt-4o-mini")

    def request():
        opened = opened_of(finished, resolved, None)
        ledger.open(opened)
        ledger.settle(row_of(finished, opened, ()))

    return request


class Sim:
    name, provider = "sim", PROVIDERS["custom"]


class Target:
    upstream, model, served, max_tokens = Sim, "gpt-4o-mini", "gpt-4o-mini", None


class Wide:
    name, claims, targets, fallback, hedge, counts_tokens = "chat", (), (Target,), (), None, False


class Unsent:
    limited = None


def accounted(folder, name, finished, parsed, claims, scopes):
    """What a request settles in all: its limits, its budgets, its entries in the journal."""
    ledger = EmbeddedLedger(
        Store(path=f"{folder}/{name}.db", journal_segment_bytes=1 << 28), lambda: 1.7e9, lambda *_, **__: None
    )  # fmt: skip
    assert ledger.start() is None
    budgets = Budgets(8192, True, lambda: 1.7e9)
    budgets.fit([Terms(scope, 10**15, "month", UTC) for scope in scopes], 8192)
    budgets.take(tuple(budgets.unknown.values()), Spending(dict.fromkeys(scopes, 0), (), frozenset()))
    pricing = Pricing(PriceTable(), Unpriced(), {"gpt-4o-mini": own_price(Price(input_usd_per_mtok=0.15, output_usd_per_mtok=0.6))})
    key = KeyPlan("acme", "ci", None, bool, bool, bool, bool, True, claims, tuple(budgets.terms.values()))
    accounts, resolved = Accounts(ledger, Allowances(EmbeddedLimiter(100, lambda: 1.0), 4096), budgets), Resolved(Wide, "gpt-4o-mini")
    ids = count(10**15)

    def request():
        finished.id, finished.cost_nusd = f"{next(ids):x}", 21_000
        fresh = attrs.evolve(parsed)
        call = Call(finished, fresh, REQUEST, None, key, b"", {}, Unsent(), None, pricing)
        admitting = accounts.admit(call, resolved, call.record.started_at)
        try:
            admitting.send(None)
        except StopIteration:
            accounts.close(call)

    return request


def main():
    with tempfile.TemporaryDirectory() as folder:
        trio.run(measure, folder)


async def measure(folder):  # within trio for its clock; nothing here waits
    parsed = read_request(REQUEST, "chat")
    asked = Rewrite(model="gpt-4o", include_usage=True)
    tap = OpenAIStreamTap(hide_usage=True, event_max_bytes=1 << 24)
    for _ in range(4):
        tap.feed(CHUNK)
    tenant, key = (Claim(scope, scope, 1_000_000, 50_000_000, 1000) for scope in ("tenant", "key"))
    limits, cells, finished = ServerLimits(), Cells(), record()
    memory = HeadMemory(limits)
    work = {
        "http1: read a request head": lambda: read_head(HEAD, limits),
        "http1: read a head that repeats the last": lambda: memory.read(HEAD),
        "http1: frame an answer's head": framed,
        "dialect: read a request": lambda: read_request(REQUEST, "chat"),
        "dialect: splice model and include_usage": lambda: rewrite(REQUEST, parsed, asked),
        "dialect: tap one streamed delta": lambda: tap.feed(CHUNK),
        "dialect: read a whole answer": lambda: read_answer(ANSWER),
        "core: order two weighted targets": lambda: weighted_order([80, 20], 0.4),
        "core: first step": lambda: next_step([], [True, True], POLICY, 0.0, 0.0),
        "core: step after a fault": lambda: next_step(FAILED, [True, True], POLICY, 0.1, 0.5),
        "limits: a tenant's requests, tokens, concurrency": limited(tenant),
        "limits: the same of a tenant and a key": limited(tenant, key),
        "ledger: open and settle a request": ledgered(folder, finished),
        "accounts: admit and close, the ledger alone": accounted(folder, "plain", record(), parsed, (), ()),
        "accounts: the same with two limits and two budgets": accounted(
            folder, "full", record(), parsed, (tenant, key), ("tenant:acme", "key:acme/ci")
        ),
        "telemetry: fold a record": lambda: fold(finished, cells),
        "telemetry: access log line": lambda: json_bytes(access_line(finished)),
    }
    for name, function in work.items():
        timer = timeit.Timer(function)
        times = max(1, timer.autorange()[0] // 4)
        print(f"{name:<50} {min(timer.repeat(7, times)) / times * 1e6:8.2f} us")


main()
