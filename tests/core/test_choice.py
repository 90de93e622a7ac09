"""The order in which targets are asked, and the globs over model names."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.choice import (
    EXPLORE_GAP_S,
    EXPLORE_SHARE,
    Prospect,
    cheapest_order,
    least_busy_order,
    least_latency_order,
    rotated_order,
    weighted_order,
)
from appliance.core.glob import compile_globs


def test_shares_follow_the_weights():
    first = Counter(weighted_order([80, 20, 0], draw / 1000)[0] for draw in range(1000))
    assert first == {0: 800, 1: 200}


@given(st.lists(st.integers(0, 100), min_size=1, max_size=8), st.floats(0, 1, exclude_max=True))
def test_every_target_is_in_the_order_once_and_a_weightless_one_never_first(weights, draw):
    order = weighted_order(weights, draw)
    assert sorted(order) == list(range(len(weights)))
    if any(weights):
        assert weights[order[0]] > 0


def test_after_the_first_the_heaviest_come_next():
    assert weighted_order([1, 50, 30], 0.0) == [0, 1, 2]


def test_round_robin_begins_one_further_each_turn():
    assert [rotated_order(3, turn) for turn in range(4)] == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]


@pytest.mark.parametrize(
    ("patterns", "name", "expected"),
    [
        (["gpt-4o*"], "gpt-4o-mini", True),
        (["gpt-4o*"], "xgpt-4o", False),
        (["gpt-4o"], "gpt-4o-mini", False),
        (["*"], "anything/at:all", True),
        (["claude-?"], "claude-3", True),
        (["claude-?"], "claude-35", False),
        (["a", "b*c"], "bxc", True),
        (["a[b]*"], "a[b]c", True),
        (["a[b]*"], "abc", False),
        (["A*"], "abc", False),
        (["a.c"], "abc", False),
        ([], "a", False),
    ],
)
def test_globs(patterns, name, expected):
    assert compile_globs(patterns)(name) is expected


def test_a_hostile_pattern_does_not_backtrack_without_end():
    assert compile_globs(["*" * 50 + "a" + "*" * 50 + "b"])("a" * 2000) is False


def prospect(wait_s: float = 0.0, in_flight: int = 0, *, ready: bool = True, waiting: int = 0, idle_s: float = 0.0) -> Prospect:
    return Prospect(ready, wait_s, waiting, in_flight, idle_s)


NEVER = float("inf")
STEADY = 0.5
"""A draw that explores nothing."""


@pytest.mark.parametrize(
    ("prospects", "order"),
    [
        ([prospect(3), prospect(1), prospect(2)], [1, 2, 0]),
        ([prospect(1, ready=False), prospect(5), prospect(2)], [2, 1, 0]),
        # one of which nothing is known is tried once, and counts as an average one until that is answered
        ([prospect(1), prospect(0, idle_s=NEVER)], [1, 0]),
        ([prospect(1), prospect(0, waiting=1)], [0, 1]),
        ([prospect(1), prospect(3), prospect(0, waiting=1)], [0, 2, 1]),
        ([prospect(1), prospect(3), prospect(0, idle_s=1)], [0, 2, 1]),
        ([prospect(0, waiting=3), prospect(0, waiting=1)], [1, 0]),
    ],
)
def test_least_latency(prospects, order):
    assert least_latency_order(prospects, STEADY) == order


def test_exploring_asks_the_one_that_was_not_asked_for_longest_but_none_that_was_asked_just_now():
    idle = [prospect(2, idle_s=EXPLORE_GAP_S * 2), prospect(3, idle_s=EXPLORE_GAP_S * 3)]
    prospects = [prospect(1), *idle, prospect(9, ready=False, idle_s=NEVER)]
    assert least_latency_order(prospects, EXPLORE_SHARE / 2) == [2, 0, 1, 3]
    assert least_latency_order(prospects, EXPLORE_SHARE) == [0, 1, 2, 3]
    assert least_latency_order([prospect(1), prospect(2, idle_s=EXPLORE_GAP_S / 2)], 0.0) == [0, 1]


def test_of_two_at_random_the_less_loaded_is_first():
    prospects = [prospect(1, 9), prospect(1, 0), prospect(1, 4), prospect(1, 6)]
    first = Counter(least_busy_order(prospects, draw / 600, STEADY)[0] for draw in range(600))
    assert first == {1: 300, 2: 200, 3: 100}
    assert least_busy_order(prospects, 0.99, STEADY) == [3, 1, 2, 0]


def test_load_is_requests_in_flight_times_how_long_each_takes():
    assert least_busy_order([prospect(1, 5), prospect(10, 0)], 0.0, STEADY) == [0, 1]
    assert least_busy_order([prospect(1, 12), prospect(10, 0)], 0.0, STEADY) == [1, 0]


def test_the_cheapest_is_first_and_an_unknown_price_is_the_dearest():
    assert cheapest_order([1, 1, 1, 1], [30, None, 10, 0], 0.0) == [3, 2, 0, 1]
    assert cheapest_order([1, 0, 1], [30, 10, 20], 0.0) == [2, 0, 1]
    assert cheapest_order([0, 0], [30, 10], 0.0) == [1, 0]


def test_among_equals_weights_decide():
    first = Counter(cheapest_order([80, 20, 100], [5, 5, 9], draw / 1000)[0] for draw in range(1000))
    assert first[2] == 0
    assert first[0] > first[1] > 0


PROSPECTS = st.lists(
    st.builds(Prospect, st.booleans(), st.floats(0, 100), st.integers(0, 9), st.integers(0, 99), st.floats(0, 1e9)), min_size=1, max_size=7
)
DRAW = st.floats(0, 1, exclude_max=True)


@given(PROSPECTS, DRAW, DRAW)
def test_a_strategy_leaves_nobody_out_and_puts_whoever_is_ready_first(prospects, draw, explore):
    for order in (least_latency_order(prospects, explore), least_busy_order(prospects, draw, explore)):
        assert sorted(order) == list(range(len(prospects)))
        ready = [prospects[index].ready for index in order]
        assert ready == sorted(ready, reverse=True)
