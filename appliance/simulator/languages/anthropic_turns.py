"""What api.anthropic.com demands of a conversation as a whole: who begins, calls and their results, thinking that comes back. Pure.

Neighbouring messages of one role are one turn. With thinking on, the last assistant's turn must start with thinking when tools are at work;
every signature is checked, whatever the mode.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import attrs

from appliance.simulator.api_error import ApiError
from appliance.simulator.languages.anthropic_blocks import Block, blocks_of
from appliance.simulator.languages.anthropic_errors import invalid
from appliance.simulator.seal import signed, unseal

ISSUER = "anthropic"


class Placed(NamedTuple):
    path: str
    block: Block


@attrs.frozen
class Turn:
    """`number` is its first message's."""

    number: int
    role: str
    blocks: list[Placed]


def turns_of(messages: Sequence[Mapping[str, Any]]) -> list[Turn]:
    """Messages of the system in between belong to no turn."""
    turns: list[Turn] = []
    for i, message in enumerate(messages):
        if message["role"] == "system":
            continue
        placed = [Placed(f"messages.{i}.content.{j}", block) for j, block in enumerate(blocks_of(message["content"]))]
        if turns and turns[-1].role == message["role"]:
            turns[-1].blocks.extend(placed)
        else:
            turns.append(Turn(i, message["role"], placed))
    return turns


def check_turns(fields: Mapping[str, Any]) -> ApiError | None:
    messages = fields["messages"]
    if not messages:
        return invalid("messages: at least one message is required")
    if messages[0]["role"] != "user":
        return invalid('messages: first message must use the "user" role')
    for i, message in enumerate(messages):
        prefill = message["role"] == "assistant" and i == len(messages) - 1
        if not prefill and not any(block.get("text", "x") for block in blocks_of(message["content"])):
            return invalid(f"messages.{i}: all messages must have non-empty content except for the optional final assistant message")
    last = blocks_of(messages[-1]["content"])
    if messages[-1]["role"] == "assistant" and last and last[-1]["type"] == "text" and last[-1]["text"] != last[-1]["text"].rstrip():
        return invalid("messages: final assistant content cannot end with trailing whitespace")
    turns = turns_of(messages)
    return check_calls(turns) or check_signatures(turns) or check_thinking_kept(fields, turns)


def check_calls(turns: list[Turn]) -> ApiError | None:
    """Every call is answered by the next turn, before anything else in it; every result answers a call of the turn before."""
    for before, turn in zip([None, *turns], [*turns, None], strict=True):
        called = [p.block["id"] for p in before.blocks if p.block["type"] == "tool_use"] if before is not None else []
        results = [p for p in turn.blocks if p.block["type"] == "tool_result"] if turn is not None else []
        answered = [p.block["tool_use_id"] for p in results]
        stray = next((p for p in results if p.block["tool_use_id"] not in called), None)
        if stray is not None:
            return invalid(
                f"{stray.path}: unexpected `tool_use_id` found in `tool_result` blocks: {stray.block['tool_use_id']}. "
                "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            )
        twice = next((name for name in answered if answered.count(name) > 1), None)
        if twice is not None:
            return invalid(f"each tool_use must have a single result. Found multiple `tool_result` blocks with id: {twice}")
        first = [] if turn is None else [p.block.get("tool_use_id") for p in turn.blocks[: len(called)]]
        open_calls = [name for name in called if name not in first]
        if before is not None and open_calls:
            return invalid(
                f"messages.{before.number}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(open_calls)}. Each `tool_use` block must have a corresponding `tool_result` block in the next message."
            )
    ids = [p.block["id"] for turn in turns for p in turn.blocks if p.block["type"] == "tool_use"]
    return invalid("messages: `tool_use` ids must be unique") if len(set(ids)) < len(ids) else None


def check_signatures(turns: list[Turn]) -> ApiError | None:
    for turn in turns:
        for path, block in turn.blocks:
            if block["type"] == "thinking" and not signed(ISSUER, block["thinking"], block["signature"]):
                return invalid(f"{path}: Invalid `signature` in `thinking` block")
            if block["type"] == "redacted_thinking" and unseal(ISSUER, block["data"]) is None:
                return invalid(f"{path}: Invalid `data` in `redacted_thinking` block")
    return None


def check_thinking_kept(fields: Mapping[str, Any], turns: list[Turn]) -> ApiError | None:
    """While results come back with thinking on, the turn that called must start with the thinking that led to the calls; adaptive thinking
    may have left it out."""
    if (fields.get("thinking") or {}).get("type") != "enabled" or len(turns) < 2:
        return None
    calling = turns[-2] if turns[-1].role == "user" else turns[-1]
    if calling.role != "assistant" or not any(p.block["type"] == "tool_use" for p in calling.blocks):
        return None
    path, block = calling.blocks[0]
    if block["type"] in ("thinking", "redacted_thinking"):
        return None
    return invalid(
        f"{path}.type: Expected `thinking` or `redacted_thinking`, but found `{block['type']}`. When `thinking` is enabled, a final "
        "`assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks). We "
        "recommend you include thinking blocks from previous turns. To avoid this requirement, disable `thinking`."
    )
