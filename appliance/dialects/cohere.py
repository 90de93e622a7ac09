"""Cohere's v2 API: the side that is spoken to backends. This module is its only door."""

from appliance.core.completion import Completion
from appliance.core.conversation import Conversation
from appliance.core.fault import Fault
from appliance.dialects.codec import Spoken, StreamReader, Target, Written
from appliance.dialects.cohere_answer import Billed, read_answer, read_billed
from appliance.dialects.cohere_error import classify
from appliance.dialects.cohere_messages import FAMILY
from appliance.dialects.cohere_request import write_request
from appliance.dialects.cohere_rerank import Ranked, Ranking, RerankWish, read_rerank, write_rerank
from appliance.dialects.cohere_stream_reader import CohereStreamReader


class Cohere:
    """See codec.Spoken."""

    name = FAMILY
    classify = staticmethod(classify)

    def write_request(self, conversation: Conversation, target: Target) -> Written | Fault:
        return write_request(conversation, target)

    def read_answer(self, body: bytes) -> Completion | Fault:
        return read_answer(body)

    def stream_reader(self, event_max_bytes: int, backend: str) -> StreamReader:
        return CohereStreamReader(event_max_bytes, backend)


COHERE = Cohere()
_SPOKEN: Spoken = COHERE

__all__ = [
    "COHERE", "Billed", "Ranked", "Ranking", "RerankWish", "read_billed", "read_rerank", "write_rerank",
]  # fmt: skip
