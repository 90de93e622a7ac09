"""A small histogram of times, for their percentiles: buckets that grow by a tenth, kept only where something fell in. Pure.

The rule: it is bounded however long it counts, two of them add up, and what it says of a percentile is within 5 % of the truth.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import attrs

from appliance.core.interval import Interval, Z

GROWTH: Final = 1.1
_LOG_GROWTH: Final = math.log(GROWTH)

VALUE_MAX: Final = 10_000_000.0
"""Longer counts as this: nearly three hours in milliseconds."""

PLACE_MAX: Final = math.ceil(math.log(VALUE_MAX) / _LOG_GROWTH)
"""The last bucket; place 0 is what is below 1, place p is up to GROWTH ** p."""


@attrs.define
class Spread:
    """How many values fell into each bucket. Values are not negative."""

    counts: dict[int, int] = attrs.field(factory=dict)

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Of times in whole milliseconds many are equal; where they fall is worked out once."""
        found = cls()
        for value, count in Counter(values).items():
            place = place_of(value)
            found.counts[place] = found.counts.get(place, 0) + count
        return found

    def merge(self, other: Mapping[int, int]) -> None:
        """Add another's counts; what is no bucket of ours goes to the nearest."""
        for place, count in other.items():
            kept = max(0, min(PLACE_MAX, place))
            self.counts[kept] = self.counts.get(kept, 0) + count

    def percentile(self, percent: float) -> Interval | None:
        """The value that `percent` of all do not pass, and where it lies in 95 of 100 samples (by ranks, whatever the distribution).
        None of no values."""
        count = sum(self.counts.values())
        if not count:
            return None
        share = percent / 100
        rank, reach = share * count, Z * math.sqrt(count * share * (1 - share))
        low, value, high = self._at(rank - reach), self._at(rank), self._at(rank + reach + 1)
        return Interval(value, min(low, value), max(high, value))

    def _at(self, rank: float) -> float:
        """The value of a rank, 1 to the count: its place within its bucket as if all there were evenly spaced."""
        passed, upper = 0, 0.0
        for place, count in self._ordered():
            lower, upper = (GROWTH ** (place - 1) if place else 0.0), GROWTH**place
            if passed + count >= rank:
                return lower + (upper - lower) * max(0.0, (rank - passed) / count)
            passed += count
        return upper

    def _ordered(self) -> Iterator[tuple[int, int]]:
        return iter(sorted(self.counts.items()))


def place_of(value: float) -> int:
    if value < 1:
        return 0
    return max(1, math.ceil(math.log(min(value, VALUE_MAX)) / _LOG_GROWTH))
