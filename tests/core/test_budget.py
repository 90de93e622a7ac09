"""Budgets: periods of calendars that clocks do not follow evenly, and ceilings that nothing passes but errors of estimates."""

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from appliance.core.budget import NEVER, THRESHOLDS, Book, Period, PeriodKind, Refused, Reservation, Terms, period_at, reached

BERLIN = ZoneInfo("Europe/Berlin")
DAY, HOUR = 86_400, 3_600
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "America/St_Johns", "Africa/Cairo", "Asia/Beirut", "Asia/Kathmandu",
    "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Chatham", "America/Havana", "Asia/Gaza", "Antarctica/Troll", "Africa/Casablanca",
)  # fmt: skip


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def spell(period: Period, zone: tzinfo) -> tuple[str, str]:
    begin, end = (datetime.fromtimestamp(second, zone).strftime("%Y-%m-%d %H:%M") for second in (period.start, period.end))
    return begin, end


@pytest.mark.parametrize(("kind", "now", "begin", "end"), [
    ("day", "2026-07-14T21:59:59Z", "2026-07-14 00:00", "2026-07-15 00:00"),
    ("day", "2026-07-14T22:00:00Z", "2026-07-15 00:00", "2026-07-16 00:00"),
    ("week", "2026-07-19T21:59:59Z", "2026-07-13 00:00", "2026-07-20 00:00"),
    ("week", "2026-07-19T22:00:00Z", "2026-07-20 00:00", "2026-07-27 00:00"),
    ("month", "2026-01-31T22:59:59Z", "2026-01-01 00:00", "2026-02-01 00:00"),
    ("month", "2026-01-31T23:00:00Z", "2026-02-01 00:00", "2026-03-01 00:00"),
    ("month", "2028-02-29T12:00:00Z", "2028-02-01 00:00", "2028-03-01 00:00"),
    ("month", "2026-12-31T23:00:00Z", "2027-01-01 00:00", "2027-02-01 00:00"),
])  # fmt: skip
def test_periods_begin_at_their_zones_midnight(kind: PeriodKind, now: str, begin: str, end: str):
    assert spell(period_at(kind, at(now), BERLIN), BERLIN) == (begin, end)


@pytest.mark.parametrize(("zone", "now", "hours"), [
    ("Europe/Berlin", "2026-03-29T12:00:00Z", 23), ("Europe/Berlin", "2026-10-25T12:00:00Z", 25),
    ("America/Sao_Paulo", "2018-11-04T12:00:00Z", 23),  # its clocks skipped midnight
    ("Africa/Cairo", "2026-04-24T12:00:00Z", 23), ("Australia/Lord_Howe", "2026-10-04T00:00:00Z", 23.5),
    ("America/Havana", "2026-11-01T12:00:00Z", 25),  # they show the hour from midnight on twice
])  # fmt: skip
def test_a_day_on_which_clocks_change_is_as_long_as_it_is(zone: str, now: str, hours: float):
    period = period_at("day", at(now), ZoneInfo(zone))
    assert period.end - period.start == hours * HOUR


def test_clocks_that_skip_midnight_or_show_it_twice_begin_no_day_twice():
    toronto, st_johns = ZoneInfo("America/Toronto"), ZoneInfo("America/St_Johns")
    skipped = period_at("day", at("1919-03-31T04:45:00Z"), toronto)  # 00:45, of a day whose midnight would have been at 05:00 UTC
    assert skipped.end == period_at("day", at("1919-03-31T05:00:00Z"), toronto).start == at("1919-03-31T05:00:00Z")
    twice = [period_at("day", at(f"2006-10-29T{clock}Z"), st_johns) for clock in ("02:29:59", "02:30:00", "02:45:00", "03:15:00")]
    assert twice[0].end == twice[1].start == at("2006-10-29T02:30:00Z")
    assert twice[1] == twice[2] == twice[3]  # 00:00, then 23:15 of the day before once more, 23:45 and 00:00 again


def test_a_day_that_a_country_left_out_has_no_length_and_a_total_no_end():
    apia = ZoneInfo("Pacific/Apia")
    before, after = period_at("day", at("2011-12-30T09:59:59Z"), apia), period_at("day", at("2011-12-30T10:00:00Z"), apia)
    assert before.end == after.start
    assert spell(after, apia) == ("2011-12-31 00:00", "2012-01-01 00:00")
    assert period_at("total", at("2026-01-01T00:00:00Z"), apia) == Period(0, NEVER)


@given(st.sampled_from(["day", "week", "month"]), st.sampled_from(ZONES), st.integers(at("1990-01-01T00:00Z"), at("2045-01-01T00:00Z")))
@settings(max_examples=400)
def test_periods_follow_each_other_without_gap_or_overlap(kind: PeriodKind, name: str, now: int):
    zone = ZoneInfo(name)
    period = period_at(kind, now, zone)
    assert period.start <= now < period.end
    for moment in (period.start, (period.start + period.end) // 2, period.end - 1):
        assert period_at(kind, moment, zone) == period
    assert period_at(kind, period.end, zone).start == period.end
    assert period_at(kind, period.start - 1, zone).end == period.start
    longest = {"day": 49 * HOUR, "week": 8 * DAY, "month": 32 * DAY}[kind]
    assert 0 < period.end - period.start <= longest


@pytest.mark.parametrize("name", ZONES)
def test_every_change_of_clocks_for_fifty_years_leaves_the_periods_whole(name: str):
    zone, moment, last = ZoneInfo(name), datetime(1995, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
    while moment < last:
        following = moment + timedelta(hours=12)
        if following.astimezone(zone).utcoffset() != moment.astimezone(zone).utcoffset():
            for minute in range(-1_440, 2_880, 73):
                now = moment.timestamp() + minute * 60
                period = period_at("day", now, zone)
                assert period.start <= now < period.end
                assert period_at("day", period.end - 1, zone) == period
        moment = following


def test_a_threshold_is_reached_at_its_figure_not_just_before():
    assert [reached(spent, 1_000) for spent in (0, 499, 500, 799, 800, 949, 950, 999, 1_000, 5_000)] == [
        0, 0, 50, 50, 80, 80, 95, 95, 100, 100
    ]  # fmt: skip
    assert [reached(spent, 3) for spent in (1, 2, 3)] == [0, 50, 100]


NOW = at("2026-07-14T12:00:00Z")


def book(*terms: Terms, spent: int = 0) -> Book:
    one = Book()
    one.put(terms, lambda _scope, _start: spent, NOW)
    return one


def terms(scope: str = "a", ceiling: int = 1_000, kind: PeriodKind = "day", *, refuses: bool = True) -> Terms:
    return Terms(scope, ceiling, kind, UTC, refuses)


def reserve(book: Book, scopes: list[str], nusd: int, now: float) -> Reservation | Refused:
    reservation = Reservation(0, 0, nusd)
    return book.hold(reservation, scopes, now) or reservation


def held(given: Reservation | Refused) -> Reservation:
    assert isinstance(given, Reservation), given
    return given


def test_what_fits_exactly_goes_and_one_more_does_not():
    one = book(terms())
    first = held(reserve(one, ["a"], 600, NOW))
    held(reserve(one, ["a"], 400, NOW))
    refused = reserve(one, ["a"], 1, NOW)
    assert refused == Refused("a", 1_000, 0, 1_000, 1, int(at("2026-07-15T00:00:00Z")))
    one.settle(first, 100)
    assert isinstance(reserve(one, ["a"], 501, NOW), Refused)
    held(reserve(one, ["a"], 500, NOW))


def test_a_request_reserves_in_all_of_its_scopes_or_in_none():
    one = book(terms("tenant", 1_000), terms("key", 100))
    refused = reserve(one, ["tenant", "key"], 101, NOW)
    assert isinstance(refused, Refused)
    assert (refused.scope, refused.needed_nusd) == ("key", 101)
    assert [account.reserved_nusd for account in one.accounts.values()] == [0, 0]
    both = held(reserve(one, ["tenant", "key", "nobody-limits-this"], 100, NOW))
    assert both.periods == (("tenant", int(at("2026-07-14T00:00:00Z"))), ("key", int(at("2026-07-14T00:00:00Z"))))
    assert [account.ratio for account in one.accounts.values()] == [0.1, 1.0]


def test_what_costs_nothing_passes_a_ceiling_that_is_used_up():
    one = book(terms(), spent=5_000)
    assert isinstance(reserve(one, ["a"], 1, NOW), Refused)
    held(reserve(one, ["a"], 0, NOW))


def test_a_ceiling_that_only_warns_lets_everything_pass_and_counts_it():
    one = book(terms(refuses=False))
    warned = one.settle(held(reserve(one, ["a"], 10_000, NOW)), 3_000)
    assert [each.percent for each in warned] == [50, 80, 95, 100]
    assert one.accounts["a"].ratio == 3.0


def test_each_threshold_is_warned_of_once_a_period_in_their_order():
    one = book(terms())
    seen = [[each.percent for each in one.settle(held(reserve(one, ["a"], 0, NOW)), cost)] for cost in (499, 1, 0, 460, 39, 2, 500)]
    assert seen == [[], [50], [], [80, 95], [], [100], []]
    tomorrow = NOW + DAY
    assert [each.percent for each in one.settle(held(reserve(one, ["a"], 500, tomorrow)), 500)] == [50]


def test_the_first_refusal_near_the_end_says_that_the_ceiling_is_used_up():
    one = book(terms(), spent=940)
    far = reserve(one, ["a"], 100, NOW)
    assert isinstance(far, Refused)
    assert far.warned == ()
    one.settle(held(reserve(one, ["a"], 20, NOW)), 20)
    seen = []
    for _ in range(2):
        refused = reserve(one, ["a"], 100, NOW)
        assert isinstance(refused, Refused)
        seen.append([each.percent for each in refused.warned])
    assert seen == [[100], []]


def test_a_request_that_ends_in_a_later_period_counts_in_the_one_it_began_in():
    one = book(terms())
    late, tomorrow = held(reserve(one, ["a"], 900, NOW)), NOW + DAY
    held(reserve(one, ["a"], 1_000, tomorrow))
    assert one.settle(late, 5_000) == ()
    assert (one.accounts["a"].spent_nusd, one.accounts["a"].reserved_nusd) == (0, 1_000)


def test_a_clock_that_goes_back_begins_no_period_anew():
    one = book(terms())
    one.settle(held(reserve(one, ["a"], 1_000, NOW)), 1_000)
    assert isinstance(reserve(one, ["a"], 1, NOW - 5 * DAY), Refused)


def test_a_reservation_says_what_it_counts_against_and_nothing_where_that_is_nothing():
    one, day = book(terms()), int(at("2026-07-14T00:00:00Z"))
    first, second = held(reserve(one, ["a"], 700, NOW)), held(reserve(one, ["a", "b"], 0, NOW))
    assert (first.spent, second.spent) == ((("a", day, 700),), ())
    one.settle(first, 0)
    one.settle(second, 5)
    assert (first.spent, second.spent) == ((), (("a", day, 5),))


def test_settling_twice_counts_once():
    one = book(terms())
    reservation = held(reserve(one, ["a"], 700, NOW))
    one.settle(reservation, 400)
    assert one.settle(reservation, 400) == ()
    assert (one.accounts["a"].spent_nusd, one.accounts["a"].reserved_nusd) == (400, 0)


def test_after_a_restart_the_ledgers_figure_holds_and_old_warnings_are_not_repeated():
    asked: list[tuple[str, int]] = []
    one = Book()
    one.put([terms(kind="month")], lambda scope, start: asked.append((scope, start)) or 850, NOW)
    assert asked == [("a", int(at("2026-07-01T00:00:00Z")))]
    assert [each.percent for each in one.settle(held(reserve(one, ["a"], 150, NOW)), 149)] == [95]


def test_a_reload_keeps_what_was_used_and_takes_the_new_ceiling():
    one = book(terms(), terms("b"))
    under_way = held(reserve(one, ["a", "b"], 600, NOW))
    one.put([terms(ceiling=500)], lambda _scope, _start: 99, NOW)
    assert list(one.accounts) == ["a"]
    assert isinstance(reserve(one, ["a"], 1, NOW), Refused)
    assert [each.percent for each in one.settle(under_way, 250)] == [50]
    one.put([terms(ceiling=5_000)], lambda _scope, _start: 99, NOW)
    assert [each.percent for each in one.settle(held(reserve(one, ["a"], 0, NOW)), 2_250)] == [50]
    one.put([terms(kind="month")], lambda _scope, _start: 99, NOW)
    assert one.accounts["a"].spent_nusd == 99


class AnyBook(RuleBasedStateMachine):
    """Whatever comes: what is spent and reserved is above a ceiling by no more than what requests cost beyond their estimates."""

    def __init__(self) -> None:
        super().__init__()
        self.book = book(terms("tenant", 10_000), terms("key", 3_000), terms("warns", 10, refuses=False))
        self.now = NOW
        self.under_way: list[Reservation] = []
        self.beyond = dict.fromkeys(self.book.accounts, 0)
        self.spent = dict.fromkeys(self.book.accounts, 0)

    @rule(nusd=st.integers(0, 2_000), scopes=st.sampled_from([["tenant"], ["tenant", "key"], ["warns", "key"], ["key", "tenant", "warns"]]))
    def ask(self, nusd: int, scopes: list[str]) -> None:
        before = {scope: account.reserved_nusd for scope, account in self.book.accounts.items()}
        given = reserve(self.book, scopes, nusd, self.now)
        if isinstance(given, Refused):
            assert nusd > 0
            assert before == {scope: account.reserved_nusd for scope, account in self.book.accounts.items()}
        else:
            self.under_way.append(given)

    @rule(place=st.integers(0, 50), nusd=st.integers(0, 3_000))
    def end(self, place: int, nusd: int) -> None:
        if self.under_way:
            one = self.under_way.pop(place % len(self.under_way))
            self.book.settle(one, nusd)
            for account, start in one.parts:
                if account.period.start == start:
                    self.spent[account.terms.scope] += nusd
                    self.beyond[account.terms.scope] += max(0, nusd - one.nusd)

    @rule()
    def pass_midnight(self) -> None:
        self.now += DAY
        for account in self.book.accounts.values():
            account.roll(self.now)
        self.beyond = dict.fromkeys(self.beyond, 0)
        self.spent = dict.fromkeys(self.spent, 0)

    @invariant()
    def ceilings_hold(self) -> None:
        for scope, account in self.book.accounts.items():
            mine = (account, account.period.start)
            open_here = sum(one.nusd for one in self.under_way for part in one.parts if part == mine)
            assert account.reserved_nusd == open_here
            assert account.spent_nusd == self.spent[scope]
            if account.terms.refuses:
                assert account.spent_nusd + account.reserved_nusd <= account.terms.ceiling_nusd + self.beyond[scope]
            assert account.told in (0, *THRESHOLDS)


AnyBook.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyBook = AnyBook.TestCase
