"""Tools of chat completions, the choice between them, and the form of the answer: read from callers, written to backends.

The rule: what decides what the model may do is written or refused, never left out quietly. Source: OpenAI API reference, chat/create; the
older `functions` and `function_call` are read as tools.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from appliance.core.conversation import Conversation, OutputFormat, Tool, ToolChoice
from appliance.core.tool_forms import flat_name, function_of
from appliance.dialects.chat_content import cache_mark, written_mark
from appliance.dialects.codec import Target
from appliance.dialects.fields import Unfit, flag, mapping, needed, one_of, optional, sequence, text

NAME = "openai_chat"

SCHEMA_LEVELS_MAX = 100
"""Beyond it nobody looks whether a schema may be strict; OpenAI takes 10."""

_NOT_STRICT = frozenset({"allOf", "oneOf", "not", "dependentRequired", "dependentSchemas", "if", "then", "else", "patternProperties"})
"""Members that OpenAI refuses in strict schemas."""


def read_tools(fields: Mapping[str, Any]) -> tuple[Tool, ...]:
    tools = [
        _read_tool(mapping(one, f"tools[{place}]"), f"tools[{place}]")
        for place, one in enumerate(optional(sequence, fields, "tools") or [])
    ]
    for place, one in enumerate(optional(sequence, fields, "functions") or []):
        tools.append(_read_function(mapping(one, f"functions[{place}]"), f"functions[{place}]"))
    return tuple(tools)


def _read_tool(tool: Mapping[str, Any], path: str) -> Tool:
    kind = needed(text, tool, "type", path) if "type" in tool else "function"
    if kind == "function":
        found = _read_function(needed(mapping, tool, "function", path), f"{path}.function")
        mark = cache_mark(tool)
        return attrs.evolve(found, cache=mark) if mark else found
    if kind != "custom":  # a vendor's own, which it runs itself: Moonshot's builtin_function, Z.ai's web_search
        return Tool(kind, server=True, family=NAME, raw=dict(tool))
    custom = needed(mapping, tool, "custom", path)
    where = f"{path}.custom"
    form = optional(mapping, custom, "format", where) or {}
    grammar = optional(mapping, form, "grammar", f"{where}.format")
    return Tool(
        needed(text, custom, "name", where),
        optional(text, custom, "description", where) or "",
        custom=True,
        grammar=None if grammar is None else {"type": "grammar", **grammar},
    )


def _read_function(function: Mapping[str, Any], path: str) -> Tool:
    return Tool(
        needed(text, function, "name", path),
        optional(text, function, "description", path) or "",
        optional(mapping, function, "parameters", path),
        optional(flag, function, "strict", path),
    )


def read_choice(fields: Mapping[str, Any]) -> ToolChoice | None:
    choice, path = fields.get("tool_choice"), "tool_choice"
    if choice is None:
        choice, path = fields.get("function_call"), "function_call"
        if isinstance(choice, dict):
            return ToolChoice("named", needed(text, choice, "name", path))
    if choice is None:
        return None
    if isinstance(choice, str):
        word = one_of(choice, ("auto", "none", "required", "any"), path)  # `any` is Mistral's for required
        return ToolChoice("auto" if word == "auto" else "none" if word == "none" else "required")
    choice = mapping(choice, path)
    kind = one_of(choice.get("type", "function"), ("function", "custom", "allowed_tools"), f"{path}.type")
    if kind == "allowed_tools":
        return _read_allowed(needed(mapping, choice, kind, path), f"{path}.{kind}")
    return ToolChoice("named", needed(text, needed(mapping, choice, kind, path), "name", f"{path}.{kind}"))


def _read_allowed(allowed: Mapping[str, Any], path: str) -> ToolChoice:
    mode = one_of(allowed.get("mode"), ("auto", "required"), f"{path}.mode")
    names = []
    for place, one in enumerate(needed(sequence, allowed, "tools", path)):
        where = f"{path}.tools[{place}]"
        named = mapping(one, where)
        kind = named.get("type", "function")
        inner = named.get(kind) if isinstance(kind, str) else None
        names.append(needed(text, inner if isinstance(inner, dict) else named, "name", where))
    return ToolChoice("required" if mode == "required" else "auto", allowed=tuple(names))


def read_format(fields: Mapping[str, Any]) -> OutputFormat | None:
    wanted = optional(mapping, fields, "response_format")
    if wanted is None:
        return None
    kind = one_of(wanted.get("type"), ("text", "json_object", "json_schema"), "response_format.type")
    if kind == "text":
        return OutputFormat("text")
    if kind == "json_object":  # several vendors take a schema here: Together, Fireworks, llama.cpp
        schema = optional(mapping, wanted, "schema", "response_format")
        return OutputFormat("json_object") if schema is None else OutputFormat("json_schema", schema)
    path = "response_format.json_schema"
    form = needed(mapping, wanted, "json_schema", "response_format")
    return OutputFormat(
        "json_schema",
        optional(mapping, form, "schema", path),
        optional(text, form, "name", path) or "",
        optional(text, form, "description", path) or "",
        optional(flag, form, "strict", path),
    )


def write_tools(conversation: Conversation, target: Target, dropped: list[str]) -> list[dict[str, Any]]:
    """The tools for a backend. Where it has no allowed_tools, only those that the choice allows are offered: the model cannot tell."""
    choice = conversation.tool_choice
    allowed = choice.allowed if choice is not None and "allowed_tools" in target.drop else ()
    tools = []
    for place, tool in enumerate(conversation.tools):
        path = f"tools[{place}]"
        if allowed and tool.name not in allowed:
            continue
        if tool.server:
            if tool.family == NAME:
                tools.append(dict(tool.raw))
            else:
                dropped.append(f"{path}: {tool.name}")
            continue
        tools.append(_write_tool(tool, target, dropped, path))
    return tools


def _write_tool(tool: Tool, target: Target, dropped: list[str], path: str) -> dict[str, Any]:
    marked = {"cache_control": written_mark(tool.cache)} if tool.cache and "cache" in target.rename else {}
    if tool.cache and not marked:
        dropped.append(f"{path}.cache")
    dropped += [f"{path}.{name}" for name in tool.raw]
    if tool.custom and target.rename.get("custom") == "function":
        if tool.grammar is not None:
            dropped.append(f"{path}.grammar")
        tool = function_of(tool)
    named: dict[str, Any] = {"name": flat_name(tool.name, tool.namespace)}
    if tool.description:
        named["description"] = tool.description
    if tool.custom:
        if tool.grammar is not None:
            form = {name: value for name, value in tool.grammar.items() if name != "type"}
            named["format"] = {"type": "grammar", "grammar": form}
        return {"type": "custom", "custom": named, **marked}
    # Mistral and others refuse a function without parameters; to OpenAI it is the same as none.
    named["parameters"] = _written_parameters(tool.parameters or {"type": "object"})
    if tool.strict is not None:
        if "strict" not in target.drop:
            named["strict"] = tool.strict
        elif tool.strict:
            dropped.append(f"{path}.strict")
    return {"type": "function", "function": named, **marked}


def _written_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI answers 400 to an object without properties ("object schema missing properties"), which Anthropic takes."""
    return {**parameters, "properties": {}} if parameters.get("type") == "object" and "properties" not in parameters else dict(parameters)


def write_choice(conversation: Conversation, target: Target) -> str | dict[str, Any] | None:
    """The choice for a backend. Raises Unfit where it names a tool that is not there."""
    choice = conversation.tool_choice
    if choice is None:
        return None
    if choice.mode == "named":
        return _write_named(choice.name, conversation, target)
    if choice.allowed and "allowed_tools" not in target.drop:
        tools = [_write_named(name, conversation, target) for name in choice.allowed]
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": tools}}
    return choice.mode


def _write_named(name: str, conversation: Conversation, target: Target) -> dict[str, Any]:
    found = [tool for tool in conversation.tools if tool.name == name]
    if not found or (found[0].server and found[0].family != NAME):
        raise Unfit("tool_choice", "names a tool that cannot be offered to this backend")
    custom = found[0].custom and target.rename.get("custom") != "function"
    kind = "custom" if custom else "function"
    return {"type": kind, kind: {"name": flat_name(found[0].name, found[0].namespace)}}


def write_format(output: OutputFormat, always_strict: bool = False) -> dict[str, Any]:
    """always_strict: the caller's language knows no other, so a schema that may be is enforced here, too."""
    if output.kind != "json_schema":
        return {"type": output.kind}
    form: dict[str, Any] = {"name": output.name or "answer"}  # a name is required
    if output.description:
        form["description"] = output.description
    if output.schema is not None:
        form["schema"] = dict(output.schema)
    strict = output.strict
    if strict is None and always_strict and output.schema is not None and may_be_strict(output.schema):
        strict = True
    if strict is not None:
        form["strict"] = strict
    return {"type": "json_schema", "json_schema": form}


def may_be_strict(schema: Any, levels: int = SCHEMA_LEVELS_MAX) -> bool:
    """Whether OpenAI takes a schema as a strict one: every object is closed and all of its properties are required
    (platform.openai.com/docs/guides/structured-outputs, "supported schemas")."""
    if isinstance(schema, list):
        return all(may_be_strict(one, levels) for one in schema)
    if not isinstance(schema, Mapping):
        return True
    if levels == 0 or _NOT_STRICT & schema.keys():
        return False
    properties = schema.get("properties")
    kind = schema.get("type")
    if kind == "object" or (isinstance(kind, list) and "object" in kind) or isinstance(properties, Mapping):
        required = schema.get("required")
        named = set(properties) if isinstance(properties, Mapping) else set()
        if schema.get("additionalProperties") is not False or named != set(required if isinstance(required, list) else ()):
            return False
    inner = [value for name, value in schema.items() if name in ("items", "anyOf")]
    for name in ("properties", "$defs", "definitions"):
        inner += schema[name].values() if isinstance(schema.get(name), Mapping) else ()
    return all(may_be_strict(one, levels - 1) for one in inner)
