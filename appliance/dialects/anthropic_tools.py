"""Tools and the choice among them, as fields of a request to Anthropic.

The rule: a choice that forces a tool is kept or refused, never weakened; tools that only another vendor runs are noted in `dropped`.
"""

from collections.abc import Mapping
from typing import Any

from appliance.core.conversation import Conversation, Tool, ToolChoice
from appliance.core.tool_forms import flat_name, function_of
from appliance.dialects.anthropic_blocks import FAMILY
from appliance.dialects.anthropic_model import Abilities
from appliance.dialects.anthropic_parts import cache_mark
from appliance.dialects.anthropic_schema import enforced
from appliance.dialects.fields import Unfit

_MODES = {"auto": "auto", "required": "any", "named": "tool", "none": "none"}


def write_tools(conversation: Conversation, able: Abilities, dropped: list[str]) -> dict[str, Any]:
    """`tools` and `tool_choice`, as far as there is something to say. Raises Unfit."""
    choice = conversation.tool_choice
    allowed = frozenset(choice.allowed) if choice is not None else frozenset()
    tools: list[Any] = []
    names: set[str] = set()
    own = conversation.family == FAMILY
    for place, tool in enumerate(conversation.tools):
        if tool.server and tool.family != FAMILY:
            dropped.append(f"tools[{place}]: {tool.name}")
        elif not allowed or tool.name in allowed or flat_name(tool.name, tool.namespace) in allowed:
            tools.append(dict(tool.raw) if tool.server else _function(tool, able, dropped, f"tools[{place}]", own))
            names.add(str(tools[-1].get("name", tool.name)))
    if not tools:
        _without_tools(choice, dropped)
        return {}
    written = _choice(conversation, choice, names)
    return {"tools": tools} | ({"tool_choice": written} if written else {})


def forces(fields: Mapping[str, Any]) -> bool:
    """Whether the fields of `write_tools` leave the model no way but to call a tool."""
    return fields.get("tool_choice", {}).get("type") in ("any", "tool")


def _function(tool: Tool, able: Abilities, dropped: list[str], path: str, own: bool) -> dict[str, Any]:
    """own: the caller wrote it for Anthropic, so it goes as it is."""
    if tool.family == FAMILY and "type" in tool.raw:  # one that it defines itself
        return {"name": tool.name, **tool.raw} | cache_mark(tool.cache)
    if tool.custom:
        tool = function_of(tool)
    written: dict[str, Any] = {"name": flat_name(tool.name, tool.namespace)}
    if tool.description:
        written["description"] = tool.description
    written["input_schema"] = _object_schema(tool.parameters or {})
    if tool.strict:  # false is what the API does unasked, and older copies of it refuse the field
        schema = written["input_schema"]
        if not own:
            schema = enforced(schema, dropped, f"{path}.parameters") if able.structured else None
        if schema is None:
            dropped.append(f"{path}.strict")
        else:
            written |= {"input_schema": schema, "strict": True}
    if tool.raw and tool.family == FAMILY:
        written |= tool.raw
    else:
        dropped += [f"{path}.{name}" for name in tool.raw]
    return written | cache_mark(tool.cache)


def _object_schema(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """The API demands a type, and "object" is all that it may be."""
    if parameters.get("type") == "object":
        return parameters
    return {"type": "object", "properties": {}} if not parameters else {**parameters, "type": "object"}


def _choice(conversation: Conversation, choice: ToolChoice | None, names: set[str]) -> dict[str, Any]:
    alone = conversation.parallel_tools is False or conversation.single_call
    if choice is None and not alone:
        return {}
    written: dict[str, Any] = {"type": _MODES[choice.mode] if choice is not None else "auto"}
    if choice is not None and choice.mode == "named":
        found = _named(choice.name, conversation.tools)
        if found not in names:
            raise Unfit("tool_choice", "names a tool that is not among `tools`, or that the backend does not have")
        written["name"] = found
    if alone and written["type"] != "none":
        written["disable_parallel_tool_use"] = True
    return written


def _named(name: str, tools: tuple[Tool, ...]) -> str:
    tool = next((one for one in tools if one.name == name and not one.server), None)
    return name if tool is None else flat_name(tool.name, tool.namespace)


def _without_tools(choice: ToolChoice | None, dropped: list[str]) -> None:
    """The API takes a choice only beside tools."""
    if choice is None:
        return
    if choice.mode in ("required", "named"):
        raise Unfit("tool_choice", "asks for a tool, and there is none that the backend has")
    if choice.mode != "none":
        dropped.append("tool_choice")
