"""Two views of a configuration that are safe to show: a JSON-ready dump, and what differs between two of them.

One rule: a secret is shown as a mask, whatever it holds; that it changed may be told, from what to what may not.
"""

from collections.abc import Iterator, Mapping
from datetime import date, time
from typing import Any

import attrs

from appliance.config.problem import written
from appliance.config.schema import Config
from appliance.config.secret import MASK, Secret


@attrs.frozen
class Change:
    """One setting that differs. `old` and `new` are JSON-ready and masked; None where the setting is not there."""

    path: str
    old: Any
    new: Any

    def __str__(self) -> str:
        if self.old is None:
            return f"{self.path}: added" + ("" if self.new == MASK or isinstance(self.new, dict) else f", {self.new!r}")
        if self.new is None:
            return f"{self.path}: removed"
        return f"{self.path}: changed" if MASK in (self.old, self.new) else f"{self.path}: {self.old!r} → {self.new!r}"


def masked_dict(config: Config) -> dict[str, Any]:
    """The whole configuration as JSON-ready values, secrets masked, dates in ISO 8601."""
    dumped: dict[str, Any] = masked(config)
    return dumped


def masked(value: Any) -> Any:
    match value:
        case Secret():
            return MASK
        case Mapping():
            return {key: masked(inner) for key, inner in value.items()}
        case tuple() | list():
            return [masked(inner) for inner in value]
        case date() | time():
            return value.isoformat()
        case _ if attrs.has(type(value)):
            return {field.name: masked(getattr(value, field.name)) for field in attrs.fields(type(value))}
    return value


def diff(old: Config, new: Config) -> list[Change]:
    """What differs, in the order of the schema. Routes, experiments and keys are told apart by their names, not by their places."""
    return list(_differences(old, new, ""))


def _differences(old: Any, new: Any, path: str) -> Iterator[Change]:
    if attrs.has(type(old)) and type(old) is type(new):
        for field in attrs.fields(type(old)):
            yield from _differences(getattr(old, field.name), getattr(new, field.name), _below(path, field.name))
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(old.get(key), new.get(key), _below(path, key))
    elif (before := _named(old)) is not None and (after := _named(new)) is not None:
        for name in dict.fromkeys([*before, *after]):
            yield from _differences(before.get(name), after.get(name), f"{path}[{name}]")
        if list(before) != list(after) and before.keys() == after.keys():
            yield Change(path, list(before), list(after))
    elif _are_tables(old) and _are_tables(new) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from _differences(*pair, f"{path}[{index}]")
    elif old != new:
        yield Change(path, masked(old), masked(new))


def _below(path: str, key: str) -> str:
    return f"{path}.{written((key,))}" if path else written((key,))


def _are_tables(value: Any) -> bool:
    return isinstance(value, tuple) and all(attrs.has(type(element)) for element in value)


def _named(value: Any) -> dict[str, Any] | None:
    """Elements by their name or id; None for anything but a tuple of elements that have one, each its own."""
    if not isinstance(value, tuple):
        return None
    names: list[str] = [getattr(element, "name", "") or getattr(element, "id", "") for element in value]
    return dict(zip(names, value, strict=True)) if all(names) and len(set(names)) == len(names) else None
