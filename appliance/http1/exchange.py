"""One request and its response over one connection.

The rule: the slot an exchange was given goes back exactly once: with the connection when the message is complete and may be followed by
another, without it (socket closed first) on any failure, close or cancellation.
"""

from collections.abc import Callable
from typing import Any

import attrs
import trio
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled

from appliance.http1.link import Link
from appliance.http1.pool import Connection, Pool
from appliance.http1.transport import Failure, Hold, UpstreamRequest
from appliance.http1.upload import FramedBody


class Http1Exchange:
    """A response whose head has come; see transport.Exchange. `next_head` makes one."""

    __slots__ = (
        "_body_size", "_connection", "_failure", "_hold", "_passing", "_pool", "_ready", "connect_s", "head_at", "headers", "reused",
        "status",
    )  # fmt: skip

    def __init__(self, connection: Connection, pool: Pool, hold: Hold | None, head_at: float, *, reused: bool) -> None:
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
        self._passing: _Passing | None = None
        self.head_at = head_at
        if reader.pieces or reader.complete:
            self._collect(connection, head_at)

    def whole(self) -> bytes | None:
        """See transport.Exchange.whole."""
        if self._connection is not None or self._failure is not None:
            return None
        ready, self._ready = self._ready, b""
        return ready

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
            failure = self._feed(connection, data)
            if failure is not None:
                return failure
            pieces = reader.pieces
            if len(pieces) == 1 and not reader.complete and not self._pool.limits.response_body_max_bytes:
                return pieces.pop()  # the steady state of a stream
            if pieces or reader.complete:
                self._collect(connection, 0.0)
                if self._ready:
                    ready, self._ready = self._ready, b""
                    return ready
                connection = self._connection
        return self._failure if self._failure is not None else b""

    async def pass_on(self, take: Callable[[bytes], bool]) -> bytes | Failure:
        """See transport.Exchange.pass_on."""
        connection = self._connection
        steady = connection is not None and not self._ready and not self._pool.limits.response_body_max_bytes
        if connection is None or not steady or not connection.link.watch(self._arrived):
            return await self.read()
        self._passing = passing = _Passing(take, current_task())
        try:
            await wait_task_rescheduled(self._abandon)
        except BaseException:
            self.close()
            raise
        finally:
            self._passing = None
            connection.link.unwatch()
        if passing.bug is not None:
            self.close()
            raise passing.bug
        if passing.refused:
            return passing.refused
        reader = connection.reader
        if self._connection is not None:
            if reader.fault is not None:
                return self._fail(Failure(*reader.fault, received=True, sent=True))
            if reader.pieces or reader.complete:
                self._collect(connection, 0.0)
        return await self.read()

    def _abandon(self, _: Any) -> Abort:
        """The sleeping task was cancelled."""
        self._passing = None
        return Abort.SUCCEEDED

    def _arrived(self) -> None:
        """Called for the sleeping task: takes one piece of the steady stream; for everything else it wakes the task."""
        connection, passing = self._connection, self._passing
        if passing is None:
            return
        try:
            if connection is not None and self._take_piece(connection, passing):
                return
        except BaseException as bug:
            passing.bug = bug
        if self._passing is None:
            return  # taking the piece ended the request: the cancellation has woken the task
        self._passing = None
        reschedule(passing.sleeper)

    def _take_piece(self, connection: Connection, passing: "_Passing") -> bool:
        """Whether there is nothing in it for the task. The link's end stays to be seen, and so does what the reader holds or its fault."""
        data = connection.link.receive_now()
        if data is None:
            return True
        if not data:
            return False
        reader = connection.reader
        reader.feed(data)
        pieces = reader.pieces
        if reader.complete or reader.fault is not None or len(pieces) > 1:
            return False
        going = not connection.link.ended  # TLS may tell its end with the last bytes, and nothing arrives after that
        if not pieces:
            return going  # part of a chunk's head
        piece = pieces.pop()
        if passing.take(piece):
            return going
        passing.refused = piece
        return False

    def close(self) -> None:
        """See transport.Exchange.close."""
        if self._connection is not None:
            self._fail(Failure("closed", "the exchange was closed", received=True, sent=True))

    def _feed(self, connection: Connection, data: bytes) -> Failure | None:
        """Read what was received, or judge the end of it."""
        reader = connection.reader
        if data:
            reader.feed(data)
        elif not end_of_stream(connection):
            return self._fail(cut_failure(connection.link, "response body"))
        if reader.fault is not None:
            return self._fail(Failure(*reader.fault, received=True, sent=True))
        return None

    def _collect(self, connection: Connection, now: float) -> None:
        """Takes the body bytes the reader holds; a complete message gives its connection back before the caller sees its last bytes.
        `now` is the clock where it was read for this, else 0.
        """
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
                pool.restore(connection, now or trio.current_time())
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


@attrs.define(eq=False)
class _Passing:
    """A body being passed on: who takes the pieces, the task that sleeps, the piece refused, what taking one raised."""

    take: Callable[[bytes], bool]
    sleeper: Task
    refused: bytes = b""
    bug: BaseException | None = None


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
        if request.source is not None:
            link.upload(FramedBody(request.source))
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
        if request.source is not None and reader.status >= 300:
            link.abandon_upload()
    except BaseException:
        link.close()
        raise
    return Http1Exchange(connection, pool, hold, trio.current_time(), reused=reused)


def end_of_stream(connection: Connection) -> bool:
    """Reading has ended: True when that is the end of the message. A reset or a TLS stream cut short never is (RFC 9112 §9.8)."""
    return connection.link.ended == "closed" and connection.reader.end()


def cut_failure(link: Link, where: str, *, received: bool = True) -> Failure:
    """What to say of a peer that went away in the middle."""
    if link.write_failed and not received:
        return Failure("write", "the upstream closed the connection while the request was being written", received=False, sent=link.sent)
    if link.ended == "dropped":
        return Failure("closed", f"the request was ended before the {where} was complete", received=received, sent=link.sent)
    how = {"reset": "reset the connection", "cut": "ended TLS without a closure alert"}.get(link.ended, "closed the connection")
    return Failure("closed", f"the upstream {how} before the {where} was complete", received=received, sent=link.sent)
