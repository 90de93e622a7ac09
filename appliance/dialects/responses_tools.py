"""Tools of the Responses API and the choice among them: functions, free-text tools with a grammar, groups, what the provider runs itself.

The rule: a group (`namespace`) is read into tools that know their group, and written as one again; a built-in tool travels as it was
written. Reference: platform.openai.com/docs/api-reference/responses/create, guides function-calling and tools-tool-search.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from appliance.core.conversation import Tool, ToolChoice
from appliance.dialects import fields as f
from appliance.dialects.fields import Unfit
from appliance.dialects.responses_content import FAMILY

_MODES = ("none", "auto", "required")
_FUNCTION_FIELDS = frozenset({"type", "name", "description", "parameters", "strict"})
_CUSTOM_FIELDS = frozenset({"type", "name", "description", "format"})


@attrs.define
class Toolbox:
    """Tools as they are found: in `tools`, in `additional_tools` items, in what a tool search loaded. The last of a name counts.

    Attributes:
        lost: members of definitions that no other language has ("defer_loading"), to be reported.
    """

    _tools: dict[tuple[str, str], Tool] = attrs.field(factory=dict)
    lost: set[str] = attrs.field(factory=set)

    def add(self, value: Any, path: str) -> None:
        for place, one in enumerate(f.sequence(value, path)):
            for tool in self._read(f.mapping(one, f"{path}[{place}]"), f"{path}[{place}]"):
                # Two servers of one type (mcp) are two tools.
                key = (f"\0{len(self._tools)}", "") if tool.server else (tool.namespace, tool.name)
                self._tools.pop(key, None)
                self._tools[key] = tool

    def tools(self) -> tuple[Tool, ...]:
        return tuple(self._tools.values())

    def _read(self, one: Mapping[str, Any], path: str) -> list[Tool]:
        match f.needed(f.text, one, "type", path):
            case "function":
                return [self._read_function(one, path)]
            case "custom":
                return [self._read_custom(one, path)]
            case "namespace":
                return self._read_namespace(one, path)
            case kind:
                return [Tool(kind, server=True, family=FAMILY, raw=dict(one))]

    def _read_namespace(self, group: Mapping[str, Any], path: str) -> list[Tool]:
        name = f.needed(f.text, group, "name", path)
        about = f.optional(f.text, group, "description", path) or ""
        tools: list[Tool] = []
        for place, one in enumerate(f.optional(f.sequence, group, "tools", path) or ()):
            where = f"{path}.tools[{place}]"
            inner = f.mapping(one, where)
            kind = f.one_of(inner.get("type"), ("function", "custom"), f"{where}.type")
            tool = self._read_function(inner, where) if kind == "function" else self._read_custom(inner, where)
            tools.append(attrs.evolve(tool, namespace=name, namespace_description=about))
        return tools

    def _read_function(self, one: Mapping[str, Any], path: str) -> Tool:
        if "name" not in one and isinstance(one.get("function"), dict):
            raise Unfit(f"{path}.name", "is missing: a function of the Responses API has name and parameters at its top level")
        self._note(one, _FUNCTION_FIELDS)
        return Tool(
            f.needed(f.text, one, "name", path),
            f.optional(f.text, one, "description", path) or "",
            f.optional(f.mapping, one, "parameters", path),
            f.optional(f.flag, one, "strict", path),
        )

    def _read_custom(self, one: Mapping[str, Any], path: str) -> Tool:
        self._note(one, _CUSTOM_FIELDS)
        shape = f.optional(f.mapping, one, "format", path)
        return Tool(
            f.needed(f.text, one, "name", path),
            f.optional(f.text, one, "description", path) or "",
            custom=True,
            grammar=dict(shape) if shape is not None and shape.get("type") == "grammar" else None,
        )

    def _note(self, one: Mapping[str, Any], known: frozenset[str]) -> None:
        self.lost |= {name for name, value in one.items() if name not in known and value is not None}


def read_choice(value: Any, path: str) -> ToolChoice:
    if isinstance(value, str):
        mode = f.one_of(value, _MODES, path)
        return ToolChoice("none" if mode == "none" else "required" if mode == "required" else "auto")
    choice = f.mapping(value, path)
    kind = f.needed(f.text, choice, "type", path)
    if kind in ("function", "custom"):
        return ToolChoice("named", f.needed(f.text, choice, "name", path))
    if kind != "allowed_tools":
        return ToolChoice("named", kind)
    mode = f.one_of(choice.get("mode") or "auto", ("auto", "required"), f"{path}.mode")
    names: list[str] = []
    for place, one in enumerate(f.needed(f.sequence, choice, "tools", path)):
        where = f"{path}.tools[{place}]"
        tool = f.mapping(one, where)
        names.append(f.optional(f.text, tool, "name", where) or f.needed(f.text, tool, "type", where))
    return ToolChoice("required" if mode == "required" else "auto", allowed=tuple(names))


def write_tools(tools: Iterable[Tool], strict_unsaid: bool | None, dropped: list[str]) -> list[dict[str, Any]]:
    """Definitions, groups put together again.

    Args:
        strict_unsaid: what to say where nobody said whether a function is strict; None to say nothing.
        dropped: gets the tools that another language's provider would have run itself.
    """
    written: list[dict[str, Any]] = []
    groups: dict[str, dict[str, Any]] = {}
    for place, tool in enumerate(tools):
        if tool.cache:
            dropped.append(f"tools[{place}].cache")
        if tool.server and tool.family != FAMILY:
            dropped.append(f"tools[{place}]: {tool.name}")
            continue
        if not tool.server:
            dropped += [f"tools[{place}].{name}" for name in tool.raw]
        one = dict(tool.raw) if tool.server else _write_tool(tool, strict_unsaid)
        if not tool.namespace:
            written.append(one)
        elif tool.namespace in groups:
            groups[tool.namespace]["tools"].append(one)
        else:
            groups[tool.namespace] = {
                "type": "namespace", "name": tool.namespace, "description": tool.namespace_description, "tools": [one],
            }  # fmt: skip
            written.append(groups[tool.namespace])
    return written


def _write_tool(tool: Tool, strict_unsaid: bool | None) -> dict[str, Any]:
    one: dict[str, Any] = {"type": "custom" if tool.custom else "function", "name": tool.name}
    if tool.description:
        one["description"] = tool.description
    if tool.custom:
        return {**one, "format": dict(tool.grammar)} if tool.grammar is not None else one
    one["parameters"] = dict(tool.parameters) if tool.parameters is not None else None
    strict = tool.strict if tool.strict is not None else strict_unsaid
    return {**one, "strict": strict} if strict is not None else one


def write_choice(choice: ToolChoice, tools: Sequence[Tool]) -> str | dict[str, Any]:
    """Raises Unfit where the chosen tool is one that could not be said."""
    if choice.mode == "named":
        return _pointer(choice.name, tools)
    if choice.allowed and choice.mode != "none":
        return {"type": "allowed_tools", "mode": choice.mode, "tools": [_pointer(name, tools) for name in choice.allowed]}
    return choice.mode


def _pointer(name: str, tools: Sequence[Tool]) -> dict[str, Any]:
    tool = next((one for one in tools if one.name == name), None)
    if tool is None:
        return {"type": "function", "name": name}
    if not tool.server:
        return {"type": "custom" if tool.custom else "function", "name": name}
    if tool.family != FAMILY:
        raise Unfit("tool_choice", f"names {name}, a tool that this backend does not have")
    return {"type": name, **{key: tool.raw[key] for key in ("server_label",) if key in tool.raw}}
