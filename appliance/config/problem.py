"""What is wrong with a configuration, as values: where, what, what was expected, and a guess at what was meant.

One rule: a problem never quotes a value that could be a secret, not even one typed into the wrong place.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

import attrs

Steps = tuple[str | int, ...]
"""A path as keys and array indices; the empty one is the file as a whole."""


@attrs.frozen
class Problem:
    """One thing wrong (or, among `Loaded.warnings`, doubtful).

    `path` is written as in TOML (`routes[2].targets[0].backend`; empty for a file as a whole), `expected` and `hint` may be empty,
    `file` is the one that holds the value, or where it is missing.
    """

    path: str
    message: str
    expected: str = ""
    hint: str = ""
    file: str = ""


@attrs.frozen
class Finding:
    """A problem before it is known which file it belongs to. `grave` is false for what is only doubtful."""

    steps: Steps
    message: str
    expected: str = ""
    hint: str = ""
    grave: bool = True

    def placed(self, provenance: Mapping[Steps, str]) -> Problem:
        return Problem(written(self.steps), self.message, self.expected, self.hint, provenance.get(nearest(self.steps, provenance), ""))


class Refusal(ValueError):
    """Raised while one value is structured, where cattrs gathers exceptions; it becomes a `Finding` once its path is known."""

    def __init__(self, message: str, expected: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.hint = hint


def meant(wrong: str, known: Iterable[str]) -> str:
    """A "did you mean" for a misspelt name; empty when nothing is near."""
    folded = {name.casefold(): name for name in known}
    near = get_close_matches(wrong[:_NAME_MAX].casefold(), folded, n=1, cutoff=0.6)
    return f'did you mean "{folded[near[0]]}"?' if near else ""


def written(steps: Steps) -> str:
    """The path as an operator writes it; keys that TOML cannot write bare are quoted."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if step and _BARE.issuperset(step) else quoted(step))
    return text


def quoted(text: str) -> str:
    """Text from the file as one short printable line in double quotes, so that a report cannot be garbled by what it reports."""
    short = text if len(text) <= _NAME_MAX else text[:_NAME_MAX] + "…"
    return '"' + "".join(_ESCAPES.get(letter) or (letter if letter.isprintable() else f"\\U{ord(letter):08X}") for letter in short) + '"'


def nearest(steps: Steps, provenance: Mapping[Steps, str]) -> Steps:
    """The path itself where a file holds it, else its nearest parent that one does."""
    return next((steps[:length] for length in range(len(steps), 0, -1) if steps[:length] in provenance), ())


_NAME_MAX = 120
"""Characters of a name shown in a report: longer than any sensible name, short enough for a line."""
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
