"""How quickly a backend answers, as its latest requests tell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.pace import FAILED_S, FORGET_S, GOOD_MIN, Pace


def used(pace: Pace, took_s: float, *, at: float, good: bool | None = True, tokens: int = 0) -> None:
    """One whole answer."""
    pace.begin(at)
    pace.end(at, at + took_s, answered=False, good=good, tokens=tokens)


def after(*took_s: float, every_s: float = 0.1) -> Pace:
    pace = Pace()
    for place, each in enumerate(took_s):
        used(pace, each, at=place * every_s)
    return pace


def test_nothing_is_known_of_who_was_never_asked():
    assert Pace().expected_s(100.0) == 0.0


def test_the_average_follows_within_twenty_requests():
    pace = after(*[1.0] * 50, *[3.0] * 25)
    assert pace.expected_s(9.0) == pytest.approx(3.0, rel=0.1)


def test_after_a_pause_one_answer_says_more_than_many_before_it():
    pace = after(*[9.0] * 50)
    used(pace, 1.0, at=20.0 + FORGET_S * 4)
    assert pace.expected_s(100.0) < 2.0


def test_a_quick_failure_is_no_quick_answer():
    pace = after(*[2.0] * 20)
    for place in range(30):
        used(pace, 0.001, at=3.0 + place / 10, good=False)
    assert pace.first_byte_s == pytest.approx(2.0)
    assert pace.expected_s(7.0) > 20.0


def test_who_only_failed_so_far_is_not_taken_for_quick():
    pace = Pace()
    used(pace, 0.001, at=0.0, good=False)
    assert pace.expected_s(1.0) >= FAILED_S / (1 - GOOD_MIN)


def test_a_stream_counts_from_its_first_byte_and_not_by_its_length():
    pace = Pace()
    pace.begin(0.0)
    pace.answered(0.0, 0.5)
    assert (pace.waiting, pace.expected_s(30.0)) == (0, 0.5)
    pace.end(0.0, 60.0, answered=True, good=True, tokens=400)
    assert (pace.expected_s(60.0), pace.answer_tokens) == (0.5, 400)


def test_a_stream_that_breaks_later_counts_as_a_failure():
    pace = after(*[0.5] * 5)
    pace.begin(10.0)
    pace.answered(10.0, 10.5)
    pace.end(10.0, 20.0, answered=True, good=False)
    assert pace.expected_s(20.0) > 0.6


def test_who_leaves_early_tells_nothing_and_who_waited_long_does():
    pace = after(*[1.0] * 20)
    used(pace, 0.2, at=5.0, good=None)
    assert pace.expected_s(6.0) == pytest.approx(1.0)
    used(pace, 9.0, at=7.0, good=None)
    assert pace.expected_s(17.0) > 1.5
    assert pace.good == 1.0


def test_requests_that_hang_are_seen_before_they_end():
    pace = after(*[0.1] * 20)
    for _ in range(5):
        pace.begin(10.0)
    assert pace.expected_s(10.1) == pytest.approx(0.1)
    assert pace.expected_s(14.0) == pytest.approx(4.0)


def test_so_are_those_of_a_backend_that_never_answered():
    pace = Pace()
    pace.begin(10.0)
    assert pace.expected_s(10.5) == 0.0
    assert pace.expected_s(13.0) == pytest.approx(3.0)


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from([True, False, None]), st.booleans()), max_size=60), st.randoms())
def test_whatever_comes_its_figures_keep_their_bounds_and_nobody_waits_for_ever(steps, chance):
    pace, now, open_ = Pace(), 0.0, []
    for took_s, good, streams in steps:
        pace.begin(now)
        begun = now
        now += took_s
        if streams:
            pace.answered(begun, now)
        open_.append((begun, streams, good))
        if chance.random() < 0.5:
            begun, streamed, outcome = open_.pop(chance.randrange(len(open_)))
            pace.end(begun, now, answered=streamed, good=outcome, tokens=3)
        assert 0.0 <= pace.good <= 1.0
        assert 0.0 <= pace.expected_s(now) <= max(now, FAILED_S) / GOOD_MIN**2 + 1
    for begun, streamed, outcome in open_:
        pace.end(begun, now, answered=streamed, good=outcome)
    assert pace.waiting == 0
