"""One request and its response over one connection.

The rule: the slot an exchange was given goes back exactly once: with the connection when the message is complete and may be followed by
another, without it (socket closed first) on any failure, close or cancellation.
"""

import trio

from appliance.http1.link import Link
from appliance.http1.pool import Connection, Pool
from appliance.http1.transport import Failure, Hold, UpstreamRequest


class Http1Exchange:
    """A response whose head has come; see transport.Exchange. `next_head` makes one."""

    __slots__ = ("_body_size", "_connection", "_failure", "_hold", "_pool", "_ready", "connect_s", "headers", "reused", "status")

    def __init__(self, connection: Connection, pool: Pool, hold: Hold | None, *, reused: bool) -> None:
        self._hold = hold
        reader = connection.reader
        self.status = reader.status
        self.headers = reader.headers
        self.reused = reused
        self.connect_s = 0.0 if reused else connection.connect_s
        self._pool = pool
        self._connection: Connection | None = connection
        self._failure: Failure | None = None
        self._ready = b""
        self._body_size = 0
        if reader.pieces or reader.complete:
            self._collect(connection)

    async def read(self) -> bytes | Failure:
        """See transport.Exchange.read."""
        ready = self._ready
        if ready:
            self._ready = b""
            return ready
        connection = self._connection
        while connection is not None:
            reader = connection.reader
            try:
                data = await connection.link.receive()
            except BaseException:
                self.close()
                raise
            if self._connection is None:  # closed meanwhile by somebody else
                break
            if data:
                reader.feed(data)
            elif not end_of_stream(connection):
                return self._fail(cut_failure(connection.link, "response body"))
            if reader.fault is not None:
                kind, detail = reader.fault
                return self._fail(Failure(kind, detail, received=True, sent=True))
            pieces = reader.pieces
            if len(pieces) == 1 and not reader.complete and not self._pool.limits.response_body_max_bytes:
                return pieces.pop()  # the steady state of a stream
            if pieces or reader.complete:
                self._collect(connection)
                if self._ready:
                    ready, self._ready = self._ready, b""
                    return ready
                connection = self._connection
        return self._failure if self._failure is not None else b""

    def close(self) -> None:
        """See transport.Exchange.close."""
        if self._connection is not None:
            self._fail(Failure("closed", "the exchange was closed", received=True, sent=True))

    def _collect(self, connection: Connection) -> None:
        """Takes the body bytes the reader holds; a complete message gives its connection back before the caller sees its last bytes."""
        reader = connection.reader
        pieces = reader.pieces
        pool = self._pool
        if pieces:
            if len(pieces) == 1:
                data = pieces.pop()
            else:
                data = b"".join(pieces)
                pieces.clear()
            max_bytes = pool.limits.response_body_max_bytes
            if max_bytes:  # 0 means none
                self._body_size += len(data)
            if self._body_size > max_bytes:
                self._fail(Failure("too_large", "response body over response_body_max_bytes", received=True, sent=True))
                return
            self._ready = data
        if reader.complete:
            self._connection = None
            if self._hold is not None:
                self._hold.let_go()
            if reader.keep_alive and not connection.link.unsent():
                pool.restore(connection, trio.current_time())
            else:
                connection.link.close()
                pool.vacate()

    def _fail(self, failure: Failure) -> Failure:
        connection, self._connection = self._connection, None
        self._failure = failure
        self._ready = b""
        if self._hold is not None:
            self._hold.let_go()
        if connection is not None:
            connection.link.close()
            self._pool.vacate()
        return failure


async def exchange(
    connection: Connection, pool: Pool, head: bytes, request: UpstreamRequest, hold: Hold | None = None, *, reused: bool
) -> Http1Exchange | Failure:
    """Sends the request and waits for the final head. On Failure, and when cancelled, the socket is closed; the slot stays the caller's."""
    link, reader = connection.link, connection.reader
    if hold is not None:
        hold.take(link.close)
    try:
        reader.start(head_only=request.method == b"HEAD")
        link.begin(head, request.body)
        while not reader.head_done:
            data = await link.receive()
            if not data:
                failure = cut_failure(link, "response head", received=reader.received)
                link.close()
                return failure
            reader.feed(data)
            if reader.fault is not None:
                kind, detail = reader.fault
                link.close()
                return Failure(kind, detail, received=True, sent=link.sent)
    except BaseException:
        link.close()
        raise
    return Http1Exchange(connection, pool, hold, reused=reused)


def end_of_stream(connection: Connection) -> bool:
    """Reading has ended: True when that is the end of the message. A reset or a TLS stream cut short never is (RFC 9112 §9.8)."""
    return connection.link.ended == "closed" and connection.reader.end()


def cut_failure(link: Link, where: str, *, received: bool = True) -> Failure:
    """What to say of a peer that went away in the middle."""
    if link.write_failed and not received:
        return Failure("write", "the upstream closed the connection while the request was being written", received=False, sent=link.sent)
    how = {"reset": "reset the connection", "cut": "ended TLS without a closure alert"}.get(link.ended, "closed the connection")
    return Failure("closed", f"the upstream {how} before the {where} was complete", received=received, sent=link.sent)
