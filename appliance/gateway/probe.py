"""Free probes of a backend: its model list, or a bare connect. Never a completion: a health check must not cost money.

Control traffic, so it goes through httpx, which is imported at the first probe: who never probes does not pay for it.
"""

import ssl
from typing import Any

import trio

from appliance.gateway.trust import BadTrust, upstream_tls
from appliance.gateway.upstream import Upstream

OPEN_STATUSES = frozenset({401, 403, 404, 405, 429})
"""Answers that prove a living server although they refuse: a key without the right to list models, a vendor without that path, a quota."""


async def probe(upstream: Upstream) -> str:
    """One probe, bounded by `health.timeout_s`. Empty when the backend answered, else why it counts as down, in words."""
    path = upstream.health_path()
    timeout_s = upstream.settings.health.timeout_s
    problem = f"no answer within {timeout_s:g} s"
    with trio.move_on_after(timeout_s):
        problem = await (_connect(upstream) if not path else _get(upstream, path))
    return problem


async def _connect(upstream: Upstream) -> str:
    origin = upstream.origin
    try:
        if origin.unix_path is not None:
            stream: trio.abc.HalfCloseableStream = await trio.open_unix_socket(origin.unix_path)
        else:
            stream = await trio.open_tcp_stream(origin.host, origin.port)
    except OSError as error:
        return f"cannot connect: {error.strerror or type(error).__name__}"
    async with stream:
        if origin.scheme == "https":
            context = upstream_tls(upstream.settings.ca)
            if isinstance(context, BadTrust):
                return f"ca {context.reason}"
            secure = trio.SSLStream(stream, context, server_hostname=origin.host)
            try:
                await secure.do_handshake()
            except (trio.BrokenResourceError, ssl.SSLError):
                return "the TLS handshake failed"
    return ""


async def _get(upstream: Upstream, path: str) -> str:
    import httpx

    options: dict[str, Any] = {}
    if upstream.settings.proxy is not None:
        options["proxy"] = upstream.settings.proxy.reveal()
    if upstream.origin.unix_path is not None:
        options["transport"] = httpx.AsyncHTTPTransport(uds=upstream.origin.unix_path)
    verify: ssl.SSLContext | bool = False
    if upstream.origin.scheme == "https":
        context = upstream_tls(upstream.settings.ca)
        if isinstance(context, BadTrust):
            return f"ca {context.reason}"
        verify = context
    base = upstream.base_url if upstream.origin.unix_path is None else "http://localhost" + upstream.origin.path_prefix.decode()
    lines = [line.split(b": ", 1) for line in upstream.head.split(b"\r\n") if line]
    headers = [(name, value) for name, value in lines if name not in (b"host", b"content-type")]
    try:
        async with (
            httpx.AsyncClient(verify=verify, timeout=upstream.settings.health.timeout_s, trust_env=False, http2=False, **options) as client,
            client.stream("GET", base.rstrip("/") + path, headers=headers) as answer,
        ):
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
        return f"cannot connect: {type(error).__name__}"
    return "" if status < 400 or status in OPEN_STATUSES else f"answered {status}"
