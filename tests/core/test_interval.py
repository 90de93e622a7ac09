"""Intervals: against published figures, and against what they promise, by drawing samples of which the truth is known."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.interval import Tally, mean_difference, mean_interval, share_difference, share_interval, student_t


def tally(*values: float) -> Tally:
    return Tally.of(values)


@pytest.mark.parametrize(
    ("freedom", "wanted"), [(1, 12.706), (5, 2.571), (30, 2.042), (40, 2.021), (60, 2.000), (120, 1.980), (1e9, 1.960)]
)
def test_student_t_is_as_tabulated(freedom: float, wanted: float) -> None:
    assert student_t(freedom) == pytest.approx(wanted, abs=0.001)


@pytest.mark.parametrize(
    ("some", "of", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I: method 3 (Wilson's score).
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_is_as_published(some: int, of: int, low: float, high: float) -> None:
    found = share_interval(some, of)
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_newcombes_difference_is_as_published() -> None:
    # Newcombe, Statistics in Medicine 17 (1998) 873-890, table II: method 10 for 56/70 - 48/80.
    found = share_difference(56, 70, 48, 80)
    assert found is not None
    assert (found.value, found.low, found.high) == (pytest.approx(0.2), pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


def test_welchs_difference_is_as_worked_out_by_hand() -> None:
    one, other = tally(27.5, 21.0, 19.0, 23.6, 17.0, 17.9), tally(27.1, 22.0, 20.8, 23.4, 23.4, 23.5)
    found = mean_difference(one, other)
    assert found is not None
    assert one.mean is not None
    assert other.mean is not None
    spread = sum((value - 21.0) ** 2 for value in (27.5, 21.0, 19.0, 23.6, 17.0, 17.9)) / 5
    assert one.variance == pytest.approx(spread)
    assert found.value == pytest.approx(21.0 - 140.2 / 6)
    assert found.low < 0 < found.high


def test_what_cannot_be_known_is_none() -> None:
    assert mean_interval(Tally()) is None
    assert mean_interval(tally(5)) is None
    assert share_interval(0, 0) is None
    assert mean_difference(tally(1), tally(1, 2)) is None
    assert share_difference(0, 0, 1, 2) is None
    alike = mean_interval(tally(*[1.5e-6] * 9))
    assert alike is not None
    assert alike.low == alike.high
    same = mean_difference(tally(5, 5), tally(5, 5))
    assert same is not None
    assert (same.low, same.high) == (0, 0)


@given(st.lists(st.floats(0, 1e6), max_size=20), st.lists(st.floats(0, 1e6), max_size=20))
def test_two_tallies_add_up_to_the_one_of_all_values(first: list[float], second: list[float]) -> None:
    merged = tally(*first)
    merged.merge(tally(*second))
    whole = tally(*first, *second)
    assert merged.count == whole.count
    assert merged.total == pytest.approx(whole.total)
    assert merged.squares == pytest.approx(whole.squares)


@given(st.integers(0, 200), st.integers(1, 200))
def test_a_shares_interval_holds_the_share_and_stays_a_share(some: int, more: int) -> None:
    found = share_interval(some, some + more)
    assert found is not None
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    draw = random.Random(20270101)
    means = shares = differences = 0
    for _ in range(1000):
        one = tally(*(draw.lognormvariate(0, 0.5) for _ in range(100)))
        other = tally(*(draw.lognormvariate(0, 0.5) + 0.3 for _ in range(60)))
        mean, difference = mean_interval(one), mean_difference(other, one)
        share = share_interval(sum(draw.random() < 0.05 for _ in range(200)), 200)
        assert mean is not None
        assert share is not None
        assert difference is not None
        means += mean.low <= math.exp(0.125) <= mean.high
        differences += difference.low <= 0.3 <= difference.high
        shares += share.low <= 0.05 <= share.high
    assert all(920 <= held <= 980 for held in (means, shares, differences)), (means, shares, differences)
