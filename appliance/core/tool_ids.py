"""Ids of tool calls where a language has none, or other rules than the one that made them.

The rule: an id depends on nothing but what both turns see, so the same call has the same id when its history comes back.
"""

import base64
import hashlib
import re

_SAFE = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What nearly every language accepts: Anthropic refuses other characters, OpenAI longer ids. For Mistral see `short_id`."""


def made_id(seed: str, number: int) -> str:
    """An id for call `number` of the answer or conversation that `seed` names."""
    return "call_" + _digest(f"{seed}\0{number}")[:24]


def safe_id(given: str) -> str:
    """`given` where every language accepts it, else an id made from it: the same each time, different for different ones."""
    return given if _SAFE.fullmatch(given) else made_id(given, 0)


_CARRIED = "gwid_"
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


def carried_id(given: str) -> str:
    """For a caller whose language takes only letters, digits, `_` and `-` (Anthropic): `given`, or a wrapping that `original_id` undoes.
    Ids such as Kimi's "functions.read:0" have to go back as they were, since the model was taught to use them."""
    if _PLAIN.fullmatch(given) and not given.startswith(_CARRIED):
        return given
    return _CARRIED + base64.urlsafe_b64encode(given.encode("utf-8", "replace")).decode().rstrip("=")


def original_id(text: str) -> str:
    """What `carried_id` was given; any other id is itself."""
    if not text.startswith(_CARRIED):
        return text
    value = text[len(_CARRIED) :]
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        return text


def short_id(given: str) -> str:
    """Nine letters and digits, as Mistral wants them (docs.mistral.ai: ^[a-zA-Z0-9]{9}$)."""
    return given if re.fullmatch(r"[A-Za-z0-9]{9}", given) else _digest(given)[:9]


def _digest(text: str) -> str:
    """Of any text: some peers write half a surrogate pair, which UTF-8 proper has no bytes for."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
