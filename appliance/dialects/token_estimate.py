"""A rough count of a conversation's input tokens, for backends that cannot count (or do not, just now) and for the start of a stream,
where Anthropic's callers look for it and other vendors do not know it yet.

The rule: it is an estimate, and billed only where the backend told no usage. Four bytes of UTF-8 a token, as for answers (answer_size),
which is within a third for English prose and code and never far too few for a script that has two or three bytes a character; pictures and
documents at a flat rate.
"""

from collections.abc import Iterable

from appliance.core.conversation import Conversation
from appliance.core.message import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from appliance.dialects.answer_size import BYTES_PER_TOKEN, MEDIA_BYTES, text_size
from appliance.dialects.upstream_json import written


def estimate(conversation: Conversation) -> int:
    """Tokens of input, at least 1."""
    size = sum(_parts_size(message.parts) for message in conversation.messages)
    for tool in conversation.tools:
        size += text_size(tool.name) + text_size(tool.description) + _size(tool.parameters) if not tool.server else _size(tool.raw)
    return max(1, size // BYTES_PER_TOKEN)


def _size(value: object) -> int:
    return len(written(value) or b"")


def _parts_size(parts: Iterable[Part]) -> int:
    size = 0
    for part in parts:
        if isinstance(part, Text | Reasoning | Refusal):
            size += text_size(part.text)
        elif isinstance(part, ToolCall):
            size += text_size(part.name) + text_size(part.arguments)
        elif isinstance(part, ToolResult):
            size += _parts_size(part.parts)
        elif isinstance(part, Media):
            size += text_size(part.data) if part.plain else MEDIA_BYTES
    return size
