"""Which finished requests are kept for good: a share of all, and of those that went wrong as many a minute as the operator wants.

The rule: a request that is not kept costs a subtraction and two comparisons. What is kept is handed over as it is; whoever takes it puts it
in words in another thread.
"""

import math
from collections.abc import Callable
from typing import Final

from appliance.core.record import RequestRecord

NEVER: Final = 2**62
MINUTE_S: Final = 60
NOBODY: Final = "none"


class Sample:
    """See the module.

    Attributes:
        share: of all requests, from 0 to 1. troubled_max: a minute, of those that ended in an error or needed several attempts; callers
            whom nobody knows are not among them, or a scanner would push out everybody else.
        draw: in [0, 1).
    """

    def __init__(self, share: float, troubled_max: int, draw: Callable[[], float], keep: Callable[[RequestRecord], object]) -> None:
        self._share, self._troubled_max, self._draw, self._keep = share, troubled_max, draw, keep
        self._minute = 0
        self._troubled = 0
        self._until_next = self._gap()

    def offer(self, record: RequestRecord) -> None:
        """Keep a finished request, or not."""
        self._until_next -= 1
        if self._until_next < 0:
            self._until_next = self._gap()
            self._keep(record)
        elif (record.fault is not None or len(record.attempts) > 1) and record.tenant != NOBODY:
            minute = int(record.wall_time // MINUTE_S)
            if minute != self._minute:
                self._minute, self._troubled = minute, 0
            if self._troubled < self._troubled_max:
                self._troubled += 1
                self._keep(record)

    def _gap(self) -> int:
        """How many are passed over before the next one: geometric, so that each request has the same chance, for one draw each that is
        kept."""
        if self._share <= 0:
            return NEVER
        if self._share >= 1:
            return 0
        return min(NEVER, int(math.log(1 - self._draw()) / math.log1p(-self._share)))
