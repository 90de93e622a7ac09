"""Gemini's own schema language (a part of OpenAPI 3.0, in protobuf's spelling) as JSON Schema.

The rule: only this direction is needed, because Gemini takes JSON Schema as it stands in `parametersJsonSchema` and `responseJsonSchema`.
Source: ai.google.dev/api/caching#Schema.
"""

import math
from collections.abc import Mapping
from typing import Any

from appliance.dialects.fields import Unfit, mapping, sequence
from appliance.dialects.gemini_json import plain

DEPTH_MAX = 64

_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
"""int64, which protobuf writes as texts."""


def json_schema(schema: Mapping[str, Any], path: str, depth: int = 0) -> dict[str, Any]:
    """The same schema in JSON Schema; raises Unfit where a subschema is no object or they nest too deeply."""
    if depth > DEPTH_MAX:
        raise Unfit(path, "is nested too deeply")
    given = dict(plain(schema))
    out: dict[str, Any] = {}
    nullable, order = given.pop("nullable", None) is True, given.pop("propertyOrdering", None)
    for name, value in given.items():
        where = f"{path}.{name}"
        if value is None:
            continue
        if name == "type":
            if value != "TYPE_UNSPECIFIED":
                out["type"] = _type(value)
        elif name == "enum":
            out["enum"] = _enum(value, given.get("type"))
        elif name in ("properties", "defs", "$defs"):
            inner = {key: json_schema(mapping(one, f"{where}.{key}"), f"{where}.{key}", depth + 1) for key, one in _items(value, where)}
            out["$defs" if name == "defs" else name] = inner
        elif name in ("items", "additionalProperties") and isinstance(value, dict):
            out[name] = json_schema(value, where, depth + 1)
        elif name in ("anyOf", "oneOf", "allOf", "prefixItems"):
            out[name] = [json_schema(mapping(one, where), where, depth + 1) for one in sequence(value, where)]
        elif name in _COUNTS and isinstance(value, str) and value.isdigit():
            out[name] = int(value)
        elif name == "format" and value == "enum":
            continue  # says no more than `enum` does
        elif name == "ref":
            out["$ref"] = value
        elif name == "example":
            out["examples"] = [value]
        else:
            out[name] = value
    if isinstance(order, list) and isinstance(properties := out.get("properties"), dict):
        first = {name: properties[name] for name in order if isinstance(name, str) and name in properties}
        out["properties"] = first | properties
    return _nullable(out) if nullable else out


def _items(value: Any, path: str) -> list[tuple[str, Any]]:
    return list(mapping(value, path).items())


def _type(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _enum(values: Any, kind: Any) -> Any:
    """Numbers stand as texts among an enum's values in Google's language, which has room for nothing else."""
    if not isinstance(values, list) or str(kind).lower() not in ("integer", "number"):
        return values
    return [_number(one) for one in values]


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return int(value)
    except ValueError:
        pass
    try:
        return float(value) if math.isfinite(float(value)) else value
    except ValueError:
        return value


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    if isinstance(kind, str) and "enum" not in schema:
        return {**schema, "type": [kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]}
