"""Any httpx transport behind our transport protocol: for HTTP/2 upstreams and outbound proxies, where breadth counts for more than speed.

The rule: callers cannot tell it from the HTTP/1.1 transport; the same failures, limits, queue and promises on closing. Three things httpx
leaves to us: the queue (one slot per request, in our own pool, since httpcore rescans its own at every request and does not bound the wait
for an HTTP/2 stream), resetting abandoned HTTP/2 streams (h2_reset), and closing without an await: `close` shuts an HTTP/1.1 socket at
once, and hands what else httpx wants done to `keep`, or to the next `send` where `keep` does not run.
"""

import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import httpx
import trio

from appliance.gateway.h1_refusal import mend_upload
from appliance.gateway.h2_reset import H2Stream
from appliance.gateway.httpx_failure import failure_of
from appliance.gateway.httpx_upload import GivenUp, UploadedBody, framing_headers
from appliance.http1.dial import SOCKET_OPTIONS
from appliance.http1.origin import Origin
from appliance.http1.pool import Pool
from appliance.http1.transport import Failure, Hold, PoolStats, TransportLimits, UpstreamRequest

# httpcore opens at most 100 streams on an HTTP/2 connection and never a second connection beside it.
H2_STREAMS_MAX = 100

# What httpx may take to tidy up after a connection that was given up.
_CLOSE_S = 1.0


def httpx_transport(origin: Origin, limits: TransportLimits, tls: ssl.SSLContext, *, http2: bool, proxy: str | None) -> "HttpxTransport":
    """httpx's own transport behind our protocol.

    Args:
        tls: for the upstream and an https proxy; give each transport a context of its own, as httpcore sets its ALPN list.
        http2: offer h2 beside http/1.1 (TLS only; cleartext stays HTTP/1.1).
        proxy: http://, https:// URL of an outbound proxy, credentials included.
    """
    if http2:
        limits = attrs.evolve(limits, connections_max=min(limits.connections_max, H2_STREAMS_MAX))
    transport = httpx.AsyncHTTPTransport(
        verify=tls,
        trust_env=False,
        http2=http2,
        limits=httpx.Limits(
            max_connections=limits.connections_max, max_keepalive_connections=limits.idle_max, keepalive_expiry=limits.idle_s
        ),
        proxy=None if proxy is None else httpx.Proxy(proxy, ssl_context=tls if proxy.startswith("https:") else None),
        uds=origin.unix_path,
        socket_options=None if origin.unix_path else SOCKET_OPTIONS,
    )
    return HttpxTransport(transport, origin, limits, verbatim_target=proxy is None)


class HttpxTransport:
    """See transport.Transport.

    Limits that httpx does not know (head size, header lines) are checked after the head has come; connect_s holds for TCP and for TLS each;
    informational_max and recv_bytes do not apply. In `stats`, open counts exchanges under way, as httpx does not tell its sockets.

    Args:
        verbatim_target: put the target on the wire byte for byte (httpcore's "target" extension). Not through a proxy: there the extension
            replaces what the proxy is asked for, so httpx's own form goes out, with some characters percent-encoded.
    """

    holds = False
    __slots__ = ("_abandoned", "_limits", "_origin", "_pool", "_released", "_transport", "_verbatim_target", "_wake")

    def __init__(
        self, transport: httpx.AsyncBaseTransport, origin: Origin, limits: TransportLimits, *, verbatim_target: bool = True
    ) -> None:
        self._transport = transport
        self._origin = origin
        self._limits = limits
        self._verbatim_target = verbatim_target
        self._pool = Pool(limits)
        self._abandoned: deque[HttpxExchange] = deque()  # bounded by the slots
        self._wake = trio.Event()
        self._released = trio.Event()

    def __repr__(self) -> str:
        return f"<HttpxTransport {self._origin} {self.stats()}>"

    async def send(self, request: UpstreamRequest, hold: Hold | None = None) -> "HttpxExchange | Failure":
        """See transport.Transport.send. `hold` is not heeded: httpx keeps its connections to itself."""
        del hold
        await self._settle()
        claim = self._pool.claim(trio.current_time())
        if claim == "wait":
            claim = await self._pool.wait()
        if isinstance(claim, Failure):
            return claim
        started = trio.current_time()
        try:
            answer = await self._attempt(request)
            if isinstance(answer, _Ended):
                # The rule of http1.client for stale connections, and its reasons.
                soon = trio.current_time() - started <= self._limits.stale_s
                repeatable = request.source is None
                if answer.reused and soon and repeatable and not answer.failure.received and answer.failure.kind in ("closed", "write"):
                    answer = await self._attempt(request)
        except BaseException:
            self._release()
            raise
        if isinstance(answer, _Ended):
            self._release()
            return answer.failure
        return answer

    def stats(self) -> PoolStats:
        return self._pool.stats()

    async def keep(self) -> None:
        """Service loop: tidies up after exchanges closed before their end, as soon as they are."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            await self._settle()

    async def aclose(self) -> None:
        """Refuses new requests, waits for running exchanges as httpx cannot close idle connections alone, closes. Cancelled, it cuts."""
        self._pool.close()
        try:
            while self._pool.stats().open:
                self._released = trio.Event()
                await self._released.wait()
        finally:
            with trio.move_on_after(_CLOSE_S, shield=True), contextlib.suppress(Exception):
                await self._settle()
                await self._transport.aclose()

    def _release(self) -> None:
        self._pool.vacate()
        self._released.set()

    async def _attempt(self, request: UpstreamRequest) -> "HttpxExchange | _Ended":
        trace = _Trace(self._transport, uploads=request.source is not None)
        try:
            response = await self._transport.handle_async_request(self._request(request, trace))
        except GivenUp:
            await trace.give_up()
            return _Ended(Failure("closed", "the request was given up before it was complete", sent=trace.sent), trace.reused)
        except Exception as error:
            if request.source is not None:
                await trace.give_up()
            # The library's errors are not a closed set (h2's own leak out at times); none of them may take the process's request down.
            return _Ended(failure_of(error, sent=trace.sent, received=False), trace.reused)
        except BaseException:
            await trace.give_up()
            raise
        exchange = HttpxExchange(response, self, trace)
        refusal = self._refusal(response)
        if refusal is None:
            return exchange
        exchange.detach()
        await exchange.tidy()
        return _Ended(refusal, trace.reused)

    def _request(self, request: UpstreamRequest, trace: "_Trace") -> httpx.Request:
        lines = (line.partition(b": ") for line in request.headers.split(b"\r\n") if line)
        timeout = {"connect": self._limits.connect_s, "pool": self._limits.queue_s, "read": None, "write": None}
        extensions: dict[str, Any] = {"timeout": timeout, "trace": trace}
        if self._verbatim_target:
            extensions["target"] = request.target
        headers = [(name, value) for name, _, value in lines]
        source = request.source
        return httpx.Request(
            request.method.decode("ascii"),
            httpx.URL(scheme=self._origin.scheme, host=self._origin.host, port=self._origin.port, raw_path=request.target),
            headers=headers if source is None else headers + framing_headers(source),
            content=(request.body or None) if source is None else UploadedBody(source),
            extensions=extensions,
        )

    def _refusal(self, response: httpx.Response) -> Failure | None:
        headers = response.headers.raw
        if len(headers) > self._limits.response_headers_max:
            return Failure("too_large", "more header lines than response_headers_max", received=True, sent=True)
        if sum(len(name) + len(value) + 4 for name, value in headers) > self._limits.response_head_max_bytes:
            return Failure("too_large", "response head over response_head_max_bytes", received=True, sent=True)
        if not 200 <= response.status_code <= 599:
            return Failure("protocol", "response refused: status outside 200 to 599", received=True, sent=True)
        return None

    async def _settle(self) -> None:
        while self._abandoned:
            await self._abandoned.popleft().tidy()


class HttpxExchange:
    """See transport.Exchange."""

    __slots__ = (
        "_body",
        "_body_max_bytes",
        "_body_size",
        "_failure",
        "_owner",
        "_response",
        "_trace",
        "connect_s",
        "head_at",
        "headers",
        "reused",
        "status",
    )

    def __init__(self, response: httpx.Response, owner: HttpxTransport, trace: "_Trace") -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self.status = response.status_code
        self.headers = [(name.lower(), value) for name, value in response.headers.raw]
        self.reused = trace.reused
        self.connect_s = trace.connect_s
        self.head_at = trio.current_time()
        self._response = response
        # The raw stream, not aiter_raw(): whose end closes the response in ways that cannot be told apart from a cut.
        self._body: AsyncIterator[bytes] = response.stream.__aiter__()
        self._owner: HttpxTransport | None = owner
        self._trace = trace
        self._failure: Failure | None = None
        self._body_size = 0
        self._body_max_bytes = owner._limits.response_body_max_bytes

    def whole(self) -> bytes | None:
        """See transport.Exchange.whole; httpx does not tell."""
        return None

    async def read(self) -> bytes | Failure:
        """See transport.Exchange.read."""
        while self._owner is not None:
            try:
                data = await anext(self._body)
            except StopAsyncIteration:
                await self._trace.give_up()  # nothing to an HTTP/2 stream that both sides have ended; one side may not have, see h2_flow
                await self._close_stream()
                self._end(None)
                break
            except Exception as error:
                await self.tidy()
                self._end(failure_of(error, sent=True, received=True))
                break
            except BaseException:
                await self.tidy()
                self._end(Failure("closed", "the exchange was cancelled", received=True, sent=True))
                raise
            self._body_size += len(data)
            if 0 < self._body_max_bytes < self._body_size:
                await self.tidy()
                self._end(Failure("too_large", "response body over response_body_max_bytes", received=True, sent=True))
            elif data:
                return data
        return self._failure if self._failure is not None else b""

    async def pass_on(self, take: Callable[[bytes], bool]) -> bytes | Failure:
        """See transport.Exchange.pass_on; httpx can only be read by the task whose request it is."""
        del take
        return await self.read()

    def close(self) -> None:
        """See transport.Exchange.close."""
        owner = self._owner
        if owner is None:
            return
        self._end(Failure("closed", "the exchange was closed", received=True, sent=True))
        if self._trace.stream is not None:
            self._trace.stream.reset()
        else:
            # Through httpx's documented extension; another library's stream may not have it, then `tidy` closes.
            with contextlib.suppress(Exception):
                self._response.extensions["network_stream"].get_extra_info("socket").close()
        owner._abandoned.append(self)
        owner._wake.set()

    def detach(self) -> None:
        """Lets go of the slot without giving it back: the transport does that for an exchange it never hands out."""
        self._owner = None

    async def tidy(self) -> None:
        """Everything that closing early needs an await for. Not cancellable, but bounded."""
        await self._trace.give_up()
        await self._close_stream()

    def _end(self, failure: Failure | None) -> None:
        owner, self._owner = self._owner, None
        self._failure = failure
        if owner is not None:
            owner._release()

    async def _close_stream(self) -> None:
        stream = self._response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        with trio.move_on_after(_CLOSE_S, shield=True), contextlib.suppress(Exception):
            await stream.aclose()
            await self._body.aclose()  # type: ignore[attr-defined]


@attrs.frozen
class _Ended:
    failure: Failure
    reused: bool


class _Trace:
    """What httpcore tells about one request on its way (its documented trace extension)."""

    __slots__ = ("_connect_started", "_transport", "_uploads", "connect_s", "sent", "stream")

    def __init__(self, transport: httpx.AsyncBaseTransport, *, uploads: bool) -> None:
        self._transport = transport
        self._uploads = uploads
        self._connect_started: float | None = None
        self.connect_s = 0.0
        self.sent = False
        self.stream: H2Stream | None = None

    @property
    def reused(self) -> bool:
        return self.sent and self._connect_started is None

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith(".send_request_headers.started"):
            if info["request"].method != b"CONNECT":  # that one goes to the proxy
                self.sent = True
                if event.startswith("http2."):
                    self.stream = H2Stream.of(self._transport, info)
                elif self._uploads:
                    mend_upload(self._transport, self)
        elif event.startswith("connection.connect_") and event.endswith(".started"):
            self._connect_started = trio.current_time()
        elif event.endswith((".connect_tcp.complete", ".start_tls.complete")) and self._connect_started is not None:
            self.connect_s = trio.current_time() - self._connect_started

    async def give_up(self) -> None:
        """The request is abandoned: an HTTP/2 server is told so."""
        if self.stream is not None:
            self.stream.reset()
            await self.stream.flush()
