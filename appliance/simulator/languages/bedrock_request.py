"""A Converse request as a chat request in no language's words, checked as the service and the model behind it check it. Pure.

Thinking and other wishes of one vendor stand in additionalModelRequestFields, in that vendor's words: Anthropic's, Amazon's, OpenAI's.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import orjson

from appliance.simulator.api_error import ApiError
from appliance.simulator.chat_request import (
    EFFORT_TOKENS,
    ChatRequest,
    Message,
    Mode,
    Tool,
    budget_reasoning,
    prefix_tokens,
    sent_before,
)
from appliance.simulator.languages.bedrock_errors import invalid, model_refuses
from appliance.simulator.languages.bedrock_model import claude_version, is_claude, may_be_forced
from appliance.simulator.languages.bedrock_shapes import shape_error
from appliance.simulator.languages.bedrock_turns import messages_of, missing_thought, turns_error
from appliance.simulator.schema_instance import schema_problem

CACHE_FROM_TOKENS = 1024
CACHE_POINTS_MAX = 4
BUDGET_MIN = 1024
CLAUDE_FIELDS = (
    "anthropic_beta", "anthropic_version", "context_management", "metadata", "output_config", "output_format", "service_tier", "speed",
    "system", "thinking", "tool_choice", "tools", "top_k",
)  # fmt: skip
OBJECTS = ("thinking", "reasoningConfig", "output_config")
MODES: Mapping[str, Mode] = {"auto": "auto", "any": "required", "tool": "named"}
STOP_PATHS = ("/stop_sequence", "/delta/stop_sequence")  # of whole answers and of streams, as the model's own language has it


@attrs.frozen
class Converse:
    """`asked` is what an answer is made from.

    Attributes:
        read, written: prompt tokens found in the cache and put there; `hour` tells which of the two lives they have.
        tells_stop: the answer says which stop sequence ended it, under the path of whole answers and of streams.
    """

    asked: ChatRequest
    read: int = 0
    written: int = 0
    hour: bool = False
    tells_stop: tuple[bool, bool] = (False, False)


def read_converse(body: Mapping[str, Any], model: str) -> Converse | ApiError:
    """`model` is the bare name."""
    error = shape_error("ConverseRequest", body)
    if error is not None:
        return error
    fields = {name: value for name, value in body.items() if value is not None}
    tools = fields.get("toolConfig") or {}
    turns = fields.get("messages") or []
    error = turns_error(turns, model, tools=bool(tools)) or system_error(fields) or tools_error(tools, model) or wishes_error(fields, model)
    if error is not None:
        return error
    schema = answer_schema(fields)
    if isinstance(schema, ApiError):
        return schema
    choice = tools.get("toolChoice") or {"auto": {}}
    (mode,) = choice
    config = fields.get("inferenceConfig") or {}
    asked = ChatRequest(
        model=model,
        messages=(*system_messages(fields), *(message for turn in turns for message in messages_of(turn))),
        tools=tuple(read_tools(tools)),
        mode=MODES[mode],
        allowed=(choice["tool"]["name"],) if mode == "tool" else None,
        schema=schema,
        stops=tuple(config.get("stopSequences") or ()),
        limit=config.get("maxTokens"),
        reasoning=reasoning(fields.get("additionalModelRequestFields") or {}, model),
    )
    paths = fields.get("additionalModelResponseFieldPaths") or ()
    return caching(fields, Converse(asked, tells_stop=(STOP_PATHS[0] in paths, STOP_PATHS[1] in paths)))


def system_messages(fields: Mapping[str, Any]) -> tuple[Message, ...]:
    text = "\n".join(block["text"] for block in fields.get("system") or () if "text" in block)
    return (Message("system", text),) if text else ()


def system_error(fields: Mapping[str, Any]) -> ApiError | None:
    for i, block in enumerate(fields.get("system") or ()):
        if "text" in block and not block["text"].strip():
            where = f"The text field in the SystemContentBlock object at system.{i}"
            return invalid(f"{where} is blank. Add text to the text field, and try again.")
    return None


def read_tools(tools: Mapping[str, Any]) -> Iterator[Tool]:
    for tool in tools.get("tools") or ():
        if "toolSpec" in tool:
            spec = tool["toolSpec"]
            yield Tool(spec["name"], spec["inputSchema"]["json"], spec.get("description") or "")


def tools_error(tools: Mapping[str, Any], model: str) -> ApiError | None:
    names: list[str] = []
    for i, tool in enumerate(tools.get("tools") or ()):
        if "toolSpec" not in tool:
            continue
        spec = tool["toolSpec"]
        schema = spec["inputSchema"]["json"]
        if not isinstance(schema, dict) or schema.get("type") != "object":
            return invalid(f"The value at toolConfig.tools.{i}.toolSpec.inputSchema.json.type must be one of the following: object.")
        problem = schema_problem(schema)
        if problem is not None:
            return invalid(f"The format of the value at toolConfig.tools.{i}.toolSpec.inputSchema.json is invalid: {problem}")
        if spec["name"] in names:
            return invalid(f"The toolConfig field contains duplicate tool names: {spec['name']}")
        names.append(spec["name"])
    choice = tools.get("toolChoice") or {}
    if "tool" in choice and choice["tool"]["name"] not in names:
        return invalid(f"The tool {choice['tool']['name']} at toolConfig.toolChoice.tool.name is not in toolConfig.tools.")
    if "any" in choice and not may_be_forced(model):
        return invalid("This model doesn't support the toolConfig.toolChoice.any field. Remove toolConfig.toolChoice.any and try again.")
    return None


def wishes_error(fields: Mapping[str, Any], model: str) -> ApiError | None:
    """What Claude objects to; others are not known that well."""
    more = fields.get("additionalModelRequestFields") or {}
    if not isinstance(more, dict):
        return invalid("The additionalModelRequestFields field must be an object.")
    wrong = next((name for name in OBJECTS if not isinstance(more.get(name) or {}, dict)), None)
    if wrong is not None:
        return model_refuses(f"{wrong}: Input should be an object")
    if not is_claude(model):
        return None
    config = fields.get("inferenceConfig") or {}
    unknown = next((name for name in more if name not in CLAUDE_FIELDS), None)
    if unknown is not None:
        told = f"Malformed input request: #: extraneous key [{unknown}] is not permitted"
        return invalid(f"{told}, please reformat your input and try again.")
    if claude_version(model) >= (4, 1) and "temperature" in config and "topP" in config:
        return model_refuses("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    if any(not stop.strip() for stop in config.get("stopSequences") or ()):
        return model_refuses("stop_sequences: each stop sequence must contain non-whitespace")
    thinking = more.get("thinking") or {}
    if thinking.get("type") in ("enabled", "adaptive"):
        return thinking_error(fields, thinking, config)
    return None


def thinking_error(fields: Mapping[str, Any], thinking: Mapping[str, Any], config: Mapping[str, Any]) -> ApiError | None:
    choice = (fields.get("toolConfig") or {}).get("toolChoice") or {}
    if "any" in choice or "tool" in choice:
        return model_refuses("Thinking may not be enabled when tool_choice forces tool use.")
    if config.get("temperature") not in (None, 1):
        return model_refuses("`temperature` may only be set to 1 when thinking is enabled.")
    if thinking["type"] == "adaptive":
        return None
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int) or budget < BUDGET_MIN:
        return model_refuses(f"thinking.enabled.budget_tokens: Input should be greater than or equal to {BUDGET_MIN}")
    if budget >= config.get("maxTokens", budget + 1):
        return model_refuses("`max_tokens` must be greater than `thinking.budget_tokens`.")
    return missing_thought(fields["messages"])


def answer_schema(fields: Mapping[str, Any]) -> Mapping[str, Any] | ApiError | None:
    """In outputConfig, as JSON text, or for Claude in its own output_config."""
    output = (fields.get("outputConfig") or {}).get("textFormat")
    own = ((fields.get("additionalModelRequestFields") or {}).get("output_config") or {}).get("format")
    if output is None and not isinstance(own, dict):
        return None
    try:
        schema = orjson.loads(output["structure"]["jsonSchema"]["schema"]) if output is not None else (own or {}).get("schema")
    except orjson.JSONDecodeError:
        return invalid("The value at outputConfig.textFormat.structure.jsonSchema.schema is no JSON.")
    problem = schema_problem(schema)
    if problem is not None or not isinstance(schema, dict):
        return invalid(f"The JSON schema of the output is invalid: {problem}")
    return schema


def reasoning(more: Mapping[str, Any], model: str) -> int | None:
    """Tokens of thoughts; None leaves it to the model's name, which for Claude never thinks unasked."""
    thinking, config = more.get("thinking") or {}, more.get("reasoningConfig") or {}
    if thinking.get("type") == "enabled":
        budget = thinking.get("budget_tokens")
        return budget_reasoning(budget if isinstance(budget, int) else BUDGET_MIN)
    if thinking.get("type") == "adaptive":
        return effort_tokens((more.get("output_config") or {}).get("effort"), "high")
    if config.get("type") == "enabled":
        return effort_tokens(config.get("maxReasoningEffort"), "medium")
    if "reasoning_effort" in more:
        return effort_tokens(more["reasoning_effort"], "medium")
    return 0 if is_claude(model) or thinking.get("type") == "disabled" or config.get("type") == "disabled" else None


def effort_tokens(effort: Any, usual: str) -> int:
    return EFFORT_TOKENS[effort if isinstance(effort, str) and effort in EFFORT_TOKENS else usual]


def cache_points(fields: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each, behind how many parts of the prompt: 0 the tools, 1 the system prompt, 2 + i message i."""
    before = [(fields.get("toolConfig") or {}).get("tools") or (), fields.get("system") or ()]
    for part, blocks in enumerate([*before, *(turn["content"] for turn in fields["messages"])]):
        for block in blocks:
            if "cachePoint" in block:
                yield part, block["cachePoint"]


def caching(fields: Mapping[str, Any], request: Converse) -> Converse | ApiError:
    """What the conversation's previous request had counts as read, the rest up to the last cache point as written; nothing where that is
    less than 1024 tokens. So an answer never depends on what else was asked."""
    points = list(cache_points(fields))
    if len(points) > CACHE_POINTS_MAX:
        return invalid(f"A maximum of {CACHE_POINTS_MAX} cachePoint blocks may be provided. Found {len(points)}.")
    if not points:
        return request
    counts = [0, len(system_messages(fields))]
    for turn in fields["messages"]:
        counts.append(counts[-1] + len(messages_of(turn)))
    last, point = max(points, key=lambda one: one[0])
    upto = prefix_tokens(request.asked, counts[last])
    if upto < CACHE_FROM_TOKENS:
        return request
    read = min(sent_before(request.asked), upto)
    return attrs.evolve(request, read=read, written=upto - read, hour=point.get("ttl") == "1h")
