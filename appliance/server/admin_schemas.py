"""JSON Schemas of what the admin API takes and gives. Those of settings are made from the configuration's own classes.

The rule: a setting is described once, where it is defined.
"""

from collections.abc import Mapping
from datetime import datetime
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import attrs

from appliance.config.knob import about
from appliance.config.tenancy import Budget, Key, Tenant
from appliance.store.tenancy_desk import GRACE_MAX_S, GRACE_S
from appliance.store.usage import COUNTS, FIELDS

Schema = dict[str, Any]

NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-.0-~]+$"}
"""See `config.rules.scene.NAME`; a few words are reserved."""
TEXT: Schema = {"type": "string"}
MOMENT: Schema = {"type": "string", "format": "date-time"}

_PLAIN: dict[Any, Schema] = {str: {"type": "string"}, bool: {"type": "boolean"}, int: {"type": "integer"}, float: {"type": "number"}}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def table(properties: Mapping[str, Schema], required: tuple[str, ...] | None = None, *, strict: bool = False) -> Schema:
    """An object. required: all properties where it is not given; strict: it has no others."""
    wanted = list(properties if required is None else required)
    made: Schema = {"type": "object", "properties": dict(properties)}
    return made | ({"required": wanted} if wanted else {}) | ({"additionalProperties": False} if strict else {})


def settings_of(kind: type, without: tuple[str, ...] = ()) -> dict[str, Schema]:
    """The settings of a class of the configuration, by name, as they may be given: null is as good as nothing."""
    return {field.name: _setting(field) for field in attrs.fields(kind) if field.name not in without}


def _setting(field: "attrs.Attribute[Any]") -> Schema:
    described = about(field)
    schema = dict(_type(field.type))
    if described.low is not None:
        schema["minimum"] = described.low
    if described.high is not None:
        schema["maximum"] = described.high
    if field.default is not attrs.NOTHING:
        schema = nullable(schema)
    words = described.why + (f" ({described.unit})" if described.unit else "")
    return {**schema, "description": words} if words else schema


def _type(kind: Any) -> Schema:
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return _type(next(each for each in get_args(kind) if each is not type(None)))
    if origin is Literal:
        return {"type": "string", "enum": list(get_args(kind))}
    if origin is tuple:
        return {**array(_type(get_args(kind)[0])), "minItems": 1}
    if kind is datetime:
        return {"type": "string", "description": "ISO 8601 date or time"}
    if kind is Budget:
        return ref("Budget")
    return dict(_PLAIN[kind])


_TENANT = settings_of(Tenant, without=("keys",))
_KEY = settings_of(Key, without=("id", "sha256"))
_COUNTS = {name: {"type": "number" if name == "cost_usd" else "integer"} for name in COUNTS}
_SHOWN_KEY = {
    "id": TEXT, "tenant": TEXT, "prefix": {**nullable(TEXT), "description": "first characters of the secret; null of keys of the file"},
    "source": {"enum": ["file", "store"]}, "state": {"enum": ["active", "expired", "revoked", "shadowed", "no tenant"]}, **_KEY,
    "created_at": nullable(MOMENT), "expires": nullable(MOMENT), "revoked_at": nullable(MOMENT), "last_used_at": nullable(MOMENT),
    "rotated_from": nullable(table({"prefix": TEXT, "until": MOMENT})),
}  # fmt: skip
_ROTATION = {"grace_s": {
    "type": "number", "minimum": 0, "maximum": GRACE_MAX_S, "default": GRACE_S, "description": "how long the old secret works on (s)",
}}  # fmt: skip

SCHEMAS: dict[str, Schema] = {
    "Error": table({
        "error": {"type": "string", "description": "one sentence"},
        "problems": {**array(ref("Problem")), "description": "of a 400: all that is wrong"},
    }, required=("error",)),
    "Problem": table({
        "path": {"type": "string", "description": "in the body or the query, like budget.usd; empty for all of it"}, "message": TEXT,
        "expected": TEXT, "hint": TEXT,
    }),
    "Budget": table(settings_of(Budget), ("usd",), strict=True),
    "TenantSettings": table(_TENANT, (), strict=True),
    "NewTenant": table({"name": NAME, **_TENANT}, ("name",), strict=True),
    "Tenant": table({
        "name": TEXT, "source": {"enum": ["file", "store"]}, **_TENANT, "active_keys": {"type": "integer"}, "created_at": nullable(MOMENT),
        "updated_at": nullable(MOMENT),
    }),
    "NewKey": table({"tenant": NAME, "id": {**NAME, "description": "default: one that is made up"}, **_KEY}, ("tenant",), strict=True),
    "Key": table(_SHOWN_KEY),
    "MadeKey": table({"key": {"type": "string", "description": "the secret, told this once"}, **_SHOWN_KEY}),
    "Rotation": table(_ROTATION, (), strict=True),
    "TenantRotation": table({"id": {**NAME, "description": "which key, where the tenant has several"}, **_ROTATION}, (), strict=True),
    "Usage": table({
        "from": MOMENT, "to": MOMENT, "by": array({"enum": list(FIELDS)}),
        "rows": array(table({**dict.fromkeys(FIELDS, TEXT), **_COUNTS}, COUNTS)), "total": table(_COUNTS),
    }),
    "AuditEntry": table({
        "id": {"type": "integer"}, "at": MOMENT, "actor": TEXT, "action": TEXT, "target": TEXT, "before": {"type": ["object", "null"]},
        "after": {"type": ["object", "null"]},
    }),
    "Provider": {"type": "object", "description": "a backend with its health, breaker, connections, credentials and keys"},
    "Record": table({
        "id": {"type": "string", "description": "the ledger's"}, "request_id": {"type": "string", "description": "the caller's"},
        "time": {"type": "number", "description": "when it began, seconds since the epoch"}, "tenant": TEXT, "key": TEXT, "route": TEXT,
        "requested_model": TEXT, "model": TEXT, "dialect": TEXT, "operation": TEXT, "stream": {"type": "boolean"},
        "attempts": {**array({"type": "object"}), "description": "backend, model, outcome, status, error_type, times, tokens, price"},
        "status": {"type": "integer"}, "error_type": TEXT, "error": TEXT, "usage": {"type": ["object", "null"]},
        "cost_usd": {"type": "number"}, "overhead_ms": {"type": ["number", "null"]}, "ttft_ms": {"type": ["number", "null"]},
        "duration_ms": {"type": "number"}, "dropped_fields": array(TEXT), "experiment": TEXT, "variant": TEXT, "cache": TEXT,
        "cache_waited_ms": {"type": ["number", "null"], "description": "for another's answer to the same request"},
        "plan": {"type": ["object", "null"], "description": "why it went there; null where that was not asked or is not known any more"},
        "verdict": {"type": ["object", "null"], "description": "the limit or budget that refused it, or what budgets reserved"},
        "trace_id": {"type": ["string", "null"], "description": "32 hex digits; null where nobody said or began a trace"},
    }),
}  # fmt: skip
