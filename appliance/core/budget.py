"""Ceilings on what is spent in a period: what is reserved before a request, what it cost afterwards, and when to warn.

The rule: a request reserves in all of its scopes or in none, and belongs for ever to the periods in which it was let in. Money is in
nano-USD, times are seconds since the epoch. Whoever owns a `Book` keeps `spent` durable; nothing here waits or reads a clock.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal

import attrs

PeriodKind = Literal["day", "week", "month", "total"]

THRESHOLDS = (50, 80, 95, 100)
"""Per cent of a ceiling at which its owner is warned, each once a period."""

NEARLY_USED_UP = 95
"""Per cent spent from which on a refusal means that the ceiling is used up, and not that one request was large."""

NEVER = 2**53
"""The end of a total: later than any clock, and still exact as a float."""


@attrs.frozen
class Period:
    """From `start` to just before `end`."""

    start: int
    end: int


def period_at(kind: PeriodKind, now: float, zone: tzinfo) -> Period:
    """The period that `now` lies in: a calendar day, week (from Monday) or month of a time zone; a total is one from 0 on.

    A day begins when its zone's clock shows midnight for the first time, and where clocks skip midnight, when it would have been. So
    periods follow each other without gap or overlap, though a day may have 23 or 25 hours, or none (Samoa's 30 December 2011).
    """
    if kind == "total":
        return Period(0, NEVER)
    first = _first_day(kind, datetime.fromtimestamp(now, zone).date())
    while _midnight(first, zone) > now:  # its midnight was skipped: the day has not begun though the clock shows it
        first = _first_day(kind, first - timedelta(days=1))
    while (end := _midnight(following := _next_first_day(kind, first), zone)) <= now:
        first = following  # clocks were set back over a midnight: they show the day before again
    return Period(_midnight(first, zone), end)


def _first_day(kind: PeriodKind, day: date) -> date:
    if kind == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if kind == "month" else day


def _next_first_day(kind: PeriodKind, first: date) -> date:
    if kind == "month":
        return (first + timedelta(days=31)).replace(day=1)
    return first + timedelta(days=7 if kind == "week" else 1)


def _midnight(day: date, zone: tzinfo) -> int:
    """Of two the first (`fold` 0, PEP 495); one that is skipped is read with the offset before the gap. Offsets are whole seconds."""
    local = datetime(day.year, day.month, day.day, tzinfo=zone)
    return int(local.astimezone(UTC).timestamp())


@attrs.frozen
class Terms:
    """One ceiling.

    Attributes:
        scope: what it is for, a name of the owner's choice (`tenant:acme`).
        refuses: whether a request that does not fit is refused; else its owner is only warned.
    """

    scope: str
    ceiling_nusd: int
    kind: PeriodKind
    zone: tzinfo
    refuses: bool = True


@attrs.define(eq=False)
class Account:
    """What one scope has used of its ceiling in the running period.

    Attributes:
        spent_nusd: settled; reserved_nusd: of requests under way.
        told: the highest of THRESHOLDS that was warned of in this period, 0 for none; warns_at_nusd: spent, the next one is reached.
        most_nusd: spent and reserved, above which requests are refused; infinite where none are.
    """

    terms: Terms
    period: Period
    spent_nusd: int = 0
    reserved_nusd: int = 0
    told: int = attrs.field(default=0, init=False)
    warns_at_nusd: float = attrs.field(default=0, init=False)
    most_nusd: float = attrs.field(default=0, init=False)

    def hold(self, terms: Terms, told: int) -> None:
        """From now on these terms hold, and so much was warned of."""
        self.terms, self.told = terms, told
        self.most_nusd = terms.ceiling_nusd if terms.refuses else math.inf
        # Rounded up, so that as in `reached` 80 % is not reached just before it is.
        untold = (-(-percent * terms.ceiling_nusd // 100) for percent in THRESHOLDS if percent > told)
        self.warns_at_nusd = next(untold, math.inf)

    @property
    def ratio(self) -> float:
        """Spent and reserved over the ceiling; 1.0 is all of it."""
        return (self.spent_nusd + self.reserved_nusd) / self.terms.ceiling_nusd

    def roll(self, now: float) -> None:
        """Begin a new period if the old one is over. A clock that goes backwards begins none."""
        if now >= self.period.end:
            self.period = period_at(self.terms.kind, now, self.terms.zone)
            self.spent_nusd = self.reserved_nusd = 0
            self.hold(self.terms, 0)


@attrs.frozen
class Warned:
    """A threshold that was crossed: `percent` of the ceiling are spent."""

    scope: str
    percent: int
    spent_nusd: int
    ceiling_nusd: int
    period: Period


@attrs.frozen
class Refused:
    """Why a request may not go: it does not fit into this scope's ceiling.

    Attributes:
        resets_at: when the period ends, None for a total.
        warned: the warning that the ceiling is used up, with the first refusal that shows it.
    """

    scope: str
    ceiling_nusd: int
    spent_nusd: int
    reserved_nusd: int
    needed_nusd: int
    resets_at: int | None
    warned: tuple[Warned, ...] = ()

    def told(self, _record: object) -> dict[str, object]:
        """As `explain` shows it."""
        return {
            "limit_type": "budget", "scope": self.scope, "budget_usd": self.ceiling_nusd / 1e9, "spent_usd": self.spent_nusd / 1e9,
            "reserved_usd": self.reserved_nusd / 1e9, "needed_usd": self.needed_nusd / 1e9, "resets_at": self.resets_at,
        }  # fmt: skip


Counted = tuple[str, int, int]
"""A scope, the start of its period, and what counts there in nano-USD; see store.row.Spent."""


@attrs.define(eq=False)
class Reservation:
    """What one request may cost; once a book holds it, in each of its scopes until it is settled.

    Attributes:
        input_tokens, output_tokens: estimates; nusd: what they cost at most.
        version: the owner's, of the ceilings that were in force.
        parts: the accounts, and the start of the period of each in which it was let in.
        spent: what it counts against, for the ledger: what is reserved, and once it is settled, what it cost. Empty where that is nothing.
        open: it is to be settled yet.
    """

    input_tokens: int
    output_tokens: int
    nusd: int
    version: int = 0
    parts: Sequence[tuple[Account, int]] = ()
    spent: tuple[Counted, ...] = ()
    open: bool = True

    def told(self, _record: object) -> dict[str, object]:
        """As `explain` shows it: what the request's budgets held for it while it ran."""
        return {"reserved_usd": self.nusd / 1e9, "input_tokens": self.input_tokens, "output_tokens": self.output_tokens}

    @property
    def periods(self) -> tuple[tuple[str, int], ...]:
        """(scope, start of its period): what its cost counts against, for the ledger."""
        return tuple((account.terms.scope, start) for account, start in self.parts)


@attrs.define(eq=False)
class Book:
    """All accounts by scope."""

    accounts: dict[str, Account] = attrs.field(factory=dict)

    def put(self, terms: Iterable[Terms], spent: Callable[[str, int], int], now: float) -> None:
        """The ceilings in force from now on; accounts of others are dropped.

        An account whose kind of period and zone are the same goes on as it was. What was crossed before is not warned of again.

        Args:
            spent: what a scope has spent since the start of a period, in nano-USD, as the ledger knows it; asked for accounts that are new.
        """
        kept: dict[str, Account] = {}
        for one in terms:
            account = self.accounts.get(one.scope)
            if account is None or (account.terms.kind, account.terms.zone) != (one.kind, one.zone):
                period = period_at(one.kind, now, one.zone)
                account = Account(one, period, spent(one.scope, period.start))
                told = reached(account.spent_nusd, one.ceiling_nusd)
            elif account.terms.ceiling_nusd != one.ceiling_nusd:
                told = min(account.told, reached(account.spent_nusd, one.ceiling_nusd))
            else:
                told = account.told
            account.hold(one, told)
            kept[one.scope] = account
        self.accounts = kept

    def recall(self, scope: str, told: int) -> tuple[Warned, ...]:
        """It is known how far a scope's owner was warned in this period (the highest of THRESHOLDS). What was crossed since then is for
        the caller to tell."""
        account = self.accounts[scope]
        account.hold(account.terms, told)
        return _crossed(account, reached(account.spent_nusd, account.terms.ceiling_nusd))

    def hold(self, reservation: Reservation, scopes: Sequence[str], now: float) -> Refused | None:
        """Hold it in every scope that has an account, or in none: the first that refuses it says why. What costs nothing is never refused,
        also where a ceiling is used up."""
        nusd = reservation.nusd
        parts: list[tuple[Account, int]] = []
        counted: list[Counted] = []
        for scope in scopes:
            account = self.accounts.get(scope)
            if account is not None:
                if now >= account.period.end:
                    account.roll(now)
                reserved_nusd, start = account.reserved_nusd + nusd, account.period.start
                if nusd and account.spent_nusd + reserved_nusd > account.most_nusd:
                    for other, _ in parts:
                        other.reserved_nusd -= nusd
                    return _refused(account, nusd)
                account.reserved_nusd = reserved_nusd
                parts.append((account, start))
                counted.append((scope, start, nusd))
        reservation.parts = parts
        if nusd:
            reservation.spent = tuple(counted)
        return None

    def settle(self, reservation: Reservation, nusd: int) -> tuple[Warned, ...]:
        """Put what the request really cost (0 if nobody bills it) in the place of what was held. A second time it does nothing."""
        if not reservation.open:
            return ()
        reservation.open = False
        warned: tuple[Warned, ...] = ()
        counted: list[Counted] = []
        for account, start in reservation.parts:
            counted.append((account.terms.scope, start, nusd))
            if account.period.start != start:
                continue  # its period is over; only the ledger still counts that
            account.reserved_nusd -= reservation.nusd
            account.spent_nusd = spent_nusd = account.spent_nusd + nusd
            if spent_nusd >= account.warns_at_nusd:
                warned += _crossed(account, reached(spent_nusd, account.terms.ceiling_nusd))
        reservation.spent = tuple(counted) if nusd else ()
        return warned


def reached(spent_nusd: int, ceiling_nusd: int) -> int:
    """The highest of THRESHOLDS that is spent, 0 for none. Exact: 80 % is reached at 80 %, not just before or after."""
    found, hundredfold = 0, spent_nusd * 100
    for percent in THRESHOLDS:
        if hundredfold < percent * ceiling_nusd:
            break
        found = percent
    return found


def _crossed(account: Account, now_at: int) -> tuple[Warned, ...]:
    """Each threshold on the way to `now_at` that was not warned of; from here on they are."""
    terms, told = account.terms, account.told
    account.hold(terms, max(told, now_at))
    return tuple(
        Warned(terms.scope, percent, account.spent_nusd, terms.ceiling_nusd, account.period)
        for percent in THRESHOLDS
        if told < percent <= now_at
    )


def _refused(account: Account, nusd: int) -> Refused:
    """A refusal near the end counts as the end: estimates are high, so what is left is too little though it may never be spent."""
    terms, period = account.terms, account.period
    warned = _crossed(account, 100) if reached(account.spent_nusd, terms.ceiling_nusd) >= NEARLY_USED_UP else ()
    resets_at = None if period.end == NEVER else period.end
    return Refused(terms.scope, terms.ceiling_nusd, account.spent_nusd, account.reserved_nusd, nusd, resets_at, warned)
