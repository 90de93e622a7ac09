"""OpenAI's chat completions as OpenAI and the vendors that took them over write them.

Reasoning is `reasoning_content` (DeepSeek, Alibaba, xAI, Moonshot), `reasoning` (Groq, OpenRouter) or `thinking` chunks (Mistral). xAI
counts reasoning beside `completion_tokens`: then `total_tokens` is the sum of three.
"""

from collections.abc import Iterable

from recorded.said import Call, Counts, Json, Said, arguments


def whole(answer: Json) -> Said:
    choice = answer["choices"][0]
    message = choice["message"]
    text, thoughts = _content(message.get("content"))
    thoughts += _thoughts(message)
    calls = [_call(one) for one in message.get("tool_calls") or []]
    refusal = message.get("refusal") or ""
    return Said(text, (thoughts,) if thoughts else (), tuple(calls), refusal, choice["finish_reason"], usage_in(answer))


def streamed(chunks: Iterable[Json]) -> Said:
    text = thoughts = refusal = ending = ""
    calls: dict[int, Json] = {}
    counts = None
    for chunk in chunks:
        counts = usage_in(chunk) or counts
        for choice in chunk.get("choices") or []:
            delta = choice.get("delta") or {}
            words, thought = _content(delta.get("content"))
            text, thoughts = text + words, thoughts + thought + _thoughts(delta)
            refusal += delta.get("refusal") or ""
            ending = choice.get("finish_reason") or ending
            for place, piece in enumerate(delta.get("tool_calls") or []):
                _grow(calls, piece, place)
    made = tuple(_call(one) for one in calls.values())
    return Said(text, (thoughts,) if thoughts else (), made, refusal, ending, counts)


def _grow(calls: dict[int, Json], piece: Json, place: int) -> None:
    """place: in its chunk, for Mistral, which does not number whole calls."""
    kind = "custom" if "custom" in piece else "function"
    grown = calls.setdefault(piece.get("index", place), {kind: {"name": "", "arguments": "", "input": ""}, "id": ""})
    grown["id"] = piece.get("id") or grown["id"]
    for name, more in (piece.get(kind) or {}).items():
        grown[kind][name] = (grown[kind].get(name) or "") + (more or "")


def _call(call: Json) -> Call:
    if "custom" in call:
        return Call(call["custom"]["name"], call["custom"]["input"], call["id"])
    function = call["function"]
    return Call(function["name"], arguments(function.get("arguments") or ""), call.get("id") or "")


def _content(content: object) -> tuple[str, str]:
    if not isinstance(content, list):
        return (content if isinstance(content, str) else ""), ""
    text = "".join(one["text"] for one in content if one["type"] == "text")
    thinking = [piece["text"] for one in content if one["type"] == "thinking" for piece in one["thinking"]]
    return text, "".join(thinking)


def _thoughts(message: Json) -> str:
    return message.get("reasoning_content") or message.get("reasoning") or ""


def usage_in(answer: Json) -> Counts | None:
    """Groq's streams have it in `x_groq`, Moonshot's in the choice."""
    places = [answer.get("usage"), (answer.get("x_groq") or {}).get("usage"), *(one.get("usage") for one in answer.get("choices") or [])]
    usage = next((one for one in places if one), None)
    if usage is None:
        return None
    given, made = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    reasoning = made.get("reasoning_tokens")
    prompt, completion = usage["prompt_tokens"], usage.get("completion_tokens", 0)
    if reasoning and usage["total_tokens"] == prompt + completion + reasoning:
        completion += reasoning
    cached = given.get("cached_tokens") or usage.get("cached_tokens")
    return Counts(prompt, completion, cached, given.get("cache_write_tokens"), reasoning)
