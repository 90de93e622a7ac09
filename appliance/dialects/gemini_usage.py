"""Token counts in Gemini's way, there and back: candidates exclude thoughts, the prompt includes what the cache held, and what tools of
Google's fed into the model stands beside both.

The rule: a count that cannot be read is 0, and no counts at all are None. Source: ai.google.dev/api/generate-content#UsageMetadata.
"""

from collections.abc import Mapping
from typing import Any

from appliance.core.usage import Usage

TOKENS_MAX = 1_000_000_000_000
"""Above it a count is a mistake of the vendor's, and would spoil every sum it is added to."""


def read_usage(usage: object) -> Usage | None:
    """Of a `usageMetadata`. Vertex's first chunks have one that holds no counts."""
    if not isinstance(usage, dict):
        return None
    prompt, candidates = usage.get("promptTokenCount"), usage.get("candidatesTokenCount")
    if prompt is None and candidates is None and usage.get("totalTokenCount") is None:
        return None
    asked = _count(prompt)
    thoughts = _count(usage.get("thoughtsTokenCount"))
    answered = _count(candidates)
    fed = _count(usage.get("toolUsePromptTokenCount"))
    total = _count(usage.get("totalTokenCount"))
    if candidates is None and total > asked + thoughts + fed:  # an answer without a candidate's count
        answered = total - asked - thoughts - fed
    return Usage(
        input_tokens=asked + fed,
        output_tokens=answered + thoughts,
        cached_input_tokens=min(_count(usage.get("cachedContentTokenCount")), asked + fed),
        reasoning_tokens=thoughts,
        input_audio_tokens=_of_kind("AUDIO", usage.get("promptTokensDetails")) + _of_kind("AUDIO", usage.get("toolUsePromptTokensDetails")),
        output_audio_tokens=_of_kind("AUDIO", usage.get("candidatesTokensDetails")),
        cached_audio_tokens=_of_kind("AUDIO", usage.get("cacheTokensDetails")),
        input_image_tokens=_of_kind("IMAGE", usage.get("promptTokensDetails")),
        output_image_tokens=_of_kind("IMAGE", usage.get("candidatesTokensDetails")),
    )


def write_usage(usage: Usage) -> dict[str, Any]:
    """Details by kind only where something is known of them: nothing says how many of the other tokens were text."""
    out: dict[str, Any] = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": max(usage.output_tokens - usage.reasoning_tokens, 0),
        "totalTokenCount": usage.total_tokens,
    }
    if usage.reasoning_tokens:
        out["thoughtsTokenCount"] = usage.reasoning_tokens
    if usage.cached_input_tokens:
        out["cachedContentTokenCount"] = usage.cached_input_tokens
    for name, heard, seen in (
        ("promptTokensDetails", usage.input_audio_tokens, usage.input_image_tokens), ("cacheTokensDetails", usage.cached_audio_tokens, 0),
        ("candidatesTokensDetails", usage.output_audio_tokens, usage.output_image_tokens),
    ):  # fmt: skip
        if kinds := [{"modality": kind, "tokenCount": count} for kind, count in (("AUDIO", heard), ("IMAGE", seen)) if count]:
            out[name] = kinds
    return out


def _of_kind(modality: str, details: object) -> int:
    if not isinstance(details, list):
        return 0
    return sum(_count(one.get("tokenCount")) for one in details if isinstance(one, Mapping) and one.get("modality") == modality)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 <= value <= TOKENS_MAX else 0
