"""A Responses request, checked, as the request in no language's words and the wishes that only this wire has. Pure but for the store."""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from appliance.simulator.api_error import ApiError
from appliance.simulator.chat_request import (
    DOCUMENT_TOKENS,
    EFFORT_TOKENS,
    PICTURE_TOKENS,
    PICTURE_TOKENS_LOW,
    Called,
    ChatRequest,
    Media,
    Message,
    Mode,
    Role,
    Tool,
    canonical_json,
    joined,
    media_source,
)
from appliance.simulator.languages.openai_chat_request import cached_tokens
from appliance.simulator.languages.responses_check import check_fields
from appliance.simulator.languages.responses_items import check_conversation, read_items
from appliance.simulator.response_store import Item, ResponseStore

ROLES: Mapping[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
SEALED, LOGPROBS = "reasoning.encrypted_content", "message.output_text.logprobs"


@attrs.frozen
class Responses:
    """`before` are the items of the previous response's conversation, `items` those that this request brought. `logprobs` is how many
    alternatives each token is shown with, None for no log probabilities."""

    fields: Mapping[str, Any] = attrs.field(repr=False)
    asked: ChatRequest
    before: tuple[Item, ...] = attrs.field(repr=False)
    items: tuple[Item, ...] = attrs.field(repr=False)
    stream: bool
    store: bool
    summarised: bool
    sealed: bool
    logprobs: int | None
    obfuscated: bool
    cached_tokens: int


def parse_responses(fields: Mapping[str, Any], store: ResponseStore, *, counting: bool = False) -> Responses | ApiError:
    error = check_fields(fields, counting=counting)
    if error is not None:
        return error
    items = read_items(fields["input"], store)
    if isinstance(items, ApiError):
        return items
    before = items_before(fields.get("previous_response_id"), store)
    if isinstance(before, ApiError):
        return before
    kept = fields.get("store") is not False
    error = check_conversation((*before, *items), items, store, kept=kept)
    if error is not None:
        return error
    asked = asked_of(fields, (*before, *items))
    if not asked.messages:
        return ApiError(400, "Invalid 'input': empty array. Expected an array with minimum length 1.", param="input", code="empty_array")
    include = fields.get("include") or ()
    return Responses(
        fields=fields,
        asked=asked,
        before=before,
        items=items,
        stream=fields.get("stream") is True,
        store=kept,
        summarised=(fields.get("reasoning") or {}).get("summary") is not None,
        sealed=SEALED in include,
        logprobs=(fields.get("top_logprobs") or 0) if LOGPROBS in include else None,
        obfuscated=(fields.get("stream_options") or {}).get("include_obfuscation") is not False,
        cached_tokens=cached_tokens(asked) if fields.get("prompt_cache_key") else 0,
    )


def items_before(previous: str | None, store: ResponseStore) -> tuple[Item, ...] | ApiError:
    if previous is None:
        return ()
    param = "previous_response_id"
    if not previous.startswith("resp"):
        message = f"Invalid '{param}': '{previous}'. Expected an ID that begins with 'resp'."
        return ApiError(400, message, param=param, code="invalid_value")
    found = store.find(previous)
    if found is None:
        return ApiError(400, f"Previous response with id '{previous}' not found.", param=param, code="previous_response_not_found")
    return found.items


def asked_of(fields: Mapping[str, Any], items: tuple[Item, ...]) -> ChatRequest:
    mode, allowed = tool_choice(fields.get("tool_choice"))
    effort = (fields.get("reasoning") or {}).get("effort")
    return ChatRequest(
        model=fields["model"],
        messages=joined(messages_of(fields.get("instructions"), items)),
        tools=tuple(tool_of(t) for t in fields.get("tools") or () if t["type"] in ("function", "custom")),
        mode=mode,
        allowed=allowed,
        parallel=fields.get("parallel_tool_calls") is not False,
        schema=schema_of((fields.get("text") or {}).get("format") or {}),
        limit=fields.get("max_output_tokens"),
        reasoning=EFFORT_TOKENS[effort] if effort else None,
    )


def messages_of(instructions: str | None, items: tuple[Item, ...]) -> Iterator[Message]:
    """Instructions are this request's alone: those of the previous response are not carried over. Reasoning counts as nothing."""
    if instructions:
        yield Message("system", instructions)
    for item in items:
        match item["type"]:
            case "message":
                yield Message(ROLES[item["role"]], text_of(item["content"]), media=media_of(item["content"]))
            case "function_call":
                yield Message("assistant", calls=(Called(item["name"], canonical_json(item["arguments"])),))
            case "custom_tool_call":
                yield Message("assistant", calls=(Called(item["name"], item["input"]),))
            case "function_call_output" | "custom_tool_call_output":
                yield Message("tool", text_of(item["output"]), media=media_of(item["output"]))


def text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] in ("input_text", "output_text"))


def media_of(content: Any) -> tuple[Media, ...]:
    found: list[Media] = []
    for part in content if isinstance(content, list) else ():
        if part["type"] == "input_image":
            tokens = PICTURE_TOKENS_LOW if part.get("detail") == "low" else PICTURE_TOKENS
            found.append(Media(media_source(part.get("image_url") or part["file_id"]), tokens))
        elif part["type"] == "input_file":
            found.append(Media(media_source(str(part.get("file_data") or part.get("file_url") or part.get("file_id"))), DOCUMENT_TOKENS))
    return tuple(found)


def tool_of(tool: Mapping[str, Any]) -> Tool:
    custom = tool["type"] == "custom"
    schema = {} if custom else tool.get("parameters") or {"type": "object"}
    return Tool(tool["name"], schema, str(tool.get("description") or ""), custom)


def tool_choice(choice: Any) -> tuple[Mode, tuple[str, ...] | None]:
    """A tool of the service's own that is chosen is not called, as none is."""
    if isinstance(choice, dict):
        if choice["type"] == "allowed_tools":
            names = tuple(tool["name"] for tool in choice["tools"] if tool.get("type") in ("function", "custom"))
            return ("auto" if choice["mode"] == "auto" else "required"), names
        return ("named", (choice["name"],)) if choice["type"] in ("function", "custom") else ("auto", None)
    return ("none" if choice == "none" else "required" if choice == "required" else "auto"), None


def schema_of(wanted: Mapping[str, Any]) -> Mapping[str, Any] | None:
    match wanted.get("type"):
        case "json_object":
            return {}
        case "json_schema":
            schema: Mapping[str, Any] = wanted["schema"]
            return schema
    return None
