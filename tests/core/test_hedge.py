"""When a second attempt is due, and how many there may be."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.core.fault import Fault, FaultKind
from appliance.core.hedge import CREDIT_MAX, WINDOW, FirstEvents, HedgePolicy, Hedging
from appliance.core.step import RetryPolicy, second, worth_another


@given(st.lists(st.floats(0, 100), min_size=1, max_size=3 * WINDOW), st.floats(0.1, 100))
def test_a_percentile_is_of_the_latest_and_as_many_were_within_it(times: list[float], percent: float) -> None:
    one = FirstEvents()
    for seconds in times:
        one.add(seconds)
    latest = sorted(times[-WINDOW:])
    found = one.percentile(percent)
    assert len(one) == len(latest)
    assert found in latest
    assert sum(each <= found for each in latest) >= len(latest) * percent / 100
    assert sum(each < found for each in latest) < max(1, len(latest) * percent / 100)


@given(st.lists(st.booleans(), max_size=2000), st.sampled_from([0.1, 1.0, 5.0, 33.0, 100.0]))
def test_no_more_are_asked_twice_than_the_share(slow: list[bool], percent: float) -> None:
    one, policy, sent = Hedging(), HedgePolicy(1.0, max_percent=percent), 0
    for number, each in enumerate(slow, 1):
        one.earn(policy)
        sent += each and one.spend()
        assert sent <= number * percent / 100 + 1e-6


def test_a_quiet_night_saves_up_a_few_only() -> None:
    one, policy = Hedging(), HedgePolicy(1.0, max_percent=5)
    for _ in range(100_000):
        one.earn(policy)
    assert sum(one.spend() for _ in range(100)) == CREDIT_MAX


def test_until_enough_is_known_the_fixed_time_counts_alone() -> None:
    one = Hedging()
    for policy, expected in ((HedgePolicy(2.0, 90, 20), 2.0), (HedgePolicy(0.0, 90, 20), None)):
        assert one.wait_s(policy, stream=True) == expected
    for number in range(100):
        one.times(stream=True).add(number / 100)
    assert one.wait_s(HedgePolicy(0.0, 90, 20), stream=True) == 0.89
    assert one.wait_s(HedgePolicy(2.0, 90, 20), stream=True) == 2.0, "never earlier than that"
    assert one.wait_s(HedgePolicy(0.5), stream=True) == 0.5
    assert one.wait_s(HedgePolicy(0.0, 90, 20), stream=False) is None, "a whole answer takes as long as it takes"


def test_who_may_be_asked_beside_another_is_who_would_be_next() -> None:
    policy = RetryPolicy(attempts=3, budget_s=30)
    assert second([False, False, True, True], policy, 1.0) == 2
    assert second([False, False], policy, 1.0) is None
    assert second([False, True], policy, 30.0) is None, "no attempt begins so late"
    assert second([False, True], RetryPolicy(attempts=1), 1.0) is None


def test_a_fault_of_the_callers_own_is_worth_no_other_attempt() -> None:
    assert not worth_another(Fault(FaultKind.INVALID_REQUEST, "x", upstream_status=400), RetryPolicy())
    assert worth_another(Fault(FaultKind.SERVER_ERROR, "x", upstream_status=500), RetryPolicy())
    assert worth_another(Fault(FaultKind.AUTHENTICATION, "x", upstream_status=401), RetryPolicy())
    assert not worth_another(Fault(FaultKind.DRAINING, "x"), RetryPolicy())
