"""What each strategy does with a backend that turns slow, fails, or comes back: shares and tail latency over time, on a virtual clock.

    make strategies        prints the table

Three backends, of which `a` is the quickest and the cheapest. In the middle third something happens to it.
"""

import random

import pytest
import trio
from traffic import Behaviour, Reply, World, between, percentile, world

PER_S, THIRD_S = 20.0, 40.0
WINDOWS = ((0.0, 40.0), (40.0, 60.0), (60.0, 80.0), (80.0, 100.0), (100.0, 120.0))
STRATEGIES = ("weighted", "priority", "round_robin", "least_latency", "least_busy", "cheapest")
USUAL_S = {"a": 0.20, "b": 0.30, "c": 0.40}
CONFIG = "\n".join(
    f"""
[backends.{name}]
provider = "custom"
base_url = "http://{name}.test/v1"
breaker = {{ consecutive_failures = 20, failure_ratio = 0, open_s = 5 }}
health = {{ mode = "off" }}
[prices.models.of-{name}]
input_usd_per_mtok = {usd}
output_usd_per_mtok = {usd * 4}
"""
    for name, usd in (("a", 0.1), ("b", 0.2), ("c", 0.4))
) + """
[[routes]]
name = "r"
strategy = "STRATEGY"
targets = [ { backend = "a", model = "of-a" }, { backend = "b", model = "of-b" }, { backend = "c", model = "of-c" } ]
"""


def usual(name: str) -> Behaviour:
    """Log-normal, as times of answers are: most near the median, some at thrice that."""
    return lambda _now, chance: Reply(USUAL_S[name] * chance.lognormvariate(0, 0.3))


def changed(instead: Behaviour) -> Behaviour:
    """Usual but in the middle third."""
    return lambda now, chance: (instead if THIRD_S <= now < 2 * THIRD_S else usual("a"))(now, chance)


def slow(now: float, chance: random.Random) -> Reply:
    return Reply(USUAL_S["a"] * 10 * chance.lognormvariate(0, 0.3))


def failing(now: float, chance: random.Random) -> Reply:
    """Six of ten fail, and quickly: too few in a row for the breaker, and the quickest answers anybody gives."""
    return Reply(0.01, 500) if chance.random() < 0.6 else usual("a")(now, chance)


def gone(_now: float, _chance: random.Random) -> Reply:
    return Reply(0.001, 0)


def recovering(now: float, chance: random.Random) -> Reply:
    """Out of reach from the beginning to the end of the second third."""
    return (gone if now < 2 * THIRD_S else usual("a"))(now, chance)


SCENES: dict[str, Behaviour] = {"slow": changed(slow), "failing": changed(failing), "recovering": recovering}


def simulated(strategy: str, scene: str) -> World:
    """Two minutes of traffic."""
    found: list[World] = []

    async def run() -> None:
        one = world(CONFIG.replace("STRATEGY", strategy), {"a": SCENES[scene], "b": usual("b"), "c": usual("c")})
        await one.traffic(PER_S, 3 * THIRD_S)
        found.append(one)

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    return found[0]


@pytest.fixture(scope="module")
def worlds() -> dict[tuple[str, str], World]:
    return {(scene, strategy): simulated(strategy, scene) for scene in SCENES for strategy in STRATEGIES}


def share(one: World, window: tuple[float, float], backend: str = "a") -> float:
    """Of the first attempts: where the strategy sent its requests."""
    found = between(one.served, *window)
    return sum(each.attempts[0] == backend for each in found) / len(found)


def tail_s(one: World, window: tuple[float, float], at: float = 0.99) -> float:
    return percentile((each.took_s for each in between(one.served, *window)), at)


def retried(one: World, window: tuple[float, float]) -> float:
    """How many requests had to be asked more than once."""
    found = between(one.served, *window)
    return sum(len(each.attempts) > 1 for each in found) / len(found)


def test_the_table(worlds: dict[tuple[str, str], World]) -> None:
    print()
    print("share of `a` in first attempts, p99 of the answer, share of requests asked more than once; the change: 40 to 80 s")
    print(f"{'`a` is':<11}{'strategy':<14}" + "".join(f"{f'{begin:.0f}-{end:.0f} s':>22}" for begin, end in WINDOWS))
    for (scene, strategy), one in worlds.items():
        cells = (f"{share(one, each):4.0%} {tail_s(one, each):6.2f} s {retried(one, each):4.0%}" for each in WINDOWS)
        print(f"{scene:<11}{strategy:<14}" + "".join(f"{cell:>22}" for cell in cells))
    assert all(each.status == 200 for one in worlds.values() for each in one.served)


BEFORE, FALLEN, FALLEN_LATE, BACK, BACK_LATE = WINDOWS


def test_least_latency_takes_the_quickest_leaves_it_when_it_is_slow_and_finds_it_again(worlds: dict[tuple[str, str], World]) -> None:
    one = worlds["slow", "least_latency"]
    assert share(one, BEFORE) > 0.8
    assert share(one, FALLEN_LATE) < 0.1
    assert share(one, BACK_LATE) > 0.8
    assert tail_s(one, FALLEN_LATE) < tail_s(worlds["slow", "weighted"], FALLEN_LATE) / 2


def test_least_busy_spreads_and_leaves_who_is_slow(worlds: dict[tuple[str, str], World]) -> None:
    one = worlds["slow", "least_busy"]
    for name in ("a", "b", "c"):
        assert share(one, BEFORE, name) > 0.05
    assert share(one, BEFORE, "a") > share(one, BEFORE, "b") > share(one, BEFORE, "c")
    assert share(one, FALLEN_LATE) < 0.1
    assert share(one, BACK_LATE) > 0.3
    assert tail_s(one, FALLEN_LATE, 0.95) < tail_s(worlds["slow", "weighted"], FALLEN_LATE, 0.95) / 2


@pytest.mark.parametrize("strategy", ["least_latency", "least_busy"])
def test_who_fails_quickly_is_not_taken_for_quick(worlds: dict[tuple[str, str], World], strategy: str) -> None:
    one = worlds["failing", strategy]
    assert share(one, FALLEN_LATE) < share(one, BEFORE) * 0.7
    assert retried(one, FALLEN_LATE) < retried(worlds["failing", "priority"], FALLEN_LATE) * 0.7
    assert share(one, BACK_LATE) > share(one, BEFORE) * 0.7


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_who_comes_back_is_found_again_by_every_strategy(worlds: dict[tuple[str, str], World], strategy: str) -> None:
    one = worlds["recovering", strategy]
    assert share(one, FALLEN_LATE) < 0.1
    assert share(one, BACK_LATE) > 0.2


def test_cheapest_goes_by_the_price_however_slow_it_is(worlds: dict[tuple[str, str], World]) -> None:
    assert all(share(worlds["slow", "cheapest"], window) > 0.95 for window in WINDOWS)


def test_exploring_costs_few_requests(worlds: dict[tuple[str, str], World]) -> None:
    assert 1 - share(worlds["failing", "least_latency"], BEFORE) < 0.08
