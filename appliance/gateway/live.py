"""What this process has learnt about its backends: breakers, health, requests in flight. Owned here, changed only by plain calls.

There is no `await` in this module, so nothing can change between two of its lines and no lock is needed. Each process learns for itself;
what a fleet must share (limits, budgets, keys) does not belong here.
"""

from collections.abc import Mapping

import attrs

from appliance.config.upstreams import Backend
from appliance.core.breaker import Breaker, BreakerPolicy, BreakerState, Permit
from appliance.core.fault import Fault
from appliance.core.hedge import Hedging
from appliance.core.pace import Pace
from appliance.gateway.response_ids import ResponseIds

LATENCY_WEIGHT = 0.1
"""Share of a new observation in the decaying averages: the last twenty or so requests dominate."""

PACES_MAX = 256
"""Models of one backend whose pace is kept apart; a target that names none asks for what the caller wrote. Further ones share one."""


@attrs.define(eq=False)
class BackendState:
    """One backend as this process sees it.

    Attributes:
        failures_in_a_row: passive health: requests that ended in a fault of the backend since the last good one.
        probe_failures: active health: failed probes since the last good one.
        drained: an operator took it out; requests under way finish.
        first_byte_s: decaying average time to the response head; 0 until the first answer.
        last_error: the latest fault's label and words, for /admin/providers; last_error_at: when, by the clock of `end`.
    """

    name: str
    breaker: Breaker
    failures_max: int
    passive: bool
    active: bool
    in_flight: int = 0
    failures_in_a_row: int = 0
    probe_failures: int = 0
    drained: bool = False
    first_byte_s: float = 0.0
    last_error: str = ""
    last_error_at: float = 0.0
    last_probe: str = ""
    requests: int = 0
    errors: int = 0
    _paces: dict[tuple[str, bool], Pace] = attrs.field(factory=dict, repr=False)

    def pace(self, model: str, stream: bool) -> Pace:
        """How quickly a model answers here."""
        found = self._paces.get((model, stream))
        if found is None:
            if len(self._paces) >= PACES_MAX:
                model = ""
            found = self._paces.setdefault((model, stream), Pace())
        return found

    def available(self, now: float) -> bool:
        """Whether a request may be sent there now."""
        if self.drained or (self.active and self.probe_failures >= self.failures_max):
            return False
        return self.breaker.state is BreakerState.CLOSED or self.breaker.would_admit(now)

    @property
    def healthy(self) -> bool:
        """The health gauge: passively 0 while the breaker is open or after `failures` faults in a row; actively as probed, too."""
        if self.breaker.state is BreakerState.OPEN or self.drained:
            return False
        if self.active and self.probe_failures >= self.failures_max:
            return False
        return not (self.passive and self.failures_in_a_row >= self.failures_max)

    def begin(self, now: float) -> Permit | None:
        permit = self.breaker.admit(now)
        if permit is not None:
            self.in_flight += 1
            self.requests += 1
        return permit

    def end(self, permit: Permit, now: float, fault: Fault | None, *, answered: bool) -> None:
        """Settle one request.

        Args:
            fault: what went wrong; only faults whose row says so count against the backend.
            answered: whether the backend proved itself alive; False for a request that the client abandoned.
        """
        self.in_flight -= 1
        if fault is not None and fault.row.trips:
            self.errors += 1
            self.failures_in_a_row += 1
            self.last_error_at = now
            self.last_error = f"{fault.row.label}: {fault.detail or fault.message}"[:300]
            self.breaker.failure(permit, now)
        elif answered:
            self.failures_in_a_row = 0
            self.breaker.success(permit, now)
        else:
            self.breaker.abandon(permit)

    def saw_first_byte(self, seconds: float) -> None:
        self.first_byte_s = seconds if not self.first_byte_s else self.first_byte_s + LATENCY_WEIGHT * (seconds - self.first_byte_s)

    def probed(self, problem: str) -> None:
        """The result of an active probe; empty when it went well."""
        self.last_probe = problem or "ok"
        self.probe_failures = self.probe_failures + 1 if problem else 0


def breaker_policy(settings: Backend, *, probe_first: bool) -> BreakerPolicy:
    one = settings.breaker
    return BreakerPolicy(
        consecutive_failures=one.consecutive_failures, failure_ratio=one.failure_ratio, min_requests=one.min_requests,
        window_s=one.window_s, open_s=one.open_s, half_open_max=one.half_open_max, successes_to_close=one.successes_to_close,
        probe_first=probe_first,
    )  # fmt: skip


def backend_state(name: str, settings: Backend, *, probe_first: bool) -> BackendState:
    return BackendState(
        name=name, breaker=Breaker(breaker_policy(settings, probe_first=probe_first)), failures_max=settings.health.failures,
        passive=settings.health.mode != "off", active=settings.health.mode == "active",
    )  # fmt: skip


@attrs.define(eq=False)
class Live:
    """The process as a whole.

    Attributes:
        turns: round-robin position by route name. hedges: of routes that hedge, by their names.
        requests: in flight, refusals included; streams: answers being streamed; drains: read on for callers who left.
        draining: readiness is 503 and listeners close.
        responses: who made which, for requests that go on from one.
        reloaded_at, started_wall: wall-clock seconds since the epoch.
    """

    turns: dict[str, int] = attrs.field(factory=dict)
    hedges: dict[str, Hedging] = attrs.field(factory=dict)
    requests: int = 0
    streams: int = 0
    drains: int = 0
    draining: bool = False
    reloads_ok: int = 0
    reloads_failed: int = 0
    reloaded_at: float = 0.0
    started_wall: float = 0.0
    restarts: dict[str, int] = attrs.field(factory=dict)
    responses: ResponseIds = attrs.field(factory=lambda: ResponseIds(0))

    def turn(self, route: str) -> int:
        turn = self.turns.get(route, 0)
        self.turns[route] = turn + 1
        return turn

    def hedging(self, route: str) -> Hedging:
        known = self.hedges.get(route)
        if known is None:
            known = self.hedges[route] = Hedging()
        return known

    def forget_routes(self, names: Mapping[str, object]) -> None:
        """After a reload: positions and times of routes that are gone."""
        for name in [name for name in self.turns if name not in names]:
            del self.turns[name]
        for name in [name for name in self.hedges if name not in names]:
            del self.hedges[name]
