"""Embeddings in the three languages that have them: vectors, and the tokens that were read for them."""

from recorded.said import Json

Vectors = list[list[float]]


def openai(answer: Json) -> tuple[Vectors, int]:
    in_order = sorted(answer["data"], key=lambda one: one["index"])
    return [one["embedding"] for one in in_order], answer["usage"]["prompt_tokens"]


def cohere(answer: Json) -> tuple[Vectors, int]:
    return answer["embeddings"]["float"], answer["meta"]["billed_units"]["input_tokens"]


def gemini(answer: Json) -> tuple[Vectors, None]:
    """Of a batch. It tells no tokens."""
    return [one["values"] for one in answer["embeddings"]], None
