"""Hypercorn as an engine: it speaks TLS, HTTP/2 and HTTP/1.1; accepting, counting, draining and cutting its connections is done here.

The rule: what the built-in engine promises of connections holds here, too, so that who runs an engine need not know which it is. Only
Hypercorn's class for one connection is used (0.18), because its server waits for keep_alive_timeout before it lets go of a connection whose
client left without asking anything (3,000 of those held 500 descriptors), counts nothing, and cannot be cut.
"""

import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.events import Event, RawData, Updated
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from appliance.config.schema import ServerLimits
from appliance.http1.asgi import App, Receive, Scope, Send

OnError = Callable[[BaseException, dict[str, object]], None]


class HypercornServer:
    """Serves one ASGI application. See `http1.server.Server` for what its methods promise.

    Args:
        tls_cert, tls_key: PEM files; with them it speaks TLS, and HTTP/2 where the client offers it.
        on_error: told what the application raised.
    """

    def __init__(self, app: App, limits: ServerLimits, tls_cert: str, tls_key: str, on_error: OnError) -> None:
        self._app = _Reported(app, on_error)
        self._on_error = on_error
        self._limits = limits
        self._config = _config(limits, tls_cert, tls_key)
        self._context = WorkerContext(None)
        self._connections: set[_Connection] = set()
        self._accepting = trio.CancelScope()
        self._running = trio.CancelScope()

    @property
    def connections_open(self) -> int:
        return len(self._connections)

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
            # It answers a malformed message while the answer before it is still being sent: the connection ends, which is all it deserves.
            rest = bug.split(trio.BusyResourceError)[1] if isinstance(bug, ExceptionGroup) else bug
            if rest is not None and not isinstance(rest, trio.BusyResourceError):
                self._on_error(rest, {})
        finally:
            self._connections.discard(connection)


class _Connection(TCPServer):
    """One connection that ends when its client has left."""

    _left = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._sending = trio.Lock()

    async def protocol_send(self, event: Event) -> None:
        if self._left and isinstance(event, Updated):
            return  # it would start the idle timer again
        if not isinstance(event, RawData) or self._sending.statistics().owner is trio.lowlevel.current_task():
            await super().protocol_send(event)
            return
        # The reader answers a malformed message while the application may be answering the one before it.
        async with self._sending:
            await super().protocol_send(event)

    async def _read_data(self) -> None:
        await super()._read_data()
        self._left = True
        await self.idle_task.stop()

    def sever(self) -> None:
        """Shut the socket below whatever Hypercorn does with it: its sends are shielded from cancellation, but not from their failure."""
        stream: Any = self.stream
        stream = getattr(stream, "transport_stream", stream)
        with contextlib.suppress(OSError):  # gone already
            stream.socket.shutdown(socket.SHUT_RDWR)


class _Reported:
    """The application in the shape that Hypercorn calls, its bugs reported: Hypercorn would write them to a log of its own."""

    def __init__(self, app: App, on_error: OnError) -> None:
        self._app = app
        self._on_error = on_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send, *_: object) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception as bug:
            self._on_error(bug, scope)
            raise


def _config(limits: ServerLimits, tls_cert: str, tls_key: str) -> Config:
    config = Config()
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
