"""The whole configuration as frozen values: one class per TOML table, one attribute per key, in the order of `config.example.toml`. The
root and the small tables are here; the large ones have modules of their own.

Defaults live here and nowhere else. An attribute's `unit` and `why` metadata are what the commented example file and the error messages
are made from, so a knob without a reason cannot be added. Collections are tuples and read-only mappings: a running request keeps the plan
it started with.
"""

from collections.abc import Mapping
from typing import Literal

import attrs

from appliance.config.caching import CacheStore
from appliance.config.doors import Admin, Server
from appliance.config.knob import knob, required, table
from appliance.config.routing import Experiment, Route
from appliance.config.secret import Secret
from appliance.config.tenancy import Tenant
from appliance.config.traces import Traces
from appliance.config.upstreams import Backend

Vocabulary = Literal["inference_gateway", "llm_gateway", "aigateway", "model", "gen_ai", "appliance"]
VOCABULARIES: tuple[Vocabulary, ...] = ("inference_gateway", "llm_gateway", "aigateway", "model", "gen_ai", "appliance")


@attrs.frozen
class Explain:
    """Which requests `appliance explain` can still tell about when they are not among the latest any more, or after a restart."""

    keep: int = knob(10000, "records at most, 0.7 KB each; the oldest go; 0 = off", low=0, high=10000000)
    sample: float = knob(0.01, "share of all requests", low=0, high=1)
    errors_per_minute: int = knob(60, "beside them: with an error or several attempts; further ones are not kept", low=0, high=100000)
    days: int = knob(30, "how long", unit="days", low=1, high=36500)


@attrs.frozen
class Store:
    """The durable store."""

    path: str = knob("state/appliance.db", "SQLite file; relative to the config file's folder; the journal lies beside it")
    durability: Literal["process", "power"] = knob("process", "process survives kill -9; power a power cut too, at a disk write a request")
    on_failure: Literal["refuse", "serve"] = knob("refuse", "requests while the ledger cannot be written: 503, or answered all the same")
    retention_days: int = knob(400, "how long single rows are kept, by whole months; daily sums stay", unit="days", low=1, high=36500)
    commit_interval_s: float = knob(0.1, "longest wait of a row for its commit; one costs a disk write", unit="s", low=0.01, high=60)
    journal_segment_bytes: int = knob(
        8388608, "a journal file, two of which always exist; one holds 6,000 open requests", unit="bytes", low=65536, high=1073741824
    )
    journal_segments_max: int = knob(8, "journal files at most: what is kept while the database cannot be written", low=2, high=1000)
    queue_rows_max: int = knob(10000, "rows kept in memory once the journal is full; more are lost, and counted", low=0, high=10000000)
    names_max: int = knob(10000, "distinct models (keys, routes, ...) before `other`: callers can invent models", low=10, high=1000000)
    explain: Explain = table(Explain)


@attrs.frozen
class Log:
    """The log on standard error."""

    format: Literal["json", "text"] = knob("json", "json for machines, text for eyes")
    level: Literal["debug", "info", "warning", "error"] = knob("info", "least severe level that is written")
    access: bool = knob(True, "one line per request; never prompts or answers")


@attrs.frozen
class Telemetry:
    """Metrics, logs and traces."""

    vocabularies: tuple[Vocabulary, ...] = knob(VOCABULARIES, "metric families to expose, for the dashboards you have")
    namespace: str = knob("default", "the `namespace` label of inference_gateway_backend_health")
    series_max: int = knob(20000, "label sets kept; further ones fold into `other`, so memory stays bounded", low=100, high=1000000)
    users_max: int = knob(100, "distinct `user` label values before `other`", low=0, high=100000)
    recent_max: int = knob(1000, "request records kept for /admin/requests and explain", low=0, high=100000)
    log: Log = table(Log)
    traces: Traces | None = knob(None, "OpenTelemetry traces; off without this table")


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

    unknown_model: Literal["refuse", "zero", "estimate"] = knob(
        "zero", "a model without a price: refused with 403; free; or counted at the median of its vendor's models (the table's, if none)"
    )
    models: Mapping[str, Price] = knob(attrs.Factory(dict), "prices of your own, by model name")


@attrs.frozen
class Webhook:
    """Where warnings go."""

    url: Secret = required("where budget warnings are posted; a secret because such URLs carry tokens")


@attrs.frozen
class Limits:
    """How requests count against the limits of tenants, keys, routes and users."""

    answer_tokens_max: int = knob(
        4096, "of an answer, counted at admission: the caller's bound up to this; trued up at the end", unit="tokens", low=0, high=100000000
    )
    users_max: int = knob(10000, "users with buckets of their own (per = user) at once; further ones share one", low=0, high=1000000)


@attrs.frozen
class Budgets:
    """How requests count against the budgets of tenants and keys."""

    answer_tokens_max: int = knob(
        8192, "of an answer, reserved at admission: the caller's bound up to this; settled at the end", unit="tokens", low=0, high=100000000
    )


@attrs.frozen
class Alerts:
    """Warnings sent by the gateway itself."""

    webhook: Webhook | None = knob(None, "budget warnings at 50, 80, 95 and 100 %")


@attrs.frozen
class Config:
    """The file, whole."""

    server: Server = table(Server)
    admin: Admin = table(Admin)
    store: Store = table(Store)
    telemetry: Telemetry = table(Telemetry)
    limits: Limits = table(Limits)
    budgets: Budgets = table(Budgets)
    cache: CacheStore = table(CacheStore)
    prices: Prices = table(Prices)
    alerts: Alerts = table(Alerts)
    aliases: Mapping[str, str] = knob(attrs.Factory(dict), "model names of your own, each standing for another")
    backends: Mapping[str, Backend] = knob(attrs.Factory(dict), "upstreams by name")
    routes: tuple[Route, ...] = knob((), "first match wins")
    experiments: tuple[Experiment, ...] = knob((), "trials of another target on a share of users")
    tenants: Mapping[str, Tenant] = knob(attrs.Factory(dict), "who may call")
