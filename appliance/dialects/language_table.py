"""The wire languages by name, loaded when they are first asked for: all of their codecs take 0.3 s, and most gateways need few.

`load_all` is for a thread beside a gateway that already serves, so that nobody's first request has to wait for that.
"""

from appliance.dialects.language import Language
from appliance.dialects.openai_language import OPENAI_CHAT, OPENAI_COMPLETIONS

NAMES = ("openai_chat", "openai_responses", "anthropic_messages", "gemini", "bedrock", "cohere")


def language(name: str) -> Language:
    """One of NAMES."""
    if name == OPENAI_CHAT.name:
        return OPENAI_CHAT
    from appliance.dialects.languages import LANGUAGES

    return LANGUAGES[name]


def completions() -> Language:
    """OpenAI's language to callers of its legacy completions."""
    return OPENAI_COMPLETIONS


def media() -> Language:
    """OpenAI's language to callers of what passes as it is: moderations, images, audio, and rankings in Jina's form."""
    from appliance.dialects.openai_media import OPENAI_MEDIA

    return OPENAI_MEDIA


def rerank_v2() -> Language:
    """The same, for rankings in Cohere's form."""
    from appliance.dialects.openai_media import RERANK_V2

    return RERANK_V2


def gemini_call(path: str, query: str) -> tuple[str, Language] | None:
    """See languages.gemini_call."""
    from appliance.dialects import languages

    return languages.gemini_call(path, query)


def load_all() -> None:
    for name in NAMES:
        assert language(name).spoken is not None
    media()
