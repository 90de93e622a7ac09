"""The wire languages beside OpenAI's chat. Adding one adds a row here and its name in language_table. Imported through that only."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import attrs

from appliance.core.fault import Fault, FaultKind
from appliance.core.seal import WRAPPED_QUOTED as WRAPPED_SEAL
from appliance.core.user_name import user_name
from appliance.dialects import anthropic_seals, anthropic_usage, gemini_embedding, gemini_usage, openai_usage, operations
from appliance.dialects.answer_summary import summary_of
from appliance.dialects.answer_tail import answer_of_tail
from appliance.dialects.anthropic import ANTHROPIC
from appliance.dialects.anthropic_unthought import unthought
from appliance.dialects.bedrock import BEDROCK
from appliance.dialects.codec import Spoken
from appliance.dialects.cohere import COHERE
from appliance.dialects.completion_size import body_size
from appliance.dialects.gemini import GEMINI, GEMINI_ARRAY
from appliance.dialects.gemini_array_tap import ArrayTap
from appliance.dialects.gemini_path import GeminiCall, renamed
from appliance.dialects.gemini_seal import WRAPPED_QUOTED
from appliance.dialects.gemini_settings import set_members
from appliance.dialects.gemini_strict import CALL_ID, strict
from appliance.dialects.gemini_unsigned import lacks_signature
from appliance.dialects.json_scan import load_object, repeated
from appliance.dialects.language import Language, TapWish, Verbatim
from appliance.dialects.openai_chat import read_request, rewrite
from appliance.dialects.operation import Sides
from appliance.dialects.protocol import COUNT, EMBEDDINGS, Answer, ParsedRequest, Rewrite, StreamTap
from appliance.dialects.responses import RESPONSES, unsealed
from appliance.dialects.stream_taps import ReadingTap
from appliance.dialects.token_estimate import estimate


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
    if parsed.fields.get("background") is True:
        message = "'background' must be false: such an answer has to be fetched later, which this gateway does not offer"
        return Fault(FaultKind.BAD_REQUEST, message, param="background")
    most = parsed.fields.get("max_output_tokens")
    most = most if isinstance(most, int) and not isinstance(most, bool) else None
    return attrs.evolve(parsed, operation=operation, wants_usage=True, max_tokens=most)


Tail = Callable[[bytes], Answer | None]

_ANTHROPIC_TAIL: Tail = partial(answer_of_tail, name=b"usage", read_usage=anthropic_usage.read_usage)
_RESPONSES_TAIL: Tail = partial(answer_of_tail, name=b"usage", read_usage=openai_usage.read_usage)
_GEMINI_TAIL: Tail = partial(answer_of_tail, name=b"usageMetadata", read_usage=gemini_usage.read_usage)


def _said(spoken: Spoken, beside: Mapping[str, Sides], tail: Tail, body: bytes, operation: str) -> Answer | Fault:
    """What a whole answer that passes verbatim says of itself, or the last part of one."""
    sides = beside.get(operation)
    if sides is not None and sides.told is not None:
        return sides.told.summary(body)
    if body[:1] != b"{" and (said := tail(body)) is not None:
        return said
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
        partial(_said, ANTHROPIC, operations.ANTHROPIC_MESSAGES, _ANTHROPIC_TAIL), _nothing_hidden, partial(body_size, ANTHROPIC),
        mended=unthought, wrapped=WRAPPED_SEAL, unsealed=anthropic_seals.unsealed,
    ),
    lambda: operations.ANTHROPIC_MESSAGES,
)  # fmt: skip

OPENAI_RESPONSES = Language(
    "openai_responses", RESPONSES.classify, lambda: RESPONSES, RESPONSES, lambda: RESPONSES,
    Verbatim(
        _responses_request, rewrite,
        lambda wish: ReadingTap(RESPONSES.stream_reader(wish.event_max_bytes, wish.backend), wish.event_max_bytes),
        partial(_said, RESPONSES, operations.OPENAI_RESPONSES, _RESPONSES_TAIL), _nothing_hidden, partial(body_size, RESPONSES),
        token_field="max_output_tokens", goes_on="previous_response_id", unsealed=unsealed,
    ),
    lambda: operations.OPENAI_RESPONSES,
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
    tap = _gemini_array_tap if call.array else _gemini_tap
    verbatim = Verbatim(
        partial(_gemini_request, call), _gemini_rewrite, tap, partial(_said, GEMINI, operations.GEMINI, _GEMINI_TAIL), _nothing_hidden,
        partial(body_size, GEMINI), token_field="", wrapped=WRAPPED_QUOTED, amiss=lacks_signature if operation == "chat" else None,
        endpoint=_GEMINI_ENDPOINTS.get(call.method, ""), framed=door.stream_type if call.array else b"",
    )  # fmt: skip
    beside = operations.GEMINI_SINGLE if call.method == "embedContent" else operations.GEMINI
    return operation, Language("gemini", GEMINI.classify, lambda: GEMINI, door, lambda: door, verbatim, lambda: beside)


def _gemini_tap(wish: TapWish) -> StreamTap:
    return ReadingTap(GEMINI.stream_reader(wish.event_max_bytes, wish.backend), wish.event_max_bytes, comments=False, eager=True)


def _gemini_array_tap(wish: TapWish) -> StreamTap:
    return ArrayTap(GEMINI.stream_reader(wish.event_max_bytes, wish.backend), wish.event_max_bytes)


_GEMINI_OPERATIONS = {
    "generateContent": "chat", "streamGenerateContent": "chat", "countTokens": COUNT, "embedContent": EMBEDDINGS,
    "batchEmbedContents": EMBEDDINGS,
}  # fmt: skip
_GEMINI_SINGLE = {name: b'"%b"' % name.encode() for name in ("generationConfig", "generation_config")}
_GEMINI_ENDPOINTS = {"embedContent": "embed_content"}


def _gemini_request(call: GeminiCall, body: bytes, operation: str) -> ParsedRequest | Fault:
    """What the gateway must know is not in the body: it is added to the fields, not to the bytes."""
    fields = load_object(body)
    if isinstance(fields, Fault):
        return fields
    if (twice := repeated(body, fields, _GEMINI_SINGLE)) is not None:  # it holds the bound on the answer
        return Fault(FaultKind.BAD_REQUEST, f"the field {twice!r} stands in the request body more than once: send it once", param=twice)
    if not call.model.isprintable():
        message = "the model in the path must not hold control characters: name one that GET /v1beta/models lists"
        return Fault(FaultKind.BAD_REQUEST, message, param="model")
    settings = fields.get("generationConfig") or fields.get("generation_config")
    most = (settings.get("maxOutputTokens") or settings.get("max_output_tokens")) if isinstance(settings, dict) else None
    bound = most if isinstance(most, int) and not isinstance(most, bool) else None
    weigh = gemini_embedding.estimate if operation == EMBEDDINGS else gemini_estimate
    return ParsedRequest(operation, call.model, call.stream, bound, True, "", fields, weigh)


def _gemini_rewrite(body: bytes, parsed: ParsedRequest, wanted: Rewrite) -> bytes:
    """The model's name stands in the path, and again in the bodies of some calls, where it must be the same."""
    if CALL_ID in wanted.drop:
        body = strict(body, parsed.fields)
    elif wanted.model is not None and parsed.operation != "chat":
        body = renamed(body, parsed.fields, wanted.model)
    members = set_members(parsed, wanted)
    return rewrite(body, parsed, Rewrite(overrides=members)) if members else body


def gemini_estimate(fields: Mapping[str, Any]) -> int:
    """Rough number of prompt tokens, for routing by length."""
    conversation = GEMINI.read_count(fields)
    return 0 if isinstance(conversation, Fault) else estimate(conversation)


_SPOKEN_ONLY = (
    Language("gemini", GEMINI.classify, lambda: GEMINI, load_operations=lambda: operations.GEMINI),
    Language("bedrock", BEDROCK.classify, lambda: BEDROCK, load_operations=lambda: operations.BEDROCK),
    Language("cohere", COHERE.classify, lambda: COHERE, load_operations=lambda: operations.COHERE),
)

LANGUAGES: Mapping[str, Language] = MappingProxyType({
    one.name: one for one in (ANTHROPIC_MESSAGES, OPENAI_RESPONSES, *_SPOKEN_ONLY)
})  # fmt: skip
