"""Reading a request's body, whole and bounded, whichever engine is below."""

from appliance.core.fault import Fault, FaultKind
from appliance.http1.asgi import Receive
from appliance.http1.request_body import BodyBroken, BodyTimeout, BodyTooLarge

JSON_TYPES = (b"application/json", b"text/json")


async def read_body(receive: Receive, announced_bytes: int, limit_bytes: int) -> bytes | Fault:
    """The whole body, or why it cannot be had. Nothing is read of a body that says it is too large."""
    if announced_bytes > limit_bytes:
        return _too_large(limit_bytes)
    try:
        message = await receive()
        if message["type"] == "http.disconnect":
            return _gone()
        first: bytes = message.get("body", b"")
        if not message.get("more_body"):
            return first if len(first) <= limit_bytes else _too_large(limit_bytes)
        return await _rest(receive, first, limit_bytes)
    except BodyTooLarge:
        return _too_large(limit_bytes)
    except BodyTimeout:
        return Fault(FaultKind.REQUEST_TIMEOUT, "the request's body did not arrive in time")
    except BodyBroken:
        return Fault(FaultKind.BAD_REQUEST, "the request's body is not framed as its headers say")


async def _rest(receive: Receive, first: bytes, limit_bytes: int) -> bytes | Fault:
    pieces, size = [first], len(first)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return _gone()
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > limit_bytes:
            return _too_large(limit_bytes)
        pieces.append(piece)
        if not message.get("more_body"):
            return b"".join(pieces)


def wrong_type(headers: dict[bytes, bytes]) -> Fault | None:
    """A body that says it is not JSON is refused; one that says nothing is taken for JSON."""
    encoding = headers.get(b"content-encoding")
    if encoding is not None and encoding.strip().lower() not in (b"", b"identity"):  # RFC 9110 §15.5.16: 415 is for codings, too
        shown = encoding[:60].decode("latin-1")
        return Fault(FaultKind.UNSUPPORTED_MEDIA, f"the body's content encoding is {shown!r}; send it uncompressed")
    given = headers.get(b"content-type")
    if given is None:
        return None
    kind = given.split(b";", 1)[0].strip().lower()
    if kind in JSON_TYPES or kind.endswith(b"+json"):
        return None
    shown = kind[:60].decode("latin-1")
    return Fault(FaultKind.UNSUPPORTED_MEDIA, f"the body's content type is {shown!r}; send 'Content-Type: application/json'")


def _too_large(limit_bytes: int) -> Fault:
    return Fault(FaultKind.BODY_TOO_LARGE, f"the request's body is larger than {limit_bytes} bytes (server.limits.body_max_bytes)")


def _gone() -> Fault:
    return Fault(FaultKind.CLIENT_GONE, "the client left before its request was complete")
