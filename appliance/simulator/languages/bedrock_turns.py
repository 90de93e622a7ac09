"""Converse's messages as messages in no language's words, with the service's rules on turns, tools, thoughts and documents. Pure.

Source: the Converse API reference and user guide; the texts of the refusals are the service's, as public reports quote them.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import orjson

from appliance.simulator.api_error import ApiError
from appliance.simulator.chat_request import DOCUMENT_TOKENS, PICTURE_TOKENS, Called, Media, Message
from appliance.simulator.languages.bedrock_errors import invalid, model_refuses
from appliance.simulator.languages.bedrock_model import is_claude, tells_errors
from appliance.simulator.seal import signed, unseal

Block = Mapping[str, Any]
Turn = Mapping[str, Any]

ISSUER = "bedrock"
DOCUMENT_NAME = re.compile(r"(?!.*\s\s)[A-Za-z0-9\s()\[\]-]+")
DOCUMENTS_MAX, PICTURES_MAX = 5, 20  # of one message
START = "A conversation must start with a user message. Try again with a conversation that starts with a user message."
ALTERNATE = (
    "A conversation must alternate between user and assistant roles. Make sure the conversation alternates between user and assistant "
    "roles and try again."
)
NO_TOOLS = "The toolConfig field must be defined when using toolUse and toolResult content blocks."


def turns_error(turns: Sequence[Turn], model: str, *, tools: bool) -> ApiError | None:
    """The first thing the service would object to. `turns` fit the service's model; `tools`: there is a toolConfig."""
    if not turns or turns[0]["role"] != "user":
        return invalid(START)
    if any(turn["role"] == before["role"] for before, turn in pairwise(turns)):
        return invalid(ALTERNATE)
    for i, turn in enumerate(turns):
        error = turn_error(i, turn, model)
        if error is not None:
            return error
    if not tools and any("toolUse" in block or "toolResult" in block for turn in turns for block in turn["content"]):
        return invalid(NO_TOOLS)
    last = turns[-1]["content"][-1].get("text", "")
    if is_claude(model) and turns[-1]["role"] == "assistant" and last != last.rstrip():
        return model_refuses("messages: final assistant content cannot end with trailing whitespace")
    return results_error(turns) or names_error(turns)


def turn_error(i: int, turn: Turn, model: str) -> ApiError | None:
    if not turn["content"]:
        where = f"The content field in the Message object at messages.{i}"
        return invalid(f"{where} is empty. Add a ContentBlock object to the content field and try again.")
    for j, block in enumerate(turn["content"]):
        error = block_error(f"messages.{i}.content.{j}", block, turn["role"], model)
        if error is not None:
            return error
    documents = sum("document" in block for block in turn["content"])
    if documents and not any("text" in block for block in turn["content"]):
        return invalid(f"A text block is required when the content field in the Message object at messages.{i} has a document.")
    if documents > DOCUMENTS_MAX:
        return invalid(f"messages.{i} has too many documents: at most {DOCUMENTS_MAX}.")
    if sum("image" in block for block in turn["content"]) > PICTURES_MAX:
        return invalid(f"messages.{i} has too many images: at most {PICTURES_MAX}.")
    return None


def block_error(path: str, block: Block, role: str, model: str) -> ApiError | None:
    (kind,) = block
    if kind == "text" and not block["text"].strip():
        return invalid(f"The text field in the ContentBlock object at {path} is blank. Add text to the text field, and try again.")
    wrong_side = ("toolUse", "reasoningContent") if role == "user" else ("toolResult", "image", "document", "video")
    if kind in wrong_side:
        return invalid(f"The {kind} block at {path} cannot be in a message with the role {role}.")
    if kind == "reasoningContent":
        return thought_error(path, block[kind], model)
    if kind == "toolUse" and not isinstance(block[kind]["input"], dict):
        return invalid(f"The format of the value at {path}.toolUse.input is invalid. Provide a json object for the field and try again.")
    if kind == "toolResult":
        return result_error(path, block[kind], model)
    return None


def thought_error(path: str, thought: Mapping[str, Any], model: str) -> ApiError | None:
    """A signature must be of exactly this text. Claude wants one; models of others may have none."""
    if "redactedContent" in thought:
        found = unseal(ISSUER, thought["redactedContent"])
        return model_refuses(f"{path}: Invalid `data` in `redacted_thinking` block") if found is None else None
    text = thought["reasoningText"]
    if "signature" not in text:
        return model_refuses(f"{path}.thinking.signature: Field required") if is_claude(model) else None
    if signed(ISSUER, text["text"], text["signature"]):
        return None
    return model_refuses(f"{path}: Invalid `signature` in `thinking` block")


def result_error(path: str, result: Mapping[str, Any], model: str) -> ApiError | None:
    if "status" in result and not tells_errors(model):
        return invalid("This model doesn't support the status field in the toolResult block. Remove the status field and try again.")
    if not result["content"] and result.get("status") == "error":
        return invalid(f"The content field at {path}.toolResult cannot be empty when status value is error.")
    for block in result["content"]:
        if "text" in block and not block["text"].strip():
            return model_refuses(f"{path.removesuffix('.content')}: text content blocks must contain non-whitespace text")
        if "json" in block and not isinstance(block["json"], dict):
            return invalid(f"The format of the value at {path}.toolResult.content.0.json is invalid. Provide a json object for the field.")
    return None


def results_error(turns: Sequence[Turn]) -> ApiError | None:
    """As many results as calls of the turn before, and to those."""
    waiting: list[str] = []
    for i, turn in enumerate(turns):
        answered = [block["toolResult"]["toolUseId"] for block in turn["content"] if "toolResult" in block]
        missing = [one for one in waiting if one not in answered]
        if missing:
            return invalid(f"Expected toolResult blocks at messages.{i}.content for the following Ids: {', '.join(missing)}")
        if any(one not in waiting for one in answered) or len(answered) > len(waiting):
            where = f"The number of toolResult blocks at messages.{i}.content"
            return invalid(f"{where} exceeds the number of toolUse blocks of previous turn.")
        waiting = [block["toolUse"]["toolUseId"] for block in turn["content"] if "toolUse" in block]
        if len(set(waiting)) != len(waiting):
            return invalid(f"The toolUse blocks at messages.{i}.content contain duplicate Ids: {', '.join(sorted(set(waiting)))}")
    return None


def names_error(turns: Sequence[Turn]) -> ApiError | None:
    names = [block["document"]["name"] for turn in turns for block in turn["content"] if "document" in block]
    for name in names:
        if DOCUMENT_NAME.fullmatch(name) is None:
            return invalid(
                "The document file name can only contain alphanumeric characters, whitespace characters, hyphens, parentheses, and square "
                "brackets. The name can't contain more than one consecutive whitespace character."
            )
    doubled = next((name for name in names if names.count(name) > 1), None)
    return invalid(f"Duplicate document names are not allowed: {doubled}") if doubled is not None else None


def missing_thought(turns: Sequence[Turn]) -> ApiError | None:
    """With thinking enabled, the turn whose calls are being answered must start with its thought."""
    if len(turns) < 2 or not any("toolResult" in block for block in turns[-1]["content"]):
        return None
    (kind,) = turns[-2]["content"][0]
    if kind == "reasoningContent":
        return None
    found = "tool_use" if kind == "toolUse" else kind
    return model_refuses(
        f"messages.{len(turns) - 2}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{found}`. When `thinking` is "
        "enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` and "
        "`tool_result` blocks)."
    )


def messages_of(turn: Turn) -> list[Message]:
    """One message for the assistant; for the user one for each result, and one for the rest where there is any."""
    blocks = turn["content"]
    text = "\n".join(block["text"] for block in blocks if "text" in block)
    media = tuple(media_of(block) for block in blocks if "image" in block or "document" in block or "video" in block)
    if turn["role"] == "assistant":
        calls = tuple(
            Called(block["toolUse"]["name"], orjson.dumps(block["toolUse"]["input"]).decode()) for block in blocks if "toolUse" in block
        )
        return [Message("assistant", text, calls=calls)]
    results = [result_message(block["toolResult"]) for block in blocks if "toolResult" in block]
    return [*results, Message("user", text, media=media)] if text or media or not results else results


def result_message(result: Mapping[str, Any]) -> Message:
    blocks = result["content"]
    said = [block for block in blocks if "text" in block or "json" in block]
    text = "\n".join(block["text"] if "text" in block else orjson.dumps(block["json"]).decode() for block in said)
    media = tuple(media_of(block) for block in blocks if "image" in block or "document" in block or "video" in block)
    return Message("tool", text, media=media)


def media_of(block: Block) -> Media:
    (kind,) = block
    source = block[kind]["source"]
    (form,) = source
    where = source[form] if isinstance(source[form], str) else orjson.dumps(source[form]).decode()
    return Media(where, PICTURE_TOKENS if kind == "image" else DOCUMENT_TOKENS)
