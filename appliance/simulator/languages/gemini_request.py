"""generateContent's body as a chat request in no language's words, checked as the service checks it. Pure."""

import re
from collections.abc import Mapping
from typing import Any

import attrs

from appliance.simulator.chat_request import EFFORT_TOKENS, ChatRequest, Message, Mode, Tool, budget_reasoning, sent_before
from appliance.simulator.languages.gemini_errors import GeminiError, bad, bad_field
from appliance.simulator.languages.gemini_model import joins_json_and_tools, thinks_always, thinks_unasked
from appliance.simulator.languages.gemini_proto import read_message
from appliance.simulator.languages.gemini_schema import json_schema, schema_error
from appliance.simulator.languages.gemini_turns import read_turns
from appliance.simulator.schema_instance import schema_problem

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
CANDIDATES_MAX = 8
STOPS_MAX = 5
LOGPROBS_MAX = 20
CACHE_FROM_TOKENS = 1024
JSON, PLAIN = "application/json", "text/plain"


@attrs.frozen
class GeminiRequest:
    """`asked` is what an answer is made from; the others are how this language shows it.

    Attributes:
        thoughts: whether thoughts are shown.
        logprobs: alternatives to each token; None for no log probabilities.
        cached_tokens: of the prompt, what the service found in its cache.
    """

    asked: ChatRequest
    thoughts: bool = False
    logprobs: int | None = None
    cached_tokens: int = 0


def read_generate(body: Mapping[str, Any], model: str, *, vertex: bool = False) -> GeminiRequest | GeminiError:
    """`model` is the bare name; `vertex`: as Vertex AI takes it."""
    fields = read_message("GenerateContentRequest", body, vertex=vertex)
    if isinstance(fields, GeminiError):
        return fields
    messages = read_turns(fields.get("contents") or [], model)
    if isinstance(messages, GeminiError):
        return messages
    config = fields.get("generationConfig") or {}
    tools = read_tools(fields.get("tools") or [])
    if isinstance(tools, GeminiError):
        return tools
    calling = (fields.get("toolConfig") or {}).get("functionCallingConfig") or {}
    error = calling_error(calling, tools) or config_error(config, tools, model)
    if error is not None:
        return error
    thinking = config.get("thinkingConfig") or {}
    schema = answer_schema(config)
    if isinstance(schema, GeminiError):
        return schema
    mode: Mode = {"ANY": "required", "NONE": "none"}.get(calling.get("mode", "AUTO"), "auto")  # type: ignore[assignment]
    allowed = calling.get("allowedFunctionNames")
    asked = ChatRequest(
        model=model,
        messages=(*system_messages(fields), *messages),
        tools=tools,
        mode=mode,
        allowed=tuple(allowed) if allowed else None,
        schema=schema,
        stops=tuple(config.get("stopSequences") or ()),
        limit=config.get("maxOutputTokens") or None,
        reasoning=reasoning(thinking, model),
        seed=config.get("seed"),
        n=config.get("candidateCount") or 1,
    )
    logprobs = (config.get("logprobs") or 0) if config.get("responseLogprobs") else None
    return GeminiRequest(asked, thinking.get("includeThoughts") is True, logprobs, cached_tokens(asked))


def cached_tokens(asked: ChatRequest) -> int:
    """Implicit caching, which Gemini has since 2.5: all that was sent before, from 1024 tokens on."""
    before = sent_before(asked)
    return before if thinks_unasked(asked.model) and before >= CACHE_FROM_TOKENS else 0


def system_messages(fields: Mapping[str, Any]) -> tuple[Message, ...]:
    """Of the instruction only text counts."""
    parts = (fields.get("systemInstruction") or {}).get("parts") or ()
    text = "\n".join(part["text"] for part in parts if part.get("text"))
    return (Message("system", text),) if text else ()


def read_tools(tools: list[Mapping[str, Any]]) -> tuple[Tool, ...] | GeminiError:
    made: list[Tool] = []
    for i, tool in enumerate(tools):
        for j, declared in enumerate(tool.get("functionDeclarations") or ()):
            read = read_declaration(declared, f"tools[{i}].function_declarations[{j}]")
            if isinstance(read, GeminiError):
                return read
            if read.name in [one.name for one in made]:
                return bad(f"Duplicate function declaration found: {read.name}")
            made.append(read)
    return tuple(made)


def read_declaration(declared: Mapping[str, Any], path: str) -> Tool | GeminiError:
    name = declared.get("name", "")
    if NAME.fullmatch(name) is None:
        return bad_field(
            f"{path}.name",
            "Invalid function name. Must start with a letter or an underscore. Must be alphanumeric (a-z, A-Z, 0-9), underscores (_), dots "
            "(.), colons (:), or dashes (-), with a maximum length of 128.",
        )
    if "parameters" in declared and "parametersJsonSchema" in declared:
        return bad_field(path, "only one of parameters and parameters_json_schema may be set.")
    if "parameters" in declared:
        error = schema_error(declared["parameters"], f"{path}.parameters")
        schema: Any = json_schema(declared["parameters"])
    else:
        schema = declared.get("parametersJsonSchema") or {"type": "object"}
        problem = schema_problem(schema)
        error = bad_field(f"{path}.parameters_json_schema", problem) if problem is not None else None
    return Tool(name, schema, declared.get("description", "")) if error is None else error


def calling_error(calling: Mapping[str, Any], tools: tuple[Tool, ...]) -> GeminiError | None:
    allowed = calling.get("allowedFunctionNames") or ()
    if allowed and calling.get("mode") not in ("ANY", "VALIDATED"):
        return bad("Allowed function names should only be set when function calling mode is ANY or VALIDATED.")
    known = [tool.name for tool in tools]
    if any(name not in known for name in allowed):
        return bad_field("tool_config.function_calling_config.allowed_function_names", "must be names of declared functions.")
    if calling.get("mode") == "ANY" and not tools:
        return bad("Function calling config is set without function_declarations.")
    return None


def config_error(config: Mapping[str, Any], tools: tuple[Tool, ...], model: str) -> GeminiError | None:
    for name, low, high in (
        ("candidateCount", 0, CANDIDATES_MAX),
        ("maxOutputTokens", 0, 1 << 31),
        ("logprobs", 0, LOGPROBS_MAX),
        ("temperature", 0, 2),
        ("topP", 0, 1),
        ("presencePenalty", -2, 2),
        ("frequencyPenalty", -2, 2),
    ):
        if name in config and not low <= config[name] <= high:
            where = re.sub(r"[A-Z]", lambda m: "_" + m[0].lower(), name)
            return bad_field(f"generation_config.{where}", f"must be in the range [{low}, {high}].")
    if len(config.get("stopSequences") or ()) > STOPS_MAX:
        return bad_field("generation_config.stop_sequences", f"at most {STOPS_MAX} stop sequences may be specified.")
    if "logprobs" in config and not config.get("responseLogprobs"):
        return bad_field("generation_config.logprobs", "only allowed when response_logprobs is true.")
    if any(modality not in ("TEXT", "MODALITY_UNSPECIFIED") for modality in config.get("responseModalities") or ()):
        return bad("The requested combination of response modalities is not supported by the model.")
    kind = config.get("responseMimeType") or PLAIN
    if kind not in (JSON, PLAIN):
        return bad_field("generation_config.response_mime_type", f"allowed mimetypes are `{PLAIN}` and `{JSON}`.")
    if kind != JSON and ("responseSchema" in config or "responseJsonSchema" in config):
        return bad_field("generation_config.response_schema", f"only allowed when response_mime_type is `{JSON}`.")
    if kind == JSON and tools and not joins_json_and_tools(model):
        return bad(f"Function calling with a response mime type: '{JSON}' is unsupported")
    return thinking_error(config.get("thinkingConfig") or {}, model)


def thinking_error(thinking: Mapping[str, Any], model: str) -> GeminiError | None:
    budget = thinking.get("thinkingBudget")
    if budget is not None and "thinkingLevel" in thinking:
        return bad("You can only set only one of thinking budget and thinking level.")
    if budget is not None and not -1 <= budget <= 32_768:
        return bad(f"The thinking budget {budget} is invalid. Please choose a value between -1 and 32768.")
    if budget == 0 and thinks_always(model):
        return bad("Budget 0 is invalid. This model only works in thinking mode.")
    return None


def reasoning(thinking: Mapping[str, Any], model: str) -> int | None:
    """Tokens of thoughts; None leaves it to the model's name."""
    budget, level = thinking.get("thinkingBudget"), thinking.get("thinkingLevel")
    if budget is not None and budget >= 0:
        return budget_reasoning(budget)
    if level not in (None, "THINKING_LEVEL_UNSPECIFIED"):
        return EFFORT_TOKENS[level.lower()]
    return EFFORT_TOKENS["medium"] if budget == -1 or thinks_unasked(model) else None


def answer_schema(config: Mapping[str, Any]) -> Mapping[str, Any] | GeminiError | None:
    """{} for any JSON object, None for prose."""
    if "responseSchema" in config and "responseJsonSchema" in config:
        return bad_field("generation_config", "only one of response_schema and response_json_schema may be set.")
    if "responseSchema" in config:
        return schema_error(config["responseSchema"], "generation_config.response_schema") or json_schema(config["responseSchema"])
    if "responseJsonSchema" in config:
        schema = config["responseJsonSchema"]
        problem = schema_problem(schema)
        if problem is not None or not isinstance(schema, dict):
            return bad_field("generation_config.response_json_schema", problem or "must be an object.")
        return schema
    return {} if config.get("responseMimeType") == JSON else None
