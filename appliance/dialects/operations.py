"""What each language can do beside chats: one table a language, put together from the codecs. Giving a language an operation adds a row
here. Imported late, as all codecs are (see language_table).
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import orjson

from appliance.core.conversation import Conversation
from appliance.core.fault import Fault
from appliance.dialects import bedrock_tokens, cohere_embed, gemini_embedding, gemini_tokens, openai_embedding, responses_tokens
from appliance.dialects.anthropic import ANTHROPIC
from appliance.dialects.codec import Target, Written
from appliance.dialects.custom_tools import needs_plain, plain
from appliance.dialects.openai_usage import read_answer as openai_summary
from appliance.dialects.operation import Asked, Sides, Told, same
from appliance.dialects.protocol import COUNT, EMBEDDINGS, Answer
from appliance.dialects.responses import RESPONSES

WriteConversation = Callable[[Conversation, Target], Written | Fault]
WriteVector = Callable[[Sequence[float], Any], orjson.Fragment]
ReadCount = Callable[[bytes], int | Fault]


def _asked(
    read: Callable[[Mapping[str, Any]], Any], write: Callable[[Any], bytes], vector: WriteVector | None = None
) -> Asked:  # fmt: skip
    """Of a language whose answer repeats nothing of the request."""

    def write_answer(answer: Any, request: Any, model: str) -> bytes:
        del request, model
        return write(answer)

    return Asked(read, write_answer, vector)


def _counts_told(write: WriteConversation, read: ReadCount, model: Callable[[str], str] = same) -> Told:
    def summary(body: bytes) -> Answer | Fault:
        """Of a count that passes verbatim: that it is one. It costs nothing, so there is no usage."""
        count = read(body)
        return count if isinstance(count, Fault) else Answer(None)

    return Told(write, read, summary, model)


def _plainly(write: WriteConversation) -> WriteConversation:
    """With free-text tools as functions, for languages that know only these."""
    return lambda conversation, target: write(plain(conversation) if needs_plain(conversation) else conversation, target)


def _gemini_embeds(read: Callable[[Mapping[str, Any]], Any], write: Callable[[Any], bytes]) -> Sides:
    """With the form of request and answer of one of its two calls; backends are asked by the one for many."""
    return Sides(
        _asked(read, write, gemini_embedding.write_vector),
        Told(
            gemini_embedding.write_embed_request, gemini_embedding.read_embed_answer, gemini_embedding.summary,
            inputs_max=gemini_embedding.TEXTS_MAX,
        ),
    )  # fmt: skip


_GEMINI_COUNTS = Sides(
    _asked(gemini_tokens.read_count, gemini_tokens.write_count_answer),
    _counts_told(_plainly(gemini_tokens.write_count), gemini_tokens.read_count_answer),
)

OPENAI: Mapping[str, Sides] = MappingProxyType({
    EMBEDDINGS: Sides(
        Asked(openai_embedding.read_request, openai_embedding.write_answer, openai_embedding.write_vector),
        Told(openai_embedding.write_request, openai_embedding.read_answer, openai_summary),
    ),
})  # fmt: skip

OPENAI_RESPONSES: Mapping[str, Sides] = MappingProxyType({
    COUNT: Sides(
        _asked(RESPONSES.read_request, responses_tokens.write_count_answer),
        _counts_told(responses_tokens.write_count, responses_tokens.read_count_answer),
    ),
})  # fmt: skip

ANTHROPIC_MESSAGES: Mapping[str, Sides] = MappingProxyType({
    COUNT: Sides(
        _asked(ANTHROPIC.read_count, ANTHROPIC.write_count_answer),
        _counts_told(_plainly(ANTHROPIC.write_count), ANTHROPIC.read_count_answer),
    ),
})  # fmt: skip

GEMINI: Mapping[str, Sides] = MappingProxyType({
    COUNT: _GEMINI_COUNTS,
    EMBEDDINGS: _gemini_embeds(gemini_embedding.read_batch, gemini_embedding.write_batch_answer),
})  # fmt: skip

GEMINI_SINGLE: Mapping[str, Sides] = MappingProxyType({
    COUNT: _GEMINI_COUNTS,
    EMBEDDINGS: _gemini_embeds(gemini_embedding.read_embed, gemini_embedding.write_embed_answer),
})  # fmt: skip
"""To callers of :embedContent, whose answer is one vector and not a list."""

BEDROCK: Mapping[str, Sides] = MappingProxyType({
    COUNT: Sides(
        told=_counts_told(_plainly(bedrock_tokens.write_count), bedrock_tokens.read_count_answer, bedrock_tokens.counted_model)
    ),
})  # fmt: skip

COHERE: Mapping[str, Sides] = MappingProxyType({
    EMBEDDINGS: Sides(
        told=Told(cohere_embed.write_embed, cohere_embed.read_embed, openai_summary, inputs_max=cohere_embed.TEXTS_MAX)
    ),
})  # fmt: skip
