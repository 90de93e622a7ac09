"""What the client side of HTTP/1.1 promises: one small protocol and the values that cross it.

The rule: an expected failure is a returned `Failure`, never an exception. What a peer, a network or a limit can cause is a value; what is
raised is a bug of ours (or trio's `Cancelled`). Whoever calls works against `Transport` and `Exchange` alone, so that another engine (see
gateway/httpx_transport.py) can stand behind the same names.
"""

from collections.abc import Callable
from typing import Literal, Protocol

import attrs

FailureKind = Literal[
    "connect",  # name not found, refused, unreachable
    "connect_timeout",  # DNS, TCP and TLS together took longer than connect_s
    "tls",  # handshake failed: certificate, host name, version
    "queue_full",  # every connection busy and queue_max callers already wait
    "queue_timeout",  # waited queue_s for a connection
    "closed",  # the peer closed or reset before the message was complete, or this transport is closed
    "protocol",  # what came is not an HTTP/1.1 response we accept
    "too_large",  # head, header count or body over its limit
    "write",  # the request could not be written and no answer came either
]


@attrs.frozen
class Failure:
    """An expected failure.

    Attributes:
        kind: one of the closed set above.
        detail: words for a human; never a header value, a body byte or a secret.
        received: at least one byte of the response had come.
        sent: at least one byte of the request had left, so the peer may have acted on it.
    """

    kind: FailureKind
    detail: str
    received: bool = False
    sent: bool = False


class BodySource(Protocol):
    """A body that is sent while it arrives.

    Attributes:
        length: its size in bytes; None when that is not known ahead (then it is sent in chunks).
    """

    @property
    def length(self) -> int | None: ...

    async def piece(self) -> bytes | None:
        """The next bytes; b"" at the end; None when the body cannot be completed: the request is given up, and its connection closed.

        Asked for the next piece only when the one before has been written, so that a slow reader slows its source. A cancelled call has
        taken nothing: the next one gives what it would have given.
        """
        ...


@attrs.define  # never changed after it is made, but not frozen: that would cost every request half a microsecond
class UpstreamRequest:
    """One request, already encoded as far as it can be ahead of time.

    Attributes:
        method: b"POST", b"GET", b"HEAD".
        target: path and query in origin form, base_url's path already in front.
        headers: block of b"name: value\\r\\n" lines with host, without content-length, transfer-encoding and connection. The caller vouches
            for it: it is sent as it is.
        body: the whole body. Content-Length is added here, for an empty one too unless the method is GET or HEAD.
        source: where the body comes from instead, piece by piece; `body` is empty then, and the connection a new one. An upstream that
            answers with an error status (or a redirect) before it has all of it gets no more of it.
    """

    method: bytes
    target: bytes = attrs.field(repr=False)
    headers: bytes = attrs.field(repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    source: BodySource | None = attrs.field(default=None, repr=False)


@attrs.frozen
class TransportLimits:
    """Bounds of one transport (one origin). Sizes in bytes, times in seconds; 0 means none only where it says so.

    Attributes:
        connections_max: sockets open or being opened, idle ones included. 512 is more than one vendor's usual concurrency per key.
        idle_max: sockets kept for reuse; beyond it the longest idle one is closed.
        idle_s: own keep-alive. nginx and most load balancers in front of vendors close after 60 to 75 s; being first avoids the race. A
            shorter `Keep-Alive: timeout=` of the peer wins.
        queue_max: callers that may wait for a connection.
        queue_s: how long one of them waits.
        connect_s: DNS, TCP and TLS together.
        stale_s: a reused connection that ends without a byte this soon after the request is taken for one the peer had closed while idle.
        response_head_max_bytes: status line and headers, 1xx included; also the most that may arrive without yielding a body byte
            (trailers, chunk extensions). 64 KiB is four times h11's default.
        response_headers_max: header lines; vendors send 20 to 40.
        informational_max: 1xx responses before the final one.
        response_body_max_bytes: whole body; 0 = none (streams are bounded by time, whole answers by the caller).
        recv_bytes: one read from the socket.
    """

    connections_max: int = 512
    idle_max: int = 128
    idle_s: float = 60.0
    queue_max: int = 1024
    queue_s: float = 10.0
    connect_s: float = 5.0
    stale_s: float = 2.0
    response_head_max_bytes: int = 65536
    response_headers_max: int = 256
    informational_max: int = 8
    response_body_max_bytes: int = 0
    recv_bytes: int = 65536


@attrs.define(eq=False)
class Hold:
    """A hand on one request under way, for whoever watches its time from another task.

    A cancel scope around every request would do the same at ten times the price (measured: 11 against 1 microseconds). `end` closes the
    connection that carries the request; who waits for the answer gets a Failure. While no connection has been given yet, it takes effect as
    soon as one is: waiting for one and connecting have bounds of their own.
    """

    ended: bool = False
    _close: Callable[[], None] | None = None

    def end(self) -> None:
        self.ended = True
        if self._close is not None:
            self._close()

    def take(self, close: Callable[[], None]) -> None:
        """The transport's part: this ends the request now."""
        self._close = close
        if self.ended:
            close()

    def let_go(self) -> None:
        """The request is over: its connection may be another's by now."""
        self._close = None


@attrs.frozen
class PoolStats:
    """A moment's counts. open: sockets open or being opened, idle included. idle: of these, waiting for reuse. queued: callers waiting."""

    open: int
    idle: int
    queued: int


class Exchange(Protocol):
    """One response whose head is there. Belongs to one task.

    Attributes:
        status: the final status, 200 to 599.
        headers: names lowercased, in the order they came, values stripped of surrounding white space; trailers are dropped.
        reused: the request went over a pooled connection.
        connect_s: what connecting cost this request; 0.0 when reused.
        head_at: when the head had come, by trio's clock.
    """

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> list[tuple[bytes, bytes]]: ...
    @property
    def reused(self) -> bool: ...
    @property
    def connect_s(self) -> float: ...

    @property
    def head_at(self) -> float: ...

    def whole(self) -> bytes | None:
        """The body where all of it came with the head, as short answers do; then `read` has nothing more. None: it has to be read."""
        ...

    async def read(self) -> bytes | Failure:
        """Next body bytes as soon as there are any; b"" once the message is complete, and again after that.

        A body cut short is a Failure, never b""; after one the same Failure comes again. When cancelled the socket is closed before
        `Cancelled` leaves.
        """
        ...

    async def pass_on(self, take: Callable[[bytes], bool]) -> bytes | Failure:
        """As `read`, but body bytes may be given to `take` instead, piece by piece and from another task, as long as it returns True.

        A piece for which it returned False is returned, and so is what came in any irregular way (`take` has not seen that). `take` must
        not wait; what it raises is raised here. A transport that has no other task for this just reads.
        """
        ...

    def close(self) -> None:
        """Done with it: idempotent, at once. A complete message's connection is already back in the pool; any other is closed."""
        ...


class Transport(Protocol):
    """Requests to one origin.

    Attributes:
        holds: whether `send` heeds its `hold`; if not, whoever wants to end a request has to cancel it.
    """

    @property
    def holds(self) -> bool: ...

    async def send(self, request: UpstreamRequest, hold: Hold | None = None) -> "Exchange | Failure":
        """Returns when the head of the final response is there. When cancelled the socket is closed before `Cancelled` leaves.

        `hold` ends the request from outside, up to the last byte of the answer; a transport may not know how to (see `holds`).
        """
        ...

    def stats(self) -> PoolStats: ...

    async def keep(self) -> None:
        """Upkeep service, runs until cancelled. Optional: without it idle sockets are only pruned when the pool is used."""
        ...

    async def aclose(self) -> None:
        """Closes what is idle and refuses new requests; running exchanges finish and their sockets close then.

        May wait for them (the httpx adapter does); when cancelled it cuts what it waited for.
        """
        ...
