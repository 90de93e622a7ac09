"""Requests of routes with a cache: an answer that is there, one that is under way for the same request, or one from a backend.

The rule: limits count a request whoever answers it, but tokens and budgets only what a backend does. Nobody waits for another's answer
longer than for the time that is set; who has waited in vain goes to a backend by itself.

    asked for before      the answer again: a hit; it counts as a request and at once with others, costs nothing, and passes without budget
    being asked for now   the same, once that answer is whole; should it fail, one of those that wait asks a backend, and so on. Who waits
                          is among those at once meanwhile, and counts as a request when it goes on
    else                  a miss: as if there were no cache, and the answer is kept if it is whole and good
    X-Skip-Cache          the last, and nothing is looked up or waited for: the new answer takes the old one's place
"""

from functools import partial

import attrs
import trio

from appliance.config.caching import CacheStore
from appliance.core.fault import Blame, Fault
from appliance.gateway.accounts import Accounts
from appliance.gateway.cache import RECORDING_SHARE, Entry, ResponseCache
from appliance.gateway.cache_key import Asked, asked_of
from appliance.gateway.cache_plan import CachePlan
from appliance.gateway.cached_answer import kept_answer, replay
from appliance.gateway.call import Call, HeaderList, within_scope
from appliance.gateway.decision import Decision, FromCache
from appliance.gateway.faults import CLIENT_GONE
from appliance.gateway.nearness import Question
from appliance.gateway.plan import Resolved
from appliance.gateway.proxy import Proxy
from appliance.gateway.recording import Recording, RecordingRoom
from appliance.gateway.single_flight import Flight, Flights

MISS: HeaderList = [(b"x-cache", b"MISS")]
SKIPPED: HeaderList = []


@attrs.define(eq=False)
class Answers:
    """Attributes:
    entry_max_bytes, wait_s: see the table [cache] of the configuration.
    generation: goes up when everything is to be forgotten, so that an answer that was begun before is not kept after.
    """

    accounts: Accounts
    proxy: Proxy
    cache: ResponseCache
    entry_max_bytes: int
    wait_s: float
    room: RecordingRoom
    flights: Flights = attrs.field(factory=Flights)
    generation: int = 0

    def asked(self, call: Call, resolved: Resolved, pin: bytes) -> Asked | None:
        """What the cache is asked for; None of a request that goes its way as if there were none.

        Args:
            pin: the backend that the caller wants, empty for any.
        """
        plan = resolved.route.cache
        return None if plan is None else asked_of(call, resolved, plan, pin, self.entry_max_bytes)

    async def serve(self, call: Call, resolved: Resolved, asked: Asked, *, skip: bool) -> Fault | None:
        """Answer one request that the cache is asked for. As Proxy.serve; what it holds is in `call`.

        Args:
            skip: nothing that was answered before will do.
        """
        plan = resolved.route.cache
        assert plan is not None  # only of such a route is anything asked
        call.record.decision = Decision(resolved, ())
        if skip:
            return await self._recorded(call, resolved, plan, asked, SKIPPED, Flight())
        return await self._looked_up(call, resolved, plan, asked)

    async def flush(self, tenant: str | None = None) -> int:
        """Forget what a tenant has, or all. How many answers that were."""
        self.generation += 1
        return await self.cache.flush(tenant)

    def fit(self, settings: CacheStore) -> None:
        """The settings that hold from now on."""
        self.entry_max_bytes, self.wait_s = settings.entry_max_bytes, settings.wait_s
        self.room.most_bytes = settings.size_max_bytes // RECORDING_SHARE
        self.cache.fit(settings.size_max_bytes - self.room.most_bytes, settings.compared_max)

    async def _looked_up(self, call: Call, resolved: Resolved, plan: CachePlan, asked: Asked) -> Fault | None:
        tenant, key = call.key.tenant, asked.key
        now = trio.current_time()
        wait_s, keepalive_s = self.wait_s, resolved.route.keepalive_s
        until = now + (min(wait_s, keepalive_s) if call.parsed.stream and keepalive_s else wait_s)
        while True:
            entry = await self.cache.get(tenant, key, now)
            if entry is not None:
                return await self._hit(call, resolved, entry)
            flight = self.flights.flying(tenant, key)
            if flight is None:
                return await self._lead(call, resolved, plan, asked)
            place = await self.accounts.allowances.admit_waiting(call, resolved)
            if isinstance(place, Fault):
                return place
            try:
                landed = await self._landed(call, flight, until)
            finally:
                if place is not None:
                    place.settle(0)
            if not landed:
                if call.cut_fault is not None:
                    return call.cut_fault
                return await self._recorded(call, resolved, plan, asked, MISS, Flight())
            if flight.entry is not None:
                return await self._hit(call, resolved, flight.entry)
            if flight.alone:
                return await self._recorded(call, resolved, plan, asked, MISS, Flight())
            now = trio.current_time()

    async def _landed(self, call: Call, flight: Flight, until: float) -> bool:
        """Wait for the answer to the same request. False when it took too long, or the wait was cut."""
        flight.waiting += 1
        begun = trio.current_time()
        self.proxy.calls.add(call)  # so that a drain reaches it, and the backends of its plan stay
        try:
            with trio.move_on_at(until):
                await within_scope(call, flight.landed.wait)
        finally:
            self.proxy.calls.discard(call)
            flight.waiting -= 1
            call.record.cache_waited_s += trio.current_time() - begun
        return flight.landed.is_set() and call.cut_fault is None

    async def _lead(self, call: Call, resolved: Resolved, plan: CachePlan, asked: Asked) -> Fault | None:
        flight = self.flights.lead(call.key.tenant, asked.key)
        try:
            return await self._recorded(call, resolved, plan, asked, MISS, flight)
        finally:
            self.flights.land(call.key.tenant, asked.key, flight)

    async def _recorded(
        self, call: Call, resolved: Resolved, plan: CachePlan, asked: Asked, told: HeaderList, flight: Flight
    ) -> Fault | None:
        """From a backend, or what a like question was answered. What came of it is written into the flight."""
        generation, tenant = self.generation, call.key.tenant
        call.record.cache = "miss" if told is MISS else ""
        recording = Recording(self.room, self.entry_max_bytes, told)
        call.outlet.through(recording)
        try:
            fault: Fault | None
            entry: Entry | None = None
            admitted = await self._admitted(call, resolved)
            question = await self._question(call, plan, asked) if plan.semantic is not None and told is MISS and admitted is None else None
            near = None if question is None else await self._near(tenant, plan, question)
            if admitted is not None:
                fault = admitted
            elif call.cut_fault is not None:
                fault = call.cut_fault
            elif near is not None:
                recording.told = []
                recording.close()
                entry = attrs.evolve(near, question=None)  # under a key of its own, so that the same question costs no embedding again
                fault = await self._again(call, resolved, near)
            else:
                fault = await self.proxy.serve(call, resolved)
                if fault is None:
                    entry = kept_answer(call, recording, plan.ttl_s, trio.current_time(), question)
            if entry is not None and generation == self.generation:
                flight.entry = entry
                await self.cache.put(tenant, asked.key, entry)
            else:
                flight.alone = _settled(call, fault)
            return fault
        finally:
            recording.close()

    async def _question(self, call: Call, plan: CachePlan, asked: Asked) -> Question | None:
        """What is asked last, as a vector; None where that cannot be had, or the wait was cut."""
        from appliance.gateway.meaning import question_of  # few gateways compare questions; see dialects.language_table

        assert plan.semantic is not None
        self.proxy.calls.add(call)
        try:
            return await within_scope(call, partial(question_of, call, plan.semantic, asked))
        finally:
            self.proxy.calls.discard(call)

    async def _near(self, tenant: str, plan: CachePlan, question: Question) -> Entry | None:
        assert plan.semantic is not None
        return await self.cache.near(tenant, question.frame, question.vector, plan.semantic.threshold, trio.current_time())

    async def _admitted(self, call: Call, resolved: Resolved) -> Fault | None:
        """Let it go to a backend, or say why not."""
        return await self.accounts.admit(call, resolved, trio.current_time())

    async def _hit(self, call: Call, resolved: Resolved, entry: Entry) -> Fault | None:
        refused = await self.accounts.admit_hit(call, resolved)
        if refused is not None:
            return refused
        return await self._again(call, resolved, entry)

    async def _again(self, call: Call, resolved: Resolved, entry: Entry) -> Fault | None:
        """The answer as it was. A fault that the caller is to be told of only where nothing has been sent."""
        call.record.decision = FromCache(resolved, max(0.0, trio.current_time() - entry.made_at), entry.cost_nusd)
        call.record.cache, call.record.model = "hit", entry.model
        live = self.proxy.live
        self.proxy.calls.add(call)
        live.streams += entry.stream
        try:
            fault = await within_scope(call, partial(replay, call, entry))
            if call.cut_fault is not None and not call.outlet.ended:
                if not call.outlet.started:
                    return call.cut_fault
                call.record.fault = call.cut_fault  # it is left unfinished, which no client takes for whole
            return fault
        finally:
            live.streams -= entry.stream
            self.proxy.calls.discard(call)


def _settled(call: Call, fault: Fault | None) -> bool:
    """Whether the same request would fare no better at once: it was answered, with what is not kept; or it is itself at fault."""
    failed = fault or call.record.fault
    if failed is None:
        return not call.outlet.gone
    return failed is not CLIENT_GONE and failed.row.blame is Blame.CALLER and failed.upstream_status is not None
