"""Lets an upload over HTTP/1.1 through httpcore hear of a refusal that comes before its end.

httpcore 1.0 looks for an answer only once the whole request has been written: a server that refuses an upload and reads no more of it (RFC
9112 §9.3 allows that) leaves it waiting for room. There is no public call for this either, so this module reaches into the library as
h2_reset does, by the same rule: where the library looks different, it is left as it is. What is read early goes into the library's own
parser, so that nothing is lost whoever reads on.
"""

import contextlib
import re
from typing import Any

import httpx
import trio

READ_BYTES = 65_536
HEAD_MAX_BYTES = 65_536
"""Of what comes before a final status is known: a server that says so much is not listened to any more."""

REFUSAL_MAX_BYTES = 262_144
REFUSAL_REST_S = 2.0
"""How much of a refusal, and how long after its last bytes, is still read over TLS."""

_FINAL = re.compile(rb"(?:HTTP/1\.[01] 1[0-9][0-9][^\n]*\n(?:[^\r\n][^\n]*\n)*\r?\n)*HTTP/1\.[01] ([2-9])")


_LENGTH = re.compile(rb"(?i)\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r?\n")


def mend_upload(transport: httpx.AsyncBaseTransport, trace: object) -> None:
    """The connection that carries the request with this trace will be listened to while it sends bodies."""
    for entry in getattr(getattr(transport, "_pool", None), "_requests", ()):
        if entry.request.extensions.get("trace") is trace:
            connection = entry.connection
            while connection is not None and not hasattr(connection, "_h11_state"):
                connection = getattr(connection, "_connection", None)
            if connection is not None and "_send_request_body" not in vars(connection):
                with contextlib.suppress(AttributeError):
                    _mend(connection)


def _mend(connection: Any) -> None:
    send, state, stream = connection._send_request_body, connection._h11_state, connection._network_stream

    async def mended(request: Any) -> None:
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, nursery.cancel_scope)
            try:
                await send(request)
            except Exception as error:  # raised below, as the library raises it: not in a group
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def listen(sending: trio.CancelScope) -> None:
        begun = b""
        with contextlib.suppress(Exception):  # whatever is wrong with the connection, the sending side or the next read meets it, too
            while len(begun) < HEAD_MAX_BYTES:
                data = await stream.read(READ_BYTES)
                if not data:
                    return
                state.receive_data(data)
                begun += data
                final = _FINAL.match(begun)
                if final is not None:
                    if final[1] > b"2":
                        await rest(begun[final.start(1) :])
                        sending.cancel()
                    return

    async def rest(refusal: bytes) -> None:
        """A TLS stream whose sending was cancelled cannot be read any more (trio.SSLStream): what belongs to the refusal is read before."""
        while stream.get_extra_info("ssl_object") is not None and len(refusal) < REFUSAL_MAX_BYTES and not _whole(refusal):
            data = b""
            with trio.move_on_after(REFUSAL_REST_S):
                data = await stream.read(READ_BYTES)
            if not data:
                return
            state.receive_data(data)
            refusal += data

    connection._send_request_body = mended


def _whole(refusal: bytes) -> bool:
    """Whether it is all there, as far as can be told without a parser: nothing depends on it but how long is waited for more."""
    head, blank, body = refusal.partition(b"\r\n\r\n")
    length = _LENGTH.search(head + b"\r\n")
    return bool(blank) and (len(body) >= int(length[1]) if length is not None else body.endswith(b"0\r\n\r\n"))
