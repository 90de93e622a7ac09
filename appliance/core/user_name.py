"""A caller's name for one of their users, as labels, logs and sticky choices take it.

The rule: it comes from strangers, so it has no control characters and a bounded length wherever it came from, a body's `user` field or the
X-User-ID header; what goes upstream stays as it came.
"""

import re

USER_MAX_CHARS = 256

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Also lone surrogates, which JSON strings may hold and UTF-8 may not."""


def user_name(text: str) -> str:
    """The name without control characters, at most USER_MAX_CHARS of it."""
    return (text if text.isprintable() else _CONTROL.sub("", text))[:USER_MAX_CHARS]


def user_of_header(value: bytes) -> str:
    """The name in a header's value: UTF-8, which clients send, else Latin-1, which always can be read (RFC 9110 §5.5 leaves it open)."""
    try:
        return user_name(value.decode())
    except UnicodeDecodeError:
        return user_name(value.decode("latin-1"))
