"""Tools for languages that know only functions with JSON arguments: free-text tools and namespaces, there and back.

The rule: what is written here is undone here. The caller's own request says which of its tools were changed, so nothing has to be
remembered between two turns.
"""

import json
from collections.abc import Sequence

import attrs

from appliance.core.conversation import Tool
from appliance.core.message import Media, Text, ToolCall, ToolResult

INPUT = "input"
"""The one parameter of a function that stands for a free-text tool."""

JOINT = "__"
"""Between namespace and name: legal in function names of every vendor, which allow letters, digits, `_` and `-`."""


def flat_name(name: str, namespace: str) -> str:
    """One name for a tool of a namespace."""
    return f"{namespace}{JOINT}{name}" if namespace else name


def function_of(tool: Tool) -> Tool:
    """A free-text tool as a function of one text; its grammar, which nothing enforces then, is told in the description."""
    told = [tool.description] if tool.description else []
    if tool.grammar is not None and isinstance(definition := tool.grammar.get("definition"), str):
        told.append(f"The input must match this {tool.grammar.get('syntax', 'given')} grammar:\n{definition}")
    schema = {"type": "object", "properties": {INPUT: {"type": "string"}}, "required": [INPUT], "additionalProperties": False}
    return attrs.evolve(tool, custom=False, grammar=None, description="\n\n".join(told), parameters=schema)


def arguments_of(text: str) -> str:
    """The arguments of such a function, for the text that its tool was called with."""
    return json.dumps({INPUT: text}, ensure_ascii=False)


def text_of(arguments: str) -> str:
    """The text in such arguments. What is no object with that one member (a model may write the bare text) is itself the text."""
    try:
        found = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    text = found.get(INPUT) if isinstance(found, dict) else None
    return text if isinstance(text, str) else arguments


def error_in_words(result: ToolResult) -> ToolResult:
    """A tool's result as languages without a mark for errors have it: its first words say that it is one, unless they do already."""
    if not result.is_error:
        return result
    place = next((place for place, part in enumerate(result.parts) if isinstance(part, Text)), None)
    parts: list[Text | Media] = list(result.parts)
    if place is None:
        parts.insert(0, Text("Error:"))
    elif isinstance(first := parts[place], Text) and not first.text.lower().startswith("error"):
        parts[place] = attrs.evolve(first, text=f"Error: {first.text}")
    return attrs.evolve(result, parts=tuple(parts), is_error=False)


def restored(call: ToolCall, tools: Sequence[Tool]) -> ToolCall:
    """The call as the caller knows its tool: by its own name and namespace, with free text where it has that."""
    for tool in tools:
        if not tool.server and flat_name(tool.name, tool.namespace) == flat_name(call.name, call.namespace):
            arguments = text_of(call.arguments) if tool.custom and not call.custom else call.arguments
            return attrs.evolve(call, name=tool.name, namespace=tool.namespace, arguments=arguments, custom=tool.custom or call.custom)
    return call
