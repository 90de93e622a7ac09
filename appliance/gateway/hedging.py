"""Hedging: a second attempt beside a first one that is slow, at another backend. Who begins to answer first serves the request.

The rule: an answer goes out only after `claim`, which one of the two gets and the other never comes back from. The loser is cancelled at
that instant, so its connection is closed before anything else of it happens, and what it costs is booked.

        request ──> first attempt ──────────────────────────x   (cancelled, recorded, billed as far as can be known)
                         after_s, or the percentile
                              └──> second attempt ──> first event ═══════> caller

Both fail: the retry policy goes on, with both in its history. No retry is hedged: it is a second attempt already.
"""

import math
from collections.abc import Sequence

import attrs
import trio

from appliance.core.hedge import HedgePolicy, Hedging
from appliance.core.step import Tried, second, worth_another
from appliance.gateway.attempt import attempt, lose
from appliance.gateway.call import Call
from appliance.gateway.hedgeable import hedgeable
from appliance.gateway.live import Live
from appliance.gateway.plan import RoutePlan, TargetPlan
from appliance.gateway.rotation import tried_of
from appliance.gateway.running import Running


def race_of(call: Call, route: RoutePlan, live: Live) -> "Race | None":
    """What a request of a route that hedges starts with; None where this one may not be hedged."""
    policy = route.hedge
    if policy is None or len(route.targets) + len(route.fallback) < 2 or not hedgeable(call):
        return None
    hedging = live.hedging(route.name)
    hedging.earn(policy)
    return Race(call, route, policy, hedging)


@attrs.define(eq=False)
class Race:
    """The first attempt of a request and perhaps a second one beside it.

    Attributes:
        candidates: in the order they would be asked; index: the first attempt's; other: the second one's.
        begun_at: when the first attempt was. due_at: when the second is to be made.
        first, beside: end the one and the other. ended: the second has; None while there is none.
        failed: in the order they did.
        winner: whose answer the caller gets. closed: the caller gets none of them.
    """

    call: Call
    route: RoutePlan
    policy: HedgePolicy
    hedging: Hedging
    candidates: Sequence[TargetPlan] = ()
    index: int = 0
    other: int = -1
    model: str = ""
    begun_at: float = 0.0
    due_at: float = math.inf
    first: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    beside: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: trio.Event | None = None
    failed: list[Tried] = attrs.field(factory=list)
    winner: Running | None = None
    closed: bool = False

    async def run(self, candidates: Sequence[TargetPlan], index: int, model: str, now: float) -> list[Tried]:
        """The first attempt, and what comes of a second one. Empty when the caller has been answered; else what failed."""
        self.candidates, self.index, self.model, self.begun_at = candidates, index, model, now
        wait_s = self.hedging.wait_s(self.policy, stream=self.call.parsed.stream)
        if wait_s is not None:
            self.due_at = now + wait_s
        await self._attempt(self.first, index, now, hedge=False)
        self.due_at = math.inf
        if self.ended is not None:
            if self.winner is None and not worth_another(self.failed[-1].fault, self.route.policy):
                self.closed = True  # it is told at once, as it would be without a second attempt
                self.beside.cancel()
            await self.ended.wait()
        self.call.race = None
        return self._result()

    async def _attempt(self, scope: trio.CancelScope, index: int, now: float, *, hedge: bool) -> None:
        with scope:
            fault = await attempt(self.call, self.candidates[index], self.model, now, hedge=hedge)
            if fault is not None:
                self.failed.append(tried_of(self.call.record, self.candidates[index], index, fault))

    async def _second(self, ended: trio.Event, now: float) -> None:
        if self.winner is None and not self.closed:  # else it was decided in the very turn in which this was to begin
            await self._attempt(self.beside, self.other, now, hedge=True)
        ended.set()

    def _result(self) -> list[Tried]:
        """What the retry policy is to hear of."""
        if self.winner is not None:
            answering = self.other if self.winner.record.hedge else self.index
            return [one for one in self.failed if one.candidate == answering]
        record = self.call.record
        if len(record.attempts) > 1:
            if self.failed[-1].candidate == self.index:  # whose fault may be told comes last
                record.attempts.append(record.attempts.pop(0))
            record.model = record.attempts[-1].served_model
        return self.failed

    def look(self, nursery: trio.Nursery, now: float) -> float:
        """Make the second attempt if it is due, in the request's own nursery. Gives the instant for the next look."""
        if now < self.due_at:
            return self.due_at
        self.due_at = math.inf
        call = self.call
        if call.cut_fault is None and not call.outlet.gone:
            other = self._next(now)
            if other is not None and self.hedging.spend():
                self.other, self.ended = other, trio.Event()
                nursery.start_soon(self._second, self.ended, now)
            else:
                self.hedging.withheld += 1
        return math.inf

    async def claim(self, running: Running) -> None:
        """To be awaited before anything of an answer goes out. Only one attempt comes back from here, without having waited."""
        if self.winner is None and not self.closed:
            self.winner = running
            self._decide(running)
        elif self.winner is not running:
            await trio.sleep_forever()  # cancelled already, which is only heard of at an await

    def _decide(self, winner: Running) -> None:
        call, now = self.call, trio.current_time()
        self.due_at = math.inf
        hedged = winner.record.hedge
        loser = call.running if hedged else call.beside
        if loser is not None or not hedged:  # else the first one has failed, and how long it would have taken is not known
            self.hedging.times(stream=call.parsed.stream).add(now - self.begun_at)
        if loser is not None:
            lose(loser)
            (self.first if hedged else self.beside).cancel()
        if hedged:
            winner.record.hedge = "won"
        if self.ended is not None:
            winner.take_lead()

    def _next(self, now: float) -> int | None:
        """Whom the policy would ask next; at another backend, and only if it has a place free: there is no sense in waiting twice."""
        asked = self.candidates[self.index].upstream.name
        upstreams = [one.upstream for one in self.candidates]
        free = [one.name != asked and one.slots.free and one.state.available(now) for one in upstreams]
        return second(free, self.route.policy, now - self.call.record.started_at)
