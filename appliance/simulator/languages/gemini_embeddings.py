"""embedContent and batchEmbedContents: one unit vector for each content. Pure."""

from collections.abc import Mapping
from typing import Any

from appliance.simulator.answer import Answer, Headers, whole
from appliance.simulator.languages.gemini_errors import GeminiError, refused
from appliance.simulator.languages.gemini_proto import read_message
from appliance.simulator.settings import Speed
from appliance.simulator.tokens import count_tokens
from appliance.simulator.vectors import unit_vector

DIMENSIONS = 3072
DIMENSIONS_OLD = {"text-embedding-004": 768, "embedding-001": 768}
BATCH_MAX = 100  # the service's own bound
COUNTING = "embedding-2"  # from this model on the service says what it counted


def embed_one(body: Mapping[str, Any], model: str, speed: Speed, headers: Headers) -> Answer | GeminiError:
    fields = read_message("EmbedContentRequest", body)
    if isinstance(fields, GeminiError):
        return fields
    error = request_error(fields, "EmbedContentRequest.")
    if error is not None:
        return error
    text = content_text(fields)
    made = {"embedding": {"values": vector(text, fields, model)}, **counted([text], model)}
    return whole(made, headers=headers, due_s=speed.first_token_s, prompt_tokens=count_tokens(text))


def embed_batch(body: Mapping[str, Any], model: str, speed: Speed, headers: Headers) -> Answer | GeminiError:
    fields = read_message("BatchEmbedContentsRequest", body)
    if isinstance(fields, GeminiError):
        return fields
    requests = fields.get("requests") or []
    if not requests:
        return refused(400, "* BatchEmbedContentsRequest.requests: requests is not specified\n")
    if len(requests) > BATCH_MAX:
        return refused(400, f"* BatchEmbedContentsRequest.requests: at most {BATCH_MAX} requests can be in one batch\n")
    for i, one in enumerate(requests):
        path = f"BatchEmbedContentsRequest.requests[{i}]."
        if not one.get("model", "").startswith("models/"):
            return refused(400, f"* {path}model: unexpected model name format\n")
        error = request_error(one, path)
        if error is not None:
            return error
    texts = [content_text(one) for one in requests]
    made = {
        "embeddings": [{"values": vector(text, one, model)} for text, one in zip(texts, requests, strict=True)],
        **counted(texts, model),
    }
    return whole(made, headers=headers, due_s=speed.first_token_s, prompt_tokens=sum(map(count_tokens, texts)))


def request_error(fields: Mapping[str, Any], path: str) -> GeminiError | None:
    if not (fields.get("content") or {}).get("parts"):
        return refused(400, f"* {path}content: content is not specified\n")
    if not content_text(fields):
        return refused(400, "content is empty")
    if not 1 <= fields.get("outputDimensionality", DIMENSIONS) <= DIMENSIONS:
        return refused(400, f"* {path}output_dimensionality: must be between 1 and {DIMENSIONS}\n")
    return None


def content_text(fields: Mapping[str, Any]) -> str:
    return "\n".join(part["text"] for part in fields["content"]["parts"] if part.get("text"))


def vector(text: str, fields: Mapping[str, Any], model: str) -> list[float]:
    own = next((size for name, size in DIMENSIONS_OLD.items() if name in model and "gemini" not in model), DIMENSIONS)
    return unit_vector(text, fields.get("outputDimensionality") or own).tolist()


def counted(texts: list[str], model: str) -> dict[str, Any]:
    return {"usageMetadata": {"promptTokenCount": sum(map(count_tokens, texts))}} if COUNTING in model else {}
