"""What api.openai.com objects to in a chat request: the first mistake, in its words. Pure."""

from collections.abc import Mapping
from typing import Any

from appliance.simulator.api_error import ApiError, bad_value, missing, wrong_type
from appliance.simulator.schema_instance import schema_problem

N_MAX = 128  # the service's own bound on `n`
STOPS_MAX = 4
TOP_LOGPROBS_MAX = 20
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
PART_TYPES = ("text", "image_url", "input_audio", "file", "refusal")


def check_fields(fields: Mapping[str, Any]) -> ApiError | None:
    """The first thing the service would object to."""
    if not isinstance(fields.get("model"), str) or not fields["model"]:
        return ApiError(400, "you must provide a model parameter")
    return check_messages(fields.get("messages")) or check_scalars(fields) or check_tools(fields) or check_format(fields)


def check_messages(messages: Any) -> ApiError | None:
    if messages is None:
        return missing("messages")
    if not isinstance(messages, list):
        return wrong_type("messages", "an array of objects")
    if not messages:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1."
        return ApiError(400, message, param="messages", code="empty_array")
    for i, message in enumerate(messages):
        if not isinstance(message, dict):
            return wrong_type(f"messages[{i}]", "an object")
        if message.get("role") not in ROLES:
            return bad_value(f"messages[{i}].role", f"Invalid value: '{message.get('role')}'. Supported values are: {', '.join(ROLES)}.")
        error = check_content(message.get("content"), f"messages[{i}].content")
        if error is not None:
            return error
        calls = message.get("tool_calls") or []
        if not is_list_of_objects(calls):
            return wrong_type(f"messages[{i}].tool_calls", "an array of objects")
        for j, call in enumerate(calls):
            for kind in ("function", "custom"):
                if not isinstance(call.get(kind), dict | None):
                    return wrong_type(f"messages[{i}].tool_calls[{j}].{kind}", "an object")
    return None


def check_content(content: Any, where: str) -> ApiError | None:
    if content is None or isinstance(content, str):
        return None
    if not is_list_of_objects(content):
        return wrong_type(where, "one of a string or array of objects")
    for j, part in enumerate(content):
        if part.get("type") not in PART_TYPES:
            return bad_value(f"{where}[{j}].type", f"Invalid value: '{part.get('type')}'. Supported values are: {', '.join(PART_TYPES)}.")
        if part["type"] == "image_url" and not (isinstance(part.get("image_url"), dict) and isinstance(part["image_url"].get("url"), str)):
            return missing(f"{where}[{j}].image_url.url")
    return None


def check_scalars(fields: Mapping[str, Any]) -> ApiError | None:
    for name, low, high in (
        ("n", 1, N_MAX),
        ("max_tokens", 1, 1 << 31),
        ("max_completion_tokens", 1, 1 << 31),
        ("top_logprobs", 0, TOP_LOGPROBS_MAX),
    ):
        value = fields.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            return wrong_type(name, "an integer")
        if not low <= value <= high:
            return ApiError(400, f"Invalid '{name}': {value} is outside {low} to {high}.", param=name, code="integer_out_of_range")
    for name in ("stream", "logprobs", "parallel_tool_calls"):
        if not isinstance(fields.get(name), bool | None):
            return wrong_type(name, "a boolean")
    stop = fields.get("stop")
    if stop is not None and not isinstance(stop, str) and not (isinstance(stop, list) and all(isinstance(s, str) for s in stop)):
        return wrong_type("stop", "a string or an array of strings")
    if isinstance(stop, list) and len(stop) > STOPS_MAX:
        return bad_value("stop", f"Invalid 'stop': array too long. Expected an array with maximum length {STOPS_MAX}.")
    for name in ("stream_options", "response_format"):
        if not isinstance(fields.get(name), dict | None):
            return wrong_type(name, "an object")
    if fields.get("stream_options") is not None and fields.get("stream") is not True:
        return bad_value("stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
    if fields.get("reasoning_effort") not in (None, *EFFORTS):
        return bad_value("reasoning_effort", f"Invalid value. Supported values are: {', '.join(EFFORTS)}.")
    return None


def check_tools(fields: Mapping[str, Any]) -> ApiError | None:
    tools = fields.get("tools")
    if tools is None:
        if fields.get("tool_choice") not in (None, "none", "auto"):
            return bad_value("tool_choice", "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.")
        return None
    if not is_list_of_objects(tools):
        return wrong_type("tools", "an array of objects")
    for i, tool in enumerate(tools):
        if tool.get("type") not in ("function", "custom"):
            return missing(f"tools[{i}].type")
        if tool["type"] == "function":
            function = tool.get("function")
            if not isinstance(function, dict) or not isinstance(function.get("name"), str):
                return missing(f"tools[{i}].function.name")
            if not isinstance(function.get("parameters"), dict | None):
                return wrong_type(f"tools[{i}].function.parameters", "an object")
            problem = schema_problem(function.get("parameters") or {})
            if problem is not None:
                message = f"Invalid schema for function '{function['name']}': {problem}"
                return ApiError(400, message, param=f"tools[{i}].function.parameters", code="invalid_function_parameters")
        elif not isinstance(tool.get("custom"), dict) or not isinstance(tool["custom"].get("name"), str):
            return missing(f"tools[{i}].custom.name")
    name = chosen_tool(fields.get("tool_choice"))
    if name is not None and name not in [t[t["type"]]["name"] for t in tools]:
        return bad_value("tool_choice", f"Tool choice '{name}' not found in 'tools' parameter.")
    return None


def check_format(fields: Mapping[str, Any]) -> ApiError | None:
    wanted = fields.get("response_format") or {}
    if wanted.get("type") != "json_schema":
        return None
    named = wanted.get("json_schema")
    if not isinstance(named, dict):
        return missing("response_format.json_schema")
    problem = schema_problem(named.get("schema") or {})
    return bad_value("response_format", f"Invalid schema for response_format: {problem}") if problem is not None else None


def is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def chosen_tool(choice: Any) -> str | None:
    """The name in `{"type": "function", "function": {"name": …}}`, or the same with "custom"."""
    named = (choice.get("function") or choice.get("custom")) if isinstance(choice, dict) else None
    return named["name"] if isinstance(named, dict) and isinstance(named.get("name"), str) else None
