"""A conversation as the body of Converse and ConverseStream: the same for both, without the model, which is in the path.

The rule: nothing is lost silently. What the language, or this model behind it, cannot say is in `Written.dropped`; what would change the
meaning is a Fault that names the field.
"""

import re
from typing import Any

from appliance.core.conversation import Conversation
from appliance.core.fault import Fault, FaultKind
from appliance.dialects.bedrock_answer import FAMILY
from appliance.dialects.bedrock_model import abilities
from appliance.dialects.bedrock_tools import forces, one_at_a_time, tool_config
from appliance.dialects.bedrock_turns import Turns
from appliance.dialects.bedrock_wishes import Wishes, through_tool, write_wishes
from appliance.dialects.codec import Target, Written
from appliance.dialects.fields import Unfit
from appliance.dialects.upstream_json import written

_METADATA = re.compile(r"[A-Za-z0-9\s:_@$#=/+,.-]{1,256}")
METADATA_MAX = 16

_TIERS = frozenset({"priority", "default", "flex", "reserved"})


def write_request(conversation: Conversation, target: Target) -> Written | Fault:
    """The body for `target.model`; see bedrock_model for what depends on it."""
    try:
        return _write(conversation, target)
    except Unfit as unfit:
        return unfit.fault()


def _write(conversation: Conversation, target: Target) -> Written | Fault:
    _refuse(conversation)
    able = abilities(target.model)
    turns = Turns(able, target.short_ids)
    turns.write(conversation.messages)
    dropped = turns.dropped
    tools = tool_config(conversation, able, turns.called, through_tool(conversation, able), dropped)
    wishes = write_wishes(conversation, able, forced=forces(tools), unsigned_loop=_unsigned_loop(turns.turns))
    dropped += wishes.dropped
    if (conversation.parallel_tools is False or conversation.single_call) and tools:
        if able.claude:
            wishes.additional["tool_choice"] = one_at_a_time(tools)
        else:
            dropped.append("parallel_tools")
    body: dict[str, Any] = {"messages": turns.turns, "system": turns.system, "toolConfig": tools, **_members(wishes)}
    _more(conversation, body, dropped)
    body = {name: value for name, value in body.items() if value}
    _adjust(body, target, dropped)
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


def _members(wishes: Wishes) -> dict[str, Any]:
    return {
        "inferenceConfig": wishes.inference,
        "outputConfig": wishes.output,
        "additionalModelRequestFields": wishes.additional,
        "additionalModelResponseFieldPaths": wishes.response_paths,
    }


def _more(conversation: Conversation, body: dict[str, Any], dropped: list[str]) -> None:
    """The rest of what a caller may say."""
    kept = [pair for pair in conversation.metadata.items() if _METADATA.fullmatch(pair[0]) and _METADATA.fullmatch(pair[1] or " ")]
    body["requestMetadata"] = dict(kept[:METADATA_MAX])
    if len(body["requestMetadata"]) < len(conversation.metadata):
        dropped.append("metadata")
    tier = conversation.service_tier
    if tier in _TIERS:
        body["serviceTier"] = {"type": tier}
    elif tier not in ("", "auto"):
        dropped.append("service_tier")
    for name, said in (
        ("user", bool(conversation.user)), ("cache_key", bool(conversation.cache_key)), ("verbosity", bool(conversation.verbosity)),
        ("store", bool(conversation.store)),
    ):  # fmt: skip
        if said:
            dropped.append(name)
    for name, value in conversation.extra.items():
        if conversation.family != FAMILY:
            dropped.append(name)
        elif isinstance(value, dict) and isinstance(ours := body.get(name), dict):
            body[name] = {**value, **ours}
        elif not body.get(name):
            body[name] = value


def _adjust(body: dict[str, Any], target: Target, dropped: list[str]) -> None:
    """What the operator's row says of this vendor: fields that it refuses or calls otherwise, at the top and in inferenceConfig."""
    for place in (body, body.get("inferenceConfig", {})):
        for name in target.drop:
            if name in place:
                del place[name]
                dropped.append(name)
        for name, other in target.rename.items():
            if name in place:
                place[other] = place.pop(name)


def _unsigned_loop(turns: list[dict[str, Any]]) -> bool:
    """Whether the conversation is amid a tool's use and the turn that called it does not start with its thoughts. Claude then refuses to
    think on a budget: "a final assistant message must start with a thinking block"."""
    if turns[-1]["role"] != "user" or not any("toolResult" in block for block in turns[-1]["content"]) or len(turns) < 2:
        return False
    return "reasoningContent" not in turns[-2]["content"][0]
