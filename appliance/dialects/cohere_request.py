"""A conversation as the body of Cohere's v2 chat.

The rule: nothing is lost silently. What the language cannot say is in `Written.dropped`; what would change the meaning is a Fault that
names the field (docs.cohere.com/reference/chat).
"""

import re
from collections.abc import Mapping
from typing import Any

from appliance.core.conversation import Conversation, Tool
from appliance.core.effort import budget_for
from appliance.core.fault import Fault, FaultKind
from appliance.core.tool_forms import flat_name, function_of
from appliance.dialects.codec import Target, Written
from appliance.dialects.cohere_messages import FAMILY, Messages
from appliance.dialects.fields import Unfit
from appliance.dialects.upstream_json import written

TOP_P_MIN, TOP_P_MAX = 0.01, 0.99
TOP_K_MAX = 500
PENALTY_MAX = 1.0

_THOUGHTLESS = re.compile(r"^(?:cohere[./])?(?:command-(?:r|light|nightly|a-03|a-vision|a-translate)|command$|c4ai-|aya)", re.IGNORECASE)
"""Models without reasoning (docs.cohere.com/docs/reasoning), which refuse to be asked about it."""

_UNKNOWN_HERE = ("min_p", "repetition_penalty", "logit_bias", "top_logprobs")


def write_request(conversation: Conversation, target: Target) -> Written | Fault:
    try:
        return _write(conversation, target)
    except Unfit as unfit:
        return unfit.fault()


def _write(conversation: Conversation, target: Target) -> Written | Fault:
    _refuse(conversation)
    messages = Messages(target.short_ids)
    messages.write(conversation.messages)
    dropped = messages.dropped
    body: dict[str, Any] = {"model": target.model, "stream": conversation.stream, "messages": messages.written}
    if messages.documents:
        body["documents"] = messages.documents
    _tools(conversation, body, dropped)
    _output(conversation, body)
    _sampling(conversation, body, dropped)
    _thinking(conversation, target.model, body, dropped)
    _more(conversation, body, dropped)
    for name in target.drop:
        if name in body:
            del body[name]
            dropped.append(name)
    for name, other in target.rename.items():
        if name in body:
            body[other] = body.pop(name)
    raw = written(body)
    if raw is None:
        return Fault(FaultKind.BAD_REQUEST, "the request holds something that cannot be written as JSON")
    return Written(raw, tuple(dropped))


def _refuse(conversation: Conversation) -> None:
    """What cannot be left out."""
    if (conversation.sampling.candidates or 1) > 1:
        raise Unfit("n", "must be 1: this backend gives one answer at a time")
    if any(one != "text" for one in conversation.modalities):
        raise Unfit("modalities", "must be text: this backend answers in words")
    if conversation.previous:
        raise Unfit("previous", "names an answer that this backend does not keep: send the whole conversation")


def _tools(conversation: Conversation, body: dict[str, Any], dropped: list[str]) -> None:
    """Cohere has no choice by name; one tool alone, and required, is the same."""
    choice = conversation.tool_choice
    wanted = set(choice.allowed) if choice is not None else set()
    if choice is not None and choice.mode == "named":
        wanted = {choice.name}
    tools: list[dict[str, Any]] = []
    strict: list[str] = []
    for place, tool in enumerate(conversation.tools):
        path = f"tools[{place}]"
        name = flat_name(tool.name, tool.namespace)
        if tool.server:
            dropped.append(f"{path}: {tool.name}")
        elif not wanted or tool.name in wanted or name in wanted:
            tools.append(_function(tool, name, path, dropped))
            if tool.strict:
                strict.append(f"{path}.strict")
    forced = choice is not None and choice.mode in ("required", "named")
    if forced and not tools:
        raise Unfit("tool_choice", "asks for a tool, but there is none that this backend can be told of")
    if not tools:
        return
    body["tools"] = tools
    if choice is not None and choice.mode != "auto":
        body["tool_choice"] = "REQUIRED" if forced else "NONE"
    if strict and len(strict) == len(tools) and all(one["function"]["parameters"].get("required") for one in tools):
        body["strict_tools"] = True  # for all tools or none, and only tools with a required parameter
    else:
        dropped += strict


def _function(tool: Tool, name: str, path: str, dropped: list[str]) -> dict[str, Any]:
    if tool.grammar is not None:
        dropped.append(f"{path}.grammar")
    if tool.cache:
        dropped.append(f"{path}.cache")
    dropped += [f"{path}.{one}" for one in tool.raw]
    if tool.custom:
        tool = function_of(tool)
    parameters: Mapping[str, Any] = tool.parameters if tool.parameters is not None else {"type": "object", "properties": {}}
    function: dict[str, Any] = {"name": name, "parameters": parameters}
    if tool.description:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def _output(conversation: Conversation, body: dict[str, Any]) -> None:
    """response_format is "not supported with RAG", nor with tools: refused here, with the field's name."""
    output = conversation.output
    if output is None or output.kind == "text":
        return
    if "tools" in body or "documents" in body:
        raise Unfit("output", "cannot be bound to JSON beside tools or documents: this backend has one or the other")
    body["response_format"] = {"type": "json_object"}
    if output.schema is not None:
        body["response_format"]["json_schema"] = output.schema


def _sampling(conversation: Conversation, body: dict[str, Any], dropped: list[str]) -> None:
    sampling = conversation.sampling
    said: dict[str, Any] = {
        "max_tokens": conversation.max_tokens,
        "temperature": sampling.temperature,
        "stop_sequences": list(sampling.stop) or None,
        "seed": sampling.seed,
        "logprobs": sampling.logprobs,
        "p": _within(sampling.top_p, TOP_P_MIN, TOP_P_MAX, "sampling.top_p", dropped),
        "k": _within(sampling.top_k, 0, TOP_K_MAX, "sampling.top_k", dropped),
        "presence_penalty": _within(sampling.presence_penalty, 0, PENALTY_MAX, "sampling.presence_penalty", dropped),
        "frequency_penalty": _within(sampling.frequency_penalty, 0, PENALTY_MAX, "sampling.frequency_penalty", dropped),
    }
    body.update({name: value for name, value in said.items() if value is not None})
    dropped += [f"sampling.{name}" for name in _UNKNOWN_HERE if getattr(sampling, name) is not None]


def _within(value: float | None, least: float, most: float, path: str, dropped: list[str]) -> float | None:
    """The value, or the nearest that Cohere takes, which is reported."""
    if value is None or least <= value <= most:
        return value
    dropped.append(path)
    return min(max(value, least), most)


def _thinking(conversation: Conversation, model: str, body: dict[str, Any], dropped: list[str]) -> None:
    """Reasoning models think unless they are told not to; a budget bounds it (docs.cohere.com/docs/reasoning)."""
    wish = conversation.reasoning
    if wish is None or (wish.enabled is None and wish.effort is None and wish.budget_tokens is None):
        return
    off = wish.enabled is False or wish.effort == "none" or wish.budget_tokens == 0
    if _THOUGHTLESS.search(model.rpartition("/")[2]):
        dropped += [] if off else ["reasoning"]
        return
    if off:
        body["thinking"] = {"type": "disabled"}
        return
    thinking: dict[str, Any] = {"type": "enabled"}
    if wish.budget_tokens is not None and wish.budget_tokens > 0:
        thinking["token_budget"] = wish.budget_tokens
    elif wish.effort is not None:
        thinking["token_budget"] = budget_for(wish.effort)
    body["thinking"] = thinking


def _more(conversation: Conversation, body: dict[str, Any], dropped: list[str]) -> None:
    """What only others know, and what the caller said in Cohere's own words (safety_mode, citation_options, priority, documents)."""
    single = conversation.parallel_tools is False or conversation.single_call
    for name, said in (
        ("user", bool(conversation.user)), ("metadata", bool(conversation.metadata)), ("cache_key", bool(conversation.cache_key)),
        ("verbosity", bool(conversation.verbosity)), ("service_tier", conversation.service_tier not in ("", "auto", "default")),
        ("store", bool(conversation.store)), ("parallel_tools", single and "tools" in body),
    ):  # fmt: skip
        if said:
            dropped.append(name)
    for name, value in conversation.extra.items():
        if conversation.family != FAMILY:
            dropped.append(name)
        elif name == "documents" and isinstance(value, list):
            body[name] = [*body.get(name, ()), *value]
        else:
            body.setdefault(name, value)
