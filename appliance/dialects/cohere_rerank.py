"""Rankings in Cohere's v2 words: a wish and its answer as plain values (docs.cohere.com/reference/rerank).

The rule: results stay in the order that the model gave them, best first; `index` is the document's place in the request.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from appliance.core.fault import Fault, FaultKind
from appliance.dialects.cohere_answer import read_billed, text_of
from appliance.dialects.upstream_json import parse, written


@attrs.frozen
class RerankWish:
    """Attributes:
    results_max: how many of the best to give back, None for all.
    document_tokens_max: longer documents are cut, None for Cohere's default (4,096).
    extra: other fields of the request.
    """

    model: str
    query: str = attrs.field(repr=False)
    documents: tuple[str, ...] = attrs.field(repr=False)
    results_max: int | None = None
    document_tokens_max: int | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


@attrs.frozen
class Ranked:
    """score: from 0 to 1; comparable within one query only."""

    index: int
    score: float


@attrs.frozen
class Ranking:
    """search_units: what is billed: one query with up to a hundred documents."""

    id: str
    results: tuple[Ranked, ...]
    search_units: int = 0


def write_rerank(wish: RerankWish) -> bytes | Fault:
    if not wish.documents:
        return Fault(FaultKind.BAD_REQUEST, "documents must hold at least one text", param="documents")
    body: dict[str, Any] = {**wish.extra, "model": wish.model, "query": wish.query, "documents": wish.documents}
    if wish.results_max is not None:
        body["top_n"] = wish.results_max
    if wish.document_tokens_max is not None:
        body["max_tokens_per_doc"] = wish.document_tokens_max
    return written(body) or Fault(FaultKind.BAD_REQUEST, "the request holds something that cannot be written as JSON")


def read_rerank(body: bytes) -> Ranking | Fault:
    """PROTOCOL where it is no such answer."""
    try:
        answer = parse(body)
    except ValueError:
        answer = None
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or not isinstance(results, list):
        return Fault(FaultKind.PROTOCOL, "the backend sent something that is not a ranking")
    ranked = tuple(one for result in results if (one := _ranked(result)) is not None)
    billed = read_billed(answer.get("meta"))
    return Ranking(text_of(answer.get("id")), ranked, billed.search_units if billed is not None else 0)


def _ranked(result: object) -> Ranked | None:
    if not isinstance(result, dict):
        return None
    index, score = result.get("index"), result.get("relevance_score")
    if type(index) is not int or not isinstance(score, int | float) or isinstance(score, bool):
        return None
    return Ranked(index, float(score))
