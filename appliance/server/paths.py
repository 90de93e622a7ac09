"""Which path is which operation in which wire language. Errors of a path are told in its language, known or not."""

from appliance.dialects.language import Language
from appliance.dialects.languages import ANTHROPIC_MESSAGES, OPENAI_CHAT, OPENAI_RESPONSES
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


def envelope_of(path: str) -> CallerDialect:
    """Who tells the errors of a path."""
    return caller_of(ANTHROPIC_MESSAGES if path == "/v1/messages" or path.startswith("/v1/messages/") else OPENAI_CHAT)
