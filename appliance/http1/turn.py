"""One request's turn on its connection: the `receive` and `send` which the application is given, and what it may know about the connection.

The rule: nothing here swallows a cancellation, and an answer is on the wire either whole or visibly cut. The head waits for the first
piece of the body, so both leave in one system call.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import attrs
import trio

from appliance.http1.answer import Framing, frame_answer, usual_head
from appliance.http1.asgi import Message
from appliance.http1.peer_socket import YIELD_AFTER_BYTES, PeerSocket
from appliance.http1.request_body import RequestBody
from appliance.http1.request_head import HeadFacts
from appliance.http1.server_state import ServerState

EndReason = Literal["client_gone", "slow_reader", "shutdown"]

# Before the application has said anything.
NO_START: Message = {}
UNFRAMED = Framing(b"", None, chunked=False, silent=True, keep_alive=True)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# How far the answer is. BROKEN while a write is under way, and for good when that write did not end: part of a frame may be on the wire.
NEW, STARTED, SENDING, ANSWERED, BROKEN = range(5)


class ClientGone(ConnectionError):
    """Nobody is left to answer. An OSError, as ASGI 2.4 asks of `send` after a disconnect."""


@attrs.define(eq=False)
class Turn:
    """`scope["extensions"]["http1"]`.

    Attributes:
        cancels: always true: the engine itself cancels the application's call when the client leaves; nothing has to watch `receive`.
        end_reason: why that happened; None while the client is there. "client_gone" (FIN or RST came), "slow_reader" (it stopped reading),
            "shutdown" (the server was cut). Meaningful once the call is cancelled or `send` raised ClientGone.
    """

    cancels: ClassVar[bool] = True

    _peer: PeerSocket
    _server: ServerState
    _facts: HeadFacts
    _body: RequestBody
    _end: Callable[[EndReason], None]
    keep_alive: bool
    continue_pending: bool
    gone_early: bool = False  # before this turn began
    end_reason: EndReason | None = None
    state: int = NEW
    _delivered: bool = False
    _start: Message = NO_START
    _framing: Framing = UNFRAMED
    _gone: trio.Event | None = None
    _rest: Sequence[bytes | memoryview] | None = None  # what `push` could not send

    @property
    def remembered(self) -> dict[str, Any]:
        """Where the application may keep what it derives from the head alone: shared with later requests of this connection whose head
        differs in its Content-Length only."""
        return self._facts.remembered

    def abort(self, reset: bool) -> None:
        """End the connection now, with RST if `reset`; what was sent before is still delivered without it. Sends after this raise."""
        self.state = BROKEN
        self._peer.close(reset=reset)

    def allow_body(self, max_bytes: int) -> None:
        """The application takes a longer body than the engine's limit says (or a shorter one), since it does not keep it."""
        self._body.allow(max_bytes)

    # receiving ---------------------------------------------------------------------------------------------------------------------------

    def whole_body(self) -> bytes | None:
        """The whole body where it has come already, as one `receive` would give it; None where `receive` has to be awaited."""
        if self._delivered or self.continue_pending or self._peer.half_closed:
            return None
        data = self._body.buffered()
        self._delivered = data is not None
        return data

    async def receive(self) -> Message:
        """`http.request` pieces, then `http.disconnect` (after the answer at once, before it when the client has left).

        Raises BodyTooLarge, BodyTimeout or BodyBroken; uncaught they become 413, 408 or 400."""
        if self._delivered:
            return await self._disconnect()
        body = self._body
        try:
            if self.continue_pending:
                self.continue_pending = False
                if not self._peer.buffer and body.welcome and self.state == NEW:
                    self.state = BROKEN
                    await self._peer.send(CONTINUE)
                    self.state = NEW
            data = await body.piece()
        except (OSError, trio.ClosedResourceError):
            await self._lost()
            return {"type": "http.disconnect"}
        delivered = body.complete
        if delivered:
            self._delivered = True
            if self._peer.half_closed and self.state != ANSWERED:
                self._end("client_gone")  # the FIN came while the body was read, and was left for the end of the body to judge
        return {"type": "http.request", "body": data, "more_body": not delivered}

    async def _disconnect(self) -> Message:
        if self.state != ANSWERED and self.end_reason is None and not self._peer.closed:
            if self._gone is None:
                self._gone = trio.Event()
            await self._gone.wait()
        return {"type": "http.disconnect"}

    # sending -----------------------------------------------------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """Raises ClientGone when nobody is left to answer (or is cancelled), ValueError and RuntimeError for what breaks ASGI or the
        framing.
        """
        if message["type"] != "http.response.body":
            self._hold_start(message)
            return
        if self.end_reason is not None and not self.gone_early:
            await self._lost()
            raise ClientGone
        peer = self._peer
        if self._rest is not None:
            await self._send_rest(self._rest)
        if peer.sent_bytes - peer.yielded_bytes > YIELD_AFTER_BYTES:
            await peer.let_others_run()  # before anything of this message is sent, so that a cancellation here breaks no frame
        body: bytes = message.get("body", b"")
        more: bool = message.get("more_body", False)
        if more and body and self.state == SENDING and self._framing.chunked:
            head, tail = b"%x\r\n" % len(body), b"\r\n"  # the steady state of a stream
        elif self.state == STARTED:
            start = self._start
            framing = self._begin(start["status"], start.get("headers", ()), None if more else len(body))
            head, tail = framing.head, b""
            if more or framing.left != len(body):  # else it is whole, of the length announced
                head, body, tail = self._frame(head, body, more)
        else:
            head, body, tail = self._next(body, more)
        self.state = BROKEN
        if head or body or tail:
            try:
                rest = peer.send_now(head, body, tail)
                if rest is not None:
                    await peer.send_rest(rest)
            except (OSError, trio.ClosedResourceError):
                await self._lost()
                raise ClientGone from None
        if more:
            self.state = SENDING
        else:
            self.state = ANSWERED
            if self._gone is not None:
                self._gone.set()

    def push(self, body: bytes) -> bool | None:
        """Send one more piece of a chunked answer under way, as `send` would but without waiting.

        True when all of it left; False when part of it did, and the next `send` (of nothing, too) begins with the rest; None when it has to
        be sent with `send`. Raises ClientGone.
        """
        if self.state != SENDING or not self._framing.chunked or not body or self._rest is not None or self.end_reason is not None:
            return None
        self.state = BROKEN
        try:
            rest = self._peer.send_now(b"%x\r\n" % len(body), body, b"\r\n")
        except OSError:
            self._end("client_gone")
            raise ClientGone from None
        self.state = SENDING
        self._rest = rest
        return rest is None

    def push_whole(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool | None:
        """Send a whole answer, as two messages to `send` would but without waiting. Returns and raises like `push`; what is left after
        False goes out with a last, empty `send`. A small one leaves before the event loop waits; a client that is gone by then is
        noticed by the connection alone, which also sends, once the application has returned, what the socket does not take at once.
        """
        if self.state != NEW or self.end_reason is not None:
            return None
        asked, server = self._facts, self._server
        head: bytes | None = None
        if self._delivered and self.keep_alive and asked.http11 and asked.method != b"HEAD" and not server.draining:
            head = usual_head(status, headers, server.date_line, len(body))
        if head is None:
            framing = self._begin(status, headers, len(body))
            if framing.left != len(body):
                return None
            head = framing.head
        if not (self.keep_alive and self._peer.part(head, body)):
            self.state = BROKEN
            try:
                rest = self._peer.send_now(head, body, b"")
            except OSError:
                self._end("client_gone")
                raise ClientGone from None
            if rest is not None:
                self._framing = Framing(head, 0, chunked=False, silent=False, keep_alive=self.keep_alive)
                self._rest = rest
                self.state = SENDING
                return False
        self.state = ANSWERED
        if self._gone is not None:
            self._gone.set()
        return True

    async def _send_rest(self, rest: Sequence[bytes | memoryview]) -> None:
        self.state = BROKEN
        try:
            await self._peer.send_rest(rest)
        except (OSError, trio.ClosedResourceError):
            await self._lost()
            raise ClientGone from None
        self._rest = None
        self.state = SENDING

    def _next(self, body: bytes, more: bool) -> tuple[bytes, bytes, bytes]:
        """What goes on the wire for a later piece of the body: the chunk size before it, and what ends it."""
        if self.state == SENDING:
            return self._frame(b"", body, more)
        if self._peer.closed:
            raise ClientGone
        raise RuntimeError("http.response.body where no answer is under way")

    def _hold_start(self, message: Message) -> None:
        if message["type"] != "http.response.start":
            raise RuntimeError(f"message type {message['type']!r} was not offered in the scope's extensions")
        if self.state != NEW:
            if self._peer.closed:
                raise ClientGone
            raise RuntimeError("a second http.response.start")
        self._start = message
        self.state = STARTED

    def _begin(self, status: int, headers: Sequence[tuple[bytes, bytes]], whole_bytes: int | None) -> Framing:
        asked, server = self._facts, self._server
        rest_readable = self._delivered or self._body.complete or (self._body.discardable and not self.continue_pending)
        framing = self._framing = frame_answer(
            status,
            headers,
            method=asked.method,
            http11=asked.http11,
            keep_alive=self.keep_alive and rest_readable and not server.draining,
            date_line=server.date_line,
            whole_bytes=whole_bytes,
        )
        self.keep_alive = framing.keep_alive
        return framing

    def _frame(self, head: bytes, body: bytes, more: bool) -> tuple[bytes, bytes, bytes]:
        framing = self._framing
        if framing.silent:
            return head, b"", b""
        if framing.chunked:
            if body:
                return head + b"%x\r\n" % len(body), body, b"\r\n" if more else b"\r\n0\r\n\r\n"
            return head, b"", b"" if more else b"0\r\n\r\n"
        if framing.left is not None:
            framing.left -= len(body)
            if framing.left < 0 or (framing.left and not more):
                # Nothing of this piece is sent: a body that differs from its Content-Length must be seen to be cut.
                raise RuntimeError("the body is not as long as the Content-Length given with it")
        return head, body, b""

    @property
    def untouched(self) -> bool:
        """Whether nothing of an answer has been sent, so that another one can still be given."""
        return self.state <= STARTED

    @property
    def ends_with_connection(self) -> bool:
        """Whether the client takes the end of the connection for the end of the body, and a cut one must be reset to look cut."""
        return not (self._framing.silent or self._framing.chunked or self._framing.left is not None)

    async def _lost(self) -> None:
        """The socket failed under us: the call is cancelled, here unless it is shielded."""
        self._end("client_gone")
        await trio.lowlevel.checkpoint_if_cancelled()

    def ended(self, reason: EndReason | None) -> None:
        """The connection's word that this turn is over (None: it came to its end)."""
        if reason is not None and self.end_reason is None:
            self.end_reason = reason
        if self._gone is not None:
            self._gone.set()


def unless_departure(error: Exception | None) -> Exception | None:
    """What an application raised, less the ClientGone that `send` gave it: a client that left is nobody's error."""
    if isinstance(error, ExceptionGroup):
        return error.split(ClientGone)[1]
    return None if isinstance(error, ClientGone) else error
