"""One configured backend, ready to be asked: transport, bound on concurrency, live state, and request heads encoded ahead of time.

The head of every request to a backend is the same but for what is forwarded of the caller's, so it is built once and joined as bytes.
"""

import os
import ssl
from collections.abc import Mapping

import attrs

from appliance.config.upstreams import Backend
from appliance.core.key_ring import KeyRing, key_ring
from appliance.dialects.language import Language
from appliance.dialects.language_table import NAMES, language
from appliance.gateway.cloud import standing
from appliance.gateway.live import BackendState, backend_state
from appliance.gateway.proven import Prover
from appliance.gateway.slots import Slots
from appliance.gateway.trust import BadTrust, upstream_tls
from appliance.http1.client import Http1Transport
from appliance.http1.origin import BadOrigin, Origin
from appliance.http1.traffic import Traffic
from appliance.http1.transport import Transport, TransportLimits, UpstreamRequest
from appliance.providers import PROVIDERS, Manner, Provider, auth_headers, endpoint, manner, models_language, refused_thoughts
from appliance.providers.account import BadAccount

SECRET_MIN_BYTES = 8
"""Shorter values are not looked for in a backend's answers: they guard nothing, and would match ordinary words."""

TARGETS_MAX = 512
"""Request targets kept per backend; only deployments in the path make more than three of them."""


@attrs.define(eq=False)
class Upstream:
    """One backend.

    Attributes:
        served_by: the response header that names it.
        head: the header block every request starts with, `name: value` lines; a key included, so it is never printed.
        ring: whose turn it is, of several keys, and heads: one for each; None and empty where there is one key or none.
        prover: proves each request where there is no key that could stand in the head; None for most backends.
    """

    name: str
    settings: Backend
    provider: Provider
    base_url: str
    origin: Origin
    transport: Transport
    state: BackendState
    slots: Slots
    head: bytes = attrs.field(repr=False)
    _secrets: tuple[bytes, ...] = attrs.field(repr=False)
    served_by: tuple[bytes, bytes]
    ring: KeyRing | None = None
    heads: tuple[bytes, ...] = attrs.field(default=(), repr=False)
    prover: Prover | None = attrs.field(default=None, repr=False)
    _targets: dict[tuple[str, str, str, bool], bytes] = attrs.field(factory=dict, repr=False)
    _manners: dict[tuple[str, str], Manner | None] = attrs.field(factory=dict, repr=False)  # as many as there are paths to call

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """What is sent to prove who asks, longest first, to be kept out of whatever the backend says."""
        if self.prover is None:
            return self._secrets
        fetched = (one for one in self.prover.secrets if len(one) >= SECRET_MIN_BYTES)
        return tuple(sorted((*self._secrets, *fetched), key=len, reverse=True))

    def first_phase_s(self, stream: bool) -> float:
        """How long an attempt may take to the first byte of a stream, or to the end of a whole answer."""
        timeouts = self.settings.timeouts
        return min(timeouts.first_byte_s, timeouts.total_s) if stream else timeouts.total_s

    def request(
        self, operation: str, model: str, forwarded: bytes, body: bytes, language: str = "openai_chat", *, stream: bool = False,
        key: int = 0,
    ) -> UpstreamRequest:  # fmt: skip
        """A POST of `body` for an operation. `forwarded` is a block of header lines of the caller's, already filtered. key: the number of
        the key to send, of several."""
        for name, value in self.provider.headers:
            if not forwarded.startswith(name + b":") and b"\n" + name + b":" not in forwarded:
                forwarded += b"%b: %b\r\n" % (name, value)
        head = self.heads[key - 1] if key else self.head
        target = self._targets.get((operation, model, language, stream)) or self.target(operation, model, language, stream)
        return UpstreamRequest(b"POST", target, head + forwarded, body)

    def refused(self, model: str) -> Mapping[bytes, str]:
        """Members of chat messages that this vendor's model refuses, by how they stand in a body."""
        return {b'"%b"' % name.encode(): name for name in refused_thoughts(self.provider, model)}

    def target(self, operation: str, model: str, language: str = "openai_chat", stream: bool = False) -> bytes:
        known = self._targets.get((operation, model, language, stream))
        if known is None:
            settings = self.settings
            known = endpoint(
                self.provider, self.base_url, operation, model, settings.api_version, settings.deployments, language, stream=stream
            )
            if len(self._targets) < TARGETS_MAX:
                self._targets[operation, model, language, stream] = known
        return known

    def manner(self, callers: str, operation: str, model: str = "") -> Manner | None:
        """How an operation is said here to serve a caller of the language `callers`; None where the vendor has no such thing. model: where
        the vendor's differ in what they speak."""
        if self._models_differ:
            return manner(self.provider, models_language(self.provider, model), callers, operation)
        known = self._manners.get((callers, operation))
        if known is None and (callers, operation) not in self._manners:
            known = self._manners[callers, operation] = manner(self.provider, self.settings.dialect, callers, operation)
        return known

    def spoken(self, callers: str, operation: str, model: str) -> tuple[Language | None, str]:
        """As `manner`: in which language, and as which operation; an empty one where the vendor has no such thing. None where nothing has
        to be translated: it is said in the caller's own row."""
        found = self.manner(callers, operation, model)
        if found is None:
            return None, ""
        if found.language == callers and found.operation == operation:
            return None, operation
        return language(found.language), found.operation

    @property
    def _models_differ(self) -> bool:
        """Whether it depends on the model what is spoken here."""
        return bool(self.provider.languages) and self.settings.dialect is None

    def language(self, callers: str, model: str) -> str:
        """The one that a chat with a model is said in here; see `manner`."""
        found = self.manner(callers, "chat", model)
        return self.provider.dialects[0] if found is None else found.language

    def health_path(self) -> str | None:
        """Path of the free probe relative to base_url, "" for a bare connect, None when probing is off."""
        health = self.settings.health
        if health.mode == "off":
            return None
        return self.provider.health_path if health.path is None else health.path


def build_upstream(
    name: str, settings: Backend, contexts: dict[str, ssl.SSLContext], traffic: Traffic | None, env: Mapping[str, str],
    known: Upstream | None = None,
) -> Upstream | str:  # fmt: skip
    """Build one backend from its checked settings; a string says why it cannot be built.

    Args:
        env: variables in which a cloud's account may be named.
        known: the backend of that name that is in force, whose account may be this one's too.
        contexts: TLS contexts by `ca` setting, shared among backends since loading certificates takes about 20 ms each.
    """
    provider = PROVIDERS[settings.provider]
    stands = standing(name, settings, provider, env, None if known is None else known.prover)
    if isinstance(stands, BadAccount):
        return f"backends.{name}.{stands.reason}"
    base_url = stands.base_url
    origin = Origin.parse(base_url)
    if isinstance(origin, BadOrigin):
        return f"backends.{name}.base_url {origin.reason}"
    heads = _heads(settings, provider, origin)
    if isinstance(heads, str):
        return f"backends.{name}.{heads}"
    if settings.dialect is not None and settings.dialect not in NAMES:
        return f"backends.{name}.dialect {settings.dialect!r} is not spoken by this version; it knows {', '.join(NAMES)}"
    transport = _transport(name, settings, origin, contexts, traffic)
    if isinstance(transport, str):
        return transport
    limits = settings.limits
    free_probe = settings.health.mode != "off"
    return Upstream(
        name=name, settings=settings, provider=provider, base_url=base_url, origin=origin, transport=transport,
        state=backend_state(name, settings, probe_first=free_probe),
        slots=Slots(settings.max_concurrency, limits.queue_max, limits.queue_s), head=heads[0],
        ring=key_ring(len(heads), limits.key_rest_max_s, limits.key_refused_s) if len(heads) > 1 else None,
        heads=heads if len(heads) > 1 else (), secrets=_secrets(settings),
        served_by=(b"x-served-by", name.encode()), prover=stands.prover,
    )  # fmt: skip


def _heads(settings: Backend, provider: Provider, origin: Origin) -> tuple[bytes, ...] | str:
    """A head for each key, and one where there is none; or what is wrong with it."""
    heads: list[bytes] = []
    for place, key in settings.keys.items() or (("api_key", None),):
        credentials = auth_headers(provider, "" if key is None else key.reveal())
        if isinstance(credentials, str):
            return f"{place} {credentials}"
        head = _head(settings, origin, credentials)
        if isinstance(head, str):
            return head
        heads.append(head)
    if len(set(heads)) < len(heads):
        return "api_keys would not be sent: this vendor takes none, or an entry of headers stands in their place; leave one of them out"
    return tuple(heads)


def _head(settings: Backend, origin: Origin, credentials: list[tuple[bytes, bytes]]) -> bytes | str:
    lines = [(b"host", origin.host_header), (b"content-type", b"application/json"), (b"accept-encoding", b"identity")]
    lines += credentials
    for name, value in settings.headers.items():
        try:
            pair = (name.lower().encode("ascii"), value.reveal().encode("latin-1"))
        except UnicodeEncodeError:
            return f"headers.{name} holds a character that a header cannot carry"
        if any(byte < 32 or byte == 127 for byte in pair[0] + pair[1]) or not pair[0] or b":" in pair[0] or b" " in pair[0]:
            return f"headers.{name} holds a control character, or is no header name"
        lines = [line for line in lines if line[0] != pair[0]]
        lines.append(pair)
    return b"".join(b"%b: %b\r\n" % line for line in lines)


def _secrets(settings: Backend) -> tuple[bytes, ...]:
    """What this backend's answers must not repeat: its key and the values of its headers, a credential also without its scheme."""
    values = [value.reveal() for value in settings.headers.values()]
    values += [words[1] for words in map(str.split, values) if len(words) == 2]
    values += [key.reveal() for key in settings.keys.values()]
    found = {value.strip().encode("utf-8", "replace") for value in values}
    return tuple(sorted((one for one in found if len(one) >= SECRET_MIN_BYTES), key=len, reverse=True))


def _transport(
    name: str, settings: Backend, origin: Origin, contexts: dict[str, ssl.SSLContext], traffic: Traffic | None
) -> Transport | str:
    limits = settings.limits
    bounds = TransportLimits(
        connections_max=settings.max_concurrency, idle_max=limits.idle_connections_max, idle_s=limits.idle_connection_s,
        queue_max=limits.queue_max, queue_s=limits.queue_s, connect_s=settings.timeouts.connect_s,
        response_head_max_bytes=limits.response_head_max_bytes,
    )  # fmt: skip
    proxy = None if settings.proxy is None else settings.proxy.reveal()
    if settings.http2 or proxy is not None:
        # httpx costs 0.15 s to import, so only who uses HTTP/2 or a proxy pays for it; it rewrites its context, so it gets one of its own.
        from appliance.gateway.httpx_transport import httpx_transport

        own = upstream_tls(settings.ca)
        if isinstance(own, BadTrust):
            return f"backends.{name}.ca {own.reason}"
        return httpx_transport(origin, bounds, own, http2=settings.http2, proxy=proxy)
    if origin.scheme == "http":
        return Http1Transport(origin, bounds, traffic=traffic)
    trusted = contexts.get(settings.ca) or upstream_tls(settings.ca)
    if isinstance(trusted, BadTrust):
        return f"backends.{name}.ca {trusted.reason}"
    contexts[settings.ca] = trusted
    return Http1Transport(origin, bounds, trusted, traffic)


def missing_key(settings: Backend) -> bool:
    """Whether this backend's vendor wants a key and none is configured, neither as `api_key` or `api_keys` nor as a header of one's own."""
    sent = {name.lower() for name in settings.headers}
    row = PROVIDERS[settings.provider]
    return not settings.keys and not (row.key_optional or row.cloud) and not sent & {"authorization", "api-key"}


def build_upstreams(
    backends: Mapping[str, Backend], known: Mapping[str, Upstream], traffic: Traffic | None = None,
    env: Mapping[str, str] = os.environ,
) -> dict[str, Upstream] | list[str]:  # fmt: skip
    """Every backend of a configuration, or all reasons why some cannot be built. An unchanged one keeps its connections and what is known
    of it.

    Args:
        traffic: how their connections read and write together.
        env: variables in which a cloud's account may be named.
    """
    contexts: dict[str, ssl.SSLContext] = {}
    built: dict[str, Upstream] = {}
    problems: list[str] = []
    for name, settings in backends.items():
        if name in known and known[name].settings == settings:
            built[name] = known[name]
            continue
        upstream = build_upstream(name, settings, contexts, traffic, env, known.get(name))
        if isinstance(upstream, str):
            problems.append(upstream)
        else:
            if name in known:
                upstream.state.drained = known[name].state.drained  # an operator's word outlives a change of the file
            built[name] = upstream
    return problems or built
