"""A token bucket: how much of a limit per minute is used, at an instant that the caller names. Pure.

The rule: all figures are whole numbers, so nothing is gained or lost by rounding, however long a bucket lives: exactly the limit passes
at once, and exactly the limit a minute after that. One piece (a request, a token) is NS_PER_MIN units; a limit of N a minute then gives
back N units each nanosecond. The bucket holds what is used, not what is left: another limit (a reload) leaves what was used as it is.

What was taken on an estimate is given back only as far as it has not flowed off by itself: else a long request would be given back what
the clock has returned already, and more than the limit could pass at once. The oldest flows off first. Where something older was given
back meanwhile, less than that has flowed off of the request itself; that is left out, and it may get back a little more than its due.
"""

import attrs

NS_PER_MIN = 60_000_000_000

OVERDRAWN_MAX = 1
"""How many whole buckets may be missing after a true-up. A request that used far more than was estimated makes its holder wait for at
most this many minutes before anything passes again, not for hours."""


@attrs.define(eq=False)
class Bucket:
    """One holder's use of one limit.

    Attributes:
        limit: pieces a minute, and pieces at once; at least 1. units: the same in units.
        used: units that have not flowed off; above the limit's where more was used than taken.
        at_ns: the instant of `used`.
        flowed: units that the clock has ever returned; place: of the last unit taken, counted from where `flowed` began. Both only to tell
            whose part has flowed off.
    """

    limit: int
    used: int = 0
    at_ns: int = 0
    flowed: int = 0
    place: int = 0
    units: int = attrs.field(init=False)
    _before: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.units = self.limit * NS_PER_MIN

    def advance(self, now_ns: int) -> None:
        """Let flow off what the time since the last look returns. A clock that stands still or goes back returns nothing."""
        passed_ns = now_ns - self.at_ns
        if passed_ns > 0:
            self.at_ns = now_ns
            if self.used:
                back = self.limit * passed_ns
                if back < self.used:
                    self.used -= back
                    self.flowed += back
                else:
                    self._empty()

    def wait_ns(self, pieces: int) -> int | None:
        """From the last look until so many pieces can be taken; 0 when they can be now, None when they never can."""
        if pieces > self.limit:
            return None
        missing = self.used + pieces * NS_PER_MIN - self.units
        return -(-missing // self.limit) if missing > 0 else 0

    def take(self, pieces: int) -> int:
        """Take them, whether they are there or not; `wait_ns` has said. Gives the place of the last one, for `true_up`."""
        self.used += pieces * NS_PER_MIN
        self.place = self.flowed + self.used
        return self.place

    def pull(self, now_ns: int, pieces: int) -> int:
        """`advance`, and `take` if so many are there: in one, since every limited request does it. Gives -1 when they are not."""
        passed_ns, used = now_ns - self.at_ns, self.used
        if passed_ns > 0:
            self.at_ns = now_ns
            if used:
                back = self.limit * passed_ns
                if back < used:
                    used -= back
                    self.flowed += back
                else:
                    self._empty()
                    used = 0
        after = used + pieces * NS_PER_MIN
        if after > self.units:
            self.used = used
            return -1
        self.used = after
        self._before = self.place
        self.place = place = self.flowed + after
        return place

    def undo(self, pieces: int) -> None:
        """What the last `pull` took, at the same instant."""
        self.used -= pieces * NS_PER_MIN
        self.place = self._before

    def true_up(self, taken: int, real: int, place: int) -> None:
        """It was `real` pieces and not `taken`, which was as far as `place`.

        Ask for it at an instant that `advance` was told of.
        """
        if real > taken:
            self.take(real - taken)
            self.used = min(self.used, (1 + OVERDRAWN_MAX) * self.units)
        elif self.used:
            back = min((taken - real) * NS_PER_MIN, max(0, place - self.flowed))
            if back < self.used:
                self.used -= back
            else:
                self._empty()

    def _empty(self) -> None:
        """Nothing is used any more: whatever was taken has flowed off."""
        self.used = 0
        self.flowed = max(self.flowed, self.place)

    def fit(self, limit: int) -> None:
        """From now on another limit holds. What was used stays used, as far as an overdrawn bucket goes."""
        self.limit, self.units = limit, limit * NS_PER_MIN
        self.used = min(self.used, (1 + OVERDRAWN_MAX) * self.units)

    @property
    def left(self) -> int:
        """Whole pieces that could be taken at the last look; 0 of an overdrawn one."""
        left = self.units - self.used
        return left // NS_PER_MIN if left > 0 else 0

    @property
    def full_in_ns(self) -> int:
        """From the last look until nothing is used any more."""
        return -(-self.used // self.limit)
