"""Sealed thoughts in a request that passes verbatim, where its backend cannot read them.

The rule: a seal goes to its maker only. OpenAI refuses a request that holds encrypted content which another vendor made, and also what
another of its own organizations or regions did (code invalid_encrypted_content; BerriAI/litellm#18094, higress-group/higress#3197).
"""

import re
from collections.abc import Mapping
from typing import Any

from appliance.core.fault import Blame, Fault
from appliance.core.seal import WRAPPED, unwrap
from appliance.core.step import FOREIGN_SEAL
from appliance.dialects.responses_input import CARRIED, COMING, OWN

_MARKS = (WRAPPED, CARRIED + WRAPPED, COMING + WRAPPED)
_NAMED = frozenset({"message", "function_call", "custom_tool_call"})
"""Items that may go without their ids. With one, the provider looks for the thoughts that belonged to it ("... was provided without its
required 'reasoning' item")."""

_REFUSED = re.compile(r"encrypted content\b.*\bcould not be (?:verified|decrypted)", re.DOTALL)


def unsealed(fields: Mapping[str, Any], everything: bool) -> tuple[dict[str, Any], tuple[str, ...]] | None:
    """The `input` of a request without the reasoning items that no backend of this language can read, and what was left out; None where
    there are none.

    Args:
        everything: leave out what this language's own vendors sealed as well.
    """
    items = fields.get("input")
    if not isinstance(items, list):
        return None
    dropped = {place: maker for place, item in enumerate(items) if (maker := _maker(item)) and (everything or maker != OWN)}
    if not dropped:
        return None
    kept = [_nameless(item) if everything else item for place, item in enumerate(items) if place not in dropped]
    return {"input": kept}, tuple(f"input[{place}]: sealed reasoning of {maker}" for place, maker in dropped.items())


def _maker(item: Any) -> str:
    """Of the seal in a reasoning item; empty where there is none."""
    sealed = item.get("encrypted_content") if isinstance(item, dict) and item.get("type") == "reasoning" else None
    if not isinstance(sealed, str) or not sealed:
        return ""
    return unwrap(sealed.removeprefix(CARRIED).removeprefix(COMING), OWN).maker if sealed.startswith(_MARKS) else OWN


def _nameless(item: Any) -> Any:
    if not isinstance(item, dict) or item.get("type", "message") not in _NAMED:
        return item
    return {name: value for name, value in item.items() if name != "id"}


def seal_refused(fault: Fault) -> bool:
    """Whether a backend says that it cannot read sealed thoughts; Azure often says so without a code."""
    return fault.row.blame is Blame.CALLER and (fault.code == FOREIGN_SEAL or _REFUSED.search(fault.message) is not None)
