"""One request in flight, and the way its answer goes out.

The outlet is the only place that sends: it knows whether a head has left, keeps the last instant at which the caller heard something, and
makes sure that a keep-alive and an event never overlap.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import trio

from appliance.core.budget import Reservation
from appliance.core.fault import Fault
from appliance.core.record import RequestRecord
from appliance.dialects.language import Language
from appliance.dialects.protocol import CallerDialect, InBand, ParsedRequest
from appliance.gateway.limits import Granted
from appliance.gateway.plan import KeyPlan
from appliance.gateway.pricing import Pricing
from appliance.gateway.response_ids import ResponseIds
from appliance.http1.asgi import Message, Send
from appliance.store.row import Opened

if TYPE_CHECKING:  # imported when a request is translated, see dialects.language_table
    from appliance.core.conversation import Conversation
    from appliance.gateway.hedging import Race
    from appliance.gateway.running import Running
    from appliance.gateway.upload import Upload

T = TypeVar("T")
HeaderList = list[tuple[bytes, bytes]]


class Engine(Protocol):
    """The server below, where it can send without waiting; see http1.turn.Turn."""

    def push(self, body: bytes) -> bool | None: ...
    def push_whole(self, status: int, headers: HeaderList, body: bytes) -> bool | None: ...


class Outlet:
    """The answer's way to the caller. It begins as it stands in the class.

    Attributes:
        started: a status line has left (perhaps only for a keep-alive).
        modelled: part of the model's answer has left; from here on a fault can only be told in-band.
        heard_at: when the caller last got part of the answer (or the request began); kept_at: when they last got a keep-alive.
        gone: the caller has left; nothing is sent any more.
        closing: the last word is being said, perhaps by somebody else; no keep-alive may come between.
        sending: a piece is on its way. It stays so when that was interrupted: half a frame may be out, and nothing can follow it.
        owing: what `push` was given has not left entirely; `settle` is to be awaited.
        limited: headers that tell how the caller's limits stand; None where nothing limits them.
    """

    started: bool = False
    modelled: bool = False
    ended: bool = False
    gone: bool = False
    sending: bool = False
    kept_at: float = 0.0
    closing: bool = False
    owing: bool = False
    limited: HeaderList | None = None
    _unsent: bytes = b""
    _half_sent: bool = False
    _keeping: trio.Event | None = None

    def __init__(self, send: Send, record: RequestRecord, heard_at: float, engine: Engine | None = None) -> None:
        self._send, self.record, self.heard_at, self._engine = send, record, heard_at, engine

    def through(self, tap: "Tapped") -> None:
        """Send by way of `tap` from now on. Nothing has been sent yet."""
        tap.send_on, self._send = self._send, tap.send
        if self._engine is not None:
            tap.engine, self._engine = self._engine, tap

    async def start(self, status: int, headers: HeaderList) -> None:
        """Say the status line and headers. They leave with the first bytes of the body; but an engine may send them at once (Hypercorn),
        and no keep-alive may come before they are out, nor between them and what was read for the first piece."""
        self.sending = True
        await self._start(status, headers)
        self.sending = False

    async def _start(self, status: int, headers: HeaderList) -> None:
        self.started = True
        self.record.status = status
        self.record.committed = True
        if self.limited:
            headers = [*headers, *self.limited]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    def push_answer(self, status: int, headers: HeaderList, body: bytes, now: float) -> bool:
        """A whole answer: `start` and the last `write` in one, without waiting. False when `answer` has to be awaited for the rest, or for
        all of it."""
        engine, record = self._engine, self.record
        if engine is None or self.started or self._keeping is not None:
            return False
        self.started = record.committed = True
        record.status = status
        try:
            sent = engine.push_whole(status, [*headers, *self.limited] if self.limited else headers, body)
        except OSError:
            self.sending = self.gone = True
            return True
        if sent:
            record.bytes_out += len(body)
            self.ended, self.heard_at = True, now
            return True
        self._half_sent = sent is False
        return False

    async def answer(self, status: int, headers: HeaderList, body: bytes, now: float) -> None:
        """What `push_answer` could not do."""
        if not self._half_sent:
            await self.start(status, headers)
            await self.write(body, more=False, now=now)
            return
        self._half_sent = False
        await self.write(b"", more=False)
        if not self.gone:
            self.record.bytes_out += len(body)
            self.ended, self.heard_at = True, now

    async def write(self, data: bytes, *, more: bool = True, now: float = 0.0) -> None:
        """Send part of the body, in order. Waits while the caller does not read: that is the back-pressure. Sets `gone` when they left.

        Args:
            now: the clock where the caller of this has read it already (a stream does so for each piece).
        """
        if self._keeping is not None:
            await self._keeping.wait()
        if self.gone or self.sending:
            return
        self.sending = True
        try:
            await self._send({"type": "http.response.body", "body": data, "more_body": more})
        except OSError:  # ASGI 2.4: what a server raises after a disconnect
            self.gone = True
            return
        self.sending = False
        self.record.bytes_out += len(data)
        self.ended = not more
        self.heard_at = now or trio.current_time()

    @property
    def pushes(self) -> bool:
        """Whether `push` is worth a try."""
        return self._engine is not None and not self.gone

    def push(self, data: bytes, now: float) -> bool:
        """`write` without waiting. True when all of it has left; otherwise `settle` has to be awaited before anything else is sent."""
        engine = self._engine
        self.owing = True
        self._unsent = data
        if engine is None or self.sending or self.gone or self._keeping is not None:
            return False
        self.sending = True
        try:
            whole = engine.push(data)
        except OSError:
            self.gone = True
            return False
        if whole is None:
            self.sending = False
            return False
        self._unsent = b""  # the server has it
        self.record.bytes_out += len(data)
        if whole:
            self.sending = self.owing = False
            self.heard_at = now
        else:
            self._half_sent = True
        return whole

    async def settle(self) -> None:
        """Send what `push` could not; waits while the caller does not read. Sets `gone` when they left."""
        data, self._unsent = self._unsent, b""
        if self._half_sent:  # the server sends the rest first; from the push to here nothing could come between
            self._half_sent = self.sending = False
        self.owing = False
        await self.write(data)

    async def keep_alive(self, data: Callable[[], bytes], headers: Callable[[], HeaderList]) -> None:
        """Send a keep-alive, unless an event is on its way out right now. Starts the answer when nothing has left yet. Both are made only
        if they are sent: events may be numbered."""
        if self.sending or self.owing or self._keeping is not None or self.ended or self.gone or self.closing:
            return
        said = data()  # before any wait: what is read meanwhile has later numbers
        self._keeping = trio.Event()
        try:
            if not self.started:
                await self._start(200, headers())
            await self._send({"type": "http.response.body", "body": said, "more_body": True})
            self.kept_at = trio.current_time()
        except OSError:
            self.gone = True
        finally:
            self._keeping.set()
            self._keeping = None


def caller_of(language: Language) -> CallerDialect:
    """What the gateway itself says to callers of a language."""
    assert language.caller is not None  # a language that no caller speaks never gets as far as a call
    return language.caller


class Tapped(Protocol):
    """What stands between an outlet and the server; see gateway.recording."""

    send_on: Send | None
    engine: Engine | None

    async def send(self, message: Message) -> None: ...
    def push(self, body: bytes) -> bool | None: ...
    def push_whole(self, status: int, headers: HeaderList, body: bytes) -> bool | None: ...


class Waiting(Protocol):
    """What can be cut while it waits: an attempt, or a request between two of them.

    Attributes:
        scope: ends the wait. cut_fault: why it was ended, or must not begin.
    """

    scope: trio.CancelScope | None
    cut_fault: Fault | None


async def within_scope(one: Waiting, work: Callable[[], Awaitable[T]]) -> T | None:
    """Do `work` so that a cut can cancel it; None when it did."""
    with trio.CancelScope() as scope:
        one.scope = scope
        try:
            if one.cut_fault is None:
                return await work()
        finally:
            one.scope = None
    return None


class Call:
    """One request in flight. What most requests never come to say stands in the class.

    Attributes:
        body: as the caller sent it. forwarded: header lines that may go upstream.
        running: the attempt under way; beside: the second one beside a slow first one; race: what decides between them, None where there
            cannot be two.
        scope: ends the wait between two attempts; cut_fault: why the whole request was cut.
        anew: it has to be written anew even for a backend of its own language: reasoning that another vendor sealed is in it.
        wrapped: reasoning that another vendor sealed is in it, and can be taken out without writing it anew.
        unsealed: it is asked for without any sealed reasoning, since no backend could read what is in it.
        translated: the last attempt was, or is.
        conversation: the request in canonical values, once some backend needed a translation; writer: what speaks within
            a stream that is translated or put into another frame.
        upload: the form that the request's body is; `body` is empty then.
        responses: where the answer's id is to be noted; None where its backend will not keep it.
        asked: the same of a request that is no chat.
        pricing: what it costs, by the plan it started with.
        outlives: the answer is to be read to its end should the caller leave; drained: they left, and it is.
        drain_max_tokens: of a stream that is read on after they left.
        owed_tokens: of an answer that its caller broke off, at least; see billed.Passed.
        allowance, held: what was taken of its limits and its budgets. opened: what the ledger has of it; None of one that was not let in.
    """

    outlives: bool = False
    drained: bool = False
    owed_tokens: int = 0
    drain_max_tokens: int = 0
    running: "Running | None" = None
    beside: "Running | None" = None
    race: "Race | None" = None
    scope: trio.CancelScope | None = None
    cut_fault: Fault | None = None
    anew: bool = False
    wrapped: bool = False
    unsealed: bool = False
    translated: bool = False
    conversation: "Conversation | Fault | None" = None
    asked: Any = None
    writer: InBand | None = None
    upload: "Upload | None" = None
    allowance: Granted | None = None
    held: Reservation | None = None
    opened: Opened | None = None

    def __init__(
        self, record: RequestRecord, parsed: ParsedRequest, body: bytes, language: Language, key: KeyPlan, forwarded: bytes,
        headers: dict[bytes, str], outlet: Outlet, end_reason: Callable[[], str | None], pricing: Pricing,
        responses: ResponseIds | None = None,
    ) -> None:  # fmt: skip
        self.record, self.parsed, self.body, self.language, self.key = record, parsed, body, language, key
        self.forwarded, self.headers, self.outlet, self.end_reason, self.pricing = forwarded, headers, outlet, end_reason, pricing
        self.responses = responses

    def note_response(self, identity: str) -> None:
        """The answer that is about to leave has this id, by which its maker may be asked to go on from it."""
        if self.responses is not None and identity:
            self.responses.note(identity, self.key.tenant, self.record.backend)

    def stream_error(self, fault: Fault) -> bytes:
        """The in-band error event of the caller's language."""
        if self.writer is not None:
            return self.writer.error(fault, self.record.request_id)
        return caller_of(self.language).stream_error(fault, self.record.request_id)

    def keepalive(self) -> bytes:
        """What means nothing between two events of the caller's language."""
        return (self.writer or caller_of(self.language)).keepalive()

    def cut(self, fault: Fault) -> None:
        """End what the request is waiting for; the caller hears `fault`."""
        self.cut_fault = fault
        if self.running is not None:
            self.running.cut(fault)
        if self.beside is not None:
            self.beside.cut(fault)
        if self.scope is not None:
            self.scope.cancel()
