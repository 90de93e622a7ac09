"""Requests of generateContent: a caller's as a conversation, a conversation as a backend's.

The rule: a request names neither its model nor whether it streams; both are in its path (gemini_path), and whoever reads that puts them in.
Source: ai.google.dev/api/generate-content.
"""

from collections.abc import Mapping
from typing import Any

from appliance.core.conversation import Conversation
from appliance.core.fault import Fault
from appliance.core.message import Message
from appliance.dialects.codec import Target, Written
from appliance.dialects.fields import Unfit, flag, mapping, needed, optional, text
from appliance.dialects.gemini_config import CALLING, CONFIG, read_settings
from appliance.dialects.gemini_contents import read_contents, read_system
from appliance.dialects.gemini_history import write_history
from appliance.dialects.gemini_json import dump, plain
from appliance.dialects.gemini_seal import OWN
from appliance.dialects.gemini_strict import CALL_ID
from appliance.dialects.gemini_wishes import write_choice, write_config, write_tools

_TIERS = {"standard": "default", "flex": "flex", "priority": "priority"}
"""Google's and OpenAI's names (ai.google.dev/gemini-api/docs/priority-inference)."""

_KNOWN = frozenset({
    "contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "labels", "serviceTier", "store", "model",
})  # fmt: skip

_CACHED = "cachedContent"


def read_request(fields: Mapping[str, Any]) -> Conversation | Fault:
    """`fields` is the request's JSON object; the model only where the body itself names it, as in countTokens."""
    try:
        return _read(plain(fields))
    except Unfit as unfit:
        return unfit.fault()


def _read(fields: Mapping[str, Any]) -> Conversation:
    settings = read_settings(fields)
    lost = settings.lost
    messages: list[Message] = []
    if fields.get("systemInstruction") is not None:
        messages, notes = read_system(fields["systemInstruction"], "systemInstruction")
        lost |= notes
    spoken, notes = read_contents(needed(_as_is, fields, "contents"), "contents")
    lost |= notes
    tier = (optional(text, fields, "serviceTier") or "").lower()
    if tier and tier not in _TIERS and tier != "unspecified":
        lost["serviceTier"] = tier
    return Conversation(
        model=(optional(text, fields, "model") or "").removeprefix("models/"),
        messages=(*messages, *spoken),
        max_tokens=settings.max_tokens,
        tools=settings.tools,
        tool_choice=settings.tool_choice,
        output=settings.output,
        reasoning=settings.reasoning,
        sampling=settings.sampling,
        modalities=settings.modalities,
        metadata={name: text(value, f"labels.{name}") for name, value in (optional(mapping, fields, "labels") or {}).items()},
        service_tier=_TIERS.get(tier, ""),
        store=optional(flag, fields, "store"),
        family=OWN,
        stored=_CACHED if fields.get(_CACHED) is not None else "",
        extra=lost | {name: value for name, value in fields.items() if name not in _KNOWN and value is not None},
    )


def _as_is(value: Any, path: str) -> Any:  # noqa: ARG001  (one of the readers of dialects.fields)
    return value


def write_request(conversation: Conversation, target: Target) -> Written | Fault:
    """The body for `models/{target.model}:generateContent`; whether it streams is said in the path."""
    try:
        body, dropped = request_fields(conversation, target)
    except Unfit as unfit:
        return unfit.fault()
    return Written(dump(body), tuple(dropped))


def request_fields(conversation: Conversation, target: Target) -> tuple[dict[str, Any], list[str]]:
    """The request as an object, and what could not be said; raises Unfit."""
    if conversation.previous:
        raise Unfit("previous_response_id", "names an answer that this backend does not keep: send the whole conversation")
    history = write_history(conversation, target.model, False if CALL_ID in target.drop else None)
    dropped = history.dropped
    contents, system = history.contents(), history.system
    if not contents:  # the API refuses a request without; instructions alone are then what the user says
        contents, system = [{"role": "user", "parts": system}] if system else [], []
    if not contents:
        raise Unfit("messages", "must hold something for the model to answer")
    body: dict[str, Any] = {"contents": contents}
    if system:
        body["systemInstruction"] = {"parts": system}
    tools = write_tools(conversation, target.model, dropped)
    if tools:
        body["tools"] = tools
    choice = write_choice(conversation, target.model)
    if choice is not None and tools:
        body["toolConfig"] = {"functionCallingConfig": choice}
    config = write_config(conversation, target.model, dropped)
    if config:
        body["generationConfig"] = config
    _add_rest(body, conversation, dropped)
    return _fitted(body, target), dropped


def _add_rest(body: dict[str, Any], conversation: Conversation, dropped: list[str]) -> None:
    """What stands at the top beside the conversation itself."""
    own = conversation.family == OWN
    if conversation.metadata and own:
        body["labels"] = dict(conversation.metadata)
    if conversation.store is not None and own:
        body["store"] = conversation.store
    tiers = {theirs: ours for ours, theirs in _TIERS.items()}
    if conversation.service_tier in tiers:
        body["serviceTier"] = tiers[conversation.service_tier]
    elif conversation.service_tier not in ("", "auto"):
        dropped.append("service_tier")
    lost = {
        "metadata": bool(conversation.metadata) and not own,  # labels take few characters only, and are billed by
        "store": bool(conversation.store) and not own,
        "parallel_tools": conversation.parallel_tools is False,
        "user": bool(conversation.user),
        "cache_key": bool(conversation.cache_key),
        "verbosity": bool(conversation.verbosity),
    }
    dropped += [name for name, is_lost in lost.items() if is_lost]
    for name, value in conversation.extra.items():
        if not own or not _put(body, name, value):
            dropped.append(name)


def _put(body: dict[str, Any], path: str, value: Any) -> bool:
    """Say again what the reader found no place for, where it found it; False where that place is gone."""
    for within in (CALLING, f"{CONFIG}.thinkingConfig", CONFIG, "toolConfig"):
        name = path.removeprefix(f"{within}.")
        if name != path:
            inner = body
            for step in within.split("."):
                inner = inner.setdefault(step, {})
            inner[name] = value
            return True
    if "." in path or "[" in path:
        return False
    body[path] = value
    return True


def _fitted(body: dict[str, Any], target: Target) -> dict[str, Any]:
    """Without the fields that this vendor refuses, and with its names for those that it calls otherwise. Names without a dot are looked
    for at the top and in generationConfig."""
    for place in (body, body.get(CONFIG, {})):
        for name in target.drop:
            place.pop(name.removeprefix(f"{CONFIG}."), None)
        for name, new in target.rename.items():
            if name in place:
                place[new] = place.pop(name)
    return body
