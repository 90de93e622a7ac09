"""One accepted socket: bytes in, bytes out, closed once.

The rule: the system call is tried before anything waits, and whatever waits can be woken by `wake` (the time limits) or `close` and then
finds out why from plain attributes. No buffer but `buffer`, which never holds more than one recv, and a small answer that is `parting`
until the event loop waits next (see departures.py).
"""

import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import Callable, Sequence

import attrs
from trio import ClosedResourceError
from trio.lowlevel import checkpoint, notify_closing, wait_readable, wait_writable

from appliance.http1.departures import LEAVING_MAX_BYTES, Departures
from appliance.http1.pace import Pace

RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: close() sends RST and drops what is unsent
# A client that reads as fast as we write would never make the writer wait; after so much the other tasks get their turn.
YIELD_AFTER_BYTES = 1_048_576
JOIN_MAX_BYTES = 65_536  # above this two buffers go to the kernel as two, copying costs more than the call


class TooSlow(Exception):
    """The peer was given its time."""


@attrs.define(eq=False)
class PeerSocket:
    """A client's socket.

    `buffer` holds what was read and not yet used. `half_closed` is set when the peer's FIN or RST was seen, `closed` when our end is
    closed. `_closing` is told the descriptor right before it is closed (its number may be another connection's right after). `sent_bytes`
    and `received_bytes` are totals; the second counts body bytes that had to be waited for. `rest` is what the socket did not take of an
    answer that parted: `part_wholly` sends it, and nothing else may be sent before it.
    """

    sock: socket.socket
    recv_bytes: int
    _closing: Callable[[int], None]
    _departures: Departures | None = None
    buffer: bytes = b""
    half_closed: bool = False
    closed: bool = False
    sent_bytes: int = 0
    received_bytes: int = 0
    reading: Pace = attrs.field(factory=Pace)
    writing: Pace = attrs.field(factory=Pace)
    yielded_bytes: int = 0
    rest: memoryview | None = None
    parting: bytes = b""

    async def recv_body(self) -> bytes:
        """More of a body, b"" at the peer's FIN. Raises OSError; ClosedResourceError when closed; TooSlow once `reading.late`.

        A cancelled call has taken nothing from the socket.
        """
        if not self.half_closed:
            await checkpoint()  # before, not after: bytes that were taken must not be lost to a cancellation
        data = self._recv_now()
        if data is not None:
            return data
        self.reading.waiting, self.reading.late = True, False
        try:
            while data is None:
                try:
                    await self.wait_readable()
                except ClosedResourceError:
                    if self.closed:
                        raise
                    if self.reading.late:
                        raise TooSlow from None
                data = self._recv_now()
            return data
        finally:
            self.reading.waiting = False

    def _recv_now(self) -> bytes | None:
        try:
            data = self.sock.recv(self.recv_bytes)
        except BlockingIOError:
            return None
        self.received_bytes += len(data)
        return data

    async def wait_readable(self) -> None:
        """Raises ClosedResourceError when woken by `wake` or `close`."""
        if self.closed:
            raise ClosedResourceError
        await wait_readable(self.sock)

    async def send(self, data: bytes) -> None:
        """All of it. Raises OSError when the peer is gone, ClosedResourceError when we closed."""
        await self.part_wholly()
        rest = self.send_now(data, b"", b"")
        if rest is not None:
            await self.send_rest(rest)

    async def let_others_run(self) -> None:
        self.yielded_bytes = self.sent_bytes
        await checkpoint()

    def send_now(self, head: bytes, body: bytes, tail: bytes) -> Sequence[bytes | memoryview] | None:
        """What the kernel takes at once, in one system call. None when that was all; else `send_rest` must be awaited with what is
        returned.
        """
        if len(body) <= JOIN_MAX_BYTES:
            data = head + body + tail
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                sent = 0
            self.sent_bytes += sent
            return None if sent == len(data) else (memoryview(data)[sent:],)
        parts = (head, body, tail)
        try:
            sent = self.sock.sendmsg(parts)
        except BlockingIOError:
            sent = 0
        self.sent_bytes += sent
        for index, part in enumerate(parts):
            if sent < len(part):
                return (memoryview(part)[sent:], *parts[index + 1 :])
            sent -= len(part)
        return None

    def part(self, head: bytes, body: bytes) -> bool:
        """Whether these leave before the event loop waits next. False when they have to be sent. Not for the last answer of a
        connection."""
        departures = self._departures
        if departures is None or not departures.running or len(head) + len(body) > LEAVING_MAX_BYTES:
            return False
        if self.parting or self.rest is not None or self.closed:
            return False
        self.parting = head + body
        departures.add(self._leave)
        return True

    @property
    def leaving(self) -> bool:
        """Part of an answer is still to be sent."""
        return not self.closed and (self.writing.waiting or self.rest is not None or self.parting != b"")

    async def part_wholly(self) -> None:
        """Everything that parted has left after this. Raises like `send`."""
        self._leave()
        if self.rest is not None:
            rest, self.rest = self.rest, None
            await self.send_rest((rest,))

    def _leave(self) -> bool:
        """Whoever waits for the next request is woken for what the socket does not take, and meets an error when it sends that: an answer
        must not be left out, or the next one would be taken for it. True when anybody may have been woken."""
        data, self.parting = self.parting, b""
        if not data:
            return False
        try:
            sent = self.sock.send(data)
        except OSError:
            sent = 0
        self.sent_bytes += sent
        if sent == len(data):
            return False
        self.rest = memoryview(data)[sent:]
        self.wake()
        return True

    async def send_rest(self, parts: Sequence[bytes | memoryview]) -> None:
        """What `send_now` left. Raises like `send`. A cancelled call has sent an unknown part of it."""
        self.writing.waiting = True
        try:
            for part in parts:
                rest = memoryview(part)
                while rest:
                    rest = rest[await self._send_some(rest) :]
        finally:
            self.writing.waiting = False
            self.yielded_bytes = self.sent_bytes

    async def _send_some(self, data: memoryview) -> int:
        if self.closed:
            raise ClosedResourceError
        try:
            await wait_writable(self.sock)
            sent = self.sock.send(data)
        except (BlockingIOError, ClosedResourceError):
            return 0  # woken on behalf of the reading side, or closed: the next call looks
        self.sent_bytes += sent
        return sent

    def wake(self) -> None:
        """Whatever waits for this socket looks at its attributes again."""
        if not self.closed:
            notify_closing(self.sock)

    def close(self, *, reset: bool = False) -> None:
        """Idempotent. With `reset` the peer sees RST and unsent bytes are dropped; otherwise the kernel still delivers them."""
        if self.closed:
            return
        if not reset:
            self._leave()
        self.closed = True
        self._closing(self.sock.fileno())
        notify_closing(self.sock)
        if reset:
            with contextlib.suppress(OSError):
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()

    def acknowledged_bytes(self) -> int:
        """How much of what was sent has left the kernel's send queue: real progress of the reader, where the socket becoming writable would
        only tell of the queue being a third empty. On unix sockets the queue is counted with its overhead, so only differences mean
        anything."""
        queued = 0
        with contextlib.suppress(OSError):
            (queued,) = struct.unpack("i", fcntl.ioctl(self.sock, termios.TIOCOUTQ, b"\0\0\0\0"))
        return self.sent_bytes - queued
