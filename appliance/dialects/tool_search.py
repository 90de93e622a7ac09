"""The search for deferred tools that a client of the Responses API runs itself (`tool_search` with execution `client`), as a function for
backends of other languages: they would call none of the tools that were not told at first.

The rule: only what has a call id and an execution by the client is one; a search by the provider stays what its own language knows.
Reference: openai-python's types ToolSearchTool, ResponseToolSearchCall and ResponseToolSearchOutputItem.
"""

from collections.abc import Mapping
from typing import Any

import attrs
import orjson

from appliance.core.conversation import Tool
from appliance.core.message import Foreign, Text, ToolCall, ToolResult

FAMILY, NAME = "openai_responses", "tool_search"
CALL, OUTPUT = "tool_search_call", "tool_search_output"

_LOADED = "These tools can be called now:"
_NOTHING = "No tools were found."


def is_search(tool: Tool) -> bool:
    """Whether it is one that the client runs."""
    return tool.server and tool.family == FAMILY and tool.name == NAME and tool.raw.get("execution") == "client"


def function_of(tool: Tool) -> Tool:
    about, schema = tool.raw.get("description"), tool.raw.get("parameters")
    return Tool(NAME, about if isinstance(about, str) else "", schema if isinstance(schema, dict) else {"type": "object"})


def call_of(part: Foreign) -> ToolCall | None:
    """The call that an item of the history is; None for any other item."""
    call_id = _id_of(part, CALL)
    if not call_id:
        return None
    arguments = part.raw.get("arguments")
    return ToolCall(call_id, NAME, arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode() if arguments else "")


def result_of(part: Foreign, called: Mapping[tuple[str, str], str]) -> ToolResult | None:
    """What such a call found, in words; None for any other item. called: what tools are called there, by namespace and name."""
    call_id = _id_of(part, OUTPUT)
    if not call_id:
        return None
    found = [f"- {called.get(key, key[1])}" for key in _keys(part.raw.get("tools"))]
    return ToolResult(call_id, (Text("\n".join([_LOADED, *found]) if found else _NOTHING),), NAME)


def restored(call: ToolCall) -> Foreign:
    """The item that a call of the function stands for."""
    try:
        arguments = orjson.loads(call.arguments) if call.arguments.strip() else {}
    except orjson.JSONDecodeError:
        arguments = {"query": call.arguments}  # the bare words, as models write them now and then
    return Foreign(FAMILY, CALL, {"call_id": call.id, "execution": "client", "status": "completed", "arguments": arguments})


def _id_of(part: Foreign, kind: str) -> str:
    call_id = part.raw.get("call_id")
    ours = part.family == FAMILY and part.kind == kind and part.raw.get("execution", "client") == "client"
    return call_id if ours and isinstance(call_id, str) else ""


def _keys(tools: Any, namespace: str = "") -> list[tuple[str, str]]:
    """Namespace and name of the tools that a search loaded."""
    keys: list[tuple[str, str]] = []
    for one in tools if isinstance(tools, list) else ():
        name = one.get("name") if isinstance(one, dict) else None
        if not isinstance(name, str):
            continue
        keys += _keys(one.get("tools"), name) if one.get("type") == "namespace" and not namespace else [(namespace, name)]
    return keys


@attrs.define
class HeldCall:
    """A call of the function in a stream, which cannot be told as an item before it is whole."""

    call: ToolCall
    pieces: list[str] = attrs.field(factory=list)

    def whole(self) -> Foreign:
        return restored(attrs.evolve(self.call, arguments=self.call.arguments + "".join(self.pieces)))
