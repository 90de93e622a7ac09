"""Runs one simulator on our own HTTP engine.

    sockets = open_sockets(["127.0.0.1:9001"])      # or a ListenFault, in one line for the user
    urls = await nursery.start(partial(serve, sockets, Settings()))

Cancelling `serve` cuts every connection; it ends in no other way.
"""

import logging
import os
import socket
from collections.abc import Iterable, Sequence

import trio

from appliance.http1.asgi import Scope
from appliance.http1.listen import ListenFault, describe, open_listeners
from appliance.http1.refusal import plain_text_refusal
from appliance.http1.server import Server
from appliance.http1.server_limits import ServerLimits
from appliance.simulator.app import Simulator
from appliance.simulator.settings import Settings

# Idle connections outlive any client's pool, so that only the `drop` fault makes one go stale.
IDLE_S = 3600.0
# Slow bodies and stalled readers are the tester's own doing here, and may be what is tested: they are given longer than the engine gives.
BODY_READ_S = WRITE_STALL_S = 600.0

log = logging.getLogger("appliance.simulator")


def open_sockets(addresses: Iterable[str]) -> list[socket.socket] | ListenFault:
    """Listening sockets for addresses in the words of http1.listen; what was opened before a fault is closed again."""
    opened: list[socket.socket] = []
    for address in addresses:
        found = open_listeners(address, passed=os.environ, pid=os.getpid(), backlog=ServerLimits().backlog)
        if isinstance(found, ListenFault):
            for sock in opened:
                sock.close()
            return found
        opened += found
    return opened


async def serve(
    sockets: Sequence[socket.socket], settings: Settings, *, task_status: trio.TaskStatus[tuple[str, ...]] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until cancelled. `task_status` is given one base URL a socket ("unix:/path" for those). Closes the sockets."""
    simulator = Simulator(settings)
    limits = ServerLimits(
        idle_s=IDLE_S, body_read_s=BODY_READ_S, write_stall_s=WRITE_STALL_S, min_rate_bytes_s=1, body_max_bytes=settings.body_max_bytes
    )
    server = Server(simulator, limits, render_refusal=plain_text_refusal, on_error=report)
    simulator.connections_open = lambda: server.connections_open
    urls = tuple(url_of(s) for s in sockets)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, sockets)
        task_status.started(urls)


def report(error: Exception, scope: Scope) -> None:
    log.error("the simulator failed on %s", scope.get("path", "a connection"), exc_info=error)


def url_of(listening: socket.socket) -> str:
    where = describe(listening)
    return where if where.startswith("unix:") else f"http://{where}"
