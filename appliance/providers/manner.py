"""How an operation is said to a backend: in which of its languages, and as which of its calls. Pure; everything follows from the row.

The rule: the caller's own language goes before all others, since bytes then pass as they are; a backend is never asked for a call that its
row does not promise.
"""

from collections.abc import Sequence

import attrs

from appliance.providers.row import Provider

_OPENAI = ("openai_chat", "openai_responses")
"""Two languages of one API: whoever has the second has what the row's `paths` say beside it."""

_SHARED = ("embeddings", "count_tokens")
"""Operations that several languages have, so that one can stand for another; the rest pass as they are or not at all."""


@attrs.frozen
class Manner:
    """language: to say it in. operation: what is asked for; not the caller's where a legacy completion becomes a chat."""

    language: str
    operation: str


def manner(provider: Provider, pinned: str | None, callers: str, operation: str) -> Manner | None:
    """None where the backend has no such thing.

    Args:
        pinned: the one language that the operator's configuration says, or the model speaks, if any.
        callers: the language of the request.
    """
    dialects = provider.dialects if pinned is None else (pinned,)
    if operation == "text_completion":
        if _has_path(provider, dialects, operation):
            return Manner("openai_chat", operation)
        operation = "chat"
    if operation == "chat":
        return Manner(callers if callers in dialects else dialects[0], operation)
    if operation not in _SHARED:
        return Manner(callers, operation) if operation in provider.paths else None
    if operation == "count_tokens" and not provider.counts:
        return None
    own = [name for name in dialects if f"{name} {operation}" in provider.language_paths]
    if _has_path(provider, dialects, operation):
        own.append("openai_chat")
    return Manner(callers if callers in own else own[0], operation) if own else None


def _has_path(provider: Provider, dialects: Sequence[str], operation: str) -> bool:
    return operation in provider.paths and any(name in _OPENAI for name in dialects)
