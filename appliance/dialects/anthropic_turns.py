"""A conversation's messages as Anthropic's `system` and its turns of user and assistant.

The rule: neighbours that speak for one side are one turn, results of tools come first in theirs (the API refuses them anywhere else), and
system messages come before everything: a place among the turns is new and refused by most models
(platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages), so its loss is noted.
"""

from collections.abc import Sequence
from typing import Any

from appliance.core.message import Media, Message
from appliance.dialects.anthropic_parts import Block, PartWriter, plain_or_blocks
from appliance.dialects.fields import Unfit

Turn = dict[str, Any]

OPENING = "(The conversation begins.)"
"""For one in which the assistant speaks first: "first message must use the user role"."""


def write_messages(messages: Sequence[Message], dropped: list[str]) -> tuple[list[Block], list[Turn]]:
    """(system blocks, turns). Contents of turns are lists of blocks; see `shortened`. Raises Unfit."""
    writer = PartWriter(dropped)
    system: list[Block] = []
    turns: list[Turn] = []
    moved: list[str] = []
    for place, message in enumerate(messages):
        path = f"messages[{place}]"
        if message.name:
            dropped.append(f"{path}.name")
        if message.role in ("system", "developer"):
            if turns:
                moved.append(f"{path}: place of a system message")
            system += _system_blocks(writer, message, path)
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [block for at, part in enumerate(message.parts) for block in writer.blocks(part, f"{path}.parts[{at}]", role)]
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    if not turns:
        dropped.append("messages: role of the system message, the only one there is")
        system, turns = [], _system_as_turn(system)
    if turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": [{"type": "text", "text": OPENING}]})
    dropped += moved
    for turn in turns:
        if turn["role"] == "user":
            turn["content"].sort(key=lambda block: block.get("type") != "tool_result")  # stable: the order among others stays
    _strip_end(turns[-1])
    return system, turns


def shortened(turns: Sequence[Turn]) -> list[Turn]:
    """With a string where a turn is one plain text."""
    return [{"role": turn["role"], "content": plain_or_blocks(turn["content"])} for turn in turns]


def begins_without_thought(turns: Sequence[Turn]) -> bool:
    """Whether the assistant's turn that goes on does not begin with thinking, be it with results of tools or because it is the last: "When
    `thinking` is enabled, a final `assistant` message must start with a thinking block"."""
    if turns[-1]["role"] == "assistant":
        return turns[-1]["content"][0].get("type") not in ("thinking", "redacted_thinking")
    if len(turns) < 2 or turns[-1]["role"] != "user" or turns[-1]["content"][0].get("type") != "tool_result":
        return False
    return turns[-2]["content"][0].get("type") not in ("thinking", "redacted_thinking")


def _system_blocks(writer: PartWriter, message: Message, path: str) -> list[Block]:
    blocks: list[Block] = []
    for at, part in enumerate(message.parts):
        if isinstance(part, Media):
            raise Unfit(f"{path}.parts[{at}]", f"holds {part.kind}, which a system message cannot have here")
        blocks += writer.blocks(part, f"{path}.parts[{at}]", "user")
    return blocks


def _system_as_turn(system: list[Block]) -> list[Turn]:
    """A request of nothing but a system prompt, which other APIs take and this one refuses: its words are the user's."""
    if not system:
        raise Unfit("messages", "must hold at least one message with something in it")
    return [{"role": "user", "content": system}]


def _strip_end(last: Turn) -> None:
    """The API says: "final assistant content cannot end with trailing whitespace"."""
    block = last["content"][-1]
    if last["role"] == "assistant" and block.get("type") == "text":
        block["text"] = block["text"].rstrip()
