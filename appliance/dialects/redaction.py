"""Keeps keys out of what an upstream says: by what vendors' keys look like, and literally by the credentials that were sent to it.

The rule: texts are masked before they are cut, so that no part of a key is left at a cut; bytes that may hold a key do not pass at all.
"""

import re
from collections.abc import Sequence

import orjson

from appliance.dialects.openai_usage import parse_json

KEY_HINT = re.compile(r"\b(?:sk|gsk|xai|hf|nvapi|fw|pplx|csk|tgp|rk|pk|sess|eyJ)[-_][\w*.-]{6,}|\bBearer\s+\S+", re.ASCII)
"""What vendors' keys look like, masked ones (`sk-ab***yz`) included."""

REDACTED = "[redacted]"


def masked(text: str, secrets: Sequence[bytes] = ()) -> str:
    """The text without anything that is, or looks like, a key.

    Args:
        secrets: what was sent to this upstream to prove who asks, in UTF-8.
    """
    for form in _forms(secrets):
        text = text.replace(form, REDACTED)
    return KEY_HINT.sub(REDACTED, text)


def holds_key(body: bytes, secrets: Sequence[bytes] = ()) -> bool:
    """Whether a JSON body holds something that is, or looks like, a key; also when its escapes cannot be undone to tell."""
    if _found(body.decode("utf-8", "replace"), secrets):
        return True
    if b"\\" not in body:
        return False
    plain = written(parse_json(body))  # any character of a key may be spelled as an escape (RFC 8259 §7)
    return not plain or _found(plain.decode(), secrets)


def written(value: object) -> bytes:
    """A parsed value as JSON with no escape that is not needed; empty when it cannot be written: lone surrogates, or more levels than
    orjson writes (254; it reads 1024)."""
    try:
        return orjson.dumps(value, default=str)
    except (orjson.JSONEncodeError, RecursionError):
        return b""


def _found(text: str, secrets: Sequence[bytes]) -> bool:
    return any(form in text for form in _forms(secrets)) or KEY_HINT.search(text) is not None


def _forms(secrets: Sequence[bytes]) -> list[str]:
    """Each secret as it is, and as JSON inside a text has it (PHP escapes slashes, too); longest first, for one may hold another."""
    forms: set[str] = set()
    for secret in secrets:
        plain = secret.decode("utf-8", "replace")
        escaped = orjson.dumps(plain).decode()[1:-1]
        forms |= {plain, escaped, escaped.replace("/", "\\/")}
    return sorted(forms - {""}, key=len, reverse=True)
