"""Several keys of one backend: in turn, resting singly, and always one to ask with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.fault import Fault, FaultKind
from appliance.core.key_ring import REST_S, key_ring


def limited(retry_after_s: float | None = None) -> Fault:
    return Fault(FaultKind.UPSTREAM_RATE_LIMITED, "x", upstream_status=429, retry_after_s=retry_after_s)


UNKNOWN = Fault(FaultKind.AUTHENTICATION, "x", upstream_status=401)
FORBIDDEN = Fault(FaultKind.AUTHENTICATION, "x", upstream_status=403)
UNPAID = Fault(FaultKind.QUOTA, "x", upstream_status=429, retry_after_s=2)
BROKEN = Fault(FaultKind.SERVER_ERROR, "x", upstream_status=500)
ELSEWHERE = Fault(FaultKind.INVALID_REQUEST, "x", upstream_status=400, code="previous_response_not_found")

RESTS = [
    (limited(), REST_S), (limited(7), 7), (limited(86_400), 60), (limited(0), REST_S), (UNKNOWN, 300), (FORBIDDEN, REST_S), (UNPAID, 300),
    (BROKEN, 0), (ELSEWHERE, 0),
]  # fmt: skip


def test_keys_are_taken_in_turn():
    ring = key_ring(3, 60, 300)
    assert [ring.take(0.0) for _ in range(7)] == [1, 2, 3, 1, 2, 3, 1]


@pytest.mark.parametrize(("fault", "rest_s"), RESTS, ids=[f"{fault.kind}-{rest_s:g}" for fault, rest_s in RESTS])
def test_how_long_a_key_rests(fault, rest_s):
    ring = key_ring(2, 60, 300)
    ring.settle(1, fault, 100.0, 100.0)
    assert {ring.take(100.0 + max(0, rest_s - 0.01)) for _ in range(4)} == ({2} if rest_s else {1, 2})
    assert {ring.take(100.0 + rest_s) for _ in range(4)} == {1, 2}


def test_a_shorter_rest_does_not_end_a_longer_one():
    ring = key_ring(2, 60, 300)
    ring.settle(1, UNKNOWN, 0.0, 0.0)
    ring.settle(1, limited(1), 1.0, 1.0)
    assert {ring.take(200.0) for _ in range(4)} == {2}


def test_when_all_rest_it_is_the_one_whose_rest_ends_first_and_a_good_answer_ends_it():
    ring = key_ring(3, 60, 300)
    for number, fault in ((1, UNKNOWN), (2, limited(30)), (3, limited(50))):
        ring.settle(number, fault, 0.0, 0.0)
    assert [ring.take(1.0) for _ in range(3)] == [2, 2, 2]
    assert ring.take(1.0, tried={2}) == 3
    assert ring.take(1.0, tried={1, 2, 3}) == 2
    ring.settle(1, None, 2.0, 2.0)
    assert ring.take(2.0) == 1


def test_a_good_answer_to_what_was_asked_before_a_refusal_does_not_end_the_rest():
    ring = key_ring(2, 60, 300)
    ring.settle(1, limited(30), 4.0, 5.0)
    ring.settle(1, None, 1.0, 6.0)
    assert {ring.take(7.0) for _ in range(4)} == {2}
    ring.settle(1, None, 5.5, 8.0)
    assert {ring.take(8.0) for _ in range(4)} == {1, 2}


WORTH = [(limited(9), True), (UNKNOWN, True), (FORBIDDEN, True), (UNPAID, True), (ELSEWHERE, True), (BROKEN, False)]


@pytest.mark.parametrize(("fault", "worth"), WORTH)
def test_another_try_is_worth_it_with_a_key_that_was_not_tried_and_does_not_rest(fault, worth):
    ring = key_ring(3, 60, 300)
    assert ring.another(fault, 0.0, {1}) is worth
    assert not ring.another(fault, 0.0, {1, 2, 3})
    ring.settle(2, UNKNOWN, 0.0, 0.0)
    ring.settle(3, UNKNOWN, 0.0, 0.0)
    assert not ring.another(fault, 1.0, {1})


FAULTS = st.sampled_from([None, limited(3), UNKNOWN, FORBIDDEN, UNPAID, BROKEN])


@given(st.integers(2, 6), st.lists(st.tuples(st.floats(0, 50), FAULTS), max_size=80))
def test_whatever_comes_there_is_a_key_and_a_rested_one_goes_before_one_that_rests(count, steps):
    ring, now = key_ring(count, 60, 300), 0.0
    for passed_s, fault in steps:
        now += passed_s
        free = {number for number, key in enumerate(ring.keys, 1) if not key.rests(now)}
        number = ring.take(now)
        assert 1 <= number <= count
        assert not free or number in free
        ring.settle(number, fault, now, now)
    assert sum(key.requests for key in ring.keys) == len(steps)
