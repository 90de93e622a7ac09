"""A chat request as the simulator understands it: checked as the service checks it, and read for what the prompt asks. Pure."""

import re
from collections.abc import Mapping
from typing import Any

import attrs
import orjson

from appliance.simulator.api_error import ApiError, bad_value, missing, wrong_type
from appliance.simulator.schema_instance import schema_problem
from appliance.simulator.tokens import count_tokens

N_MAX = 128  # the service's own bound on `n`
STOPS_MAX = 4
TOP_LOGPROBS_MAX = 20
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
EFFORT_TOKENS = {"none": 0, "minimal": 8, "low": 16, "medium": 32, "high": 64, "xhigh": 128}
PART_TYPES = ("text", "image_url", "input_audio", "file", "refusal")
# The service's accounting of chat framing: three tokens a message, three to open the answer.
TOKENS_PER_MESSAGE = 3
TOKENS_TO_OPEN = 3
TOKENS_PER_IMAGE = {"low": 85}
TOKENS_PER_IMAGE_HIGH = 765  # 85 and four tiles of 170, a 1024 × 1024 picture
# What the service caches: prompts from 1024 tokens on, in steps of 128.
CACHE_FROM_TOKENS = 1024
CACHE_STEP_TOKENS = 128

DIRECTIVE = re.compile(r"\[\[(say|tokens|reasoning|calls)=(.*?)\]\]", re.DOTALL)


@attrs.frozen
class Tool:
    name: str
    schema: Mapping[str, Any]


@attrs.frozen
class ChatRequest:
    """`fields` is the request's JSON object; the others are what an answer needs of it, checked.

    Attributes:
        limit: the most completion tokens, reasoning included; None when the caller gave none.
        schema: of a JSON answer; {} for any object, None for prose.
        text: of the last message, where the prompt's wishes are looked for.
        directives: `[[key=value]]` in that text; the last of a key wins.
    """

    fields: Mapping[str, Any] = attrs.field(repr=False)
    model: str
    messages: tuple[Mapping[str, Any], ...] = attrs.field(repr=False)
    stream: bool
    include_usage: bool
    include_obfuscation: bool
    n: int
    limit: int | None
    stops: tuple[str, ...]
    tools: tuple[Tool, ...]
    effort: str | None
    schema: Mapping[str, Any] | None
    logprobs: int | None
    text: str = attrs.field(repr=False)
    directives: Mapping[str, str] = attrs.field(repr=False)

    @property
    def answers_tool(self) -> bool:
        return self.messages[-1].get("role") in ("tool", "function")


def parse_chat(fields: Mapping[str, Any]) -> ChatRequest | ApiError:
    error = check_fields(fields)
    if error is not None:
        return error
    messages = tuple(fields["messages"])
    text = content_text(messages[-1].get("content"))
    options = fields.get("stream_options") or {}
    stop = fields.get("stop") or ()
    limit = fields.get("max_completion_tokens")
    return ChatRequest(
        fields=fields,
        model=fields["model"],
        messages=messages,
        stream=fields.get("stream") is True,
        include_usage=options.get("include_usage") is True,
        include_obfuscation=options.get("include_obfuscation") is not False,
        n=fields.get("n") or 1,
        limit=fields.get("max_tokens") if limit is None else limit,
        stops=(stop,) if isinstance(stop, str) else tuple(stop),
        tools=tuple(
            Tool(t["function"]["name"], t["function"].get("parameters") or {"type": "object"})
            for t in fields.get("tools") or ()
            if t["type"] == "function"
        ),
        effort=fields.get("reasoning_effort"),
        schema=answer_schema(fields.get("response_format")),
        logprobs=(fields.get("top_logprobs") or 0) if fields.get("logprobs") is True else None,
        text=text,
        directives=dict(DIRECTIVE.findall(text)),
    )


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
        if not is_list_of_objects(message.get("tool_calls") or []):
            return wrong_type(f"messages[{i}].tool_calls", "an array of objects")
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
    if fields.get("reasoning_effort") not in (None, *EFFORT_TOKENS):
        return bad_value("reasoning_effort", f"Invalid value. Supported values are: {', '.join(EFFORT_TOKENS)}.")
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
    choice = fields.get("tool_choice")
    name = chosen_tool(choice)
    if name is not None and name not in [t["function"]["name"] for t in tools if t["type"] == "function"]:
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
    """The name in `{"type": "function", "function": {"name": …}}`."""
    function = choice.get("function") if isinstance(choice, dict) else None
    return function["name"] if isinstance(function, dict) and isinstance(function.get("name"), str) else None


def answer_schema(response_format: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    kind = (response_format or {}).get("type")
    if kind == "json_object":
        return {}
    if kind == "json_schema" and response_format is not None:
        schema = (response_format.get("json_schema") or {}).get("schema")
        return schema if isinstance(schema, dict) else {}
    return None


def content_text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return content if isinstance(content, str) else ""


def prompt_tokens(request: ChatRequest) -> int:
    """The rule: 3, and for each message 3, its text, its name, its tool calls' names and arguments, its pictures (85 for `low`, else 765),
    and for each tool the tokens of its JSON without white space."""
    total = TOKENS_TO_OPEN + sum(message_tokens(m) for m in request.messages)
    return total + sum(count_tokens(orjson.dumps(t).decode()) for t in request.fields.get("tools") or ())


def message_tokens(message: Mapping[str, Any]) -> int:
    content = message.get("content")
    total = TOKENS_PER_MESSAGE + count_tokens(content_text(content)) + count_tokens(str(message.get("name") or ""))
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        total += count_tokens(str(function.get("name", ""))) + count_tokens(str(function.get("arguments", "")))
    for part in content if isinstance(content, list) else ():
        if part["type"] == "image_url":
            total += TOKENS_PER_IMAGE.get(part["image_url"].get("detail", ""), TOKENS_PER_IMAGE_HIGH)
    return total


def cached_tokens(request: ChatRequest, prompt: int) -> int:
    """With `prompt_cache_key`, everything before the last message counts as cached, in the service's steps; without it nothing does, so
    that an answer never depends on what came before it."""
    before = prompt - message_tokens(request.messages[-1])
    if not request.fields.get("prompt_cache_key") or before < CACHE_FROM_TOKENS:
        return 0
    return before // CACHE_STEP_TOKENS * CACHE_STEP_TOKENS
