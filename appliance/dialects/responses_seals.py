"""Thoughts of other vendors in a request that passes verbatim. The rule: a seal goes to its maker only; OpenAI refuses a request that holds
encrypted content it did not make (code invalid_encrypted_content)."""

from typing import Any

from appliance.core.seal import WRAPPED, unwrap
from appliance.dialects.responses_input import CARRIED, OWN

_MARKS = (WRAPPED, CARRIED + WRAPPED)


def without_foreign_seals(items: Any) -> tuple[list[Any], tuple[str, ...]] | None:
    """The `input` of a request without the reasoning items that a backend of this language cannot read, and what was left out; None where
    there are none, which a search of the body for `"gw1.` and `"prev.gw1.` tells faster."""
    if not isinstance(items, list):
        return None
    dropped = {place: maker for place, item in enumerate(items) if (maker := _maker(item))}
    if not dropped:
        return None
    kept = [item for place, item in enumerate(items) if place not in dropped]
    return kept, tuple(f"input[{place}]: sealed reasoning of {maker}" for place, maker in dropped.items())


def _maker(item: Any) -> str:
    """Of the wrapped seal in a reasoning item; empty where there is none."""
    sealed = item.get("encrypted_content") if isinstance(item, dict) and item.get("type") == "reasoning" else None
    if not isinstance(sealed, str) or not sealed.startswith(_MARKS):
        return ""
    return unwrap(sealed.removeprefix(CARRIED), OWN).maker
