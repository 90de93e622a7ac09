"""How to think, how to draw tokens and what form to answer in, as fields of a request to Anthropic.

The rule: a model is asked only for what it accepts (see anthropic_model) and what the API accepts together: thinking goes with no forced
tool, no temperature, and a budget below the bound on the answer. What gives way is noted in `dropped`.
"""

from collections.abc import Mapping
from typing import Any

from appliance.core.conversation import Conversation, ReasoningWish, Sampling
from appliance.core.effort import budget_for, effort_for
from appliance.dialects.anthropic_blocks import FAMILY
from appliance.dialects.anthropic_model import Abilities, nearest_effort
from appliance.dialects.fields import Unfit

BUDGET_MIN = 1_024
"""Anthropic's least (platform.claude.com/docs/en/build-with-claude/extended-thinking)."""

TOP_P_WITH_THOUGHT_MIN = 0.95

JSON_ONLY = "Answer with one valid JSON object and nothing else: no words around it, no code fence."
"""Stands for the JSON mode of other vendors, which Anthropic does not have."""

FITTING = "Answer with one valid JSON value that fits the JSON schema below and nothing else: no words around it, no code fence.\n"
"""Stands before a schema that the model cannot be held to."""

_NOT_SAID = ("min_p", "seed", "presence_penalty", "frequency_penalty", "repetition_penalty", "logit_bias", "logprobs", "top_logprobs")
_NEUTRAL: Mapping[str, float] = {"presence_penalty": 0, "frequency_penalty": 0, "repetition_penalty": 1, "min_p": 0, "top_logprobs": 0}
"""Values that ask for nothing, so that leaving them out is no loss."""


def write_thinking(wish: ReasoningWish | None, conversation: Conversation, max_tokens: int, able: Abilities, forced: bool, cut: bool,
                   dropped: list[str]) -> tuple[dict[str, Any] | None, str]:  # fmt: skip
    """(`thinking`, `output_config.effort`), None and "" for unsaid.

    Args:
        forced: the model must call a tool. cut: the turn that is under way began without thinking.
    """
    if wish is None:
        return None, ""
    own = conversation.family == FAMILY
    effort = wish.effort
    if effort == "none" or wish.enabled is False or wish.budget_tokens == 0:
        if able.always:  # 400 for "disabled": the least that it can think is the nearest
            dropped.append("reasoning.enabled")
            return None, able.efforts[0]
        return {"type": "disabled"}, nearest_effort(effort, able) if effort else ""
    asked = wish.enabled or wish.budget_tokens is not None or (effort is not None and not own)
    word = "" if effort is None else effort if own and not able.efforts else nearest_effort(effort, able)
    if not asked:
        return None, word
    thinking = _thinking(wish, able, max_tokens)
    if thinking is None or forced or (cut and thinking["type"] == "enabled"):
        dropped.append("reasoning")
        return None, word
    if thinking["type"] == "adaptive" and not word and wish.budget_tokens is not None and wish.budget_tokens > 0:
        word = nearest_effort(effort_for(wish.budget_tokens), able)
    if wish.shown is not None or wish.summary:
        thinking["display"] = "omitted" if wish.shown is False else "summarized"
    return thinking, word


def _thinking(wish: ReasoningWish, able: Abilities, max_tokens: int) -> dict[str, Any] | None:
    """None where the bound on the answer leaves no room for the least budget."""
    budget = wish.budget_tokens if wish.budget_tokens is not None and wish.budget_tokens > 0 else None
    if able.adaptive and (budget is None or not able.budget):
        return {"type": "adaptive"}
    budget = max(budget or budget_for(wish.effort or "medium"), BUDGET_MIN)
    if budget >= max_tokens:
        budget = max(BUDGET_MIN, max_tokens - BUDGET_MIN)
    return {"type": "enabled", "budget_tokens": budget} if budget < max_tokens else None


def write_sampling(sampling: Sampling, able: Abilities, thinks: bool, dropped: list[str]) -> dict[str, Any]:
    """Raises Unfit for several candidates."""
    if sampling.candidates is not None and sampling.candidates > 1:
        raise Unfit("n", "asks for several answers, and Anthropic's models give one each time")
    for name in _NOT_SAID:
        value = getattr(sampling, name)
        if value is not None and value is not False and value != {} and value != _NEUTRAL.get(name):
            dropped.append(f"sampling.{name}")
    fields: dict[str, Any] = {}
    stops = [stop for stop in sampling.stop if stop.strip()]  # "each stop sequence must contain non-whitespace"
    if len(stops) < len(sampling.stop):
        dropped.append("sampling.stop: white space")
    if stops:
        fields["stop_sequences"] = stops
    return fields | _drawing(sampling, able, thinks, dropped)


def _drawing(sampling: Sampling, able: Abilities, thinks: bool, dropped: list[str]) -> dict[str, Any]:
    """Temperature and its like. With thinking only top_p, near 1; of temperature and top_p never both, which models since 4.1 refuse."""
    fields: dict[str, Any] = {}
    temperature, top_p, top_k = sampling.temperature, sampling.top_p, sampling.top_k
    if temperature is not None:
        if not able.sampling or thinks:
            if temperature != 1:
                dropped.append("sampling.temperature")
        else:
            fields["temperature"] = min(temperature, 1.0) if temperature > 1 else temperature
            if temperature > 1:
                dropped.append("sampling.temperature: above 1")
    if top_p is not None and top_p != 1:
        if not able.sampling or "temperature" in fields or (thinks and top_p < TOP_P_WITH_THOUGHT_MIN):
            dropped.append("sampling.top_p")
        else:
            fields["top_p"] = top_p
    if top_k is not None:
        if not able.sampling or thinks:
            dropped.append("sampling.top_k")
        else:
            fields["top_k"] = top_k
    return fields

