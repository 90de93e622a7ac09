"""Under which key an answer is kept: a digest of the request in canonical form and of what it meets here. Pure.

The rule: the key has everything that can change the answer's bytes but for the tenant, which is part of the cache's structure.
"""

import hashlib
from typing import Any

import attrs

from appliance.dialects.canonical_json import loaded, written
from appliance.dialects.repeatable import HEADERS_UNSAID, HEADERS_UNSAID_PREFIXES, UNSAID, WHOLE_ONLY, repeatable
from appliance.gateway.cache_plan import CachePlan
from appliance.gateway.call import Call
from appliance.gateway.plan import Resolved


@attrs.frozen
class Asked:
    """A request that the cache may answer.

    Attributes:
        key: of exactly this request.
        head: what it meets here, as it goes into every digest; fields: the request in canonical form, without what is not compared.
    """

    key: bytes
    head: bytes = attrs.field(repr=False)
    fields: dict[str, Any] = attrs.field(repr=False)


def asked_of(call: Call, resolved: Resolved, plan: CachePlan, pin: bytes, longest_bytes: int) -> Asked | None:
    """None of a request that is never answered from a cache.

    Args:
        pin: the backend that the caller wants, empty for any.
        longest_bytes: of a request that is looked through.
    """
    parsed, language = call.parsed, call.language.name
    if call.upload is not None or len(call.body) > longest_bytes:
        return None
    if not repeatable(language, parsed.operation, parsed.fields, always=plan.always, chancy=plan.chancy):
        return None
    fields = loaded(call.body)
    if fields is None:
        return None
    for name in UNSAID.get(language, ()):
        fields.pop(name, None)
    if not parsed.stream:
        for name in WHOLE_ONLY:
            fields.pop(name, None)
    canonical = written(fields)
    if canonical is None:
        return None
    head = _head(call, resolved, plan, pin)
    return Asked(digest(head, canonical), head, fields)


def digest(*parts: bytes) -> bytes:
    """Of all parts in order; where one ends is part of it."""
    made = hashlib.sha256()
    for part in parts:
        made.update(len(part).to_bytes(8, "big"))
        made.update(part)
    return made.digest()


def _head(call: Call, resolved: Resolved, plan: CachePlan, pin: bytes) -> bytes:
    """The path says the operation, and in Gemini's language the model; the frame how a stream is written."""
    record, parsed, verbatim = call.record, call.parsed, call.language.verbatim
    framed = b"" if verbatim is None else verbatim.framed
    texts = (call.language.name, parsed.operation, record.path, parsed.model, resolved.model, record.experiment, record.variant)
    stream = b"stream" if parsed.stream else b"whole"
    return digest(plan.digest, stream, framed, pin, _headers(call.forwarded), *(text.encode("utf-8", "surrogatepass") for text in texts))


def _headers(forwarded: bytes) -> bytes:
    """Of the header lines that go to the backend those that may change what it answers, whatever their order."""
    lines = [
        line
        for line in forwarded.split(b"\r\n")
        if (name := line.partition(b":")[0]) not in HEADERS_UNSAID and not name.startswith(HEADERS_UNSAID_PREFIXES)
    ]
    return b"\r\n".join(sorted(lines))
