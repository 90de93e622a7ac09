"""The breaker as a table of events over time, one file with the module it proves."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.core.breaker import PROBE_GRACE, Breaker, BreakerPolicy, BreakerState

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
POLICY = BreakerPolicy(consecutive_failures=3, min_requests=10, open_s=30, half_open_max=2, successes_to_close=2)


def request(breaker: Breaker, now: float, good: bool) -> bool:
    permit = breaker.admit(now)
    if permit is None:
        return False
    (breaker.success if good else breaker.failure)(permit, now)
    return True


def opened(policy: BreakerPolicy = POLICY, at: float = 0.0) -> Breaker:
    breaker = Breaker(policy)
    for _ in range(3):
        request(breaker, at, good=False)
    assert breaker.state is OPEN
    return breaker


def test_consecutive_failures_open_it_and_one_success_starts_the_count_anew():
    breaker = Breaker(POLICY)
    for good in (False, False, True, False, False):
        request(breaker, 0, good)
    assert breaker.state is CLOSED
    request(breaker, 0, good=False)
    assert breaker.state is OPEN


def test_a_half_broken_backend_trips_the_ratio_but_not_before_the_minimum():
    breaker = Breaker(POLICY)
    for turn in range(9):
        request(breaker, turn, good=turn % 2 == 0)
    assert breaker.state is CLOSED
    request(breaker, 9, good=False)
    assert breaker.state is OPEN


def test_failures_that_left_the_window_do_not_count():
    breaker = Breaker(BreakerPolicy(consecutive_failures=0, failure_ratio=0.5, min_requests=4, window_s=10))
    for now in (0, 1, 2):
        request(breaker, now, good=False)
    for _ in range(4):
        request(breaker, 13, good=True)
    request(breaker, 13, good=False)
    assert breaker.state is CLOSED


def test_an_open_one_admits_nobody_until_it_has_rested():
    breaker = opened()
    assert not request(breaker, 29.9, good=True)
    assert not breaker.would_admit(29.9)
    assert breaker.would_admit(30)
    assert request(breaker, 30, good=True)
    assert breaker.state is HALF_OPEN


def test_half_open_lets_a_few_probes_through_and_closes_after_enough_good_ones():
    breaker = opened()
    first, second = breaker.admit(31), breaker.admit(31)
    assert first is not None
    assert second is not None
    assert breaker.admit(31) is None
    breaker.success(first, 32)
    assert breaker.state is HALF_OPEN
    breaker.success(second, 32)
    assert breaker.state is CLOSED


def test_a_failed_probe_opens_it_again_for_a_whole_rest():
    breaker = opened()
    request(breaker, 31, good=False)
    assert breaker.state is OPEN
    assert not breaker.would_admit(60)
    assert breaker.would_admit(61)


def test_an_abandoned_probe_gives_its_permit_back():
    breaker = opened()
    permits = [breaker.admit(31), breaker.admit(31)]
    assert breaker.admit(31) is None
    breaker.abandon(permits[0])
    assert breaker.admit(31) is not None


def test_an_outcome_from_before_the_breaker_moved_changes_nothing():
    breaker = Breaker(POLICY)
    slow = breaker.admit(0)
    for _ in range(3):
        request(breaker, 1, good=False)
    breaker.success(slow, 2)
    assert breaker.state is OPEN
    breaker.half_open()
    probe = breaker.admit(40)
    breaker.failure(slow, 41)
    assert breaker.state is HALF_OPEN
    breaker.abandon(probe)
    breaker.abandon(probe)  # told twice would be a bug elsewhere; here it must not wedge the count


def test_where_a_free_probe_goes_first_callers_wait_for_it_but_not_for_ever():
    breaker = opened(BreakerPolicy(consecutive_failures=3, open_s=30, probe_first=True))
    assert breaker.rested(30)
    assert not breaker.would_admit(30)
    assert breaker.would_admit(30 * PROBE_GRACE)
    breaker.half_open()
    assert breaker.would_admit(31)


@given(st.lists(st.tuples(st.floats(0, 5), st.sampled_from(["good", "bad", "abandon", "hold"])), max_size=200))
def test_whatever_happens_probes_stay_within_their_bound_and_a_quiet_breaker_recovers(events):
    breaker, now, held = Breaker(POLICY), 0.0, []
    for pause, what in events:
        now += pause
        permit = breaker.admit(now)
        if permit is None:
            continue
        if what == "hold":
            held.append(permit)
        elif what == "good":
            breaker.success(permit, now)
        elif what == "bad":
            breaker.failure(permit, now)
        else:
            breaker.abandon(permit)
        assert 0 <= breaker._probes <= POLICY.half_open_max
    for permit in held:
        breaker.abandon(permit)
    now += 31
    for _ in range(3):
        assert request(breaker, now, good=True)
    assert breaker.state is CLOSED
