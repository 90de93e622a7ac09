"""The bound on requests in flight to one backend, with a bounded, fair wait.

Taking a free slot is a plain call; only a full backend costs an await. Slots are handed over to the longest waiter directly, so that a
newcomer cannot overtake.
"""

from collections import deque

import attrs
import trio


@attrs.define(eq=False)
class _Waiter:
    event: trio.Event = attrs.field(factory=trio.Event)
    given: bool = False
    gone: bool = False


@attrs.define(eq=False)
class Slots:
    """At most `limit` at once; at most `queue_max` waiting, each for `queue_s` at the longest."""

    limit: int
    queue_max: int
    queue_s: float
    taken: int = 0
    _waiters: deque[_Waiter] = attrs.field(factory=deque)
    _waiting: int = 0

    @property
    def waiting(self) -> int:
        return self._waiting

    @property
    def free(self) -> bool:
        """Whether `take` would give one."""
        return self.taken < self.limit and not self._waiting

    def take(self) -> bool:
        """Take a slot if one is free and nobody waits."""
        if self.taken < self.limit and not self._waiting:
            self.taken += 1
            return True
        return False

    async def wait(self) -> str:
        """Wait for a slot. Returns "" when it was given, else why not, in words."""
        if self._waiting >= self.queue_max:
            return f"all {self.limit} slots are taken and {self._waiting} requests wait already"
        waiter = _Waiter()
        self._waiters.append(waiter)
        self._waiting += 1
        self._hand_over()
        try:
            with trio.move_on_after(self.queue_s):
                await waiter.event.wait()
        except BaseException:
            if waiter.given:
                self.give()
            raise
        finally:
            if not waiter.given:
                waiter.gone = True
                self._waiting -= 1
                self._sweep()
        return "" if waiter.given else f"no slot came free within {self.queue_s:g} s"

    def give(self) -> None:
        """Give a slot back."""
        self.taken -= 1
        if self._waiters:
            self._hand_over()

    def _hand_over(self) -> None:
        while self.taken < self.limit and self._waiters:
            waiter = self._waiters.popleft()
            if waiter.gone:
                continue
            waiter.given = True
            self._waiting -= 1
            self.taken += 1
            waiter.event.set()

    def _sweep(self) -> None:
        """Forget waiters that left from both ends; those in the middle go when their turn comes, and `queue_max` bounds the living."""
        while self._waiters and self._waiters[0].gone:
            self._waiters.popleft()
        if len(self._waiters) > 2 * self.queue_max:
            self._waiters = deque(waiter for waiter in self._waiters if not waiter.gone)
