"""Token counts in Anthropic's way of counting, both ways.

The rule: Anthropic's `input_tokens` leaves out what was read from and written to the cache (platform.claude.com/docs, prompt caching);
here `input_tokens` holds all three. A figure that cannot be read is 0, and no figures at all are None.
"""

from collections.abc import Mapping
from typing import Any

from appliance.core.usage import Usage

TOKENS_MAX = 1_000_000_000_000
"""Above it a count is a mistake of the vendor's, and would spoil every sum it is added to."""

MEMBERS = (
    "input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens", "output_tokens_details", "iterations",
    "service_tier", "cache_creation", "server_tool_use", "speed",
)  # fmt: skip
"""What is read of a usage object."""

SERVED_TIERS = frozenset({"standard", "priority", "batch"})


def read_usage(usage: object) -> Usage | None:
    """One usage object. Tokens of a compaction are billed but stand outside the top-level counts: they are added ("sum across all entries
    in the usage.iterations array": platform.claude.com/docs/en/build-with-claude/compaction)."""
    if not isinstance(usage, Mapping) or not (isinstance(usage.get("input_tokens"), int) or isinstance(usage.get("output_tokens"), int)):
        return None
    plain, read, written, output, long = _counts(usage)
    iterations = usage.get("iterations")
    for iteration in iterations if isinstance(iterations, list) else ():
        if isinstance(iteration, Mapping) and iteration.get("type") == "compaction":
            more = _counts(iteration)
            plain, read, written, output, long = (have + one for have, one in zip((plain, read, written, output, long), more, strict=True))
    details = usage.get("output_tokens_details")
    thought = _count(details, "thinking_tokens") if isinstance(details, Mapping) else 0
    tools = usage.get("server_tool_use")
    searches = _count(tools, "web_search_requests") if isinstance(tools, Mapping) else 0
    return Usage(
        plain + read + written, output, read, written, min(thought, output), cache_write_1h_tokens=min(long, written),
        web_searches=searches, tier="fast" if usage.get("speed") == "fast" else "",
    )  # fmt: skip


def write_usage(usage: Usage | None) -> dict[str, Any]:
    """The usage object of an answer; zeros where nothing is known, since the language demands both totals."""
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    read = min(usage.cached_input_tokens, usage.input_tokens)
    written = min(usage.cache_write_tokens, usage.input_tokens - read)
    counts: dict[str, Any] = {
        "input_tokens": usage.input_tokens - read - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage.output_tokens,
    }
    if usage.cache_write_1h_tokens:
        long = min(usage.cache_write_1h_tokens, written)
        counts["cache_creation"] = {"ephemeral_5m_input_tokens": written - long, "ephemeral_1h_input_tokens": long}
    if usage.web_searches:
        counts["server_tool_use"] = {"web_search_requests": usage.web_searches, "web_fetch_requests": 0}
    if usage.reasoning_tokens:
        counts["output_tokens_details"] = {"thinking_tokens": min(usage.reasoning_tokens, usage.output_tokens)}
    return counts


def tier_of(usage: object) -> str:
    """The tier that served the answer, which Anthropic tells inside its usage; empty when it does not."""
    tier = usage.get("service_tier") if isinstance(usage, Mapping) else None
    return tier if isinstance(tier, str) else ""


def merge_usage(known: dict[str, Any], more: object) -> None:
    """Take a later usage object of the same stream in: its counts are totals so far, and those it leaves out stand."""
    if isinstance(more, Mapping):
        known.update({name: more[name] for name in MEMBERS if more.get(name) is not None})


def _counts(usage: Mapping[str, Any]) -> tuple[int, int, int, int, int]:
    """Plain input, read from the cache, written to it, output, and what of the written is kept for an hour."""
    read, written = _count(usage, "cache_read_input_tokens"), _count(usage, "cache_creation_input_tokens")
    kept = usage.get("cache_creation")
    long = _count(kept, "ephemeral_1h_input_tokens") if written and isinstance(kept, Mapping) else 0
    return _count(usage, "input_tokens"), read, written, _count(usage, "output_tokens"), long


def _count(counts: Mapping[str, Any], name: str) -> int:
    value = counts.get(name)
    return value if type(value) is int and 0 <= value <= TOKENS_MAX else 0
