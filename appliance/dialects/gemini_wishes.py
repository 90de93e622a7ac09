"""What a caller asks for beside its messages, in Gemini's words: generationConfig, tools, toolConfig.

The rule: what the language has no word for is named in `dropped`; a tool choice that cannot be kept is refused.
"""

from typing import Any

from appliance.core.conversation import Conversation, OutputFormat, Sampling, Tool, ToolChoice
from appliance.core.tool_forms import flat_name, function_of
from appliance.dialects.fields import Unfit
from appliance.dialects.gemini_json_schema import Preparer
from appliance.dialects.gemini_model import has_validated_mode, thinking_config
from appliance.dialects.gemini_seal import OWN

SEED_MASK = 0x7FFF_FFFF
"""Seeds are int32 here and 64 bits elsewhere; which of them one gets matters to nobody, only that it is the same again."""


def write_config(conversation: Conversation, model: str, dropped: list[str]) -> dict[str, Any]:
    """`generationConfig`, perhaps empty."""
    config: dict[str, Any] = {}
    if conversation.max_tokens is not None:
        config["maxOutputTokens"] = conversation.max_tokens
    config |= _sampling(conversation.sampling, dropped)
    if conversation.output is not None:
        config |= _output(conversation.output, dropped)
    if conversation.modalities:
        config["responseModalities"] = [one.upper() for one in conversation.modalities]
    if conversation.reasoning is not None:
        thinking = thinking_config(conversation.reasoning, model, dropped)
        if thinking is not None:
            config["thinkingConfig"] = thinking
    return config


def _sampling(sampling: Sampling, dropped: list[str]) -> dict[str, Any]:
    for name in ("min_p", "repetition_penalty", "logit_bias"):
        if getattr(sampling, name) is not None:
            dropped.append(f"sampling.{name}")
    said = {
        "temperature": sampling.temperature,
        "topP": sampling.top_p,
        "topK": sampling.top_k,
        "stopSequences": list(sampling.stop) or None,
        "seed": sampling.seed if sampling.seed is None or abs(sampling.seed) <= SEED_MASK else sampling.seed & SEED_MASK,
        "presencePenalty": sampling.presence_penalty,
        "frequencyPenalty": sampling.frequency_penalty,
        "responseLogprobs": sampling.logprobs,
        "logprobs": sampling.top_logprobs,
        "candidateCount": sampling.candidates,
    }
    return {name: value for name, value in said.items() if value is not None}


def _output(output: OutputFormat, dropped: list[str]) -> dict[str, Any]:
    """Google holds every schema strictly, so `strict` says nothing here."""
    if output.kind == "text":
        return {"responseMimeType": "text/plain"}
    for name in ("name", "description"):
        if getattr(output, name):
            dropped.append(f"output.{name}")
    config: dict[str, Any] = {"responseMimeType": "application/json"}
    if output.kind == "json_schema" and output.schema is not None:
        config["responseJsonSchema"] = Preparer().schema(output.schema)
    return config


def write_tools(conversation: Conversation, model: str, dropped: list[str]) -> list[dict[str, Any]]:
    """`tools`, perhaps empty: all functions together, then Google's own tools."""
    functions: list[dict[str, Any]] = []
    own: list[dict[str, Any]] = []
    held, preparer = _is_held(conversation, model), Preparer()
    for place, tool in enumerate(conversation.tools):
        path = f"tools[{place}]"
        if tool.server:
            if tool.family == OWN:
                own.append(dict(tool.raw))
            else:
                dropped.append(f"{path}: {tool.name}")
            continue
        if tool.strict and not held:
            dropped.append(f"{path}.strict")
        functions.append(_function(tool, path, preparer, dropped))
    return ([{"functionDeclarations": functions}] if functions else []) + own


def _function(tool: Tool, path: str, preparer: Preparer, dropped: list[str]) -> dict[str, Any]:
    for name in ("cache", "grammar", "namespace_description"):
        if getattr(tool, name):
            dropped.append(f"{path}.{name}")
    dropped += [f"{path}.{name}" for name in tool.raw]
    tool = function_of(tool) if tool.custom else tool
    out: dict[str, Any] = {"name": flat_name(tool.name, tool.namespace)}
    if tool.description:
        out["description"] = tool.description
    if tool.parameters is not None:
        out["parametersJsonSchema"] = preparer.parameters(tool.parameters)
    return out


def _is_held(conversation: Conversation, model: str) -> bool:
    """Whether the calls of this request are held to their schemas: a forced call always is, a free one in mode VALIDATED, which is for
    all tools or none."""
    choice = conversation.tool_choice
    if choice is not None and choice.mode in ("required", "named"):
        return True
    return _all_strict(conversation.tools) and has_validated_mode(model)


def _all_strict(tools: tuple[Tool, ...]) -> bool:
    functions = [tool for tool in tools if not tool.server]
    return bool(functions) and all(tool.strict for tool in functions)


def write_choice(conversation: Conversation, model: str) -> dict[str, Any] | None:
    """`functionCallingConfig`, None for none; raises Unfit."""
    choice = conversation.tool_choice or ToolChoice("auto")
    held = _all_strict(conversation.tools) and has_validated_mode(model)
    if choice.mode == "auto":
        if choice.allowed:  # AUTO takes no names
            return {"mode": "VALIDATED", "allowedFunctionNames": _known(choice.allowed, conversation.tools)}
        if held:
            return {"mode": "VALIDATED"}
        return None if conversation.tool_choice is None else {"mode": "AUTO"}
    if choice.mode == "none":
        return {"mode": "NONE"}
    if choice.mode == "named":
        return {"mode": "ANY", "allowedFunctionNames": _known((choice.name,), conversation.tools)}
    if not any(not tool.server for tool in conversation.tools):
        raise Unfit("tool_choice", "forces a call, but this request has no function that this backend could call")
    return {"mode": "ANY", **({"allowedFunctionNames": _known(choice.allowed, conversation.tools)} if choice.allowed else {})}


def _known(names: tuple[str, ...], tools: tuple[Tool, ...]) -> list[str]:
    """The functions' names in this request."""
    functions = [tool for tool in tools if not tool.server]
    flat = {tool.name: flat_name(tool.name, tool.namespace) for tool in functions}
    flat |= {name: name for name in (flat_name(tool.name, tool.namespace) for tool in functions)}
    for name in names:
        if name not in flat:
            raise Unfit("tool_choice", "names a tool that is not among this request's functions, which are all that this backend can force")
    return [flat[name] for name in names]
