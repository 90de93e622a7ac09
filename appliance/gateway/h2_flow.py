"""Lets an HTTP/2 upload notice that the window it waits for has opened, which httpcore does not always.

httpcore 1.0 waits for flow control by reading from the connection, under a lock, and does not look again once it has the lock: where
another stream's read brought the window update meanwhile, it reads for something that never comes (pydantic/httpx2 issue 1133). One prompt
above 64 KB beside a slow answer is enough; it stands still until a time limit ends it. There is no public call for it, so this module
reaches into the library as h2_reset does, by the same rule: where the library looks different, it is left as it is.
"""

import contextlib
from typing import Any


def mend_flow(connection: Any) -> None:
    """Wrap the two methods of one of httpcore's HTTP/2 connections, once."""
    if "_wait_for_outgoing_flow" in vars(connection):
        return
    with contextlib.suppress(AttributeError):
        wait, read, state = connection._wait_for_outgoing_flow, connection._read_incoming_data, connection._h2_state
        waiting: dict[int, int] = {}  # stream ids by request; as many as there are streams

        async def mended_wait(request: Any, stream_id: int) -> Any:
            waiting[id(request)] = stream_id
            try:
                return await wait(request, stream_id)
            finally:
                del waiting[id(request)]

        async def mended_read(request: Any) -> Any:
            """Runs with the lock held: nobody else can open a window now."""
            stream_id = waiting.get(id(request))
            if stream_id is not None and state.local_flow_control_window(stream_id) > 0:
                return []
            return await read(request)

        connection._wait_for_outgoing_flow, connection._read_incoming_data = mended_wait, mended_read
