"""The pieces of a chat completion's answer, whole or streamed: content, pictures, calls, log probabilities, citations.

The rule: nothing here raises or refuses; a piece that is not what its field should hold is left out.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from appliance.core.completion import TokenLogprob
from appliance.core.message import Citation, Media, Part, Reasoning, Text, ToolCall
from appliance.core.tool_ids import made_id
from appliance.dialects.chat_content import data_url
from appliance.dialects.chat_message import thinking_words
from appliance.dialects.chat_seal import read_extra
from appliance.dialects.fields import Unfit
from appliance.dialects.openai_usage import parse_json, text_of
from appliance.dialects.redaction import written

COUNT_MAX = 2**53
"""Whole numbers that every JSON reader keeps."""

LOGPROB_LEAST = -9999.0
"""What OpenAI says for "very unlikely" (API reference, logprobs), and what is read where a vendor writes -Infinity, null or nonsense."""


def read_json(data: bytes) -> tuple[Any, bool]:
    """The JSON, and whether only a lax reader could read it: its texts may hold halves of surrogate pairs. Raises ValueError."""
    try:
        return orjson.loads(data), False
    except orjson.JSONDecodeError:
        return parse_json(data), True


def mended(value: Any) -> Any:
    """The value without halves of surrogate pairs, which cannot be written again. RecursionError where it is nested too deeply."""
    if isinstance(value, str):
        return mended_text(value)
    if isinstance(value, dict):
        return {mended_text(name): mended(one) for name, one in value.items()}
    return [mended(one) for one in value] if isinstance(value, list) else value


def mended_text(value: str) -> str:
    """Halves of a pair that belong together are joined, others replaced."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read_said(content: object) -> list[Part]:
    """What an answer's content says: a string, or Mistral's chunks."""
    if isinstance(content, str):
        return [Text(content)] if content else []
    parts: list[Part] = []
    for one in content if isinstance(content, list) else []:
        kind = one.get("type") if isinstance(one, dict) else None
        if kind == "text" and isinstance(one.get("text"), str) and one["text"]:
            parts.append(Text(one["text"]))
        elif kind == "thinking" and (words := thinking_words(one.get("thinking"))):
            parts.append(Reasoning(words))
        elif kind == "image_url":
            parts += images_of([one])
    return parts


def images_of(images: object) -> list[Part]:
    """OpenRouter's `images` (openrouter.ai/docs/features/multimodal/image-generation)."""
    found: list[Part] = []
    for one in images if isinstance(images, list) else []:
        link = one.get("image_url") if isinstance(one, dict) else None
        url = link.get("url") if isinstance(link, dict) else link
        if not isinstance(url, str) or not url:
            continue
        try:
            data = data_url(url, "images")
        except Unfit:
            continue
        found.append(Media("image", url=url) if data is None else Media("image", data[0], data[1]))
    return found


def audio_of(audio: object) -> list[Part]:
    if not isinstance(audio, dict):
        return []
    words, data = text_of(audio.get("transcript")), text_of(audio.get("data"))
    return [*([Text(words)] if words else []), *([Media("audio", data=data)] if data else [])]


def calls_of(message: Mapping[str, Any], seed: str) -> list[ToolCall]:
    """The calls of a whole message; ids are made where the vendor gave none."""
    listed = message.get("tool_calls")
    calls = [_read_call(one, seed, place) for place, one in enumerate(listed if isinstance(listed, list) else []) if isinstance(one, dict)]
    legacy = message.get("function_call")
    if isinstance(legacy, dict) and not calls:
        calls = [ToolCall(made_id(seed, 0), text_of(legacy.get("name")), arguments_text(legacy.get("arguments")))]
    return [call for call in calls if call.name]


def _read_call(call: Mapping[str, Any], seed: str, place: int) -> ToolCall:
    custom, function = call.get("custom"), call.get("function")
    given = text_of(call.get("id")) or made_id(seed, place)
    if isinstance(custom, dict):
        return ToolCall(given, text_of(custom.get("name")), text_of(custom.get("input")), custom=True)
    function = function if isinstance(function, dict) else {}
    seal = read_extra(call.get("extra_content"), of_caller=False)
    return ToolCall(given, text_of(function.get("name")), arguments_text(function.get("arguments")), seal=seal)


def arguments_text(arguments: object) -> str:
    """Text as it is; some servers write the object itself."""
    if isinstance(arguments, str):
        return arguments
    return written(arguments).decode() if isinstance(arguments, dict) else ""


def logprobs_of(logprobs: object) -> tuple[TokenLogprob, ...]:
    """`logprobs.content`, or of a refusal."""
    if not isinstance(logprobs, dict):
        return ()
    tokens = logprobs.get("content") or logprobs.get("refusal")
    return tuple(_logprob(one) for one in tokens if isinstance(one, dict)) if isinstance(tokens, list) else ()


def _logprob(token: Mapping[str, Any]) -> TokenLogprob:
    value, data, top = token.get("logprob"), token.get("bytes"), token.get("top_logprobs")
    octets = tuple(one for one in data if isinstance(one, int) and 0 <= one < 256) if isinstance(data, list) else None
    others = tuple(_logprob({**one, "top_logprobs": None}) for one in top if isinstance(one, dict)) if isinstance(top, list) else ()
    sure = float(value) if isinstance(value, int | float) and -COUNT_MAX < value <= 0 else LOGPROB_LEAST
    return TokenLogprob(text_of(token.get("token")), sure, octets, others)


def citations_of(annotations: object) -> tuple[Citation, ...]:
    found = []
    for one in annotations if isinstance(annotations, list) else []:
        cited = one.get("url_citation") if isinstance(one, dict) else None
        if isinstance(cited, dict):
            start, end = _place(cited.get("start_index")), _place(cited.get("end_index"))
            start, end = (start, end) if 0 <= start <= end else (-1, -1)
            content = text_of(cited.get("content"))  # OpenRouter's
            found.append(Citation(text_of(cited.get("title")), text_of(cited.get("url")), content, start, end, one))
    return tuple(found)


def _place(value: object) -> int:
    return value if isinstance(value, int) and value < COUNT_MAX else -1


def links_of(answer: Mapping[str, Any]) -> tuple[Citation, ...]:
    """Sources that stand beside the choices: Perplexity's and xAI's `citations`, a list of URLs."""
    links = answer.get("citations")
    return tuple(Citation(url=one) for one in links if isinstance(one, str) and one) if isinstance(links, list) else ()
