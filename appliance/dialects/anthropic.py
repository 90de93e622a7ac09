"""Anthropic's Messages API on both sides. This module is its only door.

Decisions about what the language cannot say stand with the code: anthropic_parts (requests), anthropic_answer_blocks (answers),
anthropic_wishes (thinking, sampling, structured output), anthropic_turns (turns and system messages).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from appliance.core.completion import Completion
from appliance.core.conversation import Conversation
from appliance.core.fault import Fault
from appliance.dialects import anthropic_answer, anthropic_error, anthropic_models, anthropic_request, anthropic_request_writer
from appliance.dialects.anthropic_blocks import FAMILY
from appliance.dialects.anthropic_stream_reader import AnthropicStreamReader
from appliance.dialects.anthropic_stream_writer import PING, AnthropicStreamWriter
from appliance.dialects.codec import Reply, StreamReader, StreamWriter, Target, Written
from appliance.dialects.token_estimate import estimate


class Anthropic:
    """codec.Accepted and codec.Spoken, and beside them the counting of tokens, errors and the list of models."""

    name = "anthropic_messages"
    family = FAMILY
    stream_type = b"text/event-stream"

    def read_request(self, fields: Mapping[str, Any]) -> Conversation | Fault:
        return anthropic_request.read_request(fields)

    def write_answer(self, answer: Completion, reply: Reply) -> bytes:
        return anthropic_answer.write_answer(answer, reply)

    def stream_writer(self, reply: Reply) -> StreamWriter:
        return AnthropicStreamWriter(reply)

    def error(self, fault: Fault, request_id: str) -> bytes:
        return anthropic_error.error(fault, request_id)

    def stream_error(self, fault: Fault, request_id: str) -> bytes:
        """The `error` event, after which a stream ends; also before its message_start."""
        return b"event: error\ndata: %b\n\n" % anthropic_error.error(fault, request_id)

    def keepalive(self) -> bytes:
        return PING

    def read_count(self, fields: Mapping[str, Any]) -> Conversation | Fault:
        """The body of POST /v1/messages/count_tokens."""
        return anthropic_request.read_count(fields)

    def write_count_answer(self, input_tokens: int) -> bytes:
        return anthropic_answer.write_count_answer(input_tokens)

    def estimate(self, conversation: Conversation) -> int:
        """Tokens of input where nobody can count them; see token_estimate."""
        return estimate(conversation)

    def models_list(self, ids: Sequence[str], created: int, *, limit: int = anthropic_models.PAGE_DEFAULT, after: str = "",
                    before: str = "") -> bytes:  # fmt: skip
        return anthropic_models.models_list(ids, created, limit=limit, after=after, before=before)

    def model_one(self, model: str, created: int) -> bytes:
        return anthropic_models.model_one(model, created)

    def write_request(self, conversation: Conversation, target: Target) -> Written | Fault:
        return anthropic_request_writer.write_request(conversation, target)

    def read_answer(self, body: bytes) -> Completion | Fault:
        return anthropic_answer.read_answer(body)

    def stream_reader(self, event_max_bytes: int, backend: str) -> StreamReader:
        return AnthropicStreamReader(event_max_bytes, backend)

    def write_count(self, conversation: Conversation, target: Target) -> Written | Fault:
        return anthropic_request_writer.write_count(conversation, target)

    def read_count_answer(self, body: bytes) -> int | Fault:
        return anthropic_answer.read_count_answer(body)

    def classify(
        self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, backend: str, now: float, secrets: Sequence[bytes] = ()
    ) -> Fault:
        return anthropic_error.classify(status, headers, body, backend=backend, now=now, secrets=secrets)


ANTHROPIC = Anthropic()
