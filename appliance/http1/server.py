"""The server: listening sockets in, ASGI calls out.

The rule: everything it starts lives in the nurseries of `serve`, which returns when the last connection is closed. Two service tasks
serve all connections together: one hears of clients that left (peers.py), one compares connections with their time limits.
"""

import errno
import os
import socket
import time
from collections.abc import Sequence
from email.utils import formatdate
from typing import Any

import trio
from trio.lowlevel import wait_readable

from appliance.http1.asgi import App
from appliance.http1.connection import Connection
from appliance.http1.departures import Departures
from appliance.http1.peer_socket import PeerSocket
from appliance.http1.peers import PeerWatch
from appliance.http1.refusal import OnRefusal, Refusal, RenderRefusal
from appliance.http1.scope import Address
from appliance.http1.server_limits import ServerLimits
from appliance.http1.server_state import OnError, ServerState
from appliance.http1.turn import EndReason

# Accepted in one go before others get their turn. Requests that begin together go through every later step together, too: at 64, a burst
# of 256 new streams delayed the chunks of those already running by up to 9 ms (p99), at 8 by 4.
ACCEPT_BATCH_MAX = 8
# Accepted when the door closes: as many as Linux lets wait by default (net.core.somaxconn).
LAST_ACCEPT_MAX = 4096
ACCEPT_PAUSE_S = 0.1  # when the process or the system is out of descriptors; the connection stays in the backlog meanwhile
OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
OVERLOADED = Refusal(503, "too many connections")


class Server:
    """Serves one ASGI 3 application.

    `render_refusal(status, reason, target)` gives content type and body of what the engine answers by itself (400, 408, 413, 414, 417, 431,
    500, 501, 503, 505); `on_refusal(status, reason)` hears of each of those but 500; `on_error(exception, scope)` of what the application
    raised, and with an empty scope of what went wrong outside a request. These hooks must not raise. Small whole answers leave together
    through `departures` while that runs.

    A connection above `connections_max` is answered 503 and closed rather than left in the backlog: a balancer can go elsewhere at once,
    and a health check sees an overloaded server instead of a silent one.
    """

    def __init__(
        self,
        app: App,
        limits: ServerLimits,
        *,
        render_refusal: RenderRefusal,
        on_error: OnError,
        on_refusal: OnRefusal | None = None,
        lifespan_state: dict[str, Any] | None = None,
        departures: Departures | None = None,
    ) -> None:
        self.limits = limits
        self._departures = departures
        self._state = ServerState(app, limits, render_refusal, on_error, on_refusal, lifespan_state)
        self._connections: set[Connection] = set()
        self._by_fd: dict[int, Connection] = {}  # those whose socket is open
        self._refusing = 0
        self._starved = False
        self._watch = PeerWatch(self._peer_left)
        self._accepting = trio.CancelScope()
        self._idle = trio.Event()

    @property
    def connections_open(self) -> int:
        return len(self._connections)

    @property
    def requests_in_flight(self) -> int:
        return sum(connection.turn is not None for connection in self._connections)

    @property
    def answers_leaving(self) -> int:
        """Answers that the sockets have not taken whole, also where the application is done with them."""
        return sum(connection.peer.leaving for connection in self._connections)

    @property
    def draining(self) -> bool:
        return self._state.draining

    async def serve(self, sockets: Sequence[socket.socket], task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept on these listening sockets until `drain`, and return when the last connection is closed. Closes the sockets. Once only."""
        self._renew_date()
        for door in sockets:
            _prepare(door)
        try:
            async with trio.open_nursery() as services:
                services.start_soon(self._watch.run)
                services.start_soon(self._sweep)
                async with trio.open_nursery() as nursery:
                    with self._accepting:
                        async with trio.open_nursery() as doors:
                            for door in sockets:
                                doors.start_soon(self._accept, door, nursery)
                            task_status.started()
                    for door in sockets:
                        self._accept_ready(door, nursery, LAST_ACCEPT_MAX)  # the kernel has completed these; closing now would reset them
                        door.close()
                services.cancel_scope.cancel()
        finally:
            for door in sockets:
                door.close()
            self._watch.close()
            self._idle.set()

    def drain(self) -> None:
        """Stop accepting and close idle connections; answers under way are finished and end their connections. `serve` returns after
        that."""
        self._state.draining = True
        self._accepting.cancel()
        for connection in self._connections:
            connection.drain()

    def cut(self, reason: EndReason = "shutdown") -> None:
        """Cancel every request that still runs and close every connection."""
        self.drain()
        for connection in list(self._connections):
            connection.end(reason)

    async def wait_idle(self) -> None:
        """Until `serve` has nothing left to do."""
        await self._idle.wait()

    # accepting ---------------------------------------------------------------------------------------------------------------------------

    async def _accept(self, door: socket.socket, nursery: trio.Nursery) -> None:
        while True:
            await wait_readable(door)
            if not self._accept_ready(door, nursery):
                await trio.sleep(ACCEPT_PAUSE_S)

    def _accept_ready(self, door: socket.socket, nursery: trio.Nursery, most: int = ACCEPT_BATCH_MAX) -> bool:
        """Accept what is there, `most` at the most; False when descriptors ran out."""
        for _ in range(most):
            try:
                sock, address = door.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in OUT_OF_RESOURCES:
                    if not self._starved:  # once, not ten times a second
                        self._starved = True
                        self._state.on_error(error, {})
                    return False
                if door.fileno() < 0 or error.errno in (errno.EBADF, errno.EINVAL, errno.ENOTSOCK):
                    raise
                continue  # accept(2): errors of the new connection's network (ECONNABORTED, EPROTO, ...) are reported here; try the next
            self._starved = False
            try:
                self._admit(sock, address, nursery)
            except OSError as error:  # the kernel's limit on epoll watches, or memory
                sock.close()
                self._state.on_error(error, {})
        return True

    def _admit(self, sock: socket.socket, address: Any, nursery: trio.Nursery) -> None:
        refusal = None
        if len(self._connections) - self._refusing >= self.limits.connections_max:
            if self._refusing >= self.limits.refusing_max:
                sock.close()
                return
            refusal = OVERLOADED
        sock.setblocking(False)
        client: Address = None
        local: Address = None
        if sock.family == socket.AF_UNIX:
            local = (os.fsdecode(sock.getsockname()), None)
        else:
            client = address[:2]
            local = sock.getsockname()[:2]
        self._watch.add(sock.fileno())
        peer = PeerSocket(sock, self.limits.recv_bytes, self._closing, self._departures)
        connection = Connection(peer, self._state, client, local, refusal)
        self._connections.add(connection)
        self._by_fd[sock.fileno()] = connection
        self._refusing += refusal is not None
        nursery.start_soon(connection.run, self._forget)

    def _forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if connection.refusal is OVERLOADED:
            self._refusing -= 1

    def _closing(self, fd: int) -> None:
        del self._by_fd[fd]
        self._watch.remove(fd)

    # services ----------------------------------------------------------------------------------------------------------------------------

    def _peer_left(self, fd: int, entirely: bool) -> None:
        connection = self._by_fd.get(fd)
        if connection is not None:
            connection.peer_left(entirely=entirely)

    async def _sweep(self) -> None:
        before = trio.current_time()
        while True:
            await trio.sleep(self.limits.sweep_s)
            now = trio.current_time()
            # A loop that was held up must not be counted against clients, whose bytes may lie unread meanwhile.
            elapsed_s = min(now - before, 2 * self.limits.sweep_s)
            before = now
            self._renew_date()
            for connection in list(self._connections):
                connection.sweep(elapsed_s)

    def _renew_date(self) -> None:
        self._state.date_line = f"date: {formatdate(time.time(), usegmt=True)}\r\n".encode()


def _prepare(door: socket.socket) -> None:
    door.setblocking(False)
    if door.family != socket.AF_UNIX:
        # Linux hands both down to accepted sockets, which saves two system calls on each.
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # notices, in hours, a client whose machine is gone
