"""What api.openai.com objects to in the fields of a Responses request: the first mistake, in its words. Pure.

What the items of `input` must fulfil is in `responses_items.py`.
"""

from collections.abc import Mapping
from typing import Any

from appliance.simulator.api_error import ApiError, bad_value, missing, wrong_type
from appliance.simulator.languages.openai_chat_check import EFFORTS
from appliance.simulator.schema_instance import schema_problem
from appliance.simulator.strict_schema import strict_problem

OUTPUT_TOKENS_LEAST = 16
TOP_LOGPROBS_MAX = 20
FIELDS = frozenset(
    (
        "access_programs", "background", "context_management", "conversation", "image", "include", "input", "instructions",
        "max_output_tokens", "max_tool_calls", "metadata", "model", "moderation", "parallel_tool_calls", "previous_response_id", "prompt",
        "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning", "safety_identifier", "service_tier", "store",
        "stream", "stream_options", "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user",
    )
)  # fmt: skip
COUNT_FIELDS = frozenset(
    (
        "conversation", "input", "instructions", "model", "parallel_tool_calls", "personality", "previous_response_id", "reasoning", "text",
        "tool_choice", "tools", "truncation",
    )
)  # fmt: skip
NOT_SIMULATED = ("background", "conversation", "prompt")
INCLUDABLE = (
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
)
SUMMARIES = ("auto", "concise", "detailed")
VERBOSITIES = ("low", "medium", "high")
HOSTED_TOOLS = frozenset(
    (
        "apply_patch", "code_interpreter", "computer", "computer_use_preview", "file_search", "image_generation", "local_shell", "mcp",
        "namespace", "programmatic_tool_calling", "shell", "tool_search", "web_search", "web_search_2025_08_26", "web_search_preview",
        "web_search_preview_2025_03_11",
    )
)  # fmt: skip


def unsupported(param: str, value: Any, known: Any) -> ApiError:
    return bad_value(param, f"Invalid value: '{value}'. Supported values are: {', '.join(repr(k) for k in sorted(known))}.")


def check_fields(fields: Mapping[str, Any], *, counting: bool) -> ApiError | None:
    """`counting`: the request is to /v1/responses/input_tokens."""
    for name in fields:
        if name not in (COUNT_FIELDS if counting else FIELDS):
            return ApiError(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    if fields.get("model") is None:
        return missing("model")
    if not isinstance(fields["model"], str):
        return wrong_type("model", "a string")
    for name in NOT_SIMULATED:
        if fields.get(name):
            return bad_value(name, f"'{name}' is not simulated.")
    if fields.get("input") is None:
        return missing("input")
    if not isinstance(fields["input"], str | list):
        return wrong_type("input", "one of a string or array of objects")
    return check_scalars(fields) or check_reasoning(fields) or check_text(fields) or check_tools(fields) or check_tool_choice(fields)


def check_scalars(fields: Mapping[str, Any]) -> ApiError | None:
    for name in ("instructions", "previous_response_id", "prompt_cache_key", "user", "safety_identifier"):
        if not isinstance(fields.get(name), str | None):
            return wrong_type(name, "a string")
    for name in ("store", "stream", "parallel_tool_calls"):
        if not isinstance(fields.get(name), bool | None):
            return wrong_type(name, "a boolean")
    for name, low, high in (("max_output_tokens", OUTPUT_TOKENS_LEAST, 1 << 31), ("top_logprobs", 0, TOP_LOGPROBS_MAX)):
        value = fields.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            return wrong_type(name, "an integer")
        if value is not None and value < low:
            text = f"Invalid '{name}': integer below minimum value. Expected a value >= {low}, but got {value} instead."
            return ApiError(400, text, param=name, code="integer_below_min_value")
        if value is not None and value > high:
            text = f"Invalid '{name}': integer above maximum value. Expected a value <= {high}, but got {value} instead."
            return ApiError(400, text, param=name, code="integer_above_max_value")
    for name, top in (("temperature", 2), ("top_p", 1)):
        value = fields.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= top):
            return wrong_type(name, f"a decimal from 0 to {top}")
    include = fields.get("include")
    if include is not None and not isinstance(include, list):
        return wrong_type("include", "an array of strings")
    for i, wanted in enumerate(include or ()):
        if wanted not in INCLUDABLE:
            return unsupported(f"include[{i}]", wanted, INCLUDABLE)
    for name in ("reasoning", "text", "stream_options", "metadata"):
        if not isinstance(fields.get(name), dict | None):
            return wrong_type(name, "an object")
    if fields.get("stream_options") and fields.get("stream") is not True:
        return bad_value("stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
    if fields.get("truncation") not in (None, "auto", "disabled"):
        return unsupported("truncation", fields["truncation"], ("auto", "disabled"))
    return None


def check_reasoning(fields: Mapping[str, Any]) -> ApiError | None:
    reasoning = fields.get("reasoning") or {}
    if reasoning.get("effort") not in (None, *EFFORTS):
        return unsupported("reasoning.effort", reasoning["effort"], EFFORTS)
    if reasoning.get("summary") not in (None, *SUMMARIES):
        return unsupported("reasoning.summary", reasoning["summary"], SUMMARIES)
    return None


def check_text(fields: Mapping[str, Any]) -> ApiError | None:
    text = fields.get("text") or {}
    if text.get("verbosity") not in (None, *VERBOSITIES):
        return unsupported("text.verbosity", text["verbosity"], VERBOSITIES)
    wanted = text.get("format")
    if wanted is None:
        return None
    if not isinstance(wanted, dict):
        return wrong_type("text.format", "an object")
    if wanted.get("type") not in ("text", "json_object", "json_schema"):
        return unsupported("text.format.type", wanted.get("type"), ("text", "json_object", "json_schema"))
    if wanted["type"] != "json_schema":
        return None
    for name in ("name", "schema"):
        if wanted.get(name) is None:
            return missing(f"text.format.{name}")
    if not isinstance(wanted["schema"], dict):
        return wrong_type("text.format.schema", "an object")
    problem = schema_problem(wanted["schema"]) or (strict_problem(wanted["schema"]) if wanted.get("strict") is True else None)
    if problem is None:
        return None
    message = f"Invalid schema for response_format '{wanted['name']}': {problem}"
    return ApiError(400, message, param="text.format.schema", code="invalid_json_schema")


def check_tools(fields: Mapping[str, Any]) -> ApiError | None:
    tools = fields.get("tools")
    if tools is None:
        return None
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        return wrong_type("tools", "an array of objects")
    for i, tool in enumerate(tools):
        kind = tool.get("type")
        if not isinstance(kind, str):
            return missing(f"tools[{i}].type")
        if kind not in ("function", "custom"):
            if kind in HOSTED_TOOLS:
                continue
            return unsupported(f"tools[{i}].type", kind, {"function", "custom", *HOSTED_TOOLS})
        if not isinstance(tool.get("name"), str):
            return missing(f"tools[{i}].name")
        parameters = tool.get("parameters")
        if kind == "custom" or parameters is None:
            continue
        if not isinstance(parameters, dict):
            return wrong_type(f"tools[{i}].parameters", "an object")
        problem = schema_problem(parameters) or (strict_problem(parameters) if tool.get("strict") is True else None)
        if problem is not None:
            message = f"Invalid schema for function '{tool['name']}': {problem}"
            return ApiError(400, message, param=f"tools[{i}].parameters", code="invalid_function_parameters")
    return None


def check_tool_choice(fields: Mapping[str, Any]) -> ApiError | None:
    choice = fields.get("tool_choice")
    if choice is None or choice in ("auto", "none"):
        return None
    tools = fields.get("tools") or []
    if choice == "required":
        return None if tools else bad_value("tool_choice", "Tool choice 'required' must be specified with 'tools' parameter.")
    if not isinstance(choice, dict):
        return unsupported("tool_choice", choice, ("none", "auto", "required"))
    kind = str(choice.get("type"))
    if kind in ("function", "custom"):
        return check_chosen(choice, "tool_choice", tools)
    if kind == "allowed_tools":
        if choice.get("mode") not in ("auto", "required"):
            return unsupported("tool_choice.mode", choice.get("mode"), ("auto", "required"))
        if not isinstance(choice.get("tools"), list) or not all(isinstance(tool, dict) for tool in choice["tools"]):
            return wrong_type("tool_choice.tools", "an array of objects")
        for i, tool in enumerate(choice["tools"]):
            error = check_chosen(tool, f"tool_choice.tools[{i}]", tools) if tool.get("type") in ("function", "custom") else None
            if error is not None:
                return error
        return None
    return None if kind in HOSTED_TOOLS else unsupported("tool_choice.type", kind, {"function", "custom", "allowed_tools", *HOSTED_TOOLS})


def check_chosen(choice: Mapping[str, Any], path: str, tools: list[Mapping[str, Any]]) -> ApiError | None:
    if not isinstance(choice.get("name"), str):
        return missing(f"{path}.name")
    if any(tool.get("type") == choice["type"] and tool.get("name") == choice["name"] for tool in tools):
        return None
    return bad_value("tool_choice", f"Tool choice '{choice['name']}' not found in 'tools' parameter.")
