"""The commented example file, made from the schema: every key with its default, its unit, its bounds and its reason.

One rule: nothing is said here about a key that the schema says itself; this module adds only sample values for keys whose default
shows nothing, and names for sample tables. A line that begins with `#` and no space is a setting that may be uncommented as it is.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

import attrs

from appliance.config.doors import Listener
from appliance.config.knob import about, default_of
from appliance.config.leaves import plain
from appliance.config.problem import Steps, quoted, written
from appliance.config.schema import Config
from appliance.config.structure import without_none
from appliance.config.upstreams import Backend

SAMPLES: Mapping[str, str] = {
    "Listener.address": '"127.0.0.1:8443"',
    "Listener.tls_cert": '"tls/cert.pem"',
    "Listener.tls_key": '"tls/key.pem"',
    "Admin.token": '{ env = "APPLIANCE_ADMIN_TOKEN" }',
    "Admin.metrics_token": '{ file = "/run/secrets/metrics" }',
    "Traces.endpoint": '"http://127.0.0.1:4318/v1/traces"',
    "Traces.headers": '{ "X-Api-Key" = { env = "COLLECTOR_KEY" } }',
    "Traces.resource": '{ "deployment.environment.name" = "production" }',
    "Prices.models": "my-finetune",
    "Price.cache_read_usd_per_mtok": "0.5",
    "Price.cache_write_usd_per_mtok": "1.25",
    "Webhook.url": '{ env = "BUDGET_WEBHOOK" }',
    "Config.aliases": 'fast = "gpt-4o-mini"',
    "Config.backends": "openai",
    "Backend.provider": '"openai"',
    "Backend.dialect": '"openai_responses"',
    "Backend.base_url": '"https://api.openai.com/v1"',
    "Backend.api_key": '{ env = "OPENAI_API_KEY" }',
    "Backend.api_keys": '[{ env = "OPENAI_API_KEY_2" }, { env = "OPENAI_API_KEY_3" }]',
    "Backend.api_version": '"2024-10-21"',
    "Backend.region": '"us-east-1"',
    "Backend.access_key_id": '{ env = "AWS_ACCESS_KEY_ID" }',
    "Backend.secret_access_key": '{ env = "AWS_SECRET_ACCESS_KEY" }',
    "Backend.session_token": '{ env = "AWS_SESSION_TOKEN" }',
    "Backend.project": '"my-project"',
    "Backend.location": '"us-central1"',
    "Backend.service_account": '{ file = "service-account.json" }',
    "Backend.proxy": '{ env = "HTTPS_PROXY" }',
    "Backend.headers": '{ "OpenAI-Organization" = "org-123", "X-Team" = { env = "TEAM_TOKEN" } }',
    "Backend.models": '["my-finetune-*"]',
    "Backend.deployments": '{ "gpt-4o" = "my-gpt-4o-deployment" }',
    "Health.path": '"/models"',
    "Target.backend": '"openai"',
    "Target.model": '"gpt-4o-mini"',
    "Target.label": '"gpt-4o-mini"',
    "Target.max_tokens": "4096",
    "Target.overrides": "{ temperature = 0.2 }",
    "Match.headers": '{ "x-team" = "search*" }',
    "Match.paths": '["/v1/embeddings"]',
    "Match.tenants": '["acme", "team-*"]',
    "Match.max_prompt_tokens": "4000",
    "RouteLimits.rpm": "600",
    "RouteLimits.tpm": "200000",
    "RouteLimits.concurrency": "50",
    "Route.name": '"chat"',
    "Route.fallback": '[{ backend = "openai", model = "gpt-4o" }]',
    "Cache.ttl_s": "300",
    "Semantic.backend": '"openai"',
    "Semantic.model": '"text-embedding-3-small"',
    "Experiment.name": '"mini-trial"',
    "Experiment.route": '"chat"',
    "Experiment.control": '{ backend = "openai", model = "gpt-4o" }',
    "Experiment.treatment": '{ backend = "openai", model = "gpt-4o-mini" }',
    "Config.tenants": "acme",
    "Tenant.rpm": "600",
    "Tenant.tpm": "200000",
    "Tenant.concurrency": "50",
    "Key.id": '"ci"',
    "Key.sha256": quoted("0" * 64),
    "Key.expires": "2035-01-01",
    "Key.rpm": "60",
    "Key.tpm": "20000",
    "Key.concurrency": "5",
    "Budget.usd": "100",
}
"""`Class.key` → a TOML value, or the name of a sample table. The zero hash is nobody's key."""

VENDOR_URLS: Mapping[str, str] = {"azure-openai": "https://my-resource.openai.azure.com/openai"}
"""Base URLs for the samples of settings that one vendor alone reads, where that vendor has none of its own."""

HEAD = """\
# Every setting of the gateway, with its default, its unit and the reason for it. Generated from the schema.
#
# A line that begins with # and no space is a setting: at its default, or an example where the default is "none". Uncomment what you
# want to change and leave out the rest; `appliance init` writes a short file to begin with, `appliance check` tells every mistake.
# A secret is a string, { env = "NAME" }, { file = "/path" } or { credential = "name" } (systemd). Relative files are relative to this
# file's folder. conf.d/*.toml beside this file is merged into it in name order: tables merge, anything else is replaced.
"""


def example_text() -> str:
    """The text of `config.example.toml`."""
    return HEAD + "\n".join(_table(Config, ())) + "\n"


def _table(kind: Any, at: Steps, leave_out: frozenset[str] = frozenset()) -> Iterator[str]:
    """The keys of a table, then the tables inside it: TOML wants them in this order."""
    fields = [field for field in attrs.fields(kind) if field.name not in leave_out]
    for field in fields:
        if not _is_section(kind, field):
            yield from _key(kind, field)
    for field in fields:
        if _is_section(kind, field):
            yield from _section(kind, field, (*at, field.name))


def _is_section(kind: Any, field: "attrs.Attribute[Any]") -> bool:
    """Whether a key gets a [header] of its own. Short tables that stand in an array or may be absent are shown in one line."""
    origin, inner = get_origin(field.type), get_args(field.type)
    if attrs.has(field.type or object):
        return f"{kind.__name__}.{field.name}" not in SAMPLES
    if origin is Mapping:
        return attrs.has(inner[1]) or kind is Config
    return origin is tuple and attrs.has(inner[0]) and inner[0] is not Listener and f"{kind.__name__}.{field.name}" not in SAMPLES


def _section(kind: Any, field: "attrs.Attribute[Any]", at: Steps) -> Iterator[str]:
    origin, inner = get_origin(field.type), get_args(field.type)
    sample = SAMPLES.get(f"{kind.__name__}.{field.name}", "")
    if origin is Mapping and not attrs.has(inner[1]):
        yield from _heading(f"[{written(at)}]", _sentence(about(field).why))
        yield f"#{sample}"
    elif origin is Mapping:
        at = (*at, sample)
        yield from _heading(f"[{written(at)}]", _sentence(inner[1].__doc__))
        yield from _table(inner[1], at, _vendor_keys(inner[1]))
        if inner[1] is Backend:
            yield from _vendor_samples(at[:-1])
    elif origin is tuple:
        yield from _heading(f"[[{written(at)}]]", _sentence(inner[0].__doc__))
        yield from _table(inner[0], at)
    else:
        yield from _heading(f"[{written(at)}]", _sentence(field.type.__doc__ if field.type else ""))
        yield from _table(field.type, at)


def _heading(header: str, sentence: str) -> Iterator[str]:
    yield ""
    yield f"# {sentence}"
    yield header


def _key(kind: Any, field: "attrs.Attribute[Any]") -> Iterator[str]:
    """The reason, then the key: live when it has no default, commented when it has."""
    name = f"{kind.__name__}.{field.name}"
    yield f"# {about(field).why}{_details(field)}"
    inner = _inline_class(field)
    if inner is not None:
        for each in attrs.fields(inner):
            yield f"#   {each.name}: {about(each).why}{_details(each)}"
    default = default_of(field)
    if default is attrs.NOTHING:
        yield f"{field.name} = {SAMPLES[name]}"
    elif name in SAMPLES:
        yield f"#{field.name} = {SAMPLES[name]}"
    elif default is not None:
        yield f"#{field.name} = {toml(default)}"
    if inner is not None:
        one = _inline(inner)
        yield f"#{field.name} = " + (f"[{one}]" if get_origin(field.type) is tuple else one)


def _inline_class(field: "attrs.Attribute[Any]") -> Any:
    """The class of a table that is shown in one line and nowhere else: a listener, a webhook, a budget."""
    kind = without_none(field.type)
    if get_origin(kind) is tuple:
        kind = get_args(kind)[0]
        return kind if kind is Listener else None
    return kind if attrs.has(kind) and field.default is None else None


def _inline(kind: Any) -> str:
    """Every key of a class in one inline table."""
    pairs = []
    for field in attrs.fields(kind):
        sample = SAMPLES.get(f"{kind.__name__}.{field.name}")
        pairs.append(f"{field.name} = {sample if sample is not None else toml(field.default)}")
    return "{ " + ", ".join(pairs) + " }"


def _vendor_keys(kind: Any) -> frozenset[str]:
    return frozenset(field.name for field in attrs.fields(kind) if about(field).vendor)


def _vendor_samples(at: Steps) -> Iterator[str]:
    """One more backend for each vendor that has settings of its own, with these alone."""
    fields = [field for field in attrs.fields(Backend) if about(field).vendor]
    for vendor in dict.fromkeys(about(field).vendor for field in fields):
        yield from _heading(f"[{written((*at, vendor))}]", f"Settings that {vendor} alone has.")
        yield f"provider = {quoted(vendor)}"
        if vendor in VENDOR_URLS:
            yield f"base_url = {quoted(VENDOR_URLS[vendor])}"
        for field in fields:
            if about(field).vendor == vendor:
                yield from _key(Backend, field)


def _details(field: "attrs.Attribute[Any]") -> str:
    """Unit, bounds and choices, in brackets."""
    described = about(field)
    kind = without_none(field.type)
    if get_origin(kind) is tuple and get_args(kind):
        kind = get_args(kind)[0]
    parts = [described.unit] if described.unit else []
    if described.low is not None and described.high is not None:
        parts.append(f"{plain(described.low)} to {plain(described.high)}")
    elif described.low is not None:
        parts.append(f"at least {plain(described.low)}")
    if get_origin(kind) is Literal:
        parts.append(" | ".join(get_args(kind)))
    return f" ({'; '.join(parts)})" if parts else ""


def _sentence(text: str | None) -> str:
    first = " ".join((text or "").split("\n\n")[0].split())
    return first[:1].upper() + first[1:] + ("" if first.endswith(".") else ".")


def toml(value: Any) -> str:
    """A default as TOML text."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return plain(value)
        case str():
            return quoted(value)
        case tuple():
            return "[" + ", ".join(toml(each) for each in value) + "]"
        case Listener():
            return quoted(value.address)
    raise TypeError(f"no TOML form for a default of type {type(value).__name__}")
