"""Which requests may be answered with what was answered before, and what of them cannot change the answer. Pure.

The rule: in doubt a request is another one. A field is left out of what is compared only where its language's documentation says that it
serves accounting, routing or abuse detection, and the answer does not repeat it; what refers to something that a provider keeps is never
answered again, since that may have changed.
"""

from collections.abc import Mapping
from typing import Any

from appliance.dialects.protocol import COUNT, EMBEDDINGS, RERANK, UPLOADS

COMPUTED = frozenset({EMBEDDINGS, COUNT, RERANK, "moderations"})
"""Operations without chance in them: the same question has the same answer until the model changes."""

UNSAID: Mapping[str, frozenset[str]] = {
    "openai_chat": frozenset({
        "stream", "user", "safety_identifier", "metadata", "prompt_cache_key", "prompt_cache_retention", "store",
    }),
    "openai_responses": frozenset({"stream"}),
    "anthropic_messages": frozenset({"stream", "metadata"}),
}  # fmt: skip
"""By the caller's language: what is not compared. `stream` is compared beside the body. The Responses API repeats user, metadata and the
like in its answers. `store` is no part of a chat's answer, and a request with it set is not repeatable at all."""

WHOLE_ONLY = frozenset({"stream_options"})
"""Not compared either where the answer is whole."""

HEADERS_UNSAID = frozenset({
    b"traceparent", b"tracestate", b"x-app", b"originator", b"session-id", b"thread-id", b"x-client-request-id", b"x-session-id",
    b"x-session-affinity", b"x-claude-code-session-id", b"user-agent",
})  # fmt: skip
HEADERS_UNSAID_PREFIXES = (b"x-stainless-", b"x-codex-")
"""Forwarded headers that tell of the client, its session or its trace, and not of the answer that is wanted."""

_GROUPS = ("generationConfig", "generation_config")
"""Gemini's two spellings of where its settings stand."""

_SEEDED = frozenset({"openai_chat", "gemini"})
"""Languages with a seed; in others the word means nothing, and goes nowhere."""

_OWN_TOOLS = frozenset({"function", "custom"})
_STATEFUL: Mapping[str, tuple[str, ...]] = {
    "openai_chat": ("store",),
    "openai_responses": ("previous_response_id", "conversation", "background", "prompt"),
    "anthropic_messages": ("container", "mcp_servers"),
    "gemini": ("cachedContent", "cached_content"),
}
"""What names something that the provider keeps, or makes it keep the answer."""


def repeatable(language: str, operation: str, fields: Mapping[str, Any], *, always: bool, chancy: bool = False) -> bool:
    """Whether a request of this kind may be answered with an earlier answer.

    Args:
        language: the caller's.
        always: also where chance is part of the answer.
        chancy: what the caller says about chance is not what counts.
    """
    if operation in UPLOADS or any(fields.get(name) for name in _STATEFUL.get(language, ())):
        return False
    if language == "openai_responses" and operation == "chat" and fields.get("store") is not False:
        return False  # kept by default: the answer's id is good for going on from
    if always or operation in COMPUTED:
        return True
    return not chancy and without_chance(language, fields) and _without_foreign_tools(language, fields)


def without_chance(language: str, fields: Mapping[str, Any]) -> bool:
    """Whether a generation has no chance in it: no temperature, or a seed where the language has one. Most requests have neither, and are
    done with here."""
    settings = _gemini_settings(fields) if language == "gemini" else fields
    temperature = settings.get("temperature")
    if temperature == 0 and temperature is not False:
        return True
    return "seed" in settings and language in _SEEDED and type(settings["seed"]) is int


def _gemini_settings(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Empty where there are two groups: which of them counts is for the provider to say."""
    groups = [fields[name] for name in _GROUPS if name in fields]
    return groups[0] if len(groups) == 1 and isinstance(groups[0], Mapping) else {}


def _without_foreign_tools(language: str, fields: Mapping[str, Any]) -> bool:
    """Tools that the provider runs (search, code) look at a world that changes."""
    if fields.get("web_search_options"):
        return False
    tools = fields.get("tools")
    if not tools:
        return True
    if not isinstance(tools, list):
        return False
    if language == "gemini":
        declared = {"functionDeclarations", "function_declarations"}
        return all(isinstance(one, dict) and one.keys() <= declared for one in tools)
    return all(isinstance(one, dict) and one.get("type", "custom") in _OWN_TOOLS for one in tools)
