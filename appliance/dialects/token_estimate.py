"""A rough count of a conversation's input tokens, for backends that cannot count (or do not, just now) and for the start of a stream,
where Anthropic's callers look for it and other vendors do not know it yet.

The rule: it is an estimate and never billed. Four characters a token, which is within a third for English prose and code; pictures and
documents at a flat rate.
"""

from collections.abc import Iterable

from appliance.core.conversation import Conversation
from appliance.core.message import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from appliance.dialects.upstream_json import written

CHARS_PER_TOKEN = 4
TOKENS_PER_MEDIA = 1_500
"""What Anthropic's largest picture costs, (width x height) / 750 (platform.claude.com/docs/en/build-with-claude/vision), and about what a
page of a PDF does."""


def estimate(conversation: Conversation) -> int:
    """Tokens of input, at least 1."""
    chars = sum(_chars(message.parts) for message in conversation.messages)
    for tool in conversation.tools:
        chars += len(tool.name) + len(tool.description) + _size(tool.parameters) if not tool.server else _size(tool.raw)
    return max(1, chars // CHARS_PER_TOKEN)


def _size(value: object) -> int:
    return len(written(value) or b"")


def _chars(parts: Iterable[Part]) -> int:
    chars = 0
    for part in parts:
        if isinstance(part, Text | Reasoning | Refusal):
            chars += len(part.text)
        elif isinstance(part, ToolCall):
            chars += len(part.name) + len(part.arguments)
        elif isinstance(part, ToolResult):
            chars += _chars(part.parts)
        elif isinstance(part, Media):
            chars += len(part.data) if part.plain else TOKENS_PER_MEDIA * CHARS_PER_TOKEN
    return chars
