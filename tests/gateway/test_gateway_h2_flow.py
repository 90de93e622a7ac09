"""An HTTP/2 upload goes on when the window it waits for was opened under another stream's eyes, and ends when it is refused."""

import contextlib
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest
import trio
import trustme

from appliance.gateway.httpx_transport import httpx_transport
from appliance.gateway.trust import BadTrust, upstream_tls
from appliance.http1.origin import Origin
from appliance.http1.transport import Exchange, Failure, TransportLimits, UpstreamRequest

WINDOW_BYTES = 65_535
FULL_BYTES = WINDOW_BYTES - 1000  # the first request took its share of the connection's window
QUIET_S = 0.3  # long enough for the uploading task to come to rest behind the reading one; where it is not, there is nothing to wait for


Handler = Callable[[trio.SSLStream[trio.SocketStream]], Awaitable[None]]


async def stingy_server(first_came: trio.Event, stream: trio.SSLStream[trio.SocketStream]) -> None:
    """Never answers the first request; of the second it lets one window in at a time, and opens the next with a single write."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    connection.initiate_connection()
    await stream.send_all(connection.data_to_send())
    arrived = 0
    while data := await stream.receive_some(WINDOW_BYTES):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.StreamEnded) and event.stream_id == 1:
                first_came.set()
            elif isinstance(event, h2.events.DataReceived) and event.stream_id == 3:
                arrived += event.flow_controlled_length
            elif isinstance(event, h2.events.StreamEnded) and event.stream_id == 3:
                connection.send_headers(3, [(":status", "200")])
                connection.send_data(3, b"done", end_stream=True)
        await stream.send_all(connection.data_to_send())
        if arrived >= FULL_BYTES:
            arrived = 0
            await trio.sleep(QUIET_S)
            connection.increment_flow_control_window(WINDOW_BYTES)
            connection.increment_flow_control_window(WINDOW_BYTES, 3)
            await stream.send_all(connection.data_to_send())


def refusing_server(reset: bool, seen: list[str]) -> Handler:
    """Answers 413 as soon as it has the head, and opens no window; perhaps it resets the stream behind its answer."""

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        await stream.send_all(connection.data_to_send())
        while data := await stream.receive_some(WINDOW_BYTES):
            for event in connection.receive_data(data):
                seen.append(type(event).__name__)
                if isinstance(event, h2.events.RequestReceived):
                    assert event.stream_id is not None
                    connection.send_headers(event.stream_id, [(":status", "413")])
                    connection.send_data(event.stream_id, b"too much", end_stream=True)
                    if reset:
                        connection.reset_stream(event.stream_id, 0)
            await stream.send_all(connection.data_to_send())

    return serve


async def served(authority: trustme.CA, listener: trio.SocketListener, serve: Handler) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    authority.issue_cert("localhost").configure_cert(context)

    async def handle(stream: trio.SocketStream) -> None:
        secure = trio.SSLStream(stream, context, server_side=True)
        with contextlib.suppress(trio.BrokenResourceError):  # the client closes without TLS's own goodbye
            await serve(secure)

    await trio.serve_listeners(handle, [listener])


@pytest.mark.parametrize("size", [1000, 300_000])
async def test_an_upload_does_not_wait_for_a_window_that_is_open(tmp_path: Path, size: int) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = upstream_tls(str(tmp_path / "ca.pem"))
    assert not isinstance(tls, BadTrust)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    origin = Origin.parse(f"https://localhost:{listener.socket.getsockname()[1]}")
    assert isinstance(origin, Origin)
    transport = httpx_transport(origin, TransportLimits(), tls, http2=True, proxy=None)
    results: list[Exchange | Failure] = []

    async def post(body: bytes) -> None:
        results.append(await transport.send(UpstreamRequest(b"POST", b"/", b"host: localhost\r\n", body)))

    async with trio.open_nursery() as nursery:
        first_came = trio.Event()
        nursery.start_soon(served, authority, listener, partial(stingy_server, first_came))
        nursery.start_soon(post, b"never answered")
        await first_came.wait()
        await trio.sleep(QUIET_S)  # its task waits for the answer
        with trio.fail_after(60):
            await post(b"x" * size)
        nursery.cancel_scope.cancel()
    (answer,) = [one for one in results if not isinstance(one, Failure)]
    assert answer.status == 200
    with trio.move_on_after(1):
        await transport.aclose()




class Pieces:
    """A megabyte in pieces."""

    length: int | None = 1_048_576

    def __init__(self) -> None:
        self.given = 0

    async def piece(self) -> bytes | None:
        await trio.lowlevel.checkpoint()
        self.given += 1
        return b"x" * 65_536 if self.given <= 16 else b""


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "while it arrives"])
@pytest.mark.parametrize("reset", [False, True])
async def test_a_refusal_is_heard_while_the_window_stays_shut(tmp_path: Path, reset: bool, streamed: bool) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = upstream_tls(str(tmp_path / "ca.pem"))
    assert not isinstance(tls, BadTrust)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    origin = Origin.parse(f"https://localhost:{listener.socket.getsockname()[1]}")
    assert isinstance(origin, Origin)
    transport = httpx_transport(origin, TransportLimits(), tls, http2=True, proxy=None)
    seen: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(served, authority, listener, refusing_server(reset, seen)))
        with trio.fail_after(60):
            for _ in range(3):  # the connection is not spoiled
                request = UpstreamRequest(b"POST", b"/", b"host: localhost\r\n", b"" if streamed else b"x" * 1_048_576)
                request.source = Pieces() if streamed else None
                answer = await transport.send(request)
                assert not isinstance(answer, Failure), answer
                assert (answer.status, await answer.read(), await answer.read()) == (413, b"too much", b"")
            while "StreamReset" not in seen and not reset:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    with trio.move_on_after(1):
        await transport.aclose()
