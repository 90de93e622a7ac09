"""What a caller says beside its contents: tools, tool choice, generationConfig, as canonical values.

The rule: what is not known goes into `lost` by its path, from where another writer reports it and this language's own says it again.
Sources: ai.google.dev/api/generate-content#v1beta.GenerationConfig, ai.google.dev/api/caching#Tool and #ToolConfig.
"""

from collections.abc import Mapping
from typing import Any, cast

import attrs

from appliance.core.conversation import Effort, OutputFormat, ReasoningWish, Sampling, Tool, ToolChoice
from appliance.dialects.fields import flag, integer, mapping, needed, number, one_of, optional, text, texts
from appliance.dialects.gemini_json import message, messages
from appliance.dialects.gemini_schema import json_schema
from appliance.dialects.gemini_seal import OWN

CONFIG = "generationConfig"
CALLING = "toolConfig.functionCallingConfig"

_JSON = "application/json"
_LEVELS = ("minimal", "low", "medium", "high", "xhigh")
_MODES = ("AUTO", "ANY", "NONE", "VALIDATED", "MODE_UNSPECIFIED")


@attrs.define
class Settings:
    """Of one request. lost: what has no canonical place, by path from the request's top."""

    max_tokens: int | None = None
    output: OutputFormat | None = None
    reasoning: ReasoningWish | None = None
    sampling: Sampling = attrs.field(factory=Sampling)
    modalities: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    lost: dict[str, Any] = attrs.field(factory=dict)


def read_settings(fields: Mapping[str, Any]) -> Settings:
    """fields: the request's, with names in camelCase; raises Unfit."""
    settings = Settings()
    _read_config(optional(message, fields, CONFIG) or {}, settings)
    validated = _read_tool_config(optional(message, fields, "toolConfig") or {}, settings)
    tools: list[Tool] = []
    for place, one in enumerate(messages(fields.get("tools") or [], "tools")):
        tools += _read_tool(one, f"tools[{place}]", settings.lost, True if validated else None)
    settings.tools = tuple(tools)
    return settings


def _read_config(config: Mapping[str, Any], settings: Settings) -> None:
    given = {name: value for name, value in config.items() if value is not None}
    settings.max_tokens = _take(integer, given, "maxOutputTokens")
    modalities = _take(texts, given, "responseModalities")
    settings.modalities = tuple(one.lower() for one in modalities or ())
    settings.sampling = Sampling(
        temperature=_take(number, given, "temperature"),
        top_p=_take(number, given, "topP"),
        top_k=_take(integer, given, "topK"),
        stop=_take(texts, given, "stopSequences") or (),
        seed=_take(integer, given, "seed"),
        presence_penalty=_take(number, given, "presencePenalty"),
        frequency_penalty=_take(number, given, "frequencyPenalty"),
        logprobs=_take(flag, given, "responseLogprobs"),
        top_logprobs=_take(integer, given, "logprobs"),
        candidates=_take(integer, given, "candidateCount"),
    )
    thinking = _take(message, given, "thinkingConfig")
    settings.reasoning = _read_thinking(thinking, settings.lost) if thinking else None
    settings.output = _read_output(given)
    settings.lost |= {f"{CONFIG}.{name}": value for name, value in given.items()}


def _take(read: Any, given: dict[str, Any], name: str) -> Any:
    """The member, read, and gone from what is given."""
    found = optional(read, given, name, CONFIG)
    given.pop(name, None)
    return found


def _read_thinking(thinking: Mapping[str, Any], lost: dict[str, Any]) -> ReasoningWish | None:
    path = f"{CONFIG}.thinkingConfig"
    level = (optional(text, thinking, "thinkingLevel", path) or "").lower()
    effort: Effort | None = None
    if level and level != "thinking_level_unspecified":
        effort = cast(Effort, one_of(level, _LEVELS, f"{path}.thinkingLevel"))
    known = ("thinkingLevel", "thinkingBudget", "includeThoughts")
    lost |= {f"{path}.{name}": value for name, value in thinking.items() if name not in known and value is not None}
    wish = ReasoningWish(
        effort=effort,
        budget_tokens=optional(integer, thinking, "thinkingBudget", path),
        shown=optional(flag, thinking, "includeThoughts", path),
    )
    return None if wish == ReasoningWish() else wish


def _read_output(given: dict[str, Any]) -> OutputFormat | None:
    """A type that is neither text nor JSON (`text/x.enum`: one bare word) stays where it is, with its schema."""
    kind = optional(text, given, "responseMimeType", CONFIG) or ""
    if kind not in ("", "text/plain", _JSON):
        return None
    given.pop("responseMimeType", None)
    own, plain_schema = _take(mapping, given, "responseSchema"), _take(mapping, given, "responseJsonSchema")
    if plain_schema is None and own is not None:
        plain_schema = json_schema(own, f"{CONFIG}.responseSchema")
    if plain_schema is not None:
        return OutputFormat("json_schema", plain_schema)
    return {"": None, "text/plain": OutputFormat("text"), _JSON: OutputFormat("json_object")}[kind]


def _read_tool(tool: Mapping[str, Any], path: str, lost: dict[str, Any], strict: bool | None) -> list[Tool]:
    """One of `tools` holds any number of functions, and perhaps tools of Google's own, each under its own name."""
    found: list[Tool] = []
    for name, value in tool.items():
        if value is None:
            continue
        if name != "functionDeclarations":
            found.append(Tool(name, server=True, family=OWN, raw={name: value}))
            continue
        for place, one in enumerate(messages(value, f"{path}.{name}")):
            found.append(_read_function(one, f"{path}.{name}[{place}]", lost, strict))
    return found


def _read_function(function: Mapping[str, Any], path: str, lost: dict[str, Any], strict: bool | None) -> Tool:
    schema = optional(mapping, function, "parametersJsonSchema", path)
    own = optional(mapping, function, "parameters", path)
    if schema is None and own is not None:
        schema = json_schema(own, f"{path}.parameters")
    known = ("name", "description", "parameters", "parametersJsonSchema")
    lost |= {f"{path}.{name}": value for name, value in function.items() if name not in known and value is not None}
    return Tool(needed(text, function, "name", path), optional(text, function, "description", path) or "", schema, strict)


def _read_tool_config(config: Mapping[str, Any], settings: Settings) -> bool:
    """Whether calls shall be held to their schemas (VALIDATED)."""
    calling = optional(message, config, "functionCallingConfig", "toolConfig") or {}
    settings.lost |= {f"toolConfig.{name}": v for name, v in config.items() if name != "functionCallingConfig" and v is not None}
    known = ("mode", "allowedFunctionNames")
    settings.lost |= {f"{CALLING}.{name}": value for name, value in calling.items() if name not in known and value is not None}
    mode = one_of((optional(text, calling, "mode", CALLING) or "MODE_UNSPECIFIED").upper(), _MODES, f"{CALLING}.mode")
    allowed = optional(texts, calling, "allowedFunctionNames", CALLING) or ()
    if mode == "ANY":
        settings.tool_choice = ToolChoice("named", allowed[0]) if len(allowed) == 1 else ToolChoice("required", allowed=allowed)
    elif mode == "NONE":
        settings.tool_choice = ToolChoice("none")
    elif mode != "MODE_UNSPECIFIED" or allowed:
        settings.tool_choice = ToolChoice("auto", allowed=allowed)
    return mode == "VALIDATED"
