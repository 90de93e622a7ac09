"""When the ledger may forget what is over its time. Pure but for the two clocks that it is given.

The rule: a wrong clock must not cost the ledger. One that runs ahead makes everything old at once, and what is dropped does not come
back; so a clock is believed only when it goes on from the newest rows that there are, or has run evenly for a day. Rows of the last day
vouch for nothing: a clock that is wrong may have written them itself, before a restart.
"""

from collections.abc import Callable

import attrs

EVERY_S = 3600.0
FIRST_S = 60.0
"""After the start, which must not wait for a large month to be dropped."""

JUMP_S = 3600.0
"""Between the clock and the time that has really passed: more is a jump, by an operator, a virtual machine that slept, or a mistake."""

AWAY_S = 32 * 86_400.0
"""A gateway that was off for longer starts with a clock that nothing vouches for."""

EVENLY_S = 86_400.0
"""How long a clock must have run evenly before it is believed again: a day in which somebody may see that it is wrong."""


@attrs.define(eq=False)
class Retention:
    """Attributes:
    wall_clock: seconds since the epoch; monotonic: seconds that no clock setting changes.
    doubted: nothing is dropped now, since the clock is not believed.
    """

    wall_clock: Callable[[], float]
    monotonic: Callable[[], float]
    doubted: bool = False
    _looked_at: float | None = None
    _even: tuple[float, float] = (0.0, 0.0)  # both clocks, at the moment since which they have run alike

    def due(self, newest: float, newest_before: Callable[[float], float] = lambda _moment: 0.0) -> bool:
        """Whether to drop now. To be asked every now and then.

        Args:
            newest: when the newest row began, in seconds since the epoch; 0.0 where there is none.
            newest_before: the same of the rows that began before an instant. Asked for once.
        """
        wall, passed = self.wall_clock(), self.monotonic()
        if self._looked_at is None:
            self._looked_at, self._even = passed - EVERY_S + FIRST_S, (wall, passed)
            older = newest_before(wall - EVENLY_S)
            self.doubted = (newest > 0 and not -JUMP_S <= wall - newest <= AWAY_S) or (older > 0 and wall - older > AWAY_S)
        elif abs((wall - self._even[0]) - (passed - self._even[1])) > JUMP_S:
            self._even, self.doubted = (wall, passed), True
        if self.doubted and passed - self._even[1] >= EVENLY_S:
            self.doubted = False
        if self.doubted or passed - self._looked_at < EVERY_S:
            return False
        self._looked_at = passed
        return True
