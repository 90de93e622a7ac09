"""How far a figure of a sample can be trusted: intervals that hold the true one in 95 of 100 samples. Pure.

The rule: an interval that cannot be known is None, never a guess. They take each request for a draw of its own; where a few users make most
of them, the truth lies outside more often than one time in twenty.
"""

import math
from collections.abc import Sequence
from operator import mul
from typing import Final

import attrs

Z: Final = 1.959963984540054
"""Of the normal distribution: 95 % lie within so many standard deviations."""

ROUNDING: Final = 1e-12
"""What sums of squares leave of nothing, as a share of them: a double has 16 digits. Values within a millionth of each other are alike."""

_T: Final = (
    12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139, 2.200985, 2.178813, 2.160369,
    2.144787, 2.131450, 2.119905, 2.109816, 2.100922, 2.093024, 2.085963, 2.079614, 2.073873, 2.068658, 2.063899, 2.059539, 2.055529,
    2.051831, 2.048407, 2.045230, 2.042272,
)  # fmt: skip
"""Student's t, 97.5 %, for 1 to 30 degrees of freedom: the series below is too short for few of them."""


@attrs.frozen
class Interval:
    """low ≤ value ≤ high, in whatever unit the value has."""

    value: float
    low: float
    high: float


@attrs.define
class Tally:
    """What a mean and its interval need, of any number of values; two of them add up.

    Attributes:
        squares: of the values, summed.
    """

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: Sequence[float]) -> "Tally":
        return cls(len(values), float(sum(values)), float(sum(map(mul, values, values))))

    def merge(self, other: "Tally") -> None:
        self.count += other.count
        self.total += other.total
        self.squares += other.squares

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None

    @property
    def variance(self) -> float | None:
        """Of the values, as far as a sample tells it; None of fewer than two."""
        if self.count < 2:
            return None
        spread = self.squares - self.total * self.total / self.count
        return spread / (self.count - 1) if spread > self.squares * ROUNDING else 0.0


def student_t(freedom: float) -> float:
    """The 97.5 % point of Student's t, within a thousandth. Below 30 degrees of freedom the next whole number down, which errs on the wide
    side; above, Fisher's expansion around the normal (Abramowitz and Stegun, 26.7.5)."""
    if freedom <= len(_T):
        return _T[max(1, math.floor(freedom)) - 1]
    cubed, fifth = Z**3, Z**5
    return Z + (cubed + Z) / (4 * freedom) + (5 * fifth + 16 * cubed + 3 * Z) / (96 * freedom**2)


def mean_interval(tally: Tally) -> Interval | None:
    """A mean's interval by Student's t; None of fewer than two values."""
    mean, variance = tally.mean, tally.variance
    if mean is None or variance is None:
        return None
    reach = student_t(tally.count - 1) * math.sqrt(variance / tally.count)
    return Interval(mean, mean - reach, mean + reach)


def share_interval(some: int, of: int) -> Interval | None:
    """A share's interval by Wilson's score, which stays within 0 to 1 and says something even of none in many. None of none at all."""
    if not of:
        return None
    share, z2 = some / of, Z * Z
    middle, scale = share + z2 / (2 * of), 1 + z2 / of
    reach = Z * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    low, high = (middle - reach) / scale, (middle + reach) / scale
    return Interval(share, max(0.0, low) if some else 0.0, min(1.0, high) if some < of else 1.0)


def mean_difference(one: Tally, other: Tally) -> Interval | None:
    """How much greater the mean of `one` is than that of `other`, by Welch's t: neither size nor spread need be alike."""
    if one.mean is None or other.mean is None or one.variance is None or other.variance is None:
        return None
    value = one.mean - other.mean
    first, second = one.variance / one.count, other.variance / other.count
    if not first + second:
        return Interval(value, value, value)
    freedom = (first + second) ** 2 / (first**2 / (one.count - 1) + second**2 / (other.count - 1))
    reach = student_t(freedom) * math.sqrt(first + second)
    return Interval(value, value - reach, value + reach)


def share_difference(some: int, of: int, other_some: int, other_of: int) -> Interval | None:
    """How much greater the share some/of is than the other, by Newcombe's hybrid score (Statistics in Medicine 17, 1998, method 10)."""
    one, other = share_interval(some, of), share_interval(other_some, other_of)
    if one is None or other is None:
        return None
    value = one.value - other.value
    low = value - math.hypot(one.value - one.low, other.high - other.value)
    high = value + math.hypot(one.high - one.value, other.value - other.low)
    return Interval(value, low, high)
