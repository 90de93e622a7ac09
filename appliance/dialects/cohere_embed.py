"""Embeddings in Cohere's v2 words: the side that is spoken to backends.

The rule: vectors come in the order of the inputs, one list for each kind that was asked for; only numbers are asked for here
(docs.cohere.com/reference/embed).
"""

from collections.abc import Mapping
from typing import Any

from appliance.core.embedding import EmbeddingRequest, Embeddings, Purpose, vector_of
from appliance.core.fault import Fault, FaultKind
from appliance.dialects.codec import Target, Written
from appliance.dialects.cohere_answer import read_usage
from appliance.dialects.upstream_json import parse, written

TEXTS_MAX = 96
"""Of one call (docs.cohere.com/reference/embed)."""

_INPUT_TYPES: Mapping[Purpose, str] = {
    "": "search_document", "document": "search_document", "query": "search_query", "question": "search_query", "fact": "search_query",
    "code_query": "search_query", "classification": "classification", "clustering": "clustering",
}  # fmt: skip
"""Models of version 3 and later demand one; a caller who did not say gets what a store of documents is made of, as most embeddings are.
Cohere has none for similarity."""


def write_embed(wish: EmbeddingRequest, target: Target) -> Written | Fault:
    texts = wish.texts()
    if texts is None:
        words = "input must be texts for this backend: it cannot read tokens of another model"
        return Fault(FaultKind.BAD_REQUEST, words, param="input")
    known = wish.purpose in _INPUT_TYPES
    lost = {"purpose": not known, "title": bool(wish.title), "user": bool(wish.user)}
    body: dict[str, Any] = {
        "model": target.model,
        "input_type": _INPUT_TYPES[wish.purpose if known else ""],
        "embedding_types": ["float"],
        "texts": texts,
    }
    if wish.dimensions is not None:
        body["output_dimension"] = wish.dimensions
    raw = written(body)
    if raw is None:
        return Fault(FaultKind.BAD_REQUEST, "the request holds something that cannot be written as JSON")
    return Written(raw, (*wish.dropped, *(name for name, is_lost in lost.items() if is_lost)))


def read_embed(body: bytes) -> Embeddings | Fault:
    """PROTOCOL where it is no such answer. Cohere tells what is billed only, and does not name its model."""
    try:
        answer = parse(body)
    except ValueError:
        answer = None
    found = answer.get("embeddings") if isinstance(answer, dict) else None
    listed = found.get("float") if isinstance(found, dict) else found
    vectors = [vector_of(one) for one in listed] if isinstance(listed, list) else []
    whole = tuple(one for one in vectors if one is not None)
    if not isinstance(answer, dict) or not whole or len(whole) != len(vectors):
        return Fault(FaultKind.PROTOCOL, "the backend sent something that is not an answer with embeddings")
    return Embeddings(whole, read_usage(answer.get("meta")))
