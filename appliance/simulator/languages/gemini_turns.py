"""Gemini's contents as messages, with the service's rules on turns, function calls and thought signatures. Pure.

Source: ai.google.dev/gemini-api/docs/function-calling and /thought-signatures; the texts of the refusals are public reports'.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from appliance.simulator.chat_request import DOCUMENT_TOKENS, PICTURE_TOKENS, Called, Media, Message
from appliance.simulator.languages.gemini_errors import GeminiError, bad, bad_field
from appliance.simulator.languages.gemini_model import insists_on_signatures
from appliance.simulator.languages.gemini_proto import part_kinds
from appliance.simulator.languages.gemini_signature import call_content, is_ours, signs, skips

Part = Mapping[str, Any]

PICTURES = ("image/png", "image/jpeg", "image/webp", "image/heic", "image/heif")
OTHERS = ("application/pdf", "text/", "audio/", "video/", "application/json")
# Where a result has one of these alone, that is what the tool said; any other object is told as JSON.
RESULT_KEYS = ("output", "result", "content", "error")
SIGNATURE_HELP = "Please refer to https://ai.google.dev/gemini-api/docs/thought-signatures for more details."


def read_turns(contents: Sequence[Mapping[str, Any]], model: str) -> tuple[Message, ...] | GeminiError:
    """`contents` as checked messages of the protobuf."""
    if not contents:
        return bad_field("contents", "contents is not specified")
    error = shape_error(contents)
    if error is not None:
        return error
    turns = turns_of(contents)
    error = calling_error(turns) or signature_error(turns, model)
    return tuple(message for turn in turns for message in messages_of(turn)) if error is None else error


def turns_of(contents: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Neighbours of one role are one turn: an SDK that streams keeps each response of a turn as a content of its own."""
    turns: list[Mapping[str, Any]] = []
    for content in contents:
        role = content.get("role", "user")
        before = turns.pop()["parts"] if turns and turns[-1]["role"] == role else []
        turns.append({"role": role, "parts": [*before, *content["parts"]]})
    return turns


def shape_error(contents: Sequence[Mapping[str, Any]]) -> GeminiError | None:
    for i, content in enumerate(contents):
        if content.get("role", "user") not in ("user", "model"):
            return bad("Please use a valid role: user, model.")
        parts = content.get("parts") or []
        if not parts:
            return bad_field(f"contents[{i}].parts", "contents.parts must not be empty.")
        for j, part in enumerate(parts):
            error = part_error(part, f"contents[{i}].parts[{j}]")
            if error is not None:
                return error
    return None


def part_error(part: Part, path: str) -> GeminiError | None:
    if not any(part_kinds(part)):
        return bad_field(f"{path}.data", "required oneof field 'data' must have one initialized field")
    blob = part.get("inlineData", part.get("fileData"))
    if blob is not None and blob.get("mimeType", "") not in PICTURES and not blob.get("mimeType", "").startswith(OTHERS):
        return bad(f"Unsupported MIME type: {blob.get('mimeType', '')}")
    if "inlineData" in part and not part["inlineData"].get("data"):
        return bad_field(f"{path}.inline_data.data", "must not be empty.")
    for kind, name in (("functionCall", "function_call"), ("functionResponse", "function_response")):
        if kind in part and not part[kind].get("name"):
            return bad_field(f"{path}.{name}.name", "Name cannot be empty.")
    if "functionResponse" in part and "response" not in part["functionResponse"]:
        return bad_field(f"{path}.function_response.response", "required field is not set.")
    return None


def parts_with(content: Mapping[str, Any] | None, kind: str) -> list[Part]:
    return [part for part in content["parts"] if kind in part] if content is not None else []


def calling_error(turns: Sequence[Mapping[str, Any]]) -> GeminiError | None:
    """A function call turn follows a user's turn or results; as many results follow it as it has calls, and nobody else's."""
    before: Mapping[str, Any] | None = None
    for turn in turns:
        calls, results = parts_with(before, "functionCall"), parts_with(turn, "functionResponse")
        if calls and len(results) != len(calls):
            return bad(
                "Please ensure that the number of function response parts is equal to the number of function call parts of the function "
                "call turn."
            )
        if results and not calls:
            return bad("Please ensure that function response turn comes immediately after a function call turn.")
        error = answers_error([c["functionCall"] for c in calls], [r["functionResponse"] for r in results])
        if error is not None:
            return error
        if parts_with(turn, "functionCall") and (before is None or turn["role"] != "model"):
            return bad("Please ensure that function call turn comes immediately after a user turn or after a function response turn.")
        before = turn
    if parts_with(before, "functionCall"):
        return bad("Please ensure that function response turn comes immediately after a function call turn.")
    return None


def answers_error(calls: list[Any], results: list[Any]) -> GeminiError | None:
    """Results belong to calls by id where they have one, else by name. The service itself is less strict about a name that is wrong."""
    ids = {call.get("id") for call in calls} - {None}
    names = [call["name"] for call in calls]
    for result in results:
        if result.get("id") and ids and result["id"] not in ids:
            return bad(f"Function response id `{result['id']}` does not match any function call of the function call turn.")
        if result["name"] not in names:
            return bad(f"Function response name `{result['name']}` does not match any function call of the function call turn.")
    return None


def signature_error(turns: Sequence[Mapping[str, Any]], model: str) -> GeminiError | None:
    """A signature anywhere must be one of ours, and that of the call it stands beside. Gemini 3 misses one on the first call of each step
    of the current turn, which starts with the user's last words."""
    asking = [i for i, turn in enumerate(turns) if turn["role"] == "user" and any("functionResponse" not in p for p in turn["parts"])]
    turn_start = max(asking, default=0)
    for i, turn in enumerate(turns):
        for part in turn["parts"]:
            error = wrong_signature(part)
            if error is not None:
                return error
        calls = parts_with(turn, "functionCall")
        if calls and i > turn_start and insists_on_signatures(model) and not calls[0].get("thoughtSignature"):
            name = calls[0]["functionCall"]["name"]
            return bad(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, and "
                "missing thought_signature may lead to degraded model performance. Additional data, function call "
                f"`default_api:{name}` , position {i + 1}. {SIGNATURE_HELP}"
            )
    return None


def wrong_signature(part: Part) -> GeminiError | None:
    signature = part.get("thoughtSignature")
    if not signature or skips(signature):
        return None
    if not is_ours(signature):
        return bad("Corrupted thought signature.")
    call = part.get("functionCall")
    if call is not None and not signs(signature, call_content(call["name"], call.get("args") or {})):
        return bad("Thought signature is not valid for this function call.")
    return None


def messages_of(turn: Mapping[str, Any]) -> list[Message]:
    """One message for the model; for the user one for each result, and one for the rest where there is any."""
    parts = turn["parts"]
    text = "\n".join(p["text"] for p in parts if p.get("text") and not p.get("thought"))
    media = tuple(media_of(p) for p in parts if "inlineData" in p or "fileData" in p)
    if turn["role"] == "model":
        calls = tuple(called(p["functionCall"]) for p in parts_with(turn, "functionCall"))
        return [Message("assistant", text, calls=calls, media=media)]
    made = [result_message(p["functionResponse"]) for p in parts_with(turn, "functionResponse")]
    return [*made, Message("user", text, media=media)] if text or media or not made else made


def called(call: Mapping[str, Any]) -> Called:
    return Called(call["name"], orjson.dumps(call.get("args") or {}).decode())


def result_message(result: Mapping[str, Any]) -> Message:
    media = tuple(media_of(part) for part in result.get("parts") or () if "inlineData" in part)
    return Message("tool", result_text(result["response"]), media=media)


def result_text(response: Mapping[str, Any]) -> str:
    said: Any = response
    if len(response) == 1 and next(iter(response)) in RESULT_KEYS:
        said = next(iter(response.values()))
    return said if isinstance(said, str) else orjson.dumps(said).decode()


def media_of(part: Part) -> Media:
    if "inlineData" in part:
        plain = part["inlineData"]["data"].rstrip("=").replace("-", "+").replace("_", "/")
        source, kind = plain + "=" * (-len(plain) % 4), part["inlineData"]["mimeType"]
    else:
        source, kind = part["fileData"].get("fileUri", ""), part["fileData"]["mimeType"]
    return Media(source, PICTURE_TOKENS if kind.startswith("image/") else DOCUMENT_TOKENS)

