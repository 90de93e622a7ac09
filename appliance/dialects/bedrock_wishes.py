"""How to answer, as Converse says it: inferenceConfig, outputConfig, and what only one vendor's models know (additionalModelRequestFields).

The rule: what the model would refuse is left out and reported, so that a turn is not lost over a temperature.
"""

from collections.abc import Mapping
from typing import Any

import attrs
import orjson

from appliance.core.conversation import Conversation, Effort, OutputFormat, ReasoningWish
from appliance.core.effort import budget_for, effort_for
from appliance.dialects.bedrock_model import Abilities, nearest

BUDGET_MIN = 1_024
"""The least budget of Claude's thinking."""

TOP_P_MIN_THINKING = 0.95
"""What Claude accepts beside thinking."""

SCHEMA_LEVELS_MAX = 32

_UNKNOWN_HERE = (
    "min_p", "seed", "presence_penalty", "frequency_penalty", "repetition_penalty", "logit_bias", "logprobs", "top_logprobs",
)  # fmt: skip


@attrs.define
class Wishes:
    """Attributes: the top-level members of the request that come from it, empty where nothing is said. dropped: as in codec.Written."""

    inference: dict[str, Any] = attrs.field(factory=dict)
    output: dict[str, Any] = attrs.field(factory=dict)
    additional: dict[str, Any] = attrs.field(factory=dict)
    response_paths: list[str] = attrs.field(factory=list)
    dropped: list[str] = attrs.field(factory=list)


def write_wishes(conversation: Conversation, able: Abilities, *, forced: bool, unsigned_loop: bool) -> Wishes:
    """forced: some tool has to be called. unsigned_loop: tool results answer calls whose thoughts are not there."""
    wishes = Wishes()
    thinks = _think(conversation, able, wishes, blocked=able.claude and (forced or (unsigned_loop and able.thinking != "adaptive")))
    _sample(conversation, able, wishes, thinks)
    output = conversation.output
    if output is not None and speaks_schema(output, able):
        _bind(output, able, wishes)
    return wishes


def speaks_schema(output: OutputFormat, able: Abilities) -> bool:
    """Whether outputConfig can hold this format for this model. Claude's grammar wants every object closed."""
    if output.kind != "json_schema" or output.schema is None or not able.schema:
        return False
    return not able.claude or _closed(output.schema, SCHEMA_LEVELS_MAX)


def through_tool(conversation: Conversation, able: Abilities) -> OutputFormat | None:
    """The format for which the answer has to come through a tool; None for none."""
    output = conversation.output
    return None if output is None or output.kind == "text" or speaks_schema(output, able) else output


def _bind(output: OutputFormat, able: Abilities, wishes: Wishes) -> None:
    """In outputConfig; for a Claude that has its effort in output_config already, beside that: one place, not two."""
    config = wishes.additional.get("output_config")
    if able.claude and isinstance(config, dict):
        config["format"] = {"type": "json_schema", "schema": output.schema}
        return
    schema = {"schema": orjson.dumps(output.schema).decode(), "name": output.name, "description": output.description}
    structure = {"jsonSchema": {name: value for name, value in schema.items() if value}}
    wishes.output["textFormat"] = {"type": "json_schema", "structure": structure}


def _closed(schema: object, levels: int) -> bool:
    if isinstance(schema, Mapping):
        if "$ref" in schema or (schema.get("type") == "object" and schema.get("additionalProperties") is not False):
            return False
        return levels > 0 and all(_closed(one, levels - 1) for one in schema.values())
    return all(_closed(one, levels - 1) for one in schema) if isinstance(schema, list) and levels > 0 else not isinstance(schema, list)


def _sample(conversation: Conversation, able: Abilities, wishes: Wishes, thinks: bool) -> None:
    sampling, inference, dropped = conversation.sampling, wishes.inference, wishes.dropped
    if conversation.max_tokens is not None:
        inference["maxTokens"] = conversation.max_tokens
    temperature, top_p, top_k = sampling.temperature, sampling.top_p, sampling.top_k
    silent = not able.sampling or (thinks and able.claude)
    if temperature is not None:
        if silent and temperature != 1:
            dropped.append("sampling.temperature")
        elif not silent:
            inference["temperature"] = min(temperature, 1)
            if temperature > 1:  # Converse ends at 1, OpenAI at 2
                dropped.append("sampling.temperature")
    if top_p is not None:
        if (able.one_of_two and "temperature" in inference) or not able.sampling or (silent and top_p < TOP_P_MIN_THINKING):
            dropped.append("sampling.top_p")
        else:
            inference["topP"] = top_p
    if top_k is not None:
        place = None if silent else _top_k(top_k, able)
        if place is None:
            dropped.append("sampling.top_k")
        else:
            wishes.additional.update(place)
    _stop(sampling.stop, able, wishes)
    dropped += [f"sampling.{name}" for name in _UNKNOWN_HERE if getattr(sampling, name) not in (None, False)]


def _top_k(top_k: int, able: Abilities) -> dict[str, Any] | None:
    if able.vendor in ("anthropic", "mistral"):
        return {"top_k": top_k}
    if able.vendor == "cohere":
        return {"k": top_k}
    return {"inferenceConfig": {"topK": top_k}} if able.vendor == "amazon" else None


def _stop(stop: tuple[str, ...], able: Abilities, wishes: Wishes) -> None:
    """Claude refuses stop sequences that are only white space. Which one ended the answer is told when asked for: under one path in whole
    answers, under the other in streams; a path that is not there is ignored."""
    for place, one in enumerate(stop):
        if able.claude and not one.strip():
            wishes.dropped.append(f"sampling.stop[{place}]")
        else:
            wishes.inference.setdefault("stopSequences", []).append(one)
    if "stopSequences" in wishes.inference and able.claude:
        wishes.response_paths += ["/stop_sequence", "/delta/stop_sequence"]


def _think(conversation: Conversation, able: Abilities, wishes: Wishes, *, blocked: bool) -> bool:
    """Whether the model is asked to think."""
    wish = conversation.reasoning
    if wish is None:
        return False
    if wish.enabled is False or wish.effort == "none" or wish.budget_tokens == 0:
        if able.thinking == "nova":
            wishes.additional["reasoningConfig"] = {"type": "disabled"}
        elif able.thinking == "effort":
            wishes.dropped.append("reasoning")
        return False
    if wish.enabled is None and wish.effort is None and wish.budget_tokens is None:
        return False
    if blocked or not able.thinking:
        wishes.dropped.append("reasoning")
        return False
    effort: Effort | None = wish.effort
    if effort is None and wish.budget_tokens is not None:
        effort = effort_for(wish.budget_tokens)
    if able.thinking == "effort":
        wishes.additional["reasoning_effort"] = nearest(effort or "medium", able.efforts)
        return True
    if able.thinking == "nova":
        _nova(conversation, nearest(effort or "medium", able.efforts), wishes)
        return True
    if able.thinking == "budget" or (able.thinking == "both" and (wish.budget_tokens or 0) > 0 and wish.effort is None):
        return _budget(wish, conversation.max_tokens, wishes)
    thinking: dict[str, Any] = {"type": "adaptive"}
    if (wish.shown or wish.summary) and able.thinking == "adaptive":  # left out of the answer otherwise
        thinking["display"] = "summarized"
    wishes.additional["thinking"] = thinking
    if effort is not None:
        wishes.additional["output_config"] = {"effort": nearest(effort, able.efforts)}
    return True


def _nova(conversation: Conversation, effort: Effort, wishes: Wishes) -> None:
    """Nova 2 refuses maxTokens, temperature and topP beside its high effort."""
    sampling = conversation.sampling
    if effort == "high" and any(one is not None for one in (conversation.max_tokens, sampling.temperature, sampling.top_p)):
        effort = "medium"
        wishes.dropped.append("reasoning.effort")
    wishes.additional["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": effort}


def _budget(wish: ReasoningWish, max_tokens: int | None, wishes: Wishes) -> bool:
    """A budget is at least BUDGET_MIN and less than the bound on the answer, which holds it. One that we made from a word leaves a quarter
    of the bound for the answer's words."""
    told = wish.budget_tokens is not None and wish.budget_tokens > 0
    wanted = wish.budget_tokens if told and wish.budget_tokens is not None else budget_for(wish.effort or "medium")
    budget = max(wanted, BUDGET_MIN)
    if max_tokens is not None:
        budget = min(budget, max_tokens - 1 if told else max_tokens * 3 // 4)
    if budget < BUDGET_MIN:
        wishes.dropped.append("reasoning")
        return False
    if told and budget != wanted:
        wishes.dropped.append("reasoning.budget_tokens")
    wishes.additional["thinking"] = {"type": "enabled", "budget_tokens": budget}
    return True
