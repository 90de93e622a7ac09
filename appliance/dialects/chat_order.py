"""The order of messages as the servers of chat completions want it.

The rule: results of tools stand right behind the calls that they answer (OpenAI refuses anything between), wherever a caller of another
language put them; for servers with strict chat templates there is one system message, and it is the first, and turns alternate.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from appliance.core.message import Message, Part, ToolCall, ToolResult

Placed = tuple[int, Message]
"""A message and its place in the conversation."""

_INSTRUCTIONS = ("system", "developer")


def results_behind_calls(messages: Iterable[Placed]) -> list[Placed]:
    """Messages of tools that come later than they may are moved up to the last assistant's turn before them, if they answer its calls."""
    out: list[Placed] = []
    behind = 0  # where the next result of the last assistant's calls belongs
    calls: set[str] = set()
    for place, message in messages:
        if message.role == "assistant":
            calls = {part.id for part in message.parts if isinstance(part, ToolCall)}
        answers = any(isinstance(one, ToolResult) and one.call_id in calls for one in message.parts)
        if message.role == "tool" and behind < len(out) and answers:
            out.insert(behind, (place, message))
            behind += 1
            continue
        out.append((place, message))
        if message.role == "assistant" or (message.role == "tool" and behind == len(out) - 1):
            behind = len(out)
    return out


def one_system_first(messages: Sequence[Placed], dropped: list[str]) -> list[Placed]:
    """All instructions in one message; that some stood later is noted."""
    parts: list[Part] = []
    others: list[Placed] = []
    first = -1
    for place, message in messages:
        if message.role not in _INSTRUCTIONS:
            others.append((place, message))
            continue
        if others:
            dropped.append(f"messages[{place}]: place of a system message")
        first = place if first < 0 else first
        parts += message.parts
    return [(first, Message("system", tuple(parts))), *others] if first >= 0 else others


def one_turn_each(messages: Sequence[Placed]) -> list[Placed]:
    """Neighbours that speak for one side in one message, as Anthropic takes them and as templates of servers want them ("Conversation roles
    must alternate user/assistant/user/assistant")."""
    out: list[tuple[int, Message, list[Part]]] = []  # the parts grow in a list, or many neighbours would cost the square of their number
    for place, message in messages:
        before = out[-1][1] if out else None
        speaks = message.role in ("user", "assistant")
        if speaks and before is not None and (message.role, message.name) == (before.role, before.name):
            out[-1][2].extend(message.parts)
        else:
            out.append((place, message, list(message.parts)))
    return [(place, one if len(parts) == len(one.parts) else attrs.evolve(one, parts=tuple(parts))) for place, one, parts in out]


def with_system_words(written: Sequence[dict[str, Any]], words: str) -> list[dict[str, Any]]:
    """Messages as they are written, with more words in the first system message, or in a new one."""
    if not written or written[0]["role"] not in _INSTRUCTIONS:
        return [{"role": "system", "content": words}, *written]
    first = written[0]
    said = first["content"]
    more = f"{said}\n\n{words}" if isinstance(said, str) else [*said, {"type": "text", "text": words}]
    return [{**first, "content": more}, *written[1:]]
