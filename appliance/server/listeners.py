"""What listens, and on which engine: ours for cleartext HTTP/1.1, Hypercorn for TLS, HTTP/2 and the admin listener.

Sockets are opened before anything is served, so that a taken port is one clear line and not half a start. Both engines get open sockets.
"""

import socket
from collections.abc import Callable, Mapping

import attrs
import hypercorn.config
import hypercorn.trio
import trio

from appliance.config.schema import Listener, ServerLimits
from appliance.http1 import server_limits
from appliance.http1.asgi import App
from appliance.http1.listen import ListenFault, describe, listens_on_loopback, open_listeners
from appliance.http1.server import Server
from appliance.server.refusal import render_refusal

BACKLOG = 4096
HYPERCORN_CUT_S = 1.0
"""What Hypercorn waits beyond our own drain before it closes what is left."""


@attrs.frozen
class Door:
    """One open listener: its sockets, where they listen in words, whether only this machine reaches it, and which engine serves it."""

    settings: Listener
    sockets: tuple[socket.socket, ...]
    addresses: tuple[str, ...]
    loopback: bool
    hypercorn: bool


def open_door(settings: Listener, environ: Mapping[str, str], pid: int, *, hypercorn_always: bool = False) -> Door | str:
    """Open one configured listener; a string says why it cannot be opened."""
    opened = open_listeners(settings.address, passed=environ, pid=pid, backlog=BACKLOG)
    if isinstance(opened, ListenFault):
        return opened.message
    by_hypercorn = hypercorn_always or settings.engine == "hypercorn" or bool(settings.tls_cert)
    scheme = "https" if settings.tls_cert else "http"
    # Asked now: an engine takes the sockets over.
    addresses = tuple(describe(sock) if sock.family == socket.AF_UNIX else f"{scheme}://{describe(sock)}" for sock in opened)
    return Door(settings, tuple(opened), addresses, all(listens_on_loopback(sock) for sock in opened), by_hypercorn)


def engine_limits(limits: ServerLimits) -> server_limits.ServerLimits:
    return server_limits.ServerLimits(
        head_max_bytes=limits.head_max_bytes, body_max_bytes=limits.body_max_bytes, connections_max=limits.connections_max,
        header_read_s=limits.header_read_s, body_read_s=limits.body_read_s, idle_s=limits.idle_s, write_stall_s=limits.write_stall_s,
        min_rate_bytes_s=limits.min_rate_bytes_s, backlog=BACKLOG,
    )  # fmt: skip


def builtin_server(app: App, limits: ServerLimits, on_error: Callable[[BaseException, dict[str, object]], None]) -> Server:
    return Server(app, engine_limits(limits), render_refusal=render_refusal, on_error=on_error)


async def serve_hypercorn(
    app: App, door: Door, limits: ServerLimits, stop: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve a listener with Hypercorn until `stop` is set and what is under way has ended."""
    config = hypercorn.config.Config()
    # It takes the descriptors over and closes them itself.
    config.bind = [f"fd://{sock.detach()}" for sock in door.sockets]
    if door.settings.tls_cert:
        config.certfile, config.keyfile = door.settings.tls_cert, door.settings.tls_key
    config.alpn_protocols = ["h2", "http/1.1"] if door.settings.tls_cert else ["http/1.1"]
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.backlog = BACKLOG
    config.graceful_timeout = HYPERCORN_CUT_S
    config.shutdown_timeout = HYPERCORN_CUT_S
    config.keep_alive_timeout = limits.idle_s
    config.read_timeout = None
    config.h11_max_incomplete_size = limits.head_max_bytes
    config.h2_max_header_list_size = limits.head_max_bytes
    async with trio.open_nursery() as nursery:
        await nursery.start(_serve, app, config, stop)
        task_status.started()


async def _serve(app: App, config: hypercorn.config.Config, stop: trio.Event, task_status: trio.TaskStatus[list[str]]) -> None:
    await hypercorn.trio.serve(app, config, shutdown_trigger=stop.wait, task_status=task_status, mode="asgi")  # type: ignore[arg-type]
