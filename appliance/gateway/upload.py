"""A form with files on its way from its caller to a backend: what is held of it, what passes, and what has to stop it.

The rule: a form is read no faster than it is taken. Up to a bound all of it is held, and then it is like any other body. A longer one
is asked for its model first (what comes before that is held, in a file if need be) and is then passed on as it comes: as long as every
byte that was read is still held, a failed attempt may be followed by another; afterwards there is one only.
"""

from typing import Protocol

import attrs

from appliance.core.fault import Fault, FaultKind
from appliance.core.record import RequestRecord
from appliance.dialects.multipart import MultipartReader
from appliance.dialects.upload_form import model_of
from appliance.gateway.held import Held


class Incoming(Protocol):
    """A caller's body, piece by piece.

    Attributes:
        length: as announced, None for a chunked one.
        ended: the last piece has been given.
    """

    @property
    def length(self) -> int | None: ...

    @property
    def ended(self) -> bool: ...

    async def piece(self) -> bytes | Fault:
        """The next bytes, perhaps none; or why there will be no more. A cancelled call has taken nothing."""
        ...


@attrs.define(eq=False)
class Upload:
    """One form.

    Attributes:
        content_type: the header's value, boundary included: it goes on as it is.
        reader: follows what has been read of it.
        fault: why it cannot be completed: the caller's part in the failure of an attempt.
        spent: bytes that are not held have been given out: nobody can send them again.
    """

    incoming: Incoming
    boundary: bytes
    content_type: bytes
    reader: MultipartReader
    held: Held
    record: RequestRecord
    fault: Fault | None = None
    spent: bool = False

    @property
    def ended(self) -> bool:
        """All of it has been read."""
        return self.incoming.ended

    @property
    def short(self) -> bool:
        """It is whole and in memory: a body like any other."""
        return self.incoming.ended and self.held.in_memory

    async def read_ahead(self) -> Fault | None:
        """Read until the model is known and no more would be held; a short form to its end. The fault is what is wrong with it."""
        while not self.incoming.ended:
            known = self.reader.value("model") is not None
            if known and self.held.full:
                break
            data = await self._next()
            if data is None:
                return self.fault
            if not self.held.full:
                self.held.add(data)
            elif not await self._spooled(data):
                return self.fault
        model = model_of(self.reader)
        if isinstance(model, Fault):
            self.fault = model
        return self.fault

    async def more(self) -> bytes | None:
        """The next bytes after what is held, perhaps none; None when `fault` says why there will be no more. Nobody holds them."""
        data = await self._next()
        self.spent = self.spent or bool(data)
        return data

    def close(self) -> None:
        self.held.close()

    async def _next(self) -> bytes | None:
        if self.fault is not None:
            return None
        data = await self.incoming.piece()
        if isinstance(data, Fault):
            self.fault = data
            return None
        self.record.bytes_in += len(data)
        self.reader.feed(data)
        if self.incoming.ended:
            self.reader.end()
        self.fault = self.reader.fault
        return data if self.fault is None else None

    async def _spooled(self, data: bytes) -> bool:
        """Held in the file, since the model is not known yet."""
        try:
            if await self.held.spool(data):
                return True
        except OSError as error:
            message = "the gateway cannot keep the form until its model is known: put the field 'model' before the file"
            self.fault = Fault(FaultKind.INTERNAL, message, param="model", detail=f"spooling failed: {error.strerror}")
            return False
        message = f"the form has no 'model' in its first {self.held.size} bytes (server.limits.upload_spool_bytes): put it before the file"
        self.fault = Fault(FaultKind.BAD_REQUEST, message, param="model", code="missing_required_parameter")
        return False
