"""The heads of answers: what is taken from an upstream's, and what the caller gets. Pure."""

import re
from functools import lru_cache

import attrs

from appliance.gateway.decoding import decoder
from appliance.gateway.running import Running
from appliance.http1.transport import Exchange

PASSED_HEADERS = frozenset({b"retry-after", b"request-id", b"content-language"})
RATE_LIMIT_PREFIX = b"x-ratelimit-"
PASSED_PREFIXES = (b"openai-", b"anthropic-", RATE_LIMIT_PREFIX)
"""Upstream response headers that clients use, under their own names."""

NAME_LISTS_MAX = 256
"""Lists of header names that are judged once: a backend gives the same few again and again."""

DROPPED_MAX_CHARS = 1_000
"""Of the list of what could not be said in a backend's language; the record has all of it."""

ONE_ATTEMPT = (b"x-gateway-attempts", b"1")

TEXTS_MAX = 256
"""Model names whose form as a header's value is kept: the same few come with nearly every answer."""

VARIANTS_MAX = 64
"""Variants of experiments whose headers are kept: two of each, and few run at once."""

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


@attrs.define(eq=False)
class Head:
    """What the pump needs of an upstream's response head, read in one pass."""

    status: int
    content_type: bytes
    encoding: bytes
    passed: list[tuple[bytes, bytes]]


JSON = b"application/json"


def is_json(content_type: bytes) -> bool:
    """Whether a body says that it is JSON, or says nothing."""
    kind = content_type.partition(b";")[0].strip().lower()
    return not kind or kind == JSON or kind.endswith(b"+json")


OWN_HEAD = Head(200, b"application/json", b"", [])
"""Of an answer that no backend gave."""


def read_head(answer: Exchange) -> Head:
    headers = answer.headers
    by_name = dict(headers)
    encoding = by_name.get(b"content-encoding")
    passing = _passing(tuple(by_name))
    return Head(
        answer.status,
        by_name.get(b"content-type", b""),
        b"" if encoding is None else encoding.strip().lower(),
        [pair for pair in headers if pair[0] in passing] if passing else [],
    )


@lru_cache(NAME_LISTS_MAX)
def _passing(names: tuple[bytes, ...]) -> frozenset[bytes]:
    """Those of an upstream's header names that go on to the caller."""
    return frozenset(name for name in names if name in PASSED_HEADERS or name.startswith(PASSED_PREFIXES))


def response_headers(running: Running, head: Head) -> list[tuple[bytes, bytes]]:
    """The head that the caller gets with a backend's answer: who served it, how often it was tried, what the gateway itself took."""
    record, call = running.record, running.call
    request = call.record
    overhead_s, attempts = record.started_at - request.started_at, ONE_ATTEMPT
    if len(request.attempts) > 1:
        overhead_s -= request.upstream_until(record.started_at)
        attempts = (b"x-gateway-attempts", b"%d" % len(request.attempts))
    headers = [
        (b"x-request-id", request.request_id.encode()),
        running.target.upstream.served_by,
        (b"x-gateway-model", header_text(record.model)),
        attempts,
        (b"x-gateway-overhead-ms", b"%.3f" % (overhead_s * 1000)),
    ]
    if head.content_type:
        headers.append((b"content-type", head.content_type))
    if head.passed:
        ours = call.outlet.limited is not None  # the caller's limits are ours then, and none of an upstream's
        headers += [pair for pair in head.passed if not pair[0].startswith(RATE_LIMIT_PREFIX)] if ours else head.passed
    if request.experiment:
        headers += variant_headers(request.experiment, request.variant)
    if request.dropped_fields and (shown := header_text(", ".join(request.dropped_fields)[:DROPPED_MAX_CHARS])):
        headers.append((b"x-gateway-dropped", shown))
    return headers


@lru_cache(VARIANTS_MAX)
def variant_headers(experiment: str, variant: str) -> tuple[tuple[bytes, bytes], ...]:
    """Of every answer to a request that takes part in an experiment, errors too."""
    return (b"x-experiment", header_text(experiment)), (b"x-variant", header_text(variant))


@lru_cache(TEXTS_MAX)
def header_text(text: str) -> bytes:
    """A text as the value of a header: whatever it holds, one line of printable ASCII (RFC 9110 §5.5)."""
    if not (text.isascii() and text.isprintable()):
        text = _UNPRINTABLE.sub("?", text)
    return text.strip().encode()


def decoded(body: bytes, headers: list[tuple[bytes, bytes]], max_bytes: int) -> bytes:
    """A short body with its content encoding undone, cut at `max_bytes`; empty when that cannot be done."""
    for name, value in headers:
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            undo = decoder(value)
            return b"" if undo is None else undo.feed(body, max_bytes) or b""
    return body
