"""What the gateway notes of a whole answer in canonical values."""

from typing import TYPE_CHECKING

from appliance.dialects.protocol import Answer

if TYPE_CHECKING:
    from appliance.core.completion import Completion


def summary_of(answer: "Completion") -> Answer:
    """What a whole answer says of itself."""
    return Answer(answer.usage, answer.model, answer.candidates[0].finish if answer.candidates else "", answer.id)
