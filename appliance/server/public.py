"""The public listener's ASGI application: a table of paths, nothing in between.

Health and metrics come before authentication; everything else is a model call or an error in the caller's dialect.
"""

import attrs

from appliance.core.fault import Fault, FaultKind
from appliance.gateway.gateway import Gateway
from appliance.http1.asgi import Receive, Scope, Send
from appliance.server.health import serve_live, serve_ready
from appliance.server.inference import refuse_plainly, serve_operation
from appliance.server.lifespan import serve_lifespan
from appliance.server.metrics import may_read, serve_metrics
from appliance.server.models import serve_models
from appliance.server.watched import serve_watched
from appliance.telemetry.live import LiveView

OPERATIONS = {"/v1/chat/completions": "chat", "/v1/completions": "text_completion", "/v1/embeddings": "embeddings"}
LIVE = ("/livez", "/healthz")
READY = ("/readyz", "/health")
MODELS = "/v1/models"


@attrs.define(eq=False)
class PublicApp:
    """One listener's application.

    Attributes:
        loopback: only this machine can reach the listener: metrics are open, and callers without a key are let in where none is configured.
    """

    gateway: Gateway
    view: LiveView
    loopback: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await serve_lifespan(receive, send)
        elif scope["type"] == "http":
            extension = scope.get("extensions", {}).get("http1")
            if extension is not None:
                await self._answer(scope, receive, send)
            else:
                body_read_s = self.gateway.plan.config.server.limits.body_read_s
                await serve_watched(self._answer, scope, receive, send, body_read_s)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        operation = OPERATIONS.get(path)
        if operation is not None:
            if method != "POST":
                await self._wrong_method(scope, send, "POST")
                return
            await serve_operation(self.gateway, scope, receive, send, operation, anonymous=self.anonymous)
        elif path in LIVE or path in READY or path == "/metrics" or path == MODELS or path.startswith(MODELS + "/"):
            if method not in ("GET", "HEAD"):
                await self._wrong_method(scope, send, "GET, HEAD")
                return
            await self._look(scope, send, path)
        else:
            message = f"there is nothing at {method} {path[:200]}; this gateway serves {', '.join(OPERATIONS)} and {MODELS}"
            await refuse_plainly(self.gateway, scope, send, Fault(FaultKind.NOT_FOUND, message))

    async def _look(self, scope: Scope, send: Send, path: str) -> None:
        if path in LIVE:
            await serve_live(send)
        elif path in READY:
            await serve_ready(self.gateway, send)
        elif path == "/metrics":
            await self._metrics(scope, send)
        else:
            await serve_models(self.gateway, scope, send, path[len(MODELS) + 1 :], anonymous=self.anonymous)

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
        message = f"{scope['method']} is not possible at {scope['path'][:200]}; use {allowed}"
        await refuse_plainly(self.gateway, scope, send, Fault(FaultKind.METHOD_NOT_ALLOWED, message, code=allowed))
