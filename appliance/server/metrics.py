"""The door of the metrics: who may read them, in which format, and a rendering that lets streams go on meanwhile."""

import hmac
from urllib.parse import parse_qs

import trio

from appliance.config.schema import Config
from appliance.config.secret import Secret
from appliance.gateway.gateway import Gateway
from appliance.http1.asgi import Scope, Send
from appliance.server.reply import bearer, header_map, reply
from appliance.telemetry.exposition import UnknownVocabulary, choose_vocabularies, lines
from appliance.telemetry.live import LiveView
from appliance.telemetry.negotiation import negotiate


async def serve_metrics(gateway: Gateway, view: LiveView, scope: Scope, send: Send) -> None:
    """One scrape. The pieces are sent as they are made, and every piece gives other tasks their turn."""
    query = parse_qs(scope["query_string"].decode("latin-1"))
    names = choose_vocabularies(query.get("vocabulary", []), gateway.plan.config.telemetry.vocabularies)
    if isinstance(names, UnknownVocabulary):
        await reply(send, 400, names.message.encode() + b"\n", b"text/plain; charset=utf-8")
        return
    accept = header_map(scope).get(b"accept", b"").decode("latin-1")
    form = negotiate(accept)
    head = [(b"content-type", form.content_type.encode()), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    for piece in lines(gateway.cells, view.state(), trio.current_time(), form, names):
        await trio.lowlevel.checkpoint()
        if piece:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def may_read(config: Config, scope: Scope, *, loopback: bool, public: bool) -> bool:
    """Whether this request may read the metrics.

    On the public listener: open on loopback, elsewhere with a token, unless `server.metrics` says `open`. On the admin listener: a
    configured token is asked for; without one that listener is loopback only.
    """
    if public and config.server.metrics == "open":
        return True
    token = bearer(header_map(scope))
    if token is not None and (matches(config.admin.metrics_token, token) or matches(config.admin.token, token)):
        return True
    if config.admin.metrics_token is not None or (not public and config.admin.token is not None):
        return False
    return loopback


def matches(secret: Secret | None, token: bytes) -> bool:
    return secret is not None and hmac.compare_digest(secret.reveal().encode(), token)
