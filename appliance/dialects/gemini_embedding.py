"""embedContent and batchEmbedContents as simple values: texts in, vectors out, so that any backend's embeddings can serve a caller's.

The rule: one request asks for one kind of vector. A batch whose members want different ones is refused, as no other language can ask so.
Sources: ai.google.dev/api/embeddings; google-genai sends a batch for a single text, too.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from appliance.core.fault import Fault, FaultKind
from appliance.dialects.fields import Unfit, integer, optional, text
from appliance.dialects.gemini_error import error_in_answer
from appliance.dialects.gemini_json import dump, message, messages, parse, plain
from appliance.dialects.gemini_usage import read_usage

TEXTS_MAX = 2_048
"""OpenAI's bound on one request; Google's is 100."""

_RETRIEVAL_DOCUMENT = "RETRIEVAL_DOCUMENT"


@attrs.frozen
class EmbeddingWish:
    """Attributes:
    model: as the body names it; "" where only the path does.
    dimensions: of the vectors, None for the model's own. task: Google's taskType ("RETRIEVAL_QUERY" ...), "" for none.
    title: of the one document that is asked for (taskType RETRIEVAL_DOCUMENT).
    dropped: paths of what another language cannot say.
    """

    texts: tuple[str, ...] = attrs.field(repr=False)
    model: str = ""
    dimensions: int | None = None
    task: str = ""
    title: str = attrs.field(default="", repr=False)
    dropped: tuple[str, ...] = ()


@attrs.frozen
class Embeddings:
    """vectors: one for each text, in order. input_tokens: None where the backend does not say."""

    vectors: tuple[tuple[float, ...], ...] = attrs.field(repr=False)
    input_tokens: int | None = None


def read_embed(fields: Mapping[str, Any]) -> EmbeddingWish | Fault:
    """The body of :embedContent."""
    try:
        return _read_one(plain(fields), "")
    except Unfit as unfit:
        return unfit.fault()


def read_batch(fields: Mapping[str, Any]) -> EmbeddingWish | Fault:
    """The body of :batchEmbedContents."""
    try:
        return _read_batch(plain(fields))
    except Unfit as unfit:
        return unfit.fault()


def _read_batch(fields: Mapping[str, Any]) -> EmbeddingWish:
    requests = messages(fields.get("requests") or [], "requests")
    if not 0 < len(requests) <= TEXTS_MAX:
        raise Unfit("requests", f"must hold 1 to {TEXTS_MAX} requests")
    wishes = [_read_one(one, f"requests[{place}]") for place, one in enumerate(requests)]
    first = wishes[0]
    for place, one in enumerate(wishes):
        if attrs.evolve(one, texts=(), title="", dropped=()) != attrs.evolve(first, texts=(), title="", dropped=()):
            raise Unfit(f"requests[{place}]", "must ask for the same model, taskType and outputDimensionality as the first one")
    texts = tuple(one for wish in wishes for one in wish.texts)
    dropped = tuple(path for wish in wishes for path in wish.dropped)
    return attrs.evolve(first, texts=texts, title=first.title if len(wishes) == 1 else "", dropped=dropped)


def _read_one(request: Mapping[str, Any], path: str) -> EmbeddingWish:
    at = f"{path}." if path else ""
    content = message(request.get("content"), f"{at}content")
    words: list[str] = []
    for place, part in enumerate(messages(content.get("parts") or [], f"{at}content.parts")):
        words.append(text(part.get("text"), f"{at}content.parts[{place}].text"))
    if not words:
        raise Unfit(f"{at}content.parts", "must hold a text")
    known = ("content", "model", "taskType", "title", "outputDimensionality")
    title = optional(text, request, "title", path) or ""
    return EmbeddingWish(
        texts=("\n".join(words),),  # the parts of one content are one text to Google
        model=(optional(text, request, "model", path) or "").removeprefix("models/"),
        dimensions=optional(integer, request, "outputDimensionality", path),
        task=optional(text, request, "taskType", path) or "",
        title=title,
        dropped=tuple(f"{at}{name}" for name, value in request.items() if name not in known and value is not None),
    )


def write_embed_request(wish: EmbeddingWish, model: str) -> bytes:
    """The body of :batchEmbedContents for these texts, which serves one as well as many."""
    return dump({"requests": [_request(one, wish, model) for one in wish.texts]})


def _request(words: str, wish: EmbeddingWish, model: str) -> dict[str, Any]:
    out: dict[str, Any] = {"model": f"models/{model.removeprefix('models/')}", "content": {"parts": [{"text": words}]}}
    if wish.task:
        out["taskType"] = wish.task
    if wish.title and wish.task == _RETRIEVAL_DOCUMENT:
        out["title"] = wish.title
    if wish.dimensions is not None:
        out["outputDimensionality"] = wish.dimensions
    return out


def write_embed_answer(embeddings: Embeddings) -> bytes:
    """The answer of :embedContent: the first vector."""
    return dump({"embedding": {"values": list(embeddings.vectors[0]) if embeddings.vectors else []}, **_usage(embeddings)})


def write_batch_answer(embeddings: Embeddings) -> bytes:
    return dump({"embeddings": [{"values": list(one)} for one in embeddings.vectors], **_usage(embeddings)})


def _usage(embeddings: Embeddings) -> dict[str, Any]:
    """A field that Google added late, and that its SDKs take or leave."""
    return {} if embeddings.input_tokens is None else {"usageMetadata": {"promptTokenCount": embeddings.input_tokens}}


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
    vectors = [_vector(one) for one in found] if isinstance(found, list) else [None]
    whole = tuple(one for one in vectors if one is not None)
    if not vectors or len(whole) != len(vectors):
        return Fault(FaultKind.PROTOCOL, "the backend sent an answer without vectors")
    usage = read_usage(answer.get("usageMetadata"))
    return Embeddings(whole, usage.input_tokens if usage is not None else None)


def _vector(found: object) -> tuple[float, ...] | None:
    values = found.get("values") if isinstance(found, dict) else None
    if not isinstance(values, list) or not values or not all(type(one) in (int, float) for one in values):
        return None
    return tuple(float(one) for one in values)
