"""The public listener's ASGI application: a table of paths, nothing in between.

Health and metrics come before authentication; everything else is a model call or an error in the caller's dialect.
"""

from collections.abc import Awaitable, Mapping

import attrs

from appliance.core.fault import Fault, FaultKind
from appliance.gateway.gateway import Gateway
from appliance.gateway.tenancy_keeper import TenancyKeeper
from appliance.http1.asgi import Receive, Scope, Send
from appliance.http1.refusal import OnRefusal
from appliance.http1.turn import Turn
from appliance.server.caller import caller_of
from appliance.server.health import serve_live, serve_ready
from appliance.server.inference import refuse_plainly, serve_operation
from appliance.server.lifespan import serve_lifespan
from appliance.server.metrics import may_read, serve_metrics
from appliance.server.models import serve_models
from appliance.server.paths import OPERATIONS
from appliance.server.usage import serve_usage
from appliance.server.watched import serve_watched
from appliance.telemetry.live import LiveView

NO_EXTENSIONS: Mapping[str, Turn] = {}
LIVE = ("/livez", "/healthz")
READY = ("/readyz", "/health")
STORED = ("/v1/responses/", "/v1/conversations")
NOTHING_STORED = (
    "this gateway keeps no answers, so that none can be fetched, deleted, cancelled, listed or compacted here; "
    "previous_response_id in POST /v1/responses goes to the backend that made the response"
)
USAGE = "/v1/usage"
MODELS, GEMINI_MODELS = "/v1/models", "/v1beta/models"
MODEL_LISTS = (MODELS + "/", GEMINI_MODELS + "/")
LOOKS = ("/metrics", USAGE, MODELS, GEMINI_MODELS)


@attrs.define(eq=False)
class PublicApp:
    """One listener's application.

    Attributes:
        on_refusal: told of what no path or method fits, as the engine tells of what it refuses.
        loopback: only this machine can reach the listener: metrics are open, and callers without a key are let in where none is configured.
    """

    gateway: Gateway
    view: LiveView
    tenants: TenancyKeeper
    loopback: bool
    on_refusal: OnRefusal | None = None

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """What serves the scope, ready to be awaited: a plain function, since each coroutine around another is resumed with it."""
        engine = scope.get("extensions", NO_EXTENSIONS).get("http1")
        if engine is not None:
            return self._answer(scope, receive, send, engine)
        if scope["type"] == "http":
            return serve_watched(self._answer, scope, receive, send, self.gateway.plan.config.server.limits.body_read_s)
        if scope["type"] == "lifespan":
            return serve_lifespan(receive, send)
        return _ignore()

    def _answer(self, scope: Scope, receive: Receive, send: Send, engine: Turn | None = None) -> Awaitable[None]:
        if scope["method"] == "POST":
            caller = caller_of(scope, engine)
            if caller.asks is not None:
                return serve_operation(self.gateway, scope, receive, send, caller, caller.asks, engine, self.anonymous)
        return self._answer_else(scope, send)

    async def _answer_else(self, scope: Scope, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if path in OPERATIONS:
            await self._wrong_method(scope, send, "POST")
        elif method == "POST" and path.startswith(MODEL_LISTS) and ":" in path:  # a method of Gemini's that is not served
            await self._nothing_here(scope, send)
        elif path in LIVE or path in READY or path in LOOKS or path.startswith(MODEL_LISTS):
            if method not in ("GET", "HEAD"):
                await self._wrong_method(scope, send, "GET, HEAD")
                return
            await self._look(scope, send, path)
        else:
            await self._nothing_here(scope, send)

    async def _nothing_here(self, scope: Scope, send: Send) -> None:
        if self.on_refusal is not None:
            self.on_refusal(404, "no such path")
        if scope["path"].startswith(STORED):
            await refuse_plainly(self.gateway, scope, send, Fault(FaultKind.NOT_FOUND, NOTHING_STORED))
            return
        served = ", ".join((*OPERATIONS, f"{GEMINI_MODELS}/MODEL:generateContent", MODELS, USAGE))
        message = f"there is nothing at {scope['method']} {scope['path'][:200]}; this gateway serves {served}"
        await refuse_plainly(self.gateway, scope, send, Fault(FaultKind.NOT_FOUND, message))

    async def _look(self, scope: Scope, send: Send, path: str) -> None:
        if path in LIVE:
            await serve_live(send)
        elif path in READY:
            await serve_ready(self.gateway, send)
        elif path == "/metrics":
            await self._metrics(scope, send)
        elif path == USAGE:
            await serve_usage(self.gateway, self.tenants, scope, send, anonymous=self.anonymous)
        else:
            model = path.removeprefix(GEMINI_MODELS).removeprefix(MODELS).removeprefix("/")
            await serve_models(self.gateway, scope, send, model, anonymous=self.anonymous)

    async def _metrics(self, scope: Scope, send: Send) -> None:
        config = self.gateway.plan.config
        if config.server.metrics == "off":
            await refuse_plainly(self.gateway, scope, send, Fault(FaultKind.NOT_FOUND, "metrics are served on the admin listener only"))
        elif may_read(config, scope, loopback=self.loopback, public=True):
            await serve_metrics(self.gateway, self.view, scope, send)
        else:
            message = "metrics need the metrics token here: 'Authorization: Bearer TOKEN' (admin.metrics_token)"
            await refuse_plainly(self.gateway, scope, send, Fault(FaultKind.UNAUTHORIZED, message))

    @property
    def anonymous(self) -> bool:
        return self.loopback or self.gateway.plan.config.server.auth == "none"

    async def _wrong_method(self, scope: Scope, send: Send, allowed: str) -> None:
        if self.on_refusal is not None:
            self.on_refusal(405, "wrong method for the path")
        message = f"{scope['method']} is not possible at {scope['path'][:200]}; use {allowed}"
        await refuse_plainly(self.gateway, scope, send, Fault(FaultKind.METHOD_NOT_ALLOWED, message, code=allowed))


async def _ignore() -> None:
    """A scope of another kind (a web socket): the engine refuses it when nobody answers."""
