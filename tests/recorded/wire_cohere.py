"""Cohere's v2 chat. `usage.tokens` is what the model read and wrote, `billed_units` what is charged; the plan before tool calls is words
of the answer; arguments may be the word `null`.
"""

from collections.abc import Iterable

from recorded.said import Call, Counts, Json, Said, arguments


def whole(answer: Json) -> Said:
    message = answer["message"]
    content = message.get("content") or []
    text = "".join(one["text"] for one in content if one["type"] == "text") + (message.get("tool_plan") or "")
    thoughts = tuple(one["thinking"] for one in content if one["type"] == "thinking")
    calls = tuple(_call(one) for one in message.get("tool_calls") or [])
    return Said(text, thoughts, calls, "", answer["finish_reason"], _counts(answer.get("usage")))


def streamed(events: Iterable[Json]) -> Said:
    text = thoughts = ending = ""
    calls: dict[int, Json] = {}
    usage: Json | None = None
    for event in events:
        kind, message = event["type"], (event.get("delta") or {}).get("message") or {}
        if kind in ("content-start", "content-delta"):
            text += message["content"].get("text") or ""
            thoughts += message["content"].get("thinking") or ""
        elif kind == "tool-plan-delta":
            text += message["tool_plan"]
        elif kind == "tool-call-start":
            calls[event["index"]] = {**message["tool_calls"], "function": dict(message["tool_calls"]["function"])}
        elif kind == "tool-call-delta":
            calls[event["index"]]["function"]["arguments"] += message["tool_calls"]["function"]["arguments"]
        elif kind == "message-end":
            ending, usage = event["delta"]["finish_reason"], event["delta"].get("usage")
    made = tuple(_call(one) for one in calls.values())
    return Said(text, (thoughts,) if thoughts else (), made, "", ending, _counts(usage))


def _call(call: Json) -> Call:
    return Call(call["function"]["name"], arguments(call["function"]["arguments"]), call["id"])


def _counts(usage: Json | None) -> Counts | None:
    if usage is None:
        return None
    return Counts(usage["tokens"]["input_tokens"], usage["tokens"]["output_tokens"], usage.get("cached_tokens"))
