"""A token bucket on a virtual clock: what passes at once, over time, after true-ups and under other limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.bucket import NS_PER_MIN, Bucket

S = 1_000_000_000
LIMITS = st.one_of(st.integers(1, 10), st.integers(1, 10_000), st.just(10**12))


def passes(bucket: Bucket, now_ns: int, pieces: int = 1) -> bool:
    bucket.advance(now_ns)
    if bucket.wait_ns(pieces) != 0:
        return False
    bucket.take(pieces)
    return True


def wait_s(bucket: Bucket, pieces: int) -> float | None:
    wait = bucket.wait_ns(pieces)
    return None if wait is None else wait / S


@given(limit=st.integers(1, 500), asked=st.integers(0, 1_200), start_ns=st.integers(0, 10**15))
def test_of_many_at_one_instant_exactly_the_limit_passes(limit: int, asked: int, start_ns: int) -> None:
    bucket = Bucket(limit)
    assert sum(passes(bucket, start_ns) for _ in range(asked)) == min(limit, asked)


@given(limit=LIMITS, minutes=st.integers(1, 50), chop=st.integers(1, 997))
def test_over_time_exactly_the_limit_a_minute_flows_back_however_often_one_looks(limit: int, minutes: int, chop: int) -> None:
    bucket = Bucket(limit)
    for minute in range(minutes):
        assert passes(bucket, minute * NS_PER_MIN, limit)
        for look in range(1, chop):
            bucket.advance(minute * NS_PER_MIN + look * (NS_PER_MIN // chop))
        bucket.advance((minute + 1) * NS_PER_MIN - 1)
        assert bucket.wait_ns(limit) == 1
        assert bucket.left < limit


@given(limit=LIMITS, used=st.integers(1, 10_000), pieces=st.integers(1, 10_000), later_ns=st.integers(0, NS_PER_MIN))
def test_what_is_told_to_wait_passes_after_just_that_time_and_not_before(limit: int, used: int, pieces: int, later_ns: int) -> None:
    bucket = Bucket(limit)
    passes(bucket, 0, min(used, limit))
    bucket.advance(later_ns)
    wait_ns = bucket.wait_ns(pieces)
    if pieces > limit:
        assert wait_ns is None
        return
    assert wait_ns is not None
    if wait_ns:
        bucket.advance(later_ns + wait_ns - 1)
        assert bucket.wait_ns(pieces) == 1
    assert passes(bucket, later_ns + wait_ns, pieces)


@given(
    limit=st.integers(1, 300),
    steps=st.lists(st.tuples(st.integers(0, 30 * S), st.integers(1, 300), st.integers(0, 300)), max_size=40),
)
def test_in_no_stretch_of_time_more_is_used_than_the_limit_and_what_flowed_back(limit: int, steps: list[tuple[int, int, int]]) -> None:
    """Requests one after another: each takes an estimate, and is settled with less before the next one comes."""
    bucket, now_ns, used = Bucket(limit), 0, []
    for pause_ns, estimate, real in steps:
        now_ns += pause_ns
        if passes(bucket, now_ns, estimate):
            place = bucket.place
            used.append((now_ns, min(real, estimate)))
            now_ns += pause_ns // 3
            bucket.advance(now_ns)
            bucket.true_up(estimate, min(real, estimate), place)
    for first in range(len(used)):
        total = 0
        for at_ns, pieces in used[first:]:
            total += pieces
            assert total * NS_PER_MIN <= limit * NS_PER_MIN + limit * (at_ns - used[first][0])


@given(limit=st.integers(1, 200), estimates=st.lists(st.integers(1, 50), max_size=60), data=st.data())
def test_together_pass_no_more_than_would_in_turn(limit: int, estimates: list[int], data: st.DataObject) -> None:
    """At one instant: whatever order they settle in, those that passed used no more than the limit; and each that would pass in turn by
    its estimate passes again once the others have settled."""
    bucket, passed, total = Bucket(limit), [], 0
    for estimate in estimates:
        if passes(bucket, 0, estimate):
            passed.append((estimate, bucket.place))
    for estimate, place in data.draw(st.permutations(passed)):
        real = data.draw(st.integers(0, estimate))
        total += real
        bucket.true_up(estimate, real, place)
    assert total <= limit
    assert bucket.left == limit - total


def test_what_was_given_back_by_the_clock_is_not_given_back_again() -> None:
    bucket = Bucket(1000)
    assert passes(bucket, 0, 1000)  # a long stream: a minute on its way
    place = bucket.place
    assert passes(bucket, 60 * S, 1000)
    bucket.advance(60 * S)
    bucket.true_up(1000, 10, place)
    assert bucket.left == 0


def test_half_of_what_was_taken_has_flowed_off_and_the_other_half_is_given_back() -> None:
    bucket = Bucket(1000)
    assert passes(bucket, 0, 600)
    place = bucket.place
    assert passes(bucket, 0, 400)
    bucket.advance(18 * S)  # 300 of the first 600 are off
    bucket.true_up(600, 0, place)
    assert bucket.left == 600


def test_what_others_gave_back_long_ago_makes_nobody_get_back_what_the_clock_returned() -> None:
    bucket = Bucket(600)  # ten a second
    bucket.take(300)
    for second in range(10):
        bucket.advance(second * S)
        bucket.true_up(100, 5, bucket.take(100))
    bucket.advance(10 * S)
    assert bucket.left == 350
    place = bucket.take(100)
    bucket.take(250)
    bucket.advance(45 * S)
    bucket.true_up(100, 0, place)
    assert bucket.left == 350


def test_a_bucket_that_was_empty_meanwhile_gives_nothing_back() -> None:
    bucket = Bucket(600)
    first, second = bucket.take(100), bucket.take(100)
    bucket.true_up(100, 0, first)
    bucket.advance(10 * S)
    assert bucket.left == 600
    bucket.take(600)
    bucket.true_up(100, 0, second)
    assert bucket.left == 0


def test_what_is_pulled_from_a_bucket_that_was_empty_meanwhile_is_not_given_back_for_others() -> None:
    bucket, places = Bucket(10), []
    for _ in range(2):
        assert bucket.pull(0, 5) is not None
        places.append(bucket.place)
    bucket.true_up(5, 0, places[0])
    assert bucket.pull(NS_PER_MIN // 2, 1) == (10, 9, NS_PER_MIN // 10)
    bucket.true_up(5, 0, places[1])
    assert bucket.standing() == (10, 9, NS_PER_MIN // 10)


def test_more_than_was_taken_is_charged_and_at_most_one_whole_bucket_is_owed() -> None:
    bucket = Bucket(60)
    place = bucket.take(10)
    bucket.true_up(10, 70, place)
    assert (bucket.left, wait_s(bucket, 1)) == (0, 11.0)
    bucket.true_up(0, 10**9, bucket.place)
    assert wait_s(bucket, 1) == 61.0
    bucket.advance(61 * S)
    assert bucket.left == 1


@pytest.mark.parametrize("instants", [[0] * 50, [10 * S, 5 * S, 0, 10 * S], [S, S - 1]])
def test_a_clock_that_stands_still_or_goes_back_returns_nothing(instants: list[int]) -> None:
    bucket = Bucket(10, at_ns=instants[0])
    assert passes(bucket, instants[0], 10)
    assert not any(passes(bucket, at) for at in instants)


@pytest.mark.parametrize(
    ("before", "after", "used", "left", "wait"),
    [
        ("100", "200", 60, 140, 0.0),
        ("100", "50", 60, 0, 13.2),
        ("100", "50", 20, 30, 0.0),
        ("1000000", "10", 500_000, 0, 66.0),
        ("10", "1000000", 10, 999_990, 0.0),
    ],
)
def test_with_another_limit_what_was_used_stays_used(before: str, after: str, used: int, left: int, wait: float) -> None:
    bucket = Bucket(int(before))
    bucket.take(used)
    bucket.fit(int(after))
    assert (bucket.left, wait_s(bucket, 1)) == (left, wait)


def test_one_a_minute_is_one_a_minute() -> None:
    bucket = Bucket(1)
    assert [passes(bucket, at * S) for at in (0, 1, 59, 60, 61, 119, 120)] == [True, False, False, True, False, False, True]
    assert bucket.full_in_ns == NS_PER_MIN


def test_what_never_fits_is_told_apart_from_what_has_to_wait() -> None:
    bucket = Bucket(5)
    bucket.take(5)
    assert (bucket.wait_ns(5), bucket.wait_ns(6)) == (NS_PER_MIN, None)


WHATS = st.sampled_from(["pull", "undo", "true_up", "later"])
STEPS = st.tuples(st.integers(0, 2 * NS_PER_MIN), st.integers(1, 120), WHATS, st.integers(0, 120))


@given(limit=st.integers(1, 100), steps=st.lists(STEPS, max_size=20))
def test_a_pull_is_a_look_and_a_take_and_one_that_is_undone_never_was(limit: int, steps: list[tuple[int, int, str, int]]) -> None:
    pulled, plain, now_ns = Bucket(limit), Bucket(limit), 0
    running: list[tuple[int, int, int]] = []
    for later_ns, pieces, what, real in steps:
        now_ns += later_ns
        if running and real % 2:
            taken, *places = running.pop(0)
            for bucket, place in zip((pulled, plain), places, strict=True):
                bucket.true_up(taken, real, place, now_ns)
        standing = pulled.pull(now_ns, pieces)
        assert standing in (None, pulled.standing())
        if standing is not None and what == "undo":
            pulled.undo(pieces)
            plain.advance(now_ns)
        elif standing is not None:
            assert passes(plain, now_ns, pieces)
            if what == "true_up":
                pulled.true_up(pieces, real, pulled.place)
                plain.true_up(pieces, real, plain.place)
            elif what == "later":
                running.append((pieces, pulled.place, plain.place))
        else:
            assert not passes(plain, now_ns, pieces)
        assert pulled.standing() == plain.standing() == (limit, plain.left, plain.full_in_ns)


class InOrder:
    """What a bucket stands for, kept request by request: the oldest flows off first, and each gets back what is left of its own part."""

    def __init__(self, limit: int) -> None:
        self.limit, self.at_ns = limit, 0
        self.parts: list[list[int]] = []

    @property
    def used(self) -> int:
        return sum(units for (units,) in self.parts)

    def advance(self, now_ns: int) -> None:
        flowing, self.at_ns = self.limit * (now_ns - self.at_ns), now_ns
        for part in self.parts:
            gone = min(flowing, part[0])
            part[0] -= gone
            flowing -= gone

    def take(self, pieces: int) -> list[int]:
        self.parts.append([pieces * NS_PER_MIN])
        return self.parts[-1]


@given(limit=st.integers(1, 60), steps=st.lists(st.tuples(st.integers(0, NS_PER_MIN), st.booleans(), st.integers(0, 59)), max_size=40))
def test_nobody_waits_for_what_would_have_flowed_off_had_each_request_been_kept_by_itself(
    limit: int, steps: list[tuple[int, bool, int]]
) -> None:
    bucket, model, now_ns = Bucket(limit), InOrder(limit), 0
    held: list[tuple[int, int, list[int]]] = []
    for passed_ns, ends, number in steps:
        now_ns += passed_ns
        bucket.advance(now_ns)
        model.advance(now_ns)
        if ends and held:
            taken, place, part = held.pop(number % len(held))
            real = number % (taken + 1)
            bucket.true_up(taken, real, place)
            part[0] -= min(part[0], (taken - real) * NS_PER_MIN)
        else:
            pieces = 1 + number % limit
            passed = bucket.pull(now_ns, pieces) is not None
            assert passed or model.used + pieces * NS_PER_MIN > limit * NS_PER_MIN
            if passed:
                held.append((pieces, bucket.place, model.take(pieces)))
        assert bucket.used <= model.used
