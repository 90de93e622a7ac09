"""Anthropic's Messages: content blocks, and events that build them.

`input_tokens` excludes the cache's reads and writes; a compaction's tokens stand in `iterations` only and are billed beside the rest
(platform.claude.com/docs: "sum across all entries in the usage.iterations array").
"""

import json
from collections.abc import Iterable

from recorded.said import Call, Counts, Json, Said

CONTENT = {"text_delta": "text", "thinking_delta": "thinking"}


def whole(message: Json) -> Said:
    blocks = message["content"]
    text = "".join(one["text"] for one in blocks if one["type"] == "text")
    thoughts = tuple(one["thinking"] for one in blocks if one["type"] == "thinking" and one["thinking"])
    calls = tuple(Call(one["name"], one["input"], one["id"]) for one in blocks if one["type"] == "tool_use")
    refusal = (message.get("stop_details") or {}).get("explanation") or ""
    return Said(text, thoughts, calls, refusal, message["stop_reason"], _counts(message["usage"]))


def streamed(events: Iterable[Json]) -> Said:
    message: Json = {}
    blocks: dict[int, Json] = {}
    inputs: dict[int, str] = {}
    for event in events:
        kind = event["type"]
        if kind == "message_start":
            message = {**event["message"], "usage": dict(event["message"]["usage"])}
        elif kind == "content_block_start":
            blocks[event["index"]] = dict(event["content_block"])
        elif kind == "content_block_delta":
            delta, block = event["delta"], blocks[event["index"]]
            if delta["type"] == "input_json_delta":
                inputs[event["index"]] = inputs.get(event["index"], "") + delta["partial_json"]
            elif (name := CONTENT.get(delta["type"])) is not None:
                block[name] += delta[name]
        elif kind == "message_delta":
            message |= event["delta"]
            message["usage"] |= {name: value for name, value in event["usage"].items() if value is not None}
    for place, text in inputs.items():
        if text:
            blocks[place]["input"] = json.loads(text)
    return whole({**message, "content": [blocks[place] for place in sorted(blocks)]})


def _counts(usage: Json) -> Counts:
    billed = [usage, *(one for one in usage.get("iterations") or [] if one["type"] == "compaction")]
    read = sum(one.get("cache_read_input_tokens") or 0 for one in billed)
    written = sum(one.get("cache_creation_input_tokens") or 0 for one in billed)
    plain = sum(one["input_tokens"] for one in billed)
    details = usage.get("output_tokens_details") or {}
    return Counts(plain + read + written, sum(one["output_tokens"] for one in billed), read, written, details.get("thinking_tokens"))
