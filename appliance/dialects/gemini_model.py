"""What a Gemini model's name says about the requests that it takes. The rule: an unknown name is taken for a new model.

Gemini 3 brought thinking levels, strict thought signatures and ids of function calls; 2.5 has thinking budgets; older ones do not think
(ai.google.dev/gemini-api/docs/thinking, /thought-signatures).
"""

import re
from typing import Any

from appliance.core.conversation import Effort, ReasoningWish
from appliance.core.effort import budget_for, effort_for

_VERSION = re.compile(r"gemini-(\d+)(?:\.(\d+))?(?![\d.])")

NEWEST = (99, 0)

BUDGET_MAX = 24_576
"""Of 2.5 Flash; Pro takes 32,768."""

BUDGET_PRO_MAX, BUDGET_PRO_MIN = 32_768, 128
"""2.5 Pro always thinks."""

_LEVELS: dict[Effort, str] = {
    "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH", "max": "HIGH",
}  # fmt: skip
"""`XHIGH` is in Google's SDK, but no model that takes it is documented."""


def version(model: str) -> tuple[int, int]:
    """(2, 5) for `gemini-2.5-flash`; NEWEST where the name does not tell (`gemini-flash-latest`, an alias of somebody's)."""
    found = _VERSION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else NEWEST


def has_call_ids(model: str) -> bool:
    """Older models match results by name and order, and Vertex refuses the field for them (`Unknown name "id"`)."""
    return version(model) >= (3, 0)


def has_result_media(model: str) -> bool:
    """Whether a function response may hold pictures."""
    return version(model) >= (3, 0)


def wants_signatures(model: str) -> bool:
    """Whether a call of the current turn without a signature is refused."""
    return "gemini" in model and version(model) >= (3, 0)


def has_validated_mode(model: str) -> bool:
    return version(model) >= (2, 5)


def thinking_config(wish: ReasoningWish, model: str, dropped: list[str]) -> dict[str, Any] | None:
    """`thinkingConfig` for this model; None for none. Level and budget together are refused, so only one is said."""
    if version(model) < (2, 5):
        dropped.append("reasoning")
        return None
    config: dict[str, Any] = {}
    shown = wish.shown if wish.shown is not None else (True if wish.enabled or wish.summary else None)
    if shown is not None:
        config["includeThoughts"] = shown
    if wish.enabled is False or wish.effort == "none" or (wish.effort is None and wish.budget_tokens == 0):
        config |= _least(model, dropped)
    elif wish.effort is not None:
        config |= _of_effort(wish.effort, model)
    elif wish.budget_tokens is not None:
        config |= _of_budget(wish.budget_tokens, model)
    return config or None


def _least(model: str, dropped: list[str]) -> dict[str, Any]:
    """As little as the model can: Pro models always think, and Gemini 3 has no word for not at all."""
    if version(model) >= (3, 0) and version(model) != NEWEST:
        dropped.append("reasoning.effort: none")
        return {"thinkingLevel": "LOW" if "pro" in model else "MINIMAL"}
    if version(model) != NEWEST and "pro" in model:
        dropped.append("reasoning.effort: none")
        return {"thinkingBudget": BUDGET_PRO_MIN}
    return {"thinkingBudget": 0}


def _of_effort(effort: Effort, model: str) -> dict[str, Any]:
    if version(model) >= (3, 0):
        level = _LEVELS[effort]
        return {"thinkingLevel": "LOW" if level == "MINIMAL" and "pro" in model else level}
    return {"thinkingBudget": min(budget_for(effort), BUDGET_PRO_MAX if "pro" in model else BUDGET_MAX)}


def _of_budget(budget_tokens: int, model: str) -> dict[str, Any]:
    """Gemini 3 still takes a budget but thinks worse with one (its documentation); -1 is what it does unasked."""
    if version(model) >= (3, 0) and version(model) != NEWEST:
        return {} if budget_tokens < 0 else {"thinkingLevel": _of_effort(effort_for(budget_tokens), model)["thinkingLevel"]}
    if budget_tokens < 0 or version(model) == NEWEST:
        return {"thinkingBudget": budget_tokens}
    if "pro" in model:
        return {"thinkingBudget": max(BUDGET_PRO_MIN, min(budget_tokens, BUDGET_PRO_MAX))}
    return {"thinkingBudget": min(budget_tokens, BUDGET_MAX)}
