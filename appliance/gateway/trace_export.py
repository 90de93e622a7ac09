"""Sends spans of finished requests to a collector: OTLP over HTTP, in batches, beside the requests and never in their way.

The rule: nothing waits for a collector. What finds no room is dropped, what a collector does not take in time is lost, and both are
counted. Tried again are the answers 429, 502, 503 and 504 and broken connections, after what `Retry-After` says or a growing pause; no
other (OTLP specification 1.9, "Failures"). A batch whose answer was lost is sent twice: collectors know spans by their ids. The
configuration's headers are secrets and stand in no line.
"""

import gzip
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Final

import attrs
import trio

from appliance import __version__
from appliance.config.secret import MASK
from appliance.config.traces import Traces
from appliance.core.record import RequestRecord
from appliance.dialects.retry_after import retry_after_s
from appliance.gateway.trust import BadTrust, upstream_tls
from appliance.gateway.upstream import Upstream
from appliance.store.writer import Say
from appliance.telemetry.otlp import Attributes, Taken, read_taken, request_bytes, span_bytes
from appliance.telemetry.spans import TEXT_MAX_CHARS, request_spans

if TYPE_CHECKING:
    import httpx

RETRIED: Final = frozenset({429, 502, 503, 504})
PAUSE_MIN_S, PAUSE_MAX_S = 0.5, 30.0
"""Between two tries: doubled each time, with up to half of it left to chance."""

ASKED_PAUSE_MAX_S: Final = 60.0
"""The longest that a Retry-After is honoured: after that the collector can say it again."""

BODY_MAX_BYTES: Final = 1024 * 1024
"""Of one POST before compression. Collectors take 4 to 20 MiB, but joining that many bytes would hold up every stream for 10 ms."""

ANSWER_MAX_BYTES: Final = 65_536
"""What is read of an answer; a full success has none or two."""

PAUSE_SPANS: Final = 16
"""Spans encoded between two turns of the others: some 0.5 ms."""


@attrs.frozen
class Waiting:
    """A finished request whose spans are to be sent.

    ahead_s: the epoch's clock less the record's. upstreams: those in force when it ended.
    """

    record: RequestRecord
    ahead_s: float
    upstreams: Mapping[str, Upstream]

    @property
    def spans(self) -> int:
        return 1 + len(self.record.attempts)

    def where(self, backend: str) -> tuple[str, int] | None:
        upstream = self.upstreams.get(backend)
        if upstream is None:
            return None
        origin = upstream.origin
        return (origin.host, origin.port) if origin.unix_path is None else (origin.unix_path, 0)


@attrs.frozen
class Batch:
    """One POST. since: when it was first tried."""

    body: bytes = attrs.field(repr=False)
    encoding: str
    spans: int
    since: float


@attrs.frozen
class Refused:
    """Why a batch was not taken. again_s: when to ask again, None for the usual pause. final: never."""

    problem: str
    again_s: float | None = None
    final: bool = False


@attrs.define(eq=False)
class TraceExporter:
    """The queue and who empties it.

    Attributes:
        instance: `service.instance.id`, this process's own.
        draw: the source of chance, in [0, 1).
        settings: in force now; None sends nothing. Changed by `fit`.
        spans: by what became of them: sent, rejected (by the collector, of a batch that it took), failed (to be sent), dropped (no room).
    """

    instance: str
    say: Say
    wall_clock: Callable[[], float]
    draw: Callable[[], float]
    settings: Traces | None = None
    spans: dict[str, int] = attrs.field(factory=lambda: {"sent": 0, "rejected": 0, "failed": 0, "dropped": 0})
    _queue: deque[Waiting] = attrs.field(factory=deque, repr=False)
    _encoded: list[bytes] = attrs.field(factory=list, repr=False)
    _batch: Batch | None = attrs.field(default=None, repr=False)
    _wake: trio.Event = attrs.field(factory=trio.Event)
    _failures: int = 0
    _rejecting: bool = False

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    def fit(self, settings: Traces | None) -> None:
        """Put settings in force; equal ones change nothing."""
        if settings != self.settings:
            self.settings = settings
            self._wake.set()

    def offer(self, record: RequestRecord, upstreams: Mapping[str, Upstream]) -> None:
        """Take a finished request, if there is room. Never waits."""
        settings, size = self.settings, len(self._queue)
        if settings is None or size >= settings.queue_max:
            self.spans["dropped"] += 1 + len(record.attempts)
            return
        self._queue.append(Waiting(record, self.wall_clock() - trio.current_time(), upstreams))
        if size == 0 or size + 1 == settings.batch_max:
            self._wake.set()

    async def run(self) -> None:
        """Service: send until there is nowhere to send to. What is under way outlives a restart of it."""
        while (settings := self.settings) is not None:
            async with await self._client(settings) as client:
                while self.settings is settings:
                    await self._ripe(settings)
                    await self._deliver(client, settings)
            if self.settings is None:
                await self.flush(settings)

    async def flush(self, settings: Traces | None = None) -> None:
        """Send what is left, each batch once, within `flush_s`; what remains then has failed. Not while `run` is at work."""
        settings = settings or self.settings
        if settings is None or not (self._queue or self._encoded or self._batch):
            return
        with trio.move_on_after(settings.flush_s):
            async with await self._client(settings) as client:
                while await self._pack(settings) is not None and await self._try(client, settings) is None:
                    pass
        lost = sum(one.spans for one in self._queue) + len(self._encoded) + (self._batch.spans if self._batch is not None else 0)
        self._queue.clear()
        self._encoded, self._batch = [], None
        self.spans["failed"] += lost
        if lost:
            self.say("warning", "traces_lost", spans=lost)

    async def _client(self, settings: Traces) -> "httpx.AsyncClient":
        module = await trio.to_thread.run_sync(_httpx)
        verify: ssl.SSLContext | bool = False
        if settings.endpoint.lower().startswith("https:"):
            context = await trio.to_thread.run_sync(upstream_tls, settings.ca)
            if isinstance(context, BadTrust):
                raise RuntimeError(f"telemetry.traces.ca {context.reason}")
            verify = context
        client: httpx.AsyncClient = module.AsyncClient(verify=verify, timeout=settings.timeout_s, trust_env=False)
        return client

    async def _ripe(self, settings: Traces) -> None:
        """Waits for a full batch, or for what waits to have waited long enough."""
        if self._batch is None and not self._encoded:
            while not self._queue and self.settings is settings:
                await self._woken()
            with trio.move_on_after(settings.interval_s):
                while len(self._queue) < settings.batch_max and self.settings is settings:
                    await self._woken()

    async def _woken(self) -> None:
        self._wake = trio.Event()
        await self._wake.wait()

    async def _deliver(self, client: "httpx.AsyncClient", settings: Traces) -> None:
        """One batch, as often as it takes, unless the settings change."""
        while self.settings is settings and (batch := await self._pack(settings)) is not None:
            refused = await self._try(client, settings)
            if refused is None:
                return
            pause_s = 0.0
            if not refused.final:
                usual_s = min(PAUSE_MAX_S, PAUSE_MIN_S * 2 ** min(self._failures, 16)) * (0.5 + self.draw() / 2)
                pause_s = usual_s if refused.again_s is None else min(max(refused.again_s, PAUSE_MIN_S), ASKED_PAUSE_MAX_S)
            given_up = refused.final or trio.current_time() + pause_s - batch.since > settings.retry_s
            if not self._failures:  # the first of several; metrics count the others
                more = {} if refused.final else {"again_in_s": round(pause_s, 1)}
                self.say("warning", "traces_not_taken", problem=refused.problem, spans=batch.spans, **more)
            self._failures += 1
            if given_up:
                self.spans["failed"] += batch.spans
                self._batch = None
            with trio.move_on_after(pause_s):
                while self.settings is settings:
                    await self._woken()

    async def _pack(self, settings: Traces) -> Batch | None:
        """The batch under way, else a new one; None where nothing waits. Requests leave the queue one by one, so that a cancellation, or a
        request that cannot be encoded, loses no other."""
        if self._batch is not None:
            return self._batch
        size, taken, paused_at = sum(map(len, self._encoded)), 0, len(self._encoded)
        while self._queue and taken < settings.batch_max and size < BODY_MAX_BYTES:
            waiting = self._queue.popleft()
            fresh = self._encode(waiting)
            self._encoded += fresh
            size += sum(map(len, fresh))
            taken += 1
            if len(self._encoded) - paused_at >= PAUSE_SPANS:
                paused_at = len(self._encoded)
                await trio.lowlevel.checkpoint()
        if not self._encoded:
            return None
        body = request_bytes(self._encoded, _resource(settings, self.instance), "appliance", __version__)
        if settings.compression == "gzip":
            body = await trio.to_thread.run_sync(gzip.compress, body, 1)
        self._batch = Batch(body, settings.compression, len(self._encoded), trio.current_time())
        self._encoded = []
        return self._batch

    def _encode(self, waiting: Waiting) -> list[bytes]:
        trace = waiting.record.trace
        assert trace is not None  # who offers it has seen to that
        try:
            return [span_bytes(span) for span in request_spans(waiting.record, trace, waiting.ahead_s, waiting.where)]
        except Exception:
            self.spans["failed"] += waiting.spans
            raise

    async def _try(self, client: "httpx.AsyncClient", settings: Traces) -> Refused | None:
        """Send the batch under way once; None when it was taken, and there is none under way any more."""
        batch = self._batch
        assert batch is not None
        answer = await self._post(client, settings, batch)
        if isinstance(answer, Refused):
            return answer
        self._batch = None
        rejected = min(max(answer.rejected, 0), batch.spans)
        self.spans["sent"] += batch.spans - rejected
        self.spans["rejected"] += rejected
        if self._failures:
            self.say("info", "traces_taken_again", failures=self._failures)
        if rejected and not self._rejecting:
            self.say("warning", "traces_rejected", spans=rejected, problem=_without_secrets(answer.words, settings))
        self._failures, self._rejecting = 0, rejected > 0
        return None

    async def _post(self, client: "httpx.AsyncClient", settings: Traces, batch: Batch) -> Taken | Refused:
        module = _httpx()
        headers = {name.lower(): value.reveal() for name, value in settings.headers.items()}
        headers |= {"content-type": "application/x-protobuf", "user-agent": headers.get("user-agent", f"appliance/{__version__}")}
        if batch.encoding == "gzip":
            headers["content-encoding"] = "gzip"
        with trio.move_on_after(settings.timeout_s):
            try:
                async with client.stream("POST", settings.endpoint, headers=headers, content=batch.body) as answer:
                    if 200 <= answer.status_code < 300:
                        return read_taken(await _bounded(answer))
                    status = answer.status_code
                    given = [(name.lower(), value) for name, value in answer.headers.raw]
                    again_s = retry_after_s(given, self.wall_clock()) if status in RETRIED else None
                    return Refused(str(status), again_s, final=status not in RETRIED)
            except (module.HTTPError, module.InvalidURL, module.StreamError, ssl.SSLError, OSError, ValueError) as error:
                return Refused(type(error).__name__)  # its text may hold what is in the headers
        return Refused("timeout")


async def _bounded(answer: "httpx.Response") -> bytes:
    body = b""
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) >= ANSWER_MAX_BYTES:
            break
    return body


def _resource(settings: Traces, instance: str) -> Attributes:
    return {
        "service.name": settings.service_name,
        "service.version": __version__,
        "service.instance.id": instance,
        "telemetry.sdk.name": "appliance",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": __version__,
        **settings.resource,
    }


def _without_secrets(words: str, settings: Traces) -> str:
    """What a collector says may repeat what it was sent."""
    for value in settings.headers.values():
        words = words.replace(value.reveal(), MASK)
    return words[:TEXT_MAX_CHARS]


def _httpx() -> ModuleType:
    """Imported in a thread when the first batch is due: it takes a tenth of a second, and most gateways never need it."""
    import httpx

    return httpx
