"""A caller's form, piece by piece, whichever engine is below."""

import attrs

from appliance.config.doors import ServerLimits
from appliance.core.fault import Fault, FaultKind
from appliance.core.record import RequestRecord
from appliance.dialects.multipart import MultipartReader, boundary_of, is_form
from appliance.dialects.upload_form import WANTED
from appliance.gateway.faults import CLIENT_GONE
from appliance.gateway.held import Held
from appliance.gateway.upload import Upload
from appliance.http1.asgi import Receive, Scope
from appliance.http1.request_body import BodyBroken, BodyCut, BodyTimeout, BodyTooLarge
from appliance.server.body import BROKEN, LATE, too_large, wrong_coding
from appliance.server.reply import header_map

KNOB = "server.limits.upload_max_bytes"


@attrs.define(eq=False)
class UploadBody:
    """See gateway.upload.Incoming."""

    _receive: Receive
    _limit_bytes: int
    length: int | None
    ended: bool = False
    _size: int = 0

    async def piece(self) -> bytes | Fault:
        try:
            message = await self._receive()
        except BodyTooLarge:
            return too_large(self._limit_bytes, KNOB)
        except BodyTimeout:
            return LATE
        except BodyCut:
            return CLIENT_GONE
        except BodyBroken:
            return BROKEN
        if message["type"] == "http.disconnect":
            return CLIENT_GONE
        data: bytes = message.get("body", b"")
        self._size += len(data)
        if self._size > self._limit_bytes:
            return too_large(self._limit_bytes, KNOB)
        self.ended = not message.get("more_body")
        return data


def open_upload(scope: Scope, receive: Receive, announced_bytes: int, limits: ServerLimits, record: RequestRecord) -> Upload | Fault:
    """The form of a request that says it is one, nothing of it read yet; or why it is not taken."""
    headers = header_map(scope)
    refused = wrong_coding(headers)
    if refused is not None:
        return refused
    content_type = headers.get(b"content-type", b"")
    if not is_form(content_type):
        shown = content_type.partition(b";")[0].strip()[:60].decode("latin-1")
        message = f"the body's content type is {shown!r}; send a form (multipart/form-data with its boundary) or application/json"
        return Fault(FaultKind.UNSUPPORTED_MEDIA, message)
    boundary = boundary_of(content_type)
    if isinstance(boundary, Fault):
        return boundary
    if announced_bytes > limits.upload_max_bytes:
        return too_large(limits.upload_max_bytes, KNOB)
    engine = scope.get("extensions", {}).get("http1")
    if engine is not None:
        engine.allow_body(limits.upload_max_bytes)
    incoming = UploadBody(receive, limits.upload_max_bytes, announced_bytes if b"content-length" in headers else None)
    held = Held(limits.upload_memory_bytes, limits.upload_spool_bytes)
    return Upload(incoming, boundary, content_type, MultipartReader(boundary, WANTED), held, record)
