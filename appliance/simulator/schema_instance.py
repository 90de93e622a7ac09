"""A small value that satisfies a JSON schema, the same one every time. Pure.

Required properties only, the shortest arrays, the first enum member. `pattern`, `not` and `if` are not solved: a schema that needs them may
get an instance that a validator refuses.
"""

import math
from collections.abc import Mapping
from random import Random
from typing import Any

from appliance.simulator.prose import pick, word

DEPTH_MAX = 24  # a schema that requires itself never ends otherwise
STRING_MAX = 10_000
ITEMS_MAX = 1000

FORMATS = {
    "date": "2025-01-15",
    "date-time": "2025-01-15T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "amber@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "6f1ed002-ab50-4cf5-8d2c-1c4a2a3d5e6f",
}


def instance(schema: Any, chance: Random, root: Any = None, depth: int = 0) -> Any:
    """`schema` may be true (anything) as in JSON Schema; `root` is where `$ref` starts from, the schema itself by default."""
    root = schema if root is None else root
    if not isinstance(schema, Mapping) or depth > DEPTH_MAX:
        return word(chance) if depth <= DEPTH_MAX else None
    schema = resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return instance({**without(schema, key), **resolved(schema[key][0], root)}, chance, root, depth + 1)
    kind = kind_of(schema)
    if kind == "object":
        return an_object(schema, chance, root, depth)
    if kind == "array":
        return an_array(schema, chance, root, depth)
    if kind == "string":
        return a_string(schema, chance)
    if kind in ("integer", "number"):
        return a_number(schema, chance, whole=kind == "integer")
    if kind == "boolean":
        return True
    return None


def resolved(schema: Any, root: Any) -> dict[str, Any]:
    """`$ref` (inside the document only) and `allOf` taken in; the outer keywords win, property tables and `required` are joined."""
    merged = dict(schema) if isinstance(schema, Mapping) else {}
    for _ in range(DEPTH_MAX):
        if "$ref" in merged:
            target = pointed(root, str(merged.pop("$ref")))
            merged = joined(target if isinstance(target, Mapping) else {}, merged)
        elif "allOf" in merged:
            for part in reversed(merged.pop("allOf")):
                merged = joined(resolved(part, root), merged)
        else:
            break
    return merged


def joined(inner: Mapping[str, Any], outer: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**inner, **outer}
    if "properties" in inner and "properties" in outer:
        merged["properties"] = {**inner["properties"], **outer["properties"]}
    if "required" in inner and "required" in outer:
        merged["required"] = [*inner["required"], *(r for r in outer["required"] if r not in inner["required"])]
    return merged


def pointed(root: Any, reference: str) -> Any:
    """A JSON pointer of the form #/a/b; True (anything) when it leads nowhere."""
    here = root
    for step in reference.removeprefix("#").split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(here, Mapping) or step not in here:
            return True
        here = here[step]
    return here


def without(schema: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in schema.items() if k != key}


def kind_of(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema or "required" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    if "minimum" in schema or "maximum" in schema or "multipleOf" in schema:
        return "number"
    return "string"


def an_object(schema: Mapping[str, Any], chance: Random, root: Any, depth: int) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    return {name: instance(properties.get(name, True), chance, root, depth + 1) for name in schema.get("required") or ()}


def an_array(schema: Mapping[str, Any], chance: Random, root: Any, depth: int) -> list[Any]:
    least = min(int(schema.get("minItems") or 0), ITEMS_MAX)
    first = schema.get("prefixItems") or []
    items = schema.get("items", True)
    made: list[Any] = []
    for i in range(max(least, len(first))):
        value = instance(first[i] if i < len(first) else items, chance, root, depth + 1)
        if schema.get("uniqueItems") and value in made:
            value = f"{value}{i}" if isinstance(value, str) else value + i if isinstance(value, int | float) else value
        made.append(value)
    return made


def a_string(schema: Mapping[str, Any], chance: Random) -> str:
    known = FORMATS.get(str(schema.get("format")))
    if known is not None:
        return known
    text = word(chance)
    least = min(int(schema.get("minLength") or 0), STRING_MAX)
    while len(text) < least:
        text += " " + word(chance)
    most = schema.get("maxLength")
    return text if most is None else text[: max(int(most), least)]


def a_number(schema: Mapping[str, Any], chance: Random, *, whole: bool) -> int | float:
    """Inside the bounds, near the lower one."""
    step = schema.get("multipleOf") or (1 if whole else 0)
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if isinstance(above, int | float) and not isinstance(above, bool):
        low = max(above + (step or abs(above) * 1e-6 or 1e-6), above if low is None else low)
    if isinstance(below, int | float) and not isinstance(below, bool):
        high = min(below - (step or abs(below) * 1e-6 or 1e-6), below if high is None else high)
    if low is None:
        low = 0 if high is None or high >= 0 else high - 10 * (step or 1)
    if step:
        first = math.ceil(low / step)
        last = first + 9 if high is None else min(first + 9, math.floor(high / step))
        value: float = (first + pick(chance, max(1, last - first + 1))) * step
    else:
        value = low + 0.5 if high is None or low + 0.5 <= high else low
    return int(value) if whole else value
