"""Requests to Bedrock's Converse and Cohere's v2 chat read back, for languages that the product only speaks.

By the vendors' API references, not by the writers: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and
docs.cohere.com/reference/chat.
"""

import base64
import json
from typing import Any

import attrs

from appliance.core.conversation import Conversation, OutputFormat, ReasoningWish, Sampling, Tool, ToolChoice
from appliance.core.message import Media, Message, Part, Reasoning, Text, ToolCall, ToolResult
from appliance.core.seal import Seal

Json = dict[str, Any]


def bedrock(body: Json) -> Conversation:
    system = tuple(bedrock_parts(body.get("system", [])))
    messages = [Message("system", system)] if system else []
    for turn in body["messages"]:
        parts = bedrock_parts(turn["content"])
        results = tuple(part for part in parts if isinstance(part, ToolResult))
        others = tuple(part for part in parts if not isinstance(part, ToolResult))
        messages += [Message("tool", results)] if results else []
        messages += [Message(turn["role"], others)] if others else []
    config, more = body.get("inferenceConfig", {}), body.get("additionalModelRequestFields", {})
    tools, choice, parallel, answer = bedrock_tools(body.get("toolConfig", {}), more.get("tool_choice"))
    thinking, effort = more.get("thinking", {}), more.get("output_config", {}).get("effort")
    wish = ReasoningWish(effort=effort, budget_tokens=thinking.get("budget_tokens")) if thinking or effort else None
    told = body.get("outputConfig", {}).get("textFormat")
    if told is not None:
        answer = OutputFormat("json_schema", json.loads(told["structure"]["jsonSchema"]["schema"]))
    return Conversation(
        "", tuple(messages), max_tokens=config.get("maxTokens"), tools=tools, tool_choice=choice, parallel_tools=parallel, output=answer,
        reasoning=wish, metadata=body.get("requestMetadata", {}), service_tier=body.get("serviceTier", {}).get("type", ""),
        sampling=Sampling(config.get("temperature"), config.get("topP"), more.get("top_k"), stop=tuple(config.get("stopSequences", ()))),
    )  # fmt: skip


def bedrock_parts(blocks: list[Json]) -> list[Part]:
    parts: list[Part] = []
    for block in blocks:
        ((kind, inner),) = block.items()
        if kind == "text":
            parts.append(Text(inner))
        elif kind == "cachePoint":
            parts[-1] = attrs.evolve(parts[-1], cache=inner.get("ttl", "5m"))  # type: ignore[call-arg]
        elif kind == "image":
            parts.append(Media("image", f"image/{inner['format']}", inner["source"]["bytes"]))
        elif kind == "document":
            media_type, data = {"pdf": "application/pdf", "txt": "text/plain"}[inner["format"]], inner["source"]["bytes"]
            beside = {"context": inner.get("context", ""), "cites": inner.get("citations", {}).get("enabled", False)}
            parts.append(Media("document", media_type, data, name=inner["name"], **beside))
        elif kind == "toolUse":
            parts.append(ToolCall(inner["toolUseId"], inner["name"], json.dumps(inner["input"])))
        elif kind == "toolResult":
            shown: Any = tuple(bedrock_parts(inner["content"]))
            parts.append(ToolResult(inner["toolUseId"], shown, is_error=inner.get("status") == "error"))
        elif kind == "reasoningContent" and "reasoningText" in inner:
            told = inner["reasoningText"]
            parts.append(Reasoning(told["text"], seal=Seal("bedrock", told["signature"])))
        else:
            parts.append(Reasoning(seal=Seal("bedrock", inner["redactedContent"]), hidden=True))
    return parts


def bedrock_tools(config: Json, own: Json | None) -> tuple[tuple[Tool, ...], ToolChoice | None, bool | None, OutputFormat | None]:
    """own: Claude's own choice, which stands in place of Converse's. The gateway's own tool is how JSON is asked for."""
    tools: list[Tool] = []
    output = None
    for one in config.get("tools", []):
        if "cachePoint" in one:
            tools[-1] = attrs.evolve(tools[-1], cache=one["cachePoint"].get("ttl", "5m"))
            continue
        spec = one["toolSpec"]
        if spec["name"] == "gateway_json_answer":
            output = OutputFormat("json_object")
        elif not spec.get("description", "").startswith("This tool is not available"):
            tools.append(Tool(spec["name"], spec.get("description", ""), spec["inputSchema"]["json"], spec.get("strict")))
    ((kind, inner),) = config.get("toolChoice", {"auto": {}}).items()
    if own is not None:
        kind, inner = own["type"], own
    choice = {"any": ToolChoice("required"), "tool": ToolChoice("named", inner.get("name", "")), "auto": None}[kind]
    return tuple(tools), choice, False if own and own.get("disable_parallel_tool_use") else None, output


def cohere(body: Json) -> Conversation:
    messages: list[Message] = []
    for said in body["messages"]:
        role = said["role"]
        if role == "tool":
            result = ToolResult(said["tool_call_id"], tuple(cohere_parts(said["content"])))  # type: ignore[arg-type]
            if messages and messages[-1].role == "tool":
                messages[-1] = Message("tool", (*messages[-1].parts, result))
            else:
                messages.append(Message("tool", (result,)))
            continue
        parts = cohere_parts(said.get("content", ""))
        parts += [Text(said["tool_plan"])] if "tool_plan" in said else []
        parts += [ToolCall(one["id"], one["function"]["name"], one["function"]["arguments"]) for one in said.get("tool_calls", [])]
        messages.append(Message(role, tuple(parts)))
    documents = tuple(cohere_document(one["data"]) for one in body.get("documents", []))
    if documents:
        messages.append(Message("user", documents))
    thinking, form = body.get("thinking"), body.get("response_format")
    kind = "json_schema" if form and "json_schema" in form else "json_object"
    tools = tuple(
        Tool(one["function"]["name"], one["function"].get("description", ""), one["function"]["parameters"], body.get("strict_tools"))
        for one in body.get("tools", [])
    )
    choices = {"REQUIRED": ToolChoice("required"), "NONE": ToolChoice("none"), None: None}
    return Conversation(
        "", tuple(messages), max_tokens=body.get("max_tokens"), tools=tools, tool_choice=choices[body.get("tool_choice")],
        output=OutputFormat(kind, form.get("json_schema")) if form else None,  # type: ignore[arg-type]
        reasoning=ReasoningWish(enabled=True, budget_tokens=thinking.get("token_budget")) if thinking else None,
        sampling=Sampling(
            body.get("temperature"), body.get("p"), body.get("k"), None, tuple(body.get("stop_sequences", ())), body.get("seed"),
            body.get("presence_penalty"), body.get("frequency_penalty"), logprobs=body.get("logprobs"),
        ),
    )  # fmt: skip


def cohere_parts(content: Any) -> list[Part]:
    if isinstance(content, str):
        return [Text(content)] if content else []
    parts: list[Part] = []
    for block in content:
        if block["type"] == "text":
            parts.append(Text(block["text"]))
        elif block["type"] == "thinking":
            parts.append(Reasoning(block["thinking"]))
        elif block["type"] == "image_url":
            url, detail = block["image_url"]["url"], block["image_url"].get("detail", "")
            head, comma, data = url.partition(";base64,")
            given = Media("image", head.removeprefix("data:"), data) if comma else Media("image", url=url)
            parts.append(attrs.evolve(given, detail=detail))
        else:
            parts.append(cohere_document(block["document"]["data"]))
    return parts


def cohere_document(data: Json) -> Media:
    """Text, and its title."""
    words = base64.b64encode(data["text"].encode()).decode()
    return Media("document", "text/plain", words, name=data.get("title", ""))
