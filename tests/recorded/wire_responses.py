"""OpenAI's Responses: items of output, and events of which the last one of each item holds it whole.

A stream's `response.completed` may have an empty `output` (seen): the items are those of `response.output_item.done`.
"""

from collections.abc import Iterable

from recorded.said import Call, Counts, Json, Said, arguments


def whole(response: Json) -> Said:
    return _said(response["output"], response)


def streamed(events: Iterable[Json]) -> Said:
    items: dict[int, Json] = {}
    last: Json = {}
    for event in events:
        kind = event["type"]
        if kind == "response.output_item.done":
            items[event["output_index"]] = event["item"]
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            last = event["response"]
    return _said([items[place] for place in sorted(items)], last)


def added(events: Iterable[Json], kind: str) -> str:
    """What the deltas of a kind add up to: for who shows an answer as it comes, it is all there is."""
    return "".join(event["delta"] for event in events if event["type"] == f"response.{kind}.delta")


def _said(items: Iterable[Json], response: Json) -> Said:
    text = refusal = ""
    thoughts: list[str] = []
    calls: list[Call] = []
    for item in items:
        if item["type"] == "message":
            text += "".join(piece["text"] for piece in item["content"] if piece["type"] == "output_text")
            refusal += "".join(piece["refusal"] for piece in item["content"] if piece["type"] == "refusal")
        elif item["type"] == "reasoning":
            thoughts += [piece["text"] for piece in [*(item.get("content") or []), *(item.get("summary") or [])]]
        elif item["type"] == "function_call":
            calls.append(Call(_flat(item), arguments(item["arguments"]), item["call_id"]))
        elif item["type"] == "custom_tool_call":
            calls.append(Call(_flat(item), item["input"], item["call_id"]))
    return Said(text, tuple(thoughts), tuple(calls), refusal, _ending(response), _counts(response.get("usage")))


def _flat(item: Json) -> str:
    """A tool of a group (`namespace`) is called by both names."""
    return f"{item['namespace']}__{item['name']}" if item.get("namespace") else str(item["name"])


def _ending(response: Json) -> str:
    status = str(response["status"])
    return f"{status}: {response['incomplete_details']['reason']}" if status == "incomplete" else status


def _counts(usage: Json | None) -> Counts | None:
    if usage is None:
        return None
    given, made = usage.get("input_tokens_details") or {}, usage.get("output_tokens_details") or {}
    written = given.get("cache_write_tokens")
    return Counts(usage["input_tokens"], usage["output_tokens"], given.get("cached_tokens"), written, made.get("reasoning_tokens"))
