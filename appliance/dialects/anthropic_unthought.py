"""Requests of Anthropic's own callers that Claude would refuse, since another vendor's model began the turn that is under way, without
thinking ("When `thinking` is enabled, a final `assistant` message must start with a thinking block").

The rule: for the rest of that turn the thinking is switched off, as Anthropic's own guide says it has to be; all else stays as it came
(platform.claude.com/docs/en/build-with-claude/extended-thinking, "Toggling thinking modes in conversations").
"""

from collections.abc import Mapping
from typing import Any

_THOUGHTS = ("thinking", "redacted_thinking")
_CLEARS = "clear_thinking"
"""Edits of the context that are refused while nothing is thought begin so ("clear_thinking_20251015 strategy requires `thinking` to be
enabled or adaptive")."""


def unthought(fields: Mapping[str, Any], model: str) -> tuple[dict[str, Any], tuple[str, ...]] | None:
    """The fields to be replaced for this model, and what that leaves out; None for nothing. Other vendors' models that are spoken to in
    this language do not look."""
    thinking = fields.get("thinking")
    if not isinstance(thinking, dict) or thinking.get("type") != "enabled" or "claude" not in model:
        return None
    if not _began_unthought(fields.get("messages")):
        return None
    replaced = switched_off(fields)
    return replaced, tuple(replaced)


def switched_off(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that switch thinking off, with what may not go without it."""
    replaced: dict[str, Any] = {"thinking": {"type": "disabled"}}
    managed = fields.get("context_management")
    if (kept := without_clearing(managed)) != managed:
        replaced["context_management"] = kept
    return replaced


def without_clearing(managed: Any) -> Any:
    """`context_management` where nothing is thought; None where nothing is left of it."""
    edits = managed.get("edits") if isinstance(managed, dict) else None
    kept = [one for one in edits if not _clears(one)] if isinstance(edits, list) else edits
    if kept == edits:
        return managed
    return {**managed, "edits": kept} if kept else None


def _clears(edit: Any) -> bool:
    kind = edit.get("type") if isinstance(edit, dict) else None
    return isinstance(kind, str) and kind.startswith(_CLEARS)


def _began_unthought(messages: Any) -> bool:
    """Whether results are to be answered whose calls came without a thought before them."""
    if not isinstance(messages, list) or len(messages) < 2:
        return False
    asked, results = messages[-2:]
    return bool(_kinds(results)) and "tool_result" in _kinds(results) and _kinds(asked)[:1] not in ([], *([kind] for kind in _THOUGHTS))


def _kinds(message: Any) -> list[Any]:
    """Types of a message's blocks; a plain text has none."""
    content = message.get("content") if isinstance(message, dict) else None
    return [one.get("type") for one in content if isinstance(one, dict)] if isinstance(content, list) else []
