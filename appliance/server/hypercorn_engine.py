"""Hypercorn as an engine: it speaks TLS, HTTP/2 and HTTP/1.1; accepting, counting, draining and cutting its connections is done here.

The rule: what the built-in engine promises of connections holds here, too, so that who runs an engine need not know which it is. Only
Hypercorn's class for one connection is used (0.18), because its server waits for keep_alive_timeout before it lets go of a connection whose
client left without asking anything (3,000 of those held 500 descriptors), counts nothing, and cannot be cut.
"""

import contextlib
import math
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import hypercorn.protocol
import hypercorn.trio.tcp_server
import trio
from hypercorn.config import Config
from hypercorn.events import Event, Updated
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from appliance.config.doors import ServerLimits
from appliance.http1.asgi import App, Receive, Scope, Send
from appliance.http1.refusal import OnRefusal
from appliance.server.strict_http1 import HeardConfig
from appliance.server.whole_http2 import WholeHttp2

OnError = Callable[[BaseException, dict[str, object]], None]

FRESH_S = 0.5
"""During a drain, how long a connection that was just accepted may still ask: its first request is probably on its way."""


class HypercornServer:
    """Serves one ASGI application. See `http1.server.Server` for what its methods promise.

    Args:
        tls_cert, tls_key: PEM files; with them it speaks TLS, and HTTP/2 where the client offers it.
        on_error: told what the application raised; on_refusal: what Hypercorn answered by itself.
    """

    def __init__(
        self, app: App, limits: ServerLimits, tls_cert: str, tls_key: str, on_error: OnError, on_refusal: OnRefusal
    ) -> None:
        self._app: Any = _Reported(app, on_error)  # Hypercorn gives every ASGI message a type of its own; here they are dicts
        self._on_error = on_error
        self._limits = limits
        self._config = _config(limits, tls_cert, tls_key, on_refusal)
        self._context = WorkerContext(None)
        self._connections: set[_Connection] = set()
        self._accepting = trio.CancelScope()
        self._running = trio.CancelScope()

    @property
    def connections_open(self) -> int:
        return len(self._connections)

    @property
    def answers_leaving(self) -> int:
        """None that the application is done with: its last `send` returns when the socket has taken all."""
        return 0

    async def serve(self, sockets: Sequence[socket.socket], task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept on these listening sockets until `drain`, and return when the last connection is closed. Closes the sockets. Once only."""
        listeners = [self._listener(sock) for sock in sockets]
        with self._running:
            async with trio.open_nursery() as guard:
                guard.start_soon(self._sever_when_cancelled)
                async with trio.open_nursery() as connections:
                    with self._accepting:
                        task_status.started()
                        await trio.serve_listeners(self._converse, listeners, handler_nursery=connections)
                    await trio.sleep_until(max((one.begun_at for one in self._connections), default=-math.inf) + FRESH_S)
                    await self._context.terminated.set()  # kept-alive connections without a request are closed, others after their answer
                guard.cancel_scope.cancel()

    def drain(self) -> None:
        """Stop accepting and close idle connections; answers under way are finished and end their connections."""
        self._accepting.cancel()

    def cut(self, reason: str = "shutdown") -> None:
        """Cancel every request that still runs and close every connection."""
        del reason  # Hypercorn tells its application of nothing but a disconnect
        self._running.cancel()

    async def _sever_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            for connection in self._connections:
                connection.sever()

    def _listener(self, sock: socket.socket) -> trio.abc.Listener[Any]:
        # It shields what it sends, so a reader that stopped reading could hold a request for ever, and nothing here would notice. On TCP
        # the kernel does: accepted sockets inherit this bound on unacknowledged data (tcp(7); a window that stays closed counts, too).
        if sock.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(self._limits.write_stall_s * 1000))
        sock.setblocking(False)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        context = self._config.create_ssl_context()
        return listener if context is None else trio.SSLListener(listener, context, https_compatible=True)

    async def _converse(self, stream: Any) -> None:
        if len(self._connections) >= self._limits.connections_max:
            await trio.aclose_forcefully(stream)
            return
        connection = _Connection(self._app, self._config, self._context, ConnectionState({}), stream)
        self._connections.add(connection)
        try:
            await connection.run()
        except Exception as bug:  # of Hypercorn; one connection must not take the others with it
            self._on_error(bug, {})
        finally:
            self._connections.discard(connection)


class _Connection(TCPServer):
    """One connection that ends when its client has left."""

    _left = False

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.begun_at = trio.current_time()

    async def protocol_send(self, event: Event) -> None:
        if self._left and isinstance(event, Updated):
            return  # it would start the idle timer again
        await super().protocol_send(event)

    async def _read_data(self) -> None:
        await super()._read_data()
        self._left = True
        await self.idle_task.stop()

    async def _close(self) -> None:
        # Hypercorn sends under its lock, but closes without it. Its reader closes as soon as the rest of a request is malformed, and trio's
        # send_eof counts as sending across a checkpoint: what the application sent just then raised BusyResourceError, like a bug of ours.
        if self.send_lock.locked():
            await self.stream.aclose()  # a send that waits for its client must not hold this up: it fails, and the answer is seen to be cut
            return
        async with self.send_lock:
            await super()._close()

    def sever(self) -> None:
        """Shut the socket below whatever Hypercorn does with it: its sends are shielded from cancellation, but not from their failure."""
        stream: Any = self.stream
        stream = getattr(stream, "transport_stream", stream)
        with contextlib.suppress(OSError):  # gone already
            stream.socket.shutdown(socket.SHUT_RDWR)


class _Applications(TaskGroup):
    """The applications of one connection, told of their requests without ever holding up who tells them of the end.

    Hypercorn's queue for one application holds ten messages, the end of the request is one more of them, and it waits for room. An answer
    that does not read its request's body (401, 413) waited there for itself, and its connection stayed open for ever.
    """

    async def spawn_app(self, *arguments: Any) -> Callable[[Any], Awaitable[None]]:
        put: Any = await super().spawn_app(*arguments)
        queue: trio.MemorySendChannel[Any] = put.__self__

        async def tell(message: Any) -> None:
            if message["type"] == "http.disconnect":
                with contextlib.suppress(trio.WouldBlock, trio.ClosedResourceError, trio.BrokenResourceError):
                    queue.send_nowait(message)
                queue.close()  # seen as EndOfChannel behind what is in the queue; who waits for room in it is released
                return
            with contextlib.suppress(trio.ClosedResourceError):  # nobody reads on
                await queue.send(message)

        return tell


# The class of one connection looks these names up when the connection begins, and takes no others from its caller.
hypercorn.trio.tcp_server.TaskGroup = _Applications  # type: ignore[attr-defined]
hypercorn.protocol.H2Protocol = WholeHttp2  # type: ignore[attr-defined,assignment]


class _Reported:
    """The application in the shape that Hypercorn calls, its bugs reported: Hypercorn would write them to a log of its own."""

    def __init__(self, app: App, on_error: OnError) -> None:
        self._app = app
        self._on_error = on_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send, *_: object) -> None:
        async def hear() -> dict[str, Any]:
            try:
                return await receive()
            except trio.EndOfChannel:
                return {"type": "http.disconnect"}

        try:
            await self._app(scope, hear, send)
        except Exception as bug:
            self._on_error(bug, scope)
            raise


def _config(limits: ServerLimits, tls_cert: str, tls_key: str, on_refusal: OnRefusal) -> Config:
    config = HeardConfig()
    config.on_refusal = on_refusal
    config.write_stall_s = limits.write_stall_s
    if tls_cert:
        config.certfile, config.keyfile = tls_cert, tls_key
        config.ssl_handshake_timeout = limits.header_read_s
    config.alpn_protocols = ["h2", "http/1.1"] if tls_cert else ["http/1.1"]
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.keep_alive_timeout = limits.idle_s
    config.read_timeout = None
    config.h11_max_incomplete_size = limits.head_max_bytes
    config.h2_max_header_list_size = limits.head_max_bytes
    return config
