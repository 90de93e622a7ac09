"""OpenAI's chat completions, whichever vendor speaks them, read into and written from the values of `core`. This module is the only door.

Requests whose backend speaks the same language do not come here: their bytes pass as they are (openai_chat.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from appliance.core.completion import Completion
from appliance.core.conversation import Conversation
from appliance.core.fault import Fault
from appliance.dialects.chat_answer import read_answer
from appliance.dialects.chat_answer_writer import write_answer
from appliance.dialects.chat_message import NAME
from appliance.dialects.chat_request import read_request
from appliance.dialects.chat_request_writer import PRESET_DROP, PRESET_RENAME, write_request
from appliance.dialects.chat_seal import OWN
from appliance.dialects.chat_stream_reader import ChatStreamReader
from appliance.dialects.chat_stream_writer import ChatStreamWriter
from appliance.dialects.codec import Reply, Target, Written
from appliance.dialects.openai_envelope import OpenAICaller
from appliance.dialects.upstream_error import classify

_CALLER = OpenAICaller()


class ChatCodec:
    """Both sides of chat completions: codec.Accepted and codec.Spoken."""

    name = NAME
    family = OWN
    stream_type = b"text/event-stream; charset=utf-8"

    def read_request(self, fields: Mapping[str, Any]) -> Conversation | Fault:
        return read_request(fields)

    def write_answer(self, answer: Completion, reply: Reply) -> bytes:
        return write_answer(answer, reply)

    def stream_writer(self, reply: Reply) -> ChatStreamWriter:
        return ChatStreamWriter(reply)

    def error(self, fault: Fault, request_id: str) -> bytes:
        return _CALLER.error(fault, request_id)

    def write_request(self, conversation: Conversation, target: Target) -> Written | Fault:
        return write_request(conversation, target)

    def read_answer(self, body: bytes) -> Completion | Fault:
        return read_answer(body)

    def stream_reader(self, event_max_bytes: int, backend: str) -> ChatStreamReader:
        return ChatStreamReader(event_max_bytes, backend)

    def classify(
        self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, backend: str, now: float, secrets: Sequence[bytes] = ()
    ) -> Fault:
        return classify(status, headers, body, backend=backend, now=now, secrets=secrets)


CHAT = ChatCodec()

__all__ = ["CHAT", "PRESET_DROP", "PRESET_RENAME", "ChatCodec"]
