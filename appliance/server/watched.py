"""Requests on an engine that neither ends a request whose client left nor reads on when a request was refused early (Hypercorn).

The rule: what the built-in engine does by itself is done here, so that the application above cannot tell the two apart.
"""

from collections.abc import Awaitable, Callable

import attrs
import trio

from appliance.http1.asgi import Message, Receive, Scope, Send
from appliance.http1.request_body import BodyTimeout

LINGER_S = 5.0
LINGER_MAX_BYTES = 33_554_432
"""How long and how much is still read of a request before it is refused, as in the built-in engine. Over HTTP/1.1 the client would else
read a reset and no answer; over HTTP/2 Hypercorn drops the connection, other streams included, at the first body byte after an answer.
"""

Answer = Callable[[Scope, Receive, Send], Awaitable[None]]


async def serve_watched(answer: Answer, scope: Scope, receive: Receive, send: Send, body_read_s: float) -> None:
    """Run `answer`, and cancel it when the client leaves before its answer is complete.

    Args:
        body_read_s: the longest silence inside a request body; then `BodyTimeout` is raised.
    """
    watched = _Watched(receive, send, body_read_s)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.watch, nursery.cancel_scope)
        await answer(scope, watched.receive, watched.send)
        nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class _Watched:
    """One request.

    Attributes:
        ended: the last piece of the answer is on its way: the engine says "disconnect" then, too, and it means nothing.
    """

    _receive: Receive
    _send: Send
    _body_read_s: float
    _body_read: trio.Event = attrs.field(factory=trio.Event)
    ended: bool = False
    _lingered: bool = False

    async def receive(self) -> Message:
        with trio.move_on_after(self._body_read_s):
            message = await self._receive()
            if message["type"] != "http.request" or not message.get("more_body"):
                self._body_read.set()
            return message
        raise BodyTimeout(f"silent for {self._body_read_s:g} s")

    async def send(self, message: Message) -> None:
        # An answer that begins while its request still comes is a refusal, or one that goes on beside it (a transcription) and must not end
        # before it.
        ends = message["type"] != "http.response.start" and not message.get("more_body")
        if (ends or message.get("status", 0) >= 300) and not self._body_read.is_set() and not self._lingered:
            self._lingered = True
            await self._linger()
        if ends:
            self.ended = True
        await self._send(message)

    async def watch(self, scope: trio.CancelScope) -> None:
        await self._body_read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self.ended:
            scope.cancel()

    async def _linger(self) -> None:
        size = 0
        with trio.move_on_after(LINGER_S):
            while size <= LINGER_MAX_BYTES:
                message = await self._receive()
                size += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body"):
                    self._body_read.set()
                    return
