"""Who is calling, what of their headers may go on, and what they are called in logs. Pure look-ups; nothing here waits."""

import hashlib
import re
from collections.abc import Callable, Iterable
from urllib.parse import parse_qsl

from appliance.core.fault import Fault, FaultKind
from appliance.gateway.plan import KeyPlan, Plan

FORWARDED = frozenset({
    b"openai-beta", b"anthropic-beta", b"anthropic-version", b"traceparent", b"tracestate", b"x-app", b"originator", b"session-id",
    b"thread-id", b"x-client-request-id", b"x-session-id", b"x-session-affinity", b"x-claude-code-session-id",
})  # fmt: skip
FORWARDED_PREFIXES = (b"x-stainless-", b"x-codex-")
"""Headers of the caller's that mean something to a provider: versions, betas, traces, sessions. Never credentials, cookies or hop-by-hop
ones.
"""

NEVER_FORWARDED = frozenset({
    b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key", b"cookie", b"proxy-authorization", b"host", b"connection", b"keep-alive",
    b"te", b"trailer", b"transfer-encoding", b"upgrade", b"content-length", b"content-type", b"accept-encoding", b"expect",
    b"proxy-connection", b"x-amz-date", b"x-amz-security-token", b"x-amz-content-sha256",
})  # fmt: skip
"""Whatever the operator's list says: these would leak a credential or break the framing."""

TRACE_HEADERS = frozenset({b"traceparent", b"tracestate"})
"""Written anew where the gateway makes spans of its own: an attempt is then the parent of what its backend does."""

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")

_MISSING = Fault(
    FaultKind.UNAUTHORIZED, "no API key was given; send it as 'Authorization: Bearer KEY' (or x-api-key)", code="invalid_api_key"
)
_UNKNOWN = Fault(FaultKind.UNAUTHORIZED, "the API key is not known to this gateway", code="invalid_api_key")
_EXPIRED = Fault(FaultKind.UNAUTHORIZED, "the API key has expired; ask the operator for a new one", code="invalid_api_key")


def authenticate(plan: Plan, headers: dict[bytes, bytes], query: bytes, wall_time: float, *, anonymous: bool) -> KeyPlan | Fault:
    """The key a request came with. It is looked up by its SHA-256, so neither a comparison nor its time depends on the secret.

    Args:
        headers: the request's, names lowercased.
        query: raw query string; Gemini clients put the key there.
        anonymous: whether this listener lets in callers without a key, where the plan knows none.
    """
    return unexpired(look_up(plan, headers, query, anonymous=anonymous), wall_time)


def look_up(plan: Plan, headers: dict[bytes, bytes], query: bytes, *, anonymous: bool) -> KeyPlan | Fault:
    """As `authenticate`, but for the time: whether the key has expired is left to `unexpired`."""
    presented = _presented(headers, query)
    key = None if presented is None else plan.keys.get(hashlib.sha256(presented).digest())
    if key is None:
        if plan.anonymous is not None and anonymous:
            return plan.anonymous
        return _MISSING if presented is None else _UNKNOWN
    return key


def unexpired(key: KeyPlan | Fault, wall_time: float) -> KeyPlan | Fault:
    if isinstance(key, KeyPlan) and key.expires_at is not None and wall_time >= key.expires_at:
        return _EXPIRED
    return key


def _presented(headers: dict[bytes, bytes], query: bytes) -> bytes | None:
    bearer = headers.get(b"authorization")
    if bearer is not None and bearer[:7].lower() == b"bearer ":
        return bearer[7:].strip()
    for name in (b"x-api-key", b"x-goog-api-key", b"api-key"):
        value = headers.get(name)
        if value:
            return value
    if b"key=" in query:
        for name_text, text in parse_qsl(query.decode("latin-1")):
            if name_text == "key":
                return text.encode("latin-1", "replace")
    return None


def forwarder(
    extra: Iterable[str], user_agent: str, held_back: frozenset[bytes] = frozenset()
) -> Callable[[Iterable[tuple[bytes, bytes]]], bytes]:
    """A function from a caller's headers to the block of lines that may go upstream.

    Args:
        extra: names the operator added; a trailing `*` makes a prefix.
        user_agent: "forward" passes the caller's own, anything else is sent in its place.
        held_back: names that do not go on whatever the list says.
    """
    held_back |= NEVER_FORWARDED
    names = FORWARDED | {name.lower().encode("latin-1") for name in extra if not name.endswith("*")}
    names -= held_back
    prefixes = FORWARDED_PREFIXES + tuple(name[:-1].lower().encode("latin-1") for name in extra if name.endswith("*"))
    fixed = b""
    if user_agent == "forward":
        names |= {b"user-agent"}
    else:
        names -= {b"user-agent"}
        fixed = b"user-agent: %b\r\n" % user_agent.encode("latin-1", "replace")

    def forwarded(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        lines = [
            b"%b: %b\r\n" % pair
            for pair in headers
            if pair[0] in names or (pair[0].startswith(prefixes) and pair[0] not in held_back)
        ]
        return fixed + b"".join(lines)

    return forwarded


def given_request_id(given: bytes | None) -> str:
    """The caller's id when it is one we can print and store, else empty."""
    return given.decode("ascii") if given is not None and REQUEST_ID.fullmatch(given) else ""
