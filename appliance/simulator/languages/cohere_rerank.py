"""Cohere's v2 rerank: documents in the order of the words they share with the query. Pure. Source: docs.cohere.com/reference/rerank."""

import re
from collections.abc import Mapping
from typing import Any

from appliance.simulator.answer import Answer, Headers, whole
from appliance.simulator.api_error import ApiError
from appliance.simulator.chat_answer import letters
from appliance.simulator.languages.cohere_errors import invalid
from appliance.simulator.languages.cohere_request import INTEGER, LIST, TEXT, fields_error
from appliance.simulator.prose import seed_of
from appliance.simulator.settings import Speed
from appliance.simulator.tokens import count_tokens

FIELDS: Mapping[str, str] = {
    **dict.fromkeys(("model", "query"), TEXT),
    "documents": LIST,
    **dict.fromkeys(("top_n", "max_tokens_per_doc", "priority"), INTEGER),
}
DOCUMENTS_MAX = 10_000
DOCUMENTS_PER_UNIT = 100  # of what is billed
CHANCE_SHARE = 0.01  # of a score is no word's, so that no two documents tie


def rerank(fields: Mapping[str, Any], model: str, speed: Speed, headers: Headers) -> Answer | ApiError:
    error = fields_error(fields, FIELDS, "rerank")
    if error is not None:
        return error
    query, documents = fields.get("query") or "", fields.get("documents") or []
    if not query.strip():
        return invalid("query must not be empty or be only whitespace")
    if not documents:
        return invalid("list of documents must not be empty")
    if len(documents) > DOCUMENTS_MAX or not all(isinstance(document, str) for document in documents):
        return invalid(f"documents must be at most {DOCUMENTS_MAX} strings.")
    top = fields.get("top_n")
    if top is not None and top < 1:
        return invalid("top_n must be at least 1.")
    scored = sorted(((score(query, document), -i) for i, document in enumerate(documents)), reverse=True)
    made = {
        "id": letters(seed_of(model, query, documents), 32).lower(),
        "results": [{"index": -i, "relevance_score": value} for value, i in scored[:top]],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": -(-len(documents) // DOCUMENTS_PER_UNIT)}},
    }
    return whole(made, headers=headers, due_s=speed.first_token_s, prompt_tokens=sum(map(count_tokens, (query, *documents))))


def score(query: str, document: str) -> float:
    """The share of the query's words that the document has, and a little that is derived from both."""
    wanted, found = words(query), words(document)
    share = len(wanted & found) / len(wanted) if wanted else 0.0
    return round(share * (1 - CHANCE_SHARE) + seed_of(query, document)[0] / 256 * CHANCE_SHARE, 8)


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))
