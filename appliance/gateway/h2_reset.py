"""Resets one HTTP/2 stream of httpcore, which never does so itself.

httpcore 1.0 forgets an abandoned stream without telling the server: the model goes on generating, and since its h2 state still counts the
stream as open, after a hundred abandoned requests every new one fails with "Max outbound streams is 100, 100 open" (encode/httpcore issue
1022). There is no public call for it, so this module, alone, reaches into the library; dependencies are pinned by hash and a test proves
that the reset arrives. The rule: where the library looks different, nothing is raised and the stream is left as httpcore leaves it.
"""

import contextlib
from typing import Any

import httpx
import trio

from appliance.gateway.h2_flow import mend_flow

_CANCEL = 0x8  # RFC 9113 §7

# A frame of 13 bytes to a peer that does not read for this long will not get through at all.
_FLUSH_S = 1.0


class H2Stream:
    """One stream under way on one of httpcore's connections."""

    __slots__ = ("_connection", "_request", "_stream_id")

    def __init__(self, connection: Any, request: Any, stream_id: int) -> None:
        self._connection = connection
        self._request = request
        self._stream_id = stream_id

    @classmethod
    def of(cls, transport: httpx.AsyncBaseTransport, info: dict[str, Any]) -> "H2Stream | None":
        """From what httpcore's trace says when it sends a request's headers; None where the connection is not found."""
        request, stream_id = info.get("request"), info.get("stream_id")
        for entry in getattr(getattr(transport, "_pool", None), "_requests", ()):
            if entry.request is request and stream_id is not None:
                connection = entry.connection
                while connection is not None and not hasattr(connection, "_h2_state"):
                    connection = getattr(connection, "_connection", None)
                if connection is None:
                    return None
                mend_flow(connection)
                return cls(connection, request, stream_id)
        return None

    def reset(self) -> None:
        """Marks the stream as reset, and gives its unread bytes back to the window; the frame leaves with the next write, or `flush`."""
        # h2 raises for streams and connections that are closed already; any other shape of the library ends here too.
        with contextlib.suppress(Exception):
            state = self._connection._h2_state
            if state.streams[self._stream_id].closed:  # by the peer: a reset must not answer a reset (RFC 9113 §5.4.2)
                return
            for event in self._connection._events.get(self._stream_id, ()):
                size = getattr(event, "flow_controlled_length", 0)
                if size:
                    state.acknowledge_received_data(size, self._stream_id)
            state.reset_stream(self._stream_id, _CANCEL)

    async def flush(self) -> None:
        """Writes what is pending, though cancelled, within a second."""
        with trio.move_on_after(_FLUSH_S, shield=True), contextlib.suppress(Exception):
            await self._connection._write_outgoing_data(self._request)
