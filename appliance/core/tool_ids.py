"""Ids of tool calls where a language has none, or other rules than the one that made them.

The rule: an id depends on nothing but what both turns see, so the same call has the same id when its history comes back.
"""

import hashlib
import re

_SAFE = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What nearly every language accepts: Anthropic refuses other characters, OpenAI longer ids. For Mistral see `short_id`."""


def made_id(seed: str, number: int) -> str:
    """An id for call `number` of the answer or conversation that `seed` names."""
    return "call_" + hashlib.sha256(f"{seed}\0{number}".encode()).hexdigest()[:24]


def safe_id(given: str) -> str:
    """`given` where every language accepts it, else an id made from it: the same each time, different for different ones."""
    return given if _SAFE.fullmatch(given) else made_id(given, 0)


def short_id(given: str) -> str:
    """Nine letters and digits, as Mistral wants them (docs.mistral.ai: ^[a-zA-Z0-9]{9}$)."""
    return given if re.fullmatch(r"[A-Za-z0-9]{9}", given) else hashlib.sha256(given.encode()).hexdigest()[:9]
