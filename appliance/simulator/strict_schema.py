"""What OpenAI demands of a schema that is to be kept strictly: closed objects whose properties are all required. Pure.

https://platform.openai.com/docs/guides/structured-outputs lists the rules; the words follow the service's refusals.
"""

from collections.abc import Iterator, Mapping
from typing import Any

NAMED_SCHEMAS = ("properties", "$defs", "definitions")
LISTED_SCHEMAS = ("anyOf", "prefixItems")


def strict_problem(schema: Mapping[str, Any]) -> str | None:
    """The first object that is not strict, None when all are. The schema is a good one otherwise (`schema_instance.schema_problem`)."""
    if schema.get("type") != "object":
        return "schema must be a JSON Schema of 'type: \"object\"'."
    for here, path in objects(schema):
        properties = here.get("properties") or {}
        if here.get("additionalProperties") is not False:
            return f"In context={path!r}, 'additionalProperties' is required to be supplied and to be false."
        absent = [name for name in properties if name not in here.get("required", ())]
        if absent:
            return (
                f"In context={path!r}, 'required' is required to be supplied and to be an array including every key in properties. "
                f"Missing '{absent[0]}'."
            )
    return None


def objects(schema: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], tuple[str, ...]]]:
    """Every object in the schema, and the path to it."""
    pending: list[tuple[Any, tuple[str, ...]]] = [(schema, ())]
    while pending:
        here, path = pending.pop(0)
        if not isinstance(here, Mapping):
            continue
        if here.get("type") == "object" or "properties" in here:
            yield here, path
        for key in NAMED_SCHEMAS:
            pending += [(inner, (*path, key, name)) for name, inner in here.get(key, {}).items()]
        for key in LISTED_SCHEMAS:
            pending += [(inner, (*path, key, str(i))) for i, inner in enumerate(here.get(key, ()))]
        if "items" in here:
            pending.append((here["items"], (*path, "items")))
