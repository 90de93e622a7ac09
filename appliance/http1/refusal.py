"""What the engine answers by itself, before or instead of the application: a value with a status and one line of reason."""

from collections.abc import Callable
from http import HTTPStatus

import attrs

RenderRefusal = Callable[[int, str, bytes], tuple[bytes, bytes]]
OnRefusal = Callable[[int, str], None]


@attrs.frozen
class Refusal:
    """A request that is not served. `target` is the request target as far as it was understood, b"" otherwise."""

    status: int
    reason: str
    target: bytes = b""


STATUS_LINES = {s.value: b"HTTP/1.1 %d %b\r\n" % (s.value, s.phrase.encode()) for s in HTTPStatus}


def status_line(status: int) -> bytes:
    """The status line with its CRLF; unregistered codes get an empty reason phrase, as RFC 9112 §4 allows."""
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def plain_text_refusal(status: int, reason: str, target: bytes) -> tuple[bytes, bytes]:
    """The simplest `render_refusal`: one line of text."""
    del status, target
    return b"text/plain; charset=utf-8", reason.encode() + b"\n"


def refusal_bytes(refusal: Refusal, render: RenderRefusal, date_line: bytes) -> bytes:
    """The whole answer; it always ends the connection, since after a refused message nobody knows where the next one starts."""
    content_type, body = render(refusal.status, refusal.reason, refusal.target)
    retry = b"retry-after: 1\r\n" if refusal.status == 503 else b""
    return b"%b%b%bcontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (
        status_line(refusal.status),
        date_line,
        retry,
        content_type,
        len(body),
        body,
    )
