"""Writes a conversation as a request to Anthropic's Messages API, or to count its tokens.

The rule: what the API would refuse is not sent; what is left out is in `Written.dropped`; what would change the meaning is a Fault.
"""

from typing import Any

from appliance.core.conversation import Conversation
from appliance.core.fault import Fault
from appliance.dialects.anthropic_blocks import FAMILY
from appliance.dialects.anthropic_json import dump, dump_text
from appliance.dialects.anthropic_model import OUTPUT_UNKNOWN_TOKENS, Abilities, abilities
from appliance.dialects.anthropic_parts import plain_or_blocks
from appliance.dialects.anthropic_schema import enforced
from appliance.dialects.anthropic_tools import forces, write_tools
from appliance.dialects.anthropic_turns import begins_without_thought, shortened, write_messages
from appliance.dialects.anthropic_unthought import without_clearing
from appliance.dialects.anthropic_wishes import FITTING, JSON_ONLY, write_sampling, write_thinking
from appliance.dialects.codec import Target, Written
from appliance.dialects.fields import Unfit

_COUNTED = frozenset({
    "model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control", "context_management",
    "mcp_servers", "speed",
})  # fmt: skip
"""Fields of a count of tokens (platform.claude.com/docs/en/api/messages-count-tokens)."""

_CANONICAL = {
    "temperature": "sampling.temperature", "top_p": "sampling.top_p", "top_k": "sampling.top_k", "stop_sequences": "sampling.stop",
    "thinking": "reasoning", "output_config": "output", "metadata": "user",
}  # fmt: skip

_TIERS = {"auto": "auto", "default": "standard_only", "priority": "auto"}


def write_request(conversation: Conversation, target: Target) -> Written | Fault:
    """The body of POST /v1/messages."""
    dropped: list[str] = []
    try:
        body = _body(conversation, target, dropped)
    except Unfit as unfit:
        return unfit.fault()
    return _written(body, target, dropped)


def write_count(conversation: Conversation, target: Target) -> Written | Fault:
    """The body of POST /v1/messages/count_tokens: of the same request what weighs on its input."""
    dropped: list[str] = []
    try:
        body = _body(conversation, target, dropped)
    except Unfit as unfit:
        return unfit.fault()
    return _written({name: value for name, value in body.items() if name in _COUNTED}, target, dropped)


def _written(body: dict[str, Any], target: Target, dropped: list[str]) -> Written:
    for name in target.drop:
        if body.pop(name, None) is not None:
            dropped.append(_CANONICAL.get(name, name))
    for name, other in target.rename.items():
        if name in body:
            body[other] = body.pop(name)
    return Written(dump(body), tuple(dropped))


def _body(conversation: Conversation, target: Target, dropped: list[str]) -> dict[str, Any]:
    _refuse(conversation)
    able = abilities(target.model)
    max_tokens = _bound(conversation, target, able, dropped)
    system, turns = write_messages(conversation.messages, dropped)
    tools = write_tools(conversation, able, dropped)
    thinking, effort = write_thinking(
        conversation.reasoning, conversation, max_tokens, able, forces(tools), begins_without_thought(turns), dropped
    )
    config = _output_config(conversation, effort, able, system, dropped)
    body: dict[str, Any] = {"model": target.model, "max_tokens": max_tokens}
    if system:
        body["system"] = plain_or_blocks(system)
    body["messages"] = shortened(turns)
    body |= tools
    if thinking is not None:
        body["thinking"] = thinking
    if config:
        body["output_config"] = config
    body |= write_sampling(conversation.sampling, able, thinking is not None and thinking["type"] != "disabled", dropped)
    body |= _rest(conversation, dropped)
    _add_extra(body, conversation, dropped)
    if conversation.stream:
        body["stream"] = True
    return body


def _bound(conversation: Conversation, target: Target, able: Abilities, dropped: list[str]) -> int:
    """The bound on the answer, which the API demands: all that the model can say where the caller gave none. One that is higher is refused
    ("max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens"); callers of other languages cannot know that."""
    most = able.output_max if target.output_max is None else target.output_max
    asked = conversation.max_tokens
    if asked is None:
        return target.max_tokens or most or OUTPUT_UNKNOWN_TOKENS
    if most is None or asked <= most or conversation.family == FAMILY:
        return asked
    dropped.append(f"max_tokens: above {most}")
    return most


def _refuse(conversation: Conversation) -> None:
    if conversation.previous:
        raise Unfit("previous_response_id", "names an answer that this backend does not keep: send the whole conversation")
    if other := [one for one in conversation.modalities if one != "text"]:
        raise Unfit("modalities", f"asks for {other[0][:20]}, and Anthropic's models answer in text")


def _output_config(conversation: Conversation, effort: str, able: Abilities, system: list[Any], dropped: list[str]) -> dict[str, Any]:
    config: dict[str, Any] = {"effort": effort} if effort else {}
    output = conversation.output
    if output is None or output.kind == "text":
        return config
    if output.kind == "json_object" or output.schema is None:
        system.append({"type": "text", "text": JSON_ONLY})
        dropped.append("output: any JSON object is asked for in words")
        return config
    if output.description:
        dropped.append("output.description")
    schema: Any = output.schema
    if conversation.family != FAMILY:
        schema = enforced(schema, dropped, "output.schema") if able.structured else None
    if schema is None:
        system.append({"type": "text", "text": FITTING + dump_text(output.schema)})
        dropped.append("output: the schema is asked for in words")
        return config
    return config | {"format": {"type": "json_schema", "schema": schema}}


def _rest(conversation: Conversation, dropped: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if conversation.user:
        fields["metadata"] = {"user_id": conversation.user}
    if conversation.service_tier in _TIERS:
        fields["service_tier"] = _TIERS[conversation.service_tier]
    elif conversation.service_tier:
        dropped.append("service_tier")
    if conversation.metadata:
        dropped.append("metadata")
    if conversation.cache_key:
        dropped.append("cache_key")
    if conversation.verbosity:
        dropped.append("verbosity")
    if conversation.store:
        dropped.append("store")
    return fields


def _add_extra(body: dict[str, Any], conversation: Conversation, dropped: list[str]) -> None:
    """Fields that only Anthropic's own API knows, said again; another family's are noted."""
    for name, value in conversation.extra.items():
        if conversation.family != FAMILY or name.startswith("messages["):
            dropped.append(name)
        elif name == "output_config" and isinstance(value, dict):
            body[name] = {**value, **body.get(name, {})}
        elif name == "context_management" and body.get("thinking", {}).get("type") not in ("enabled", "adaptive"):
            if (kept := without_clearing(value)) != value:
                dropped.append(name)
            if kept is not None:
                body.setdefault(name, kept)
        else:
            body.setdefault(name, value)
