"""JSON schemas in the part of the language that Anthropic enforces (platform.claude.com/docs/en/build-with-claude/structured-outputs).

The rule: objects are closed, and what cannot be enforced (bounds of numbers, lengths, patterns of strings) is told in the description, as
Anthropic's own SDKs do it; a schema that would then mean something else (an object of any members, one inside itself) is none here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from appliance.dialects.anthropic_json import DEPTH_MAX, dump_text
from appliance.dialects.fields import Unfit

_KEPT = frozenset({"type", "enum", "const", "$ref", "description", "title", "default", "required"})
_LISTS = {"anyOf": "anyOf", "oneOf": "anyOf", "allOf": "allOf"}
_NAMED = ("properties", "$defs", "definitions")
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_SILENT = frozenset({"$schema", "$id", "$comment", "examples", "additionalProperties"})


class _OtherMeaning(Exception):
    """The schema cannot be enforced as it is meant."""


def enforced(schema: Mapping[str, Any], dropped: list[str], path: str) -> dict[str, Any] | None:
    """The schema, or None where enforcing it would give it another meaning. path: its own, for `dropped`, which hears of every member that
    is only told. Raises Unfit where it is nested too deeply."""
    told: set[str] = set()
    try:
        found = _written(schema, told, DEPTH_MAX, path)
    except _OtherMeaning:
        return None
    if _recursive(schema):
        return None
    dropped += [f"{path}.{name}" for name in sorted(told)]
    return found


def _written(schema: Any, told: set[str], levels: int, path: str) -> dict[str, Any]:
    if levels == 0:
        raise Unfit(path, f"is nested more than {DEPTH_MAX} levels deep")
    if not isinstance(schema, Mapping):  # true and false are schemas, too
        raise _OtherMeaning
    out: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _KEPT or (name == "format" and value in _FORMATS) or (name == "minItems" and value in (0, 1)):
            out[name] = value
        elif name in _LISTS and isinstance(value, list):
            out[_LISTS[name]] = [_written(one, told, levels - 1, path) for one in value]
        elif name in _NAMED and isinstance(value, Mapping):
            out[name] = {key: _written(one, told, levels - 1, path) for key, one in value.items()}
        elif name == "items":
            out[name] = _written(value, told, levels - 1, path)
        elif name not in _SILENT:
            rest[name] = value
    if _is_object(schema):
        if schema.get("additionalProperties") not in (None, False):
            if not out.get("properties"):  # a map: closed, it could only be empty
                raise _OtherMeaning
            rest["additionalProperties"] = schema["additionalProperties"]
        out["additionalProperties"] = False
    if rest:
        told.update(rest)
        words = "{" + ", ".join(f"{name}: {dump_text(value)}" for name, value in rest.items()) + "}"
        out["description"] = f"{out['description']}\n\n{words}" if out.get("description") else words
    return out


def _is_object(schema: Mapping[str, Any]) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or (kind is None and "properties" in schema)


def _recursive(schema: Mapping[str, Any]) -> bool:
    """Whether a definition leads back to itself, or a reference to something that is no definition."""
    groups = [(group, schema[group]) for group in ("$defs", "definitions") if isinstance(schema.get(group), Mapping)]
    leads = {f"#/{group}/{name}": set(_references(one, DEPTH_MAX)) for group, named in groups for name, one in named.items()}
    if not leads.keys() >= set(_references(schema, DEPTH_MAX)):
        return True
    while ended := [name for name, to in leads.items() if not to & leads.keys()]:
        for name in ended:
            del leads[name]
    return bool(leads)


def _references(value: Any, levels: int) -> Iterator[str]:
    """Every `$ref` below."""
    if isinstance(value, Mapping) and levels:
        if isinstance(reference := value.get("$ref"), str):
            yield reference
        for one in value.values():
            yield from _references(one, levels - 1)
    elif isinstance(value, list) and levels:
        for one in value:
            yield from _references(one, levels - 1)
