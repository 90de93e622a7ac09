"""Records an answer on its way to the caller: it stands between the outlet and the server below, and keeps what really went out.

The rule: it never changes or delays what is sent, but for one header; an answer that is too long, or for which all recordings together have
no room, is sent on and forgotten.
"""

import attrs

from appliance.gateway.call import Engine, HeaderList
from appliance.http1.asgi import Message, Send


@attrs.define(eq=False)
class RecordingRoom:
    """What all recordings under way may hold together.

    Attributes:
        most_bytes: the bound; held_bytes: of it, now.
    """

    most_bytes: int
    held_bytes: int = 0


@attrs.define(eq=False)
class Recording:
    """One answer. An outlet takes it for its server; see Outlet.through.

    Attributes:
        most_bytes: longest body that is kept.
        told: headers of the answer's own that only this caller gets.
        status, headers: of the answer, once they are known. body: None when it was given up.
    """

    room: RecordingRoom
    most_bytes: int
    told: HeaderList
    send_on: Send | None = None
    engine: Engine | None = None
    status: int = 0
    headers: HeaderList = attrs.field(factory=list)
    body: bytearray | None = attrs.field(factory=bytearray, repr=False)

    async def send(self, message: Message) -> None:
        """ASGI's."""
        assert self.send_on is not None  # the outlet has put it there
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], message["headers"]
            await self.send_on({**message, "headers": [*self.headers, *self.told]})
            return
        await self.send_on(message)
        self._note(message["body"])

    def push(self, body: bytes) -> bool | None:
        assert self.engine is not None
        taken = self.engine.push(body)
        if taken is not None:
            self._note(body)
        return taken

    def push_whole(self, status: int, headers: HeaderList, body: bytes) -> bool | None:
        assert self.engine is not None
        taken = self.engine.push_whole(status, [*headers, *self.told], body)
        if taken is not None:
            self.status, self.headers = status, headers
            self._note(body)
        return taken

    def close(self) -> None:
        """Give its room back. What it recorded is gone."""
        if self.body is not None:
            self.room.held_bytes -= len(self.body)
            self.body = None

    def _note(self, data: bytes) -> None:
        body, room = self.body, self.room
        if body is None:
            return
        if len(body) + len(data) > self.most_bytes or room.held_bytes + len(data) > room.most_bytes:
            self.close()
            return
        body += data
        room.held_bytes += len(data)
