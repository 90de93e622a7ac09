"""Request, token and concurrency limits: who may go on now, and what they have used.

The rule: all or nothing. Every claim of a request is looked at before anything is taken of one, with no await between, so that requests at
once pass no more than they would in turn, and one that is refused has consumed nothing. What was taken is settled exactly once.

Tokens are taken on an estimate and trued up when the request has ended; see core.bucket. The embedded limiter counts in this process and
never waits; another engine, shared by many, comes behind the same protocol.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
import trio

from appliance.config.schema import Limits
from appliance.core.bucket import Bucket
from appliance.core.claim import NS_PER_S, Claim, Figures, Kind, Refusal

CONCURRENCY_WAIT_NS = NS_PER_S
"""Nobody knows when a running request ends; a second is the least that Retry-After can say."""

LOOKED_OVER_MAX = 4
"""Holders that are looked at for one that is new: those that have used nothing any more are forgotten. More than one, so that their
number falls again; few, so that no request pays for many."""


class Granted(Protocol):
    """What was taken for a request. One of the two is called, once, when the request has ended; neither waits.

    Attributes:
        requests, tokens: as the tightest of the caller's limits stood after this request took its part; None where there is none.
    """

    requests: Figures | None
    tokens: Figures | None

    def settle(self, tokens: int, now: float | None = None) -> None:
        """It was served, or tried: `tokens` is what it really used, and counts where tokens were taken. now: monotonic seconds, where they
        are known."""
        ...

    def release(self) -> None:
        """It came to nothing: all of it is given back."""
        ...


class Limiter(Protocol):
    """Who counts."""

    async def admit(self, claims: Sequence[Claim], user: str, tokens: int, spare: int, now: float) -> Granted | Refusal:
        """Take one request, its tokens and a place from all of the claims, or nothing from any.

        Args:
            claims: at least one.
            user: whose buckets those of scope `user` are.
            tokens: which must be there, 0 for a request that counts none; spare: which are taken beside them as far as they are there
                (of an answer whose length nobody has bounded).
            now: monotonic seconds.
        """
        ...

    async def take_place(self, claims: Sequence[Claim], user: str, now: float) -> Granted | Refusal:
        """Take a place among the requests at once of all of the claims, and nothing else, or nothing from any: of a request that waits,
        and asks for the rest when it goes on. Settled with no tokens."""
        ...

    async def look(self, claims: Sequence[Claim], user: str, now: float) -> tuple[Figures | None, Figures | None]:
        """How the tightest limits of requests and of tokens stand. Nothing is taken."""
        ...

    def fit(self, settings: Limits) -> None:
        """Other settings hold from now on; the limits themselves come with their claims."""
        ...


@attrs.define(eq=False)
class Holder:
    """What one holder of limits has used.

    Attributes:
        claim: whose figures the buckets have. running: requests that were let in and have not ended, or are being looked at.
    """

    claim: Claim
    requests: Bucket
    tokens: Bucket
    running: int = 0

    def fit(self, claim: Claim) -> None:
        """A reload has given other figures."""
        self.claim = claim
        if claim.rpm is not None and claim.rpm != self.requests.limit:
            self.requests.fit(claim.rpm)
        if claim.tpm is not None and claim.tpm != self.tokens.limit:
            self.tokens.fit(claim.tpm)

    def pull(self, tokens: int, now_ns: int) -> tuple[Figures | None, Figures | None, int] | None:
        """Take a request (which is among those that run already) and its tokens: how its limits of either stand then, and the place of the
        last token, 0 where none are counted. None where one of them is not there; nothing is taken then."""
        claim = self.claim
        if claim.concurrency is not None and self.running > claim.concurrency:
            self.advance(now_ns)
            return None
        requests: Figures | None = None
        if claim.rpm is not None:
            requests = self.requests.pull(now_ns, 1)
            if requests is None:
                self.tokens.advance(now_ns)
                return None
        if claim.tpm is None:
            return requests, None, 0
        bucket = self.tokens
        if not tokens:
            bucket.advance(now_ns)
            return requests, bucket.standing(), 0
        left = bucket.pull(now_ns, tokens)
        if left is None:
            if requests is not None:
                self.requests.undo(1)
            return None
        return requests, left, bucket.place

    def undo(self, tokens: int) -> None:
        """What was pulled at this instant."""
        if self.claim.rpm is not None:
            self.requests.undo(1)
        if tokens and self.claim.tpm is not None:
            self.tokens.undo(tokens)

    def advance(self, now_ns: int) -> None:
        self.requests.advance(now_ns)
        self.tokens.advance(now_ns)

    def idle(self, now_ns: int) -> bool:
        """Whether it is as if it had never been."""
        if self.running:
            return False
        self.advance(now_ns)
        return not (self.requests.used or self.tokens.used)


Pulled = tuple[Holder, int]
"""Whose limits let a request pass, and the place of its last token in their bucket, 0 where they count none."""


@attrs.define(eq=False)
class Grant:
    """See Granted. taken: tokens, of each holder that limits them."""

    _pulled: list[Pulled]
    _taken: int
    _clock: Callable[[], float]
    requests: Figures | None
    tokens: Figures | None
    _over: bool = False

    def settle(self, tokens: int, now: float | None = None) -> None:
        if self._over:
            return
        self._over = True
        taken = self._taken
        now_ns = int((self._clock() if now is None else now) * NS_PER_S)
        for holder, place in self._pulled:
            holder.running -= 1
            if tokens != taken and place:
                holder.tokens.true_up(taken, tokens, place, now_ns)

    def release(self) -> None:
        if self._over:
            return
        self.settle(0)
        now_ns = int(self._clock() * NS_PER_S)
        for holder, _ in self._pulled:
            if holder.claim.rpm is not None:
                holder.requests.true_up(1, 0, holder.requests.place, now_ns)


@attrs.define(eq=False)
class EmbeddedLimiter:
    """Counts in memory.

    Attributes:
        users_max: users that have buckets of their own at once, over all routes; further ones share one for each route.
        clock: monotonic seconds, for settlements.
        holders: by id, those of the configuration that have used something lately, the one looked over longest ago first. users: the same
            of users.
    """

    users_max: int
    clock: Callable[[], float] = trio.current_time
    holders: OrderedDict[str, Holder] = attrs.field(factory=OrderedDict)
    users: OrderedDict[str, Holder] = attrs.field(factory=OrderedDict)

    async def admit(self, claims: Sequence[Claim], user: str, tokens: int, spare: int, now: float) -> Grant | Refusal:
        now_ns = int(now * NS_PER_S)
        pulled: list[Pulled] = []
        for claim in claims:
            holder = self.holders.get(claim.id)
            if holder is None or holder.claim is not claim:
                holder = self._holder(claim, user, now_ns)
            holder.running += 1  # at once: so that it is not forgotten while the next one is looked up
            taken = holder.pull(tokens, now_ns)
            if taken is None:
                return self._refusal(claims, [*(one for one, _ in pulled), holder], user, tokens, now_ns)
            requests, left, place = taken
            pulled.append((holder, place))
        if spare:
            for holder, _ in pulled:
                if holder.claim.tpm is not None:
                    spare = min(spare, holder.tokens.left)
            if spare:
                tokens += spare
                pulled = [(one, one.tokens.take(spare) if one.claim.tpm is not None else 0) for one, _ in pulled]
        if spare or len(pulled) > 1:
            requests, left = _tightest([one for one, _ in pulled])
        return Grant(pulled, tokens, self.clock, requests, left)

    def _refusal(self, claims: Sequence[Claim], pulled: Sequence[Holder], user: str, tokens: int, now_ns: int) -> Refusal:
        """The last one that was asked has too little: all get back what they gave. Whose limit has to be waited for longest is told: who
        comes back sooner would be refused by that one."""
        for holder in pulled[:-1]:
            holder.undo(tokens)
        holders = [*pulled]
        for claim in claims[len(pulled) :]:
            holder = self._holder(claim, user, now_ns)
            holder.running += 1
            holder.advance(now_ns)
            holders.append(holder)
        refusing: tuple[Claim, Kind] | None = None
        longest_ns: float = 0
        for holder in holders:
            missing = _missing(holder, tokens)
            if missing is not None and missing[1] > longest_ns:
                refusing, longest_ns = (holder.claim, missing[0]), missing[1]
        for holder in holders:
            holder.running -= 1
        assert refusing is not None  # one of them has too little
        return Refusal(*refusing, longest_ns / NS_PER_S, tokens, *_tightest(holders))

    async def take_place(self, claims: Sequence[Claim], user: str, now: float) -> Grant | Refusal:
        now_ns = int(now * NS_PER_S)
        holders: list[Holder] = []
        full: Claim | None = None
        for claim in claims:
            holder = self._holder(claim, user, now_ns)
            holder.running += 1
            holders.append(holder)
            if full is None and claim.concurrency is not None and holder.running > claim.concurrency:
                full = claim
        if full is None:
            return Grant([(holder, 0) for holder in holders], 0, self.clock, None, None)
        for holder in holders:
            holder.running -= 1
            holder.advance(now_ns)
        return Refusal(full, "concurrency", CONCURRENCY_WAIT_NS / NS_PER_S, 0, *_tightest(holders))

    async def look(self, claims: Sequence[Claim], user: str, now: float) -> tuple[Figures | None, Figures | None]:
        now_ns = int(now * NS_PER_S)
        holders = [self._holder(claim, user, now_ns) for claim in claims]
        for holder in holders:
            holder.advance(now_ns)
        return _tightest(holders)

    def fit(self, settings: Limits) -> None:
        self.users_max = settings.users_max

    def _holder(self, claim: Claim, user: str, now_ns: int) -> Holder:
        """Whose buckets a claim is about."""
        if claim.scope != "user":
            holder = self.holders.get(claim.id)
            if holder is None:
                _look_over(self.holders, now_ns)
                holder = self.holders[claim.id] = _fresh(claim, now_ns)
        else:
            holder = self.users.get(f"{claim.id}\0{user}")
            if holder is None:
                holder = self._new_user(claim, user, now_ns)
        if holder.claim is not claim:
            holder.fit(claim)
        return holder

    def _new_user(self, claim: Claim, user: str, now_ns: int) -> Holder:
        _look_over(self.users, now_ns)
        if len(self.users) < self.users_max:
            holder = self.users[f"{claim.id}\0{user}"] = _fresh(claim, now_ns)
            return holder
        name = f"{claim.id}\0"  # not the id itself: whoever is found by that is no user
        shared = self.holders.get(name)
        if shared is None:
            shared = self.holders[name] = _fresh(claim, now_ns)
        return shared


def _fresh(claim: Claim, now_ns: int) -> Holder:
    return Holder(claim, Bucket(claim.rpm or 1, at_ns=now_ns), Bucket(claim.tpm or 1, at_ns=now_ns))


def _look_over(holders: OrderedDict[str, Holder], now_ns: int) -> None:
    """Forget some that have used nothing any more: a full bucket is as good as none."""
    for _ in range(min(LOOKED_OVER_MAX, len(holders))):
        name, holder = next(iter(holders.items()))
        if holder.idle(now_ns):
            del holders[name]
        else:
            holders.move_to_end(name)


def _missing(holder: Holder, tokens: int) -> tuple[Kind, float] | None:
    """What one holder has too little of (the request itself is among those that run), and for how many nanoseconds: infinite for ever.
    None where nothing is missing."""
    claim = holder.claim
    found: tuple[Kind, float] | None = None
    if claim.concurrency is not None and holder.running > claim.concurrency:
        found = "concurrency", CONCURRENCY_WAIT_NS
    if claim.rpm is not None:
        wait_ns = holder.requests.wait_ns(1)
        if wait_ns and (found is None or wait_ns > found[1]):
            found = "requests", wait_ns
    if claim.tpm is not None:
        wait_ns = holder.tokens.wait_ns(tokens) if tokens else 0
        if wait_ns is None:
            return "tokens", math.inf
        if wait_ns and (found is None or wait_ns > found[1]):
            found = "tokens", wait_ns
    return found


def _tightest(holders: Sequence[Holder]) -> tuple[Figures | None, Figures | None]:
    """The limits of requests and of tokens that have the least left."""
    requests: Bucket | None = None
    tokens: Bucket | None = None
    fewest = least = 0
    for holder in holders:
        claim = holder.claim
        if claim.rpm is not None:
            left = holder.requests.left
            if requests is None or left < fewest:
                requests, fewest = holder.requests, left
        if claim.tpm is not None:
            left = holder.tokens.left
            if tokens is None or left < least:
                tokens, least = holder.tokens, left
    return None if requests is None else requests.standing(), None if tokens is None else tokens.standing()
