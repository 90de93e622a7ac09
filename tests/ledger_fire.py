"""A gateway under fire: requests of random cost against a small budget, a kill at a random moment, and what the store says then.

One `Fire` is one store, over any number of rounds. A round raises the ceiling (by a reload), sends many requests at once, kills the gateway
with SIGKILL while they run, starts it again, and holds the ledger against what the simulated provider saw and billed.
"""

import contextlib
import http.client
import json
import math
import random
import signal
from pathlib import Path
from typing import Any

import attrs
import trio
from ledger_reader import ledger_rows, reading, store_of
from rig import KEY, Gateway, Simulator, eventually

from appliance.config.schema import Price as OwnPrice
from appliance.core.price import NUSD, Price, cost_nusd, estimate_nusd
from appliance.core.usage import Usage
from appliance.dialects.openai_request import read_request
from appliance.dialects.protocol import ParsedRequest
from appliance.gateway.pricing import own_price

PRICE: Price = own_price(OwnPrice(input_usd_per_mtok=100.0, output_usd_per_mtok=1000.0))
ANSWER_TOKENS_MAX = 40
"""Lower than some answers, so that estimates are wrong in both directions."""

SHARE_USD = 12.0
"""What a round may spend: about a third of what its requests would."""

SCOPE = "tenant:test"
BURST_S = 60.0
LEAVING = 0.1
"""Share of callers who hang up before they have their answer, if that takes long."""

KILL_AFTER = (5, 250)
"""Answers, the least and the most, after which the gateway is killed; fewer than the budget lets pass."""


@attrs.frozen
class Asked:
    """One request: who it says it is, its bytes, what the gateway reserves for it by the documented rule, and when its caller hangs up."""

    user: str
    body: bytes = attrs.field(repr=False)
    reserved_nusd: int
    leaves_s: float


@attrs.define
class Round:
    """What one round came to, in nano-USD where it is money."""

    number: int
    ceiling: int = 0
    spent_before: int = 0
    spent: int = 0
    errors: int = 0
    peak: float = 0.0
    answered: int = 0
    refused: int = 0
    cut: int = 0
    left: int = 0
    reached: int = 0
    provider_rows: int = 0
    estimated_rows: int = 0
    recovered_rows: int = 0
    billed_tokens: int = 0

    def __str__(self) -> str:
        ceiling, spent, errors = (nusd / NUSD for nusd in (self.ceiling, self.spent, self.errors))
        callers = f"answered {self.answered:4}, refused {self.refused:4}, cut {self.cut:4}, left {self.left:3}"
        rows = f"rows: provider {self.provider_rows:4}, estimated {self.estimated_rows:3}, recovered {self.recovered_rows:4}"
        money = f"ceiling ${ceiling:.2f}, spent ${spent:.2f} (estimate errors ${errors:.2f}), peak with reservations {self.peak:.2%}"
        return f"round {self.number:2}: {callers}; provider saw {self.reached:4}, billed {self.billed_tokens:6} tokens; {rows}; {money}"


@attrs.define
class Fire:
    """Attributes:
    seed: of what requests cost and when the process is killed.
    """

    folder: Path
    simulator: Simulator
    requests: int
    seed: int
    gateway: Gateway = attrs.field(init=False)
    ceiling_usd: float = SHARE_USD
    chance: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.start()

    def start(self) -> None:
        self.gateway = Gateway(self.folder, self.config(), name="fire", store=" ")

    def config(self) -> str:
        return f"""
budget = {{ usd = {self.ceiling_usd!r}, period = "total" }}
[telemetry]
vocabularies = ["aigateway"]
[budgets]
answer_tokens_max = {ANSWER_TOKENS_MAX}
[prices.models.house]
input_usd_per_mtok = 100
output_usd_per_mtok = 1000
[backends.sim]
provider = "custom"
base_url = "{self.simulator.url}/v1"
max_concurrency = 4000
breaker = {{ consecutive_failures = 0, failure_ratio = 0 }}
[[routes]]
name = "all"
targets = [ {{ backend = "sim", label = "house" }} ]
"""

    def round(self, number: int) -> Round:
        one = Round(number, spent_before=self.spent())
        self.raise_ceiling(one)
        self.simulator.reset()
        asked = {request.user: request for request in (self.request(f"r{number}-{place}") for place in range(self.requests))}
        trio.run(self.burst, one, list(asked.values()))
        self.gateway.popen.wait()  # it was killed
        assert "Traceback" not in self.gateway.log, self.gateway.log[-3000:]
        eventually(lambda: self.simulator.stats()["in_flight"] == 0, 30)
        self.start()
        self.check(one, asked)
        return one

    def raise_ceiling(self, one: Round) -> None:
        self.ceiling_usd = round(one.spent_before / NUSD + SHARE_USD, 2)
        one.ceiling = round(self.ceiling_usd * NUSD)
        self.gateway.write_config(self.config())
        self.gateway.signal(signal.SIGHUP)
        eventually(lambda: any(event.get("event") == "reloaded" for event in self.gateway.events()), 60)

    def request(self, user: str) -> Asked:
        chance = self.chance
        tokens = chance.randint(1, 80)
        speed = f"@ttft={chance.randint(0, 400)}ms,tps={chance.choice((50, 200, 1000))}"
        words = " ".join(chance.choice(("sheep", "a", "counted", "über")) for _ in range(chance.randint(1, 60)))
        fields: dict[str, Any] = {
            "model": f"house{speed}", "user": user, "messages": [{"role": "user", "content": f"{words} [[tokens={tokens}]]"}],
        }  # fmt: skip
        if chance.random() < 0.7:
            fields["max_tokens"] = chance.randint(1, 100)
        if chance.random() < 0.5:
            fields["stream"] = True
        body = json.dumps(fields).encode()
        parsed = read_request(body, "chat")
        assert isinstance(parsed, ParsedRequest)
        bound = min(fields.get("max_tokens", ANSWER_TOKENS_MAX), ANSWER_TOKENS_MAX)
        leaves_s = chance.uniform(0.3, 3) if chance.random() < LEAVING else math.inf
        return Asked(user, body, estimate_nusd(PRICE, max(1, parsed.prompt_tokens_estimate), bound), leaves_s)

    async def burst(self, one: Round, asked: list[Asked]) -> None:
        """All of them at once; after a random number of answers the gateway is killed."""
        enough = trio.Event()
        with trio.move_on_after(BURST_S) as patience:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.watch, one)
                nursery.start_soon(self.kill, enough)
                async with trio.open_nursery() as callers:
                    last = self.chance.randint(*KILL_AFTER)
                    for request in asked:
                        callers.start_soon(self.ask, one, request, last, enough)
                enough.set()
        assert not patience.cancelled_caught, "requests hang"

    async def kill(self, enough: trio.Event) -> None:
        await enough.wait()
        await trio.sleep(self.chance.uniform(0, 0.05))
        self.gateway.popen.kill()

    async def watch(self, one: Round) -> None:
        """How far spent and reserved together went, as the gauge says while it can."""
        while self.gateway.popen.poll() is None:
            try:
                ratio = await trio.to_thread.run_sync(self.gateway.metric, 'aigateway_budget_usage_ratio{tenant_id="test"}')
                one.peak = max(one.peak, ratio)
            except (OSError, http.client.HTTPException):
                return
            await trio.sleep(0.1)

    async def ask(self, one: Round, request: Asked, last: int, enough: trio.Event) -> None:
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(request.body)}\r\nconnection: close\r\n\r\n"
        )
        answer = b""
        with contextlib.suppress(OSError, trio.BrokenResourceError), trio.move_on_after(request.leaves_s) as patience:
            stream = await trio.open_tcp_stream("127.0.0.1", self.gateway.port)
            async with stream:
                await stream.send_all(head.encode() + request.body)
                async for piece in stream:
                    answer += piece
        status = answer[9:12]
        if patience.cancelled_caught:
            one.left += 1
        elif status == b"402":
            one.refused += 1
        elif status == b"200" and (b"data: [DONE]" in answer or answer.endswith(b"}")):
            one.answered += 1
            if one.answered >= last:
                enough.set()
        else:
            assert status in (b"", b"200"), answer[:500]
            one.cut += 1

    def spent(self) -> int:
        with reading(store_of(self.gateway)) as connection:
            row = connection.execute("SELECT spent_nusd FROM spend WHERE scope = ? AND period_start = 0", (SCOPE,)).fetchone()
        return 0 if row is None else int(row[0])

    def check(self, one: Round, asked: dict[str, Asked]) -> None:
        """Everything that was promised."""
        rows = ledger_rows(store_of(self.gateway))
        one.spent = self.spent()
        assert one.spent == sum(row["cost_nusd"] for row in rows), "the budget has spent what the rows cost"
        mine = [row for row in rows if row["user"].startswith(f"r{one.number}-")]
        by_user = {row["user"]: row for row in mine}
        assert len(by_user) == len(mine), "no request is in the ledger twice"
        billed = self.billed()
        one.reached, one.billed_tokens = len(billed), sum(prompt + made for prompt, made in billed.values())
        assert billed.keys() <= by_user.keys(), "every request that the provider saw is in the ledger"
        for user, row in by_user.items():
            self.check_row(one, row, asked[user], billed.get(user))
        assert one.spent - one.spent_before == sum(row["cost_nusd"] for row in mine)
        assert one.spent <= one.ceiling + one.errors, "the ceiling is passed by no more than what estimates were too low by"
        assert one.peak * one.ceiling <= one.ceiling + one.errors + 1
        assert one.answered <= one.provider_rows + one.recovered_rows
        left = eventually(lambda: self.gateway.metric('aigateway_budget_usage_ratio{tenant_id="test"}'))
        assert abs(left * one.ceiling - one.spent) < 1_000, "nothing is reserved any more"

    def billed(self) -> dict[str, tuple[int, int]]:
        """What the provider itself counted, by user: prompt and answer."""
        seen = self.simulator.stats(last=100_000)["last"]
        return {json.loads(one["body"])["user"]: (one["prompt_tokens"], one["completion_tokens"]) for one in seen}

    def check_row(self, one: Round, row: dict[str, Any], request: Asked, billed: tuple[int, int] | None) -> None:
        if row["error_type"] == "recovered":
            one.recovered_rows += 1
            assert (row["usage_source"], row["status"], row["cost_nusd"]) == ("estimated", 0, request.reserved_nusd), row
            return
        # Whose caller hung up at once may have been on its way to the provider: an estimate, and no more than that.
        assert billed is not None or (row["error_type"], row["usage_source"]) == ("client_gone", "estimated"), row
        if row["usage_source"] == "provider":
            one.provider_rows += 1
            assert (row["input_tokens"], row["output_tokens"]) == billed, row
        else:
            one.estimated_rows += 1
            assert row["usage_source"] == "estimated", row
        assert row["cost_nusd"] == cost_nusd(PRICE, Usage(row["input_tokens"], row["output_tokens"])), row
        one.errors += max(0, row["cost_nusd"] - request.reserved_nusd)
