"""What a model's name says about how a Gemini model behaves. Pure.

Names without a version ("sim") are taken for a model that does all and insists on nothing.
"""

import re

VERSION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")


def version(model: str) -> tuple[int, int]:
    """(0, 0) where the name has none."""
    found = VERSION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def insists_on_signatures(model: str) -> bool:
    """Gemini 3 and later; they number their calls, too."""
    return version(model) >= (3, 0)


def thinks_unasked(model: str) -> bool:
    return version(model) >= (2, 5)


def thinks_always(model: str) -> bool:
    return "pro" in model and thinks_unasked(model)


def joins_json_and_tools(model: str) -> bool:
    """Whether a JSON answer may be asked for beside tools."""
    return version(model) == (0, 0) or version(model) >= (3, 0)
