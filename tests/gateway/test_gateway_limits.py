"""The embedded limiter on a virtual clock: all or nothing over several claims, users, reloads, and what is told of it."""

import math
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.schema import Limits
from appliance.config.tenancy import Tenant
from appliance.core.claim import Claim, Refusal, claims_of, limit_headers
from appliance.gateway.limits import EmbeddedLimiter, Grant

T = TypeVar("T")
TENANT = Claim("tenant", "acme", rpm=10, tpm=1000, concurrency=3)
KEY = Claim("key", "ci", rpm=4)
EACH_USER = Claim("user", "chat", rpm=2)
FULL = (10, 10, 0)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """A limiter and its clock; `ask` is one request."""

    def __init__(self, users_max: int = 100) -> None:
        self.clock = Clock()
        self.limiter = EmbeddedLimiter(users_max, self.clock)

    def ask(self, *claims: Claim, user: str = "u", tokens: int = 0, spare: int = 0) -> Grant | Refusal:
        return at_once(self.limiter.admit(claims, user, tokens, spare, self.clock.now))

    def wait(self, *claims: Claim, user: str = "u") -> Grant | Refusal:
        """One that asks for a place alone."""
        return at_once(self.limiter.take_place(claims, user, self.clock.now))

    def granted(self, *claims: Claim, **more: Any) -> Grant:
        answer = self.ask(*claims, **more)
        assert isinstance(answer, Grant), answer
        return answer

    def refused(self, *claims: Claim, **more: Any) -> Refusal:
        answer = self.ask(*claims, **more)
        assert isinstance(answer, Refusal), answer
        return answer


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of something that must not wait."""
    try:
        work.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    raise AssertionError("it waited")


def test_who_has_no_limit_makes_no_claim() -> None:
    assert claims_of("tenant", "acme", Tenant()) == ()
    assert claims_of("tenant", "acme", Tenant(tpm=5)) == (Claim("tenant", "acme", tpm=5),)


@given(
    asks=st.lists(st.tuples(st.sampled_from([(TENANT,), (KEY,), (TENANT, KEY), (TENANT, EACH_USER)]), st.integers(0, 400)), max_size=40)
)
def test_a_refused_request_has_consumed_nothing_of_any_limit(asks: list[tuple[tuple[Claim, ...], int]]) -> None:
    desk, used = Desk(), {"tenant": [0, 0, 0], "key": [0], "user": [0]}
    for claims, tokens in asks:
        scopes = {claim.scope for claim in claims}
        fits = (
            ("tenant" not in scopes or (used["tenant"][0] < 10 and used["tenant"][1] + tokens <= 1000 and used["tenant"][2] < 3))
            and ("key" not in scopes or used["key"][0] < 4)
            and ("user" not in scopes or used["user"][0] < 2)
        )
        assert isinstance(desk.ask(*claims, tokens=tokens), Grant) == fits
        if fits:
            for scope in scopes:
                used[scope][0] += 1
            if "tenant" in scopes:
                used["tenant"][1] += tokens
                used["tenant"][2] += 1


def test_a_refusal_names_the_limit_that_makes_one_wait_longest_and_the_time_told_is_enough() -> None:
    desk = Desk()
    for _ in range(4):
        desk.granted(TENANT, KEY, tokens=240).settle(240)
    refusal = desk.refused(TENANT, KEY, tokens=500)  # its key alone would let it pass after 15 s
    assert (refusal.claim, refusal.kind, refusal.limit, refusal.wait_s) == (TENANT, "tokens", 1000, 27.6)
    assert refusal.message == "the limit of 1000 tokens per minute for the tenant 'acme' is reached; try again in 28 s"
    desk.clock.now += 27.5
    assert isinstance(desk.ask(TENANT, KEY, tokens=500), Refusal)
    desk.clock.now += 0.5
    desk.granted(TENANT, KEY, tokens=500)
    refusal = desk.refused(KEY)
    assert (refusal.kind, refusal.limit, refusal.claim.scope) == ("requests", 4, "key")


def test_what_can_never_pass_says_so_and_is_not_told_to_wait_for_ever() -> None:
    refusal = Desk().refused(TENANT, tokens=1001)
    assert math.isinf(refusal.wait_s)
    assert not refusal.passes_later
    assert "1001 tokens" in refusal.message
    assert "can never" in refusal.message
    assert refusal.retry_after_s == 60


def test_places_are_given_back_once_however_often_a_request_ends() -> None:
    desk = Desk()
    grants = [desk.granted(TENANT) for _ in range(3)]
    assert desk.refused(TENANT).kind == "concurrency"
    assert desk.refused(TENANT).retry_after_s == 1
    for _ in range(3):
        grants[0].settle(0)
        grants[0].release()
    desk.granted(TENANT)
    assert desk.refused(TENANT).kind == "concurrency"


def test_who_waits_has_a_place_and_nothing_else() -> None:
    desk = Desk()
    running = [desk.granted(TENANT, KEY, tokens=100), desk.wait(TENANT, KEY), desk.wait(TENANT, EACH_USER)]
    assert all(isinstance(one, Grant) for one in running)
    refusal = desk.wait(TENANT, KEY)
    assert isinstance(refusal, Refusal)
    assert (refusal.claim, refusal.kind, refusal.retry_after_s) == (TENANT, "concurrency", 1)
    told = [None if figures is None else figures[:2] for figures in (refusal.requests, refusal.tokens)]
    assert told == [(4, 3), (1000, 900)], "as the limits stand, those of one request taken"
    assert desk.refused(TENANT).kind == "concurrency"
    for one in running[1:]:
        one.settle(0)
        one.settle(0)
    left = desk.granted(KEY).requests
    assert left is not None
    assert left[1] == 2, "waiting counted as no request"
    assert [holder.running for holder in desk.limiter.holders.values()] == [1, 2]
    assert desk.limiter.users["user:chat\0u"].running == 0


def test_a_place_that_one_of_several_limits_has_not_is_taken_from_none() -> None:
    desk = Desk()
    narrow = Claim("key", "narrow", concurrency=1)
    desk.wait(narrow)
    assert isinstance(desk.wait(TENANT, narrow), Refusal)
    assert [isinstance(desk.wait(TENANT), Grant) for _ in range(4)] == [True, True, True, False]


def test_a_released_request_leaves_every_limit_as_it_was() -> None:
    desk = Desk()
    for _ in range(50):
        desk.granted(TENANT, KEY, tokens=900, spare=50).release()
    grant = desk.granted(TENANT)
    assert (grant.requests, grant.tokens) == ((10, 9, 6_000_000_000), (1000, 1000, 0))


def test_tokens_are_trued_up_both_ways() -> None:
    desk = Desk()
    desk.granted(TENANT, tokens=600).settle(100)
    desk.granted(TENANT, tokens=900).settle(950)
    refusal = desk.refused(TENANT, tokens=1)
    assert refusal.kind == "tokens"
    assert refusal.wait_s == pytest.approx(3.06)  # 100 + 950 of 1000, and one more


def test_what_is_trued_up_later_is_so_at_that_time() -> None:
    desk = Desk()
    grant = desk.granted(TENANT, tokens=100)
    desk.clock.now += 60
    grant.settle(600)
    assert desk.granted(TENANT).tokens == (1000, 500, 30_000_000_000)


def test_of_what_took_no_tokens_none_are_counted() -> None:
    desk = Desk()
    desk.granted(TENANT, tokens=0).settle(50)
    assert desk.granted(TENANT).tokens == (1000, 1000, 0)


def test_a_request_that_is_refused_for_its_tokens_is_none() -> None:
    desk, one = Desk(), Claim("tenant", "acme", rpm=3, tpm=100)
    for _ in range(10):
        desk.refused(one, tokens=101)
    assert [desk.granted(one, tokens=1).requests for _ in range(3)] == [(3, 2, 2 * 10**10), (3, 1, 4 * 10**10), (3, 0, 6 * 10**10)]


def test_tokens_are_told_as_they_stand_now_whatever_of_a_request_was_looked_at() -> None:
    one, places, several = (Claim("tenant", name, rpm=rpm, tpm=60, concurrency=1) for name, rpm in (("a", 1), ("b", 9), ("c", 9)))
    for claim, settled in ((one, True), (places, False), (several, True)):
        desk = Desk()
        grant = desk.granted(claim, tokens=60)
        if settled:
            grant.settle(60)
        desk.clock.now += 30
        assert desk.ask(claim, tokens=0).tokens == (60, 30, 30_000_000_000)


def test_of_an_answer_without_a_bound_what_is_there_is_taken_and_comes_back() -> None:
    desk = Desk()
    first = desk.granted(TENANT, tokens=10, spare=4096)
    assert first.tokens == (1000, 0, 60_000_000_000)
    assert desk.refused(TENANT, tokens=10, spare=4096).kind == "tokens"
    first.settle(40)
    assert desk.granted(TENANT, tokens=10, spare=500).tokens == (1000, 450, 33_000_000_000)


def test_each_user_has_a_bucket_and_further_ones_share_one() -> None:
    desk = Desk(users_max=2)
    for user in ("a", "b"):
        assert [isinstance(desk.ask(EACH_USER, user=user), Grant) for _ in range(3)] == [True, True, False]
    assert [isinstance(desk.ask(EACH_USER, user=user), Grant) for user in ("c", "d", "e")] == [True, True, False]
    desk.clock.now += 3600
    assert isinstance(desk.ask(EACH_USER, user="f"), Grant)


def test_the_number_of_users_stays_bounded_and_who_used_nothing_lately_is_forgotten() -> None:
    desk = Desk(users_max=50)
    for number in range(500):
        answer = desk.ask(EACH_USER, user=f"u{number}")
        if isinstance(answer, Grant):
            answer.settle(0)
        assert len(desk.limiter.users) <= 50
        desk.clock.now += 0.01
    desk.clock.now += 60
    for number in range(20):
        desk.granted(EACH_USER, user=f"v{number}")
    assert len(desk.limiter.users) == 20


def test_who_still_has_a_request_on_its_way_is_not_forgotten() -> None:
    desk = Desk()
    one = Claim("user", "chat", concurrency=1)
    running = desk.granted(one, user="slow")
    desk.clock.now += 3600
    for number in range(50):
        desk.granted(one, user=f"u{number}").settle(0)
    assert desk.refused(one, user="slow").kind == "concurrency"
    running.settle(0)
    desk.granted(one, user="slow")


def test_users_of_two_routes_do_not_share_a_bucket() -> None:
    desk, other = Desk(), Claim("user", "code", rpm=2)
    assert [isinstance(desk.ask(one), Grant) for one in (EACH_USER, EACH_USER, other, other, other)] == [True] * 4 + [False]


@pytest.mark.parametrize(("rpm", "passing"), [(20, 14), (8, 2), (6, 0), (2, 0)])
def test_a_reload_changes_the_limit_and_what_was_used_stays_used(rpm: int, passing: int) -> None:
    desk, before, after = Desk(), Claim("tenant", "acme", rpm=10, concurrency=100), Claim("tenant", "acme", rpm=rpm, concurrency=100)
    for _ in range(6):
        desk.granted(before)
    assert sum(isinstance(desk.ask(after), Grant) for _ in range(30)) == passing


def test_a_reload_counts_requests_that_were_under_way_and_bounds_users_anew() -> None:
    desk = Desk()
    for _ in range(3):
        desk.granted(TENANT)
    assert desk.refused(Claim("tenant", "acme", concurrency=2)).limit == 2
    desk.limiter.fit(Limits(users_max=0))
    assert [isinstance(desk.ask(EACH_USER, user=user), Grant) for user in "abc"] == [True, True, False]


def test_the_headers_tell_of_the_tightest_limit_of_each_kind() -> None:
    grant = Desk().granted(TENANT, KEY, Claim("route", "chat", tpm=500), tokens=100)
    assert dict(limit_headers(grant.requests, grant.tokens)) == {
        b"x-ratelimit-limit-requests": b"4", b"x-ratelimit-remaining-requests": b"3", b"x-ratelimit-reset-requests": b"15",
        b"x-ratelimit-limit-tokens": b"500", b"x-ratelimit-remaining-tokens": b"400", b"x-ratelimit-reset-tokens": b"12",
    }  # fmt: skip
    assert limit_headers(None, None) == []


OPERATIONS = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, 2), st.integers(0, 1200)),
    st.tuples(st.just("take a place"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("settle"), st.integers(0, 9), st.integers(0, 1500)),
    st.tuples(st.just("release"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 40), st.just(0)),
)


@given(operations=st.lists(OPERATIONS, max_size=80))
def test_whatever_comes_between_places_are_exact_and_all_is_free_again_in_the_end(operations: list[tuple[str, int, int]]) -> None:
    desk, running, requests, places = Desk(), [], [], []
    sets = [(TENANT,), (TENANT, KEY), (TENANT, EACH_USER)]
    for what, number, tokens in operations:
        if what == "ask":
            answer = desk.ask(*sets[number], tokens=tokens)
            assert isinstance(answer, Refusal) or len(running) < 3
            if isinstance(answer, Grant):
                running.append(answer)
                requests.append(desk.clock.now)
        elif what == "take a place":
            answer = desk.wait(*sets[number])
            assert isinstance(answer, Grant) == (len(running) < 3)
            if isinstance(answer, Grant):
                running.append(answer)
                places.append(answer)
        elif what == "wait":
            desk.clock.now += number
        elif number < len(running):
            ended = running.pop(number)
            if what == "settle" or ended in places:
                ended.settle(0 if ended in places else tokens)
            else:
                ended.release()
                requests.clear()  # which of them it was does not matter: those that follow are held to the limit anew
        assert sum(desk.clock.now - at < 1e-9 for at in requests) <= 10
        holders = [*desk.limiter.holders.values(), *desk.limiter.users.values()]
        assert all(holder.requests.used >= 0 and holder.tokens.used >= 0 for holder in holders)
        assert all(holder.running == len(running) for holder in holders if holder.claim is TENANT)
    for one in running:
        one.settle(0)
    desk.clock.now += 121
    now_ns = int(desk.clock.now * 1e9)
    assert all(holder.idle(now_ns) for holder in (*desk.limiter.holders.values(), *desk.limiter.users.values()))
    assert [isinstance(desk.ask(TENANT), Grant) for _ in range(4)] == [True, True, True, False]
