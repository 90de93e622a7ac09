"""The proxy under made-up traffic and a virtual clock.

Routing, strategies, retries and breakers are the gateway's own, from a configuration as an operator writes it; only time, chance and what
backends answer are scripted. For tests with trio's autojump clock, where an hour takes seconds.
"""

import json
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import attrs
import trio

from appliance.config.loader import Loaded, load_text
from appliance.core.record import RequestRecord
from appliance.dialects.language_table import language
from appliance.gateway.call import Call, Outlet
from appliance.gateway.live import Live
from appliance.gateway.plan import Plan, Resolved
from appliance.gateway.plan_build import build_plan
from appliance.gateway.pricing import Unpriced, make_pricing
from appliance.gateway.proxy import Proxy
from appliance.gateway.tenancy import Tenancy
from appliance.gateway.upstream import build_upstreams
from appliance.http1.asgi import Send
from appliance.http1.transport import Exchange, Failure, Hold, PoolStats, UpstreamRequest
from appliance.prices.table import PriceTable
from appliance.providers import PROVIDERS

BASE_URLS = {name: row.base_url for name, row in PROVIDERS.items()}
LANGUAGE = language("openai_chat")
USAGE = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
WHOLE = json.dumps(
    {
        "id": "x", "object": "chat.completion", "created": 1, "model": "m", "usage": USAGE,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    }
).encode()  # fmt: skip
CHUNK = b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,%b}]}\n\n'
EVENTS = [CHUNK % b'"delta":{"content":"hi"}', CHUNK % b'"delta":{},"finish_reason":"stop"' + b"data: [DONE]\n\n"]
ERROR = b'{"error":{"message":"scripted","type":"server_error"}}'


@attrs.frozen
class Reply:
    """What a backend does with one request: first byte after so many seconds; status 0 is a refused connection."""

    seconds: float
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


Behaviour = Callable[[float, random.Random], Reply]
"""From the time and chance to what a backend does."""


@attrs.define
class ScriptedExchange:
    """See http1.transport.Exchange."""

    status: int
    headers: list[tuple[bytes, bytes]]
    pieces: list[bytes]
    head_at: float
    reused: bool = True
    connect_s: float = 0.0

    def whole(self) -> bytes | None:
        return self.pieces.pop() if len(self.pieces) == 1 else None

    async def read(self) -> bytes | Failure:
        await trio.lowlevel.checkpoint()
        return self.pieces.pop(0) if self.pieces else b""

    async def pass_on(self, take: Callable[[bytes], bool]) -> bytes | Failure:
        return await self.read()

    def close(self) -> None:
        self.pieces.clear()


@attrs.define(eq=False)
class ScriptedTransport:
    """See http1.transport.Transport. asked: when, each time; cut: requests that were cancelled before they were answered."""

    behaviour: Behaviour
    random: random.Random
    holds: bool = False
    asked: list[float] = attrs.field(factory=list)
    cut: int = 0

    async def send(self, request: UpstreamRequest, hold: Hold | None = None) -> Exchange | Failure:
        self.asked.append(trio.current_time())
        reply = self.behaviour(trio.current_time(), self.random)
        try:
            await trio.sleep(reply.seconds)
        except trio.Cancelled:
            self.cut += 1
            raise
        if not reply.status:
            return Failure("connect", "scripted")
        stream = b'"stream":true' in request.body and reply.status == 200
        kind = b"text/event-stream" if stream else b"application/json"
        pieces = list(EVENTS) if stream else [WHOLE if reply.status == 200 else ERROR]
        return ScriptedExchange(reply.status, [(b"content-type", kind), *reply.headers], pieces, trio.current_time())

    def stats(self) -> PoolStats:
        return PoolStats(0, 0, 0)

    async def keep(self) -> None:
        await trio.sleep_forever()

    async def aclose(self) -> None:
        pass


@attrs.frozen
class Served:
    """One request as its caller saw it. backend: of the last attempt. attempts: all of them."""

    at: float
    took_s: float
    status: int
    backend: str
    attempts: tuple[str, ...]


@attrs.define(eq=False)
class World:
    """A proxy and its scripted backends."""

    plan: Plan
    proxy: Proxy
    transports: Mapping[str, ScriptedTransport]
    random: random.Random
    served: list[Served] = attrs.field(factory=list)

    async def ask(self, model: str = "m", *, stream: bool = False, send: Send | None = None) -> RequestRecord:
        """One request, to its end. send: gets the answer."""
        fields = {"model": model, "messages": [{"role": "user", "content": "Hello!"}], **({"stream": True} if stream else {})}
        body = json.dumps(fields, separators=(",", ":")).encode()
        assert LANGUAGE.verbatim is not None
        parsed = LANGUAGE.verbatim.read(body, "chat")
        now = trio.current_time()
        record = RequestRecord("r", "r", now, 1.7e9 + now, requested_model=model, stream=stream)
        resolved = self.plan.resolve(model, {}, 0)
        assert isinstance(resolved, Resolved), resolved
        key = self.plan.anonymous
        assert key is not None
        outlet = Outlet(send or _nowhere, record, now)
        call = Call(record, parsed, body, LANGUAGE, key, b"", {}, outlet, lambda: "client_gone", self.plan.pricing)
        record.fault = await self.proxy.serve(call, resolved)
        record.ended_at = trio.current_time()
        status = record.status if record.fault is None else record.fault.surface_status
        attempts = tuple(one.backend for one in record.attempts)
        self.served.append(Served(now, record.ended_at - now, status, record.backend, attempts))
        return record

    async def traffic(self, per_s: float, seconds: float, model: str = "m", *, stream: bool = False) -> None:
        """Requests at random times, so many a second on average, all to their ends."""
        end = trio.current_time() + seconds

        async def one() -> None:
            await self.ask(model, stream=stream)

        async with trio.open_nursery() as watch:
            watch.start_soon(self.proxy.watch)
            async with trio.open_nursery() as requests:
                while True:
                    await trio.sleep(self.random.expovariate(per_s))
                    if trio.current_time() >= end:
                        break
                    requests.start_soon(one)
            watch.cancel_scope.cancel()


async def _nowhere(_: object) -> None:
    await trio.lowlevel.checkpoint()


def world(config: str, behaviours: Mapping[str, Behaviour], seed: int = 1) -> World:
    """To be called within trio. config: TOML of which each backend must have a behaviour."""
    loaded = load_text(config, env={}, providers=BASE_URLS, folder=Path("."))
    assert isinstance(loaded, Loaded), loaded
    upstreams = build_upstreams(loaded.config.backends, {}, env={})
    assert isinstance(upstreams, dict), upstreams
    chance = random.Random(seed)
    transports = {name: ScriptedTransport(behaviours[name], random.Random(f"{seed}/{name}")) for name in upstreams}
    for name, upstream in upstreams.items():
        upstream.transport = transports[name]
    plan = build_plan(loaded.config, upstreams, make_pricing(loaded.config.prices, PriceTable(), Unpriced()), Tenancy({}, ()))
    return World(plan, Proxy(Live(), chance.random), transports, chance)


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least so many are not above; NaN of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def between(served: Sequence[Served], begin: float, end: float) -> list[Served]:
    """Requests that began in a span of time."""
    return [one for one in served if begin <= one.at < end]
