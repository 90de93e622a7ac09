"""Settings that are in a file, are checked, and do nothing yet: an operator must not believe in a limit that is not there.

One rule: only what was written counts, never a default; and a setting written as off (0, false, empty) is in force as it is.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from appliance.config.knob import about
from appliance.config.problem import Steps, written
from appliance.config.schema import Config


def not_enforced(config: Config, provenance: Mapping[Steps, str]) -> list[tuple[str, str]]:
    """Path and the name of the feature it waits for, in the order of the schema. `provenance` is that of `Loaded`."""
    return list(_waiting(config, (), provenance))


def not_enforced_lines(found: list[tuple[str, str]]) -> list[str]:
    """One line a feature, for the start-up log and `check`."""
    features: dict[str, list[str]] = {}
    for path, feature in found:
        features.setdefault(feature, []).append(path)
    return [f"not enforced yet ({feature}): {', '.join(paths)}" for feature, paths in features.items()]


def _waiting(value: Any, at: Steps, provenance: Mapping[Steps, str]) -> Iterator[tuple[str, str]]:
    if at and at not in provenance:
        return
    if attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            inner, steps = getattr(value, field.name), (*at, field.name)
            later = about(field).later
            if not later:
                yield from _waiting(inner, steps, provenance)
            elif inner and steps in provenance:
                yield written(steps), later
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _waiting(inner, (*at, key), provenance)
    elif isinstance(value, tuple):
        for index, inner in enumerate(value):
            yield from _waiting(inner, (*at, index), provenance)
