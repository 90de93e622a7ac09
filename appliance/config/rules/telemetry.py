"""Rules about where traces go. A URL's text is not shown: URLs are where credentials hide."""

from collections.abc import Iterator
from urllib.parse import SplitResult

from appliance.config.address import is_loopback, is_private
from appliance.config.places import AUTHORITIES
from appliance.config.problem import Finding, Steps
from appliance.config.rules.scene import FRAMING_HEADERS, HEADER_NAME, Rule, Scene, ill_pem, ill_value
from appliance.config.rules.upstreams import http_url
from appliance.config.traces import Traces

_AT: Steps = ("telemetry", "traces")
_ENDPOINT: Steps = (*_AT, "endpoint")
_OWN_HEADERS = FRAMING_HEADERS | {"content-type", "content-encoding"}
_RESOURCE_MAX_CHARS = 256


def traces(scene: Scene) -> Iterator[Finding]:
    settings = scene.config.telemetry.traces
    if settings is None or scene.doubts(_AT):
        return
    url = http_url(settings.endpoint)
    if isinstance(url, str) or url.scheme not in ("http", "https"):
        problem = url.replace("api_key", "headers") if isinstance(url, str) else "is no address that traces can be sent to"
        yield Finding(_ENDPOINT, problem, "an http:// or https:// URL like http://127.0.0.1:4318/v1/traces")
    else:
        yield from _doubtful(settings, url)
    for name, value in settings.headers.items():
        steps: Steps = (*_AT, "headers", name)
        if not HEADER_NAME.fullmatch(name):
            yield Finding(steps, "is no header name", "letters, digits and - . _")
        elif name.lower() in _OWN_HEADERS:
            yield Finding(steps, "is written by the gateway itself and cannot be set", "to be left out")
        yield from ill_value(value.reveal(), steps)
    if not 0 < len(settings.service_name) <= _RESOURCE_MAX_CHARS or not settings.service_name.isprintable():
        yield Finding((*_AT, "service_name"), "is no name", f"1 to {_RESOURCE_MAX_CHARS} printable characters")
    for name, text in settings.resource.items():
        if not name or not name.isprintable() or max(len(name), len(text)) > _RESOURCE_MAX_CHARS:
            yield Finding((*_AT, "resource", name), "is no attribute", f"a name and a value of at most {_RESOURCE_MAX_CHARS} characters")
        elif name == "service.name":
            yield Finding((*_AT, "resource", name), "is set by service_name", "to be left out")
    if settings.ca not in AUTHORITIES:
        expected = '"certifi", "system" or a PEM file of certificates'
        yield from ill_pem(scene, settings.ca, (*_AT, "ca"), b"-----BEGIN CERTIFICATE-----", expected)


def _doubtful(settings: Traces, url: SplitResult) -> Iterator[Finding]:
    host = url.hostname or ""
    if url.path in ("", "/"):
        yield Finding(_ENDPOINT, "names no path, and collectors listen at /v1/traces", "the whole URL", grave=False)
    if url.scheme == "http" and settings.headers and not is_loopback(host) and not is_private(host):
        yield Finding(_ENDPOINT, "sends the headers unencrypted to another network", "https://", grave=False)


RULES: tuple[Rule, ...] = (traces,)
