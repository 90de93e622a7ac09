"""Strategies that learn, over real sockets: whole answers and streams, in their record and in what `explain` says."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from doors import Door, Site
from rig import chat

SLOW_S = 0.5
CONFIG = """
[backends.quick]
provider = "custom"
base_url = "{sim}"
breaker = { consecutive_failures = 0, failure_ratio = 0 }
[backends.slow]
provider = "custom"
base_url = "{sim}"
[prices.models.cheap]
input_usd_per_mtok = 0.1
output_usd_per_mtok = 0.1
[prices.models.dear]
input_usd_per_mtok = 5
output_usd_per_mtok = 5
""" + "".join(
    f"""
[[routes]]
name = "{name}"
models = ["{name}"]
strategy = "{strategy}"
targets = [
  {{ backend = "slow", model = "slow-{name}@ttft={SLOW_S}s,tps=0", label = "{slow}" }},
  {{ backend = "quick", model = "quick-{name}@ttft=0,tps=0", label = "{quick}" }},
]
"""
    for name, strategy, slow, quick in (
        ("latency", "least_latency", "s", "q"), ("busy", "least_busy", "s", "q"), ("cheapest", "cheapest", "cheap", "dear"),
        ("failing", "least_latency", "s", "q"), ("unpriced", "cheapest", "none", "dear"),
    )
)  # fmt: skip


@pytest.fixture(scope="module")
def door(place: Site) -> Door:
    return place.door("builtin")


def served(door: Door, model: str, times: int, **fields: Any) -> list[str]:
    """By whom, one request after another."""
    return [door.chat(chat(model, **fields)).headers["x-served-by"] for _ in range(times)]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_quickest_is_asked_once_it_is_known(door: Door, stream: bool) -> None:
    found = served(door, "latency", 20, stream=stream)
    assert set(found[:2]) == {"quick", "slow"}
    assert Counter(found[2:])["quick"] >= 16
    answer = door.chat(chat("latency", stream=stream))
    plan = door.record(answer)["plan"]
    assert (plan["strategy"], plan["candidates"][0]["backend"]) == ("least_latency", answer.headers["x-served-by"])
    figures = {one["backend"]: one["value"] for one in plan["seen"]["figures"]}
    assert figures["slow"] > SLOW_S * 0.9
    assert 0 < figures["quick"] < figures["slow"]


def test_the_busier_gets_fewer(door: Door) -> None:
    served(door, "busy", 2)
    with ThreadPoolExecutor(8) as pool:
        found = Counter(pool.map(lambda _: door.chat(chat("busy")).headers["x-served-by"], range(80)))
    assert found["quick"] > found["slow"]


def test_the_cheapest_is_asked_however_slow_it_is(door: Door) -> None:
    assert served(door, "cheapest", 3) == ["slow"] * 3
    plan = door.record(door.chat(chat("cheapest")))["plan"]
    figures = {one["backend"]: one["value"] for one in plan["seen"]["figures"]}
    assert 0 < figures["slow"] < figures["quick"]


def test_one_without_a_price_is_asked_last(door: Door) -> None:
    assert served(door, "unpriced", 3) == ["quick"] * 3


def test_one_that_fails_at_once_is_left_for_the_slow_one(place: Site, door: Door) -> None:
    place.sim.fault("quick-failing*", "500")
    try:
        answers = [door.chat(chat("failing")) for _ in range(12)]
    finally:
        place.sim.reset()
    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.headers["x-gateway-attempts"] == "1" for answer in answers[4:]) >= 6
