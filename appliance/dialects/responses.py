"""OpenAI's Responses API, on both sides. This module is its only door.

Accepted: callers' requests are read, answers written whole and as streams. Nothing is kept of an answer that was translated: it says
`store: false` whatever the request said, and a later `previous_response_id` can only be followed by a backend that made the id itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from appliance.core.completion import Completion
from appliance.core.conversation import Conversation
from appliance.core.fault import Fault
from appliance.core.step import FOREIGN_SEAL
from appliance.dialects import responses_request, responses_request_writer, upstream_error
from appliance.dialects.codec import Reply, StreamReader, StreamWriter, Target, Written
from appliance.dialects.responses_answer import read_answer
from appliance.dialects.responses_error import ResponsesCaller
from appliance.dialects.responses_seals import seal_refused, unsealed
from appliance.dialects.responses_stream_reader import ResponsesStreamReader
from appliance.dialects.responses_stream_writer import ResponsesStreamWriter, write_answer


class Responses(ResponsesCaller):
    """Both sides (`codec.Accepted`, `codec.Spoken`), and the caller's side of streams that pass verbatim (`protocol.CallerDialect`)."""

    stream_type = b"text/event-stream"

    def read_request(self, fields: Mapping[str, Any]) -> Conversation | Fault:
        return responses_request.read_request(fields)

    def write_answer(self, answer: Completion, reply: Reply) -> bytes:
        return write_answer(answer, reply)

    def stream_writer(self, reply: Reply) -> StreamWriter:
        return ResponsesStreamWriter(reply)

    def write_request(self, conversation: Conversation, target: Target) -> Written | Fault:
        return responses_request_writer.write_request(conversation, target)

    def read_answer(self, body: bytes) -> Completion | Fault:
        return read_answer(body)

    def stream_reader(self, event_max_bytes: int, backend: str) -> StreamReader:
        return ResponsesStreamReader(event_max_bytes, backend)

    def classify(
        self,
        status: int,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes,
        *,
        backend: str,
        now: float,
        secrets: Sequence[bytes] = (),
    ) -> Fault:
        fault = upstream_error.classify(status, headers, body, backend=backend, now=now, secrets=secrets)
        return attrs.evolve(fault, code=FOREIGN_SEAL) if seal_refused(fault) else fault


RESPONSES = Responses()

__all__ = ["RESPONSES", "Responses", "unsealed"]
