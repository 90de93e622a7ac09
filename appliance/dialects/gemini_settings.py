"""What an operator sets in a Gemini caller's own request: the bound on the answer, and fields.

The rule: settings stand in one member, `generationConfig`; an operator's field there leaves the caller's others alone.
"""

from collections.abc import Mapping
from typing import Any

from appliance.dialects.overrides import grouped
from appliance.dialects.protocol import ParsedRequest, Rewrite

CONFIG = ("generationConfig", "generation_config")
"""proto3 takes a field's name in both spellings."""

BOUND = ("maxOutputTokens", "max_output_tokens")


def set_members(parsed: ParsedRequest, wanted: Rewrite) -> dict[str, Any]:
    """The top-level members to set, whole. An operator's own bound goes before the cap."""
    used = [name for name in CONFIG if name in parsed.fields] or [CONFIG[0]]
    overrides = {used[0] if name in CONFIG else name: value for name, value in wanted.overrides.items()}
    changed = grouped(parsed.fields, overrides)
    if wanted.max_tokens is None or parsed.operation != "chat":
        return changed
    for name in used:
        config = changed.get(name, parsed.fields.get(name) or {})
        given = overrides.get(name)
        if isinstance(config, Mapping) and not (isinstance(given, Mapping) and any(bound in given for bound in BOUND)):
            bounded = _bounded(config, wanted.max_tokens)
            if bounded != config:
                changed[name] = bounded
    return changed


def _bounded(config: Mapping[str, Any], most: int) -> dict[str, Any]:
    """What is not a count within the cap is replaced by it, in whichever spelling the caller used."""
    named = [name for name in BOUND if name in config] or [BOUND[0]]
    return {**config, **{name: most for name in named if not _within(config.get(name), most)}}


def _within(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most
