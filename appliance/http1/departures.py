"""Many sockets written in one go: what the tasks of one pass of the event loop have for the wire leaves right before the loop waits.

The rule: a `send` whose peer sleeps wakes it, and waking is what it costs: 26 of the 45 µs that a request spent in the kernel (measured on
two cores, 32 connections). Under load a pass serves a dozen requests, and between two of their sends the peer falls asleep again. Sent one
after the other, only the first wakes anybody. A loop with nothing else to do waits at once, so a lone request leaves as soon as it would
have. Only what is small and would fit the socket's buffer comes here; what the kernel does not take whole is its owner's to send, who is
woken for it.
"""

from collections.abc import Callable

import attrs
import trio

# What waits for the end of a pass at most. More would not get cheaper: the first of sixteen pays for all. It bounds how long the first one
# waits (2 ms at 150 µs a request), too.
TOGETHER_MAX = 16
# Linux gives a new TCP socket a send buffer of this size (net.ipv4.tcp_wmem), so that a peer that has read what came before gets it whole.
LEAVING_MAX_BYTES = 16_384


def _as_it_is(bug: Exception) -> None:
    raise bug


def _nothing() -> None:
    pass


@attrs.define(eq=False)
class Departures(trio.abc.Instrument):
    """What leaves together. `running` tells whether anybody sees to that; until then everything is to be sent at once.

    `on_error` hears of what a departure raised, which would be a bug, and must not raise.
    """

    on_error: Callable[[Exception], None] = _as_it_is
    running: bool = False
    _waiting: list[Callable[[], bool | None]] = attrs.field(factory=list)

    def add(self, leave: Callable[[], bool | None]) -> None:
        """`leave` is called before the loop waits next, and tells whether it has woken a task. It must not wait nor raise; whoever owns it
        may have nothing left to send by then. Never called from here: in the same step there may still be something to write `before` it.
        """
        if len(self._waiting) >= TOGETHER_MAX:
            self.flush()
        self._waiting.append(leave)

    def before(self, write: Callable[[], bool | None]) -> bool:
        """`write` is called as with `add`, once, before everything that leaves then: for what has to be written down first. False, and
        nothing is called, where nothing is about to leave, or nobody sees to that."""
        waiting = self._waiting
        if not (self.running and waiting):
            return False
        if waiting[0] != write:
            waiting.insert(0, write)
        return True

    def flush(self) -> bool:
        """Everything leaves now. Whether a task was woken by that."""
        waiting, self._waiting = self._waiting, []
        woken = False
        for leave in waiting:
            try:
                if leave():
                    woken = True
            except Exception as bug:  # trio would drop an instrument that raises, and nothing would ever leave again
                self.on_error(bug)
        return woken

    def before_io_wait(self, timeout: float) -> None:
        """Trio's word that every task has had its turn. How long it waits is settled by now: a task woken here would sleep on for as long,
        were the wait not cut short."""
        if self._waiting and self.flush() and timeout > 0:
            trio.lowlevel.current_trio_token().run_sync_soon(_nothing, idempotent=True)

    async def run(self) -> None:
        """Service: until cancelled."""
        trio.lowlevel.add_instrument(self)
        self.running = True
        try:
            await trio.sleep_forever()
        finally:
            self.running = False
            self.flush()
            trio.lowlevel.remove_instrument(self)
