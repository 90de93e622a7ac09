"""The order in which targets are asked, and the globs over model names."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.choice import rotated_order, weighted_order
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
