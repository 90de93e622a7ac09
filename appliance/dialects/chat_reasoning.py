"""How hard to think, in the spellings of the vendors that speak chat completions.

The rule: a caller's wish is read in any spelling, OpenAI's own first; a backend is told in OpenAI's (`reasoning_effort`) unless its row
renames that field to `reasoning` (OpenRouter), `thinking` (Z.ai, Moonshot, DeepSeek) or `enable_thinking` (Alibaba).
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

from appliance.core.conversation import Effort, ReasoningWish
from appliance.core.effort import effort_for, nearest
from appliance.dialects.fields import flag, integer, mapping, one_of, optional, text

EFFORTS: tuple[str, ...] = get_args(Effort)

SPELLINGS = frozenset({"reasoning_effort", "reasoning", "thinking", "enable_thinking", "thinking_budget", "include_reasoning"})
"""Top-level fields that are read here."""


def read_wish(fields: Mapping[str, Any]) -> ReasoningWish | None:
    wish: dict[str, Any] = {}
    _read_alibaba(fields, wish)
    _read_thinking(fields, wish)
    _read_openrouter(fields, wish)
    effort = _effort(fields, "reasoning_effort", "")
    if effort is not None:
        wish["effort"] = effort
    return ReasoningWish(**wish) if wish else None


def _effort(fields: Mapping[str, Any], name: str, path: str) -> Effort | None:
    word = optional(text, fields, name, path)
    if word is None or word == "default":  # Groq's word for leaving it to the model
        return None
    return cast(Effort, one_of(word, EFFORTS, f"{path}.{name}" if path else name))


def _read_alibaba(fields: Mapping[str, Any], wish: dict[str, Any]) -> None:
    """help.aliyun.com/zh/model-studio/deep-thinking; SiliconFlow and vLLM's front ends take the same."""
    enabled, budget = optional(flag, fields, "enable_thinking"), optional(integer, fields, "thinking_budget")
    if enabled is not None:
        wish["enabled"] = enabled
    if budget is not None:
        wish["budget_tokens"] = budget


def _read_thinking(fields: Mapping[str, Any], wish: dict[str, Any]) -> None:
    """docs.z.ai and platform.moonshot.ai: `{"type": "enabled"}`; Anthropic's and Volcengine's own have more types and a budget."""
    thinking = optional(mapping, fields, "thinking")
    if thinking is None:
        return
    kind = one_of(thinking.get("type"), ("enabled", "disabled", "adaptive", "auto"), "thinking.type")
    if kind != "auto":
        wish["enabled"] = kind != "disabled"
    budget = optional(integer, thinking, "budget_tokens", "thinking")
    if budget is not None:
        wish["budget_tokens"] = budget


def _read_openrouter(fields: Mapping[str, Any], wish: dict[str, Any]) -> None:
    """openrouter.ai/docs/use-cases/reasoning-tokens; `include_reasoning` is its older flag, and Groq's."""
    shown = optional(flag, fields, "include_reasoning")
    reasoning = optional(mapping, fields, "reasoning") or {}
    effort, budget = _effort(reasoning, "effort", "reasoning"), optional(integer, reasoning, "max_tokens", "reasoning")
    enabled, excluded = optional(flag, reasoning, "enabled", "reasoning"), optional(flag, reasoning, "exclude", "reasoning")
    summary = optional(text, reasoning, "summary", "reasoning")
    shown = not excluded if excluded is not None else shown
    for name, value in (("effort", effort), ("budget_tokens", budget), ("enabled", enabled), ("shown", shown), ("summary", summary)):
        if value is not None:
            wish[name] = value


def write_wish(wish: ReasoningWish, spelling: str, dropped: list[str], efforts: Sequence[Effort] = ()) -> dict[str, Any]:
    """The fields that tell a backend. spelling: what its row calls `reasoning_effort`; efforts: the words that it knows, none for all."""
    if spelling == "reasoning":  # OpenRouter gives sealed details unasked
        return _openrouter(wish)
    for name, said in (("summary", wish.summary), ("shown", wish.shown is False), ("sealed", wish.sealed)):
        if said:
            dropped.append(f"reasoning.{name}")
    thinks = _thinks(wish)
    if spelling in ("thinking", "enable_thinking") and thinks is None:
        return {}
    if spelling == "thinking":
        return {"thinking": {"type": "enabled", **_budget(wish, "budget_tokens")} if thinks else {"type": "disabled"}}
    if spelling == "enable_thinking":
        return {"enable_thinking": thinks, **(_budget(wish, "thinking_budget") if thinks else {})}
    effort = told(wish)
    if effort is None:
        return {}
    word = nearest(effort, efforts)
    if word is None:
        dropped.append("reasoning.enabled" if effort == "none" else "reasoning.effort")
        return {}
    return {spelling: word}


def told(wish: ReasoningWish) -> Effort | None:
    """The word for it, None where nothing is said that has one."""
    if wish.enabled is False:
        return "none"
    if wish.effort is not None:
        return wish.effort
    if wish.budget_tokens is not None:
        return effort_for(wish.budget_tokens)
    return effort_for(-1) if wish.enabled else None


def _thinks(wish: ReasoningWish) -> bool | None:
    effort = told(wish)
    return None if effort is None else effort != "none"


def _budget(wish: ReasoningWish, name: str) -> dict[str, int]:
    return {name: wish.budget_tokens} if wish.budget_tokens is not None and wish.budget_tokens > 0 else {}


def _openrouter(wish: ReasoningWish) -> dict[str, Any]:
    """One of effort and max_tokens, not both (its own rule)."""
    said: dict[str, Any] = {}
    if wish.enabled is False:
        said["enabled"] = False
    elif wish.effort is not None:
        said["effort"] = wish.effort
    elif wish.budget_tokens is not None and wish.budget_tokens > 0:
        said["max_tokens"] = wish.budget_tokens
    elif (effort := told(wish)) is not None:
        said |= {"enabled": True} if effort != "none" else {"effort": effort}
    if wish.shown is not None:
        said["exclude"] = not wish.shown
    if wish.summary:
        said["summary"] = wish.summary
    return {"reasoning": said} if said else {}
