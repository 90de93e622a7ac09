"""The proxy: one loop over the pure retry policy, and the ticker that watches a stream's silences.

`serve` returns None once the caller has been answered (an error told in-band included), or the fault that the door is to tell. One
request is one cancel scope: cancelling the task that runs `serve` closes the upstream socket before it returns.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

import attrs
import trio

from appliance.core.fault import Fault, FaultKind
from appliance.core.step import FOREIGN_SEAL, Pause, Surface, Tried, next_step
from appliance.dialects.protocol import FORWARDED, SHARED
from appliance.gateway.allowance import choices
from appliance.gateway.answer_head import variant_headers
from appliance.gateway.attempt import attempt
from appliance.gateway.call import Call, HeaderList, within_scope
from appliance.gateway.counting import COUNT_WAIT_MAX_S, answer_estimate, estimate_headers, stands_in
from appliance.gateway.decision import Decision
from appliance.gateway.faults import DRAINING, timeout_fault
from appliance.gateway.live import Live
from appliance.gateway.ordering import ordered
from appliance.gateway.plan import Resolved, RoutePlan, TargetPlan
from appliance.gateway.rotation import tried_of
from appliance.gateway.running import Running

WATCH_S = 0.1
"""Timeouts are late by this much at most; they are seconds, and 1,000 requests in flight cost 1 ms a second."""

STREAM_TYPE = b"text/event-stream; charset=utf-8"

HAD_BY_SOME = FORWARDED.union(SHARED)
"""Operations that not every backend has."""

TICK_MIN_S = 0.02
"""The ticker never spins faster than this, whatever the settings."""

HELD_UP_S = 0.25
"""Who wakes so late was held up with the whole process (a paused machine, a throttled container): what came meanwhile is not read yet, and
nobody is judged for silence before it is. One look is left out, never two in a row, so that time is up also where every look is late."""


class Copies(Protocol):
    """See gateway.shadows."""

    def offer(self, call: Call, resolved: Resolved) -> None: ...


@attrs.define(eq=False)
class Proxy:
    """All requests in flight.

    Attributes:
        draw: the source of chance, in [0, 1).
        drains_max: how many requests may be read on at once after their clients left.
        copies: who sends copies of requests whose experiment wants them.
    """

    live: Live
    draw: Callable[[], float]
    drains_max: int = 64
    copies: "Copies | None" = None
    calls: set[Call] = attrs.field(factory=set)

    def serve(self, call: Call, resolved: Resolved) -> Awaitable[Fault | None]:
        """Answer one admitted request; to be awaited. Each coroutine around another is resumed with it: most requests have but one here."""
        assigned = resolved.assigned
        if call.parsed.stream or resolved.route.attended or (assigned is not None and assigned.shadow is not None):
            return self._attended(call, resolved)
        return self._attempts(call, resolved)

    async def watch(self) -> None:
        """Service: ends attempts whose time is up. One comparison per request in flight and look; a timer of its own for each costs
        more.
        """
        held_up = False
        while True:
            due = trio.current_time() + WATCH_S
            await trio.sleep_until(due)
            now = trio.current_time()
            held_up = now > due + HELD_UP_S and not held_up
            for call in () if held_up else self.calls:
                running = call.running
                if running is not None and running.deadline <= now:
                    running.cut(running.out_of_time())
                beside = call.beside
                if beside is not None and beside.deadline <= now:
                    beside.cut(beside.out_of_time())

    def cut_all(self) -> int:
        """The drain time is over: every request in flight ends with an error of its own dialect. Returns how many there were."""
        for call in self.calls:
            call.cut(DRAINING)
        return len(self.calls)

    async def _attended(self, call: Call, resolved: Resolved) -> Fault | None:
        """A request that needs more than its attempts: a watch on its silences, a second attempt, a copy, or to be read to its end."""
        route, parsed = resolved.route, call.parsed
        if route.owed_tokens:
            call.owed_tokens = min(parsed.max_tokens or route.owed_tokens, route.owed_tokens) * choices(parsed)
        if route.hedge is not None:
            from appliance.gateway.hedging import race_of  # most gateways do not hedge; see dialects.language_table

            call.race = race_of(call, route, self.live)
        stream = parsed.stream
        if stream:
            self.live.streams += 1
        try:
            if resolved.assigned is not None and resolved.assigned.shadow is not None and self.copies is not None:
                self.copies.offer(call, resolved)
            return await (self._outliving(call, resolved) if route.on_disconnect == "drain" else self._watched(call, resolved))
        finally:
            if stream:
                self.live.streams -= 1

    async def _watched(self, call: Call, resolved: Resolved) -> Fault | None:
        """A stream gets a ticker beside it; a whole answer needs none unless a second attempt may be made."""
        if not call.parsed.stream and call.race is None:
            return await self._attempts(call, resolved)
        fault: Fault | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_tick, call, resolved.route, nursery)
            fault = await self._attempts(call, resolved)
            nursery.cancel_scope.cancel()
        return fault

    async def _attempts(self, call: Call, resolved: Resolved) -> Fault | None:
        """Try until answered, or until the policy says that the caller must hear of it."""
        route, model, now = resolved.route, resolved.model, trio.current_time()
        self.calls.add(call)
        try:
            candidates: Sequence[TargetPlan]
            if route.order is not None:
                candidates, seen = route.order, None
            else:
                candidates, seen = ordered(route, call, model, now, self.draw, self.live.turn)
            if call.parsed.operation in HAD_BY_SOME:  # go to who has them, or the first one says what to do
                candidates = [one for one in candidates if _serves(one, call, model)] or candidates
            record = call.record
            record.decision = resolved if candidates is route.order else Decision(resolved, candidates, seen)
            history: list[Tried] = []
            if call.race is None and _all_available(candidates, now):
                fault = await attempt(call, candidates[0], model, now)
                if fault is None:
                    return None
                history.append(tried_of(record, candidates[0], 0, fault))
            decision = record.decision = Decision(resolved, candidates, seen)
            return await self._further_attempts(call, decision, history)
        finally:
            self.calls.discard(call)
            if call.upload is not None:
                call.upload.close()

    async def _further_attempts(self, call: Call, decision: Decision, history: list[Tried]) -> Fault | None:
        """What the policy says after the attempts made so far, if any were."""
        resolved, candidates = decision.resolved, decision.candidates
        while True:
            now = trio.current_time()
            if history and (last := _last_word(call, history[-1].fault)) is not None:
                return await self._surface(call, last)
            available = [candidate.upstream.state.available(now) for candidate in candidates]
            if False in available:
                decision.pass_over(available, history, now)
            elapsed_s = now - call.record.started_at
            step = next_step(history, available, resolved.route.policy, elapsed_s, self.draw() if history else 0.0)
            if history:
                decision.went_on(step, now)
            if isinstance(step, Surface):
                if step.fault.code == FOREIGN_SEAL and not call.unsealed and not call.outlet.modelled:
                    call.unsealed, history = True, []  # nobody here made that reasoning: once more without it
                    continue
                return await self._surface(call, step.fault)
            if isinstance(step, Pause):
                if step.seconds > COUNT_WAIT_MAX_S and history and stands_in(call, history[-1].fault):
                    return await self._surface(call, history[-1].fault)
                cut = await _pause(call, step.seconds)
                if cut is not None:
                    return await self._surface(call, cut)
                now = trio.current_time()
                if not candidates[step.candidate].upstream.state.available(now):
                    continue  # its breaker opened during the pause, or an operator took it out: ask the policy again
            index = step.candidate
            _note_fallback(call, candidates, history, index)
            if call.race is None or history:
                fault = await attempt(call, candidates[index], resolved.model, now)
                tried = [] if fault is None else [tried_of(call.record, candidates[index], index, fault)]
            else:
                tried = await call.race.run(candidates, index, resolved.model, now)
            if not tried:
                return None
            history += tried

    async def _surface(self, call: Call, fault: Fault) -> Fault | None:
        """The last word: in-band when a head has left already, else for the door to tell."""
        if stands_in(call, fault):
            return await answer_estimate(call, estimate_headers(call))
        call.record.fault = fault
        call.outlet.closing = True
        if not call.outlet.started:
            return fault
        if call.outlet.gone or call.outlet.ended or call.outlet.sending:
            return None
        if call.parsed.stream:
            await call.outlet.write(call.stream_error(fault), more=False)
        # A whole answer that broke off half way is left unfinished: the connection is cut, which no client takes for success.
        return None

    async def _outliving(self, call: Call, resolved: Resolved) -> Fault | None:
        """With `on_disconnect = "drain"` the answer is read to its end though the caller has left, within bounds of time, length and
        number."""
        fault: Fault | None = None
        call.outlives = True
        call.drain_max_tokens = resolved.route.drain_max_tokens
        try:
            async with trio.open_nursery() as nursery:
                shielded = trio.CancelScope(shield=True)
                nursery.start_soon(self._release, call, shielded, resolved.route.drain_max_s)
                with shielded:
                    fault = await self._watched(call, resolved)
                call.outlives = False
                nursery.cancel_scope.cancel()
        finally:
            if call.drained:
                self.live.drains -= 1
        return fault

    async def _release(self, call: Call, shielded: trio.CancelScope, drain_max_s: float) -> None:
        """Waits for the caller to leave; then bounds what is still done for them."""
        try:
            await trio.sleep_forever()
        finally:
            if call.outlives:  # else the answer is complete, and this task is merely not needed any more
                call.outlet.gone = call.drained = True
                self.live.drains += 1
                if self.live.drains <= self.drains_max and call.end_reason() != "shutdown":
                    shielded.deadline = trio.current_time() + drain_max_s
                else:
                    shielded.cancel()


def _all_available(candidates: Sequence[TargetPlan], now: float) -> bool:
    """Whether there are any, and each may be asked now."""
    for candidate in candidates:
        if not candidate.upstream.state.available(now):
            return False
    return bool(candidates)


def _last_word(call: Call, fault: Fault) -> Fault | None:
    """What the caller is to hear after a failed attempt that no other may follow, whatever the policy says; None where one may."""
    if call.upload is not None and call.upload.spent:
        from appliance.gateway.upload_attempt import told_once  # imported already, with the request

        return told_once(call.upload, fault)
    return fault if call.outlet.modelled else None


def _serves(candidate: TargetPlan, call: Call, model: str) -> bool:
    return candidate.upstream.manner(call.language.name, call.parsed.operation, candidate.model or model) is not None


def _note_fallback(call: Call, candidates: Sequence[TargetPlan], history: list[Tried], index: int) -> None:
    if history:
        last, chosen = candidates[history[-1].candidate].upstream.name, candidates[index].upstream.name
        if last != chosen:
            call.record.fallbacks = (*call.record.fallbacks, (last, chosen))


async def _pause(call: Call, seconds: float) -> Fault | None:
    """Sleep before a retry. The fault that cut it short, when one did."""
    await within_scope(call, partial(trio.sleep, seconds))
    return call.cut_fault


async def _tick(call: Call, route: RoutePlan, nursery: trio.Nursery) -> None:
    """Beside a stream: a keep-alive when the caller has heard nothing for long, and an end to an upstream that fell silent. Where that is
    configured, a second attempt when the first is slow.

    Sleeping to the next deadline costs nothing per event: pumping only writes down the time of the last read and write.
    """
    candidates = (*route.targets, *route.fallback)
    step_s = max(TICK_MIN_S, min(candidate.upstream.settings.timeouts.idle_s for candidate in candidates) / 4)
    held_up = False
    while True:
        now = trio.current_time()
        wake = now + (WATCH_S if held_up else step_s)
        uploaded = call.upload is None or call.upload.ended
        # While the caller does not read, or has not said all, the upstream may be silent.
        if uploaded and not held_up and (call.outlet.gone or not call.outlet.sending):
            for running in (call.running, call.beside):
                if running is not None and running.idle_s:
                    wake = min(wake, _silent(running, now))
        if call.race is not None and not held_up:
            wake = min(wake, call.race.look(nursery, now))
        if route.keepalive_s and uploaded and call.parsed.stream:
            quiet_until = max(call.outlet.heard_at, call.outlet.kept_at) + route.keepalive_s
            if now >= quiet_until:
                await call.outlet.keep_alive(call.keepalive, lambda: _waiting_headers(call))
                quiet_until = now + route.keepalive_s
            wake = min(wake, quiet_until)
        due = max(wake, now + TICK_MIN_S)
        await trio.sleep_until(due)
        held_up = trio.current_time() > due + HELD_UP_S and not held_up


def _silent(running: Running, now: float) -> float:
    """End an attempt whose backend has been silent for too long; else the instant at which it will have been."""
    silent_until = max(running.read_at, running.call.outlet.heard_at) + running.idle_s
    if now < silent_until:
        return silent_until
    running.cut(timeout_fault(FaultKind.IDLE_TIMEOUT, running.record.backend, running.idle_s))
    running.idle_s = 0.0
    return math.inf


def _waiting_headers(call: Call) -> HeaderList:
    """The head of a stream that starts with a keep-alive: who will serve it is not known yet."""
    accepted = call.language.accepted
    return [
        (b"x-request-id", call.record.request_id.encode()),
        (b"content-type", STREAM_TYPE if accepted is None else accepted.stream_type),
        (b"cache-control", b"no-cache"),
        *(variant_headers(call.record.experiment, call.record.variant) if call.record.experiment else ()),
    ]
