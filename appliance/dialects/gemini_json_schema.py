"""JSON Schema as Gemini takes it, in `parametersJsonSchema` and `responseJsonSchema`.

The rule: a schema means what it meant. References are replaced by what they refer to, since Google looks them up in few places only
("reference to undefined schema at properties.x": google-gemini/gemini-cli#13326) and refuses most keywords beside one
(anomalyco/opencode#12295); what refers to itself stays a reference, as no finite schema says the same. What Google has another word for
(`const`, `allOf` of one) is said in it. All else passes as it stands.
Supported keywords: ai.google.dev/gemini-api/docs/structured-output#json_schema_support.
"""

from collections.abc import Mapping
from typing import Any

import attrs

NODES_MAX = 50_000
"""Looked at in one request, with references replaced: definitions that are used twice within each other grow without bound. What is beyond
is left as it is, and Google judges it. Several hundred tools fit; it takes about 0.1 s."""

DEPTH_MAX = 100

_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas"})
_SINGLE = frozenset({"items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames", "unevaluatedProperties"})
_DEFINITIONS = ("$defs", "definitions")
_BESIDE = frozenset({"$ref", "description", "default"})
"""What may stand beside a reference that has to stay."""


class _Unbounded(Exception):
    """The schemas grow beyond NODES_MAX, or one beyond DEPTH_MAX. Never leaves this module."""


@attrs.define
class _Inliner:
    """Of one schema. left: nodes that may still be looked at; kept: some reference could not be replaced, so that the definitions are still
    needed.
    """

    root: Mapping[str, Any]
    left: int
    kept: bool = False
    _within: list[str] = attrs.field(factory=list)

    def schema(self, value: Any, depth: int = 0) -> Any:
        self.left -= 1
        if self.left < 0 or depth > DEPTH_MAX:
            raise _Unbounded
        if not isinstance(value, dict):  # true and false are schemas, too
            return value
        reference = value.get("$ref")
        if isinstance(reference, str):
            return self._referred(reference, value, depth)
        return _respelled({name: self._member(name, one, depth + 1) for name, one in value.items()})

    def _member(self, name: str, value: Any, depth: int) -> Any:
        if name in _LISTS and isinstance(value, list):
            return [self.schema(one, depth) for one in value]
        if name in _MAPS and isinstance(value, dict):
            return {key: self.schema(one, depth) for key, one in value.items()}
        if name in _SINGLE:
            return [self.schema(one, depth) for one in value] if isinstance(value, list) else self.schema(value, depth)
        return value

    def _referred(self, reference: str, node: Mapping[str, Any], depth: int) -> Any:
        """What is meant, with what else the node says of it; the reference alone where that has to stay."""
        found = self._look_up(reference)
        if reference in self._within or not isinstance(found, dict):
            self.kept = True
            return {name: one for name, one in node.items() if name in _BESIDE}
        self._within.append(reference)
        beside = {name: self._member(name, one, depth + 1) for name, one in node.items() if name != "$ref"}
        meant = self.schema(found, depth + 1)
        self._within.pop()
        return {**meant, **beside}

    def _look_up(self, reference: str) -> Any:
        """The place that a pointer within this document names (RFC 6901); None for any other."""
        if not reference.startswith("#/"):
            return self.root if reference == "#" else None
        found: Any = self.root
        for step in reference[2:].split("/"):
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        return found


def _respelled(schema: dict[str, Any]) -> dict[str, Any]:
    """The same in keywords that Google knows, where there are such."""
    const = schema.get("const")
    if "enum" not in schema and (isinstance(const, str) or (isinstance(const, int | float) and not isinstance(const, bool))):
        schema = {"enum" if name == "const" else name: [one] if name == "const" else one for name, one in schema.items()}
    every = schema.get("allOf")
    if isinstance(every, list) and len(every) == 1 and isinstance(every[0], dict) and "$ref" not in every[0]:
        schema = {**every[0], **{name: one for name, one in schema.items() if name != "allOf"}}
    return schema


@attrs.define
class Preparer:
    """Of one request's schemas. left: nodes that may still be looked at."""

    left: int = NODES_MAX

    def schema(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """The schema for Google. Its dialect's name, which says nothing about a value, is left out."""
        plain = {name: value for name, value in schema.items() if name != "$schema"}
        inliner = _Inliner(plain, self.left)
        definitions = {name: plain[name] for name in _DEFINITIONS if isinstance(plain.get(name), dict)}
        try:
            found = inliner.schema({name: value for name, value in plain.items() if name not in definitions})
        except _Unbounded:
            found = None
        self.left = max(inliner.left, 0)
        if found is None:
            return plain
        return {**found, **definitions} if inliner.kept else found

    def parameters(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same for a function's arguments, which are an object even where the schema forgot to say so."""
        found = self.schema(schema)
        return found if found.keys() & {"type", "$ref", *_LISTS} else {"type": "object", **found}
