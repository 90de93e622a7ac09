"""Google's Gemini API on both sides: generateContent whole and streamed, countTokens, models. This module is its only door,
but for embeddings, which are functions of gemini_embedding.

Decisions about what the language cannot say stand with the code: gemini_history and gemini_wishes (requests), gemini_answer (answers),
gemini_model (thinking), gemini_seal (thought signatures). A request's model, and whether and how it streams, are in its path: gemini_path.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from appliance.core.completion import Completion
from appliance.core.conversation import Conversation
from appliance.core.fault import Fault
from appliance.dialects import gemini_answer, gemini_error, gemini_models, gemini_path, gemini_request, gemini_tokens
from appliance.dialects.codec import Accepted, Reply, Spoken, Target, Written
from appliance.dialects.gemini_path import GeminiCall
from appliance.dialects.gemini_seal import OWN
from appliance.dialects.gemini_stream_reader import GeminiStreamReader
from appliance.dialects.gemini_stream_writer import GeminiStreamWriter


class Gemini:
    """codec.Accepted and codec.Spoken, and beside them what else the API has.

    Attributes:
        array: streams are written as one JSON array, for a caller whose query has no `alt=sse`. They are read in either form.
    """

    name = "gemini"
    family = OWN

    def __init__(self, array: bool = False) -> None:
        self.array = array
        self.stream_type = b"application/json" if array else b"text/event-stream"

    def read_path(self, path: str, query: str = "") -> GeminiCall | None:
        return gemini_path.read_path(path, query)

    def read_request(self, fields: Mapping[str, Any]) -> Conversation | Fault:
        return gemini_request.read_request(fields)

    def write_answer(self, answer: Completion, reply: Reply) -> bytes:
        return gemini_answer.write_answer(answer, reply)

    def stream_writer(self, reply: Reply) -> GeminiStreamWriter:
        return GeminiStreamWriter(reply, self.array)

    def error(self, fault: Fault, request_id: str) -> bytes:
        return gemini_error.write_error(fault, request_id)

    def stream_error(self, fault: Fault, request_id: str) -> bytes:
        """Of a stream that passes verbatim; one that is written ends with its writer's `error`. In the array form only before its first
        chunk: what was sent of the array is not known here."""
        error = gemini_error.write_error(fault, request_id)
        return b"[%b]" % error if self.array else b"data: %b\n\n" % error

    def keepalive(self) -> bytes:
        return b"\n"

    def read_count(self, fields: Mapping[str, Any]) -> Conversation | Fault:
        return gemini_tokens.read_count(fields)

    def write_count_answer(self, total_tokens: int, cached_tokens: int = 0) -> bytes:
        return gemini_tokens.write_count_answer(total_tokens, cached_tokens)

    def models_list(self, ids: Sequence[str], *, page_size: int = gemini_models.PAGE_DEFAULT, page_token: str = "") -> bytes:
        return gemini_models.models_list(ids, page_size=page_size, page_token=page_token)

    def model_one(self, model: str) -> bytes:
        return gemini_models.model_one(model)

    def path(self, model: str, stream: bool) -> str:
        """Behind the backend's base_url."""
        return gemini_path.backend_path(model, "streamGenerateContent" if stream else "generateContent")

    def write_request(self, conversation: Conversation, target: Target) -> Written | Fault:
        return gemini_request.write_request(conversation, target)

    def read_answer(self, body: bytes) -> Completion | Fault:
        return gemini_answer.read_answer(body)

    def stream_reader(self, event_max_bytes: int, backend: str) -> GeminiStreamReader:
        return GeminiStreamReader(event_max_bytes, backend)

    def write_count(self, conversation: Conversation, target: Target) -> Written | Fault:
        return gemini_tokens.write_count(conversation, target)

    def read_count_answer(self, body: bytes) -> int | Fault:
        return gemini_tokens.read_count_answer(body)

    def classify(
        self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, backend: str, now: float, secrets: Sequence[bytes] = ()
    ) -> Fault:
        return gemini_error.classify(status, headers, body, backend=backend, now=now, secrets=secrets)


GEMINI = Gemini()
GEMINI_ARRAY = Gemini(array=True)

_ACCEPTED: Accepted = GEMINI
_SPOKEN: Spoken = GEMINI
