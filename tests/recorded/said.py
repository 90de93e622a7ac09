"""What an answer says, in the plainest terms that every wire language has: the common ground of the readers in this folder.

The rule of the folder: nothing here uses the product. Each `wire_LANGUAGE` module reads that language's raw JSON by its vendor's
documentation, for two ends: what a recording says (the truth), and what a caller was told (the claim).
"""

import json
from typing import Any

import attrs

Json = dict[str, Any]


@attrs.frozen
class Counts:
    """Tokens: all of the input, all of the output, and what of them came from the cache, went to it, was reasoning. None: not told."""

    input: int
    output: int
    cached: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None


@attrs.frozen
class Call:
    """arguments: the JSON as a value; of a free-text tool the text. id: "" where the language or the vendor has none."""

    name: str
    arguments: Any
    id: str = ""


@attrs.frozen
class Said:
    """Attributes:
    text: all words of the answer proper. thoughts: reasoning in words, each piece that is told apart from others.
    calls: of tools that the caller runs, in order. refusal: the words of a refusal, where they are told apart.
    ending: why it ended, in the language's own word. usage: None when it was not told.
    """

    text: str = ""
    thoughts: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    refusal: str = ""
    ending: str = ""
    usage: Counts | None = None


def arguments(text: str) -> Any:
    """None at all are an empty object; what is no JSON stays text."""
    try:
        return json.loads(text or "{}") or {}
    except ValueError:
        return text
