"""What a Gemini request's path and query say, which other languages say in the body: the model, the method, whether and how it streams.
A few bodies name the model once more.

Source: ai.google.dev/api/all-methods (`/{version}/models/{model}:{method}`); google-genai asks under /v1 or /v1beta.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import attrs

from appliance.dialects.gemini_json import dump

MODEL_MAX_CHARS = 256
QUERY_MAX_FIELDS = 32

_PATH = re.compile(r"/v1(?:beta|alpha|beta1)?/models/(.+)", re.DOTALL)

METHODS = frozenset({"generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents"})


@attrs.frozen
class GeminiCall:
    """method: one of METHODS. array: a stream in the form of a JSON array, because the query has no `alt=sse`."""

    model: str
    method: str
    array: bool = False

    @property
    def stream(self) -> bool:
        return self.method == "streamGenerateContent"


def read_path(path: str, query: str = "") -> GeminiCall | None:
    """The call behind a request's path (as sent, escaped) and query; None where the path is no such call."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    model, _, method = unquote(found[1]).rpartition(":")  # the last colon: ids of models may hold colons and slashes, escaped or not
    if method not in METHODS or not 0 < len(model) <= MODEL_MAX_CHARS:
        return None
    try:
        fields = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=QUERY_MAX_FIELDS))
    except ValueError:
        fields = {}
    is_stream = method == "streamGenerateContent"
    return GeminiCall(model.removeprefix("models/"), method, is_stream and fields.get("alt", "").lower() != "sse")


def backend_path(model: str, method: str) -> str:
    """Behind a backend's base_url. A stream is asked for as server-sent events."""
    query = "?alt=sse" if method == "streamGenerateContent" else ""
    return f"/models/{quote(model.removeprefix('models/'), safe='')}:{method}{query}"


def renamed(body: bytes, fields: Mapping[str, Any], model: str) -> bytes:
    """A body of countTokens or of embeddings that asks for `model` wherever it names one: Google refuses a name unlike the path's. The very
    same bytes where it names none; else it is written anew.

    Args:
        fields: the body, parsed.
    """
    name = f"models/{model.removeprefix('models/')}"
    change: dict[str, Any] = {"model": name} if "model" in fields else {}
    for place in ("generateContentRequest", "generate_content_request"):
        inner = fields.get(place)
        if isinstance(inner, dict) and "model" in inner:
            change[place] = {**inner, "model": name}
    requests = fields.get("requests")
    if isinstance(requests, list) and any(isinstance(one, dict) and "model" in one for one in requests):
        change["requests"] = [{**one, "model": name} if isinstance(one, dict) and "model" in one else one for one in requests]
    return dump({**fields, **change}) if change else body
