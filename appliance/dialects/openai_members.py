"""Members of chat messages that some vendors answer with and others refuse: thoughts, and what proves them, in a history that moves on.

The rule: only what a vendor is known to refuse is taken out, and told; it would have failed the request ("property 'reasoning_content' is
unsupported": Groq, janhq/jan#8136; "400 invalid params" for reasoning_details: google-gemini/gemini-cli#23523). All else stays as it came.
"""

from collections.abc import Collection, Mapping
from typing import Any


def without_members(fields: Mapping[str, Any], names: Collection[str]) -> tuple[dict[str, Any], tuple[str, ...]] | None:
    """The request's `messages` without these members of the assistant's turns and their calls, and what was left out; None where they have
    none.
    """
    messages = fields.get("messages")
    dropped: list[str] = []
    kept = [_without(one, names, f"messages[{place}]", dropped) for place, one in enumerate(messages)] if isinstance(messages, list) else []
    return ({"messages": kept}, tuple(dropped)) if dropped else None


def _without(message: Any, names: Collection[str], path: str, dropped: list[str]) -> Any:
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return message
    kept = _cut(message, names, path, dropped)
    calls = kept.get("tool_calls")
    if not isinstance(calls, list):
        return kept
    cut = [_cut(call, names, f"{path}.tool_calls[{place}]", dropped) for place, call in enumerate(calls)]
    return {**kept, "tool_calls": cut} if any(one is not call for one, call in zip(cut, calls, strict=True)) else kept


def _cut(value: Any, names: Collection[str], path: str, dropped: list[str]) -> Any:
    """The very same object where it has none of them."""
    found = [name for name in names if name in value] if isinstance(value, dict) else []
    dropped += [f"{path}.{name}" for name in found if value[name] is not None]
    return {name: one for name, one in value.items() if name not in found} if found else value
