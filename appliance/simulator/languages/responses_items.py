"""Items of a Responses request's input: which kinds there are, what each must have, and what the conversation must fulfil. Pure.

Calls and outputs are paired by `call_id`; reasoning that comes back is opened, or must still be kept here; a kept item does not come back
without the reasoning that led to it.
"""

from collections.abc import Mapping
from typing import Any

from appliance.simulator.api_error import ApiError, missing, wrong_type
from appliance.simulator.languages.responses_check import unsupported
from appliance.simulator.response_store import Item, ResponseStore
from appliance.simulator.seal import unseal

ISSUER = "openai"
SEALED = "gAAAAA"  # how the service's begin
ROLES = ("assistant", "system", "developer", "user")
INPUT_PARTS = ("input_text", "input_image", "input_file")
OUTPUT_PARTS = ("output_text", "refusal")
# kind → what it must have, how its own id begins.
KINDS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "message": (("role", "content"), "msg"),
    "function_call": (("call_id", "name", "arguments"), "fc"),
    "function_call_output": (("call_id", "output"), "fc"),
    "custom_tool_call": (("call_id", "name", "input"), "ctc"),
    "custom_tool_call_output": (("call_id", "output"), "ctc"),
    "reasoning": (("summary",), "rs"),
    "item_reference": (("id",), ""),
}
HOSTED_KINDS = frozenset(
    (
        "apply_patch_call", "apply_patch_call_output", "code_interpreter_call", "compaction", "computer_call", "computer_call_output",
        "file_search_call", "image_generation_call", "local_shell_call", "local_shell_call_output", "mcp_approval_request",
        "mcp_approval_response", "mcp_call", "mcp_list_tools", "shell_call", "shell_call_output", "tool_search_call", "tool_search_output",
        "web_search_call",
    )
)  # fmt: skip
CALLS = {"function_call": "function call", "custom_tool_call": "custom tool call"}
OUTPUTS = {"function_call_output": "function call", "custom_tool_call_output": "custom tool call"}


def invalid(message: str, status: int = 400) -> ApiError:
    return ApiError(status, message, param="input")


def read_items(given: str | list[Any], store: ResponseStore) -> tuple[Item, ...] | ApiError:
    """The input as items, references resolved; each is good by itself."""
    if isinstance(given, str):
        return ({"type": "message", "role": "user", "content": given},)
    items: list[Item] = []
    for i, item in enumerate(given):
        if not isinstance(item, dict):
            return wrong_type(f"input[{i}]", "an object")
        item = {"type": "message", **item} if item.get("type") is None else item
        error = check_item(item, f"input[{i}]")
        if error is not None:
            return error
        if item["type"] == "item_reference":
            kept = store.item(item["id"])
            if kept is None:
                return invalid(f"Item with id '{item['id']}' not found.", 404)
            item = dict(kept)
        items.append(item)
    return tuple(items)


def check_item(item: Item, path: str) -> ApiError | None:
    kind = item["type"]
    if not isinstance(kind, str):
        return wrong_type(f"{path}.type", "a string")
    if kind in HOSTED_KINDS:
        return None
    if kind not in KINDS:
        return unsupported(f"{path}.type", kind, {*KINDS, *HOSTED_KINDS})
    needed, prefix = KINDS[kind]
    for name in needed:
        if item.get(name) is None:
            return missing(f"{path}.{name}")
    own = item.get("id")
    if own is not None and not (isinstance(own, str) and own.startswith(prefix)):
        message = f"Invalid '{path}.id': '{own}'. Expected an ID that begins with '{prefix}'."
        return ApiError(400, message, param=f"{path}.id", code="invalid_value")
    for name in ("call_id", "name", "arguments", "input"):
        if name in needed and not isinstance(item[name], str):
            return wrong_type(f"{path}.{name}", "a string")
    if kind == "message":
        if item["role"] not in ROLES:
            return unsupported(f"{path}.role", item["role"], ROLES)
        return check_parts(item["content"], f"{path}.content", OUTPUT_PARTS if item["role"] == "assistant" else INPUT_PARTS)
    if kind in OUTPUTS:
        return check_parts(item["output"], f"{path}.output", INPUT_PARTS)
    return wrong_type(f"{path}.summary", "an array of objects") if kind == "reasoning" and not isinstance(item["summary"], list) else None


def check_parts(content: Any, path: str, kinds: tuple[str, ...]) -> ApiError | None:
    if isinstance(content, str):
        return None
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return wrong_type(path, "one of a string or array of objects")
    for j, part in enumerate(content):
        if part.get("type") not in kinds:
            return unsupported(f"{path}[{j}].type" if part.get("type") else f"{path}[{j}]", part.get("type"), kinds)
        if part["type"] in ("input_text", "output_text") and not isinstance(part.get("text"), str):
            return missing(f"{path}[{j}].text")
        if part["type"] == "refusal" and not isinstance(part.get("refusal"), str):
            return missing(f"{path}[{j}].refusal")
        if part["type"] == "input_image" and not (part.get("image_url") or part.get("file_id")):
            return missing(f"{path}[{j}].image_url")
        if part["type"] == "input_image" and not isinstance(part.get("image_url"), str | None):
            return wrong_type(f"{path}[{j}].image_url", "a string")
        if part["type"] == "input_file" and not any(part.get(name) for name in ("file_data", "file_url", "file_id")):
            return missing(f"{path}[{j}].file_id")
    return None


def check_conversation(items: tuple[Item, ...], asked: tuple[Item, ...], store: ResponseStore, *, kept: bool) -> ApiError | None:
    """`asked` are the last of `items`, which this request brought. `kept`: its `store` is not false."""
    return check_calls(items) or check_reasoning(items, asked, store, kept=kept)


def check_calls(items: tuple[Item, ...]) -> ApiError | None:
    called: set[tuple[str, str]] = set()
    for item in items:
        if item["type"] in CALLS:
            called.add((CALLS[item["type"]], item["call_id"]))
        elif item["type"] in OUTPUTS and (OUTPUTS[item["type"]], item["call_id"]) not in called:
            return invalid(f"No tool call found for {OUTPUTS[item['type']]} output with call_id {item['call_id']}.")
    answered = {(OUTPUTS[item["type"]], item["call_id"]) for item in items if item["type"] in OUTPUTS}
    for item in items:
        if item["type"] in CALLS and (CALLS[item["type"]], item["call_id"]) not in answered:
            return invalid(f"No tool output found for {CALLS[item['type']]} {item['call_id']}.")
    return None


def check_reasoning(items: tuple[Item, ...], asked: tuple[Item, ...], store: ResponseStore, *, kept: bool) -> ApiError | None:
    thoughts = {item.get("id") for item in items if item["type"] == "reasoning"}
    for i, item in enumerate(asked):
        if item["type"] == "reasoning":
            error = check_thought(item, store, kept=kept)
            if error is not None:
                return error
            rest = [later for later in asked[i + 1 :] if later["type"] != "reasoning"]
            follows = bool(rest) and rest[0]["type"] not in OUTPUTS and rest[0].get("role", "assistant") == "assistant"
            if not follows:
                return invalid(f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item.")
        needed = store.reasoning_before(str(item.get("id")))
        if needed is not None and needed not in thoughts:
            return invalid(
                f"Item '{item['id']}' of type '{item['type']}' was provided without its required 'reasoning' item: '{needed}'."
            )
    return None


def check_thought(item: Item, store: ResponseStore, *, kept: bool) -> ApiError | None:
    sealed = item.get("encrypted_content")
    if sealed:
        text = str(sealed)
        if not text.startswith(SEALED) or unseal(ISSUER, text.removeprefix(SEALED)) is None:
            shown = f"{text[:4]}...{text[-4:]}"
            return ApiError(400, f"The encrypted content {shown} could not be verified.", code="invalid_encrypted_content")
        return None
    if store.item(str(item.get("id"))) is not None:
        return None
    why = "" if kept else (
        " Items are not persisted when `store` is set to false. Try again with `store` set to true, or remove this item from your input."
    )  # fmt: skip
    return invalid(f"Item with id '{item.get('id')}' not found.{why}", 404)
