"""A token bucket: how much of a limit per minute is used, at an instant that the caller names. Pure.

The rule: all figures are whole numbers, so nothing is gained or lost by rounding, however long a bucket lives: exactly the limit passes
at once, and exactly the limit a minute after that. One piece (a request, a token) is NS_PER_MIN units; a limit of N a minute then gives
back N units each nanosecond. The bucket holds what is used, not what is left: another limit (a reload) leaves what was used as it is.

Units have places, in the order in which they are taken. The clock moves a line along them (`_line`): what is behind it has flowed off, and
what lies between it and `_top` is used. So looking at a bucket changes nothing, and taking from it is one addition.

What was taken on an estimate is given back only as far as it has not flowed off by itself: else a long request would be given back what
the clock has returned already, and more than the limit could pass at once. The oldest flows off first. Where something older was given
back meanwhile, less than that has flowed off of the request itself; that is left out, and it may get back a little more than its due.
"""

import attrs

from appliance.core.claim import Figures

NS_PER_MIN = 60_000_000_000

OVERDRAWN_MAX = 1
"""How many whole buckets may be missing after a true-up. A request that used far more than was estimated makes its holder wait for at
most this many minutes before anything passes again, not for hours."""


@attrs.define(eq=False)
class Bucket:
    """One holder's use of one limit.

    Attributes:
        limit: pieces a minute, and pieces at once; at least 1.
        at_ns: the latest instant that it was looked at.
        place: of the last unit that was ever taken.
    """

    limit: int
    at_ns: int = 0
    place: int = 0
    _top: int = attrs.field(default=0, init=False)
    _offset: int = attrs.field(init=False)
    _units: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._units = self.limit * NS_PER_MIN
        self._offset = -self.limit * self.at_ns

    def advance(self, now_ns: int) -> None:
        """Look at it now. A clock that stands still or goes back returns nothing."""
        if now_ns > self.at_ns:
            self.at_ns = now_ns

    def pull(self, now_ns: int, pieces: int) -> Figures | None:
        """`advance`, and `take` if so many are there; how it stands then. In one, since every limited request does it. None when they are
        not there."""
        if now_ns > self.at_ns:
            self.at_ns = now_ns
        else:
            now_ns = self.at_ns
        limit = self.limit
        line = limit * now_ns + self._offset
        used = self._top - line
        if used <= 0:
            used = 0
            if self.place > line:
                line = self._skip(line)
        used += pieces * NS_PER_MIN
        left = self._units - used
        if left < 0:
            return None
        self._top = self.place = line + used
        return limit, left // NS_PER_MIN, -(-used // limit)

    def undo(self, pieces: int) -> None:
        """What the last `pull` took, at the same instant."""
        self._top -= pieces * NS_PER_MIN

    def wait_ns(self, pieces: int) -> int | None:
        """From the last look until so many pieces can be taken; 0 when they can be now, None when they never can."""
        if pieces > self.limit:
            return None
        missing = self.used + pieces * NS_PER_MIN - self._units
        return -(-missing // self.limit) if missing > 0 else 0

    def take(self, pieces: int) -> int:
        """Take them, whether they are there or not; `wait_ns` has said. Gives the place of the last one, for `true_up`."""
        line = self._line
        if self._top <= line:
            self._top = self._skip(line) if self.place > line else line
        self._top += pieces * NS_PER_MIN
        self.place = self._top
        return self._top

    def true_up(self, taken: int, real: int, place: int, now_ns: int = 0) -> None:
        """It was `real` pieces and not `taken`, which was as far as `place`.

        Args:
            now_ns: what to `advance` to before; 0 where it was told of that.
        """
        if now_ns > self.at_ns:
            self.at_ns = now_ns
        if real > taken:
            self.take(real - taken)
            self._top = min(self._top, self._line + (1 + OVERDRAWN_MAX) * self._units)
            return
        line, top = self.limit * self.at_ns + self._offset, self._top
        back = min((taken - real) * NS_PER_MIN, max(0, place - line))
        if top - line > back:
            self._top = top - back
        elif top > line:
            self._top = self._skip(line) if self.place > line else line

    def _skip(self, line: int) -> int:
        """Nothing is used any more, and whatever was ever taken counts as flowed off: who is still to settle gets none of it back. Where
        the line is now."""
        self._offset += self.place - line
        return self.place

    def fit(self, limit: int) -> None:
        """From now on another limit holds. What was used stays used, as far as an overdrawn bucket goes."""
        line, used = self._line, self.used
        self.limit, self._units = limit, limit * NS_PER_MIN
        self._offset = line - limit * self.at_ns
        self._top = line + min(used, (1 + OVERDRAWN_MAX) * self._units)

    @property
    def _line(self) -> int:
        return self.limit * self.at_ns + self._offset

    @property
    def used(self) -> int:
        """Units that had not flowed off at the last look; above the limit's where more was used than taken."""
        used = self._top - self._line
        return used if used > 0 else 0

    @property
    def left(self) -> int:
        """Whole pieces that could be taken at the last look; 0 of an overdrawn one."""
        left = self._units - self.used
        return left // NS_PER_MIN if left > 0 else 0

    @property
    def full_in_ns(self) -> int:
        """From the last look until nothing is used any more."""
        return -(-self.used // self.limit)

    def standing(self) -> Figures:
        """`limit`, `left` and `full_in_ns` in one."""
        limit = self.limit
        used = self._top - limit * self.at_ns - self._offset
        if used <= 0:
            return limit, limit, 0
        left = self._units - used
        return limit, left // NS_PER_MIN if left > 0 else 0, -(-used // limit)
