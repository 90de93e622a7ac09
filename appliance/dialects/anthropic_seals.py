"""Signed thoughts (and sources) in a request that passes verbatim, where its backend cannot read them.

The rule: a signature goes to its maker only. Anthropic refuses a request with a thought that it did not sign ("Invalid `signature` in
`thinking` block"), which ends the conversation of every agent that changes providers and says so in each of its next turns.
"""

import re
from collections.abc import Mapping
from typing import Any

from appliance.core.fault import Blame, Fault
from appliance.core.seal import UNSIGNED, unwrap
from appliance.dialects.anthropic_blocks import AHEAD, BEHIND, FAMILY
from appliance.dialects.anthropic_parts import found_elsewhere

_SEALED = {"thinking": "signature", "redacted_thinking": "data"}
_REFUSED = re.compile(r"invalid `?(?:signature`? in `?thinking|data`? in `?redacted_thinking)`? block", re.IGNORECASE)


def unsealed(fields: Mapping[str, Any], everything: bool) -> tuple[dict[str, Any], tuple[str, ...]] | None:
    """The `messages` of a request without the thoughts that no backend of this language can read, and what was left out; None where there
    are none. What follows from that for the turn under way is in anthropic_unthought.

    Args:
        everything: leave out what this language's own vendors signed as well.
    """
    messages = fields.get("messages")
    dropped: list[str] = []
    kept: list[Any] = []
    for place, message in enumerate(messages if isinstance(messages, list) else ()):
        left = _without(message, f"messages[{place}].content", everything, dropped)
        if left is not None:
            kept.append(left)
    if not dropped:
        return None
    return {"messages": kept}, tuple(dropped)


def signature_refused(fault: Fault) -> bool:
    """Whether a backend says that a thought in the history is not its own."""
    return fault.row.blame is Blame.CALLER and _REFUSED.search(fault.message) is not None


def _without(message: Any, path: str, everything: bool, dropped: list[str]) -> Any:
    """The message, or None where nothing is left of it."""
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return message
    left: list[Any] = []
    noted = len(dropped)
    for at, block in enumerate(content):
        maker = _maker(block)
        if maker and (maker != FAMILY or everything):
            dropped.append(f"{path}[{at}]: {'unsigned reasoning' if maker == 'none' else f'sealed reasoning of {maker}'}")
        else:
            left.append(_cited(block, f"{path}[{at}]", dropped))
    if len(dropped) == noted:
        return message
    return {**message, "content": left} if left else None


def _cited(block: Any, path: str, dropped: list[str]) -> Any:
    """The block without the citations of other vendors' searches, which Anthropic refuses as well."""
    citations = block.get("citations") if isinstance(block, dict) and block.get("type") == "text" else None
    if not isinstance(citations, list):
        return block
    kept = [one for one in citations if not (isinstance(one, dict) and found_elsewhere(one))]
    if len(kept) == len(citations):
        return block
    dropped.append(f"{path}.citations")
    return {**block, "citations": kept} if kept else {name: value for name, value in block.items() if name != "citations"}


def _maker(block: Any) -> str:
    """Of a thought's seal; empty for other blocks. A thought without a signature is nobody's."""
    member = _SEALED.get(str(block.get("type"))) if isinstance(block, dict) else None
    if member is None:
        return ""
    sealed = block.get(member)
    if not isinstance(sealed, str) or not sealed or sealed == UNSIGNED:
        return "none"
    return unwrap(sealed, FAMILY).maker.removeprefix(BEHIND).removeprefix(AHEAD)
