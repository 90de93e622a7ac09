"""Percentiles out of a small histogram: near the truth, mergeable, and bounded."""

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.spread import PLACE_MAX, Spread


def spread(values: list[float]) -> Spread:
    return Spread.of(values)


@pytest.mark.parametrize("percent", [50, 95])
@pytest.mark.parametrize("middle", [1.0, 4.0, 8.0])
def test_a_percentile_is_within_a_twentieth_of_the_truth(percent: int, middle: float) -> None:
    draw = random.Random(7)
    values = [1 + draw.lognormvariate(middle, 0.7) for _ in range(5000)]
    truth = statistics.quantiles(values, n=100)[percent - 1]
    found = spread(values).percentile(percent)
    assert found is not None
    assert found.value == pytest.approx(truth, rel=0.05)
    assert found.low < found.value < found.high


def test_its_interval_holds_the_truth_in_most_samples() -> None:
    draw, held = random.Random(11), 0
    for _ in range(300):
        found = spread([draw.uniform(0, 1000) for _ in range(200)]).percentile(95)
        assert found is not None
        held += found.low <= 950 <= found.high
    assert held >= 270, held


@given(st.lists(st.floats(0, 1e12), max_size=50), st.lists(st.floats(0, 1e12), max_size=50))
def test_two_add_up_to_the_one_of_all_values_and_stay_small(first: list[float], second: list[float]) -> None:
    merged = spread(first)
    merged.merge(spread(second).counts)
    assert merged == spread(first + second)
    assert all(0 <= place <= PLACE_MAX for place in merged.counts)


def test_of_nothing_there_is_no_percentile_and_of_one_value_there_is() -> None:
    assert Spread().percentile(50) is None
    only = spread([120.0]).percentile(50)
    assert only is not None
    assert only.low <= only.value <= only.high
    assert only.value == pytest.approx(120, rel=0.1)
