"""When a second attempt is made beside a slow first one, and how many of those there may be. Pure.

The rule: hedging may cost a share of the requests more and no more than that, whatever the day is like. On a day when every backend is
slow, hedging without a bound would ask each of them twice, which makes them slower still.
"""

from bisect import insort
from collections import deque
from math import ceil

import attrs

WINDOW = 256
"""Latest attempts that a percentile is taken of: the 99th stands on two of them, and a slow hour is forgotten within some hundred."""

CREDIT_MAX = 10
"""Hedges that may be saved up while nothing is slow. More would let a whole burst be asked twice after a quiet night."""


@attrs.frozen
class HedgePolicy:
    """See `Hedge` of the config schema for units and reasons; 0 turns `after_s` or `percentile` off."""

    after_s: float
    percentile: float = 0.0
    samples_min: int = 50
    max_percent: float = 5.0


@attrs.define(eq=False)
class FirstEvents:
    """How long the latest first attempts of a route took until their answer began, in seconds.

    One that was given up since a second attempt was faster counts with the time until then, as it would have taken longer: left out, the
    slowest would be missing, and each percentile would come down until every request was hedged.
    """

    _latest: deque[float] = attrs.field(factory=deque)
    _sorted: list[float] = attrs.field(factory=list)

    def __len__(self) -> int:
        return len(self._latest)

    def add(self, seconds: float) -> None:
        if len(self._latest) >= WINDOW:
            self._sorted.remove(self._latest.popleft())
        self._latest.append(seconds)
        insort(self._sorted, seconds)

    def percentile(self, percent: float) -> float:
        """The smallest time within which so many of them began (nearest rank). There must be one."""
        return self._sorted[max(0, ceil(len(self._sorted) * percent / 100) - 1)]


@attrs.define(eq=False)
class Hedging:
    """One route's hedging as this process sees it.

    Attributes:
        streams, wholes: times of streams, and of whole answers, which begin when they are complete.
        credit: hundredths of a hedge that may be made now.
        withheld: slow first attempts without a second one, since the share was used up or no other backend could be asked.
    """

    streams: FirstEvents = attrs.field(factory=FirstEvents)
    wholes: FirstEvents = attrs.field(factory=FirstEvents)
    credit: float = 0.0
    withheld: int = 0

    def earn(self, policy: HedgePolicy) -> None:
        """One more request that may be hedged."""
        self.credit = min(self.credit + policy.max_percent, CREDIT_MAX * 100.0)

    def spend(self) -> bool:
        """One hedge, if the share allows it."""
        if self.credit < 100:
            return False
        self.credit -= 100
        return True

    def times(self, *, stream: bool) -> FirstEvents:
        return self.streams if stream else self.wholes

    def wait_s(self, policy: HedgePolicy, *, stream: bool) -> float | None:
        """How long a first attempt may take before a second is made; None while that is not known, or never."""
        times = self.times(stream=stream)
        if policy.percentile and len(times) >= policy.samples_min:
            return max(policy.after_s, times.percentile(policy.percentile))
        return policy.after_s or None
