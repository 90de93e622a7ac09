"""The admin listener's ASGI application: metrics, what is live, recent requests, reload, and a hand on each backend.

Bearer admin token; without one configured the listener is loopback only, and Host and Origin are checked, because a browser on this
machine is not the operator: a page on the web may make it send requests here (DNS rebinding, cross-site POST).
"""

import math
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl, urlsplit

import attrs
import trio

from appliance.config.masked import masked_dict
from appliance.core.record import RequestRecord
from appliance.gateway.gateway import Gateway
from appliance.gateway.upstream import Upstream
from appliance.http1.asgi import Receive, Scope, Send
from appliance.http1.listen import is_loopback
from appliance.server.health import serve_live, serve_ready
from appliance.server.lifespan import serve_lifespan
from appliance.server.metrics import matches, may_read, serve_metrics
from appliance.server.public import LIVE, READY
from appliance.server.reply import bearer, header_map, reply_json
from appliance.telemetry.live import LiveView
from appliance.telemetry.recent import PAGE_MAX, Filter
from appliance.telemetry.stats import stats_steps

LISTING = 100
DIGITS_MAX = 9
ACTIONS = ("drain", "resume", "reset-breaker")


@attrs.frozen
class ReloadResult:
    """What came of a reload: the changes it made, or the problems that prevented it."""

    changes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@attrs.define(eq=False)
class AdminApp:
    gateway: Gateway
    view: LiveView
    loopback: bool
    reload: Callable[[], Awaitable[ReloadResult]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await serve_lifespan(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, send)

    async def _answer(self, scope: Scope, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        headers = header_map(scope)
        if path in LIVE:
            await serve_live(send)
            return
        foreign = self._foreign(headers)
        if foreign:
            await reply_json(send, {"error": foreign}, 403)
        elif path in READY:
            await serve_ready(self.gateway, send)
        elif path == "/metrics" and method in ("GET", "HEAD"):
            if may_read(self.gateway.plan.config, scope, loopback=self.loopback, public=False):
                await serve_metrics(self.gateway, self.view, scope, send)
            else:
                await self._unauthorized(send, "metrics token or admin token")
        elif not self._operator(headers):
            await self._unauthorized(send, "admin token")
        elif method in ("GET", "HEAD"):
            await self._get(scope, send, path)
        elif method == "POST":
            await self._post(send, path)
        else:
            await reply_json(send, {"error": f"{method} is not possible here"}, 405, [(b"allow", b"GET, HEAD, POST")])

    async def _unauthorized(self, send: Send, token: str) -> None:
        await reply_json(send, {"error": f"send the {token} as 'Authorization: Bearer TOKEN'"}, 401, [(b"www-authenticate", b"Bearer")])

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

    async def _get(self, scope: Scope, send: Send, path: str) -> None:
        if path == "/admin/providers":
            await reply_json(send, {"providers": self._providers()})
        elif path == "/admin/stats":
            await reply_json(send, await self._stats())
        elif path == "/admin/requests":
            await self._requests(scope, send)
        elif path.startswith("/admin/requests/"):
            record = self.gateway.recent.find(path.removeprefix("/admin/requests/"))
            if record is None:
                await reply_json(send, {"error": f"no such request among the last {len(self.gateway.recent)}"}, 404)
            else:
                await reply_json(send, record.as_dict())
        elif path == "/admin/config":
            await reply_json(send, masked_dict(self.gateway.plan.config))
        elif path == "/":
            await reply_json(send, {"service": "appliance", "paths": PATHS})
        else:
            await reply_json(send, {"error": f"there is nothing at {path[:200]}", "paths": PATHS}, 404)

    async def _post(self, send: Send, path: str) -> None:
        if path == "/admin/reload":
            result = await self.reload()
            await reply_json(send, attrs.asdict(result), 422 if result.problems else 200)
            return
        pieces = path.split("/")
        if len(pieces) == 5 and path.startswith("/admin/backends/") and pieces[4] in ACTIONS:
            upstream = self.gateway.plan.upstreams.get(pieces[3])
            if upstream is None:
                names = ", ".join(self.gateway.plan.upstreams)
                await reply_json(send, {"error": f"no backend is called {pieces[3][:80]!r}; there are: {names}"}, 404)
                return
            _act(upstream, pieces[4])
            await reply_json(send, _provider(upstream))
            return
        await reply_json(send, {"error": f"there is nothing to POST to at {path[:200]}", "paths": PATHS}, 404)

    def _providers(self) -> list[dict[str, object]]:
        return [_provider(upstream) for upstream in self.gateway.plan.upstreams.values()]

    async def _stats(self) -> dict[str, object]:
        """Summed in steps: a great many series must not hold up the streams."""
        steps = stats_steps(self.gateway.cells, self.view.state(), self.gateway.wall_clock())
        while True:
            try:
                next(steps)
            except StopIteration as done:
                result: dict[str, object] = done.value
                return result
            await trio.lowlevel.checkpoint()

    async def _requests(self, scope: Scope, send: Send) -> None:
        asked = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        wanted = _filter(asked)
        if isinstance(wanted, str):
            await reply_json(send, {"error": wanted}, 400)
            return
        limit = asked.get("limit", str(LISTING))
        if not limit.isdecimal() or len(limit) > DIGITS_MAX or not 1 <= int(limit) <= PAGE_MAX:
            await reply_json(send, {"error": f"limit is a number from 1 to {PAGE_MAX}"}, 400)
            return
        records: list[RequestRecord] = self.gateway.recent.newest(wanted, int(limit))
        await reply_json(send, {"requests": [record.as_dict() for record in records]})


PATHS = [
    "GET /metrics", "GET /admin/providers", "GET /admin/stats", "GET /admin/requests", "GET /admin/requests/{id}", "GET /admin/config",
    "POST /admin/reload", "POST /admin/backends/{name}/drain", "POST /admin/backends/{name}/resume",
    "POST /admin/backends/{name}/reset-breaker",
]  # fmt: skip


def _host(url: str) -> str:
    """The host that a URL names, empty when it names none; urlsplit raises at a bracket without its pair."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _act(upstream: Upstream, action: str) -> None:
    if action == "reset-breaker":
        upstream.state.breaker.reset()
        upstream.state.failures_in_a_row = upstream.state.probe_failures = 0
    else:
        upstream.state.drained = action == "drain"


def _provider(upstream: Upstream) -> dict[str, object]:
    """One backend as /admin/providers and `appliance status` show it; no credentials in it."""
    state, pool = upstream.state, upstream.transport.stats()
    return {
        "name": upstream.name, "provider": upstream.provider.name, "base_url": upstream.base_url, "healthy": state.healthy,
        "drained": state.drained, "breaker": str(state.breaker.state), "breaker_opened_total": state.breaker.opened_total,
        "in_flight": state.in_flight, "max_concurrency": upstream.slots.limit, "waiting": upstream.slots.waiting,
        "connections": {"open": pool.open, "idle": pool.idle, "queued": pool.queued},
        "first_byte_ms": round(state.first_byte_s * 1000, 1), "requests": state.requests, "errors": state.errors,
        "last_error": state.last_error, "last_probe": state.last_probe, "credentials": _credentials(upstream),
    }  # fmt: skip


def _credentials(upstream: Upstream) -> dict[str, object] | None:
    """How the temporary credentials of a backend's account are; None where it has none."""
    account = None if upstream.prover is None else upstream.prover.account
    if account is None:
        return None
    left_s = account.seconds_left()
    return {
        "valid_s": round(left_s) if math.isfinite(left_s) else None, "failures": account.held.failures,
        "problem": account.trouble.words if account.trouble is not None else "",
    }  # fmt: skip


def _filter(asked: dict[str, str]) -> Filter | str:
    """The listing's conditions from the query string; a string says what is wrong with them."""
    known = {"tenant", "backend", "model", "route", "error_type"}
    flags = {"true": True, "false": False}
    values: dict[str, str | int | bool] = {}
    for name, text in asked.items():
        if name in known:
            values[name] = text
        elif name == "status":
            if not text.isdecimal() or len(text) > DIGITS_MAX:
                return "status is an HTTP status such as 502"
            values[name] = int(text)
        elif name in ("stream", "failed"):
            if text not in flags:
                return f"{name} is true or false"
            values[name] = flags[text]
        elif name != "limit":
            return f"unknown parameter {name[:40]!r}; known are {', '.join(sorted(known))}, status, stream, failed, limit"
    return attrs.evolve(Filter(), **values)  # type: ignore[arg-type]
