"""The admin listener's ASGI application: who may come in, and the way to the routes of the admin API (see `admin_table`).

Bearer admin token; without one configured the listener is loopback only, and Host and Origin are checked, because a browser on this
machine is not the operator: a page on the web may make it send requests here (DNS rebinding, cross-site POST).
"""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs
import orjson

from appliance.config.problem import Problem
from appliance.core.fault import Fault
from appliance.gateway.gateway import Gateway
from appliance.gateway.tenancy_keeper import TenancyKeeper
from appliance.http1.asgi import Receive, Scope, Send
from appliance.http1.listen import is_loopback
from appliance.server.admin_route import AdminRoute, Answer, Asked, find_route, refused
from appliance.server.admin_table import PATHS, TABLE
from appliance.server.body import read_body, wrong_type
from appliance.server.health import serve_live, serve_ready
from appliance.server.lifespan import serve_lifespan
from appliance.server.metrics import matches, may_read, serve_metrics
from appliance.server.public import LIVE, READY
from appliance.server.reply import HeaderList, bearer, header_map, reply, reply_json
from appliance.telemetry.live import LiveView

BODY_MAX_BYTES = 262_144
"""Of a request to the admin API: a tenant with thousands of globs fits."""

NO_STORE: HeaderList = [(b"cache-control", b"no-store")]
"""Answers are of this moment, and some hold a secret."""


@attrs.frozen
class ReloadResult:
    """What came of a reload: the changes it made, or the problems that prevented it."""

    changes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@attrs.frozen
class Comparison:
    """What a reload would change now, or the problems that would prevent it; and which settings in the file wait for a restart."""

    changes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()


@attrs.define(eq=False)
class AdminApp:
    gateway: Gateway
    view: LiveView
    tenants: TenancyKeeper
    loopback: bool
    reload: Callable[[], Awaitable[ReloadResult]]
    compare: Callable[[], Awaitable[Comparison]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await serve_lifespan(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        headers = header_map(scope)
        if path in LIVE:
            await serve_live(send)
            return
        foreign = self._foreign(headers)
        if foreign:
            await reply_json(send, {"error": foreign}, 403, _unread(headers))
        elif path in READY:
            await serve_ready(self.gateway, send)
        elif path == "/metrics" and method in ("GET", "HEAD"):
            if may_read(self.gateway.plan.config, scope, loopback=self.loopback, public=False):
                await serve_metrics(self.gateway, self.view, scope, send)
            else:
                await self._unauthorized(send, headers, "metrics token or admin token")
        elif not self._operator(headers):
            await self._unauthorized(send, headers, "admin token")
        else:
            await self._route(scope, receive, send)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        raw = scope["raw_path"].partition(b"?")[0].decode("latin-1")
        found, unread = find_route(TABLE, method, raw), _unread(header_map(scope))
        if not isinstance(found, tuple):
            if found:
                allow = (b"allow", ", ".join(dict.fromkeys(found)).encode())
                await reply_json(send, {"error": f"{method} is not possible at {path[:200]}"}, 405, [allow, *unread])
            else:
                await reply_json(send, {"error": f"there is nothing at {path[:200]}", "paths": PATHS}, 404, unread)
            return
        route, names = found
        body = await _body(route, scope, receive)
        if isinstance(body, Answer):
            answer, told = body, [*NO_STORE, *unread]
        else:
            told = NO_STORE
            query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
            answer = await route.serve(self, Asked(names, query, body, self._actor(scope)))
        if answer.text_type:
            await reply(send, answer.status, str(answer.value).encode(), answer.text_type.encode(), told)
        else:
            await reply_json(send, answer.value, answer.status, told)

    def _actor(self, scope: Scope) -> str:
        """For the audit: there is one admin token, so what tells operators apart is where they come from."""
        client = scope.get("client")
        by = "token" if self.gateway.plan.config.admin.token is not None else "loopback"
        return f"admin:{by}@{client[0]}" if client and client[0] else f"admin:{by}"

    async def _unauthorized(self, send: Send, headers: dict[bytes, bytes], token: str) -> None:
        told = [(b"www-authenticate", b"Bearer"), *_unread(headers)]
        await reply_json(send, {"error": f"send the {token} as 'Authorization: Bearer TOKEN'"}, 401, told)

    def _operator(self, headers: dict[bytes, bytes]) -> bool:
        token = self.gateway.plan.config.admin.token
        if token is None:
            return self.loopback
        given = bearer(headers)
        return given is not None and matches(token, given)

    def _foreign(self, headers: dict[bytes, bytes]) -> str:
        """Why a request to a token-less listener did not come from this machine's operator; empty when it may have."""
        if self.gateway.plan.config.admin.token is not None:
            return ""
        host = headers.get(b"host", b"").decode("latin-1")
        # A unix socket's clients send any Host; a TCP client sends the name it connected to.
        if host and not is_loopback(_host(f"//{host}")):
            return "without an admin token this listener answers only to a loopback Host header; set admin.token"
        origin = headers.get(b"origin")
        if origin is not None and not is_loopback(_host(origin.decode("latin-1"))):
            return "without an admin token this listener answers no page of another origin; set admin.token"
        if headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin"):
            return "without an admin token this listener answers no cross-site request; set admin.token"
        return ""


async def _body(route: AdminRoute, scope: Scope, receive: Receive) -> dict[str, Any] | Answer:
    """The body of a route that takes one: a JSON object. Nothing sent is an empty one; what another route is sent is thrown away."""
    headers = header_map(scope)
    unsuitable = wrong_type(headers) if route.takes is not None else None
    if unsuitable is not None:
        return Answer({"error": unsuitable.message}, unsuitable.surface_status)
    length = headers.get(b"content-length", b"0")
    data = await read_body(receive, int(length) if length.isdigit() and len(length) < 19 else 0, BODY_MAX_BYTES)
    if isinstance(data, Fault):
        return Answer({"error": data.message}, data.surface_status)
    if route.takes is None:
        return {}
    try:
        value = orjson.loads(data) if data else {}
    except orjson.JSONDecodeError as error:
        return refused([Problem("", f"the body is no JSON ({error.msg}, line {error.lineno}, column {error.colno})")])
    return value if isinstance(value, dict) else refused([Problem("", "the body is no JSON object")])


def _unread(headers: dict[bytes, bytes]) -> HeaderList:
    """For an answer that comes before the request's body was read: the connection ends with it (RFC 9112 §9.6), and a client that is not
    told would send its next request into that."""
    has_body = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
    return [(b"connection", b"close")] if has_body else []


def _host(url: str) -> str:
    """The host that a URL names, empty when it names none; urlsplit raises at a bracket without its pair."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
