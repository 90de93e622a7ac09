"""Rules about backends: vendors, URLs, credentials, transports."""

import os
from collections.abc import Iterator
from urllib.parse import SplitResult, unquote, urlsplit

import attrs

from appliance.config.address import UNIX_PATH_MAX_BYTES, is_loopback, is_private
from appliance.config.knob import about
from appliance.config.places import AUTHORITIES
from appliance.config.problem import Finding, Steps, meant, quoted
from appliance.config.rules.doors import unsendable
from appliance.config.rules.scene import FRAMING_HEADERS, HEADER_NAME, Rule, Scene, ill_globs, ill_named, ill_pem, ill_value
from appliance.config.upstreams import Backend

UNIX = "http+unix"
KEYS_MAX = 64
"""Of one backend: each has its series in the metrics."""

BASE_URL = f"an http://, https:// or {UNIX}:// URL without credentials, query or fragment"


def vendors(scene: Scene) -> Iterator[Finding]:
    for name, backend in scene.config.backends.items():
        yield from ill_named(name, ("backends", name), "a backend's name")
        if backend.provider not in scene.providers:
            message = f"{quoted(backend.provider)} is no known provider"
            known = "one of " + ", ".join(sorted(scene.providers))
            yield Finding(("backends", name, "provider"), message, known, meant(backend.provider, scene.providers))
        elif not backend.base_url and not scene.providers[backend.provider]:
            message = f"is missing; {backend.provider} has none of its own"
            yield Finding(("backends", name, "base_url"), message, "an http:// or https:// URL")
        yield from _foreign(name, backend)


def _foreign(name: str, backend: Backend) -> Iterator[Finding]:
    """Settings that only another vendor reads would be accepted and do nothing."""
    for field in attrs.fields(Backend):
        vendor = about(field).vendor
        if vendor and backend.provider != vendor and getattr(backend, field.name):
            yield Finding(("backends", name, field.name), f"is read for provider {quoted(vendor)} only", "to be left out")


def urls(scene: Scene) -> Iterator[Finding]:
    for name, backend in scene.config.backends.items():
        steps: Steps = ("backends", name, "base_url")
        if not backend.base_url:
            continue
        url = http_url(backend.base_url)
        if isinstance(url, str):
            yield Finding(steps, url, BASE_URL)
        elif url.scheme == UNIX:
            yield from _socket(name, backend, unquote(url.netloc))
        elif url.scheme == "http":
            yield from _cleartext(name, backend, url.hostname or "")


def _socket(name: str, backend: Backend, path: str) -> Iterator[Finding]:
    """A base_url like http+unix://%2Frun%2Fvllm.sock/v1."""
    steps: Steps = ("backends", name, "base_url")
    if not path.startswith("/"):
        yield Finding(steps, "names no absolute path of a socket", "like http+unix://%2Frun%2Fvllm.sock/v1")
    elif "\0" in path or len(os.fsencode(path)) > UNIX_PATH_MAX_BYTES:
        yield Finding(steps, f"names a socket with NUL or more than {UNIX_PATH_MAX_BYTES} bytes", "a shorter path")
    if backend.proxy is not None:
        yield Finding(("backends", name, "proxy"), "cannot lead to a unix socket", "to be left out")
    if backend.http2:
        yield from _no_http2(name)


def _no_http2(name: str) -> Iterator[Finding]:
    yield Finding(("backends", name, "http2"), "has no effect without TLS, within which HTTP/2 is agreed on", "https://", grave=False)


def _cleartext(name: str, backend: Backend, host: str) -> Iterator[Finding]:
    steps: Steps = ("backends", name, "base_url")
    if backend.keys and not is_loopback(host) and not is_private(host):
        yield Finding(steps, f"sends the API key unencrypted to {quoted(host)}", "https://", grave=False)
    if backend.http2:
        yield from _no_http2(name)


def transports(scene: Scene) -> Iterator[Finding]:
    for name, backend in scene.config.backends.items():
        if backend.proxy is not None and not _is_secret_url(backend.proxy.reveal()):
            yield Finding(("backends", name, "proxy"), "is no proxy URL", "http://[user:password@]host:port or https://…")
        if backend.ca not in AUTHORITIES:
            expected = '"certifi", "system" or a PEM file of certificates'
            yield from ill_pem(scene, backend.ca, ("backends", name, "ca"), b"-----BEGIN CERTIFICATE-----", expected)


def credentials(scene: Scene) -> Iterator[Finding]:
    for name, backend in scene.config.backends.items():
        for field in ("api_key", "access_key_id", "secret_access_key", "session_token"):
            yield from unsendable(getattr(backend, field), ("backends", name, field))
        yield from _several(name, backend)
        for header, value in backend.headers.items():
            steps: Steps = ("backends", name, "headers", header)
            if not HEADER_NAME.fullmatch(header):
                yield Finding(steps, "is no header name", "letters, digits and - . _")
            elif header.lower() in FRAMING_HEADERS:
                yield Finding(steps, "is written by the transport and cannot be set", "to be left out")
            yield from ill_value(value.reveal(), steps)


def _several(name: str, backend: Backend) -> Iterator[Finding]:
    steps: Steps = ("backends", name, "api_keys")
    if len(backend.api_keys) > KEYS_MAX:
        yield Finding(steps, f"has {len(backend.api_keys)} keys", f"at most {KEYS_MAX}")
    seen = [backend.api_key]
    for place, key in enumerate(backend.api_keys):
        yield from unsendable(key, (*steps, place))
        if not key.reveal():
            yield Finding((*steps, place), "is empty", "a key")
        elif key in seen:
            yield Finding((*steps, place), "is the same as one before it", "each key once")
        seen.append(key)


def probes(scene: Scene) -> Iterator[Finding]:
    for name, backend in scene.config.backends.items():
        path = backend.health.path
        if path and not (path.startswith("/") and path.isascii() and path.isprintable() and " " not in path and "#" not in path):
            yield Finding(("backends", name, "health", "path"), f"{quoted(path)} is no path", 'like "/models", or "" for a bare connect')


def claims(scene: Scene) -> Iterator[Finding]:
    for name, backend in scene.config.backends.items():
        if backend.models:
            yield from ill_globs(backend.models, ("backends", name, "models"))
        for model, deployment in backend.deployments.items():
            if not deployment or "/" in deployment or not deployment.isprintable():
                steps = ("backends", name, "deployments", model)
                yield Finding(steps, f"{quoted(deployment)} is no deployment's name", "printable characters without a slash")


def alerts(scene: Scene) -> Iterator[Finding]:
    webhook = scene.config.alerts.webhook
    if webhook is not None and not _is_secret_url(webhook.url.reveal()):
        yield Finding(("alerts", "webhook", "url"), "is no URL", "an http:// or https:// URL")


def _split(text: str) -> SplitResult | None:
    """The URL, if it has a host and a sound port and no character that a request line or header cannot carry."""
    if not all("!" <= letter <= "~" for letter in text):
        return None
    try:
        url = urlsplit(text)
        return url if url.hostname and url.port != 0 else None
    except ValueError:
        return None


def http_url(text: str) -> SplitResult | str:
    """The URL, or what is wrong with it; its text is not shown, since URLs are where credentials hide."""
    url = _split(text)
    if url is None:
        return "is no URL"
    if url.scheme not in ("http", "https", UNIX):
        return f"has the scheme {quoted(url.scheme)}"
    if url.username is not None or url.password is not None:
        return "holds credentials; they belong in api_key"
    if "?" in text or "#" in text:
        return "holds a query or fragment"
    return url


def _is_secret_url(text: str) -> bool:
    url = _split(text)
    return url is not None and url.scheme in ("http", "https")


RULES: tuple[Rule, ...] = (vendors, urls, transports, credentials, probes, claims, alerts)
