"""Writes a conversation as a request to a backend that speaks the Responses API.

The rule: what the caller's own language means by leaving a field out is said where this language means something else by it: it stores
answers, and holds functions to their schemas, unless told not to.
"""

import hashlib
from typing import Any

import orjson

from appliance.core.conversation import Conversation, OutputFormat, ReasoningWish, Sampling
from appliance.core.effort import effort_for, nearest
from appliance.core.fault import Fault, FaultKind
from appliance.dialects.codec import Target, Written
from appliance.dialects.fields import Unfit
from appliance.dialects.responses_content import FAMILY
from appliance.dialects.responses_input_writer import InputWriter, system_text
from appliance.dialects.responses_request import LOGPROBS, SEALED
from appliance.dialects.responses_tools import write_choice, write_tools

NAME_MAX_CHARS = 64
"""Of `user` and `prompt_cache_key`: longer ones are refused (string_above_max_length). Anthropic's user ids are often longer."""

TOKENS_MIN = 16
"""Of max_output_tokens ("integer below minimum value. Expected a value >= 16"). Agents of other languages ask for 1 to see whether a model
answers at all."""

_UNSAID_SAMPLING = ("top_k", "min_p", "stop", "seed", "presence_penalty", "frequency_penalty", "repetition_penalty", "logit_bias")


def write_request(conversation: Conversation, target: Target) -> Written | Fault:
    dropped: list[str] = []
    try:
        body = _write(conversation, target, dropped)
    except Unfit as unfit:
        return unfit.fault()
    for name in target.drop:
        if body.pop(name, None) is not None:
            dropped.append(name)
    for name, other in target.rename.items():
        if name in body:
            body[other] = body.pop(name)
    try:
        return Written(orjson.dumps(body), tuple(dropped))
    except (TypeError, RecursionError):
        return Fault(FaultKind.BAD_REQUEST, "the request holds what cannot be written as JSON: too many levels, or half a character")


def _write(conversation: Conversation, target: Target, dropped: list[str]) -> dict[str, Any]:
    foreign = conversation.family not in ("", FAMILY)
    instructions = system_text(conversation.messages)
    first = 1 if instructions else 0
    body: dict[str, Any] = {"model": target.model}
    if instructions:
        body["instructions"] = instructions
    body["input"] = InputWriter(first, dropped).write(conversation.messages[first:])
    if conversation.messages[first:] and conversation.messages[-1].role == "assistant" and foreign:
        dropped.append(f"messages[{len(conversation.messages) - 1}]: prefill")  # it is history here, not the start of the answer
    _write_tools(conversation, foreign, body, dropped)
    _write_text(conversation, body)
    include = _write_reasoning(conversation.reasoning, target, foreign, body, dropped)
    include += _write_sampling(conversation.sampling, target, body, dropped)
    _write_bound(conversation, target, foreign, body, dropped)
    _write_rest(conversation, foreign, body)
    include += _write_extra(conversation, body, dropped)
    if include:
        body["include"] = include
    return body


def _write_tools(conversation: Conversation, foreign: bool, body: dict[str, Any], dropped: list[str]) -> None:
    tools = write_tools(conversation.tools, False if foreign else None, dropped)
    if tools:
        body["tools"] = tools
    if conversation.tool_choice is not None and (tools or conversation.tool_choice.mode in ("named", "required")):
        body["tool_choice"] = write_choice(conversation.tool_choice, conversation.tools)
    if conversation.parallel_tools is not None and (tools or not foreign):
        body["parallel_tool_calls"] = conversation.parallel_tools


def _write_text(conversation: Conversation, body: dict[str, Any]) -> None:
    text: dict[str, Any] = {}
    if conversation.output is not None:
        text["format"] = write_format(conversation.output)
    if conversation.verbosity:
        text["verbosity"] = conversation.verbosity
    if text:
        body["text"] = text


def write_format(output: OutputFormat) -> dict[str, Any]:
    if output.kind != "json_schema" or output.schema is None:
        return {"type": "json_object" if output.kind == "json_schema" else output.kind}
    shape: dict[str, Any] = {"type": "json_schema", "name": output.name or "answer", "schema": dict(output.schema)}
    if output.description:
        shape["description"] = output.description
    if output.strict is not None:
        shape["strict"] = output.strict
    return shape


def _write_reasoning(
    wish: ReasoningWish | None, target: Target, foreign: bool, body: dict[str, Any], dropped: list[str]
) -> list[str]:  # fmt: skip
    """`reasoning`, and what to `include` for it. Sealed thoughts are asked for wherever thinking was: without them the next turn has lost
    its thread. Models that do not think refuse both."""
    if wish is None:
        return []
    if "reasoning_effort" in target.drop:
        dropped.append("reasoning")
        return []
    effort = wish.effort
    if effort is None and wish.budget_tokens is not None:
        effort = effort_for(wish.budget_tokens)
    if effort is not None:
        word = nearest(effort, target.efforts)
        if word != effort:
            dropped.append(f"reasoning.effort: {effort}")
        effort = word
    if wish.enabled is False and effort is None:
        dropped.append("reasoning.enabled")  # the word for it, none, is refused by most models
    summary = wish.summary
    if foreign and not summary and (wish.shown or (wish.enabled and wish.shown is None)):
        summary = "auto"
    said = {name: value for name, value in (("effort", effort), ("summary", summary)) if value}
    if said:
        body["reasoning"] = said
    thinks = bool(wish.enabled) or effort not in (None, "none")
    return [SEALED] if wish.sealed or (foreign and thinks and wish.enabled is not False) else []


def _write_sampling(sampling: Sampling, target: Target, body: dict[str, Any], dropped: list[str]) -> list[str]:
    if (sampling.candidates or 1) > 1:
        raise Unfit("n", "must be 1: the Responses API gives one answer")
    for name in ("temperature", "top_p", "top_logprobs"):
        if (value := getattr(sampling, name)) is not None:
            body[name] = value
    dropped += [f"sampling.{name}" for name in _UNSAID_SAMPLING if getattr(sampling, name) not in (None, ())]
    if not sampling.logprobs:
        return []
    if "logprobs" in target.drop:
        dropped.append("sampling.logprobs")
        return []
    return [LOGPROBS]


def _write_bound(conversation: Conversation, target: Target, foreign: bool, body: dict[str, Any], dropped: list[str]) -> None:
    """`max_output_tokens`, within what the API and the model take."""
    asked = conversation.max_tokens
    if asked is None:
        return
    bound = max(asked, TOKENS_MIN) if foreign else asked
    if target.output_max is not None:
        bound = min(bound, target.output_max)
    if bound != asked:
        dropped.append(f"max_tokens: {'below' if bound > asked else 'above'} {bound}")
    body["max_output_tokens"] = bound


def _write_rest(conversation: Conversation, foreign: bool, body: dict[str, Any]) -> None:
    if set(conversation.modalities) - {"text"}:
        raise Unfit("modalities", "must be text: the Responses API answers in nothing else")
    if conversation.stream:
        body["stream"] = True
    if conversation.metadata:
        body["metadata"] = dict(conversation.metadata)
    named = (("user", conversation.user), ("prompt_cache_key", conversation.cache_key))
    body.update((name, _short(value)) for name, value in named if value)
    said = (("service_tier", conversation.service_tier), ("previous_response_id", conversation.previous))
    body.update((name, value) for name, value in said if value)
    if conversation.store is not None or foreign:
        body["store"] = bool(conversation.store)


def _short(name: str) -> str:
    """A name within the bound: a long one's digest, the same each time."""
    return name if len(name) <= NAME_MAX_CHARS else hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()


def _write_extra(conversation: Conversation, body: dict[str, Any], dropped: list[str]) -> list[str]:
    if conversation.family != FAMILY:
        dropped += conversation.extra
        return []
    include: list[str] = []
    for name, value in conversation.extra.items():
        if "." in name or "[" in name:
            dropped.append(name)
        elif name == "include":
            include += value
        else:
            body.setdefault(name, value)
    return include

