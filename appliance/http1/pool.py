"""Who may use which connection to one origin: a LIFO of idle ones, a bound on all of them, and a fair queue for callers beyond it.

The rule (from httpcore's pool, without its rescans): decide synchronously, return what is still to do, let the caller do the I/O. A slot
is the right to have one socket; whoever holds one gives it back with exactly one call of `restore` or `vacate`. While anybody waits,
nothing is idle and no slot is free, so a newcomer cannot overtake the queue.
"""

from collections import OrderedDict, deque
from typing import Any, Literal

import attrs
import trio

from appliance.http1.link import Link
from appliance.http1.response import ResponseReader
from appliance.http1.transport import Failure, PoolStats, TransportLimits


@attrs.define(eq=False)
class Connection:
    """A link with its reader. connect_s: what connecting took. idle_until: when it is too old to be reused, in trio's time."""

    link: Link
    reader: ResponseReader
    connect_s: float
    idle_until: float = 0.0


Claim = Connection | Literal["connect", "wait"] | Failure


@attrs.define(eq=False)
class _Waiter:
    task: trio.lowlevel.Task
    granted: bool = False
    connection: Connection | None = None


class Pool:
    """Slots and idle connections of one origin. Times are trio's, in seconds."""

    __slots__ = ("_closed", "_idle", "_open", "_waiters", "limits")

    def __init__(self, limits: TransportLimits) -> None:
        self.limits = limits
        self._idle: deque[Connection] = deque()  # oldest first; used from the end, so that what is surplus ages and goes
        self._open = 0
        self._waiters: OrderedDict[_Waiter, None] = OrderedDict()
        self._closed = False

    def claim(self, now: float) -> Claim:
        """A live idle connection, or a slot to "connect" in, or "wait" (then call `wait`), or why not.

        Its socket is looked at however short a time it was idle. A close that is missed shows itself as a stale connection, but bytes that
        nobody asked for would be taken for the answer to this request: another caller's, where an upstream and its proxy disagree about
        where a message ends. Such a second answer mostly comes within milliseconds of the first, just when a look would be saved.
        """
        idle = self._idle
        while idle:
            connection = idle.pop()
            if now < connection.idle_until and connection.link.quiet():
                return connection
            connection.link.close()
            self._open -= 1
        if self._closed:
            return Failure("closed", "the transport is closed")
        if self._open < self.limits.connections_max:
            self._open += 1
            return "connect"
        if len(self._waiters) >= self.limits.queue_max:
            return Failure("queue_full", "every connection is busy and the queue for one is full")
        return "wait"

    async def wait(self) -> Connection | Literal["connect"] | Failure:
        """In the queue until a slot is granted, queue_s at most. Cancelled or timed out, it leaves no hole and keeps no slot."""
        waiter = _Waiter(trio.lowlevel.current_task())
        self._waiters[waiter] = None

        def leave(_: Any) -> trio.lowlevel.Abort:
            del self._waiters[waiter]
            return trio.lowlevel.Abort.SUCCEEDED

        with trio.move_on_after(self.limits.queue_s):
            await trio.lowlevel.wait_task_rescheduled(leave)
        if not waiter.granted:
            if self._closed:
                return Failure("closed", "the transport is closed")
            return Failure("queue_timeout", "waited queue_s for a free connection")
        connection = waiter.connection
        if connection is None:
            return "connect"
        if connection.link.quiet():
            return connection
        connection.link.close()
        return "connect"

    def restore(self, connection: Connection, now: float) -> None:
        """Gives back a slot with a connection that may be used again."""
        if self._closed:
            connection.link.close()
            self._open -= 1
            return
        if self._waiters:
            self._grant(connection)
            return
        limits, idle = self.limits, self._idle
        kept_s = limits.idle_s
        announced_s = connection.reader.peer_idle_s
        if announced_s is not None:
            # One second early, for the time the last bytes were under way.
            kept_s = min(kept_s, announced_s - 1.0)
        if kept_s <= 0:
            connection.link.close()
            self._open -= 1
            return
        connection.idle_until = now + kept_s
        idle.append(connection)
        if len(idle) > limits.idle_max:  # where that is none, it is this one
            idle.popleft().link.close()
            self._open -= 1

    def vacate(self) -> None:
        """Gives back a slot whose socket is closed."""
        if self._waiters:
            self._grant(None)
        else:
            self._open -= 1

    def prune(self, now: float) -> None:
        """Closes idle connections that are too old or that the peer has closed."""
        live = [c for c in self._idle if now < c.idle_until and c.link.quiet()]
        if len(live) < len(self._idle):
            for connection in set(self._idle).difference(live):
                connection.link.close()
                self._open -= 1
            self._idle = deque(live)

    def close(self) -> None:
        """Closes what is idle, sends the waiters away and refuses everybody from now on. Idempotent."""
        self._closed = True
        while self._idle:
            self._idle.pop().link.close()
            self._open -= 1
        while self._waiters:
            trio.lowlevel.reschedule(self._waiters.popitem(last=False)[0].task)

    def stats(self) -> PoolStats:
        return PoolStats(self._open, len(self._idle), len(self._waiters))

    def _grant(self, connection: Connection | None) -> None:
        waiter, _ = self._waiters.popitem(last=False)
        waiter.granted = True
        waiter.connection = connection
        trio.lowlevel.reschedule(waiter.task)
