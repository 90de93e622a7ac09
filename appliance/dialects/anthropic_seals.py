"""Signed thoughts (and sources) in a request that passes verbatim, where its backend cannot read them.

The rule: a signature goes to its maker only. Anthropic refuses a request with a thought that it did not sign ("Invalid `signature` in
`thinking` block"), which ends the conversation of every agent that changes providers and says so in each of its next turns.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.core.fault import Blame, Fault
from appliance.core.seal import UNSIGNED, unwrap
from appliance.dialects.anthropic_blocks import CARRIED, FAMILY
from appliance.dialects.anthropic_parts import found_elsewhere
from appliance.dialects.anthropic_unthought import switched_off

_SEALED = {"thinking": "signature", "redacted_thinking": "data"}
_REFUSED = re.compile(r"invalid `?(?:signature`? in `?thinking|data`? in `?redacted_thinking)`? block", re.IGNORECASE)


def unsealed(fields: Mapping[str, Any], everything: bool) -> tuple[dict[str, Any], tuple[str, ...]] | None:
    """The `messages` of a request without the thoughts that no backend of this language can read, and what was left out; None where there
    are none. A turn of tools that goes on has to begin with a thought where thinking has a budget: without one it goes on without.

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
    changed: dict[str, Any] = {"messages": kept}
    thinking = fields.get("thinking")
    if isinstance(thinking, dict) and thinking.get("type") == "enabled" and _goes_on_without_thought(kept):
        off = switched_off(fields)
        changed |= off
        dropped += off
    return changed, tuple(dropped)


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
    return unwrap(sealed, FAMILY).maker.removeprefix(CARRIED)


def _goes_on_without_thought(messages: Sequence[Any]) -> bool:
    """Whether the last turn brings results to an assistant's turn that does not begin with a thought."""
    last = messages[-1].get("content") if messages and isinstance(messages[-1], dict) else None
    if not isinstance(last, list) or not any(isinstance(block, dict) and block.get("type") == "tool_result" for block in last):
        return False
    before = next((one for one in reversed(messages) if isinstance(one, dict) and one.get("role") == "assistant"), None)
    content = before.get("content") if before is not None else None
    first = content[0] if isinstance(content, list) and content else None
    return not (isinstance(first, dict) and first.get("type") in _SEALED)
