"""One client connection from accept to close: read a head, run the application, again.

The rules: one task per connection and none per request; the application is a plain call. One cancel scope spans the connection, because
whatever cancels a request (the client left, it stopped reading, the server is cut) also ends its connection. Time limits are attributes
that the sweeper reads (`sweep`), so waiting costs no timer.
"""

import socket
from collections.abc import Callable

import attrs
import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint

from appliance.http1.asgi import Scope
from appliance.http1.eager import SCORE_MAX, after_miss
from appliance.http1.head_memory import FORGET_AFTER_S, HeadMemory
from appliance.http1.peer_socket import PeerSocket
from appliance.http1.refusal import Refusal, refusal_bytes
from appliance.http1.request_body import RequestBody, body_error
from appliance.http1.request_head import FORBIDDEN, RequestHead, read_head
from appliance.http1.scope import Address, request_scope
from appliance.http1.server_state import ServerState
from appliance.http1.turn import ANSWERED, EndReason, Turn, unless_departure

HEAD_END = b"\r\n\r\n"

# What a connection is waiting for. RUNNING covers everything from a whole head to the end of its answer.
IDLE, HEAD, RUNNING, LINGERING = range(4)


@attrs.define(eq=False)
class Connection:
    """`client` and `local` are the two addresses as ASGI wants them; `refusal` is answered at once instead of reading a request."""

    peer: PeerSocket
    server: ServerState
    client: Address
    local: Address
    refusal: Refusal | None = None
    turn: Turn | None = None
    phase: int = IDLE
    answers: int = 0
    _overdue: bool = False
    _eager: int = 0
    _waited_s: float = 0.0
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _memory: HeadMemory = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._memory = HeadMemory(self.server.limits)

    async def run(self, forget: Callable[["Connection"], None]) -> None:
        """The connection's task. `forget` is called at its end."""
        try:
            with self._scope:
                await self._converse()
                await self._part()
        except (OSError, trio.ClosedResourceError):
            pass  # the client is gone, or we closed: nobody to tell
        except Exception as bug:  # of the engine or of a hook; one connection must not take the others with it
            self.server.on_error(bug, {})
        finally:
            self.peer.close()
            forget(self)

    async def _converse(self) -> None:
        if self.refusal is not None:
            await self._refuse(self.refusal)
            return
        while True:
            head = await self._read_head()
            if head is None:
                return
            if isinstance(head, Refusal):
                await self._refuse(head)
                return
            if not await self._serve(head):
                return
            del head  # not kept while the connection idles: 4,096 large heads are hundreds of megabytes

    # heads -------------------------------------------------------------------------------------------------------------------------------

    async def _read_head(self) -> RequestHead | Refusal | None:
        """The next head; None when the connection ended between requests."""
        peer = self.peer
        data = peer.buffer
        if data:
            await cancel_shielded_checkpoint()  # a pipelining client takes turns with the others
        else:
            self._enter(IDLE)
            if self._eager < 0:
                self._eager += 1
            elif not peer.half_closed:
                data = await self._try()
            if not data:
                data = await self._recv()
                if not data:
                    return None
        end = data.find(HEAD_END)
        if end < 0:
            return await self._read_rest_of_head(bytearray(data))
        return self._take_head(data, end + 4)

    def _take_head(self, data: bytes, size: int) -> RequestHead | Refusal:
        self.phase = RUNNING
        if size > self.server.limits.head_max_bytes:
            return self._head_too_large(data)
        self.peer.buffer = data[size:]
        return self._memory.read(data[:size])

    async def _read_rest_of_head(self, head: bytearray) -> RequestHead | Refusal | None:
        limits = self.server.limits
        self._enter(HEAD)
        self.peer.buffer = b""
        checked = 0
        while True:
            # From the last byte seen on, since a CR may only be judged with its successor.
            if FORBIDDEN.search(head, max(0, checked - 1)) is not None:
                refusal = read_head(bytes(head), limits)
                return refusal if isinstance(refusal, Refusal) else Refusal(400, "malformed request head")
            checked = len(head)
            if checked > limits.head_max_bytes or (checked > limits.target_max_bytes + 64 and b"\n" not in head):
                return self._head_too_large(head)
            data = await self._recv()
            if self._overdue:
                return Refusal(408, "the request head did not arrive in time")
            if not data:
                return Refusal(400, "the connection ended inside the request head")
            head += data
            end = head.find(HEAD_END, max(0, checked - 3))
            if end >= 0:
                return self._take_head(bytes(head), end + 4)

    def _head_too_large(self, head: bytes | bytearray) -> Refusal:
        if head.find(b"\n", 0, self.server.limits.target_max_bytes + 64) < 0:
            return Refusal(414, "the request target is too long")
        return Refusal(431, "the request head is too large")

    def _enter(self, phase: int) -> None:
        self.phase = phase
        self._waited_s = 0.0
        self._overdue = False

    async def _recv(self) -> bytes:
        """More bytes; b"" at the end of the client's side, or when the sweeper or a drain ended the wait."""
        peer = self.peer
        wait = not peer.half_closed
        while True:
            if peer.rest is not None:
                await self._part()
            leaving = self.server.draining and self.phase == IDLE and self.answers > 0
            if wait and not leaving:
                try:
                    await peer.wait_readable()
                except trio.ClosedResourceError:
                    if peer.closed:
                        raise
                    if self._overdue:
                        return b""
            try:
                return peer.sock.recv(peer.recv_bytes)
            except BlockingIOError:
                if leaving:
                    return b""
                wait = True

    async def _try(self) -> bytes:
        """What is there after a turn of the others; b"" when nothing is, or the end, which is then found by waiting."""
        peer, score = self.peer, self._eager
        await checkpoint()
        if peer.closed:
            raise trio.ClosedResourceError
        try:
            data = peer.sock.recv(peer.recv_bytes)
        except BlockingIOError:
            self._eager = after_miss(score)
            return b""
        if score < SCORE_MAX:
            self._eager = score + 1
        return data

    async def _part(self) -> None:
        """What is left of the answer before leaves, at the pace asked of whoever reads an answer."""
        phase, self.phase = self.phase, RUNNING
        await self.peer.part_wholly()
        self.phase = phase

    # requests ----------------------------------------------------------------------------------------------------------------------------

    async def _serve(self, head: RequestHead) -> bool:
        """Run the application once; whether another request may follow."""
        peer, server, asked = self.peer, self.server, head.facts
        limits = server.limits
        if peer.rest is not None or peer.parting:
            await peer.part_wholly()
        body = RequestBody(peer, limits, head.length)
        self.answers += 1
        keep_alive = asked.keep_alive and self.answers < limits.requests_per_connection_max
        turn = Turn(peer, server, asked, body, self.end, keep_alive, asked.expects_continue)
        scope = request_scope(head, turn, self.client, self.local, server.lifespan_state)
        error: Exception | None = None
        self.turn = turn
        if peer.half_closed:
            # The client may still read: what the application can answer without waiting gets out.
            turn.gone_early = True
            self.end("client_gone")
        try:
            await server.app(scope, turn.receive, turn.send)
        except Exception as raised:
            error = raised
        except BaseExceptionGroup as group:
            cancelled, rest = group.split(trio.Cancelled)
            if cancelled is None or not isinstance(rest, Exception):
                raise
            server.on_error(rest, scope)  # an error beside a cancellation: both are told, each to whom it concerns
            raise cancelled from None
        finally:
            self.turn = None
            if turn.state != ANSWERED:  # after a whole answer nobody waits to hear of it
                turn.ended(None)
        if error is not None or turn.state != ANSWERED:
            await self._mend(turn, error, scope)
            return False
        if body.complete and turn.keep_alive:
            return True
        await self._part()  # the client may want its answer before it sends the rest of its body
        if not turn.keep_alive or not await body.discard():
            await self._close_gently(sure=body.complete and not peer.buffer and not asked.keep_alive)
            return False
        return True

    async def _mend(self, turn: Turn, error: Exception | None, scope: Scope) -> None:
        """The application raised, or returned without a whole answer: say so in a status while that is possible, else let the cut be
        seen."""
        peer, target = self.peer, scope["raw_path"]
        blame = body_error(error)
        if blame is None:
            bug = unless_departure(error)
            if bug is None and error is None and turn.end_reason is None and not peer.closed:
                bug = RuntimeError("the application returned before its answer was whole")
            if bug is not None:
                self.server.on_error(bug, scope)
        if peer.closed:
            return
        if not turn.untouched:
            if turn.state == ANSWERED:
                await self._part()
            peer.close(reset=turn.ends_with_connection)
        elif blame is not None:
            await self._refuse(Refusal(blame.status, str(blame), target))
        elif turn.end_reason is None:
            await self._answer_last(Refusal(500, "internal error", target))

    # the end -----------------------------------------------------------------------------------------------------------------------------

    async def _refuse(self, refusal: Refusal) -> None:
        if self.server.on_refusal is not None:
            self.server.on_refusal(refusal.status, refusal.reason)
        await self._answer_last(refusal)

    async def _answer_last(self, refusal: Refusal) -> None:
        self.phase = RUNNING
        await self.peer.send(refusal_bytes(refusal, self.server.render_refusal, self.server.date_line))
        await self._close_gently(sure=False)

    async def _close_gently(self, *, sure: bool) -> None:
        """Close so that the client reads our last answer: closing with unread bytes makes the kernel send RST, which may overtake it
        (RFC 9112 §9.6). `sure` when nothing more can be expected from the client."""
        peer, limits = self.peer, self.server.limits
        if sure:
            return
        self._enter(LINGERING)
        peer.sock.shutdown(socket.SHUT_WR)
        dropped = len(peer.buffer)
        peer.buffer = b""
        while dropped <= limits.linger_max_bytes:
            data = await self._recv()
            if not data:
                return
            dropped += len(data)

    def end(self, reason: EndReason, *, reset: bool = False) -> None:
        """Cancel what runs here, for this reason; with `reset` the socket is closed at once."""
        if self.turn is not None:
            self.turn.ended(reason)
        self._scope.cancel()
        if reset:
            self.peer.close(reset=True)

    def peer_left(self, *, entirely: bool) -> None:
        """The peer's FIN (or, `entirely`, RST or the end of both directions) was seen."""
        self.peer.half_closed = True
        turn = self.turn
        if turn is None or turn.state == ANSWERED:
            return  # nothing of the client's is cut short; the next read meets the end
        if self.peer.reading.waiting and not entirely:
            return  # the reader of the body meets the end itself and can tell whether it came too early
        self.end("client_gone")

    def drain(self) -> None:
        """Stop waiting for a next request; one whose first bytes are here is still served. A connection that never asked anything keeps
        drain_fresh_s, since its first request is probably on its way."""
        if self.phase == IDLE and self.answers:
            self.peer.wake()

    def sweep(self, elapsed_s: float) -> None:
        """The time limits; called by the sweeper every sweep_s."""
        peer, limits = self.peer, self.server.limits
        if peer.closed:
            return
        if self.phase == RUNNING:
            if peer.reading.waiting and peer.reading.too_slow(elapsed_s, peer.received_bytes, limits.body_read_s, limits):
                peer.reading.late = True
                peer.wake()
            if peer.writing.waiting and peer.writing.too_slow(elapsed_s, peer.acknowledged_bytes(), limits.write_stall_s, limits):
                self.end("slow_reader", reset=True)
            return
        self._waited_s += elapsed_s
        if self.phase == IDLE and self._waited_s > FORGET_AFTER_S:
            self._memory.forget()
        if self.phase == LINGERING:
            limit_s = limits.linger_s
        elif self.phase == HEAD:
            limit_s = limits.header_read_s
        elif self.answers:
            limit_s = limits.idle_s
        else:
            limit_s = limits.drain_fresh_s if self.server.draining else limits.header_read_s
        if self._waited_s > limit_s:
            self._overdue = True
            peer.wake()
