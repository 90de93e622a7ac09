"""How much a model wrote, in canonical values, whole or part by part; see answer_size.

The rule: what a vendor's own tools gave back, and thoughts that are shown to nobody, do not count.
"""

from collections.abc import Mapping
from typing import Any

from appliance.core.completion import Completion
from appliance.core.fault import Fault
from appliance.core.message import Foreign, Media, Part, Reasoning, Refusal, Text, ToolCall
from appliance.dialects.answer_size import CALL_BYTES, MEDIA_BYTES, text_size
from appliance.dialects.codec import Spoken
from appliance.dialects.upstream_json import written

_MODEL_WROTE = ("input", "arguments", "code", "action", "queries", "executableCode")
"""Members of what one vendor alone knows that are the model's own; what a vendor's tool gave back stands in others."""


def part_size(part: Part) -> int:
    """Of a whole part, or of one that begins."""
    if isinstance(part, Text | Reasoning | Refusal):
        return text_size(part.text)
    if isinstance(part, ToolCall):
        return CALL_BYTES + text_size(part.name) + text_size(part.arguments)
    if isinstance(part, Media):
        return MEDIA_BYTES
    return CALL_BYTES + _own(part.raw) if isinstance(part, Foreign) else 0


def answer_size(answer: Completion) -> int:
    """Of all candidates."""
    return sum(part_size(part) for candidate in answer.candidates for part in candidate.parts)


def body_size(spoken: Spoken, body: bytes) -> int | None:
    """Of a whole answer in a backend's language; None where it cannot be read."""
    answer = spoken.read_answer(body)
    return None if isinstance(answer, Fault) else answer_size(answer)


def _own(raw: Mapping[str, Any]) -> int:
    found = (raw.get(name) for name in _MODEL_WROTE)
    return sum(text_size(one) if isinstance(one, str) else len(written(one) or b"") for one in found if one)
