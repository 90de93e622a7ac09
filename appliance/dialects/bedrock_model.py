"""What a model behind Bedrock accepts, told by its id.

Converse is one shape for all vendors' models, but what they accept in it differs, and a field too many is refused. The rule: an id that
tells nothing (an application inference profile, a model of tomorrow) is taken for one that accepts only what all do.
"""

import re
from typing import Literal

import attrs

from appliance.core.conversation import Effort

_VENDORS = frozenset({
    "ai21", "amazon", "anthropic", "cohere", "deepseek", "google", "meta", "minimax", "mistral", "moonshot", "moonshotai", "nvidia",
    "openai", "qwen", "writer", "zai",
})  # fmt: skip

_CLAUDE = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
"""us.anthropic.claude-sonnet-4-5-20250929-v1:0, anthropic.claude-opus-4-7, anthropic.claude-3-7-sonnet-20250219-v1:0."""

_NATIVE_SCHEMA = re.compile(
    r"openai\.|qwen\.|deepseek\.v3|moonshot|minimax\.|nvidia\.|google\.gemma|mistral\.(?:ministral|magistral|mistral-large-3)"
)
"""Open models with structured output (docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html)."""

Thinking = Literal["", "budget", "both", "adaptive", "effort", "nova"]


@attrs.frozen
class Abilities:
    """Attributes:
    vendor: of the model, empty when the id does not tell.
    thinking: how it is asked for: a budget in tokens, left to the model (adaptive), both ways, OpenAI's effort, Nova's; "" not at all.
    efforts: the words the model has for it, the least first.
    sampling: temperature and its like are accepted; one_of_two: but not temperature and top_p together.
    caches: takes cache points. strict: tools may be strict. schema: answers may be bound to a JSON schema.
    forced: a tool may be forced. tells_errors: a tool's result may say that it is an error.
    """

    vendor: str = ""
    thinking: Thinking = ""
    efforts: tuple[Effort, ...] = ()
    sampling: bool = True
    one_of_two: bool = False
    caches: bool = False
    strict: bool = False
    schema: bool = False
    forced: bool = True
    tells_errors: bool = False

    @property
    def claude(self) -> bool:
        return self.vendor == "anthropic"


_LOW_TO_HIGH: tuple[Effort, ...] = ("low", "medium", "high")


def abilities(model: str) -> Abilities:
    """model: an id, an id with a region in front, or an ARN that holds one."""
    name = model.rpartition("/")[2].lower()
    vendor = next((part for part in name.split(".") if part in _VENDORS), "anthropic" if "claude-" in name else "")
    if vendor == "anthropic":
        return _claude(name)
    if vendor == "amazon":
        nova = "nova" in name
        return Abilities(vendor, "nova" if "nova-2" in name else "", _LOW_TO_HIGH, caches=nova, tells_errors=nova)
    return Abilities(
        vendor,
        "effort" if vendor == "openai" else "",
        _LOW_TO_HIGH,
        schema=_NATIVE_SCHEMA.search(name) is not None,
        forced=vendor != "meta",  # Llama refuses toolChoice.any
    )


def _claude(name: str) -> Abilities:
    """Thinking is adaptive alone from 4.7 on, and sampling is gone; before 4.6 it is a budget alone, before 3.7 there is none
    (docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-adaptive-thinking.html). Structured output and strict tools: the models
    that Amazon lists, not later ones, whose ids it refuses them for."""
    found = _CLAUDE.search(name)
    version = (int(found.group(1)), int(found.group(2) or 0)) if found else (99, 0) if "claude-mythos" in name else (0, 0)
    thinking: Thinking = "adaptive" if version >= (4, 7) else "both" if version >= (4, 6) else "budget" if version >= (3, 7) else ""
    efforts: tuple[Effort, ...] = ("low", "medium", "high", "xhigh", "max") if version >= (4, 7) else ("low", "medium", "high", "max")
    listed = (4, 5) <= version < (4, 7)
    return Abilities(
        "anthropic",
        thinking,
        efforts,
        sampling=version < (4, 7),
        one_of_two=version >= (4, 1),
        caches=True,
        strict=listed,
        schema=listed,
        tells_errors=True,
    )


def nearest(effort: Effort, efforts: tuple[Effort, ...]) -> Effort:
    """The model's own word: the same, else the next lower one, else the least."""
    order: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
    at_most = [word for word in efforts if order.index(word) <= order.index(effort)]
    return at_most[-1] if at_most else efforts[0]
