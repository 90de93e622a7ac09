"""The wire languages beside OpenAI's chat. Adding one adds a row here and its name in language_table. Imported through that only."""

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import attrs

from appliance.core.fault import Fault, FaultKind
from appliance.core.user_name import user_name
from appliance.dialects.answer_summary import summary_of
from appliance.dialects.anthropic import ANTHROPIC
from appliance.dialects.bedrock import BEDROCK
from appliance.dialects.codec import Spoken
from appliance.dialects.cohere import COHERE
from appliance.dialects.gemini import GEMINI, GEMINI_ARRAY
from appliance.dialects.gemini_path import GeminiCall
from appliance.dialects.json_scan import load_object
from appliance.dialects.language import Language, Verbatim
from appliance.dialects.openai_chat import read_request, rewrite
from appliance.dialects.overrides import overridden
from appliance.dialects.protocol import Answer, ParsedRequest, Rewrite
from appliance.dialects.responses import RESPONSES
from appliance.dialects.stream_taps import ReadingTap


def _messages_request(body: bytes, operation: str) -> ParsedRequest | Fault:
    """Anthropic's requests have what the gateway must know under OpenAI's names, but for the user's; and every stream ends with usage."""
    parsed = read_request(body, "chat")
    if isinstance(parsed, Fault):
        return parsed
    metadata = parsed.fields.get("metadata")
    user = metadata.get("user_id") if isinstance(metadata, dict) else None
    return attrs.evolve(parsed, operation=operation, wants_usage=True, user=user_name(user) if isinstance(user, str) else "")


def _responses_request(body: bytes, operation: str) -> ParsedRequest | Fault:
    """Responses name the prompt and the bound otherwise; every stream ends with usage."""
    parsed = read_request(body, "embeddings")  # which has its prompt under `input`, too
    if isinstance(parsed, Fault):
        return parsed
    most = parsed.fields.get("max_output_tokens")
    most = most if isinstance(most, int) and not isinstance(most, bool) else None
    return attrs.evolve(parsed, operation=operation, wants_usage=True, max_tokens=most)


def _counted(fields: Mapping[str, Any]) -> bytes | Fault:
    conversation = ANTHROPIC.read_count(fields)
    return conversation if isinstance(conversation, Fault) else ANTHROPIC.write_count_answer(ANTHROPIC.estimate(conversation))


def _read_by(spoken: Spoken, body: bytes) -> Answer | Fault:
    answer = spoken.read_answer(body)
    return answer if isinstance(answer, Fault) else summary_of(answer)


def _nothing_hidden(body: bytes, backend: str, secrets: Sequence[bytes]) -> None:
    """Where reading the answer finds its errors, too."""
    del body, backend, secrets


ANTHROPIC_MESSAGES = Language(
    "anthropic_messages", ANTHROPIC.classify, lambda: ANTHROPIC, ANTHROPIC, lambda: ANTHROPIC,
    Verbatim(
        _messages_request, rewrite,
        lambda wish: ReadingTap(ANTHROPIC.stream_reader(wish.event_max_bytes, wish.backend), wish.event_max_bytes),
        lambda body: _read_by(ANTHROPIC, body), _nothing_hidden, _counted,
    ),
)  # fmt: skip

OPENAI_RESPONSES = Language(
    "openai_responses", RESPONSES.classify, lambda: RESPONSES, RESPONSES, lambda: RESPONSES,
    Verbatim(
        _responses_request, rewrite,
        lambda wish: ReadingTap(RESPONSES.stream_reader(wish.event_max_bytes, wish.backend), wish.event_max_bytes),
        lambda body: _read_by(RESPONSES, body), _nothing_hidden, token_field="max_output_tokens", goes_on="previous_response_id",
    ),
)  # fmt: skip

def gemini_call(path: str, query: str) -> tuple[str, Language] | None:
    """The operation behind a path of Gemini's, and its language: the model and how the answer streams stand in the path, so each call has a
    reader of its own. None where the path is no call that is served.
    """
    call = GEMINI.read_path(path, query)
    operation = _GEMINI_OPERATIONS.get(call.method) if call is not None else None
    if call is None or operation is None:
        return None
    door = GEMINI_ARRAY if call.array else GEMINI
    verbatim = Verbatim(
        partial(_gemini_request, call), _gemini_rewrite,
        lambda wish: ReadingTap(GEMINI.stream_reader(wish.event_max_bytes, wish.backend), wish.event_max_bytes, comments=False),
        lambda body: _read_by(GEMINI, body), _nothing_hidden, _gemini_counted, token_field="",
    )  # fmt: skip
    return operation, Language("gemini", GEMINI.classify, lambda: GEMINI, door, lambda: door, verbatim, anew=call.array)


_GEMINI_OPERATIONS = {"generateContent": "chat", "streamGenerateContent": "chat", "countTokens": "count_tokens"}


def _gemini_request(call: GeminiCall, body: bytes, operation: str) -> ParsedRequest | Fault:
    """What the gateway must know is not in the body: it is added to the fields, not to the bytes."""
    fields = load_object(body)
    if isinstance(fields, Fault):
        return fields
    if not call.model.isprintable():
        message = "the model in the path must not hold control characters: name one that GET /v1beta/models lists"
        return Fault(FaultKind.BAD_REQUEST, message, param="model")
    settings = fields.get("generationConfig") or fields.get("generation_config")
    most = (settings.get("maxOutputTokens") or settings.get("max_output_tokens")) if isinstance(settings, dict) else None
    bound = most if isinstance(most, int) and not isinstance(most, bool) else None
    return ParsedRequest(operation, call.model, call.stream, bound, True, "", fields, gemini_estimate)


def _gemini_rewrite(body: bytes, parsed: ParsedRequest, wanted: Rewrite) -> bytes:
    """The model's name stands in the path; operators' own fields are set at the top."""
    del parsed
    return overridden(body, wanted.overrides) if wanted.overrides else body


def _gemini_counted(fields: Mapping[str, Any]) -> bytes | Fault:
    conversation = GEMINI.read_count(fields)
    return conversation if isinstance(conversation, Fault) else GEMINI.write_count_answer(ANTHROPIC.estimate(conversation))


def gemini_estimate(fields: Mapping[str, Any]) -> int:
    """Rough number of prompt tokens, for routing by length."""
    conversation = GEMINI.read_count(fields)
    return 0 if isinstance(conversation, Fault) else ANTHROPIC.estimate(conversation)


_SPOKEN_ONLY = (
    Language("gemini", GEMINI.classify, lambda: GEMINI),
    Language("bedrock", BEDROCK.classify, lambda: BEDROCK),
    Language("cohere", COHERE.classify, lambda: COHERE),
)

LANGUAGES: Mapping[str, Language] = MappingProxyType({
    one.name: one for one in (ANTHROPIC_MESSAGES, OPENAI_RESPONSES, *_SPOKEN_ONLY)
})  # fmt: skip
