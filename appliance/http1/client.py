"""The transport for one origin over HTTP/1.1: pool, connecting, and the one retry a stale pooled connection deserves.

The rule on that retry. A peer may close an idle connection at the moment a request is put on it; the request then ends with an error
although the server is well. RFC 9110 §9.2.2 allows a client to repeat a request that is not idempotent only if it can tell that the first
was not acted upon. Three signs together are taken for that: the connection was reused, not one byte of an answer came, and the end came
within stale_s, as a stale connection shows itself within one round trip while a server that dies on a request has mostly read it first.
They are not proof. It is accepted for calls to models because an inference changes nothing at the provider: the worst case is one
completion paid twice, once. The repeat goes over a new connection, never a pooled one, so it cannot need another. Most stale connections
never get this far: `claim` looks whether the socket has something to say before it is used. A body that is sent while it arrives could not
be repeated, so it gets a new connection from the start: a round trip is little beside it.
"""

import re
import ssl
from functools import lru_cache

import attrs
import trio

from appliance.http1.dial import dial
from appliance.http1.exchange import Http1Exchange, exchange
from appliance.http1.origin import Origin
from appliance.http1.pool import Connection, Pool
from appliance.http1.response import ResponseReader
from appliance.http1.traffic import Traffic
from appliance.http1.transport import Failure, Hold, PoolStats, TransportLimits, UpstreamRequest
from appliance.http1.upload import framing_line

# Prune often enough that an idle socket outlives idle_s by a quarter at most.
_KEEP_ROUNDS_PER_IDLE = 4
_KEEP_INTERVAL_MIN_S = 0.05

_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
_TARGET = re.compile(rb"/[!-~]*")
# Request lines that are judged once: a backend has two or three, more only with deployments in its path.
_LINES_MAX = 256


class Http1Transport:
    """See transport.Transport.

    Args:
        origin: where to connect.
        limits: bounds.
        tls: from tls.tls_context; needed for https, refused otherwise (ValueError).
        traffic: where streams that flow steadily are read (see Exchange.pass_on) and small requests leave together; without it each stream
            is read by its own task and each request is sent at once.
    """

    __slots__ = ("_limits", "_origin", "_pool", "_tls", "_traffic")
    holds = True

    def __init__(
        self, origin: Origin, limits: TransportLimits, tls: ssl.SSLContext | None = None, traffic: Traffic | None = None
    ) -> None:
        if (origin.scheme == "https") != (tls is not None):
            raise ValueError("a TLS context is needed for https and only there")
        self._origin = origin
        self._limits = limits
        self._tls = tls
        self._traffic = traffic
        self._pool = Pool(limits)

    def __repr__(self) -> str:
        return f"<Http1Transport {self._origin} {self.stats()}>"

    async def send(self, request: UpstreamRequest, hold: Hold | None = None) -> Http1Exchange | Failure:
        """See transport.Transport.send. ValueError for a method or target that would break the request line."""
        head, pool = request_head(request), self._pool
        now = trio.current_time()
        claim = pool.claim(now)
        if not isinstance(claim, Connection):
            if claim == "wait":
                claim = await pool.wait()
                now = trio.current_time()
            if isinstance(claim, Failure):
                return claim
        # From here a slot is ours, until an exchange takes it over.
        try:
            if not isinstance(claim, Connection):
                answer = await self._over_new_connection(head, request, hold)
            elif request.source is not None:
                claim.link.close()
                answer = await self._over_new_connection(head, request, hold)
            else:
                answer = await exchange(claim, pool, head, request, hold, reused=True)
                if isinstance(answer, Http1Exchange):
                    return answer
                if self._stale(answer, now) and not (hold is not None and hold.ended):
                    sent = answer.sent
                    answer = await self._over_new_connection(head, request, hold)
                    if sent and isinstance(answer, Failure):
                        answer = attrs.evolve(answer, sent=True)
        except BaseException:
            pool.vacate()
            raise
        if isinstance(answer, Failure):
            pool.vacate()
        return answer

    def stats(self) -> PoolStats:
        return self._pool.stats()

    async def keep(self) -> None:
        """Service loop: closes idle sockets that are old or that the peer has closed."""
        interval_s = max(self._limits.idle_s / _KEEP_ROUNDS_PER_IDLE, _KEEP_INTERVAL_MIN_S)
        while True:
            await trio.sleep(interval_s)
            self._pool.prune(trio.current_time())

    async def aclose(self) -> None:
        self._pool.close()

    def _stale(self, failure: Failure, started: float) -> bool:
        soon = trio.current_time() - started <= self._limits.stale_s
        return soon and not failure.received and failure.kind in ("closed", "write")

    async def _over_new_connection(self, head: bytes, request: UpstreamRequest, hold: Hold | None) -> Http1Exchange | Failure:
        started = trio.current_time()
        link = await dial(self._origin, self._tls, self._limits, self._traffic)
        if isinstance(link, Failure):
            return link
        connection = Connection(link, ResponseReader(self._limits), trio.current_time() - started)
        return await exchange(connection, self._pool, head, request, hold, reused=False)


def request_head(request: UpstreamRequest) -> bytes:
    """The head's bytes. The target may carry what a caller sent, so it is checked; the header block is the caller's word."""
    method, body = request.method, request.body
    line = _request_line(method, request.target)
    if request.source is not None:
        return b"%b%b%b\r\n" % (line, request.headers, framing_line(request.source))
    if body or method not in (b"GET", b"HEAD"):
        return b"%b%bcontent-length: %d\r\n\r\n" % (line, request.headers, len(body))
    return b"%b%b\r\n" % (line, request.headers)


@lru_cache(_LINES_MAX)
def _request_line(method: bytes, target: bytes) -> bytes:
    if method not in _METHODS or not _TARGET.fullmatch(target):
        raise ValueError("unknown method, or a target with a byte that would break the request line")
    return b"%b %b HTTP/1.1\r\n" % (method, target)
