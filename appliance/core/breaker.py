"""The circuit breaker of one backend: a state machine over `now`, with no clock of its own.

    state      event                                          next
    ---------  ---------------------------------------------  ---------
    closed     consecutive failures reach their limit         open
    closed     failure share in the window reaches its limit  open
    open       rested for `open_s` (and a free probe passed)  half_open
    half_open  `successes_to_close` probes succeeded          closed
    half_open  a probe failed                                 open

Two signals, because each is blind where the other sees: consecutive failures trip on a dead backend after a handful of requests; the
ratio trips on one that fails every other time, which never fails often enough in a row. `min_requests` protects a cold start, where one
failure out of one would be 100 %.

An outcome counts only in the state it was admitted in: a slow request admitted before the breaker opened must neither close a half-open
breaker nor open it again. Each admission carries the generation of the state for that.
"""

from enum import StrEnum

import attrs

WINDOW_SLICES = 10
"""The ratio's window moves in tenths: exact enough for a threshold, and constant memory however high the traffic."""

PROBE_GRACE = 2.0
"""When the keeper's free probe should go first but has not come within this many rests, callers are let through: a broken keeper must not
keep a recovered backend out for ever."""


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@attrs.frozen
class BreakerPolicy:
    """Limits; see `Breaker` of the config schema for units and reasons.

    Attributes:
        probe_first: a free probe decides when an open one half-opens.
        slice_s: of the window.
    """

    consecutive_failures: int = 5
    failure_ratio: float = 0.5
    min_requests: int = 10
    window_s: float = 60.0
    open_s: float = 30.0
    half_open_max: int = 3
    successes_to_close: int = 3
    probe_first: bool = False
    slice_s: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "slice_s", self.window_s / WINDOW_SLICES)


@attrs.frozen
class Permit:
    """Leave to send one request. Give it back with exactly one of `success`, `failure`, `abandon`."""

    generation: int
    half_open: bool


@attrs.define
class Breaker:
    policy: BreakerPolicy
    state: BreakerState = BreakerState.CLOSED
    opened_at: float = 0.0
    opened_total: int = 0
    generation: int = 0
    consecutive: int = 0
    _probes: int = 0
    _probe_successes: int = 0
    _slice: int = -1
    _good: list[int] = attrs.field(factory=lambda: [0] * WINDOW_SLICES)
    _bad: list[int] = attrs.field(factory=lambda: [0] * WINDOW_SLICES)
    _usual: Permit = attrs.field(init=False)  # what everybody gets while it is closed

    def __attrs_post_init__(self) -> None:
        self._usual = Permit(self.generation, False)

    def would_admit(self, now: float) -> bool:
        """Whether `admit` would give a permit, without taking it."""
        if self.state is BreakerState.CLOSED:
            return True
        if self.state is BreakerState.OPEN:
            return self._lets_callers_probe(now)
        return self._probes < self.policy.half_open_max

    def admit(self, now: float) -> Permit | None:
        if self.state is BreakerState.CLOSED:
            return self._usual
        if self.state is BreakerState.OPEN:
            if not self._lets_callers_probe(now):
                return None
            self.half_open()
        if self._probes >= self.policy.half_open_max:
            return None
        self._probes += 1
        return Permit(self.generation, True)

    def success(self, permit: Permit, now: float) -> None:
        if permit is self._usual:
            self.consecutive = 0
            current = int(now / self.policy.slice_s)
            if current != self._slice:
                self._turn(current)
            self._good[current % WINDOW_SLICES] += 1
        elif permit.half_open and permit.generation == self.generation:
            self._probes -= 1
            self._probe_successes += 1
            if self._probe_successes >= self.policy.successes_to_close:
                self._enter(BreakerState.CLOSED)

    def failure(self, permit: Permit, now: float) -> None:
        if permit.generation != self.generation:
            return
        if permit.half_open:
            self.open(now)
            return
        self.consecutive += 1
        current = int(now / self.policy.slice_s)
        if current != self._slice:
            self._turn(current)
        self._bad[current % WINDOW_SLICES] += 1
        policy = self.policy
        if (policy.consecutive_failures and self.consecutive >= policy.consecutive_failures) or self._ratio_reached():
            self.open(now)

    def abandon(self, permit: Permit) -> None:
        """The request ended without telling anything of the backend (the client left, or the fault was the caller's)."""
        if permit.half_open and permit.generation == self.generation:
            self._probes -= 1

    def open(self, now: float) -> None:
        self._enter(BreakerState.OPEN)
        self.opened_at = now
        self.opened_total += 1

    def half_open(self) -> None:
        self._enter(BreakerState.HALF_OPEN)

    def reset(self) -> None:
        """An operator's word: closed, as if new."""
        self._enter(BreakerState.CLOSED)

    def rested(self, now: float) -> bool:
        """Whether it is open and may be probed."""
        return self.state is BreakerState.OPEN and now >= self.opened_at + self.policy.open_s

    def _lets_callers_probe(self, now: float) -> bool:
        rests = PROBE_GRACE if self.policy.probe_first else 1.0
        return now >= self.opened_at + self.policy.open_s * rests

    def _enter(self, state: BreakerState) -> None:
        self.state = state
        self.generation += 1
        self._usual = Permit(self.generation, False)
        self.consecutive = self._probes = self._probe_successes = 0
        self._good = [0] * WINDOW_SLICES
        self._bad = [0] * WINDOW_SLICES
        self._slice = -1

    def _turn(self, current: int) -> None:
        """Begin another slice of the window, and forget those that have left it."""
        stale = WINDOW_SLICES if self._slice < 0 else min(WINDOW_SLICES, current - self._slice)
        for step in range(stale):
            self._good[(current - step) % WINDOW_SLICES] = self._bad[(current - step) % WINDOW_SLICES] = 0
        self._slice = current

    def _ratio_reached(self) -> bool:
        bad = sum(self._bad)
        total = bad + sum(self._good)
        return self.policy.failure_ratio > 0 and total >= self.policy.min_requests and bad >= total * self.policy.failure_ratio
