"""Lets an HTTP/2 upload notice that the window it waits for has opened, which httpcore does not always.

httpcore 1.0 waits for flow control by reading from the connection, under a lock, and does not look again once it has the lock: where
another stream's read brought the window update meanwhile, it reads for something that never comes (pydantic/httpx2 issue 1133). One prompt
above 64 KB beside a slow answer is enough; it stands still until a time limit ends it. And it
goes on waiting when a refusal is there already (a server that refuses an upload need not read it, RFC 9113 §8.1), or forgets it when the
server has reset the stream behind it. There is no public call for either, so this module reaches into the library as h2_reset does, by the
same rule: where the library looks different, it is left as it is.
"""

import contextlib
from typing import Any


class _Refused(Exception):
    """A body need not be sent any more."""


def mend_flow(connection: Any) -> None:
    """Wrap three methods of one of httpcore's HTTP/2 connections, once."""
    if "_wait_for_outgoing_flow" in vars(connection):
        return
    with contextlib.suppress(AttributeError):
        wait, read, state = connection._wait_for_outgoing_flow, connection._read_incoming_data, connection._h2_state
        body = connection._send_request_body
        waiting: dict[int, int] = {}  # stream ids by request; as many as there are streams

        async def mended_wait(request: Any, stream_id: int) -> Any:
            waiting[id(request)] = stream_id
            try:
                return await wait(request, stream_id)
            finally:
                del waiting[id(request)]

        def refused(stream_id: int) -> bool:
            heads = [event for event in connection._events.get(stream_id, ()) if type(event).__name__ == "ResponseReceived"]
            return any(name == b":status" and value >= b"300" for event in heads for name, value in event.headers)

        async def mended_body(request: Any, stream_id: int) -> Any:
            """What interrupts the sending of a body that has been refused is the refusal's affair."""
            try:
                return await body(request, stream_id)
            except Exception:
                if not refused(stream_id):
                    raise

        async def mended_read(request: Any) -> Any:
            """Runs with the lock held: nobody else can open a window now."""
            stream_id = waiting.get(id(request))
            if stream_id is not None and refused(stream_id):
                raise _Refused
            if stream_id is not None and state.local_flow_control_window(stream_id) > 0:
                return []
            return await read(request)

        connection._wait_for_outgoing_flow, connection._read_incoming_data = mended_wait, mended_read
        connection._send_request_body = mended_body
