"""OpenAI's chat, completions and embeddings as a language: its envelope, headers and credentials, and its events as faults change them."""

from collections.abc import Sequence
from typing import Any, Literal

import attrs
import orjson

from appliance.simulator.answer import Headers
from appliance.simulator.api_error import NO_KEY, ApiError, wrong_key
from appliance.simulator.chat_answer import letters
from appliance.simulator.framing import DATA, Framing
from appliance.simulator.language import Fields, Named
from appliance.simulator.languages.openai_errors import NAMED, envelope, error_for
from appliance.simulator.prose import seed_of
from appliance.simulator.request import Request

# What the service reports of a generous account; they do not count down, so that answers repeat.
LIMIT_HEADERS: Headers = (
    (b"x-ratelimit-limit-requests", b"10000"),
    (b"x-ratelimit-limit-tokens", b"2000000"),
    (b"x-ratelimit-remaining-requests", b"9999"),
    (b"x-ratelimit-remaining-tokens", b"1999000"),
    (b"x-ratelimit-reset-requests", b"6ms"),
    (b"x-ratelimit-reset-tokens", b"30ms"),
)
CHUNK_FIELDS = ("id", "object", "created", "model", "service_tier", "system_fingerprint")


@attrs.frozen
class OpenAI:
    """api.openai.com, its chat chunks and legacy completions."""

    id_header: bytes = b"x-request-id"
    code_field: Literal["code", "type"] = "code"
    broken: bytes = b'{"id":"chatcmpl-broken","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"oh'

    def usual_headers(self, request: Request) -> Headers:
        request_id = letters(seed_of(request.body.hex()), 32).lower()
        return (
            (b"openai-organization", b"simulator"),
            (b"openai-processing-ms", b"10"),
            (b"openai-version", b"2020-10-01"),
            (b"x-request-id", b"req_" + request_id.encode()),
            *LIMIT_HEADERS,
        )

    def key_error(self, request: Request, required: str) -> ApiError | None:
        scheme, _, key = request.header(b"authorization").partition(" ")
        if scheme.lower() != "bearer":
            key = request.header(b"api-key") or request.header(b"x-api-key")
        key = key.strip()
        if not key:
            return NO_KEY
        return None if key == required else wrong_key(key)

    def envelope(self, error: ApiError, request_id: str) -> Fields:
        del request_id
        return envelope(error)

    def error_headers(self, error: ApiError) -> Headers:
        del error
        return ()

    def error_for(self, status: int) -> ApiError:
        return error_for(status)

    def named_error(self, kind: Named) -> ApiError:
        return NAMED[kind]

    def error_event(self, error: ApiError, framing: Framing, before: Sequence[bytes], style: str, request_id: str) -> bytes:
        """`openai`: a bare error object; `event`: the same under `event: error`; `openrouter`: in a chunk that finishes with "error"."""
        del request_id
        if style == "openrouter":
            chunk = like_chunk(framing.json(before[-1] if before else b""), {"content": ""}, finish="error")
            return framing.event({**chunk, "error": {"code": error.status, "message": error.message}})
        line = DATA.write(orjson.dumps(envelope(error)), False)
        return b"event: error\n" + line if style == "event" else line

    def without_usage(self, value: Fields, *, stream: bool) -> Fields | None:
        if stream:
            return None if value.get("usage") else value
        return {name: content for name, content in value.items() if name != "usage"}

    def with_finish(self, value: Fields, reason: str, *, stream: bool) -> Fields | None:
        del stream
        choices = value.get("choices") or []
        if not any(choice.get("finish_reason") for choice in choices):
            return None
        return {**value, "choices": [{**choice, "finish_reason": reason} for choice in choices]}

    def stretched(self, event: Fields, size: int) -> Fields | None:
        return like_chunk(event, {"content": "x" * size})


def like_chunk(known: Fields, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    """A chat chunk with this delta, otherwise like the given event, or like nothing in particular."""
    chunk = {"id": "chatcmpl-simulated", "object": "chat.completion.chunk", "created": 0, "model": "sim"}
    chunk |= {name: known[name] for name in CHUNK_FIELDS if name in known}
    if chunk["object"] == "text_completion":
        return {**chunk, "choices": [{"index": 0, "text": delta.get("content", ""), "logprobs": None, "finish_reason": finish}]}
    return {**chunk, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}


OPENAI = OpenAI()
