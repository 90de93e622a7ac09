"""Tools, the choice among them, and answers bound to JSON: Converse's toolConfig.

The rule: a choice is kept or the request is refused, with one exception that is reported: "none" where the history holds calls, since
Bedrock wants the tools of a history declared. A model without structured output is made to answer through a tool of ours.
"""

from collections.abc import Iterable
from typing import Any

from appliance.core.conversation import Conversation, OutputFormat, Tool
from appliance.core.tool_forms import flat_name, function_of
from appliance.dialects.bedrock_answer import FAMILY, JSON_TOOL
from appliance.dialects.bedrock_model import Abilities
from appliance.dialects.bedrock_turns import cache_point, tool_name
from appliance.dialects.fields import Unfit

_ANY_OBJECT = {"type": "object", "properties": {}}
_GONE = "This tool is not available any more. Do not call it."


def tool_config(
    conversation: Conversation, able: Abilities, called: Iterable[str], through_tool: OutputFormat | None, dropped: list[str]
) -> dict[str, Any]:
    """The toolConfig, {} for none. called: names that the history calls; through_tool: the answer has to come through our tool."""
    choice = conversation.tool_choice
    mode = choice.mode if choice is not None else "auto"
    in_history = dict.fromkeys(called)
    tools = _tools(conversation, able, dropped) if mode != "none" or in_history else []
    names = [one["toolSpec"]["name"] for one in tools if "toolSpec" in one]
    if mode == "none" and tools:
        dropped.append("tool_choice")
    if mode in ("required", "named") and not tools:
        raise Unfit("tool_choice", "asks for a tool, but there is none that this backend can be told of")
    if not tools and in_history:
        tools = [{"toolSpec": {"name": name, "description": _GONE, "inputSchema": {"json": _ANY_OBJECT}}} for name in in_history]
    config: dict[str, Any] = {}
    if mode == "named" and choice is not None:
        wanted = next((flat for one in conversation.tools if choice.name in (flat := flat_name(one.name, one.namespace), one.name)), "")
        if wanted not in names:
            raise Unfit("tool_choice.name", "is not the name of one of the tools")
        config["toolChoice"] = {"tool": {"name": wanted}}
    elif mode == "required":
        config["toolChoice"] = {"any": {}}
    if through_tool is not None and mode == "named":
        dropped.append("output")  # the call that is asked for is the answer
    elif through_tool is not None:
        tools.append({"toolSpec": _answer_tool(through_tool)})
        if able.forced:
            config["toolChoice"] = {"any": {}} if names and mode != "none" else {"tool": {"name": JSON_TOOL}}
    return {"tools": tools, **config} if tools else {}


def forces(config: dict[str, Any]) -> bool:
    """Whether some tool has to be called, which Claude does not do while it thinks."""
    return "toolChoice" in config


def one_at_a_time(config: dict[str, Any]) -> dict[str, Any]:
    """Claude's own tool_choice, which can ask for one call at a time, in place of Converse's: the two together are refused, so that one is
    taken out of `config`."""
    given = config.pop("toolChoice", {"auto": {}})
    kind, more = next(iter(given.items()))
    return {"type": kind, **more, "disable_parallel_tool_use": True}


def _tools(conversation: Conversation, able: Abilities, dropped: list[str]) -> list[dict[str, Any]]:
    choice = conversation.tool_choice
    allowed = set(choice.allowed) if choice is not None else set()
    out: list[dict[str, Any]] = []
    for place, tool in enumerate(conversation.tools):
        path = f"tools[{place}]"
        if tool.server:
            if tool.family == FAMILY:
                out.append(dict(tool.raw))
            else:
                dropped.append(f"{path}: {tool.name}")
        elif not allowed or tool.name in allowed or flat_name(tool.name, tool.namespace) in allowed:
            out.append({"toolSpec": _spec(tool, path, able, dropped)})
            if tool.cache and able.caches:
                out.append(cache_point(tool.cache))
            elif tool.cache:
                dropped.append(f"{path}.cache")
    return out


def _spec(tool: Tool, path: str, able: Abilities, dropped: list[str]) -> dict[str, Any]:
    name = tool_name(tool.name, tool.namespace, path)
    if name == JSON_TOOL:
        raise Unfit(f"{path}.name", "is a name that the gateway keeps for itself")
    dropped += [f"{path}.{one}" for one in tool.raw]
    if tool.custom:
        if tool.grammar is not None:
            dropped.append(f"{path}.grammar")
        tool = function_of(tool)
    spec: dict[str, Any] = {"name": name, "inputSchema": {"json": tool.parameters or _ANY_OBJECT}}
    if tool.description.strip():
        spec["description"] = tool.description
    if tool.strict:
        if able.strict:
            spec["strict"] = True
        else:
            dropped.append(f"{path}.strict")
    return spec


def _answer_tool(output: OutputFormat) -> dict[str, Any]:
    words = f" It is {output.description}" if output.description else ""
    return {
        "name": JSON_TOOL,
        "description": f"Gives the answer: its input is the JSON object that the user gets.{words}",
        "inputSchema": {"json": output.schema or {"type": "object", "additionalProperties": True}},
    }
