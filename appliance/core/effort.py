"""How hard to think, in words and in tokens, for languages that know only one of them.

The figures are this gateway's own choice, not a vendor's promise. They grow by halves and doubles from Anthropic's least budget (1,024) and
stay inside what Gemini 2.5 accepts (24,576 for Flash, 32,768 for Pro: ai.google.dev/gemini-api/docs/thinking).
"""

from collections.abc import Sequence

from appliance.core.conversation import Effort

BUDGETS: dict[Effort, int] = {"none": 0, "minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 24_576, "max": 32_768}


def budget_for(effort: Effort) -> int:
    """Tokens for a word."""
    return BUDGETS[effort]


def effort_for(budget_tokens: int) -> Effort:
    """The word whose budget is the largest that fits; "medium" where the model is to decide (-1)."""
    if budget_tokens < 0:
        return "medium"
    if budget_tokens == 0:
        return "none"
    fitting: list[Effort] = [effort for effort, tokens in BUDGETS.items() if 0 < tokens <= budget_tokens]
    return fitting[-1] if fitting else "minimal"


def nearest(effort: Effort, words: Sequence[Effort]) -> Effort | None:
    """The word of a model that has only these (none: all of them): the same, else the next lower, else the lowest. None where there is no
    way to say it: a model that always thinks cannot be told not to, but it may have "minimal"."""
    if not words or effort in words:
        return effort
    if effort == "none":
        return "minimal" if "minimal" in words else None
    order = list(BUDGETS)
    thinking = [word for word in words if word != "none"]
    at_most = [word for word in thinking if order.index(word) <= order.index(effort)]
    return at_most[-1] if at_most else thinking[0] if thinking else None
