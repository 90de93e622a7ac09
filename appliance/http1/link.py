"""One upstream socket in cleartext: a non-blocking stdlib socket, written at once and read when readable.

The rule: a link never raises for what a peer does. A failed write is remembered and the answer is looked for all the same (an upstream may
say 413 and close before it has read the body); the end of reading is b"" with its reason in `ended`. While part of a request is still
unsent, `receive` writes it alongside, so that neither side can wait for the other for ever. A body that comes from elsewhere is fetched
there, too, piece by piece: nothing of it moves but while somebody waits for the answer. A small request is `parting` until the event loop
waits next, see departures.py; one that is given up before that never leaves.
"""

import contextlib
import select
import socket
from collections.abc import Callable
from typing import Protocol

import trio
from trio.lowlevel import checkpoint, notify_closing, wait_readable, wait_writable

from appliance.http1.departures import LEAVING_MAX_BYTES
from appliance.http1.eager import SCORE_MAX, after_miss
from appliance.http1.traffic import Traffic

# Up to here head and body are joined: a copy of 64 KiB costs about 2 µs, less than the second code path is worth.
JOIN_MAX_BYTES = 65536

# An answer that streams while its request is still sent interrupts the sending with each piece. A piece of the request that is at hand gets
# so many turns to leave all the same; fetching one from a caller's connection takes three.
FAIR_TURNS = 8

NOTHING_YET = memoryview(b"")  # stands for the rest of a body whose next piece has not come


class Pieces(Protocol):
    """See upload.FramedBody."""

    @property
    def ended(self) -> bool: ...

    async def piece(self) -> bytes | None: ...


class Link:
    """A connected socket.

    Attributes:
        ended: "" while reading goes on, then "closed" (orderly, by the peer), "reset" (an error), "cut" (TLS without its closure alert) or
            "dropped" (by ourselves: never the end of a message).
        sent: a byte of the request begun last has left.
        write_failed: the request begun last could not be written whole.
    """

    __slots__ = (
        "_act", "_arrivals", "_departures", "_given", "_parting", "_pieces", "_poll", "_recv_bytes", "_score", "_sock", "_try_first",
        "_unsent", "ended", "sent", "write_failed",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, recv_bytes: int, traffic: Traffic | None = None) -> None:
        self._sock = sock
        self._arrivals = None if traffic is None else traffic.arrivals
        self._departures = None if traffic is None else traffic.departures
        self._parting = b""
        self._act: Callable[[], None] | None = None  # what is called when something arrives, instead of a task that waits
        # Whether the first read of an answer is tried before it is waited for, see eager.py. What comes after it is paced by the network or
        # a model and always waited for.
        self._score = 0
        self._try_first = False
        self._recv_bytes = recv_bytes
        self._unsent: memoryview | None = None
        self._given = 0  # pieces, of all requests
        self._pieces: Pieces | None = None  # of a body that is not whole here; `_unsent` is not None as long as there are any
        self.ended: str = ""
        self.sent = False
        self.write_failed = False
        # A poll object answers "is it quiet" in 0.7 µs; recv(MSG_PEEK) costs 2.5 µs for its exception.
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        self._poll = poll.poll

    def begin(self, head: bytes, body: bytes) -> None:
        """Starts a request: writes what the socket takes now or, of a small one, before the loop waits. `receive` writes the rest."""
        self.sent = self.write_failed = False
        if self._score < 0:
            self._score += 1
        else:
            self._try_first = True
        size = len(head) + len(body)
        departures = self._departures
        if departures is not None and size <= LEAVING_MAX_BYTES and departures.running:
            self._parting = head + body
            departures.add(self._leave)
            return
        try:
            count = self._sock.send(head + body) if size <= JOIN_MAX_BYTES else self._sock.sendmsg((head, body))
        except BlockingIOError:
            count = 0
        except OSError:
            self.write_failed = True
            return
        self.sent = count > 0
        if count < size:
            # A head that did not fit whole is rare enough to copy the body for it.
            self._unsent = memoryview(head + body)[count:] if count < len(head) else memoryview(body)[count - len(head) :]

    def upload(self, pieces: Pieces) -> None:
        """The request begun has a body in pieces, which `receive` fetches and writes. One that cannot be completed closes the link."""
        self._leave()
        if not (self.write_failed or pieces.ended):
            self._pieces = pieces
            if self._unsent is None:
                self._unsent = NOTHING_YET

    def abandon_upload(self) -> None:
        """No more of the body is to be sent. The link can be read on, but nothing can follow on it."""
        if self._pieces is not None:
            self._pieces = self._unsent = None
            self.write_failed = True

    async def receive(self) -> bytes:
        """Next bytes as soon as there are any; b"" at the end, see `ended`."""
        while not self.ended:
            try:
                if self._unsent is not None:
                    await self._readable_while_writing()
                    if self.ended:  # closed by somebody else meanwhile
                        break
                elif not self._try_first:
                    await wait_readable(self._sock)
                else:
                    self._try_first = False
                    await checkpoint()
                    if self.ended:  # closed by somebody else meanwhile
                        break
                    if self._unsent is not None:
                        continue
                    data = self._try()
                    if data:
                        return data
                    await wait_readable(self._sock)
                data = self._sock.recv(self._recv_bytes)
            except BlockingIOError:
                continue
            except trio.ClosedResourceError:
                if self._unsent is None:  # else woken by `_leave`
                    self.ended = "dropped"
            except OSError:
                self.ended = "reset"
            else:
                if data:
                    return data
                self.ended = "closed"
        return b""

    def receive_now(self) -> bytes | None:
        """What has come; b"" at the end, see `ended`; None when there is nothing."""
        if self.ended:
            return b""
        try:
            data = self._sock.recv(self._recv_bytes)
        except BlockingIOError:
            return None
        except OSError:
            self.ended = "reset"
            return b""
        if not data:
            self.ended = "closed"
        return data

    def watch(self, act: Callable[[], None]) -> bool:
        """Have `act` called for whatever arrives (see Arrivals.watch) and when the link is closed, until `unwatch`. False when that cannot
        be: nobody listens to arrivals, or there is something to do first.
        """
        if self._arrivals is None or not self._arrivals.running or self.ended or self._unsent is not None:
            return False
        self._arrivals.watch(self._sock.fileno(), act)
        self._act = act
        return True

    def unwatch(self) -> None:
        """Idempotent."""
        if self._act is not None and self._arrivals is not None:
            self._act = None
            self._arrivals.forget(self._sock.fileno())

    def _try(self) -> bytes:
        """What is there already; b"" when nothing is, or the end, which is then found by waiting."""
        score = self._score
        try:
            data = self._sock.recv(self._recv_bytes)
        except BlockingIOError:
            self._score = after_miss(score)
            return b""
        if score < SCORE_MAX:
            self._score = score + 1
        return data

    def unsent(self) -> bool:
        """Part of the request has not left."""
        return self._unsent is not None or self.write_failed or self._parting != b""

    def quiet(self) -> bool:
        """False when an idle socket has something to say: the peer's close, an error, or bytes nobody asked for."""
        return not self._poll(0)

    def close(self) -> None:
        """At once, and idempotent. Wakes whoever still waits on the socket."""
        if self._sock.fileno() != -1:
            self.ended = self.ended or "dropped"
            self._unsent = self._pieces = None
            self._parting = b""
            act = self._act
            self.unwatch()
            notify_closing(self._sock)
            self._sock.close()
            if act is not None:
                act()

    def _leave(self) -> bool:
        """The request that is parting is written now. Whoever waits for its answer is woken for what the socket does not take, but not for
        an error: that makes the socket readable. True when anybody may have been."""
        data, self._parting = self._parting, b""
        if not data:
            return False
        try:
            count = self._sock.send(data)
        except BlockingIOError:
            count = 0
        except OSError:
            self.write_failed = True
            return False
        self.sent = count > 0
        if count == len(data):
            return False
        self._unsent = memoryview(data)[count:]
        notify_closing(self._sock)
        return True

    async def _readable_while_writing(self) -> None:
        """Returns once the socket is readable; meanwhile writes. Rare (bodies beyond the socket's buffer), so a nursery may cost 80 µs."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_rest if self._pieces is None else self._write_pieces)
            given = self._given
            try:
                await wait_readable(self._sock)
            except trio.ClosedResourceError:
                self.ended = "dropped"
            turns = 0
            while self._pieces is not None and self._given == given and turns < FAIR_TURNS:
                await checkpoint()
                turns += 1
            nursery.cancel_scope.cancel()

    async def _write_rest(self) -> None:
        while self._unsent is not None:
            try:
                await wait_writable(self._sock)
                self._flush()
            except (trio.ClosedResourceError, BlockingIOError):
                continue  # closed: `close` has dropped what was unsent

    async def _write_pieces(self) -> None:
        """What is left of the piece before, then one piece after the other. Cancelled at any await, it goes on where it was."""
        if self._unsent is NOTHING_YET:
            self._unsent = None
        while True:
            await self._write_rest()
            pieces = self._pieces
            if pieces is None or self.write_failed:
                self._pieces = None
                return
            self._unsent = NOTHING_YET
            await checkpoint()  # a source may have its pieces at hand, and a peer that reads as fast would never make anybody wait
            piece = await pieces.piece()
            if piece is None:
                self.close()
                return
            self._unsent = None
            self._give(piece)
            if pieces.ended:
                self._pieces = None

    def _give(self, piece: bytes) -> None:
        """Writes what the socket takes now of one more piece; the rest is unsent."""
        self._given += 1
        self._unsent = memoryview(piece)
        with contextlib.suppress(BlockingIOError):
            self._flush()

    def _flush(self) -> None:
        """Writes what the socket takes now. Raises BlockingIOError when that is nothing."""
        if self._unsent is None:
            return
        try:
            rest = self._unsent[self._sock.send(self._unsent) :]
        except BlockingIOError:
            raise
        except OSError:
            self.write_failed = True
            self._unsent = None
        else:
            self.sent = True
            self._unsent = rest if len(rest) else None
