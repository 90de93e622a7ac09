"""What the cheapest target is, by prices that change with time and length, that an operator set, and that nobody knows."""

import attrs
import pytest
import trio
from traffic import LANGUAGE, Reply, World, world

from appliance.core.record import RequestRecord
from appliance.dialects.protocol import ParsedRequest
from appliance.gateway.call import Call, Outlet
from appliance.gateway.ordering import ANSWER_TOKENS, ordered
from appliance.gateway.plan import Resolved
from appliance.prices.listed import read_listed

CONFIG = """
[backends.a]
provider = "custom"
base_url = "http://a.test/v1"
[backends.b]
provider = "custom"
base_url = "http://b.test/v1"
[backends.c]
provider = "custom"
base_url = "http://c.test/v1"
[[routes]]
name = "r"
strategy = "cheapest"
targets = [ { backend = "a", model = "ma" }, { backend = "b", model = "mb" }, { backend = "c", model = "mc" } ]
"""
INPUT_HEAVY, OUTPUT_HEAVY, FREE = (3.0, 1.0), (0.5, 10.0), (0.0, 0.0)


def priced(**usd: tuple[float, float]) -> World:
    """USD per million tokens in and out, by the target's letter."""
    own = "".join(
        f"[prices.models.m{name}]\ninput_usd_per_mtok = {asked}\noutput_usd_per_mtok = {made}\n" for name, (asked, made) in usd.items()
    )
    return world(CONFIG + own, dict.fromkeys("abc", None))


def listed(one: World, name: str, *prices: dict[str, object]) -> None:
    """As the price table would have it."""
    found = read_listed("x", [f"m{name}", [], [], list(prices)])
    one.plan.pricing._known["custom", f"m{name}", f"m{name}", ""] = found


def order(one: World, *, prompt: int = 1, at: float = 0.0, **more: object) -> tuple[str, list[float | None]]:
    """The targets' letters as they are to be asked, and the figures that this went by."""
    parsed = LANGUAGE.verbatim.read(b'{"model":"m","messages":[]}', "chat")
    parsed = attrs.evolve(parsed, estimate=lambda _: prompt, **more)
    resolved = one.plan.resolve("m", {}, 0)
    assert isinstance(resolved, Resolved)
    assert isinstance(parsed, ParsedRequest)
    record = RequestRecord("r", "r", 0.0, at, requested_model="m")
    call = Call(record, parsed, b"", LANGUAGE, one.plan.anonymous, b"", {}, Outlet(None, record, 0.0), lambda: None, one.plan.pricing)
    targets, seen = ordered(resolved.route, call, "m", 0.0, lambda: 0.0, lambda _: 0)
    return "".join(target.upstream.name for target in targets), list(seen[1])


async def test_the_length_of_the_prompt_and_of_the_answer_decide():
    one = priced(a=INPUT_HEAVY, b=OUTPUT_HEAVY, c=(90, 90))
    assert order(one, prompt=100_000)[0] == "bac"
    assert order(one, prompt=10)[0] == "abc"
    assert order(one, prompt=10, max_tokens=1)[0] == "bac"
    usd = [(10 * 3 + ANSWER_TOKENS) / 1e6, (10 * 0.5 + ANSWER_TOKENS * 10) / 1e6, 90 * (10 + ANSWER_TOKENS) / 1e6]
    assert order(one, prompt=10)[1] == pytest.approx(usd)


async def test_an_unknown_price_is_the_dearest_and_a_price_of_nothing_the_lowest():
    one = priced(b=(500, 500), c=FREE)
    assert order(one) == ("cba", [None, pytest.approx(500 * (1 + ANSWER_TOKENS) / 1e6), 0.0])


async def test_a_model_that_writes_more_costs_more():
    one = priced(a=(1, 2), b=(1, 1), c=(90, 90))
    assert order(one)[0] == "bac"
    for name, tokens in (("a", 100), ("b", 3000)):
        one.plan.upstreams[name].state.pace(f"m{name}", False).answer_tokens = tokens
    assert order(one)[0] == "abc"


async def test_a_price_may_depend_on_the_time():
    one = priced(b=(10, 10), c=(90, 90))
    listed(one, "a", {"usd": {"input": "20", "output": "20"}}, {"usd": {"input": "5", "output": "5"}, "daily": [3600, 7200]})
    assert order(one, at=86_400 * 9 + 5_000)[0] == "abc"
    assert order(one, at=86_400 * 9 + 9_000)[0] == "bac"


async def test_a_price_may_depend_on_the_length_of_the_prompt():
    one = priced(b=(10, 10), c=(90, 90))
    listed(one, "a", {"usd": {"input": "5", "output": "5"}, "tiers": [[1000, {"input": "20", "output": "20"}]]})
    assert order(one, prompt=1_000)[0] == "abc"
    assert order(one, prompt=1_001)[0] == "bac"


async def test_a_target_that_caps_its_answers_is_cheaper_for_it():
    one = priced(a=(1, 10), b=(1, 9), c=(90, 90))
    assert order(one)[0] == "bac"
    resolved = one.plan.routes[0]
    capped = attrs.evolve(resolved, targets=(attrs.evolve(resolved.targets[0], max_tokens=10), *resolved.targets[1:]))
    one.plan = attrs.evolve(one.plan, routes=(capped,))
    assert order(one)[0] == "abc"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("strategy", ["least_latency", "least_busy", "cheapest"])
async def test_who_leaves_at_any_time_leaves_nobody_waiting(strategy, stream, autojump_clock):
    def moody(_, chance):
        return Reply(chance.random(), chance.choice([200, 500]))

    one = world(CONFIG.replace("cheapest", strategy), dict.fromkeys("abc", moody))

    async def leaving() -> None:
        with trio.move_on_after(one.random.random() * 2):
            await one.ask(stream=stream)

    async with trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(leaving)
    states = [upstream.state for upstream in one.plan.upstreams.values()]
    assert [state.in_flight for state in states] == [0, 0, 0]
    assert [state.pace("m" + state.name, stream).waiting for state in states] == [0, 0, 0]
    assert all(state.pace("m" + state.name, stream).tried_at >= 0 for state in states if strategy != "cheapest")
