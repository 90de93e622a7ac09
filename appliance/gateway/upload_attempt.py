"""One attempt to pass a form on: its request, and the source that the transport draws the body from.

The rule: while a form is under way, silence has a cause, and the cause is blamed: the caller who sends nothing (their connection's own
bounds, and the attempt's whole time), or the backend that takes nothing (as long as a stream may be silent).
"""

import re
from collections.abc import Mapping
from typing import Any

import attrs
import trio

from appliance.core.fault import Blame, Fault, FaultKind
from appliance.dialects.protocol import Rewrite
from appliance.dialects.upload_form import Splice, overridden_later, splices, streams
from appliance.gateway.held import READ_MAX_BYTES
from appliance.gateway.running import Running
from appliance.gateway.tracer import forwarded
from appliance.gateway.upload import Upload
from appliance.http1.transport import UpstreamRequest
from appliance.providers import request_rewrite

_CONTENT_TYPE = re.compile(rb"(?m)^content-type:[^\r\n]*\r\n")

ONCE = "; the upload is not kept beyond its first part (server.limits.upload_memory_bytes), so it could not be sent again"


def upload_request(running: Running, upload: Upload, endpoint: str, model: str) -> UpstreamRequest:
    """The request of this attempt. A short form is a body like any other."""
    upstream, call = running.target.upstream, running.call
    overrides = running.target.overrides
    edits = splices(upload.reader, upload.boundary, _other_model(running), overrides)
    body = _spliced(upload.held.whole(), edits) if upload.short else b""
    key = running.record.key
    request = upstream.request(endpoint, model, forwarded(running), body, running.language.name, stream=call.parsed.stream, key=key)
    request.headers = _CONTENT_TYPE.sub(b"", request.headers) + b"content-type: %b\r\n" % upload.content_type
    if not upload.short:
        size = upload.held.size if upload.ended else upload.incoming.length
        length = None if size is None else size + sum(one.growth for one in edits)
        request.source = running.uploading = UploadSource(running, upload, tuple(edits), overrides, length)
    return request


def told_once(upload: Upload, fault: Fault) -> Fault:
    """A fault that another attempt might have mended, had the form been kept."""
    if not upload.spent or fault.row.blame is Blame.CALLER or fault.message.endswith(ONCE):
        return fault
    return attrs.evolve(fault, message=fault.message + ONCE)


@attrs.define(eq=False)
class UploadSource:
    """See http1.transport.BodySource."""

    running: Running
    upload: Upload
    edits: tuple[Splice, ...]
    overrides: Mapping[str, Any]
    length: int | None
    _place: int = 0
    _edit: int = 0
    _parts: int = attrs.field(init=False)
    _waits_for_caller: bool = False

    def __attrs_post_init__(self) -> None:
        self._parts = len(self.upload.reader.parts)

    async def piece(self) -> bytes | None:
        """Held bytes first, changed as the operator wants it; then what comes."""
        data = await self._piece()
        if data is not None and (not data or self._at_end()):
            self._sent()
        else:
            self._wait(for_caller=False)
        return data

    def out_of_time(self) -> Fault:
        """Who has kept the other waiting for too long."""
        timeouts = self.running.target.upstream.settings.timeouts
        if self._waits_for_caller:
            return Fault(FaultKind.REQUEST_TIMEOUT, f"the request's body was not complete within {timeouts.total_s:g} s")
        name = self.running.record.backend
        return Fault(FaultKind.IDLE_TIMEOUT, f"the backend {name} took nothing of the upload within {timeouts.idle_s:g} s")

    async def _piece(self) -> bytes | None:
        upload, held = self.upload, self.upload.held
        while True:
            if self._edit < len(self.edits) and self.edits[self._edit].start == self._place:
                edit = self.edits[self._edit]
                self._edit += 1
                self._place = edit.end
                if edit.replacement:
                    return edit.replacement
                continue
            if self._place < held.size:
                limit = self.edits[self._edit].start if self._edit < len(self.edits) else held.size
                try:
                    data = await held.read(self._place, min(limit - self._place, READ_MAX_BYTES))
                except OSError as error:
                    upload.fault = Fault(FaultKind.INTERNAL, "the gateway lost what it kept of the upload", detail=str(error.strerror))
                    return None
                self._place += len(data)
                return data
            if upload.ended:
                return b""
            self._wait(for_caller=True)
            more = await upload.more()
            if more is None:
                return None
            self._note_fields()
            if upload.fault is not None:
                return None
            self._place += len(more)
            if more:
                return more

    def _at_end(self) -> bool:
        return self.upload.ended and self._place >= self.upload.held.size and self._edit == len(self.edits)

    def _note_fields(self) -> None:
        """What fields say that come after the file."""
        call, reader = self.running.call, self.upload.reader
        if not call.parsed.stream and streams(reader):
            call.parsed.stream = call.record.stream = True
        late = overridden_later(reader.parts, self._parts, self.overrides) if self.overrides else None
        if late is not None:
            message = f"the operator of this gateway sets the field {late!r}: leave it out of the form, or put it before the file"
            self.upload.fault = Fault(FaultKind.BAD_REQUEST, message, param=late)

    def _wait(self, *, for_caller: bool) -> None:
        self._waits_for_caller = for_caller
        timeouts = self.running.target.upstream.settings.timeouts
        whole = self.running.record.started_at + timeouts.total_s
        self.running.deadline = whole if for_caller else min(whole, trio.current_time() + timeouts.idle_s)

    def _sent(self) -> None:
        """The last byte is on its way: from here on the backend's time for its answer counts."""
        running, call, now = self.running, self.running.call, trio.current_time()
        if running.uploading is self:
            running.uploading = None
            running.sent_at = call.outlet.heard_at = now
            running.start_clock(now)
            running.deadline = min(running.deadline, running.record.started_at + running.target.upstream.settings.timeouts.total_s)


def _other_model(running: Running) -> str | None:
    """What the form is to ask for instead of its own model; None to leave it."""
    parsed, target, asked = running.call.parsed, running.target, running.record.model
    settings = target.upstream.settings
    wanted = Rewrite(model=asked if asked != parsed.model else None)
    return request_rewrite(target.upstream.provider, parsed, wanted, settings.api_version, settings.deployments).model


def _spliced(body: bytes, edits: list[Splice]) -> bytes:
    if not edits:
        return body
    pieces: list[bytes] = []
    reached = 0
    for one in edits:
        pieces += (body[reached : one.start], one.replacement)
        reached = one.end
    pieces.append(body[reached:])
    return b"".join(pieces)
