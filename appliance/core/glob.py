"""Globs over model names: `*` and `?`, case-sensitive, anchored, everything else literal.

Not fnmatch: model ids hold `[` and `:` and `/` freely, and a bracket in one must not become a character class.
"""

import re
from collections.abc import Callable, Iterable


def compile_globs(patterns: Iterable[str]) -> Callable[[str], bool]:
    """One predicate for several patterns. Exact names cost a set look-up; the others share one regular expression."""
    exact = set()
    wild = []
    for pattern in patterns:
        if pattern == "*":
            return _always
        if "*" in pattern or "?" in pattern:
            wild.append(translate(pattern))
        else:
            exact.add(pattern)
    if not wild:
        return exact.__contains__
    match = re.compile("|".join(wild)).fullmatch

    def matches(name: str) -> bool:
        return name in exact or match(name) is not None

    return matches


def translate(pattern: str) -> str:
    """The regular expression of one glob. Runs of `*` are one, so that a hostile pattern cannot backtrack exponentially."""
    pieces = re.split(r"(\*+|\?)", pattern)
    return "".join(".*" if piece.startswith("*") else "." if piece == "?" else re.escape(piece) for piece in pieces)


def _always(_: str) -> bool:
    return True
