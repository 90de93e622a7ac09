"""The whole configuration as frozen values: one class per TOML table, one attribute per key, in the order of `config.example.toml`.

Defaults live here and nowhere else. An attribute's `unit` and `why` metadata are what the commented example file and the error messages
are made from, so a knob without a reason cannot be added. Collections are tuples and read-only mappings: a running request keeps the plan
it started with.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import attrs

from appliance.config.knob import knob, required, table
from appliance.config.secret import Secret

Dialect = Literal["openai_chat", "openai_responses", "anthropic_messages", "gemini", "bedrock", "cohere"]
Strategy = Literal["weighted", "priority", "round_robin", "least_latency", "least_busy", "cheapest"]
Period = Literal["day", "week", "month", "total"]
Vocabulary = Literal["inference_gateway", "llm_gateway", "aigateway", "model", "gen_ai", "appliance"]
VOCABULARIES: tuple[Vocabulary, ...] = ("inference_gateway", "llm_gateway", "aigateway", "model", "gen_ai", "appliance")


@attrs.frozen
class Listener:
    """One address of the public listener. A plain string in TOML is the address alone."""

    address: str = required("host:port, [::]:port, unix:/path, fd:N or fd:NAME (a socket handed over by systemd)")
    tls_cert: str = knob("", "PEM file with the certificate chain; with it the listener speaks TLS and is served by Hypercorn")
    tls_key: str = knob("", "PEM file with the private key")
    engine: Literal["auto", "builtin", "hypercorn"] = knob("auto", "auto = hypercorn with TLS (HTTP/2 too), else builtin (HTTP/1.1)")


LOOPBACK = (Listener(address="127.0.0.1:8080"),)


@attrs.frozen
class ServerLimits:
    """Bounds of the public door. Each protects memory, sockets or time from one caller."""

    head_max_bytes: int = knob(65536, "request line and headers; agents send long beta headers", unit="bytes", low=1024, high=1048576)
    body_max_bytes: int = knob(33554432, "request body; a few images or PDFs in base64 fit", unit="bytes", low=1024, high=1073741824)
    connections_max: int = knob(4096, "open client connections per listener; beyond it new ones wait in the backlog", low=1, high=1000000)
    header_read_s: float = knob(15.0, "from first byte to the end of the headers; ends slow-header attacks", unit="s", low=0.1, high=3600)
    body_read_s: float = knob(30.0, "longest silence while a body is being sent", unit="s", low=0.1, high=3600)
    idle_s: float = knob(75.0, "keep-alive without a request; longer than the 60 s of common load balancers", unit="s", low=0.1, high=86400)
    write_stall_s: float = knob(30.0, "longest time a client may take no byte while an answer waits", unit="s", low=0.1, high=3600)
    min_rate_bytes_s: int = knob(64, "slowest body or answer that counts as progress", unit="bytes/s", low=0, high=1048576)


@attrs.frozen
class Server:
    """The public listener."""

    listen: tuple[Listener, ...] = knob(LOOPBACK, "where applications connect; loopback until you decide otherwise")
    auth: Literal["keys", "none"] = knob("keys", "none lets anybody in, on any address")
    metrics: Literal["auto", "open", "off"] = knob("auto", "/metrics here: auto = open on loopback, elsewhere with a token")
    drain_s: float = knob(30.0, "how long running requests may finish after SIGTERM", unit="s", low=0, high=3600)
    notice_s: float = knob(0.0, "how long /readyz says 503 before listeners close; a load balancer notices", unit="s", low=0, high=300)
    user_agent: str = knob("forward", "towards backends: forward = the caller's own, else this text")
    forward_headers: tuple[str, ...] = knob((), "request headers forwarded beside the known dialect headers; a trailing * is a prefix")
    drains_max: int = knob(64, "requests read on at once after their clients left; further ones are cancelled", low=0, high=100000)
    limits: ServerLimits = table(ServerLimits)


@attrs.frozen
class Admin:
    """The admin listener: metrics, admin API, console. Never the public one."""

    listen: str = knob("127.0.0.1:9464", "where operators and Prometheus connect")
    token: Secret | None = knob(None, "bearer token; without one the listener is loopback only and checks Host and Origin")
    metrics_token: Secret | None = knob(None, "bearer token that opens /metrics and nothing else")


@attrs.frozen
class Store:
    """The durable store."""

    path: str = knob("state/appliance.db", "SQLite file; relative to the config file's folder", later="the ledger")
    durability: Literal["process", "power"] = knob("process", "process survives kill -9; power a power cut too", later="the ledger")
    on_failure: Literal["refuse", "serve"] = knob("refuse", "requests while the ledger cannot be written", later="the ledger")
    retention_days: int = knob(400, "how long single rows are kept; daily sums stay", unit="days", low=1, high=36500, later="the ledger")


@attrs.frozen
class Log:
    """The log on standard error."""

    format: Literal["json", "text"] = knob("json", "json for machines, text for eyes")
    level: Literal["debug", "info", "warning", "error"] = knob("info", "least severe level that is written")
    access: bool = knob(True, "one line per request; never prompts or answers")


@attrs.frozen
class Telemetry:
    """Metrics and logs."""

    vocabularies: tuple[Vocabulary, ...] = knob(VOCABULARIES, "metric families to expose, for the dashboards you have")
    namespace: str = knob("default", "the `namespace` label of inference_gateway_backend_health")
    series_max: int = knob(20000, "label sets kept; further ones fold into `other`, so memory stays bounded", low=100, high=1000000)
    users_max: int = knob(100, "distinct `user` label values before `other`", low=0, high=100000)
    recent_max: int = knob(1000, "request records kept for /admin/requests and explain", low=0, high=100000)
    log: Log = table(Log)


@attrs.frozen
class Price:
    """Overrides for one model, in USD per million tokens."""

    input_usd_per_mtok: float = knob(0.0, "prompt tokens", unit="USD/1M tokens", low=0)
    output_usd_per_mtok: float = knob(0.0, "generated tokens", unit="USD/1M tokens", low=0)
    cache_read_usd_per_mtok: float | None = knob(None, "prompt tokens read from cache; default: as input", unit="USD/1M tokens", low=0)
    cache_write_usd_per_mtok: float | None = knob(None, "prompt tokens written to cache; default: as input", unit="USD/1M tokens", low=0)
    request_usd: float = knob(0.0, "per request", unit="USD", low=0)


@attrs.frozen
class Prices:
    """What models cost."""

    unknown_model: Literal["refuse", "zero", "estimate"] = knob("zero", "a model without a price", later="prices")
    models: Mapping[str, Price] = knob(attrs.Factory(dict), "prices of your own, by model name", later="prices")


@attrs.frozen
class Webhook:
    """Where warnings go."""

    url: Secret = required("where budget warnings are posted; a secret because such URLs carry tokens")


@attrs.frozen
class Alerts:
    """Warnings sent by the gateway itself."""

    webhook: Webhook | None = knob(None, "budget warnings at 50, 80, 95 and 100 %", later="budgets")


@attrs.frozen
class Timeouts:
    """By phase. First byte and idle apply to streams; a whole answer has `total_s`."""

    connect_s: float = knob(5.0, "name resolution, TCP and TLS", unit="s", low=0.01, high=600)
    first_byte_s: float = knob(60.0, "from the request sent to the first byte of a stream", unit="s", low=0.01, high=3600)
    idle_s: float = knob(60.0, "longest silence inside a stream", unit="s", low=0.01, high=3600)
    total_s: float = knob(600.0, "one attempt, whole", unit="s", low=0.01, high=86400)


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
    event_max_bytes: int = knob(16777216, "one event of a stream; image models send megabytes", unit="bytes", low=1024, high=268435456)


@attrs.frozen
class Backend:
    """One upstream: a provider row plus an account."""

    provider: str = required("a vendor the gateway knows, or custom")
    dialect: Dialect | None = knob(None, "pins the wire language; default: the caller's where the vendor has it")
    base_url: str = knob("", "overrides the vendor's; what its own SDK calls base_url, or http+unix://%2Frun%2Fvllm.sock/v1 for a socket")
    api_key: Secret | None = knob(None, "sent as the vendor expects it")
    api_version: str = knob("", "azure-openai only: the api-version query parameter", vendor="azure-openai")
    ca: str = knob("certifi", "certifi, system, or a PEM file of the authority that signed the upstream's certificate")
    http2: bool = knob(False, "speak HTTP/2 upstream, through httpx")
    proxy: Secret | None = knob(None, "outbound HTTP proxy URL, through httpx; a secret because it may carry a password")
    headers: Mapping[str, Secret] = knob(attrs.Factory(dict), "extra request headers, e.g. an organisation id")
    models: tuple[str, ...] = knob((), "bare names this backend serves beside what its vendor row claims; globs")
    deployments: Mapping[str, str] = knob(attrs.Factory(dict), "azure-openai only: model name to deployment name", vendor="azure-openai")
    max_concurrency: int = knob(100, "requests in flight", low=1, high=1000000)
    timeouts: Timeouts = table(Timeouts)
    breaker: Breaker = table(Breaker)
    health: Health = table(Health)
    limits: UpstreamLimits = table(UpstreamLimits)


@attrs.frozen
class Target:
    """One choice of a route."""

    backend: str = required("a name under [backends]")
    model: str = knob("", "what to ask the backend for; default: the requested model")
    weight: int = knob(1, "share under `weighted`; 0 = never chosen first", low=0, high=1000000)
    label: str = knob("", "the `model` label in metrics, when the model id is not telling (Azure, Bedrock)")
    max_tokens: int | None = knob(None, "cap on the answer's length", unit="tokens", low=1, high=100000000)
    overrides: Mapping[str, Any] = knob(attrs.Factory(dict), "request fields set to these values")


@attrs.frozen
class Match:
    """What else must hold for a route."""

    headers: Mapping[str, str] = knob(attrs.Factory(dict), "request headers and globs over their values")
    min_prompt_tokens: int = knob(0, "estimated prompt length, inclusive", unit="tokens", low=0)
    max_prompt_tokens: int | None = knob(None, "estimated prompt length, inclusive", unit="tokens", low=0)


@attrs.frozen
class Retry:
    """One budget of attempts and one of time, over retries and fallbacks together."""

    attempts: int = knob(3, "tries in all, over every target and fallback", low=1, high=20)
    backoff_s: float = knob(0.1, "before the first retry on the same backend; doubles, with jitter", unit="s", low=0, high=60)
    backoff_max_s: float = knob(2.0, "longest pause", unit="s", low=0, high=600)
    budget_s: float = knob(30.0, "no new attempt later than this after the request began", unit="s", low=0, high=3600)
    on: tuple[int, ...] = knob((408, 409, 429, 500, 502, 503, 504, 529), "upstream statuses worth another try")
    fallback_on: tuple[int, ...] = knob((401, 402, 403, 404), "next backend at once, no retry here")


@attrs.frozen
class Hedge:
    """A second attempt beside a slow first one."""

    after_s: float = knob(0.0, "second attempt elsewhere when no first byte came; 0 = off", unit="s", low=0, high=600, later="hedging")


@attrs.frozen
class Cache:
    """Answers given again."""

    ttl_s: float = knob(0.0, "how long an answer may be repeated; 0 = off", unit="s", low=0, high=31536000, later="the response cache")


@attrs.frozen
class RouteLimits:
    """How much may go through a route."""

    rpm: int | None = knob(None, "requests per minute", low=1, later="rate limits")
    tpm: int | None = knob(None, "tokens per minute", low=1, later="rate limits")
    concurrency: int | None = knob(None, "requests at once", low=1, later="rate limits")
    per: Literal["route", "user"] = knob("route", "one bucket for the route, or one per user", later="rate limits")


@attrs.frozen
class Route:
    """Which backends a requested model goes to. The first matching route wins."""

    name: str = required("unique; a label in metrics")
    models: tuple[str, ...] = knob(("*",), "globs over the requested model")
    match: Match = table(Match)
    strategy: Strategy = knob("weighted", "how the first target is chosen; the least_* two and cheapest act as weighted until built")
    targets: tuple[Target, ...] = required("at least one")
    fallback: tuple[Target, ...] = knob((), "asked in order when every target failed")
    retry: Retry = table(Retry)
    hedge: Hedge = table(Hedge)
    cache: Cache = table(Cache)
    limits: RouteLimits = table(RouteLimits)
    on_disconnect: Literal["cancel", "drain", "estimate"] = knob("cancel", "client left: close upstream, read on, or estimate usage")
    keepalive_s: float = knob(15.0, "silence after which a waiting stream sends a keep-alive; 0 = off", unit="s", low=0, high=600)
    drain_max_s: float = knob(60.0, "with on_disconnect = drain: how long to read on after the client left", unit="s", low=0, high=3600)


@attrs.frozen
class Experiment:
    """A share of users gets another target."""

    name: str = required("unique; a label in metrics")
    route: str = required("a route's name")
    control: Target = required("what most get")
    treatment: Target = required("what `percent` of the users get")
    percent: float = knob(0.0, "share of users", unit="%", low=0, high=100, later="experiments")
    shadow: bool = knob(False, "copy the request to the treatment and throw the answer away", later="experiments")


@attrs.frozen
class Budget:
    """A spend ceiling."""

    usd: float = required("ceiling", unit="USD")
    period: Period = knob("month", "when it starts anew", later="budgets")
    timezone: str = knob("UTC", "whose midnight counts")
    on_exceeded: Literal["refuse", "warn"] = knob("refuse", "402, or a warning alone")


@attrs.frozen
class Key:
    """A static key; its secret is never in the file, only the SHA-256 of it."""

    id: str = required("names it in logs and usage")
    sha256: str = required("hex SHA-256 of the key")
    expires: datetime | None = knob(None, "a TOML date or date-time; a date means its first moment in UTC")
    models: tuple[str, ...] = knob(("*",), "globs over the models it may ask for, within the tenant's")
    routes: tuple[str, ...] = knob(("*",), "globs over the routes it may use")
    rpm: int | None = knob(None, "requests per minute", low=1, later="rate limits")
    tpm: int | None = knob(None, "tokens per minute", low=1, later="rate limits")
    concurrency: int | None = knob(None, "requests at once", low=1, later="rate limits")
    budget: Budget | None = knob(None, "its own ceiling, within the tenant's", later="budgets")


@attrs.frozen
class Tenant:
    """Who pays."""

    models: tuple[str, ...] = knob(("*",), "globs over the models its keys may ask for")
    routes: tuple[str, ...] = knob(("*",), "globs over the routes its keys may use")
    pin: bool = knob(True, "may name a backend with the X-Provider header")
    rpm: int | None = knob(None, "requests per minute", low=1, later="rate limits")
    tpm: int | None = knob(None, "tokens per minute", low=1, later="rate limits")
    concurrency: int | None = knob(None, "requests at once", low=1, later="rate limits")
    budget: Budget | None = knob(None, "spend ceiling", later="budgets")
    keys: tuple[Key, ...] = knob((), "static keys; more can be made at run time once the store is built")


@attrs.frozen
class Config:
    """The file, whole."""

    server: Server = table(Server)
    admin: Admin = table(Admin)
    store: Store = table(Store)
    telemetry: Telemetry = table(Telemetry)
    prices: Prices = table(Prices)
    alerts: Alerts = table(Alerts)
    aliases: Mapping[str, str] = knob(attrs.Factory(dict), "model names of your own, each standing for another")
    backends: Mapping[str, Backend] = knob(attrs.Factory(dict), "upstreams by name")
    routes: tuple[Route, ...] = knob((), "first match wins")
    experiments: tuple[Experiment, ...] = knob((), "trials of another target on a share of users", later="experiments")
    tenants: Mapping[str, Tenant] = knob(attrs.Factory(dict), "who may call")
