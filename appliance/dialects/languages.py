"""The wire languages that the gateway knows, by name. Adding one adds a row here and nothing elsewhere."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs

from appliance.core.completion import Completion
from appliance.core.fault import Fault
from appliance.core.user_name import user_name
from appliance.dialects.anthropic import ANTHROPIC
from appliance.dialects.bedrock import BEDROCK
from appliance.dialects.chat import CHAT
from appliance.dialects.codec import Spoken
from appliance.dialects.cohere import COHERE
from appliance.dialects.gemini import GEMINI
from appliance.dialects.language import Language, TapWish, Verbatim
from appliance.dialects.openai_chat import OPENAI, OpenAIStreamTap, classify, hidden_error, read_answer, read_request, rewrite
from appliance.dialects.protocol import Answer, ParsedRequest, StreamTap
from appliance.dialects.responses import RESPONSES
from appliance.dialects.stream_taps import ReadingTap


def _openai_tap(wish: TapWish) -> StreamTap:
    return OpenAIStreamTap(wish.hide_usage, wish.event_max_bytes, wish.backend, wish.secrets)


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


def summary_of(answer: Completion) -> Answer:
    """What a whole answer says of itself."""
    return Answer(answer.usage, answer.model, answer.candidates[0].finish if answer.candidates else "")


def _counted(fields: Mapping[str, Any]) -> bytes | Fault:
    conversation = ANTHROPIC.read_count(fields)
    return conversation if isinstance(conversation, Fault) else ANTHROPIC.write_count_answer(ANTHROPIC.estimate(conversation))


def _read_by(spoken: Spoken, body: bytes) -> Answer | Fault:
    answer = spoken.read_answer(body)
    return answer if isinstance(answer, Fault) else summary_of(answer)


def _nothing_hidden(body: bytes, backend: str, secrets: Sequence[bytes]) -> None:
    """Where reading the answer finds its errors, too."""
    del body, backend, secrets


OPENAI_CHAT = Language(
    "openai_chat", classify, CHAT, OPENAI, CHAT, Verbatim(read_request, rewrite, _openai_tap, read_answer, hidden_error),
)  # fmt: skip

ANTHROPIC_MESSAGES = Language(
    "anthropic_messages", ANTHROPIC.classify, ANTHROPIC, ANTHROPIC, ANTHROPIC,
    Verbatim(
        _messages_request, rewrite,
        lambda wish: ReadingTap(ANTHROPIC.stream_reader(wish.event_max_bytes, wish.backend), wish.event_max_bytes),
        lambda body: _read_by(ANTHROPIC, body), _nothing_hidden, _counted,
    ),
)  # fmt: skip

OPENAI_RESPONSES = Language(
    "openai_responses", RESPONSES.classify, RESPONSES, RESPONSES, RESPONSES,
    Verbatim(
        _responses_request, rewrite,
        lambda wish: ReadingTap(RESPONSES.stream_reader(wish.event_max_bytes, wish.backend), wish.event_max_bytes),
        lambda body: _read_by(RESPONSES, body), _nothing_hidden, token_field="max_output_tokens",
    ),
)  # fmt: skip

_SPOKEN_ONLY = (
    Language("gemini", GEMINI.classify, GEMINI),
    Language("bedrock", BEDROCK.classify, BEDROCK),
    Language("cohere", COHERE.classify, COHERE),
)

LANGUAGES: Mapping[str, Language] = MappingProxyType({
    one.name: one for one in (OPENAI_CHAT, ANTHROPIC_MESSAGES, OPENAI_RESPONSES, *_SPOKEN_ONLY)
})  # fmt: skip
