"""A response head and how its body is framed, from what the application said. Pure.

The rule: the engine owns the framing. Of the application's own framing headers only Content-Length is kept (and enforced); a header that
could end its line early is refused, so no value can forge a second header.
"""

import re
from collections.abc import Sequence

import attrs

from appliance.http1.refusal import status_line
from appliance.http1.request_head import TOKEN

FIELDS = re.compile(rb"(?:" + TOKEN + rb"++: [^\r\n\0]*+\r\n)*+")
LENGTH = re.compile(rb"[0-9]{1,19}")
BODILESS = frozenset((204, 304))
# Headers that are looked at; all others pass as they are.
_OTHERS = rb"(?:(?!(?:content-length|transfer-encoding|connection|keep-alive|date):)" + TOKEN + rb"++: [^\r\n\0]*+\r\n)*+"
# A block as almost every answer has it: well formed, and of the headers that are looked at one Content-Length or none.
PLAIN = re.compile(rb"(" + _OTHERS + rb")(?:(?-i:content-length): ([0-9]{1,19})\r\n(" + _OTHERS + rb"))?", re.I)


@attrs.define(eq=False)  # never changed after it is made, but not frozen: that would cost every request a microsecond
class Framing:
    """How the body goes out: `left` bytes to the end when a length was announced, `chunked`, or neither: the end of the connection ends it.

    `silent` answers (HEAD, 204, 304) have no body whatever the application sends.
    """

    head: bytes
    left: int | None
    chunked: bool
    silent: bool
    keep_alive: bool


def frame_answer(
    status: int,
    headers: Sequence[tuple[bytes, bytes]],
    *,
    method: bytes,
    http11: bool,
    keep_alive: bool,
    date_line: bytes,
    whole_bytes: int | None,
) -> Framing:
    """`whole_bytes` is the size of the body when all of it is known already. Raises ValueError for what no answer may contain."""
    if not 200 <= status <= 999:
        raise ValueError(f"status {status} cannot be an answer")
    lines = list(map(b": ".join, headers))
    block = b"%b\r\n" % b"\r\n".join(lines) if lines else b""
    plain = PLAIN.fullmatch(block)
    if block.count(b"\n") != len(lines) or (plain is None and FIELDS.fullmatch(block) is None):
        raise ValueError("a response header has a malformed name or a line break or NUL in its value")
    silent = method == b"HEAD" or status in BODILESS
    length: int | None = None
    if plain is None:
        block, length, dated, keep_alive = _own_headers(headers, keep_alive)
        if dated:
            date_line = b""
    elif plain[2] is not None:
        block = plain[1] + plain[3]
        length = int(plain[2])
        if http11 and keep_alive and not silent:  # nothing is left to decide
            head = b"%b%b%bcontent-length: %d\r\n\r\n" % (status_line(status), date_line, block, length)
            return Framing(head, length, False, False, True)

    chunked = False
    framing = b""
    if status == 204:
        length = None  # RFC 9110 §8.6
    elif length is None and whole_bytes is not None and (whole_bytes or not silent):
        length = whole_bytes
    if length is not None:
        framing = b"content-length: %d\r\n" % length
    elif not silent:
        if http11:
            chunked = True
            framing = b"transfer-encoding: chunked\r\n"
        else:
            keep_alive = False
    if not keep_alive:
        framing += b"connection: close\r\n"
    elif not http11:
        framing += b"connection: keep-alive\r\n"
    head = b"%b%b%b%b\r\n" % (status_line(status), date_line, block, framing)
    return Framing(head, None if silent else length, chunked, silent, keep_alive)


def _own_headers(headers: Sequence[tuple[bytes, bytes]], keep_alive: bool) -> tuple[bytes, int | None, bool, bool]:
    """The header block without what the engine says itself, the announced length, whether a date was given, and whether to keep alive."""
    lines: list[bytes] = []
    length: int | None = None
    dated = False
    for name, value in headers:
        name = name.lower()
        if name == b"content-length":
            if length is not None or LENGTH.fullmatch(value) is None:
                raise ValueError("Content-Length must be given once, as one number")
            length = int(value)
        elif name == b"connection":
            keep_alive = keep_alive and b"close" not in value.lower()
        elif name not in (b"transfer-encoding", b"keep-alive"):
            dated = dated or name == b"date"
            lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join(lines), length, dated, keep_alive
