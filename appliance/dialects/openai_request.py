"""Reads what the gateway must know of a caller's OpenAI request, and changes only the bytes that the operator asked to change.

Everything else in the body is the upstream's to judge: unknown fields, prompt-cache prefixes and odd spacing pass as they came.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import orjson

from appliance.core.fault import Fault, FaultKind
from appliance.core.user_name import user_name
from appliance.dialects.answer_size import BYTES_PER_TOKEN, text_size
from appliance.dialects.json_scan import json_type, load_object, repeated
from appliance.dialects.protocol import ParsedRequest

SINGLE_FIELDS = {
    name: b'"%b"' % name.encode() for name in (
        "model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "max_output_tokens", "previous_response_id", "n",
    )
}  # fmt: skip
"""Fields that decide routing, accounting or cost; a body that has one of them twice is refused."""

MODEL_MAX_CHARS = 512
"""The longest ids in use (Bedrock inference profiles, fine-tunes) have about 150."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Characters that no name has, and that would forge lines in headers, logs and metrics: controls and halves of surrogate pairs."""

DEFAULT_MODELS: Mapping[str, str] = {"moderations": "omni-moderation-latest"}
"""What OpenAI takes where a request names no model, for the operations where its API still documents one (openai-python 2 leaves the field
out of moderations; its image endpoints ask for a model to be named).
"""

NOT_TEXT = frozenset({"image_url", "input_audio", "file", "video_url", "audio_url"})
"""Content parts whose strings are base64 or links, not prompt text."""


def read_request(body: bytes, operation: str) -> ParsedRequest | Fault:
    """Read a request of OpenAI's operations. Only what the gateway itself relies on is checked."""
    fields = load_object(body)
    if isinstance(fields, Fault):
        return fields
    twice = repeated(body, fields, SINGLE_FIELDS)
    if twice is not None:
        return _bad(twice, f"the field {twice!r} stands in the request body more than once: send it once", "duplicate_field")
    model = fields.get("model")
    if model is None and operation in DEFAULT_MODELS:
        model = DEFAULT_MODELS[operation]
    if not isinstance(model, str) or not model.strip() or len(model) > MODEL_MAX_CHARS:
        return _bad("model", _model_complaint(fields), "missing_required_parameter" if not model else "invalid_value")
    if not model.isprintable() and _CONTROL.search(model) is not None:
        return _bad("model", "'model' must not hold control characters: name one that GET /v1/models lists", "invalid_value")
    stream = fields.get("stream")
    if stream is not None and not isinstance(stream, bool):
        return _bad("stream", f"'stream' must be true or false, not {json_type(stream)}", "invalid_type")
    if operation == "chat" and not isinstance(fields.get("messages"), list):
        return _bad("messages", _messages_complaint(fields), "invalid_type" if "messages" in fields else "missing_required_parameter")
    options = fields.get("stream_options")
    user = fields.get("user") or fields.get("safety_identifier")  # the name that replaced it: OpenAI API reference, chat/create
    return ParsedRequest(
        operation,
        model,
        bool(stream),
        None if operation == "embeddings" else token_limit(fields),
        isinstance(options, dict) and bool(options.get("include_usage")),
        user_name(user) if isinstance(user, str) else "",
        fields,
        _ESTIMATES[operation],
    )


def token_limit(fields: Mapping[str, Any]) -> int | None:
    """The caller's bound on the answer. OpenAI documents `max_tokens` deprecated in favour of the newer field; of both given, backends obey
    one or the other (and OpenAI neither), so the larger one counts."""
    found, newer = fields.get("max_tokens"), fields.get("max_completion_tokens")
    if type(found) is not int:  # a bool is no number of tokens
        found = None
    return newer if type(newer) is int and (found is None or newer > found) else found


def _bad(param: str, message: str, code: str) -> Fault:
    return Fault(FaultKind.BAD_REQUEST, message, param=param, code=code)


def _model_complaint(fields: Mapping[str, Any]) -> str:
    if "model" not in fields:
        return "you must provide a 'model': name one that GET /v1/models lists"
    model = fields["model"]
    if not isinstance(model, str):
        return f"'model' must be a string, not {json_type(model)}"
    if len(model) > MODEL_MAX_CHARS:
        return f"'model' is longer than {MODEL_MAX_CHARS} characters"
    return "'model' must not be empty: name one that GET /v1/models lists"


def _messages_complaint(fields: Mapping[str, Any]) -> str:
    if "messages" not in fields:
        return "you must provide 'messages': a list of objects with 'role' and 'content'"
    return f"'messages' must be an array, not {json_type(fields['messages'])}"


def _chat_tokens(fields: Mapping[str, Any]) -> int:
    size = 0
    for message in fields["messages"]:
        if isinstance(message, dict):
            content = message.get("content")
            if not isinstance(content, str):
                size += _parts_bytes(content)
            else:
                size += len(content) if content.isascii() else text_size(content)
    tools = fields.get("tools")
    return (size + _json_bytes(tools) if tools else size) // BYTES_PER_TOKEN


def _text_tokens(name: str, fields: Mapping[str, Any]) -> int:
    value = fields.get(name)
    return (text_size(value) if isinstance(value, str) else _parts_bytes(value)) // BYTES_PER_TOKEN


def _no_tokens(fields: Mapping[str, Any]) -> int:
    """Of a file nobody can guess."""
    del fields
    return 0


_ESTIMATES: Mapping[str, Callable[[Mapping[str, Any]], int]] = {
    "chat": _chat_tokens, "text_completion": partial(_text_tokens, "prompt"), "embeddings": partial(_text_tokens, "input"),
    "rerank": partial(_text_tokens, "documents"), "moderations": partial(_text_tokens, "input"), "speech": partial(_text_tokens, "input"),
    "image_generation": partial(_text_tokens, "prompt"), "image_edit": partial(_text_tokens, "prompt"), "image_variation": _no_tokens,
    "transcription": _no_tokens, "translation": _no_tokens,
}  # fmt: skip


def _parts_bytes(parts: object) -> int:
    """Of a list of strings, content parts, token numbers, or lists of token numbers."""
    if not isinstance(parts, list):
        return 0
    size = 0
    for part in parts:
        if isinstance(part, str):
            size += text_size(part)
        elif isinstance(part, dict):
            kind = part.get("type")
            if not isinstance(kind, str) or kind not in NOT_TEXT:
                size += sum(text_size(value) for name, value in part.items() if name != "type" and isinstance(value, str))
        elif isinstance(part, int):
            size += BYTES_PER_TOKEN
        elif isinstance(part, list):
            size += BYTES_PER_TOKEN * len(part)
    return size


def _json_bytes(value: object) -> int:
    try:
        return len(orjson.dumps(value))
    except (orjson.JSONEncodeError, RecursionError):  # it writes fewer levels (254) than it reads
        return 0
