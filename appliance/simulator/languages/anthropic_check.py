"""What api.anthropic.com objects to in the fields of a Messages request: the first mistake, in its words. Pure.

The service validates with pydantic and forbids what it does not know; fields of a beta need the beta's header, so one that a middleman
swallowed is noticed. What the conversation as a whole must fulfil is in `anthropic_turns.py`.
"""

import re
from collections.abc import Mapping
from typing import Any

from appliance.simulator.api_error import ApiError
from appliance.simulator.languages.anthropic_blocks import check_blocks, count_breakpoints
from appliance.simulator.languages.anthropic_errors import invalid
from appliance.simulator.schema_instance import schema_problem

BREAKPOINTS_MAX = 4
BUDGET_LEAST_TOKENS = 1024
FIELDS = frozenset(
    (
        "model", "messages", "max_tokens", "cache_control", "container", "diagnostics", "inference_geo", "metadata", "output_config",
        "service_tier", "speed", "stop_sequences", "stream", "system", "temperature", "thinking", "tool_choice", "tools", "top_k", "top_p",
        "user_profile_id", "workspace_id",
    )
)  # fmt: skip
BETA_FIELDS = frozenset(
    (
        "billing_policy", "compaction", "context_management", "fallback_credit_token", "fallbacks", "mcp_servers", "output_format",
        "thread",
    )
)  # fmt: skip
COUNT_FIELDS_NOT = frozenset(("max_tokens", "stream", "stop_sequences", "temperature", "top_k", "top_p", "metadata", "service_tier"))
TOOL_FIELDS = frozenset(
    (
        "type", "name", "description", "input_schema", "cache_control", "strict", "allowed_callers", "defer_loading",
        "eager_input_streaming", "input_examples",
    )
)  # fmt: skip
TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
EFFORTS = ("low", "medium", "high", "xhigh", "max")
THINKING = ("enabled", "disabled", "adaptive", "between_tools")
METADATA_FIELDS = frozenset(("user_id",))


def extra(path: str) -> ApiError:
    return invalid(f"{path}: Extra inputs are not permitted")


def required(path: str) -> ApiError:
    return invalid(f"{path}: Field required")


def check_fields(fields: Mapping[str, Any], *, beta: bool, counting: bool) -> ApiError | None:
    """`beta`: an anthropic-beta header came along. `counting`: the request is to /v1/messages/count_tokens."""
    known = FIELDS | (BETA_FIELDS if beta else frozenset())
    for name in fields:
        if name not in known or (counting and name in COUNT_FIELDS_NOT):
            return extra(name)
    for name, kind, what in (("model", str, "string"), ("messages", list, "list"), ("max_tokens", int, "integer")):
        if counting and name == "max_tokens":
            continue
        if fields.get(name) is None:
            return required(name)
        if not isinstance(fields[name], kind) or isinstance(fields[name], bool):
            return invalid(f"{name}: Input should be a valid {what}")
    error = check_numbers(fields) or check_stops(fields) or check_tools(fields) or check_tool_choice(fields)
    error = error or check_thinking(fields) or check_output(fields) or check_blocks(fields)
    if error is None and count_breakpoints(fields) > BREAKPOINTS_MAX:
        return invalid(f"A maximum of {BREAKPOINTS_MAX} blocks with cache_control may be provided. Found {count_breakpoints(fields)}.")
    return error


def check_numbers(fields: Mapping[str, Any]) -> ApiError | None:
    if fields.get("max_tokens", 1) < 0:
        return invalid("max_tokens: Input should be greater than or equal to 0")
    for name in ("temperature", "top_p"):
        value = fields.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            return invalid(f"{name}: Input should be a valid number")
        if value is not None and not 0 <= value <= 1:
            return invalid(f"{name}: range: 0..1")
    top_k = fields.get("top_k")
    if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 0):
        return invalid("top_k: Input should be a valid integer")
    if not isinstance(fields.get("stream"), bool | None):
        return invalid("stream: Input should be a valid boolean")
    metadata = fields.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        return invalid("metadata: Input should be a valid dictionary")
    unknown = next((name for name in metadata or () if name not in METADATA_FIELDS), None)
    return extra(f"metadata.{unknown}") if unknown is not None else None


def check_stops(fields: Mapping[str, Any]) -> ApiError | None:
    stops = fields.get("stop_sequences")
    if stops is None:
        return None
    if not isinstance(stops, list) or not all(isinstance(s, str) for s in stops):
        return invalid("stop_sequences: Input should be a valid list")
    if not all(s.strip() for s in stops):
        return invalid("stop_sequences: each stop sequence must contain non-whitespace")
    return None


def check_tools(fields: Mapping[str, Any]) -> ApiError | None:
    tools = fields.get("tools")
    if tools is None:
        return None
    if not isinstance(tools, list) or not all(isinstance(t, dict) for t in tools):
        return invalid("tools: Input should be a valid list")
    for i, tool in enumerate(tools):
        if tool.get("type") not in (None, "custom"):
            continue  # a tool of the service's own
        path = f"tools.{i}.custom"
        for name in ("name", "input_schema"):
            if tool.get(name) is None:
                return required(f"{path}.{name}")
        unknown = next((name for name in tool if name not in TOOL_FIELDS), None)
        if unknown is not None:
            return extra(f"{path}.{unknown}")
        if not isinstance(tool["name"], str) or not TOOL_NAME.fullmatch(tool["name"]):
            return invalid(f"{path}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        if not isinstance(tool.get("description"), str | None):
            return invalid(f"{path}.description: Input should be a valid string")
        schema = tool["input_schema"]
        if not isinstance(schema, dict):
            return invalid(f"{path}.input_schema: Input should be a valid dictionary")
        if "type" not in schema:
            return required(f"{path}.input_schema.type")
        if schema["type"] != "object":
            return invalid(f"{path}.input_schema.type: Input should be 'object'")
        problem = schema_problem(schema) or (unclosed(schema) if tool.get("strict") is True else None)
        if problem is not None:
            return invalid(f"{path}.input_schema: JSON schema is invalid. {problem}")
    names = [str(tool.get("name")) for tool in tools]
    return invalid("tools: Tool names must be unique.") if len(set(names)) < len(names) else None


def check_tool_choice(fields: Mapping[str, Any]) -> ApiError | None:
    choice = fields.get("tool_choice")
    if choice is None:
        return None
    if not isinstance(choice, dict) or choice.get("type") not in ("auto", "any", "tool", "none"):
        return invalid("tool_choice: Input tag does not match any of the expected tags: 'auto', 'any', 'tool', 'none'")
    allowed = {"auto": {"disable_parallel_tool_use"}, "any": {"disable_parallel_tool_use"}, "tool": {"disable_parallel_tool_use", "name"}}
    unknown = next((name for name in choice if name not in allowed.get(choice["type"], set()) | {"type"}), None)
    if unknown is not None:
        return extra(f"tool_choice.{choice['type']}.{unknown}")
    if not fields.get("tools"):
        return invalid("tool_choice: tool_choice may only be specified while providing tools.")
    if choice["type"] == "tool" and not isinstance(choice.get("name"), str):
        return required("tool_choice.tool.name")
    if choice["type"] == "tool" and choice["name"] not in [tool.get("name") for tool in fields["tools"]]:
        return invalid(f"Tool '{choice['name']}' not found in provided tools")
    return None


def check_thinking(fields: Mapping[str, Any]) -> ApiError | None:
    thinking = fields.get("thinking")
    if thinking is None:
        return None
    if not isinstance(thinking, dict) or thinking.get("type") not in THINKING:
        return invalid(f"thinking: Input tag does not match any of the expected tags: {', '.join(map(repr, THINKING))}")
    if thinking["type"] == "disabled":
        return None
    if thinking["type"] == "enabled":
        budget = thinking.get("budget_tokens")
        if budget is None:
            return required("thinking.enabled.budget_tokens")
        if isinstance(budget, bool) or not isinstance(budget, int) or budget < BUDGET_LEAST_TOKENS:
            return invalid(f"thinking.enabled.budget_tokens: Input should be greater than or equal to {BUDGET_LEAST_TOKENS}")
        if budget >= fields.get("max_tokens", budget + 1):
            return invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if fields.get("temperature", 1) != 1:
        return invalid("`temperature` may only be set to 1 when thinking is enabled.")
    if fields.get("top_k") is not None:
        return invalid("`top_k` must be unset when thinking is enabled.")
    if (fields.get("tool_choice") or {}).get("type") in ("any", "tool"):
        return invalid("Thinking may not be enabled when tool_choice forces tool use.")
    return None


def check_output(fields: Mapping[str, Any]) -> ApiError | None:
    """`output_config`, and `output_format` as its beta had it."""
    output = fields.get("output_config")
    if output is not None and not isinstance(output, dict):
        return invalid("output_config: Input should be a valid dictionary")
    unknown = next((name for name in output or () if name not in ("effort", "format", "task_budget")), None)
    if unknown is not None:
        return extra(f"output_config.{unknown}")
    if (output or {}).get("effort") not in (None, *EFFORTS):
        return invalid(f"output_config.effort: Input should be {', '.join(map(repr, EFFORTS))}")
    for path, wanted in (("output_config.format", (output or {}).get("format")), ("output_format", fields.get("output_format"))):
        if wanted is None:
            continue
        if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
            return invalid(f"{path}.type: Input should be 'json_schema'")
        extras = next((name for name in wanted if name not in ("type", "schema")), None)
        if extras is not None:
            return extra(f"{path}.{extras}")
        if not isinstance(wanted.get("schema"), dict):
            return required(f"{path}.schema")
        problem = schema_problem(wanted["schema"]) or unclosed(wanted["schema"])
        if problem is not None:
            return invalid(f"{path}.schema: {problem}")
    return None


def unclosed(schema: Any) -> str | None:
    """Structured output takes only objects that are closed, wherever they are in the schema."""
    pending = [schema]
    while pending:
        here = pending.pop()
        if isinstance(here, list):
            pending += here
        elif isinstance(here, Mapping):
            if here.get("type") == "object" and here.get("additionalProperties") is not False:
                return "For 'object' type, 'additionalProperties' must be explicitly set to false"
            pending += [inner for name, inner in here.items() if name not in ("enum", "const", "default", "examples", "required")]
    return None
