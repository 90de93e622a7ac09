"""What a model's id says about the rules of the vendor behind it. Pure. An id that names none ("sim") has only the service's own rules."""

import re

CLAUDE = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
VENDORS = ("ai21", "amazon", "anthropic", "cohere", "deepseek", "meta", "mistral", "openai", "qwen", "writer")


def vendor(model: str) -> str:
    """"" where the id names none. Ids may have a region before the vendor and may be ARNs."""
    name = model.rpartition("/")[2].lower()
    return next((part for part in name.split(".") if part in VENDORS), "anthropic" if "claude-" in name else "")


def is_claude(model: str) -> bool:
    return vendor(model) == "anthropic"


def claude_version(model: str) -> tuple[int, int]:
    """(4, 5) of anthropic.claude-sonnet-4-5-20250929-v1:0; (0, 0) where the id has none."""
    found = CLAUDE.search(model.lower())
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def tells_errors(model: str) -> bool:
    """Whether a tool's result may have a status."""
    return vendor(model) in ("", "amazon", "anthropic")


def may_be_forced(model: str) -> bool:
    """Whether toolChoice may be `any`."""
    return vendor(model) != "meta"
