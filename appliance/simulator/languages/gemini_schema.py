"""Gemini's own schemas, turned into JSON Schema for whoever makes an instance, and what the service objects to in them. Pure.

Source: ai.google.dev/api/caching#Schema, and the refusals that public reports quote.
"""

from collections.abc import Mapping
from typing import Any

from appliance.simulator.languages.gemini_errors import GeminiError, bad_field

STRING_FORMATS = ("enum", "date-time")
SAME = ("title", "description", "pattern", "enum", "required", "default", "minItems", "maxItems", "minLength", "maxLength")
NUMBERS = ("minimum", "maximum", "minProperties", "maxProperties")


def json_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Of a checked Schema message: types in lower case, `nullable` as a second type."""
    made: dict[str, Any] = {name: schema[name] for name in (*SAME, *NUMBERS) if name in schema}
    kind = schema.get("type", "TYPE_UNSPECIFIED")
    if kind != "TYPE_UNSPECIFIED":
        made["type"] = [kind.lower(), "null"] if schema.get("nullable") else kind.lower()
    if schema.get("format") not in (None, "enum"):
        made["format"] = schema["format"]
    if "properties" in schema:
        made["properties"] = {name: json_schema(one) for name, one in schema["properties"].items()}
    if "items" in schema:
        made["items"] = json_schema(schema["items"])
    if "anyOf" in schema:
        made["anyOf"] = [json_schema(one) for one in schema["anyOf"]]
    return made


def schema_error(schema: Mapping[str, Any], path: str) -> GeminiError | None:
    """The first thing the service would object to; `path` as it names it."""
    kind = schema.get("type", "TYPE_UNSPECIFIED")
    properties = schema.get("properties") or {}
    if kind == "OBJECT" and not properties:
        return bad_field(f"{path}.properties", "should be non-empty for OBJECT type")
    if kind == "ARRAY" and "items" not in schema:
        return bad_field(f"{path}.items", "missing field.")
    if "enum" in schema and kind != "STRING":
        return bad_field(f"{path}.enum", "only allowed for STRING type")
    if kind == "STRING" and schema.get("format") not in (None, *STRING_FORMATS):
        return bad_field(f"{path}.format", "only 'enum' and 'date-time' are supported for STRING type")
    for i, name in enumerate(schema.get("required") or ()):
        if name not in properties:
            return bad_field(f"{path}.required[{i}]", "property is not defined")
    inner = [(one, f"{path}.properties[{name}]") for name, one in properties.items()]
    inner += [(one, f"{path}.any_of[{i}]") for i, one in enumerate(schema.get("anyOf") or ())]
    inner += [(schema["items"], f"{path}.items")] if "items" in schema else []
    return next((error for one, where in inner if (error := schema_error(one, where)) is not None), None)
