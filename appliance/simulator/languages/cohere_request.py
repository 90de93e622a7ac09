"""Cohere's v2 chat body as a chat request in no language's words, checked as the service checks it. Pure.

Source: docs.cohere.com/reference/chat and /reference/errors.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import orjson

from appliance.simulator.api_error import ApiError
from appliance.simulator.chat_request import EFFORT_TOKENS, ChatRequest, Message, Mode, Tool, budget_reasoning, sent_before
from appliance.simulator.languages.cohere_errors import invalid, unknown_field, wrong_type
from appliance.simulator.languages.cohere_messages import read_messages
from appliance.simulator.schema_instance import schema_problem

PAGE = "chat"
STOPS_MAX = 5
MODES: Mapping[str | None, Mode] = {None: "auto", "REQUIRED": "required", "NONE": "none"}
CACHE_FROM_TOKENS = 128
OBJECT, LIST, TEXT, FLAG, INTEGER, NUMBER = "an object", "an array", "a string", "a boolean", "an integer", "a number"
FIELDS: Mapping[str, str] = {
    "stream": FLAG,
    "model": TEXT,
    "messages": LIST,
    "tools": LIST,
    "strict_tools": FLAG,
    "documents": LIST,
    "citation_options": OBJECT,
    "response_format": OBJECT,
    "safety_mode": TEXT,
    "max_tokens": INTEGER,
    "stop_sequences": LIST,
    "temperature": NUMBER,
    "seed": INTEGER,
    "frequency_penalty": NUMBER,
    "presence_penalty": NUMBER,
    "k": INTEGER,
    "p": NUMBER,
    "logprobs": FLAG,
    "tool_choice": TEXT,
    "thinking": OBJECT,
    "priority": INTEGER,
    "raw_prompting": FLAG,
}
KINDS: Mapping[str, tuple[type, ...]] = {
    OBJECT: (dict,),
    LIST: (list,),
    TEXT: (str,),
    FLAG: (bool,),
    INTEGER: (int,),
    NUMBER: (int, float),
}
RANGES = (
    ("max_tokens", 0, 1 << 31),
    ("temperature", 0, 2),
    ("k", 0, 500),
    ("p", 0.01, 0.99),
    ("frequency_penalty", 0, 1),
    ("presence_penalty", 0, 1),
)
TOOL_FIELDS, FUNCTION_FIELDS = ("type", "function"), ("name", "description", "parameters")


@attrs.frozen
class CohereChat:
    """`asked` is what an answer is made from; `cached_tokens` of the prompt were found in the service's cache."""

    asked: ChatRequest
    stream: bool
    logprobs: bool
    cached_tokens: int


def read_chat(fields: Mapping[str, Any], model: str) -> CohereChat | ApiError:
    """`model` is the bare name."""
    error = fields_error(fields, FIELDS, PAGE) or scalars_error(fields)
    if error is not None:
        return error
    messages = read_messages(fields.get("messages"))
    if isinstance(messages, ApiError):
        return messages
    tools = read_tools(fields.get("tools") or [])
    if isinstance(tools, ApiError):
        return tools
    schema = answer_schema(fields)
    if isinstance(schema, ApiError):
        return schema
    asked = ChatRequest(
        model=model,
        messages=(*document_messages(fields.get("documents") or ()), *messages),
        tools=tools,
        mode=MODES[fields.get("tool_choice")],
        schema=schema,
        stops=tuple(fields.get("stop_sequences") or ()),
        limit=fields.get("max_tokens") or None,
        reasoning=reasoning(fields.get("thinking") or {}),
        seed=fields.get("seed"),
    )
    before = sent_before(asked)
    return CohereChat(asked, fields.get("stream") is True, fields.get("logprobs") is True, before if before >= CACHE_FROM_TOKENS else 0)


def fields_error(fields: Mapping[str, Any], known: Mapping[str, str], page: str) -> ApiError | None:
    for name, value in fields.items():
        if name not in known:
            return unknown_field(name, page)
        kinds = KINDS[known[name]]
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            return wrong_type(name, known[name])
    return None if fields.get("model") else invalid("model is required")


def scalars_error(fields: Mapping[str, Any]) -> ApiError | None:
    for name, low, high in RANGES:
        value = fields.get(name)
        if value is not None and not low <= value <= high:
            return invalid(f"{name} must be between {low} and {high} inclusive.")
    if fields.get("frequency_penalty") and fields.get("presence_penalty"):
        return invalid("cannot specify both frequency_penalty and presence_penalty.")
    stops = fields.get("stop_sequences") or []
    if len(stops) > STOPS_MAX or not all(isinstance(stop, str) for stop in stops):
        return invalid(f"stop_sequences must be at most {STOPS_MAX} strings.")
    if not isinstance(fields.get("tool_choice"), str | None) or fields.get("tool_choice") not in MODES:
        return invalid("tool_choice must be one of REQUIRED or NONE.")
    if fields.get("tool_choice") and not fields.get("tools"):
        return invalid("tool_choice can only be specified if tools are.")
    if fields.get("strict_tools") and not fields.get("tools"):
        return invalid("strict_tools can only be specified if tools are.")
    if fields.get("safety_mode") not in (None, "CONTEXTUAL", "STRICT", "OFF"):
        return invalid("safety_mode must be one of CONTEXTUAL, STRICT or OFF.")
    thinking = fields.get("thinking") or {}
    if thinking and (thinking.get("type") not in ("enabled", "disabled") or not set(thinking) <= {"type", "token_budget"}):
        return invalid("thinking.type must be one of enabled or disabled.")
    if not isinstance(thinking.get("token_budget"), int | None) or (thinking.get("token_budget") or 1) < 1:
        return invalid("thinking.token_budget must be a positive integer.")
    return None


def read_tools(tools: Sequence[Any]) -> tuple[Tool, ...] | ApiError:
    made: list[Tool] = []
    for i, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or tool.get("type") != "function" or not isinstance(function.get("name"), str):
            return invalid(f"tools[{i}] must have type 'function' and a function with a name.")
        unknown = [n for n in tool if n not in TOOL_FIELDS] + [n for n in function if n not in FUNCTION_FIELDS]
        if unknown:
            return unknown_field(unknown[0], PAGE)
        if not isinstance(function.get("description") or "", str):
            return wrong_type(f"tools[{i}].function.description", TEXT)
        schema = function.get("parameters")
        if not isinstance(schema, dict):
            return invalid(f"tools[{i}].function.parameters must be a JSON schema.")
        problem = schema_problem(schema)
        if problem is not None:
            return invalid(f"tools[{i}].function.parameters: {problem}")
        if not isinstance(function.get("description"), str | None):
            return invalid(f"tools[{i}].function.description must be a string.")
        made.append(Tool(function["name"], schema, function.get("description") or ""))
    return tuple(made)


def answer_schema(fields: Mapping[str, Any]) -> Mapping[str, Any] | ApiError | None:
    """{} for any JSON object, None for prose."""
    wanted = fields.get("response_format") or {}
    kind = wanted.get("type", "text")
    if kind not in ("text", "json_object"):
        return invalid("response_format.type must be one of text or json_object.")
    if kind == "text":
        return None
    if fields.get("tools"):
        return invalid("response_format is not supported with tools.")
    if fields.get("documents"):
        return invalid("response_format is not supported with RAG.")
    schema = wanted.get("json_schema") or {}
    problem = schema_problem(schema)
    return invalid(f"response_format.json_schema: {problem}") if problem is not None or not isinstance(schema, dict) else schema


def document_messages(documents: Sequence[Any]) -> tuple[Message, ...]:
    """Documents count as what the service makes of them: text before the conversation."""
    texts = [d if isinstance(d, str) else orjson.dumps(d.get("data") if isinstance(d, dict) else d).decode() for d in documents]
    return tuple(Message("system", text) for text in texts)


def reasoning(thinking: Mapping[str, Any]) -> int | None:
    """Tokens of thoughts; None leaves it to the model's name."""
    if thinking.get("type") == "disabled":
        return 0
    budget = thinking.get("token_budget")
    if budget is not None:
        return budget_reasoning(budget)
    return EFFORT_TOKENS["medium"] if thinking.get("type") == "enabled" else None
