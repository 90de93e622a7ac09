"""Which path is which operation in which wire language. Errors of a path are told in its language, known or not."""

from collections.abc import Callable
from functools import partial

from appliance.dialects.language import Language
from appliance.dialects.language_table import completions, gemini_call, language, media, rerank_v2
from appliance.dialects.protocol import CallerDialect
from appliance.gateway.call import caller_of
from appliance.http1.asgi import Scope

OPERATIONS: dict[str, tuple[str, Callable[[], Language]]] = {
    "/v1/chat/completions": ("chat", partial(language, "openai_chat")),
    "/v1/completions": ("text_completion", completions),
    "/v1/embeddings": ("embeddings", partial(language, "openai_chat")),
    "/v1/responses": ("chat", partial(language, "openai_responses")),
    "/v1/responses/input_tokens": ("count_tokens", partial(language, "openai_responses")),
    "/v1/messages": ("chat", partial(language, "anthropic_messages")),
    "/v1/messages/count_tokens": ("count_tokens", partial(language, "anthropic_messages")),
    "/v1/rerank": ("rerank", media),
    "/v2/rerank": ("rerank", rerank_v2),
    "/v1/moderations": ("moderations", media),
    "/v1/images/generations": ("image_generation", media),
    "/v1/images/edits": ("image_edit", media),
    "/v1/images/variations": ("image_variation", media),
    "/v1/audio/speech": ("speech", media),
    "/v1/audio/transcriptions": ("transcription", media),
    "/v1/audio/translations": ("translation", media),
}
"""Operation and language by path."""

GEMINI_PATHS = ("/v1beta/models/", "/v1/models/")
"""Where calls of Gemini's language begin: the first is its own, the second what google-genai uses by default."""


def operation_of(scope: Scope) -> tuple[str, Language] | None:
    """What a POST to this path asks for; None where that is nothing."""
    known = OPERATIONS.get(scope["path"])
    if known is not None:
        return known[0], known[1]()
    return _gemini_operation(scope["raw_path"].decode("latin-1"), scope["query_string"])


def envelope_of(path: str) -> CallerDialect:
    """Who tells the errors of a path."""
    if path.startswith("/v1/messages"):
        return caller_of(language("anthropic_messages"))
    gemini = path if path.startswith("/v1beta/") else ""
    found = _gemini_operation(path, b"") or (gemini and gemini_call("/v1beta/models/any:generateContent", ""))
    return caller_of(found[1] if found else language("openai_chat"))


def _gemini_operation(path: str, query: bytes) -> tuple[str, Language] | None:
    """The operation of a Gemini path, escaped as it was sent; None where it is none (/v1/models/ID is a model to look at)."""
    return gemini_call(path, query.decode("latin-1")) if path.startswith(GEMINI_PATHS) and ":" in path else None
