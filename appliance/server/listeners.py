"""What listens, and on which engine: ours for cleartext HTTP/1.1, Hypercorn for TLS, HTTP/2 and the admin listener.

Sockets are opened before anything is served, so that a taken port is one clear line and not half a start. Both engines get open sockets.
"""

import contextlib
import math
import os
import socket
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

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
OPEN_FILES = Path("/proc/self/fd")

SocketName = tuple[str, int] | str
"""Address and port, or a unix socket's path."""


@attrs.frozen
class Door:
    """One open listener: its sockets, where they listen (as the kernel says it, and in words), whether only this machine reaches it, and
    which engine serves it.
    """

    settings: Listener
    sockets: tuple[socket.socket, ...]
    names: tuple[SocketName, ...]
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
    names = tuple(_name(sock.getsockname()) for sock in opened)
    return Door(settings, tuple(opened), names, addresses, all(listens_on_loopback(sock) for sock in opened), by_hypercorn)


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
    """Serve a listener with Hypercorn until `stop` is set and what is under way has ended.

    It shields what it sends, so a reader that stopped reading could hold a request for ever, and nothing in this process could end it. On
    TCP the kernel does it for us: accepted sockets inherit this bound on unacknowledged data (tcp(7), TCP_USER_TIMEOUT; a window that
    stays closed counts, too).
    """
    for sock in door.sockets:
        if sock.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(limits.write_stall_s * 1000))
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
    config.graceful_timeout = math.inf  # the drain sees to the end of what runs
    config.keep_alive_timeout = limits.idle_s
    config.read_timeout = None
    config.h11_max_incomplete_size = limits.head_max_bytes
    config.h2_max_header_list_size = limits.head_max_bytes
    async with trio.open_nursery() as nursery:
        await nursery.start(_serve, app, config, stop)
        task_status.started()


async def _serve(app: App, config: hypercorn.config.Config, stop: trio.Event, task_status: trio.TaskStatus[list[str]]) -> None:
    await hypercorn.trio.serve(app, config, shutdown_trigger=stop.wait, task_status=task_status, mode="asgi")  # type: ignore[arg-type]


def sever(door: Door) -> None:
    """Shut every connection that was accepted at this door. For an engine that cannot be made to let go of them (Linux only)."""
    ports = {name if isinstance(name, str) else name[1] for name in door.names}
    for entry in os.listdir(OPEN_FILES) if OPEN_FILES.is_dir() else ():
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.stat(int(entry)).st_mode):
                _shut(int(entry), ports)


def _shut(descriptor: int, ports: set[int | str]) -> None:
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        name = _name(sock.getsockname())
        if (name if isinstance(name, str) else name[1]) in ports:
            sock.getpeername()  # OSError for the listening socket itself
            sock.shutdown(socket.SHUT_RDWR)


def _name(address: object) -> SocketName:
    """What `getsockname` says, in its comparable part."""
    if isinstance(address, tuple):
        return str(address[0]), int(address[1])
    return os.fsdecode(address) if isinstance(address, bytes) else str(address)
