"""embedContent and batchEmbedContents, on both sides: a caller's as canonical requests, canonical requests as a backend's batch.

The rule: vectors pass as they are; Google's are of length one only where they have their full length. One request asks for one kind of
vector: a batch whose members want different ones is refused, as no other language can ask so.
Sources: ai.google.dev/api/embeddings; google-genai sends a batch for a single text, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import orjson

from appliance.core.embedding import INPUTS_MAX, EmbeddingRequest, Embeddings, Purpose, vector_of
from appliance.core.fault import Fault, FaultKind
from appliance.core.usage import Usage
from appliance.dialects.answer_size import BYTES_PER_TOKEN, text_size
from appliance.dialects.codec import Target, Written
from appliance.dialects.fields import Unfit, integer, optional, text
from appliance.dialects.gemini_error import error_in_answer
from appliance.dialects.gemini_json import dump, message, messages, parse, plain
from appliance.dialects.gemini_usage import read_usage
from appliance.dialects.protocol import Answer

TEXTS_MAX = 100
"""Of one call: "at most 100 requests can be in one batch" is what the API answers to more."""

USAGE_TAIL_BYTES = 4_096
"""How far from the end of an answer its usage begins at most: vectors come first."""

_TASKS: Mapping[str, Purpose] = {
    "RETRIEVAL_DOCUMENT": "document", "RETRIEVAL_QUERY": "query", "CLASSIFICATION": "classification", "CLUSTERING": "clustering",
    "SEMANTIC_SIMILARITY": "similarity", "QUESTION_ANSWERING": "question", "FACT_VERIFICATION": "fact",
    "CODE_RETRIEVAL_QUERY": "code_query", "TASK_TYPE_UNSPECIFIED": "",
}  # fmt: skip
_TASK_OF: Mapping[Purpose, str] = {purpose: task for task, purpose in _TASKS.items() if purpose}

_KNOWN = ("content", "model", "taskType", "title", "outputDimensionality")


def read_embed(fields: Mapping[str, Any]) -> EmbeddingRequest | Fault:
    """The body of :embedContent."""
    try:
        return _read_one(plain(fields), "")
    except Unfit as unfit:
        return unfit.fault()


def read_batch(fields: Mapping[str, Any]) -> EmbeddingRequest | Fault:
    """The body of :batchEmbedContents."""
    try:
        return _read_batch(plain(fields))
    except Unfit as unfit:
        return unfit.fault()


def _read_batch(fields: Mapping[str, Any]) -> EmbeddingRequest:
    requests = messages(fields.get("requests") or [], "requests")
    if not 0 < len(requests) <= INPUTS_MAX:
        raise Unfit("requests", f"must hold 1 to {INPUTS_MAX} requests")
    found = [_read_one(one, f"requests[{place}]") for place, one in enumerate(requests)]
    first = found[0]
    for place, one in enumerate(found):
        if (one.purpose, one.dimensions) != (first.purpose, first.dimensions):
            raise Unfit(f"requests[{place}]", "must ask for the same taskType and outputDimensionality as the first one")
    inputs = tuple(words for one in found for words in one.inputs)
    dropped = [path for one in found for path in one.dropped]
    if len(found) > 1:
        dropped += [f"requests[{place}].title" for place, one in enumerate(found) if one.title]
    return attrs.evolve(first, inputs=inputs, title=first.title if len(found) == 1 else "", dropped=tuple(dropped))


def _read_one(request: Mapping[str, Any], path: str) -> EmbeddingRequest:
    at = f"{path}." if path else ""
    content = message(request.get("content"), f"{at}content")
    words: list[str] = []
    for place, part in enumerate(messages(content.get("parts") or [], f"{at}content.parts")):
        words.append(text(part.get("text"), f"{at}content.parts[{place}].text"))
    if not words:
        raise Unfit(f"{at}content.parts", "must hold a text")
    task = optional(text, request, "taskType", path) or ""
    lost = [name for name, value in request.items() if name not in _KNOWN and value is not None]
    if task and task not in _TASKS:
        lost.append("taskType")
    return EmbeddingRequest(
        inputs=("\n".join(words),),  # the parts of one content are one text to Google
        dimensions=optional(integer, request, "outputDimensionality", path),
        purpose=_TASKS.get(task, ""),
        title=optional(text, request, "title", path) or "",
        dropped=tuple(f"{at}{name}" for name in lost),
    )


def write_embed_request(wish: EmbeddingRequest, target: Target) -> Written | Fault:
    """The body of :batchEmbedContents, which serves one text as well as many."""
    texts = wish.texts()
    if texts is None:
        words = "input must be texts for this backend: it cannot read tokens of another model"
        return Fault(FaultKind.BAD_REQUEST, words, param="input")
    titled = bool(wish.title) and wish.purpose == "document"
    dropped = [*wish.dropped, *(["user"] if wish.user else []), *(["title"] if wish.title and not titled else [])]
    more: dict[str, Any] = {}
    if wish.purpose:
        more["taskType"] = _TASK_OF[wish.purpose]
    if titled:
        more["title"] = wish.title
    if wish.dimensions is not None:
        more["outputDimensionality"] = wish.dimensions
    model = f"models/{target.model.removeprefix('models/')}"
    requests = [{"model": model, "content": {"parts": [{"text": one}]}, **more} for one in texts]
    return Written(dump({"requests": requests}), tuple(dropped))


def write_vector(values: Sequence[float], request: EmbeddingRequest) -> orjson.Fragment:
    del request
    return orjson.Fragment(dump(values))


def write_embed_answer(answer: Embeddings) -> bytes:
    """The answer of :embedContent: the one vector."""
    return dump({"embedding": {"values": answer.vectors[0]}, **_usage(answer)})


def write_batch_answer(answer: Embeddings) -> bytes:
    return dump({"embeddings": [{"values": one} for one in answer.vectors], **_usage(answer)})


def _usage(answer: Embeddings) -> dict[str, Any]:
    """A field that Google added late, and that its SDKs take or leave."""
    return {} if answer.usage is None else {"usageMetadata": {"promptTokenCount": answer.usage.input_tokens}}


def read_embed_answer(body: bytes) -> Embeddings | Fault:
    """A backend's answer to either call; PROTOCOL where it is none."""
    try:
        answer = parse(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        return Fault(FaultKind.PROTOCOL, "the backend sent an answer that is not a JSON object")
    fault = error_in_answer(answer, "")
    if fault is not None:
        return fault
    found = answer.get("embeddings") if "embeddings" in answer else [answer.get("embedding")]
    vectors = [vector_of(one.get("values")) if isinstance(one, dict) else None for one in found] if isinstance(found, list) else []
    whole = tuple(one for one in vectors if one is not None)
    if not vectors or len(whole) != len(vectors):
        return Fault(FaultKind.PROTOCOL, "the backend sent an answer without vectors")
    return Embeddings(whole, _input_of(read_usage(answer.get("usageMetadata"))))


def summary(body: bytes) -> Answer | Fault:
    """Usage of an answer that passes verbatim, from its end alone: vectors are not worth parsing for it."""
    place = body.rfind(b'"usageMetadata"', len(body) - min(len(body), USAGE_TAIL_BYTES))
    if place < 0:
        return Answer(None)
    try:
        found = parse(b"{" + body[place:])
    except ValueError:
        return Answer(None)
    return Answer(_input_of(read_usage(found.get("usageMetadata")))) if isinstance(found, dict) else Answer(None)


def estimate(fields: Mapping[str, Any]) -> int:
    """Rough number of tokens of either call's texts."""
    request = read_batch(fields) if "requests" in fields else read_embed(fields)
    texts = () if isinstance(request, Fault) else request.texts() or ()
    return sum(map(text_size, texts)) // BYTES_PER_TOKEN


def _input_of(usage: Usage | None) -> Usage | None:
    return None if usage is None else Usage(usage.input_tokens)
