"""The [backends.NAME] tables: one upstream each, with its timeouts, breaker, health checks and bounds. See `schema` for the rule."""

from collections.abc import Mapping
from typing import Literal

import attrs

from appliance.config.knob import knob, required, table
from appliance.config.secret import Secret

Dialect = Literal["openai_chat", "openai_responses", "anthropic_messages", "gemini", "bedrock", "cohere"]


@attrs.frozen
class Timeouts:
    """By phase. First byte and idle apply to streams; a whole answer has `total_s`."""

    connect_s: float = knob(5.0, "name resolution, TCP and TLS", unit="s", low=0.01, high=600)
    first_byte_s: float = knob(60.0, "from the request sent to the first byte of a stream", unit="s", low=0.01, high=3600)
    idle_s: float = knob(60.0, "longest silence inside a stream, or while it takes nothing of an upload", unit="s", low=0.01, high=3600)
    total_s: float = knob(600.0, "one attempt, whole; an upload included", unit="s", low=0.01, high=86400)


@attrs.frozen
class Breaker:
    """Two signals: consecutive failures catch a dead backend in a few requests, the ratio catches a half-broken one under load."""

    consecutive_failures: int = knob(5, "failures in a row that open it; 0 = off", low=0, high=100000)
    failure_ratio: float = knob(0.5, "share of failures in the window that opens it; 0 = off", low=0, high=1)
    min_requests: int = knob(10, "requests in the window before the ratio counts; protects a cold start", low=1, high=1000000)
    window_s: float = knob(60.0, "length of the ratio's window", unit="s", low=1, high=86400)
    open_s: float = knob(30.0, "rest before a probe is let through", unit="s", low=0.05, high=86400)
    half_open_max: int = knob(3, "probes at once while half-open", low=1, high=1000)
    successes_to_close: int = knob(3, "successful probes that close it", low=1, high=1000)


@attrs.frozen
class Health:
    """Health checks. A probe is a free call (the model list or a bare connect), never a billed completion."""

    mode: Literal["passive", "active", "off"] = knob("passive", "passive learns from traffic; active also probes")
    path: str | None = knob(None, 'relative to base_url; default from the provider row; "" = TCP/TLS connect only')
    interval_s: float = knob(30.0, "between probes", unit="s", low=0.05, high=86400)
    timeout_s: float = knob(5.0, "for one probe", unit="s", low=0.01, high=600)
    failures: int = knob(3, "failed probes (active) or requests in a row (passive) before the backend counts as down", low=1, high=1000)


@attrs.frozen
class UpstreamLimits:
    """Bounds towards one backend."""

    queue_max: int = knob(1024, "requests that may wait for a slot of max_concurrency", low=0, high=1000000)
    queue_s: float = knob(10.0, "longest wait for a slot; then the next backend is tried", unit="s", low=0, high=3600)
    idle_connections_max: int = knob(64, "keep-alive connections kept open", low=0, high=100000)
    idle_connection_s: float = knob(50.0, "shorter than the 60 s after which common servers close", unit="s", low=0.1, high=3600)
    response_head_max_bytes: int = knob(65536, "status line and headers of an answer", unit="bytes", low=1024, high=1048576)
    response_max_bytes: int = knob(268435456, "a whole answer", unit="bytes", low=1024, high=4294967296)
    key_rest_max_s: float = knob(60.0, "of several keys: longest rest of one after a 429, whatever it says", unit="s", low=1, high=86400)
    key_refused_s: float = knob(300.0, "of several keys: rest of one that is unknown (401) or without credit", unit="s", low=1, high=86400)
    event_max_bytes: int = knob(16777216, "one event of a stream; image models send megabytes", unit="bytes", low=1024, high=268435456)


@attrs.frozen
class Backend:
    """One upstream: a provider row plus an account."""

    provider: str = required("a vendor the gateway knows, or custom")
    dialect: Dialect | None = knob(None, "pins the wire language; default: the caller's where the vendor has it")
    base_url: str = knob("", "overrides the vendor's; what its own SDK calls base_url, or http+unix://%2Frun%2Fvllm.sock/v1 for a socket")
    api_key: Secret | None = knob(None, "sent as the vendor expects it")
    api_keys: tuple[Secret, ...] = knob((), "more keys of the same rights, taken in turn; one that is refused rests while others go on")
    api_version: str = knob("", "azure-openai only: the api-version query parameter", vendor="azure-openai")
    ca: str = knob("certifi", "certifi, system, or a PEM file of the authority that signed the upstream's certificate")
    http2: bool = knob(False, "speak HTTP/2 upstream, through httpx")
    proxy: Secret | None = knob(None, "outbound HTTP proxy URL, through httpx; a secret because it may carry a password")
    headers: Mapping[str, Secret] = knob(attrs.Factory(dict), "extra request headers, e.g. an organisation id")
    region: str = knob("", "where the models are; default: in base_url, AWS_REGION or AWS_DEFAULT_REGION", vendor="bedrock")
    access_key_id: Secret | None = knob(
        None, "an access key to sign with; default: AWS_ variables, web identity, the container's role, the instance's", vendor="bedrock"
    )
    secret_access_key: Secret | None = knob(None, "that access key's secret", vendor="bedrock")
    session_token: Secret | None = knob(None, "of temporary access keys; they are not renewed", vendor="bedrock")
    project: str = knob("", "the project that pays; default: the key file's, or GOOGLE_CLOUD_PROJECT", vendor="vertex")
    location: str = knob("", "where the models are; default: global", vendor="vertex")
    service_account: Secret | None = knob(
        None, "a key file's whole text; default: the file that GOOGLE_APPLICATION_CREDENTIALS names, else the metadata server",
        vendor="vertex",
    )  # fmt: skip
    models: tuple[str, ...] = knob((), "bare names this backend serves beside what its vendor row claims; globs")
    deployments: Mapping[str, str] = knob(attrs.Factory(dict), "azure-openai only: model name to deployment name", vendor="azure-openai")
    max_concurrency: int = knob(100, "requests in flight", low=1, high=1000000)
    timeouts: Timeouts = table(Timeouts)
    breaker: Breaker = table(Breaker)
    health: Health = table(Health)
    limits: UpstreamLimits = table(UpstreamLimits)

    @property
    def keys(self) -> dict[str, Secret]:
        """`api_key` and `api_keys`, by where each stands."""
        several = {f"api_keys[{place}]": key for place, key in enumerate(self.api_keys)}
        return several if self.api_key is None else {"api_key": self.api_key, **several}
