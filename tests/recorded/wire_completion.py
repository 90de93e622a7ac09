"""OpenAI's legacy completions: choices of text, whole or in chunks of the same shape."""

from collections.abc import Iterable

from recorded.said import Json, Said
from recorded.wire_chat import usage_in


def whole(answer: Json) -> Said:
    return streamed([answer])


def streamed(chunks: Iterable[Json]) -> Said:
    text = ending = ""
    counts = None
    for chunk in chunks:
        counts = usage_in(chunk) or counts
        for choice in chunk["choices"]:
            text += choice["text"]
            ending = choice.get("finish_reason") or ending
    return Said(text, ending=ending, usage=counts)
