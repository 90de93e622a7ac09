"""What a Gemini request's path and query say, which other languages say in the body: the model, the method, whether and how it streams.

Source: ai.google.dev/api/all-methods (`/{version}/models/{model}:{method}`); google-genai asks under /v1 or /v1beta.
"""

import re
from urllib.parse import parse_qsl, quote, unquote

import attrs

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
