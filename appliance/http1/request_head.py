"""One request head: bytes in, a RequestHead or a Refusal out. Pure.

The rule: two readers must agree. The raw bytes are first held against the grammar of RFC 9112 as one regular expression without any
leniency (llhttp lets several of the smuggling forms pass), then llhttp reads the same bytes, and method, target and number of header
lines must be the same in both. What the message framing depends on (Host, Content-Length, Transfer-Encoding, Connection, Expect) is read
once, here.
"""

import re
from typing import Any

import attrs
import httptools

from appliance.http1.refusal import Refusal
from appliance.http1.request_target import split_target
from appliance.http1.server_limits import ServerLimits

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"  # RFC 9110 §5.6.2
# Possessive quantifiers: no backtracking, so the time is linear in the head whatever a client sends.
# RFC 9112 §2.2 would have a server ignore an empty line before the request line, for clients of the 1990s; a line that some readers in a
# chain see and others do not is refused here, as h11 does.
HEAD = re.compile(rb"(" + TOKEN + rb"++) ([\x21-\x7e]++) HTTP/1\.([01])\r\n((?:" + TOKEN + rb"++:[\t \x21-\x7e\x80-\xff]*+\r\n)*+)\r\n")
# What may not stand in a head at all; searched while a head is incomplete, so that a client that ends its lines with a bare LF (or speaks
# TLS) hears of it at once and not after the header timeout.
FORBIDDEN = re.compile(rb"\A[\r\t ]|(?<!\r)\n|\r(?=[^\n])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

DIGITS = re.compile(rb"[0-9]{1,19}")
WATCHED = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"))
RARE = frozenset((b"transfer-encoding", b"expect"))

Headers = list[tuple[bytes, bytes]]


@attrs.define(eq=False)  # never changed after it is made, but not frozen: that would cost every request a microsecond
class HeadFacts:
    """What a head says besides its headers and its length. One object for a head and those that repeat it but for its length
    (head_memory.py).

    `path` is percent-encoded and starts with "/" (or is "*"); `keep_alive` is what the client asked for; `expects_continue` is true when it
    waits for a 100. `remembered` is the application's, for what it derives from a head; `shared_scope` the connection's, for what it makes
    of one.
    """

    method: bytes
    target: bytes
    path: bytes
    query: bytes
    http11: bool
    keep_alive: bool
    expects_continue: bool
    remembered: dict[str, Any] = attrs.field(factory=dict, repr=False)
    shared_scope: dict[str, Any] | None = attrs.field(default=None, repr=False)


@attrs.define(eq=False)
class RequestHead:
    """A request that may be served. Header names are lowercased; `length` is the Content-Length (0 without one) and None for a chunked
    body.
    """

    facts: HeadFacts
    headers: Headers = attrs.field(repr=False)
    length: int | None


class _Lines:
    """What llhttp calls while it reads."""

    __slots__ = ("headers", "url")

    def __init__(self) -> None:
        self.headers: Headers = []
        self.url = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))


def read_head(raw: bytes, limits: ServerLimits) -> RequestHead | Refusal:
    """`raw` is everything up to and including the empty line that ends the head."""
    match = HEAD.fullmatch(raw)
    if match is None:
        return _grammar_fault(raw)
    method, target, minor, block = match.groups()
    http11 = minor == b"1"
    if len(target) > limits.target_max_bytes:
        return Refusal(414, "the request target is too long")
    count = block.count(b"\n")
    if count > limits.headers_max:
        return Refusal(431, "too many header lines", target)
    if method == b"CONNECT":
        return Refusal(501, "CONNECT is not offered", target)

    lines = _Lines()
    parser = httptools.HttpRequestParser(lines)
    fault: str | None = None
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # no upgrade is offered, so `Upgrade: h2c` means nothing (RFC 9110 §7.8): the request is served as HTTP/1.1
    except httptools.HttpParserInvalidMethodError:
        return Refusal(501, "unknown method", target)
    except httptools.HttpParserError as error:
        fault = str(error)
    headers = lines.headers
    if fault is not None or len(headers) != count:
        # llhttp stops where it finds fault; our own reading of the whole block may know the better status.
        framing = _framing([_pair(line) for line in block.split(b"\r\n")[:-1]], http11)
        if isinstance(framing, Refusal):
            return attrs.evolve(framing, target=target)
        return Refusal(400, f"malformed request head ({fault or 'header lines disagree'})", target)
    if b" \r\n" in block or b"\t\r\n" in block:  # llhttp leaves the optional white space after a value in place (RFC 9112 §5.1)
        headers = [(name, value.rstrip(b" \t")) for name, value in headers]
    if lines.url != target or parser.get_method() != method:
        return Refusal(400, "malformed request line", target)

    framing = _framing(headers, http11)
    if isinstance(framing, Refusal):
        return attrs.evolve(framing, target=target)
    host, length, keep_alive, expects = framing
    place = split_target(method, target, host)
    if isinstance(place, Refusal):
        return place
    path, query = place
    return RequestHead(HeadFacts(method, target, path, query, http11, keep_alive, expects), headers, length)


def _framing(headers: Headers, http11: bool) -> tuple[bytes | None, int | None, bool, bool] | Refusal:
    """(Host, body length or None for chunked, keep-alive asked for, 100-continue awaited), or why these headers frame no message."""
    by_name = dict(headers)
    if http11 and len(by_name) == len(headers) and RARE.isdisjoint(by_name) and by_name.get(b"connection", b"keep-alive") == b"keep-alive":
        # No name twice and nothing out of the ordinary, as in nearly every request.
        host = by_name.get(b"host")
        length = by_name.get(b"content-length")
        if host is not None and (length is None or DIGITS.fullmatch(length) is not None):
            return host, int(length or 0), True, False
    return _framing_line_by_line(headers, http11)


def _framing_line_by_line(headers: Headers, http11: bool) -> tuple[bytes | None, int | None, bool, bool] | Refusal:
    """As `_framing`, whatever the headers are."""
    host: bytes | None = None
    length: bytes | None = None
    coding: bytes | None = None
    keep_alive, close, expects = http11, False, False
    for name, value in headers:
        if name not in WATCHED:
            continue
        if name == b"host":
            if host is not None:
                return Refusal(400, "more than one Host")
            host = value
        elif name == b"content-length":
            if length is not None:
                return Refusal(400, "more than one Content-Length")
            length = value
        elif name == b"transfer-encoding":
            if coding is not None:
                return Refusal(400, "more than one Transfer-Encoding")
            coding = value
        elif name == b"connection":
            options = [option.strip(b" \t") for option in value.lower().split(b",")]
            close = close or b"close" in options  # several Connection lines are one list (RFC 9110 §5.3); close anywhere in it wins
            keep_alive = keep_alive or b"keep-alive" in options
        elif http11:  # Expect; RFC 9110 §10.1.1: ignored in HTTP/1.0
            if value.lower() != b"100-continue":
                return Refusal(417, "only 100-continue can be expected")
            expects = True
    if host is None and http11:
        return Refusal(400, "no Host")
    if coding is not None:
        return _chunked(coding, length, http11) or (host, None, keep_alive and not close, expects)
    if length is not None and DIGITS.fullmatch(length) is None:
        return Refusal(400, "Content-Length is not one plain number")
    return host, int(length or 0), keep_alive and not close, expects


def _pair(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.lower(), value.strip(b" \t")


def _chunked(coding: bytes, length: bytes | None, http11: bool) -> Refusal | None:
    """Why this Transfer-Encoding is not accepted. RFC 9112 §6.1 lets a server refuse each of these, and a proxy must."""
    if not http11:
        return Refusal(400, "Transfer-Encoding in HTTP/1.0")
    if length is not None:
        return Refusal(400, "both Content-Length and Transfer-Encoding")
    if coding.lower() != b"chunked":
        return Refusal(501, "only the chunked transfer coding is understood")
    return None


def _grammar_fault(raw: bytes) -> Refusal:
    """Which rule a head broke, for the one who has to mend the client; never echoes what was sent."""
    line, _, rest = raw.partition(b"\r\n")
    if raw[:1] in (b"\r", b" ", b"\t"):
        return Refusal(400, "white space before the request line")
    bad = FORBIDDEN.search(raw)
    if bad is not None:
        return Refusal(400, "line end other than CRLF" if bad[0] in (b"\n", b"\r") else "control character in the head")
    parts = line.split(b" ")
    if len(parts) != 3 or not all(parts):
        return Refusal(400, "malformed request line")
    if re.fullmatch(TOKEN + rb"+", parts[0]) is None:
        return Refusal(400, "the method is not a token")
    if re.fullmatch(rb"HTTP/[0-9]\.[0-9]", parts[2]) is None:
        return Refusal(400, "malformed request line")
    if parts[2] not in (b"HTTP/1.0", b"HTTP/1.1"):
        return Refusal(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    if re.fullmatch(rb"[\x21-\x7e]+", parts[1]) is None:
        return Refusal(400, "malformed request target")
    for header in rest.split(b"\r\n"):
        name = header.partition(b":")[0]
        if header[:1] in (b" ", b"\t"):
            return Refusal(400, "folded header line")
        if header and name != name.rstrip(b" \t"):
            return Refusal(400, "white space before the colon of a header")
    return Refusal(400, "malformed header line")
