"""What listens, and on which engine: ours for cleartext HTTP/1.1, Hypercorn for TLS, HTTP/2 and the admin listener.

Sockets are opened before anything is served, so that a taken port is one clear line and not half a start. Both engines get open sockets.
"""

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import attrs
import trio

from appliance.config.doors import Listener, ServerLimits
from appliance.http1 import server_limits
from appliance.http1.asgi import App
from appliance.http1.departures import Departures
from appliance.http1.listen import ListenFault, describe, listens_on_loopback, open_listeners
from appliance.http1.refusal import OnRefusal, RenderRefusal
from appliance.http1.server import Server
from appliance.server.refusal import render_refusal

BACKLOG = 4096

OnError = Callable[[BaseException, dict[str, object]], None]


class Engine(Protocol):
    """What serves a door; see `http1.server.Server`."""

    @property
    def connections_open(self) -> int: ...

    @property
    def answers_leaving(self) -> int: ...

    async def serve(self, sockets: Sequence[socket.socket], task_status: trio.TaskStatus[None] = ...) -> None: ...

    def drain(self) -> None: ...

    def cut(self) -> None: ...


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


def engine(
    app: App, door: Door, limits: ServerLimits, on_error: OnError, on_refusal: OnRefusal, render: RenderRefusal = render_refusal,
    departures: Departures | None = None,
) -> Engine:  # fmt: skip
    """The engine of a door. `on_error` hears what the application raised, `on_refusal` what was answered before the application ran, in the
    shape that `render` gives it. Ours lets small answers leave together through `departures`."""
    if door.hypercorn:
        # It takes 0.1 s to import, for which nobody has to wait whose public door is ours.
        from appliance.server.hypercorn_engine import HypercornServer
        from appliance.server.strict_http1 import StrictHttp1

        strict = StrictHttp1(app, on_refusal, render)
        return HypercornServer(strict, limits, door.settings.tls_cert, door.settings.tls_key, on_error, on_refusal)
    return Server(
        app, engine_limits(limits), render_refusal=render, on_error=on_error, on_refusal=on_refusal, departures=departures
    )
