"""Hearing at once that a client has left, at no cost per request. Linux only.

The rule: every accepted socket is registered once, edge-triggered, for the end of the peer's side and nothing else, in an epoll set of
our own which one task waits for. TCP wakes that set on a FIN or RST whatever is unread in the receive queue, so pipelined bytes do not
hide a client that left; a reader task per connection would see the bytes first, and cost a task. (A FIN behind a full receive window has
not arrived yet; no receiver can see that one.)
"""

import select
from collections.abc import Callable

import attrs
from trio.lowlevel import notify_closing, wait_readable

LEFT = select.EPOLLRDHUP | select.EPOLLET  # EPOLLHUP and EPOLLERR are reported unasked
ENTIRELY = select.EPOLLHUP | select.EPOLLERR
EVENTS_MAX = 256  # per look; what is left keeps the set readable


@attrs.define(eq=False)
class PeerWatch:
    """`left(fd, entirely)` is called once per departure, again when a half-closed peer then goes entirely."""

    left: Callable[[int, bool], None]
    _epoll: select.epoll = attrs.field(factory=select.epoll)

    def add(self, fd: int) -> None:
        """A departure from before this call is reported as well."""
        self._epoll.register(fd, LEFT)

    def remove(self, fd: int) -> None:
        """Before the socket is closed, so that a forked child that still holds it cannot keep it in the set."""
        self._epoll.unregister(fd)

    async def run(self) -> None:
        while True:
            await wait_readable(self._epoll.fileno())
            for fd, events in self._epoll.poll(0, EVENTS_MAX):
                self.left(fd, bool(events & ENTIRELY))

    def close(self) -> None:
        notify_closing(self._epoll.fileno())
        self._epoll.close()
