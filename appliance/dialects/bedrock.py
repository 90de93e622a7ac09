"""Amazon Bedrock's Converse and ConverseStream: the side that is spoken to backends. This module is its only door."""

from urllib.parse import quote

from appliance.core.completion import Completion
from appliance.core.conversation import Conversation
from appliance.core.fault import Fault
from appliance.dialects.bedrock_answer import FAMILY, read_answer
from appliance.dialects.bedrock_error import classify
from appliance.dialects.bedrock_request import write_request
from appliance.dialects.bedrock_stream_reader import BedrockStreamReader
from appliance.dialects.codec import Spoken, StreamReader, Target, Written


class Bedrock:
    """See codec.Spoken. The model and whether the answer streams are in the path, not in the body."""

    name = FAMILY
    classify = staticmethod(classify)

    def write_request(self, conversation: Conversation, target: Target) -> Written | Fault:
        return write_request(conversation, target)

    def read_answer(self, body: bytes) -> Completion | Fault:
        return read_answer(body)

    def stream_reader(self, event_max_bytes: int, backend: str) -> StreamReader:
        return BedrockStreamReader(event_max_bytes, backend)

    def path(self, model: str, stream: bool) -> str:
        """Behind the backend's base_url. Ids hold colons, ARNs slashes as well: all are escaped."""
        return f"/model/{quote(model, safe='')}/converse{'-stream' if stream else ''}"


BEDROCK = Bedrock()
_SPOKEN: Spoken = BEDROCK
