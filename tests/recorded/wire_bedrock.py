"""Amazon Bedrock's Converse and ConverseStream. `inputTokens` excludes the cache's reads and writes."""

import json
from collections.abc import Iterable
from typing import Any

from recorded.said import Call, Counts, Json, Said


def whole(answer: Json) -> Said:
    blocks = answer["output"]["message"]["content"]
    text = "".join(one["text"] for one in blocks if "text" in one)
    thoughts = tuple(one["reasoningContent"]["reasoningText"]["text"] for one in blocks if "reasoningContent" in one)
    calls = tuple(Call(one["toolUse"]["name"], one["toolUse"]["input"], one["toolUse"]["toolUseId"]) for one in blocks if "toolUse" in one)
    return Said(text, thoughts, calls, "", answer["stopReason"], _counts(answer.get("usage")))


def streamed(events: Iterable[Json]) -> Said:
    """Each event is an object whose only member is its name."""
    text = thoughts = ending = ""
    calls: dict[int, list[Any]] = {}
    usage: Json | None = None
    for event in events:
        ((kind, inner),) = event.items()
        if kind == "contentBlockStart" and "toolUse" in inner["start"]:
            tool = inner["start"]["toolUse"]
            calls[inner["contentBlockIndex"]] = [tool["name"], "", tool["toolUseId"]]
        elif kind == "contentBlockDelta":
            delta = inner["delta"]
            text += delta.get("text", "")
            thoughts += delta.get("reasoningContent", {}).get("text", "")
            if "toolUse" in delta:
                calls[inner["contentBlockIndex"]][1] += delta["toolUse"]["input"]
        elif kind == "messageStop":
            ending = inner["stopReason"]
        elif kind == "metadata":
            usage = inner.get("usage")
    made = tuple(Call(name, json.loads(words or "{}"), given) for name, words, given in calls.values())
    return Said(text, (thoughts,) if thoughts else (), made, "", ending, _counts(usage))


def _counts(usage: Json | None) -> Counts | None:
    if usage is None:
        return None
    read, written = usage.get("cacheReadInputTokens", 0), usage.get("cacheWriteInputTokens", 0)
    return Counts(usage["inputTokens"] + read + written, usage["outputTokens"], read, written)
