"""Reads the error bodies of OpenAI-dialect vendors, which agree on little but that they are JSON, most of the time.

The rule: whatever the bytes, the result is bounded and holds nothing that looks like a key.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from appliance.dialects.openai_usage import parse_json, text_of
from appliance.dialects.redaction import masked, written

ERROR_PARSE_MAX_BYTES = 1_048_576
"""Longer error bodies are not read; the longest seen (validation errors that quote the request) are tens of kilobytes."""

MESSAGE_MAX_CHARS = 2_000


@attrs.frozen
class Said:
    """What an error body says, whatever its shape.

    Attributes:
        words: `type` and every `code`, in lower case, to be looked up.
        status: the HTTP status that the body itself claims, 0 when it claims none.
    """

    message: str = ""
    type: str = ""
    code: str = ""
    param: str | None = None
    words: frozenset[str] = frozenset()
    status: int = 0
    is_json: bool = False


def error_of(answer: Mapping[str, Any]) -> object:
    """The error object or text of an answer; None when there is none.

    Shapes: `error` at the top (OpenAI; OpenRouter beside `choices`); inside a choice, or a choice that finished with `error` (OpenRouter,
    openrouter.ai/docs/api-reference/errors); `object` or `type` "error" (vLLM and Mistral; Anthropic); a bare `detail` (FastAPI).
    """
    error = answer.get("error")
    if error:
        return error
    choices = answer.get("choices")
    if isinstance(choices, list) and choices:
        for choice in choices:
            if isinstance(choice, dict) and (choice.get("error") or choice.get("finish_reason") == "error"):
                return choice.get("error") or {"message": "the answer ended with an error"}
        return None
    if "error" in (text_of(answer.get("object")).lower(), answer.get("type")):  # Mistral writes "Error", too
        return answer
    if "choices" not in answer and "data" not in answer and "object" not in answer and "id" not in answer:
        for name in ("detail", "message"):
            if answer.get(name):
                return answer
    return None


def read_error_body(body: bytes, secrets: Sequence[bytes] = ()) -> Said:
    """Read the body of an error answer. `secrets` is what was sent to that upstream to prove who asks: it is masked."""
    if not body or len(body) > ERROR_PARSE_MAX_BYTES:
        return Said()
    try:
        parsed = parse_json(body)
    except ValueError:
        text = body.decode("utf-8", "replace").strip()
        return Said() if text.startswith("<") else Said(message=_clean(text, secrets))
    if isinstance(parsed, list) and parsed:  # Google's OpenAI-compatible endpoint wraps its error in an array
        parsed = parsed[0]
    if isinstance(parsed, dict):
        return attrs.evolve(read_error(error_of(parsed) or parsed, parsed, secrets), is_json=True)
    return Said(message=_clean(parsed, secrets)) if isinstance(parsed, str) else Said()


def read_error(error: object, around: Mapping[str, Any], secrets: Sequence[bytes] = ()) -> Said:
    """Read an error object, or the text that some vendors put in its place (xAI: `{"code": "...", "error": "text"}`)."""
    if not isinstance(error, dict):
        error = {**around, "message": error}
    code, kind = error.get("code"), error.get("type") or error.get("error_type") or error.get("status")
    message = error.get("message") or error.get("detail") or error.get("msg") or ""
    inner = error.get("innererror") or error.get("inner_error")  # Azure names the content filter here
    metadata = error.get("metadata")
    words = [code, kind, inner.get("code") if isinstance(inner, dict) else None]
    if isinstance(metadata, dict):
        words += [metadata.get("error_type"), "content_filter" if metadata.get("flagged_input") else None]
    param = error.get("param")
    return Said(
        message=_clean(message if isinstance(message, str) else written(message).decode(), secrets),
        type=_clean(kind, secrets) if isinstance(kind, str) else "",
        code=_clean(str(code), secrets) if isinstance(code, (str, int)) and not isinstance(code, bool) else "",
        param=_clean(param, secrets) if isinstance(param, str) else None,
        words=frozenset(word.lower() for word in words if isinstance(word, str)),
        status=_claimed_status(code, error.get("status_code"), error.get("status")),
        is_json=True,
    )


def _claimed_status(*candidates: object) -> int:
    for value in candidates:
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599:
            return value
    return 0


def _clean(text: str, secrets: Sequence[bytes]) -> str:
    """A bounded text without a key or half a surrogate pair, which could not be written to the caller."""
    return masked(text, secrets)[:MESSAGE_MAX_CHARS].encode("utf-8", "replace").decode()
