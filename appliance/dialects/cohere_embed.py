"""Embeddings in Cohere's v2 words: a wish and its answer as plain values. Pure; whose words the caller used is not known here.

The rule: vectors come in the order of the inputs, one list for each kind that was asked for (docs.cohere.com/reference/embed).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from appliance.core.fault import Fault, FaultKind
from appliance.core.usage import Usage
from appliance.dialects.cohere_answer import read_usage, text_of
from appliance.dialects.upstream_json import parse, written

VectorKind = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]

TEXTS_MAX = 96
"""Of one request."""


@attrs.frozen
class EmbedWish:
    """Attributes:
    texts, images: what to embed, one or the other; images are data URIs.
    purpose: "search_document", "search_query", "classification", "clustering" or "image"; Cohere's models of version 3 and later want one.
    dimensions: length of the vectors, None for the model's own.
    truncate: "NONE", "START" or "END"; empty for Cohere's default (END).
    extra: other fields of the request.
    """

    model: str
    texts: tuple[str, ...] = attrs.field(default=(), repr=False)
    images: tuple[str, ...] = attrs.field(default=(), repr=False)
    purpose: str = "search_document"
    kinds: tuple[VectorKind, ...] = ("float",)
    dimensions: int | None = None
    truncate: str = ""
    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


@attrs.frozen
class Embeddings:
    """Attributes:
    vectors: by kind; numbers, or text for base64.
    usage: Cohere tells only what is billed. None when it tells nothing.
    """

    id: str
    vectors: Mapping[str, Sequence[Any]] = attrs.field(repr=False)
    usage: Usage | None = None


def write_embed(wish: EmbedWish) -> bytes | Fault:
    if bool(wish.texts) == bool(wish.images):
        return Fault(FaultKind.BAD_REQUEST, "input must be texts or images, and not both", param="input")
    if len(wish.texts) > TEXTS_MAX:
        return Fault(FaultKind.BAD_REQUEST, f"input must be at most {TEXTS_MAX} texts at a time for this backend", param="input")
    body: dict[str, Any] = {
        **wish.extra,
        "model": wish.model,
        "input_type": wish.purpose if wish.texts else "image",
        "embedding_types": wish.kinds,
        **({"texts": wish.texts} if wish.texts else {"images": wish.images}),
    }
    if wish.dimensions is not None:
        body["output_dimension"] = wish.dimensions
    if wish.truncate:
        body["truncate"] = wish.truncate
    return written(body) or Fault(FaultKind.BAD_REQUEST, "the request holds something that cannot be written as JSON")


def read_embed(body: bytes) -> Embeddings | Fault:
    """PROTOCOL where it is no such answer."""
    try:
        answer = parse(body)
    except ValueError:
        answer = None
    found = answer.get("embeddings") if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or not isinstance(found, dict | list):
        return Fault(FaultKind.PROTOCOL, "the backend sent something that is not an answer with embeddings")
    kinds = found if isinstance(found, dict) else {"float": found}
    vectors = {name: one for name, one in kinds.items() if isinstance(one, list)}
    return Embeddings(text_of(answer.get("id")), vectors, read_usage(answer.get("meta")))
