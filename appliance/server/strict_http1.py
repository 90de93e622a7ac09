"""HTTP/1 at Hypercorn's doors, held to the built-in engine's rules as far as an application can see them.

The rule: what two readers in a chain could frame or address differently is refused before the application, and no upgrade is honoured,
since none is offered. What h11 has already forgiven (a bare LF, a folded line, equal Content-Lengths) cannot be seen from here.
"""

from typing import Any
from urllib.parse import unquote

import hypercorn.protocol
from hypercorn.config import Config
from hypercorn.events import Closed
from hypercorn.protocol.h11 import H11Protocol

from appliance.http1.asgi import App, Receive, Scope, Send
from appliance.http1.refusal import OnRefusal, Refusal, RenderRefusal
from appliance.http1.request_target import split_target
from appliance.server.reply import reply

HTTP1 = ("1.0", "1.1")
MULTIPLEXED = ("2", "3")
CLOSE = [(b"connection", b"close")]
"""After a refused message nobody knows where the next one starts."""


class StrictHttp1:
    """An ASGI application in front of another: refuses as `render` words it, else hands on, an absolute-form target as the path that
    it means.
    """

    def __init__(self, app: App, on_refusal: OnRefusal, render: RenderRefusal) -> None:
        self._app = app
        self._render = render
        self._on_refusal = on_refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["http_version"] not in MULTIPLEXED:
            place = judge(scope)
            if isinstance(place, Refusal):
                self._on_refusal(place.status, place.reason)
                content_type, body = self._render(place.status, place.reason, place.target)
                await reply(send, place.status, body, content_type, CLOSE)
                return
            if not scope["raw_path"].startswith(b"/"):
                scope = _addressed(scope, *place)
        await self._app(scope, receive, send)


def judge(scope: Scope) -> tuple[bytes, bytes] | Refusal:
    """(path, query) of the request, both percent-encoded, or why it is not served: RFC 9112 §3.2 and §6.1, as `http1.request_head` does."""
    version = scope["http_version"]
    values: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        values.setdefault(name.lower(), []).append(value)
    for name in (b"host", b"content-length", b"transfer-encoding"):
        if len(values.get(name, ())) > 1:
            return Refusal(400, f"more than one {name.decode().title()}")
    if b"transfer-encoding" in values and version == "1.0":
        return Refusal(400, "Transfer-Encoding in HTTP/1.0")
    if b"transfer-encoding" in values and b"content-length" in values:
        return Refusal(400, "both Content-Length and Transfer-Encoding")
    if b"host" not in values and version == "1.1":
        return Refusal(400, "no Host")
    query = scope["query_string"]
    target = scope["raw_path"] + (b"?" + query if query else b"")
    # Whether a Host is one at all is the application's to judge, as long as nothing is there that it could contradict.
    host = None if target.startswith(b"/") else values.get(b"host", [None])[0]
    return split_target(scope["method"].encode(), target, host)


def _addressed(scope: Scope, path: bytes, query: bytes) -> Scope:
    return {**scope, "path": unquote(path.decode("ascii")), "raw_path": path, "query_string": query}


OWN_REASONS = {
    431: "the request head is too large",
    501: "only the chunked transfer coding is understood",
    505: "only HTTP/1.0 and HTTP/1.1 are spoken here",
}
"""h11's errors quote what was sent, so the status alone says what was wrong."""


class HeardConfig(Config):
    """Hypercorn's settings, and who hears of what it answers by itself: nothing else of ours reaches one connection's protocol."""

    on_refusal: OnRefusal
    write_stall_s: float


class _NoUpgrade(H11Protocol):
    """Hypercorn (0.18) without its ways out of HTTP/1, and heard when it refuses.

    It answers `Upgrade: h2c` with 101 on any connection that speaks HTTP/1.1, and what follows then passes a front proxy unread, past its
    path rules; it has no setting against it. An upgrade that is not offered means nothing (RFC 9110 §7.8), so the request is served as if
    the field were not there; the preface of h2c by prior knowledge is a request of a version that is not spoken.
    """

    async def _check_protocol(self, event: Any) -> None:
        del event

    async def _create_stream(self, request: Any) -> None:
        if request.http_version.decode() not in HTTP1:
            # At once: the frames behind HTTP/2's preface are no HTTP/1, and would end the connection before an application has answered.
            await self._send_error_response(505)
            await self.send(Closed())
            return
        headers: list[Any] = [(name, value) for name, value in request.headers.raw_items() if name.lower() != b"upgrade"]
        version = request.http_version
        await super()._create_stream(type(request)(method=request.method, target=request.target, headers=headers, http_version=version))


    async def _send_error_response(self, status_code: int) -> None:
        if isinstance(self.config, HeardConfig):
            self.config.on_refusal(status_code, OWN_REASONS.get(status_code, "malformed message"))
        await super()._send_error_response(status_code)


# The class that chooses a connection's protocol looks this name up when the connection begins, and takes no other from its caller.
hypercorn.protocol.H11Protocol = _NoUpgrade  # type: ignore[attr-defined]
