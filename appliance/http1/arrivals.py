"""Many sockets read by one task: what arrives on them is handed to a plain function each.

The rule: a task that waits for its socket costs its event loop a timer check, a registration and a resumption through every coroutine above
it, each time; for one event of a stream that is more than all the rest. So tasks whose streams flow steadily sleep, and one task waits, for
an epoll set of its own, level-triggered, and calls what belongs to each socket that has something. Whatever does not fit (an end, an error,
a reader that is slower than the stream) wakes the task that sleeps. Linux only, as is the rest of this engine.
"""

import select
from collections.abc import Callable

import attrs
from trio.lowlevel import notify_closing, wait_readable

# Between two looks the other tasks get their turn: 64 events take about 3 ms.
EVENTS_MAX = 64


@attrs.define(eq=False)
class Arrivals:
    """The set. `running` tells whether anybody waits for it, so that a socket left to it will be heard."""

    running: bool = False
    _acts: dict[int, Callable[[], None]] = attrs.field(factory=dict)
    _epoll: select.epoll = attrs.field(factory=select.epoll)

    def __len__(self) -> int:
        return len(self._acts)

    def watch(self, fd: int, act: Callable[[], None]) -> None:
        """`act` is called whenever the socket has bytes, its end or an error. It must read, or `forget`; it must not raise."""
        self._epoll.register(fd, select.EPOLLIN)
        self._acts[fd] = act

    def forget(self, fd: int) -> None:
        """Before the socket is closed. A descriptor's number may be another's in the next look, never within one."""
        del self._acts[fd]
        self._epoll.unregister(fd)

    async def run(self) -> None:
        """Service: until cancelled."""
        self.running = True
        try:
            acts = self._acts
            while True:
                await wait_readable(self._epoll.fileno())
                for fd, _ in self._epoll.poll(0, EVENTS_MAX):
                    act = acts.get(fd)
                    if act is not None:  # else forgotten by one of the calls before
                        act()
        finally:
            self.running = False

    def close(self) -> None:
        notify_closing(self._epoll.fileno())
        self._epoll.close()
