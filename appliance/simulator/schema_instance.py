"""A small value that satisfies a JSON schema, the same one every time. Pure.

Required properties only, the shortest arrays, the first enum member. `pattern`, `not` and `if` are not solved: a schema that needs them may
get an instance that a validator refuses.
"""

import math
from collections.abc import Mapping
from random import Random
from typing import Any

import attrs

from appliance.simulator.prose import pick, word

DEPTH_MAX = 24  # a schema that requires itself never ends otherwise
NODES_MAX = 10_000  # and one that requires itself twice doubles at each depth
RESOLVE_MAX = 100  # references and parts of `allOf` taken into one schema
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


# What the values of the keywords that are used here must be.
KEYWORDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("properties", "$defs", "definitions"), (dict,)),
    **dict.fromkeys(("required", "enum", "anyOf", "oneOf", "allOf", "prefixItems"), (list,)),
    **dict.fromkeys(("minItems", "minLength", "maxLength"), (int,)),
    **dict.fromkeys(("minimum", "maximum", "multipleOf"), (int, float)),
}


def instance(schema: Any, chance: Random) -> Any:
    """`schema` may be true (anything), as in JSON Schema."""
    return Maker(schema, chance).value(schema, 0)


@attrs.define
class Maker:
    """Makes one instance. `root` is where `$ref` starts from, `nodes` how many values were made."""

    root: Any
    chance: Random
    nodes: int = 0

    def value(self, schema: Any, depth: int) -> Any:
        """None where the schema is too deep or too large, which need not fit it."""
        self.nodes += 1
        if depth > DEPTH_MAX or self.nodes > NODES_MAX:
            return None
        if not isinstance(schema, Mapping):
            return word(self.chance)
        schema = resolved(schema, self.root)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                return self.value({**without(schema, key), **resolved(schema[key][0], self.root)}, depth + 1)
        match kind_of(schema):
            case "object":
                properties = schema.get("properties") or {}
                return {name: self.value(properties.get(name, True), depth + 1) for name in schema.get("required") or ()}
            case "array":
                return self.items(schema, depth)
            case "string":
                return a_string(schema, self.chance)
            case "integer":
                return a_number(schema, self.chance, whole=True)
            case "number":
                return a_number(schema, self.chance, whole=False)
            case "boolean":
                return True
        return None

    def items(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        least = min(int(schema.get("minItems") or 0), ITEMS_MAX)
        first = schema.get("prefixItems") or []
        made: list[Any] = []
        for i in range(max(least, len(first))):
            value = self.value(first[i] if i < len(first) else schema.get("items", True), depth + 1)
            if schema.get("uniqueItems") and value in made:
                value = f"{value}{i}" if isinstance(value, str) else value + i if isinstance(value, int | float) else value
            made.append(value)
        return made


def schema_problem(schema: Any) -> str | None:
    """What keeps this from being a JSON schema, None when nothing does. The schema may be anything that JSON can say."""
    pending = [schema]
    while pending:
        here = pending.pop()
        if not isinstance(here, Mapping):
            if not isinstance(here, bool):
                return f"{here!r:.60} is not of type 'object', 'boolean'."
            continue
        for key, kind in KEYWORDS.items():
            if key in here and (not isinstance(here[key], kind) or isinstance(here[key], bool)):
                return f"{here[key]!r:.60} cannot be the value of '{key}'."
        if not all(isinstance(name, str) for name in here.get("required", ())):
            return "'required' holds strings."
        for key in ("properties", "$defs", "definitions"):
            pending += here.get(key, {}).values()
        for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
            pending += here.get(key, ())
        if "items" in here:
            pending.append(here["items"])
    return None


def resolved(schema: Any, root: Any) -> dict[str, Any]:
    """`$ref` (inside the document only) and `allOf` taken in; the outer keywords win, property tables and `required` are joined."""
    merged: dict[str, Any] = {}
    pending = [schema]
    for _ in range(RESOLVE_MAX):
        if not pending:
            break
        part = pending.pop(0)
        if isinstance(part, Mapping):
            merged = joined(without(without(part, "$ref"), "allOf"), merged)
            pending += [pointed(root, str(part["$ref"]))] if "$ref" in part else []
            pending += part.get("allOf") or []
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
