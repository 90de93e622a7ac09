"""A response head and how its body is framed, from what the application said. Pure.

The rule: the engine owns the framing. Of the application's own framing headers only Content-Length is kept (and enforced); a header that
could end its line early is refused, so no value can forge a second header.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

import attrs

from appliance.http1.refusal import STATUS_LINES, status_line
from appliance.http1.request_head import TOKEN

NAME = re.compile(TOKEN + rb"++")
LENGTH = re.compile(rb"[0-9]{1,19}")
PLAIN_LENGTH = re.compile(rb"0|[1-9][0-9]{0,18}")
BREAKS = b"\r\n\0"
BAD_NAME = "a response header has a malformed name"
BAD_VALUE = "a response header has a line break or NUL in its value"
BAD_LENGTH = "Content-Length must be given once, as one number"
BODILESS = frozenset((204, 304))
BODIED_LINES = {status: line for status, line in STATUS_LINES.items() if status >= 200 and status not in BODILESS}
# Headers that are looked at beside Content-Length; all others pass as they are.
LOOKED_AT = frozenset((b"transfer-encoding", b"connection", b"keep-alive", b"date"))
# An application gives the same few lists of names again and again, so they are judged once for so many lists.
TEMPLATES_MAX = 256


@attrs.define(eq=False)
class Framing:
    """How the body goes out: `left` bytes to the end when a length was announced (counted down by whoever sends them), `chunked`, or
    neither: the end of the connection ends it.

    `silent` answers (HEAD, 204, 304) have no body whatever the application sends, and are neither.
    """

    head: bytes
    left: int | None
    chunked: bool
    silent: bool
    keep_alive: bool


def usual_head(status: int, headers: Sequence[tuple[bytes, bytes]], date_line: bytes, whole_bytes: int) -> bytes | None:
    """What nearly every answer is: its head as `frame_answer` gives it, when the body is whole, the headers say its length, and the
    connection, of HTTP/1.1, goes on. None when anything of that is left to decide. Raises like it.
    """
    line = BODIED_LINES.get(status)
    by_name = dict(headers)
    if line is None or by_name.get(b"content-length") != b"%d" % whole_bytes:
        return None
    block = _plain_block(headers, by_name)
    return None if block is None else b"%b%b%b\r\n" % (line, date_line, block)


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
    silent = method == b"HEAD" or status in BODILESS
    length: int | None = None
    by_name = dict(headers)
    announced = by_name.get(b"content-length")
    plain = announced is None or PLAIN_LENGTH.fullmatch(announced) is not None
    block = _plain_block(headers, by_name) if plain else None
    if block is not None:
        if announced is not None:
            length = int(announced)
            if http11 and keep_alive and not silent:  # nothing is left to decide
                return Framing(b"%b%b%b\r\n" % (status_line(status), date_line, block), length, False, False, True)
            block = b"".join([b"%b: %b\r\n" % pair for pair in headers if pair[0] != b"content-length"])
    else:
        block, length, dated, keep_alive = _own_headers(headers, keep_alive)
        if dated:
            date_line = b""

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


def _plain_block(headers: Sequence[tuple[bytes, bytes]], by_name: dict[bytes, bytes]) -> bytes | None:
    """The header block where every header passes as it is, Content-Length for one; None where they have to be looked at one by one."""
    template = _template(tuple(by_name)) if len(by_name) == len(headers) else None
    if template is None:
        return None
    block = template % tuple(by_name.values())
    if len(block.translate(None, BREAKS)) != len(block) - 2 * len(headers):
        raise ValueError(BAD_VALUE)
    return block


@lru_cache(TEMPLATES_MAX)
def _template(names: tuple[bytes, ...]) -> bytes | None:
    """A header block with `%b` for each value; None unless every name is well formed, in lower case and, Content-Length apart, none that is
    looked at. Names in lower case are recognised by equality.
    """
    for name in names:
        if NAME.fullmatch(name) is None or name != name.lower() or name in LOOKED_AT:
            return None
    return b"".join([name.replace(b"%", b"%%") + b": %b\r\n" for name in names])


def _own_headers(headers: Sequence[tuple[bytes, bytes]], keep_alive: bool) -> tuple[bytes, int | None, bool, bool]:
    """The header block without what the engine says itself, the announced length, whether a date was given, and whether to keep alive."""
    lines: list[bytes] = []
    length: int | None = None
    dated = False
    for name, value in headers:
        if NAME.fullmatch(name) is None:
            raise ValueError(BAD_NAME)
        if value.translate(None, BREAKS) != value:
            raise ValueError(BAD_VALUE)
        known = name.lower()
        if known == b"content-length":
            if length is not None or LENGTH.fullmatch(value) is None:
                raise ValueError(BAD_LENGTH)
            length = int(value)
        elif known == b"connection":
            keep_alive = keep_alive and b"close" not in value.lower()
        elif known not in (b"transfer-encoding", b"keep-alive"):
            dated = dated or known == b"date"
            lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join(lines), length, dated, keep_alive
