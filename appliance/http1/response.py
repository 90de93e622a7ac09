"""Reads responses, without I/O: bytes in, status, headers and body pieces out. One reader serves one connection, response after response.

The rule: whatever bytes come, nothing is raised; what is not a response we accept sets `fault`. llhttp (strict) frames the message and
refuses repeated or odd Content-Length, Content-Length beside Transfer-Encoding, obs-fold, bare CR and LF, control characters and bad chunk
sizes. It lets pass, and this module refuses: Transfer-Encoding other than one `chunked` (RFC 9112 §6.1; `gzip` and `chunked, gzip` would
be read until close and handed on undecoded), a version other than 1.x, statuses outside 100 to 599, and 101, which nobody asked for.
"""

import httptools

from appliance.http1.transport import FailureKind, TransportLimits

Fault = tuple[FailureKind, str]

_VERSIONS = frozenset(("1.1", "1.0"))


class ResponseReader:
    """State of the response being read.

    Attributes:
        status, headers: valid once `head_done`.
        pieces: body bytes not yet taken by the caller, who empties the list.
        complete: the whole message is there.
        keep_alive: valid once `complete`; the connection may carry another request.
        fault: what is wrong with the response, in words without its values.
    """

    __slots__ = (
        "_fields",
        "_head_only",
        "_head_size",
        "_informational",
        "_limits",
        "_parser",
        "_silent_size",
        "_until_close",
        "complete",
        "fault",
        "head_done",
        "headers",
        "keep_alive",
        "peer_idle_s",
        "pieces",
        "status",
    )

    def __init__(self, limits: TransportLimits) -> None:
        self._limits = limits
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.keep_alive = False
        self._until_close = False
        self._fields: list[tuple[bytes, bytes]] = []
        self._parser = httptools.HttpResponseParser(self)
        self.start(head_only=False)

    def start(self, *, head_only: bool) -> None:
        """Ready for the next response. head_only: the request is HEAD, so that Content-Length announces nothing (RFC 9110 §9.3.2)."""
        self._head_only = head_only
        self._head_size = self._silent_size = self._informational = 0
        if self.pieces:
            self.pieces = []
        self.head_done = self.complete = False
        self.peer_idle_s: float | None = None
        self.fault: Fault | None = None

    @property
    def received(self) -> bool:
        """A byte of the response has come."""
        return self._head_size > 0

    def feed(self, data: bytes) -> None:
        """Takes what was received (not empty)."""
        was_head = not self.head_done
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            # Junk behind a complete message spoils the connection, not the message (RFC 9112 §6.3: such bytes are no part of it).
            if self.complete:
                self.keep_alive = False
            elif self.fault is None:
                self.fault = ("protocol", f"response refused: {error}")
        if was_head:
            self._head_size += len(data)
            if self._head_size > self._limits.response_head_max_bytes:
                self._bound_head(self._limits.response_head_max_bytes)
        elif self.pieces or self.complete:
            self._silent_size = 0
        else:
            self._silent_size += len(data)
            if self._silent_size > self._limits.response_head_max_bytes:
                self.fault = self.fault or ("too_large", "trailers or chunk extensions over response_head_max_bytes")

    def end(self) -> bool:
        """The peer has closed in an orderly way. True when that completes the message (RFC 9112 §6.3 item 8)."""
        if self.head_done and self._until_close and self.fault is None:
            self.complete = True
            self.keep_alive = False
        return self.complete

    def _bound_head(self, limit: int) -> None:
        """What has come is more than a head may be: refused, unless a smaller head has ended in it."""
        if not (self.head_done and sum(len(n) + len(v) + 4 for n, v in self.headers) <= limit):
            self.fault = self.fault or ("too_large", "response head over response_head_max_bytes")

    # llhttp's callbacks. What they raise stops the parser and comes out of feed_data as an HttpParserError.

    def on_message_begin(self) -> None:
        if self.complete:
            raise ValueError("bytes after the end of the message")
        self._fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        # llhttp leaves white space after the value, which is not part of it (RFC 9112 §5.1).
        self._fields.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        parser, fields = self._parser, self._fields
        status = parser.get_status_code()
        if not (200 <= status <= 599 and len(fields) <= self._limits.response_headers_max and parser.get_http_version() in _VERSIONS):
            self._interim(status)
            return
        # How the message ends. llhttp has seen to it that Content-Length comes once, and not beside Transfer-Encoding.
        by_name = dict(fields)
        coding = by_name.get(b"transfer-encoding")
        # A second Transfer-Encoding makes fewer names than lines, as does any other header said twice (Set-Cookie): only then count.
        if coding is not None and (
            coding.lower() != b"chunked" or (len(by_name) < len(fields) and sum(name == b"transfer-encoding" for name, _ in fields) > 1)
        ):
            raise self._refused("protocol", "response refused: Transfer-Encoding other than a single chunked")
        if b"keep-alive" in by_name:
            self.peer_idle_s = keep_alive_timeout(by_name[b"keep-alive"])
        self.status = status
        self.headers = fields
        self._fields = []  # trailers go there: dropped, nobody may merge them into the head (RFC 9110 §6.5.1)
        self.head_done = True
        self._until_close = b"content-length" not in by_name and coding is None and status not in (204, 304)
        self.keep_alive = parser.should_keep_alive()
        if self._head_only:
            # llhttp cannot be told to skip the body; HEAD is for rare probes, so the connection is given up instead.
            self.keep_alive = False
            self.complete = True

    def on_body(self, data: bytes) -> None:
        if not self._head_only:
            self.pieces.append(data)

    def on_message_complete(self) -> None:
        if self.head_done:  # else it was a 1xx
            self.complete = True

    def _interim(self, status: int) -> None:
        """A head that is not that of the answer: a 1xx, or one that is refused."""
        if len(self._fields) > self._limits.response_headers_max:
            raise self._refused("too_large", "more header lines than response_headers_max")
        if self._parser.get_http_version() not in _VERSIONS:
            raise self._refused("protocol", "response refused: not HTTP/1.x")
        if status == 101:
            raise self._refused("protocol", "response refused: 101 without an Upgrade asked for")
        if not 100 <= status <= 199:
            raise self._refused("protocol", "response refused: status outside 100 to 599")
        if self._informational >= self._limits.informational_max:
            raise self._refused("protocol", "more 1xx responses than informational_max")
        self._informational += 1

    def _refused(self, kind: FailureKind, detail: str) -> ValueError:
        self.fault = (kind, detail)
        return ValueError(detail)


def keep_alive_timeout(value: bytes) -> float | None:
    """Seconds the peer keeps an idle connection, from `Keep-Alive: timeout=5, max=100`; None when it does not say.

    The header is a convention of RFC 2068 §19.7.1 that Node (5 s by default), Apache and uvicorn's users still rely on.
    """
    for part in value.split(b","):
        key, _, number = part.strip().partition(b"=")
        if key.strip().lower() == b"timeout" and number.strip().isdigit() and len(number) < 8:
            return float(number)
    return None
