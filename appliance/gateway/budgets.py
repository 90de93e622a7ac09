"""Budgets of tenants and keys: what a request reserves before a backend sees it, what it cost afterwards, and who hears of it.

The rule: nothing waits here, so that requests at once pass no more than they would in turn; only the first requests after a budget is new
wait until it is known what its period has cost so far. What a request costs counts in the period it began in, for every budget that is in
force when it ends: also for one that was not when it began.
"""

from collections.abc import Callable, Iterable
from datetime import datetime

import attrs
import trio

from appliance.core.budget import NEVER, Book, Counted, Refused, Reservation, Terms, Warned, period_at
from appliance.core.fault import Fault, FaultKind
from appliance.core.record import RequestRecord
from appliance.gateway.call import Call
from appliance.gateway.ceilings import holder_of
from appliance.gateway.foreseen import foreseen
from appliance.gateway.plan import KeyPlan, Resolved
from appliance.gateway.pricing import usd_text
from appliance.store.spending import GivenWarning, Spending

KNOWN_WAIT_S = 5.0
"""How long a request waits for the figures of a budget that is new. They take milliseconds, of millions of rows a second."""

PERIODS = {"day": "a day", "week": "a week", "month": "a month", "total": "in all"}


@attrs.define(eq=False)
class Unknown:
    """A budget whose figures are not here yet.

    Attributes:
        start: of the period they are wanted for. ended: what requests cost that ended meanwhile, by ledger id.
    """

    terms: Terms
    start: int
    ended: dict[int, int] = attrs.field(factory=dict)


@attrs.frozen
class Standing:
    """How a budget stands; in nano-USD, times in seconds since the epoch. end: None for a total."""

    scope: str
    ceiling_nusd: int
    spent_nusd: int
    reserved_nusd: int
    kind: str
    start: int
    end: int | None


@attrs.define(eq=False)
class Budgets:
    """Everybody's.

    Attributes:
        answer_tokens_max: of an answer, reserved at admission; see the setting `budgets.answer_tokens_max`.
        needed: requests whose budgets stay unknown are refused; else they pass, and count later.
        tell: a threshold was crossed.
        terms: in force, by scope; unknown: those among them without figures. wanted: set when the figures of some are to be looked up.
        failing: figures cannot be looked up now. refused: requests, in this process.
    """

    answer_tokens_max: int
    needed: bool
    wall_clock: Callable[[], float]
    tell: Callable[[Warned, Terms], None] = lambda _warned, _terms: None
    book: Book = attrs.field(factory=Book)
    terms: dict[str, Terms] = attrs.field(factory=dict)
    unknown: dict[str, Unknown] = attrs.field(factory=dict)
    wanted: trio.Event = attrs.field(factory=trio.Event)
    failing: bool = False
    refused: int = 0
    _known: trio.Event = attrs.field(factory=trio.Event)
    _begun: bool = False
    _version: int = 0

    def fit(self, terms: Iterable[Terms], answer_tokens_max: int) -> None:
        """The budgets that hold from now on. One whose period and zone stay goes on with what it has spent; one that gets others holds as
        it was until the new figures are here."""
        self.answer_tokens_max = answer_tokens_max
        before, now = self.terms, self.wall_clock()
        self.terms = {one.scope: one for one in terms}
        accounts, self.unknown = self.book.accounts, {
            scope: unknown for scope, unknown in self.unknown.items() if scope in self.terms and alike(unknown.terms, self.terms[scope])
        }
        held = []
        for scope, one in self.terms.items():
            account = accounts.get(scope)
            if account is not None and alike(account.terms, one):
                held.append(one)
                self.unknown.pop(scope, None)
                continue
            if account is not None:
                held.append(account.terms)
            if scope not in self.unknown:
                self.unknown[scope] = Unknown(one, period_at(one.kind, now, one.zone).start)
        self.book.put(held, _spent_nothing, now)
        if self.unknown or before.keys() - self.terms.keys() or not self._begun:
            self.wanted.set()
        self._begun = True
        self._version += 1

    def take(self, asked: Iterable[Unknown], found: Spending) -> tuple[GivenWarning, ...]:
        """The figures of budgets are here. The warnings among them that nobody has been delivered."""
        now = self.wall_clock()
        spent: dict[str, int] = {}
        for one in asked:
            scope = one.terms.scope
            if self.unknown.get(scope) is not one:
                continue  # another reload came meanwhile
            if period_at(one.terms.kind, now, one.terms.zone).start != one.start:
                self.unknown[scope] = Unknown(self.terms[scope], period_at(one.terms.kind, now, one.terms.zone).start)
                self.wanted.set()
                continue
            late = sum(nusd for ledger_id, nusd in one.ended.items() if ledger_id not in found.counted)
            spent[scope] = found.spent[scope] + late
            del self.unknown[scope]
        accounts = self.book.accounts
        known = [
            one if scope in spent else accounts[scope].terms for scope, one in self.terms.items() if scope in spent or scope in accounts
        ]
        self.book.put(known, lambda scope, _start: spent.get(scope, 0), now)
        told = dict.fromkeys(spent, 0)
        for warning in found.warnings:
            if warning.scope in told:
                told[warning.scope] = max(told[warning.scope], warning.percent)
        for scope, percent in told.items():
            self._tell(self.book.recall(scope, percent))
        self._version += 1
        self.failing = False
        self._known.set()
        self._known = trio.Event()
        return tuple(one for one in found.warnings if one.scope in told and not one.delivered)

    async def known(self, key: KeyPlan) -> Fault | None:
        """Wait until the figures of a key's budgets are here; only while some are `unknown`."""
        if await self._figures(key) or not self.needed:
            return None
        words = "what the budget of this key has spent cannot be looked up right now; try again shortly"
        return Fault(FaultKind.LEDGER_UNAVAILABLE, words, retry_after_s=1.0)

    def reserve(self, call: Call, resolved: Resolved) -> Reservation | Fault:
        """Hold what a request may cost in all of its budgets, or say which one has no room for it; nothing is held then."""
        key, record = call.key, call.record
        most = foreseen(call, resolved, self.answer_tokens_max)
        refused = self.book.hold(most, key.holders, record.wall_time)  # in those that have one now
        if refused is not None:
            self._tell(refused.warned)
            self.refused += 1
            record.limit_type, record.verdict = "budget", refused
            return refusal(refused, self.book.accounts[refused.scope].terms)
        record.verdict = most
        most.version = self._version
        return most

    def release(self, held: Reservation) -> None:
        """The request came to nothing."""
        self.book.settle(held, 0)

    def settle(self, held: Reservation | None, key: KeyPlan, record: RequestRecord, ledger_id: int) -> tuple[Counted, ...]:
        """Put what a request cost in the place of what was held. What it counts against, for its row in the ledger."""
        nusd = record.cost_nusd
        if held is not None:
            warned = self.book.settle(held, nusd)
            if warned:
                self._tell(warned)
            if held.version == self._version and not self.unknown:
                return held.spent
        elif not (self.unknown or self.book.accounts):
            return ()
        return self._count_late(held, key, record, ledger_id) if nusd else ()

    def standing(self, key: KeyPlan) -> list[Standing]:
        """How the budgets of a key and its tenant stand, the tenant's first; those whose figures are not known yet are left out."""
        return [one for scope in key.scopes if (one := self.standing_of(scope)) is not None]

    def standing_of(self, scope: str) -> Standing | None:
        account = self.book.accounts.get(scope)
        if account is None:
            return None
        account.roll(self.wall_clock())
        terms, period = account.terms, account.period
        end = None if period.end == NEVER else period.end
        return Standing(scope, terms.ceiling_nusd, account.spent_nusd, account.reserved_nusd, terms.kind, period.start, end)

    def ratios(self) -> dict[str, float]:
        """Spent and reserved over the budget, by tenant, of those that have one."""
        now, found = self.wall_clock(), {}
        for scope, account in self.book.accounts.items():
            holder = holder_of(scope)
            if not holder.key:
                account.roll(now)
                found[holder.tenant] = account.ratio
        return found

    def fail(self) -> None:
        """The figures of new budgets cannot be looked up now: nobody waits for them until they are here."""
        self.failing = True
        self._known.set()
        self._known = trio.Event()

    async def _figures(self, key: KeyPlan) -> bool:
        """Wait until the figures of a key's budgets are here. False when they do not come."""
        with trio.move_on_after(KNOWN_WAIT_S):
            while any(scope in self.unknown and scope not in self.book.accounts for scope in key.holders):
                if self.failing:
                    return False
                await self._known.wait()
            return True
        return False

    def _count_late(self, held: Reservation | None, key: KeyPlan, record: RequestRecord, ledger_id: int) -> tuple[Counted, ...]:
        """The same where others may have come into force while the request ran, or wait for their figures."""
        nusd, accounts = record.cost_nusd, self.book.accounts
        parts = () if held is None else held.parts
        counts = {(account.terms.scope, start): None for account, start in parts if accounts.get(account.terms.scope) is account}
        settled = [account for account, _ in parts]
        for scope in key.holders:
            unknown = self.unknown.get(scope)
            if unknown is not None and record.wall_time >= unknown.start:
                unknown.ended[ledger_id] = nusd
                counts[scope, unknown.start] = None
            account = accounts.get(scope)
            if account is not None and account not in settled and record.wall_time >= account.period.start:
                self._tell(self.book.settle(Reservation(0, 0, 0, parts=((account, account.period.start),)), nusd))
                counts[scope, account.period.start] = None
        return tuple((scope, start, nusd) for scope, start in counts)

    def _tell(self, warned: Iterable[Warned]) -> None:
        for one in warned:
            account = self.book.accounts.get(one.scope)
            if account is not None:  # else its budget is gone
                self.tell(one, account.terms)


def alike(one: Terms, other: Terms) -> bool:
    """Whether the same sum is spent of both."""
    return (one.kind, one.zone) == (other.kind, other.zone)


def refusal(refused: Refused, terms: Terms) -> Fault:
    """What the caller hears: whose budget, how much it is, what is spent, and when it starts anew."""
    spent, reserved, needed = (_usd(nusd) for nusd in (refused.spent_nusd, refused.reserved_nusd, refused.needed_nusd))
    ceiling = f"{_usd(refused.ceiling_nusd)} {PERIODS[terms.kind]}"
    words = f"the budget of {holder_of(refused.scope).words}, {ceiling}, has no room for this request"
    figures = f"{spent} is spent, {reserved} reserved by requests under way, and this one may cost {needed}"
    anew = "it does not start anew"
    if refused.resets_at is not None:
        anew = f"it starts anew at {datetime.fromtimestamp(refused.resets_at, terms.zone).isoformat()}"
    return Fault(FaultKind.BUDGET_EXCEEDED, f"{words}: {figures}; {anew}", code="budget_exceeded")


def _usd(nusd: int) -> str:
    return f"${usd_text(nusd).decode()}"


def _spent_nothing(_scope: str, _start: int) -> int:
    raise AssertionError("only budgets that are known already are put")
