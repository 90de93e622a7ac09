"""Reading a request's body, whole and bounded, whichever engine is below."""

from appliance.core.fault import Fault, FaultKind
from appliance.http1.asgi import Receive
from appliance.http1.request_body import BodyBroken, BodyTimeout, BodyTooLarge

JSON_TYPES = (b"application/json", b"text/json")

LATE = Fault(FaultKind.REQUEST_TIMEOUT, "the request's body did not arrive in time")
BROKEN = Fault(FaultKind.BAD_REQUEST, "the request's body is not framed as its headers say")


async def read_body(receive: Receive, announced_bytes: int, limit_bytes: int) -> bytes | Fault:
    """The whole body, or why it cannot be had. Nothing is read of a body that says it is too large."""
    if announced_bytes > limit_bytes:
        return too_large(limit_bytes)
    try:
        message = await receive()
        if message["type"] == "http.disconnect":
            return _gone()
        first: bytes = message.get("body", b"")
        if not message.get("more_body"):
            return first if len(first) <= limit_bytes else too_large(limit_bytes)
        return await _rest(receive, first, limit_bytes)
    except BodyTooLarge:
        return too_large(limit_bytes)
    except BodyTimeout:
        return LATE
    except BodyBroken:
        return BROKEN


async def _rest(receive: Receive, first: bytes, limit_bytes: int) -> bytes | Fault:
    pieces, size = [first], len(first)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return _gone()
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > limit_bytes:
            return too_large(limit_bytes)
        pieces.append(piece)
        if not message.get("more_body"):
            return b"".join(pieces)


def wrong_type(headers: dict[bytes, bytes]) -> Fault | None:
    """A body that says it is not JSON is refused; one that says nothing is taken for JSON."""
    refused = wrong_coding(headers)
    if refused is not None:
        return refused
    given = headers.get(b"content-type")
    if given is None:
        return None
    kind = given.split(b";", 1)[0].strip().lower()
    if kind in JSON_TYPES or kind.endswith(b"+json"):
        return None
    shown = kind[:60].decode("latin-1")
    return Fault(FaultKind.UNSUPPORTED_MEDIA, f"the body's content type is {shown!r}; send 'Content-Type: application/json'")


def wrong_coding(headers: dict[bytes, bytes]) -> Fault | None:
    encoding = headers.get(b"content-encoding")
    if encoding is None or encoding.strip().lower() in (b"", b"identity"):
        return None
    shown = encoding[:60].decode("latin-1")  # RFC 9110 §15.5.16: 415 is for codings, too
    return Fault(FaultKind.UNSUPPORTED_MEDIA, f"the body's content encoding is {shown!r}; send it uncompressed")


def too_large(limit_bytes: int, knob: str = "server.limits.body_max_bytes") -> Fault:
    return Fault(FaultKind.BODY_TOO_LARGE, f"the request's body is larger than {limit_bytes} bytes ({knob})")


def _gone() -> Fault:
    return Fault(FaultKind.CLIENT_GONE, "the client left before its request was complete")
