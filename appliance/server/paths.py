"""Which path is which operation in which wire language. Errors of a path are told in its language, known or not."""

from appliance.dialects.gemini import GEMINI
from appliance.dialects.language import Language
from appliance.dialects.languages import ANTHROPIC_MESSAGES, OPENAI_CHAT, OPENAI_RESPONSES, gemini_call
from appliance.dialects.protocol import CallerDialect
from appliance.gateway.call import caller_of

OPERATIONS: dict[str, tuple[str, Language]] = {
    "/v1/chat/completions": ("chat", OPENAI_CHAT),
    "/v1/completions": ("text_completion", OPENAI_CHAT),
    "/v1/embeddings": ("embeddings", OPENAI_CHAT),
    "/v1/responses": ("chat", OPENAI_RESPONSES),
    "/v1/messages": ("chat", ANTHROPIC_MESSAGES),
    "/v1/messages/count_tokens": ("count_tokens", ANTHROPIC_MESSAGES),
}


GEMINI_PATHS = ("/v1beta/models/", "/v1/models/")
"""Where calls of Gemini's language begin: the first is its own, the second what google-genai uses by default."""


def gemini_operation(path: str, query: bytes = b"") -> tuple[str, Language] | None:
    """The operation of a Gemini path, escaped as it was sent; None where it is none (/v1/models/ID is a model to look at)."""
    return gemini_call(path, query.decode("latin-1")) if path.startswith(GEMINI_PATHS) and ":" in path else None


def envelope_of(path: str) -> CallerDialect:
    """Who tells the errors of a path."""
    if path.startswith("/v1beta/") or gemini_operation(path) is not None:
        return GEMINI
    return caller_of(ANTHROPIC_MESSAGES if path == "/v1/messages" or path.startswith("/v1/messages/") else OPENAI_CHAT)
