"""Why a request's backends were asked in the order they were: what `explain` calls its plan.

The rule: on the way of a request only references are kept, to what exists anyway; words are made of them when somebody asks. What changes
meanwhile (a breaker, a backend's health) is put in words at once, which happens only where it kept a backend from being asked.
"""

from collections.abc import Mapping, Sequence

import attrs

from appliance.config.knob import default_of
from appliance.config.routing import Match
from appliance.core.breaker import BreakerState
from appliance.core.glob import compile_globs
from appliance.core.price import NUSD
from appliance.core.record import RequestRecord, shown
from appliance.core.step import Pause, Step, Surface, Tried, surfaced_because
from appliance.gateway.live import BackendState
from appliance.gateway.plan import Resolved, TargetPlan

STEPS_MAX = 64
"""Kept of one request: `retry.attempts` allows 20 attempts, each after a pause at most."""


@attrs.define(eq=False)
class Decision:
    """See `core.record.Told`.

    Attributes:
        candidates: in the order they were to be asked; empty where nobody was to be.
        seen: what the strategy looked at: its name with its unit, and a figure for each of the route's targets, in the file's order.
    """

    resolved: Resolved
    candidates: Sequence[TargetPlan]
    seen: tuple[str, Sequence[float | None]] | None = None
    _passed_over: dict[str, str] | None = None
    _steps: list[tuple[float, Step]] | None = None

    def pass_over(self, available: Sequence[bool], history: Sequence[Tried], now: float) -> None:
        """Some of the candidates may not be asked now; the first reason of each that was not asked before is kept."""
        found = self._passed_over = self._passed_over or {}
        asked = {tried.candidate for tried in history}
        for index, (candidate, free) in enumerate(zip(self.candidates, available, strict=True)):
            if not free and index not in asked:
                found.setdefault(candidate.upstream.name, obstacle(candidate.upstream.state, now))

    def went_on(self, step: Step, now: float) -> None:
        """What was done after an attempt failed."""
        if self._steps is None:
            self._steps = []
        if len(self._steps) < STEPS_MAX:
            self._steps.append((now, step))

    def told(self, record: RequestRecord) -> dict[str, object]:
        resolved, route = self.resolved, self.resolved.route
        settings = route.settings
        pattern = next((one for one in settings.models if compile_globs([one])(resolved.model)), "") if resolved.why == "route" else ""
        fallbacks = set(map(id, route.fallback))
        return {
            "matched": resolved.why, "pattern": pattern, "asked_for": shown(resolved.model),
            "conditions": _conditions(settings.match), "prompt_tokens": resolved.prompt_tokens or None, "narrowed": list(resolved.narrowed),
            "strategy": route.strategy if len(route.targets) > 1 else "", "seen": self._seen(),
            "candidates": [_candidate(one, resolved.model, id(one) in fallbacks) for one in self.candidates],
            "passed_over": [{"backend": name, "why": why} for name, why in (self._passed_over or {}).items()],
            "steps": [self._step(record, at, step) for at, step in self._steps or ()],
            "attempts_max": route.policy.attempts, "budget_s": route.policy.budget_s,
        }  # fmt: skip

    def _seen(self) -> dict[str, object] | None:
        if self.seen is None:
            return None
        what, figures = self.seen
        pairs = zip(self.resolved.route.targets, figures, strict=False)
        return {"what": what, "figures": [{"backend": one.upstream.name, "model": one.model, "value": value} for one, value in pairs]}

    def _step(self, record: RequestRecord, at: float, step: Step) -> dict[str, object]:
        """What was done next, and why."""
        told: dict[str, object] = {"at_ms": round((at - record.started_at) * 1000, 3)}
        if isinstance(step, Surface):
            tries = sum(1 for one in record.attempts if one.started_at <= at)
            why = surfaced_because(step.fault, tries, self.resolved.route.policy, at - record.started_at)
            return {**told, "do": "give_up", "why": why}
        backend = self.candidates[step.candidate].upstream.name
        if isinstance(step, Pause):
            asked = [one.fault.retry_after_s for one in record.attempts if one.backend == backend and one.fault and one.started_at <= at]
            waits = bool(asked) and asked[-1] == step.seconds
            why = "as it asked (Retry-After)" if waits else "back-off: every candidate was asked"
            return {**told, "do": "pause", "pause_ms": round(step.seconds * 1000, 3), "backend": backend, "why": why}
        last = next((one for one in reversed(record.attempts) if one.started_at <= at and one.ended_at <= at), None)
        again = last is not None and last.key > 0 and last.backend == backend
        why = f"it has other keys than key {last.key}" if again and last is not None else "it was not asked yet"
        return {**told, "do": "try", "backend": backend, "why": why}


@attrs.define(eq=False)
class FromCache:
    """See `core.record.Told`. The answer was there already: made `age_s` ago, when it cost `cost_nusd`."""

    resolved: Resolved
    age_s: float
    cost_nusd: int

    def told(self, record: RequestRecord) -> dict[str, object]:
        kept = {"age_s": round(self.age_s, 3), "had_cost_usd": self.cost_nusd / NUSD}
        return {**Decision(self.resolved, ()).told(record), "cached": kept}


def obstacle(state: BackendState, now: float) -> str:
    """Why a backend may not be asked now."""
    if state.drained:
        return "taken out by an operator (drain)"
    if state.active and state.probe_failures >= state.failures_max:
        return f"down: {state.probe_failures} failed probes in a row, the last: {shown(state.last_probe)}"
    last = f", after {shown(state.last_error)}" if state.last_error else ""
    if state.breaker.state is BreakerState.OPEN:
        return f"breaker open for {now - state.breaker.opened_at:.1f} s{last}"
    return f"breaker half-open, with as many probes under way as it may have{last}"


def down_because(state: BackendState, now: float) -> str:
    """Why a backend counts as down; empty where it does not."""
    if state.healthy:
        return ""
    if state.drained or state.breaker.state is BreakerState.OPEN or (state.active and state.probe_failures >= state.failures_max):
        return obstacle(state, now)
    return f"{state.failures_in_a_row} requests in a row failed, the last: {shown(state.last_error)}"


def _candidate(one: TargetPlan, model: str, fallback: bool) -> dict[str, object]:
    told: dict[str, object] = {"backend": one.upstream.name, "model": shown(one.model or model)}
    return {**told, "role": "fallback"} if fallback else {**told, "role": "target", "weight": one.weight}


def _conditions(match: Match) -> dict[str, object]:
    """Those of the route's that are set, as they stand in the file; what the request had is not repeated."""
    told = attrs.asdict(match, filter=lambda field, value: value != default_of(field))
    return {
        name: list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value
        for name, value in told.items()
    }
